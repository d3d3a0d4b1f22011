"""The formats of signatures by name, and which of them some bytes are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from attrs import evolve

from exchange.instants import Instant
from exchange.signing import cms, raw, xmldsig
from exchange.signing.contract import Format, Prepared, Verified
from exchange.signing.profiles import XML, Profile
from exchange.signing.trust import Terms

FORMATS: Final[Mapping[str, Format]] = {XML: xmldsig, "raw": raw, "cms": cms, "gmt0010": cms}


def prepare(
    document: Any, profile: Profile, certificate: bytes, behind: Sequence[str] = (), *, at: Instant
) -> Prepared:
    """Work out what a token must sign; see ``contract.Format``."""
    return FORMATS[profile.format].prepare(document, profile, certificate, behind, at)


def assemble(original: bytes, prepared: Prepared, signature: bytes) -> bytes:
    """Return the signed document, or the signature that goes beside it; see ``contract.Format``."""
    return FORMATS[prepared.profile.format].assemble(original, prepared, signature)


def verify(
    document: Any,
    *,
    profiles: Collection[Profile],
    certificates: Collection[bytes],
    at: Instant,
    behind: Sequence[str] = (),
    content: bytes | None = None,
    trust: Terms | None = None,
) -> Verified:
    """Verify a signature of whatever format, among those of the accepted *profiles*; see ``contract.Format``.

    With *trust*, its certificate must chain to an authority, too, and may be one that isn't among *certificates* where
    its subject is agreed on; ``trust.Authority.check`` says what that raises.
    """
    formats = {FORMATS[profile.format] for profile in profiles}
    format = formats.pop() if len(formats) == 1 else _format(document)
    asked: dict[str, Any] = {"profiles": profiles, "at": at, "behind": behind, "content": content}
    if format is xmldsig:
        return xmldsig.verify(document, certificates=certificates, trust=trust, **asked)
    if trust is not None and format is cms:
        certificates = [*certificates, *filter(trust.registers, cms.shown(document))]
    verified = format.verify(document, certificates=certificates, **asked)
    return evolve(verified, warnings=trust.require(verified.signer, at)) if trust else verified


def _format(document: Any) -> Format:
    """Return the format that a signature looks like: each begins in a way that no other does."""
    if not isinstance(document, bytes):
        return xmldsig
    if document[:1] == b"0" and document[1:2] >= b"\x80":  # a SEQUENCE that needs a long length
        return cms
    text = document.removeprefix(b"\xef\xbb\xbf").lstrip()
    return xmldsig if text.startswith((b"<", b"\xff\xfe", b"\xfe\xff")) else raw
