"""TLS of a listener, from files that are read anew while it runs: new connections get what stands in them then."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from attrs import frozen
from cryptography import x509

from exchange.errors import ConfigurationError

REFUSED: Final = "SWX-4140"
GOES_ON: Final = {
    "en": "it goes on with the certificates it had: the administrator puts the files right, then sends SIGHUP again",
    "zh": "继续使用原有证书：请管理员更正文件后重新发送 SIGHUP",
}


@runtime_checkable
class Renewing(Protocol):
    """What has TLS of its own, as an adapter may, and takes over renewed files while it serves."""

    def renew(self) -> Mapping[str, str]:
        """Read certificate, key and clients' authorities anew; new connections get them, open ones go on.

        Returns ``serial`` and ``until`` of the certificate, or nothing where TLS is off. Raises ConfigurationError
        where they can't be used together; then nothing changes.
        """


@frozen
class Files:
    """PEM files: a certificate with its chain, its key unless that is in the same file, and who vouches for clients."""

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None

    def read(self) -> ssl.SSLContext:
        """Return a context of what they say now. Raises OSError (ssl.SSLError is one) where they can't be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key, password=_nobody_types)
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a client's own certificate may stand in the file
        return context

    def __str__(self) -> str:
        return ", ".join(str(path) for path in (self.certificate, self.key, self.client_ca) if path)

    def problem(self, why: Exception) -> str:
        """Tell what is wrong with them, in both languages."""
        if isinstance(why, ssl.SSLError) and why.reason == "KEY_VALUES_MISMATCH":
            return f"{self}: the key isn't the certificate's · 私钥与证书不匹配"
        return f"{self}: they can't be read as PEM files: {why} · 无法按 PEM 文件读取"


class Renewable(ssl.SSLContext):
    """Stands where asyncio asks for a context, and gives every new connection the one that was read last.

    A context of its own for each reading, because what one has trusted it trusts for ever, and whoever was let in once
    may resume that session under it without being judged again.
    """

    files: Files
    _latest: ssl.SSLContext

    def __new__(cls, files: Files) -> Renewable:
        """Read *files*. Raises OSError."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made.files, made._latest = files, files.read()
        return made

    def wrap_bio(self, *values: Any, **more: Any) -> ssl.SSLObject:
        """Begin a connection; asyncio and uvloop ask this for each."""
        return self._latest.wrap_bio(*values, **more)

    def renew(self) -> dict[str, str]:
        """Do as ``Renewing`` says."""
        try:
            latest = self.files.read()
            shown = x509.load_pem_x509_certificate(self.files.certificate.read_bytes())
        except (OSError, ValueError) as why:
            raise ConfigurationError([self.files.problem(why)], code=REFUSED) from why
        self._latest = latest
        return {"serial": f"{shown.serial_number:x}", "until": f"{shown.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"}


def renew(doors: Mapping[str, Any], log: Any) -> None:
    """Let those of *doors* that have TLS take over what was renewed, each for itself, and tell."""
    for name, door in doors.items():
        if isinstance(door, Renewing):
            try:
                if told := door.renew():
                    log.info("tls.renewed", listener=name, **told)
            except ConfigurationError as why:
                log.error("tls.refused", listener=name, code=why.code, problems=why.problems, **GOES_ON)


def _nobody_types() -> str:
    """Have an encrypted key refused; without this OpenSSL would ask at the terminal, and the switch would stand."""
    return ""
