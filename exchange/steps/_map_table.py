"""Tables in maps: a path is a heading; a loop is ``*``, each row, or a heading: the rows with the same value there.

A target is CSV. The first turn of a loop writes on in the row of the loop around it: so a document and its first line
share a row, as templates have it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from exchange.formats import Opened
from exchange.formats._platform_parse import BOM
from exchange.formats._table_columns import load
from exchange.formats._table_rows import Held, Row, Rows, told_apart
from exchange.formats.table import Table
from exchange.instants import Instant
from exchange.steps._map_file import TargetRow
from exchange.steps._map_sides import Base, Enter, Keep, Look, Loop, Put, Turn, keep, same
from exchange.steps._map_values import Value

# -- reading -----------------------------------------------------------------------------------------------------

EACH_ROW: Final = "*"


@frozen(eq=False)
class _Rows:
    """Rows of a table; paths look into the first."""

    table: Rows
    rows: list[Row]


class FromTable:
    """Tables: a path is a heading; a loop is ``*``, each row, or a heading: rows with the same value there."""

    def __init__(self, file: Path) -> None:
        self.format = Table()
        self._headings = {column.name for column in load(file).file.columns}

    def root(self, opened: Opened) -> Any:
        """Return all rows: they are held. Raises Rejected (SWX-1015)."""
        table, held = opened.tree, Held()
        for row in table:
            held.add(row)
        return _Rows(table, held.rows)

    def look(self, path: str, base: Base) -> Look:
        """Compile a heading."""
        if path not in self._headings:
            raise ValueError(path)
        return partial(_cell, path)

    def loop(self, path: str, base: Base) -> Loop:
        """Compile a loop over rows or documents."""
        if path == EACH_ROW:
            return lambda place: (_Rows(place.table, [row]) for row in place.rows)
        if path not in self._headings:
            raise ValueError(path)
        return partial(_documents, path)

    def pointer(self, place: Any, turns: Sequence[Turn], path: str) -> tuple[str, int | None]:
        """Point to row and column."""
        number = place.rows[0].number if place.rows else 1
        return f"row {number}, column {path}" if path else f"row {number}", number


def _cell(heading: str, place: _Rows) -> str:
    return place.rows[0].text(place.table.column(heading)) if place.rows else ""


def _documents(heading: str, place: _Rows) -> Iterator[_Rows]:
    """Yield rows with the same value."""
    documents: list[_Rows] = []
    for number, row in told_apart(place.rows, place.table.column(heading)):
        if number == len(documents):
            documents.append(_Rows(place.table, []))
        documents[number].rows.append(row)
    return iter(documents)


# -- writing -----------------------------------------------------------------------------------------------------


@define(eq=False)
class _Row:
    """A row that is begun when something is written into it."""

    all: list[dict[str, str]]
    cells: dict[str, str] = field(factory=dict)


class ToTable:
    """Tables, as CSV: a path is a heading. The first turn of a loop writes on in the row of the loop around it."""

    def __init__(self, row: TargetRow, file: Path) -> None:
        self.format, self._columns = Table(), load(file).file.columns
        self._charset = row.charset
        self._used: set[str] = set()

    def root(self) -> _Row:
        """Return a row."""
        return _Row([])

    def put(self, path: str, base: Base) -> Put:
        """Compile a heading."""
        if all(path != column.name for column in self._columns):
            raise ValueError(path)
        self._used.add(path)
        return partial(_put_cell, path)

    def add(self, path: str, base: Base) -> Put:
        """Refuse: a cell holds one value."""
        raise ValueError(path)

    def enter(self, path: str, base: Base, loop: bool) -> tuple[Enter, Keep]:
        """Let each turn but the first begin a row."""
        if path:
            raise ValueError(path)
        return (lambda here, turn: here if turn == 1 else _Row(here.all)) if loop else same, keep

    def missing(self) -> list[str]:
        """List required columns."""
        return [column.name for column in self._columns if column.use == "M" and column.name not in self._used]

    def write(self, root: Any, id: tuple[int, int], at: Instant) -> bytes:
        """Return CSV: of all headings those that rows name, in the order of the template."""
        headings = [column.name for column in self._columns if column.name in self._used]
        text = io.StringIO()
        writer = csv.DictWriter(text, headings)
        writer.writeheader()
        writer.writerows(root.all)
        return (BOM if self._charset == "utf-8" else b"") + text.getvalue().encode(self._charset)


def _put_cell(heading: str, here: _Row, value: Value) -> None:
    if not here.cells:
        here.all.append(here.cells)
    here.cells.setdefault(heading, str(value))
