"""What the switch signs of an evidence file: a small XML document that names the SHA-256 of the manifest.

So the manifest is signed with whatever profile the site signs messages with, by the same token and queue, and any
verifier of XML signatures can check it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from exchange.errors import ExchangeError
from exchange.evidence import form
from exchange.evidence.checks import instant, shown
from exchange.evidence.container import Package
from exchange.evidence.contents import SMALL
from exchange.evidence.findings import Check, absent, failed, passed
from exchange.evidence.form import Manifest
from exchange.evidence.signatures import Found, Pins, find
from exchange.instants import Instant, show_instant
from exchange.signing.canonical import parsed
from exchange.signing.certificates import Certificate
from exchange.signing.contract import Verified
from exchange.signing.xmldsig import assemble, prepare

_TEXT: Final = (
    '<Evidence xmlns="urn:switch-evidence:1" message="{message}" manifest="{manifest}" signer="{signer}" at="{at}">'
    "</Evidence>\n"
)


def written(message: str, digest: str, signer: bytes, at: Instant) -> bytes:
    """Return what is to be signed about a manifest with that SHA-256 by whom a certificate (DER) is.

    The certificate is named in it, for a signature in XML doesn't cover the one that stands beside it. Raises
    ValueError where it is no id or digest.

    >>> written("20261122-1", 64 * "0", b"", 0)[:60]
    b'<Evidence xmlns="urn:switch-evidence:1" message="20261122-1"'
    """
    if not re.fullmatch(r"\d{8}-\d+", message, re.ASCII) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("a message's id and the SHA-256 of its manifest are needed")
    shown = sha256(signer).hexdigest()
    return _TEXT.format(message=message, manifest=digest, signer=shown, at=show_instant(at)).encode()


def check(package: Package, manifest: Manifest, pins: Pins) -> Check:
    """Tell whether the manifest is signed, and by whom."""
    if not manifest.signature:
        return absent("manifest-signature", "the manifest isn't signed", "清单未签名")
    document = package.read(form.STATEMENT, SMALL)
    try:
        attributes: Any = parsed(document).attrib
        at = str(attributes.get("at", ""))
        found = _found(document, pins.certificates, instant(at))
    except (ExchangeError, ValueError) as why:
        return _failed(f"it can't be read: {why}", f"无法读取：{why}")
    if found is None:
        return _failed("it carries no signature", "没有签名")
    if found.verified is None:
        return _failed(str(found.why), f"{found.why.code} {found.why.zh}" if found.why else "")
    digest = sha256(manifest.dumped()).hexdigest()
    statement = written(manifest.message, digest, found.verified.signer.der, instant(at))
    if not _is(document, statement, found.verified):
        return _failed("it is over another manifest", "所签的是另一份清单")
    return _trusted(found.verified.signer, at, pins)


def _found(document: bytes, known: Sequence[bytes], at: Instant) -> Found | None:
    """Verify with the certificate that the signature shows: whether that is to be trusted is another question."""
    first = find(document, known, at)
    return find(document, [*known, first.named], at) if first and first.named else first


def _is(document: bytes, statement: bytes, verified: Verified) -> bool:
    """Tell whether a document is the statement, signed, and nothing else: not by one bit that no signature covers."""
    prepared = prepare(statement, verified.profile, verified.signer.der)
    return document == assemble(statement, prepared, verified.value)


def _trusted(signer: Certificate, at: str, pins: Pins) -> Check:
    if pins.certificates and not pins.trust(signer.der):
        return _failed(f"nobody trusted vouches for its signer: {shown(signer)}", f"签名者不受信任：{shown(signer)}")
    en, zh = f"signed {at} by {shown(signer)}", f"{at} 由 {shown(signer)} 签名"
    return passed("manifest-signature", en, zh, form.STATEMENT)


def _failed(en: str, zh: str) -> Check:
    return failed("manifest-signature", en, zh, form.STATEMENT)
