"""Time stamps (RFC 3161): an authority signs that the manifest was there at a time.

The network is used only where an export asks for it; a stamp is checked without. What the standard has of formats and
rules is in the package rfc3161-client, which is loaded when it is needed.
"""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exchange.errors import ConfigurationError, Transient
from exchange.evidence import form
from exchange.evidence.checks import shown
from exchange.evidence.container import Package
from exchange.evidence.contents import SMALL
from exchange.evidence.findings import CHECKS, Check, absent, failed, passed
from exchange.evidence.form import Manifest
from exchange.evidence.signatures import Pins
from exchange.instants import SECOND, show_instant
from exchange.signing import certificates

SECONDS: Final = 30.0  # that an authority may take
MOST: Final = 1024 * 1024  # bytes of its answer
CODE: Final = CHECKS["timestamp"][0]


@frozen
class Authority:
    """A time stamping authority; *roots* (DER) must vouch for what it answers, where there are any."""

    url: str
    roots: Sequence[bytes] = ()

    def __call__(self, manifest: bytes) -> bytes:
        """Return a stamp. Raises Transient where there is none, or it isn't good; ConfigurationError."""
        import rfc3161_client as rfc3161

        if not self.url.startswith(("https://", "http://")):
            raise ConfigurationError([f"evidence.timestamp: {self.url!r} is no http or https address"])
        builder = rfc3161.TimestampRequestBuilder().hash_algorithm(rfc3161.HashAlgorithm.SHA256)
        asked = builder.data(manifest).cert_request(cert_request=True).build()
        answer = self._answer(asked.as_bytes())
        try:
            stamp = rfc3161.decode_timestamp_response(answer)
            if stamp.tst_info.nonce != asked.nonce:
                raise ValueError("it answers another question")
            _verify(stamp, manifest, self.roots)
        except (ValueError, rfc3161.VerificationError) as why:
            raise self._failed(str(why)) from why
        return answer

    def _answer(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/timestamp-query"}
        request = urllib.request.Request(self.url, body, headers)  # noqa: S310 - http or https, looked at above
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                read: bytes = answer.read(MOST)
        except (OSError, http.client.HTTPException) as why:
            raise self._failed(str(why)) from why
        return read

    def _failed(self, why: str) -> Transient:
        en = f"{self.url} gave no good time stamp ({why}): try again, or use --timestamp none"
        zh = f"{self.url} 未给出有效的时间戳（{why}）：请重试，或用 --timestamp none"
        return Transient(en, zh, code=CODE)


def check(package: Package, manifest: Manifest, pins: Pins) -> Check:
    """Tell whether the manifest is stamped, when, and by whom."""
    if not manifest.timestamp:
        return absent("timestamp", "there is none", "没有时间戳")
    import rfc3161_client as rfc3161

    try:
        stamp = rfc3161.decode_timestamp_response(package.read(form.STAMP, SMALL))
        _verify(stamp, manifest.dumped(), pins.certificates)
        at = show_instant(round(stamp.tst_info.gen_time.timestamp() * SECOND))
        signer = ", ".join(shown(certificates.read(der)) for der in _signer(stamp))
    except (ValueError, rfc3161.VerificationError, ConfigurationError) as why:
        return failed("timestamp", f"it doesn't stand: {why}", f"时间戳无效：{why}", form.STAMP)
    en, zh = f"it was there at {at}, says {signer}", f"该时间戳称其于 {at} 已存在：{signer}"
    if pins.certificates:
        return passed("timestamp", en, zh, form.STAMP)
    return absent("timestamp", f"{en}; give its root with --trust", f"{zh}；请用 --trust 核验", form.STAMP)


def _signer(stamp: Any) -> list[bytes]:
    """Return the certificate of who signed a stamp, in DER, where it stands in it."""
    signers = {(one.issuer, one.serial_number) for one in stamp.signed_data.signer_infos}
    found = [x509.load_der_x509_certificate(bytes(der)) for der in stamp.signed_data.certificates]
    return [one.public_bytes(Encoding.DER) for one in found if (one.issuer, one.serial_number) in signers]


def _verify(stamp: Any, manifest: bytes, roots: Sequence[bytes]) -> None:
    """Raise VerificationError or ValueError where a stamp isn't over the manifest, or *roots* don't vouch for it.

    Without roots its signature isn't looked at: anybody could have made it.
    """
    import rfc3161_client as rfc3161

    digest = sha256(manifest).digest()
    if stamp.status != rfc3161.PKIStatus.GRANTED or stamp.tst_info.message_imprint.message != digest:
        raise ValueError("it was refused, or is over something else")
    if roots:
        known = [x509.load_der_x509_certificate(der) for der in roots]
        rfc3161.VerifierBuilder(roots=known).build().verify(stamp, digest)
