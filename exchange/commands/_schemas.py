"""What ``switchctl schema`` does, but for the words on the command line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

import click
from attrs import asdict

from exchange import catalogue, checking, installing, replaying
from exchange.catalogue import SCHEMAS, Catalogue
from exchange.commands._command import pick
from exchange.commands._offline import installed, named, past_of, types_of
from exchange.editions import spans
from exchange.errors import ConfigurationError, NotFound, Refused
from exchange.explaining import Explainer
from exchange.formats import Edition
from exchange.instants import date_at, show_id, show_instant
from exchange.model import MessageType
from exchange.ports import microseconds
from exchange.settings import Installation
from exchange.yamlfile import suggest

EPOCH: Final = date(1970, 1, 1)
PATIENCE: Final = 2.0  # seconds between two lines that say how far it is
SHOWN: Final = 3  # findings of one message


def today() -> date:
    """Return the day that it is for the switch."""
    return date_at(microseconds())


# -- looking -----------------------------------------------------------------------------------------------------


def listed(name: str, on: date) -> list[dict[str, Any]]:
    """Return every edition of every type, or of one. Raises NotFound."""
    types = types_of(installed())
    chosen = [named(types, name)] if name else [types.types[one] for one in sorted(types.types)]
    return [row for type in chosen for row in _editions(types, type, on)]


def _editions(types: Catalogue, type: MessageType, on: date) -> Iterator[dict[str, Any]]:
    file = type.spec.file
    deciding = {types.edition(type, on, version).name for version in file.version.accepted}
    when = spans(file.editions)
    for edition in file.editions:
        path: Path = type.spec.folder / edition.file
        last = when[edition.name][-1][1] if when[edition.name] else edition.valid_until
        yield {
            "type": type.name,
            "edition": edition.name,
            "valid_from": edition.valid_from.isoformat(),
            "valid_until": last and last.isoformat(),
            "versions": list(edition.versions),
            "certainty": edition.certainty or type.certainty,
            "origin": "switch" if path.is_relative_to(SCHEMAS) else "site",
            "file": str(path),
            "source": edition.source or file.source,
            "decides": edition.name in deciding,
        }


def checked(folder: Path, on: date) -> dict[str, Any]:
    """Return everything that is wrong with a folder of types."""
    return {"folder": str(folder), **asdict(checking.check(folder, installed().schemas, on))}


# -- changing ----------------------------------------------------------------------------------------------------


def _site(installation: Installation, into: Path | None) -> installing.Site:
    folders = installation.schemas
    if not folders:
        text = "names no folder of your own: write schemas: [types] there, and restart the switch once"
        raise ConfigurationError([installation.document.problem(("schemas",), text)])
    if into is not None and into.resolve() not in folders:
        raise Refused(
            f"{into} is none of the folders that schemas in switchd.yaml names: the switch wouldn't see it",
            f"{into} 不在 switchd.yaml 的 schemas 所列目录之中，交换机不会读取",
        )
    return installing.Site(folders, into.resolve() if into else folders[-1])  # whose types win


def added(source: Path, into: Path | None, main: str, name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Add an edition of a type; return when which edition decides, and what its samples are worth under the new one."""
    site = _site(installed(), into)
    type = installing.add_edition(site, source, main, name, row)
    types = site.catalogue()
    edition = next(one for one in type.spec.file.editions if one.name == row["name"])
    judged = [_valid(types, type, edition, one.path) for one in types.samples() if one.type == name and not one.code]
    samples = {"valid": sum(judged), "of": len(judged)}
    return {"type": name, "edition": row["name"], "file": edition.file, "samples": samples, "decides": _decides(type)}


def _valid(types: Catalogue, type: MessageType, edition: Edition, path: Path) -> bool:
    return types.schema(type, edition).valid(types.open_as(path.read_bytes(), type, path.name))


def _decides(type: MessageType) -> list[dict[str, Any]]:
    rows = [(*span, name) for name, found in spans(type.spec.file.editions).items() for span in found]
    return [
        {"from": begin.isoformat(), "until": until and until.isoformat(), "edition": name}
        for begin, until, name in sorted(rows, key=lambda row: row[0])
    ]


def added_family(source: Path, into: Path | None) -> dict[str, Any]:
    """Add a family; return where it lies and what it has."""
    site = _site(installed(), into)
    folder = installing.add_family(site, source, today())
    types = site.catalogue().types.values()
    return {"folder": str(folder), "types": sorted(type.name for type in types if type.spec.folder == folder)}


def retired(name: str, edition: str, day: date) -> dict[str, Any]:
    """End an edition of the site; return when which edition decides now."""
    installation = installed()
    _site(installation, None)
    type = installing.retire(installation.schemas, name, edition, day)
    return {"type": name, "edition": edition, "decides": _decides(type)}


# -- replay ------------------------------------------------------------------------------------------------------


def replayed(name: str, edition: str, candidate: Path | None, since: date | None, limit: int) -> dict[str, Any]:
    """Judge stored messages of a type anew; return who would be rejected. Raises NotFound, Refused."""
    installation = installed()
    kept = past_of(installation)
    folders = (SCHEMAS, *installation.schemas, *([candidate.resolve()] if candidate else []))
    types = catalogue.load(*folders)
    type = named(types, name)
    judge = replaying.Judge(types, type, _edition(type, edition) if edition else None)
    explainer = Explainer(folders)
    day = (since - EPOCH).days if since else 0
    with kept as past:
        try:
            work = replaying.replay(
                past, judge, explainer.explain, since_day=day, limit=limit, progress=_Progress().told
            )
            tally = asyncio.run(work)
        finally:
            explainer.stop()
    return {"type": name, "edition": edition, "limit": limit, **_tally(tally)}


def _edition(type: MessageType, name: str) -> Edition:
    known: dict[str, Edition] = {one.name: one for one in type.spec.file.editions}
    if name not in known:
        raise NotFound(f"{type.name} has no edition {name!r}{suggest(name, known)}", f"没有版本 {name!r}")
    return known[name]


class _Progress:
    """Says now and then how far it is, to whom sits at a terminal."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PATIENCE

    def told(self, tally: replaying.Tally) -> None:
        if sys.stderr.isatty() and time.monotonic() >= self._next:
            self._next = time.monotonic() + PATIENCE
            en = f"{tally.looked} looked at, {tally.rejected} would be rejected"
            click.echo(pick(en, f"已检查 {tally.looked} 份，将被拒绝 {tally.rejected} 份"), err=True)


def _tally(tally: replaying.Tally) -> dict[str, Any]:
    return {
        "looked_at": tally.looked,
        "would_be_rejected": tally.rejected,
        "rejected_then_too": tally.already,
        "would_be_accepted": tally.accepted,
        "left_out": tally.left_out,
        "parties": dict(tally.parties.most_common()),
        "rules": [{"code": code, "pointer": at, "messages": n} for (code, at), n in tally.rules.most_common()],
        "rejected": [
            {
                "id": show_id(one.kept.id),
                "at": show_instant(one.kept.at),
                "party": one.kept.sender,
                "name": one.kept.name,
                "findings": [asdict(finding) for finding in one.findings[:SHOWN]],
                "more": max(0, len(one.findings) - SHOWN),
            }
            for one in tally.listed
        ],
    }
