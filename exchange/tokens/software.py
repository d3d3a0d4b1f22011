"""Keys in files: RSA and P-256 signed by the cryptography package, SM2 by libcrypto.

A key is read when it is first asked for. It is named in the settings, or found by its name in the keys' folder:
``NAME.key`` with ``NAME.crt`` (both PEM), or ``NAME.p12`` where no password protects it. A version of the register has
one place, ``file``: the path of its key, in the keys' folder where it is a relative one.

It signs in the event loop, which gets its turn between any two long operations. A thread does worse: what it gains
on a second core it loses waiting for the GIL, which a busy loop gives back for moments too short to catch (measured:
64 SM2 signatures, 42 ms in the loop, 0.1 to 14 s in a thread beside a busy one). More cores are used by more workers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from attrs import frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificate
from pydantic import Field

from exchange.errors import ConfigurationError, ExchangeError, NotFound, Refused, TokenError
from exchange.options import Location, Secret, Strict
from exchange.ports import Job, Signature
from exchange.register import KeyVersion, learn
from exchange.tokens import sm2

PLACE: Final = "file"  # what stands for a device
_TURN_SECONDS: Final = 0.0005  # work after which everybody else in the event loop gets a turn


class KeyFile(Strict):
    """Where one key lies: a PEM file, or a PKCS#12 file (``.p12``, ``.pfx``) that holds its certificate too."""

    key: Location
    certificate: Location | None = None  # PEM; none: in the key's file
    password: Secret | None = None


class KeyFiles(Strict):
    """Where the token's keys lie; relative paths start at the folder of the configuration file."""

    folder: Location | None = None
    keys: Mapping[str, KeyFile] = {}
    check_sm2_every: int = Field(
        16,
        ge=1,
        description="verify every so many SM2 signatures of a key (half a millisecond each); all others always",
    )


@frozen
class _Held:
    """A key that was read, and its certificate in DER."""

    private: Any
    kind: str  # rsa | p256 | sm2
    certificate: bytes


class Software:
    """Signs with keys from files: for tests, and where the parties agreed to do without a device."""

    Settings = KeyFiles
    window, batch, ahead = 64, 64, 1  # it signs in the switch's own time: whoever ran ahead would only fill memory

    def __init__(self, settings: KeyFiles) -> None:
        self._settings = settings
        self._held: dict[str, _Held] = {}
        self._signed: Counter[str] = Counter()  # with each key
        self._learned: dict[str, KeyVersion] = {}

    async def open(self) -> None:
        """Do nothing: keys are read when they are needed."""

    def certificate(self, key: str) -> bytes:
        """Return the DER certificate of *key*.

        Raises TokenError where there is no such key, ConfigurationError where its files can't be used together.
        """
        return self._key(key).certificate

    def learn(self, keys: Iterable[KeyVersion]) -> None:
        """See ``register.Learner``."""
        learn(self._learned, keys)
        self._held.clear()  # read anew when they are asked for

    def names(self) -> Sequence[str]:
        """See ``register.Learner``."""
        folder = self._settings.folder
        lying = folder.iterdir() if folder and folder.is_dir() else ()
        found = {
            path.stem
            for path in lying
            if path.suffix == ".p12" or (path.suffix == ".key" and path.with_suffix(".crt").is_file())
        }
        return sorted(found.union(self._settings.keys))

    async def public_key(self, device: str, location: str) -> bytes:
        """See ``register.Holder``."""
        private = self._placed(device, location)
        if isinstance(private, sm2.PrivateKey):
            return private.info()
        return bytes(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    async def sign_at(self, device: str, location: str, algorithm: str, data: bytes) -> bytes:
        """See ``register.Holder``."""
        return _ALGORITHMS[algorithm][1](self._placed(device, location), Job("", algorithm, data))

    def _placed(self, device: str, location: str) -> Any:
        if device != PLACE:
            raise NotFound(f"there is no device {device!r}: write file=PATH", f"没有设备 {device!r}：请写作 file=路径")
        path = self._path(location)
        try:
            private, _ = _opened(KeyFile(key=path))
            _kind(private)
        except (OSError, ValueError, TypeError) as why:
            raise Refused(f"{path}: no key can be read there: {why}", f"{path}：无法读取密钥（{why}）") from why
        return private

    def _path(self, location: str) -> Path:
        return (self._settings.folder or Path()) / location

    async def sign(self, jobs: Sequence[Job]) -> Sequence[Signature | Exception]:
        """Sign every job; the answers are in the order of the jobs."""
        loop = asyncio.get_running_loop()
        answers: list[Signature | Exception] = []
        since = loop.time()
        for job in jobs:
            answers.append(self._sign(job))
            if loop.time() - since > _TURN_SECONDS:
                await asyncio.sleep(0)
                since = loop.time()
        return answers

    async def close(self) -> None:
        """Forget the keys that were read."""
        self._held.clear()

    def _sign(self, job: Job) -> Signature | Exception:
        began = perf_counter()
        try:
            held = self._key(job.key)
            kind, sign = _ALGORITHMS.get(job.algorithm, ("", None))
            if sign is None or held.kind != kind:
                raise _unfit(job, held)
            value = sign(held.private, job)
            taken = job.algorithm == "sm2-sm3" and self._signed[job.key] % self._settings.check_sm2_every != 0
            self._signed[job.key] += 1
            return Signature(value, microseconds=int((perf_counter() - began) * 1e6), verified=taken)
        except ExchangeError as error:  # one job's failure is no failure of the batch
            return error

    def _key(self, name: str) -> _Held:
        held = self._held.get(name)
        if held is None:
            held = self._held[name] = self._read(name)
        return held

    def _read(self, name: str) -> _Held:
        version = self._learned.get(name)
        if version is None or PLACE not in version.places:
            return _read(_found(self._settings, name))
        return _read(KeyFile(key=self._path(version.places[PLACE])), load_der_x509_certificate(version.certificate))


_ECDSA: Final = ECDSA(SHA256())
_ALGORITHMS: Final[Mapping[str, tuple[str, Callable[[Any, Job], bytes]]]] = {
    "rsa-sha1": ("rsa", lambda key, job: key.sign(job.data, PKCS1v15(), SHA1())),  # noqa: S303 - the customs' own choice
    "rsa-sha256": ("rsa", lambda key, job: key.sign(job.data, PKCS1v15(), SHA256())),
    "ecdsa-sha256": ("p256", lambda key, job: sm2.raw_signature(key.sign(job.data, _ECDSA))),
    "sm2-sm3": ("sm2", lambda key, job: key.sign(job.data, job.sm2_id)),
}


def _unfit(job: Job, held: _Held) -> TokenError:
    return TokenError(
        f"the {held.kind} key {job.key!r} can't sign {job.algorithm!r}: choose a profile that fits the key",
        f"{held.kind} 密钥 {job.key!r} 不能用于 {job.algorithm!r} 签名：请选用与密钥相符的签名规格",
        code="SWX-5020",
    )


def _found(settings: KeyFiles, name: str) -> KeyFile:
    """Return where key *name* lies."""
    if name in settings.keys:
        return settings.keys[name]
    folder = settings.folder
    if folder is not None and name == Path(name).name:  # a name, and no way out of the folder
        pem, p12 = folder / f"{name}.key", folder / f"{name}.p12"
        if pem.is_file():
            return KeyFile(key=pem, certificate=folder / f"{name}.crt")
        if p12.is_file():
            return KeyFile(key=p12)
    raise TokenError(
        f"no key {name!r}: put {name}.key and {name}.crt into the keys' folder ({folder}), or name its files",
        f"没有密钥 {name!r}：请将 {name}.key 和 {name}.crt 放入密钥目录（{folder}），或在配置中指明其文件",
        code="SWX-5010",
    )


def _read(file: KeyFile, registered: Certificate | None = None) -> _Held:
    """Read a key and its certificate. Raises ConfigurationError; TokenError where it's SM2 and there is none here."""
    try:
        private, beside = _opened(file)
        certificate = registered or beside()
        der = certificate.public_bytes(Encoding.DER)
        kind = _kind(private)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError([f"{file.key}: no key that can be used with its certificate: {error}"]) from error
    if not _belong(private, certificate, der):
        holder = file.certificate or file.key
        raise ConfigurationError([f"{file.key}: the certificate in {holder} is another key's"], code="SWX-4070")
    return _Held(private, kind, der)


def _opened(file: KeyFile) -> tuple[Any, Callable[[], Certificate]]:
    """Return the private key, and what reads the certificate that lies with it."""
    content = file.key.read_bytes()
    password = file.password.read().encode() if file.password else None
    if file.key.suffix.lower() in (".p12", ".pfx"):
        private, certificate, _ = load_key_and_certificates(content, password)
        if private is None or certificate is None:
            raise ValueError("it must hold a key and its certificate")
        return private, lambda: certificate
    beside = file.certificate or file.key
    return _private(content, password), lambda: load_pem_x509_certificate(beside.read_bytes())


def _private(pem: bytes, password: bytes | None) -> Any:
    try:
        return load_pem_private_key(pem, password)
    except UnsupportedAlgorithm:
        return sm2.PrivateKey.from_pem(pem, password or b"")


def _kind(private: Any) -> str:
    if isinstance(private, sm2.PrivateKey):
        return "sm2"
    if isinstance(private, RSAPrivateKey):
        return "rsa"
    if isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
        return "p256"
    raise ValueError("the key is neither RSA, P-256 nor SM2")


def _belong(private: Any, certificate: Certificate, der: bytes) -> bool:
    """Tell whether the certificate is the key's."""
    try:
        if isinstance(private, sm2.PrivateKey):
            return private.matches(sm2.PublicKey.from_certificate(der))
        return bool(private.public_key() == certificate.public_key())
    except (UnsupportedAlgorithm, ValueError):  # a key of another kind
        return False
