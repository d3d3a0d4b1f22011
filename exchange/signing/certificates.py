"""X.509 certificates: whose they are, when they stand, and whether a signature is their key's.

The cryptography package reads the fields of an SM2 certificate but not its key, so that key is libcrypto's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from exchange.errors import ConfigurationError
from exchange.instants import SECOND, Instant
from exchange.ports import SM2_ID
from exchange.signing.der import parse
from exchange.tokens import sm2

UNREADABLE: Final = (  # what reading something in DER may raise: it comes from anybody
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
Verifying = Callable[[Any, bytes, bytes, bytes], None]


@frozen
class Certificate:
    """What the switch needs to know of one certificate."""

    der: bytes = field(repr=False)
    subject: str  # RFC 4514
    serial: str  # hex, two digits a byte, as KeyName carries it: 01691fe9
    not_before: Instant
    not_after: Instant

    def stands(self, at: Instant) -> bool:
        """Tell whether *at* lies in the time the certificate was issued for."""
        return self.not_before <= at <= self.not_after

    @cached_property
    def key(self) -> Any:
        """The public key. Raises TokenError where it's SM2 and this system has none; ConfigurationError for others."""
        try:
            return x509.load_der_x509_certificate(self.der).public_key()
        except UnsupportedAlgorithm:
            pass
        try:
            return sm2.PublicKey.from_certificate(self.der)
        except ValueError as error:
            raise unreadable(f"the key of certificate {self.serial} is neither RSA, P-256 nor SM2: {error}") from error


@lru_cache(maxsize=8192)
def read(der: bytes) -> Certificate:
    """Read a DER certificate. Raises ConfigurationError where it can't be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        serial = certificate.serial_number
        return Certificate(
            der=der,
            subject=certificate.subject.rfc4514_string(),
            serial=serial.to_bytes(max(1, (serial.bit_length() + 7) // 8), "big").hex(),
            not_before=_instant(certificate.not_valid_before_utc),
            not_after=_instant(certificate.not_valid_after_utc),
        )
    except UNREADABLE as error:
        raise ConfigurationError(
            [f"a certificate of {len(der)} bytes can't be read: {error}"], code="SWX-4060"
        ) from error


def from_file(content: bytes) -> tuple[bytes, ...]:
    """Return the DER certificates in a file that holds one in DER or any number in PEM. Raises ConfigurationError."""
    try:
        if b"-----BEGIN" not in content:
            return (read(content).der,)
        return tuple(found.public_bytes(Encoding.DER) for found in x509.load_pem_x509_certificates(content))
    except ValueError as error:
        raise unreadable(f"no certificate can be read here: {error}") from error


def public_key(info: bytes) -> Any:
    """Return the key in a DER SubjectPublicKeyInfo. Raises ConfigurationError; TokenError where it's SM2, as above."""
    try:
        return load_der_public_key(info)
    except (UnsupportedAlgorithm, ValueError):
        pass
    try:
        return sm2.PublicKey.from_der(info)
    except ValueError as error:
        raise unreadable(f"a public key is neither RSA, P-256 nor SM2: {error}") from error


def same(key: Any, other: Any) -> bool:
    """Tell whether two public keys are the same one."""
    if isinstance(key, sm2.PublicKey) and isinstance(other, sm2.PublicKey):
        return key.matches(other)
    return bool(key == other)


def kind(key: Any) -> str:
    """Return what kind of key a public key is: rsa, p256 or sm2. Raises ConfigurationError."""
    if isinstance(key, RSAPublicKey):
        return "rsa"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "p256"
    if isinstance(key, sm2.PublicKey):
        return "sm2"
    raise unreadable("the key is neither RSA, P-256 nor SM2")


def unreadable(problem: str) -> ConfigurationError:
    """Return the error of a certificate that can't be read."""
    return ConfigurationError([problem], code="SWX-4060")


def _instant(moment: datetime) -> Instant:
    return int(moment.timestamp()) * SECOND


def _rsa(digest: SHA1 | SHA256) -> Verifying:
    return lambda key, signature, data, sm2_id: key.verify(signature, data, PKCS1v15(), digest)


def _ecdsa(key: Any, signature: bytes, data: bytes, sm2_id: bytes) -> None:
    if not isinstance(key.curve, SECP256R1):
        raise InvalidSignature
    key.verify(sm2.der_signature(signature), data, ECDSA(SHA256()))


def _sm2(key: Any, signature: bytes, data: bytes, sm2_id: bytes) -> None:
    if not key.verify(signature, data, sm2_id):
        raise InvalidSignature


ALGORITHMS: Final[Mapping[str, tuple[type, Verifying]]] = {
    "rsa-sha1": (RSAPublicKey, _rsa(SHA1())),  # noqa: S303 - what the customs' receivers check; by profile only
    "rsa-sha256": (RSAPublicKey, _rsa(SHA256())),
    "ecdsa-sha256": (EllipticCurvePublicKey, _ecdsa),
    "sm2-sm3": (sm2.PublicKey, _sm2),
}


def fits(certificate: Certificate, algorithm: str) -> bool:
    """Tell whether the certificate's key is of the kind that *algorithm* signs with."""
    return isinstance(certificate.key, ALGORITHMS[algorithm][0])


def signed_by(certificate: Certificate, algorithm: str, signature: bytes, data: bytes, sm2_id: bytes = SM2_ID) -> bool:
    """Tell whether *signature*, in the encoding of ``ports.Token.sign``, is the certificate's key's over *data*.

    An SM2 signature may be DER too. Raises TokenError where the algorithm is SM2 and this system has none.
    """
    return stands(certificate.key, algorithm, signature, data, sm2_id)


def stands(key: Any, algorithm: str, signature: bytes, data: bytes, sm2_id: bytes = SM2_ID) -> bool:
    """Tell the same of a public key."""
    try:
        ALGORITHMS[algorithm][1](key, signature, data, sm2_id)
    except (InvalidSignature, ValueError):
        return False
    return True


# -- what authorities sign ---------------------------------------------------------------------------------------

_Issued = Callable[[Any, bytes, bytes], None]


def _issued_rsa(digest: HashAlgorithm) -> tuple[type, _Issued]:
    return RSAPublicKey, lambda key, signature, data: key.verify(signature, data, PKCS1v15(), digest)


def _issued_ecdsa(digest: HashAlgorithm) -> tuple[type, _Issued]:
    return EllipticCurvePublicKey, lambda key, signature, data: key.verify(signature, data, ECDSA(digest))


# By the algorithm that certificates and revocation lists name; SHA-1 is too weak for what an authority says.
_AUTHORITIES: Final[Mapping[str, tuple[type, _Issued]]] = {
    "1.2.840.113549.1.1.11": _issued_rsa(SHA256()),
    "1.2.840.113549.1.1.12": _issued_rsa(SHA384()),
    "1.2.840.113549.1.1.13": _issued_rsa(SHA512()),
    "1.2.840.10045.4.3.2": _issued_ecdsa(SHA256()),
    "1.2.840.10045.4.3.3": _issued_ecdsa(SHA384()),
    "1.2.840.10045.4.3.4": _issued_ecdsa(SHA512()),
    "1.2.156.10197.1.501": (sm2.PublicKey, lambda key, signature, data: _sm2(key, signature, data, SM2_ID)),
}


@frozen
class Signed:
    """What an authority signed: a certificate or a list of those that it revoked."""

    der: bytes = field(repr=False)
    inner: bytes = field(repr=False)  # the part that is signed, which comes first
    algorithm: str  # object identifier
    value: bytes = field(repr=False)


def issued(issuer: Certificate, what: Signed) -> bool:
    """Tell whether *what* was signed with the key of *issuer*.

    Raises TokenError where the algorithm is SM2 and this system has none.
    """
    kind, verify = _AUTHORITIES.get(what.algorithm, (None, None))
    try:
        if kind is None or verify is None or not isinstance(issuer.key, kind) or not _proper(what):
            return False
        verify(issuer.key, what.value, what.inner)
    except (InvalidSignature, ConfigurationError, *UNREADABLE):
        return False
    return True


def _proper(what: Signed) -> bool:
    """Tell whether the algorithm outside is the one inside (RFC 5280, 4.1.1.2), and the value fills whole bytes."""
    inner, algorithm, value = parse(what.der).children()
    return algorithm.whole in [part.whole for part in inner.children()] and value.body[:1] == b"\0"
