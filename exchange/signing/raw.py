"""The bare value over plain bytes, in base64: how the string of the real-time data interface (179) is signed.

Such a signature names neither signer nor algorithm: profile and certificates must be known from elsewhere.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from attrs import frozen

from exchange.errors import BadSignature
from exchange.instants import Instant
from exchange.ports import Job
from exchange.signing import certificates as x509
from exchange.signing.certificates import Certificate
from exchange.signing.contract import Verified, by_any, require_fit, require_signed, unaccepted
from exchange.signing.faults import ALGORITHM, CONTENT, STRUCTURE, TOO_LONG, VALUE, bad
from exchange.signing.profiles import Profile

LONGEST: Final = 256 * 1024  # bytes: all of them go to the signing device


@frozen
class Prepared:
    """Bytes that wait for their signature value."""

    profile: Profile
    data: bytes

    def job(self, key: str) -> Job:
        """Return what a token is asked to do."""
        return Job(key, self.profile.algorithm, self.data, self.profile.sm2_id)


def prepare(
    document: bytes, profile: Profile, certificate: bytes, behind: Sequence[str] = (), at: Instant = 0
) -> Prepared:
    """Take the bytes as they are. Raises BadSignature ``SWX-1110`` where they are too many for a signing device."""
    if len(document) > LONGEST:
        raise bad(TOO_LONG, f"{len(document)} bytes, at most {LONGEST}", f"{len(document)} 字节，至多 {LONGEST}")
    return Prepared(profile, document)


def assemble(original: bytes, prepared: Prepared, signature: bytes) -> bytes:
    """Return the value in base64, without line ends."""
    return b64encode(prepared.profile.written(signature))


def verify(
    document: bytes,
    *,
    profiles: Collection[Profile],
    certificates: Collection[bytes],
    at: Instant,
    behind: Sequence[str] = (),
    content: bytes | None = None,
) -> Verified:
    """Try the registered certificates, as the signature names none; see ``contract.Format``."""
    if content is None:
        raise bad(CONTENT)
    written = _decoded(document)
    fitting = [one for one in profiles if one.format == "raw"]
    if not fitting:
        raise unaccepted(profiles)
    signers = [x509.read(der) for der in certificates]
    return by_any(fitting, partial(_verified, signers, written, content, at))


def _verified(
    signers: Sequence[Certificate], written: bytes, content: bytes, at: Instant, profile: Profile
) -> Verified:
    able = [signer for signer in signers if x509.fits(signer, profile.algorithm)]
    if not able:
        kind = profile.algorithm
        raise bad(ALGORITHM, f"no registered certificate has a key for {kind}", f"没有登记可用于 {kind} 的证书")
    for signer in able:
        try:
            value = require_signed(signer, profile, written, content)
        except BadSignature:
            continue
        require_fit(signer, profile, at)
        return Verified(signer, profile, content, given=content, value=value)
    raise bad(VALUE)


def _decoded(document: bytes) -> bytes:
    """Return what the base64 says, which may be broken into lines and has one spelling otherwise."""
    text = b"".join(document.split())
    try:
        value = b64decode(text, validate=True)
    except ValueError:
        value = b""
    if not value or b64encode(value) != text:
        raise bad(STRUCTURE, "it must be base64", "签名应为 base64 编码")
    return value
