"""Checking an evidence file: with no store, no switch and no network. Nothing is written; sizes are bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from exchange.catalogue import Catalogue
from exchange.errors import ExchangeError
from exchange.evidence import answers, checks, contents, stamps, statement
from exchange.evidence.container import Package
from exchange.evidence.findings import Check, failed, passed
from exchange.evidence.signatures import Pins


def verify(path: Path, types: Catalogue, trust: Sequence[bytes] = (), head: str = "") -> list[Check]:
    """Return what was checked, in order; *trust* is DER certificates, *head* a link that somebody noted.

    Where the file or its entries fail, nothing else is looked at.
    """
    try:
        with Package(path) as package:
            return list(_checks(package, types, Pins(trust), head))
    except ExchangeError as why:
        return [failed("file", why.en, why.zh)]
    except ValueError as why:
        return [failed("file", f"what it says can't be read: {why}", f"内容无法读取：{why}")]


def _checks(package: Package, types: Catalogue, pins: Pins, head: str) -> Iterator[Check]:
    manifest = contents.manifest(package)
    if different := contents.differences(package, manifest):
        for name in different:
            yield failed("entries", "it isn't what the manifest lists", "与清单所列不符", name)
        return
    read = contents.contents(package, manifest)
    count = len(manifest.entries)
    yield passed("entries", f"{count} entries, none missing, none added", f"{count} 个条目，不缺不多")
    yield statement.check(package, manifest, pins)
    yield stamps.check(package, manifest, pins)
    signed = checks.look(read, pins)
    yield from checks.signatures(read, signed, pins)
    yield from checks.sent(read, signed)
    yield from checks.log(read, signed)
    yield from checks.chain(read)
    if head:
        yield checks.head(read, head)
    yield from checks.facts(read)
    yield from checks.journal(read)
    yield from answers.receipts(read, types)
