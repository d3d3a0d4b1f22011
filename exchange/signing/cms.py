"""SignedData with one signer: CMS (RFC 5652), and the same with the identifiers of GM/T 0010 for SM2.

What a token signs is the DER of the signed attributes alone: kind of content, its digest, time of signing and, in CMS,
which certificate it was (RFC 5035). Signatures of others are read as long as they have signed attributes: one that
stands over the content itself could pass for one over attributes, and the other way round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final

from attrs import frozen

from exchange.errors import ConfigurationError
from exchange.instants import SECOND, Instant
from exchange.ports import Job
from exchange.signing import certificates as x509
from exchange.signing.certificates import Certificate
from exchange.signing.contract import Verified, by_any, require_fit, require_signed, unaccepted
from exchange.signing.der import (
    INTEGER,
    NULL,
    OCTETS,
    OID,
    SEQUENCE,
    SET,
    TIME,
    UTC_TIME,
    Node,
    integer,
    oid,
    parse,
    tlv,
)
from exchange.signing.faults import CONTENT, DIGEST, STRANGER, STRUCTURE, bad
from exchange.signing.profiles import Profile

_KINDS: Final = {  # format -> identifiers of SignedData, and of the data in it
    "cms": (oid("1.2.840.113549.1.7.2"), oid("1.2.840.113549.1.7.1")),
    "gmt0010": (oid("1.2.156.10197.6.1.4.2.2"), oid("1.2.156.10197.6.1.4.2.1")),
}
_CONTENT_TYPE: Final = oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST: Final = oid("1.2.840.113549.1.9.4")
_SIGNING_TIME: Final = oid("1.2.840.113549.1.9.5")
_SIGNING_CERTIFICATE: Final = oid("1.2.840.113549.1.9.16.2.47")
_ONE: Final = integer(1)  # the version of everything here
_FIRST: Final = 0xA0  # the tag of what may stand there, as [0]
_LAST_UTC_TIME: Final = 2049  # RFC 5652, 11.3


# -- signing -----------------------------------------------------------------------------------------------------


@frozen
class Prepared:
    """Content that waits for its signature value."""

    profile: Profile
    certificate: bytes
    attributes: bytes  # the DER that the token signs

    def job(self, key: str) -> Job:
        """Return what a token is asked to do."""
        return Job(key, self.profile.algorithm, self.attributes, self.profile.sm2_id)


def prepare(
    document: bytes, profile: Profile, certificate: bytes, behind: Sequence[str] = (), at: Instant = 0
) -> Prepared:
    """Digest the content and write the signed attributes; see ``contract.Format``."""
    attributes = [
        _attribute(_CONTENT_TYPE, _KINDS[profile.format][1]),
        _attribute(_MESSAGE_DIGEST, tlv(OCTETS, profile.digest(document))),
        _attribute(_SIGNING_TIME, _moment(at)),
    ]
    if profile.format == "cms":
        attributes.append(_attribute(_SIGNING_CERTIFICATE, _signing_certificate(certificate)))
    return Prepared(profile, certificate, tlv(SET, *sorted(attributes)))


def _attribute(kind: bytes, value: bytes) -> bytes:
    return tlv(SEQUENCE, kind, tlv(SET, value))


def _moment(at: Instant) -> bytes:
    moment = datetime.fromtimestamp(at // SECOND, UTC)
    if moment.year <= _LAST_UTC_TIME:
        return tlv(UTC_TIME, f"{moment:%y%m%d%H%M%SZ}".encode())
    return tlv(TIME, f"{moment:%Y%m%d%H%M%SZ}".encode())


def _signing_certificate(der: bytes) -> bytes:
    """Write a SigningCertificateV2 (RFC 5035, 3): the SHA-256 digest of the certificate."""
    return tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, tlv(OCTETS, hashlib.sha256(der).digest()))))


def assemble(original: bytes, prepared: Prepared, signature: bytes) -> bytes:
    """Return the SignedData in DER, with the content in it unless the profile is detached."""
    profile = prepared.profile
    signed_data, data = _KINDS[profile.format]
    digest = _algorithm(profile.digest_method)[0]
    signer = tlv(
        SEQUENCE,
        _ONE,
        _name(prepared.certificate),
        digest,
        bytes((_FIRST,)) + prepared.attributes[1:],
        _algorithm(profile.method)[profile.algorithm.startswith("rsa")],
        tlv(OCTETS, profile.written(signature)),
    )
    content = () if profile.detached else (tlv(_FIRST, tlv(OCTETS, original)),)
    parts = _ONE, tlv(SET, digest), tlv(SEQUENCE, data, *content), tlv(_FIRST, prepared.certificate), tlv(SET, signer)
    return tlv(SEQUENCE, signed_data, tlv(_FIRST, tlv(SEQUENCE, *parts)))


@lru_cache(64)
def _algorithm(dotted: str) -> tuple[bytes, bytes]:
    """Return the two spellings of an AlgorithmIdentifier: without parameters, and with NULL, as RSA has it."""
    return tlv(SEQUENCE, oid(dotted)), tlv(SEQUENCE, oid(dotted), tlv(NULL))


@lru_cache(maxsize=8192)
def _name(certificate: bytes) -> bytes:
    """Return what a signer is named by: issuer and serial number of the certificate."""
    try:
        body = parse(certificate).children()[0].children()
        serial, _, issuer = body[1:4] if body[0].tag == _FIRST else body[:3]
    except (ValueError, IndexError):
        problem = f"a certificate of {len(certificate)} bytes can't be read"
        raise ConfigurationError([problem], code="SWX-4060") from None
    return tlv(SEQUENCE, issuer.whole, serial.whole)


# -- verifying ---------------------------------------------------------------------------------------------------


@frozen
class _Parts:
    """What a SignedData says."""

    format: str
    digests: tuple[bytes, ...]
    content: bytes | None
    certificates: tuple[bytes, ...]
    signer: bytes  # issuer and serial number
    digest: bytes
    attributes: bytes  # as they were signed
    digested: bytes  # what the attributes say that the digest is
    attested: bytes  # the digest of the certificate, if they say it
    method: bytes
    value: bytes


def verify(
    document: bytes,
    *,
    profiles: Collection[Profile],
    certificates: Collection[bytes],
    at: Instant,
    behind: Sequence[str] = (),
    content: bytes | None = None,
) -> Verified:
    """Verify a SignedData in DER; see ``contract.Format``."""
    try:
        parts = _read(document)
    except (ValueError, IndexError) as why:
        raise bad(STRUCTURE, str(why), "不是符合要求的 SignedData（DER）") from None
    fitting = [profile for profile in profiles if _fits(parts, profile)]
    if not fitting:
        raise unaccepted(profiles)
    signer = _signer(parts, certificates)
    signed = parts.content if parts.content is not None else content
    if signed is None:
        raise bad(CONTENT)
    if content not in (None, signed):
        raise bad(DIGEST)
    return by_any(fitting, partial(_verified, parts, signer, signed, at))


def _verified(parts: _Parts, signer: Certificate, signed: bytes, at: Instant, profile: Profile) -> Verified:
    require_fit(signer, profile, at)
    if profile.digest(signed) != parts.digested:
        raise bad(DIGEST)
    value = require_signed(signer, profile, parts.value, parts.attributes)
    return Verified(signer, profile, signed, given=parts.attributes, value=value)


def shown(document: bytes) -> tuple[bytes, ...]:
    """Return the certificates that a SignedData brings along, in DER; none where it is none."""
    try:
        return _read(document).certificates
    except (ValueError, IndexError):
        return ()


def _fits(parts: _Parts, profile: Profile) -> bool:
    """Tell whether the profile's identifiers are those of the signature, and the content where it has it."""
    return (
        profile.format == parts.format
        and profile.detached == (parts.content is None)
        and parts.method in _algorithm(profile.method)
        and parts.digest in _algorithm(profile.digest_method)
        and parts.digests == (parts.digest,)
    )


def _signer(parts: _Parts, certificates: Collection[bytes]) -> Certificate:
    """Return the registered certificate that the signature names, and brings along if it brings any."""
    for der in certificates:
        if _name(der) == parts.signer and (der in parts.certificates or not parts.certificates):
            if parts.attested not in (b"", hashlib.sha256(der).digest()):
                raise bad(STRANGER)
            return x509.read(der)
    raise bad(STRANGER)


def _read(document: bytes) -> _Parts:
    """Take a SignedData apart. Raises ValueError or IndexError where it isn't built as it must be."""
    root = parse(document)
    kind, wrapped = root.of(OID, _FIRST)
    format = {kinds[0]: name for name, kinds in _KINDS.items()}.get(kind.whole)
    if root.tag != SEQUENCE or format is None:
        raise ValueError("it is no SignedData")
    [signed_data] = wrapped.of(SEQUENCE)
    version, digests, inner, *certificates, signers = signed_data.children()
    tags = [one.tag for one in (version, digests, inner, *certificates, signers)]
    if tags not in ([INTEGER, SET, SEQUENCE, SET], [INTEGER, SET, SEQUENCE, _FIRST, SET]) or version.whole != _ONE:
        raise ValueError("other parts than there must be")
    [signer] = signers.of(SEQUENCE)
    number, name, digest, attributes, method, value = signer.of(INTEGER, SEQUENCE, SEQUENCE, _FIRST, SEQUENCE, OCTETS)
    if number.whole != _ONE:
        raise ValueError("another version than there must be")
    said = _said(attributes, _KINDS[format][1])
    return _Parts(
        format=format,
        digests=tuple(one.whole for one in digests.children()),
        content=_content(inner, _KINDS[format][1]),
        certificates=tuple(one.whole for part in certificates for one in part.children()),
        signer=name.whole,
        digest=digest.whole,
        attributes=bytes((SET,)) + attributes.whole[1:],
        digested=said[_MESSAGE_DIGEST].body,
        attested=_attested(said),
        method=method.whole,
        value=value.body,
    )


def _content(inner: Node, data: bytes) -> bytes | None:
    """Return the content, None where it isn't in there."""
    kind, *wrapped = inner.children()
    if kind.whole != data or [one.tag for one in wrapped] not in ([], [_FIRST]):
        raise ValueError("what was signed isn't plain data")
    return wrapped[0].of(OCTETS)[0].body if wrapped else None


def _said(attributes: Node, data: bytes) -> dict[bytes, Node]:
    """Return the signed attributes by kind; each has one value, and those that must be there are."""
    said: dict[bytes, Node] = {}
    for one in attributes.children():
        kind, values = one.of(OID, SET)
        if kind.whole in said:
            raise ValueError("a signed attribute stands there twice")
        [said[kind.whole]] = values.children()
    if _CONTENT_TYPE not in said or said[_CONTENT_TYPE].whole != data:
        raise ValueError("the signed attributes don't say what was signed")
    if _MESSAGE_DIGEST not in said or said[_MESSAGE_DIGEST].tag != OCTETS:
        raise ValueError("the signed attributes hold no digest")
    return said


def _attested(said: dict[bytes, Node]) -> bytes:
    """Return the SHA-256 digest of the signer's certificate that the attributes hold; nothing where they hold none."""
    if _SIGNING_CERTIFICATE not in said:
        return b""
    first = said[_SIGNING_CERTIFICATE].children()[0].children()[0].children()[0]
    if first.tag != OCTETS:
        raise ValueError("the signer's certificate is digested by something else than SHA-256")
    return first.body
