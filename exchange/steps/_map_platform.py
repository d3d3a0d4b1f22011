"""Platform files in maps: ``12/2``; a loop names the record that begins it, or ``01/*``, the fields behind an id.

In a target a record is written where a row first names it; each turn of a loop has records of its own. The trailer is
counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from exchange.formats import Opened
from exchange.formats._platform_parse import TRAILER, File
from exchange.formats._platform_table import FieldRule, load
from exchange.formats.platform_file import PlatformFile, encoded
from exchange.instants import Instant
from exchange.steps._map_file import TargetRow
from exchange.steps._map_sides import SELF, Base, Enter, Keep, Look, Loop, Put, Turn, keep, same
from exchange.steps._map_values import Value

# -- reading -----------------------------------------------------------------------------------------------------

_FIELD: Final = re.compile(r"(?P<record>[0-9A-Z]{2})/(?P<field>[1-9][0-9]{0,2})")
_REST: Final = re.compile(r"(?P<record>[0-9A-Z]{2})/\*")


@frozen(eq=False)
class _Span:
    """Records that follow each other."""

    file: File
    records: list[tuple[int, list[str]]]  # number in the file, fields
    first: dict[str, list[str]] = field(factory=dict)

    def named(self, id: str) -> list[str]:
        if not self.first and self.records:
            for _, fields in self.records:
                self.first.setdefault(fields[0], fields)
        return self.first.get(id, [])


class FromPlatform:
    """Platform files: ``12/2``; a loop names the record that begins it, or ``01/*``, the fields behind an id."""

    def __init__(self, file: Path) -> None:
        self.format = PlatformFile()
        self._table = load(file)
        self._inside = {id: self._belonging(id) for id in self._table.records}

    def root(self, opened: Opened) -> Any:
        """Return all records."""
        file: File = opened.tree
        return _Span(file, [(number, file.fields(number)) for number in range(len(file.raws))])

    def look(self, path: str, base: Base) -> Look:
        """Compile ``12/2``, or ``.`` in a loop over fields."""
        if path == SELF:
            return str
        found = _FIELD.fullmatch(path)
        if found is None or found["record"] not in self._table.records:
            raise ValueError(path)
        id, at = found["record"], int(found["field"]) - 1
        rule = self._table.records[id]
        if at and not rule.open and at >= rule.known:
            raise ValueError(path)
        return lambda span: fields[at].strip() if at < len(fields := span.named(id)) else ""

    def loop(self, path: str, base: Base) -> Loop:
        """Compile a loop over records, or over the fields of one."""
        if found := _REST.fullmatch(path):
            id = found["record"]
            return lambda span: [text for field in span.named(id)[1:] if (text := field.strip())]
        if path not in self._table.records:
            raise ValueError(path)
        return partial(self._spans, path)

    def pointer(self, place: Any, turns: Sequence[Turn], path: str) -> tuple[str, int | None]:
        """Point to a record by its number, and to a field."""
        if not isinstance(place, _Span) or not place.records:
            return path, None
        id, _, at = path.partition("/")
        number = next((number for number, fields in place.records if fields[0] == id), place.records[0][0])
        where = f"record {number + 1} ({place.file.id(number)})"
        known = place.file.id(number) == id
        return f"{where}, field {at}" if known and at else f"{where}: {path}" if path else where, place.file.line(
            number
        )

    def _belonging(self, id: str) -> frozenset[str]:
        """Return the records of the loop that a record begins."""
        inside = {rule.id for rule in self._table.loops[id]}
        return frozenset(inside.union(*(self._belonging(other) for other in inside)))

    def _spans(self, id: str, span: _Span) -> Iterator[_Span]:
        inside, current = self._inside[id], list[tuple[int, list[str]]]()
        for record in span.records:
            name = record[1][0]
            ends = name == id or (name in self._table.records and name not in inside)
            if ends and current:
                yield _Span(span.file, current)
                current = []
            if name == id or (current and not ends):
                current.append(record)
        if current:
            yield _Span(span.file, current)


# -- writing -----------------------------------------------------------------------------------------------------


@define(eq=False)
class _Records:
    """The records of a platform file, and those of one turn by their id."""

    all: list[list[str]]
    known: dict[str, list[str]] = field(factory=dict)


class ToPlatform:
    """Platform files: ``12/2``: a record is written where a row first names it; each turn of a loop has its own."""

    def __init__(self, row: TargetRow, file: Path) -> None:
        self.format, self._table, self._charset = PlatformFile(), load(file), row.charset
        self._used: set[tuple[str, int]] = set()

    def root(self) -> _Records:
        """Return no record."""
        return _Records([])

    def put(self, path: str, base: Base) -> Put:
        """Compile a place in a record."""
        found = _FIELD.fullmatch(path)
        rule = self._table.records.get(found["record"]) if found else None
        at = int(found["field"]) if found else 0
        if rule is None or at < 2 or rule.id == TRAILER or (not rule.open and at > rule.known):
            raise ValueError(path)
        self._used.add((rule.id, at))
        return partial(_put_field, rule.id, at)

    def add(self, path: str, base: Base) -> Put:
        """Compile a record whose further fields are more of the same."""
        self.put(path, base)
        id, _, at = path.partition("/")

        def add(here: _Records, value: Value) -> None:
            _put_field(id, max(int(at), len(here.known.get(id, ())) + 1), here, value)

        return add

    def enter(self, path: str, base: Base, loop: bool) -> tuple[Enter, Keep]:
        """Let each turn write records of its own."""
        if path:
            raise ValueError(path)
        return (lambda here, turn: _Records(here.all)) if loop else same, keep

    def missing(self) -> list[str]:
        """List required records and fields of the records that are written."""
        ids = {id for id, _ in self._used} | {"", TRAILER}
        rules = [rule for id in self._table.loops if id in ids for rule in self._table.loops[id]]
        absent = [rule.id for rule in rules if rule.required and rule.id not in ids]
        fields = [(id, rule) for id in ids - {"", TRAILER} for rule in self._table.records[id].fields]
        absent += [f"{id}/{rule.at}" for id, rule in fields if not self._filled(id, rule)]
        return sorted(absent)

    def _filled(self, id: str, rule: FieldRule) -> bool:
        places = [rule.at, *([rule.partner.at] if rule.partner else [])]
        return not (rule.required or rule.partner) or any((id, at) in self._used for at in places)

    def write(self, root: Any, id: tuple[int, int], at: Instant) -> bytes:
        """Return the file with its trailer."""
        records = [*root.all, [TRAILER]]
        total = len(records) - (2 if self._table.total == "body" else 0)
        records[-1].append(str(total))
        return encoded(records, self._charset)


def _put_field(id: str, at: int, here: _Records, value: Value) -> None:
    record = here.known.get(id)
    if record is None:
        record = here.known[id] = [id]
        here.all.append(record)
    record += [""] * (at - len(record))
    record[at - 1] = record[at - 1] or str(value)
