"""Judge a platform file by its record table: one walk over the records that never stops at a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from attrs import define, evolve, field

from exchange.formats._faults import Fault, Limit
from exchange.formats._platform_parse import TRAILER, File
from exchange.formats._platform_table import FieldRule, RecordRule, RecordTable

WARNINGS: Final = ("unknown", "surplus")


def faults(file: File, table: RecordTable) -> Iterator[Fault]:
    """Yield everything that is wrong with a file, in its order; what the table tolerates is a warning."""
    for fault in _Walk(file, table).faults():
        if fault.rule in table.tolerated or fault.rule in WARNINGS:
            yield evolve(fault, severity="warning")
        else:
            yield fault


@define
class _Loop:
    """A loop that is being read: the record it began with, and what was met in it."""

    rule: RecordRule | None
    at: int
    met: Counter[str] = field(factory=Counter)
    rank: int = -1  # of the last record in it


@define
class _Walk:
    file: File
    table: RecordTable
    _open: list[_Loop] = field(factory=lambda: [_Loop(None, 0)])
    _unknown: set[str] = field(factory=set)

    def faults(self) -> Iterator[Fault]:
        for number in range(len(self.file.raws)):
            fields = self.file.fields(number)
            rule = self.table.records.get(fields[0])
            if rule is None:
                if fields[0] not in self._unknown:  # once is enough
                    self._unknown.add(fields[0])
                    yield self._fault("unknown", number, fields[0][:8])
                continue
            yield from self._placed(rule, number)
            yield from self._fields(rule, number, fields)
            if rule.id == TRAILER:
                yield from self._total(rule, number, fields)
        while self._open:
            yield from self._closed(self._open.pop(), len(self.file.raws) - 1)

    def _placed(self, rule: RecordRule, number: int) -> Iterator[Fault]:
        """Find the loop that a record belongs to, ending those it leaves."""
        home = next((loop for loop in reversed(self._open) if _id(loop) == rule.within), None)
        if home is None:
            around = self.table.records[rule.within]
            yield self._fault("order", number, rule.id, rule, limit=(f"behind a {around.id}", f"位于 {around.id} 之后"))
            return
        while self._open[-1] is not home:
            yield from self._closed(self._open.pop(), number - 1)
        home.met[rule.id] += 1
        if rule.rank < home.rank:
            later = next(r for r in self.table.loops[rule.within] if r.rank > rule.rank and home.met[r.id])
            yield self._fault("order", number, rule.id, rule, limit=(f"before {later.id}", f"位于 {later.id} 之前"))
        home.rank = max(home.rank, rule.rank)
        if home.met[rule.id] == rule.max + 1:
            yield self._fault("occurs", number, rule.id, rule, limit=str(rule.max), actual=rule.max + 1)
        if self.table.loops[rule.id]:
            self._open.append(_Loop(rule, number))

    def _closed(self, loop: _Loop, number: int) -> Iterator[Fault]:
        for rule in self.table.loops[_id(loop)]:
            if rule.required and not loop.met[rule.id]:
                yield self._fault("required", loop.at if loop.rule else number, rule.id, rule)

    def _fields(self, rule: RecordRule, number: int, fields: list[str]) -> Iterator[Fault]:
        for known in rule.fields:
            value = fields[known.at - 1].strip() if known.at <= len(fields) else ""
            if value:
                for broken, limit in known.value.faults(value):
                    yield self._field(broken, rule, known, number, value, limit)
            elif known.required:
                yield self._field("required", rule, known, number)
            elif known.partner and not "".join(fields[known.partner.at - 1 : known.partner.at]).strip():
                limit = (known.partner.name, f"{known.partner.zh} {known.partner.name}")
                yield self._field("pair", rule, known, number, limit=limit)
        if not rule.open and "".join(fields[rule.known :]).strip():
            yield self._fault("surplus", number, rule.id, rule, limit=str(rule.known))

    def _total(self, rule: RecordRule, number: int, fields: list[str]) -> Iterator[Fault]:
        """Compare the number of records with what the trailer says; whether it counts itself is the table's to say."""
        said = fields[1].strip() if len(fields) > 1 else ""
        count = len(self.file.raws)
        accepted = {"all": (count,), "body": (count - 2,), "either": (count, count - 2)}[self.table.total]
        if said.isascii() and said.isdigit() and len(said) < 10 and int(said) not in accepted:
            yield self._field("total", rule, rule.fields[0], number, said, said, count)

    def _fault(
        self, broken: str, number: int, id: str, rule: RecordRule | None = None, limit: Limit = "", actual: int = 0
    ) -> Fault:
        en, zh = (
            (f"record {id} ({rule.title.en})", f"记录 {id}（{rule.title.zh}）")
            if rule
            else (f"record {id}", f"记录 {id}")
        )
        return Fault(broken, self._pointer(number), id, en, zh, self.file.line(number), "", limit, actual)

    def _field(
        self,
        broken: str,
        rule: RecordRule,
        known: FieldRule,
        number: int,
        value: str = "",
        limit: Limit = "",
        actual: int = 0,
    ) -> Fault:
        pointer = f"{self._pointer(number)}, field {known.at} {known.name}"
        en, zh = f"{known.name} of record {rule.id}", f"记录 {rule.id} 的{known.zh}（{known.name}）"
        return Fault(broken, pointer, known.name, en, zh, self.file.line(number), value, limit, actual or len(value))

    def _pointer(self, number: int) -> str:
        return f"record {number + 1} ({self.file.id(number)})" if number >= 0 else "file"


def _id(loop: _Loop) -> str:
    return loop.rule.id if loop.rule else ""
