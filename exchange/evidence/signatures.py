"""The signatures in an evidence file: whether they stand, whose they are, and what is left without them."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from attrs import frozen
from lxml import etree

from exchange.errors import BadSignature, ConfigurationError, ExchangeError, TokenError, Unreadable
from exchange.instants import Instant
from exchange.signing import canonical, certificates, formats, trust, xmldsig
from exchange.signing.contract import Verified
from exchange.signing.faults import STRANGER, bad
from exchange.signing.profiles import PROFILES, Profile
from exchange.signing.splice import splice
from exchange.wrappers.opening import layers

_DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_BEGIN: Final = re.compile(rb'<ds:Signature xmlns:ds="http://www\.w3\.org/2000/09/xmldsig#"><ds:SignedInfo>')
_END: Final = b"</ds:Signature>"


@frozen
class Pins:
    """Whom the reader trusts: nobody in particular where there is none."""

    certificates: Sequence[bytes] = ()  # DER: signers, or authorities that issued theirs

    def trust(self, signer: bytes) -> bool:
        """Tell whether a signer's certificate is one of these, was issued by one, or chains to a root among them."""
        try:
            return signer in self.certificates or trust.vouched(signer, self.certificates)
        except TokenError:  # this system has no SM2
            return False


@frozen
class Found:
    """A signature: it stands, or *why* not; *named* is the certificate that it shows, or was made with, in DER."""

    verified: Verified | None
    why: ExchangeError | None = None
    named: bytes | None = None
    apart: bool = False  # whether it stands around what was signed, or beside it

    @property
    def untold(self) -> bool:
        """Whether nothing can be said about it: its certificate isn't here, or its algorithm."""
        stranger = self.why is not None and self.why.code == STRANGER and self.named is None
        return stranger or isinstance(self.why, TokenError)


def find(payload: bytes, known: Sequence[bytes], at: Instant, times: Mapping[str, Instant] = {}) -> Found | None:
    """Verify the signature in an XML document with one of the *known* certificates; None where there is none.

    In envelopes, the innermost that is signed counts: the message, or the one that is nearest to it. *at* is when it
    was made, where *times*, by the serial number of a certificate, doesn't know better.
    """
    roots = [root for layer in layers(payload) if (root := _parsed(layer)) is not None]
    signed = [root for root in roots if root.find(_DS + "Signature") is not None]
    root = next(iter(signed[::-1] or roots), None)
    signature = None if root is None else next(root.iter(_DS + "Signature"), None)
    if root is None or signature is None:
        return None
    named = _shown(signature)
    at = times.get(certificates.read(named).serial, at) if named else at
    behind = [etree.QName(one).localname for one in signature.itersiblings() if isinstance(one.tag, str)]
    accepted = [one for one in PROFILES.all if one.enveloped]
    try:
        return Found(xmldsig.verify(root, profiles=accepted, certificates=known, at=at, behind=behind), None, named)
    except ExchangeError as why:
        return Found(None, why, named)


def _parsed(payload: bytes) -> Any:
    try:
        return canonical.parsed(payload)
    except Unreadable:
        return None


def _shown(signature: Any) -> bytes | None:
    """Return the certificate in a signature's KeyInfo, if it can be read."""
    text = next((element.text or "" for element in signature.iter(_DS + "X509Certificate")), "")
    try:
        return certificates.read(b64decode(text)).der if text else None
    except (ValueError, ConfigurationError):
        return None


def beside(
    payload: bytes, content: bytes, known: Sequence[bytes], made: Mapping[str, tuple[Profile, Instant]]
) -> Found | None:
    """Verify what is no XML as a signature around or beside *content*; None where none was made.

    *made* tells, by the serial number of a certificate, by which profile it signed and when: such a signature needn't
    name its signer.
    """
    if not made:
        return None
    for der in known:
        signer = certificates.read(der)
        if signer.serial in made:
            profile, at = made[signer.serial]
            try:
                verified = formats.verify(payload, profiles=[profile], certificates=[der], at=at, content=content)
                return Found(verified, None, der, apart=True)
            except ExchangeError as why:
                return Found(None, why, der, apart=True)
    return Found(None, bad(STRANGER), apart=True)


def left_is(original: bytes, signed: bytes) -> bool:
    """Tell whether *signed* is *original* with one signature put in, and not one other byte changed."""
    length = len(signed) - len(original)
    for begin in _BEGIN.finditer(signed):
        start, end = begin.start(), begin.start() + length
        if signed[:end].endswith(_END) and signed[:start] + signed[end:] == original:
            return True
    return _left_is_empty(original, signed)


def _left_is_empty(original: bytes, signed: bytes) -> bool:
    """Tell the same of a root that was written as ``<root/>`` and had to be opened."""
    last = max((begin.start() for begin in _BEGIN.finditer(signed)), default=-1)
    if last < 0 or not original.rstrip().endswith((b"/>", b"-->")):
        return False
    element = signed[last : signed.find(_END, last) + len(_END)]
    name = canonical.qname(canonical.parsed(signed)).encode()
    try:
        return splice(original, name, element) == signed
    except BadSignature:
        return False


def digests(verified: Verified) -> tuple[bytes, bytes]:
    """Return what a row of the signing log says of a signature: SHA-256 of what the key was given, and of the value."""
    return sha256(verified.given).digest(), sha256(verified.value).digest()
