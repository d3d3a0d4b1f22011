"""Record tables: what a platform file of one type and edition is made of, as data.

A table is YAML beside the type's YAML, in ``records/``::

    base: envelope.yaml              # optional: another table; records of the same id here take their place
    total: either                    # all | body | either: whether the total in record 99 counts 00 and 99 themselves
    tolerate: [maxLength]            # rules whose breach only warns, for what the field does every day
    records:                         # in the order in which they may stand
      - id: "12"
        title: {zh: 提单, en: bill of lading}
        use: M                       # M | C, within the record it belongs to
        max: 9999
        within: ""                   # the record that begins its loop; empty: the file itself
        open: true                   # the fields behind those listed aren't known
        fields:                      # of field 1, the id, nothing need be said
          - {at: 2, name: B/L NO., zh: 提单号, form: X(20), use: M}
          - {at: 8, name: ETD, zh: 离港日期, form: 9(8), kind: date}

``form`` is the specification's own: X(n) text, 9(n) digits, 9(n).9 a number with as many decimals as there are nines,
9(n).9(m) with m. ``use``: M, C, O, or M/C and C/M on two fields that follow each other, one of which is required.
Dates and times may lack their century, times their seconds: real files do both. A record that isn't in the table
passes with a warning, wherever it stands: what isn't known is not made up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from attrs import Factory, frozen
from pydantic import Field, StringConstraints, ValidationError

from exchange.errors import ConfigurationError
from exchange.formats import Text, Title
from exchange.formats._values import Kind, Value
from exchange.options import Strict
from exchange.yamlfile import read

_FORM: Final = re.compile(r"(X|9)\(([0-9]{1,5})\)(?:\.(9+)(?:\(([0-9]{1,2})\))?)?")
_PAIRED: Final = ("M/C", "C/M")

Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{2}$")]


class FieldRow(Strict):
    """One field of a record."""

    at: int = Field(ge=2, le=1000)
    name: Text
    zh: Text
    form: Annotated[str, StringConstraints(pattern=_FORM.pattern)]
    use: Literal["M", "C", "O", "M/C", "C/M"] = "C"
    kind: Literal["", "date", "time"] = ""
    codes: tuple[Text, ...] = ()


class RecordRow(Strict):
    """One type of record."""

    id: Id
    title: Title
    use: Literal["M", "C"] = "C"
    max: int = Field(1, ge=1)
    within: str = ""
    open: bool = False
    fields: tuple[FieldRow, ...] = ()


class TableFile(Strict):
    """One record table."""

    base: str = ""
    total: Literal["all", "body", "either", ""] = ""
    tolerate: tuple[str, ...] = ()
    records: tuple[RecordRow, ...] = ()


@frozen
class FieldRule:
    """A field with its rules compiled."""

    at: int
    name: str
    zh: str
    value: Value
    required: bool
    partner: FieldRule | None = None  # of two fields one of which is required: the first points to the second


@frozen
class RecordRule:
    """A record with its rules compiled; *rank* is its place among those of the same loop."""

    id: str
    title: Title
    required: bool
    max: int
    within: str
    rank: int
    open: bool
    fields: Sequence[FieldRule]
    known: int  # the number of the last field that is known


@frozen
class RecordTable:
    """Everything that is known of one type and edition."""

    records: Mapping[str, RecordRule]
    loops: Mapping[str, Sequence[RecordRule]]  # the id a loop begins with -> what belongs to it
    total: str
    tolerated: frozenset[str] = Factory(frozenset)


@cache
def load(file: Path) -> RecordTable:
    """Compile a record table. Raises ValueError that says where it is wrong."""
    whole = _merged(file, ())
    problems = list(_mistakes(whole))
    if problems:
        raise ValueError(f"{file.name}: {'; '.join(problems)}")
    records = {row.id: _record(row, rank) for rank, row in enumerate(whole.records)}
    loops = {row.id: [rule for rule in records.values() if rule.within == row.id] for row in whole.records}
    loops[""] = [rule for rule in records.values() if not rule.within]
    return RecordTable(records, loops, whole.total or "either", frozenset(whole.tolerate))


def _merged(file: Path, seen: tuple[Path, ...]) -> TableFile:
    own = _read(file)
    if not own.base:
        return own
    if file in seen:
        raise ValueError(f"{file.name}: it is its own base")
    base = _merged(file.parent / own.base, (*seen, file))
    replaced = {row.id: row for row in own.records}
    first, *last = [replaced.pop(row.id, row) for row in base.records]
    ending = [row for row in last if row.id == "99"]
    beginning = [first, *(row for row in last if row.id != "99")]
    return TableFile(
        total=own.total or base.total,
        tolerate=(*base.tolerate, *own.tolerate),
        records=(*beginning, *replaced.values(), *ending),
    )


def _read(file: Path) -> TableFile:
    try:
        document = read(file.read_text("utf-8"), file.name)
        return TableFile.model_validate(document.data)
    except (OSError, UnicodeDecodeError) as why:
        raise ValueError(f"{file.name}: {why}") from None
    except ConfigurationError as why:
        raise ValueError("; ".join(why.problems)) from None
    except ValidationError as why:
        raise ValueError("; ".join(document.problems(why, TableFile))) from None


def _mistakes(table: TableFile) -> list[str]:
    ids = [row.id for row in table.records]
    found = [f"record {id} stands there twice" for id in ids if ids.count(id) > 1]
    for row in table.records:
        if row.within and row.within not in ids[: ids.index(row.id)]:
            found.append(f"record {row.id}: there is no record {row.within!r} above that it could belong to")
        places = [field.at for field in row.fields]
        if sorted(set(places)) != places:
            found.append(f"record {row.id}: its fields aren't in order")
        paired = [field.at for field in row.fields if field.use in _PAIRED]
        if len(paired) % 2 or any(b - a != 1 for a, b in zip(paired[::2], paired[1::2], strict=True)):
            found.append(f"record {row.id}: fields marked M/C and C/M must stand in pairs")
    return found


def _record(row: RecordRow, rank: int) -> RecordRule:
    fields: list[FieldRule] = []
    paired = [field for field in row.fields if field.use in _PAIRED]
    seconds = {first.at: _field(second) for first, second in zip(paired[::2], paired[1::2], strict=True)}
    for field in row.fields:
        fields.append(_field(field, seconds.get(field.at)))
    known = max((field.at for field in row.fields), default=1)
    return RecordRule(row.id, row.title, row.use == "M", row.max, row.within, rank, row.open, fields, known)


def _field(row: FieldRow, partner: FieldRule | None = None) -> FieldRule:
    return FieldRule(row.at, row.name, row.zh, _value(row), row.use == "M", partner)


def _value(row: FieldRow) -> Value:
    form = _FORM.fullmatch(row.form)
    if form is None:
        raise ValueError(f"{row.form} is no form")
    letter, size, nines, places = form.groups()
    if row.kind:
        return Value(row.kind)
    if nines:
        return Value("number", whole=int(size), decimals=int(places) if places else len(nines))
    kind: Kind = "text" if letter == "X" else "digits"
    return Value(kind, longest=int(size), codes=row.codes)
