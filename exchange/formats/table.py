"""Import tables, CSV or Excel (.xlsx): one header row, typed columns, for users whose systems can write no more.

Read by ``_table_csv`` and ``_table_xlsx``, judged by the templates of ``_table_columns``, row by row: nothing but
the row that is looked at is held of a CSV, however large it is. A type is known by the
heading of its first column, in whose cells the version of the template stands: a column 进口订单导入表 with 1 in every
row is version 1 of that table. A path is a heading, ``#`` a digest of the bytes (an own_id for tables that have none:
the same file again is a duplicate), ``=1`` the text 1 itself.

A document is made of all rows that have the same value in the column that the YAML calls its element; a row where it
is blank belongs to the one above. Its own paths look into its first row. Nothing in a table is ever calculated: text
that begins with = + - or @ stays text, and a formula of Excel is an error.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from attrs import frozen

from exchange.formats import Opened, Place, Root, TypeFile
from exchange.formats import _table_csv as csv_table
from exchange.formats import _table_xlsx as workbook
from exchange.formats._facts import Facts, Look, probe
from exchange.formats._faults import LIMIT
from exchange.formats._platform_parse import BOM
from exchange.formats._table_columns import Template, load
from exchange.formats._table_judge import faults
from exchange.formats._table_rows import Row, Rows, told_apart
from exchange.model import Answer, Envelope, Finding

DIGEST: Final = 32  # hexadecimal digits of the content that serve as an id
ZIP: Final = b"PK\x03\x04"
LIMIT_HEADER: Final = 8 * 1024  # bytes in which sniffing looks for the end of the header row
LIMIT_HEADING: Final = 64

_NO_HEADING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f<>{}]")


@frozen
class _Source:
    """Where paths look: one row of a table."""

    table: Rows
    row: Row | None
    payload: bytes

    def text(self, heading: str) -> str:
        return self.row.text(self.table.column(heading)) if self.row else ""


def _compiled(path: str) -> Look:
    if path == "#":
        return lambda source: [hashlib.sha256(source.payload).hexdigest()[:DIGEST]]
    if path.startswith("="):
        return lambda source: [path[1:]]
    return lambda source: [text] if (text := source.text(path)) else []


class Reader:
    """Reads tables of one type."""

    def __init__(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> None:
        self._element = type.documents.element
        self._facts = Facts(type, caseless, answer, _compiled)

    def version(self, opened: Opened) -> str:
        """Return the version the table claims, or an empty text."""
        return self._facts.version(_whole(opened))

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty."""
        return self._facts.envelope(_whole(opened), self._firsts(opened))

    def original(self, opened: Opened) -> bytes:
        """Return the message that a receipt encloses, or nothing."""
        return self._facts.original(_whole(opened)).encode()

    def containers(self, opened: Opened) -> Sequence[Place]:
        """Return nothing: no table has container numbers."""
        return ()

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the table anew, as CSV in UTF-8, with only these of its documents."""
        table: Rows = opened.tree
        out = io.BytesIO()
        with io.TextIOWrapper(out, "utf-8-sig", "replace", newline="") as text:
            writer = csv.writer(text)
            writer.writerow(table.headings)
            writer.writerows(row.cells for number, row in self._numbered(table) if number in records)
            text.flush()
            return out.getvalue()

    def _numbered(self, table: Rows) -> Iterator[tuple[int, Row]]:
        return told_apart(table, table.column(self._element))

    def _firsts(self, opened: Opened) -> Iterator[_Source]:
        known = 0
        for number, row in self._numbered(opened.tree):
            if number == known:
                known += 1
                yield _Source(opened.tree, row, opened.payload)


def _whole(opened: Opened) -> _Source:
    table: Rows = opened.tree
    return _Source(table, table.first, opened.payload)


@frozen
class Schema:
    """A compiled template."""

    template: Template

    def valid(self, opened: Opened) -> bool:
        """Give the verdict."""
        return next(faults(opened.tree, self.template), None) is None

    def warnings(self, opened: Opened) -> list[Finding]:
        """Return nothing: what isn't forbidden is as it should be."""
        return []


class Table:
    """The format table."""

    receipt_shape: Final = "json"

    def sniff(self, payload: bytes) -> bool:
        """Tell by the list of its parts or by its first line whether the payload may be a workbook or CSV."""
        if payload.startswith(ZIP):
            return b"xl/workbook.xml" in payload[-workbook.LIMIT_DIRECTORY :]
        line, end, _ = payload[:LIMIT_HEADER].removeprefix(BOM).partition(b"\n")
        for charset in ("utf-8", "gb18030"):
            try:
                header = line.decode(charset).strip()
            except UnicodeDecodeError:
                continue
            cells = header.split(csv_table.separator(header))
            short = min(map(len, cells)) > 0 and max(map(len, cells)) <= LIMIT_HEADING
            return bool(end and len(cells) > 1 and short and not _NO_HEADING.search(header))
        return False

    def open(self, payload: bytes) -> Opened:
        """Parse once. Raises Unreadable (SWX-1011, SWX-1013 to SWX-1015)."""
        read = workbook.rows if payload.startswith(ZIP) else csv_table.rows
        return Opened(self, payload, read(payload))

    def key(self, opened: Opened) -> str:
        """Return the heading of the first column."""
        table: Rows = opened.tree
        return f"table {table.headings[0]}"

    def root_key(self, root: Root) -> str:
        """Return the same as a type's YAML spells it."""
        return f"table {root.name}"

    def probe(self, roots: Sequence[Root], places: Sequence[tuple[str, bool]]) -> Callable[[Opened], Sequence[str]]:
        """Compile places that tell types apart; see ``exchange.formats.Format``."""
        return probe(_compiled, _whole, places)

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the headings of a type's YAML."""
        return Reader(type, caseless, answer)

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Compile a template. Raises ValueError."""
        return Schema(load(file))

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what a template finds wrong, row by row, up to 50."""
        return [fault.finding(personal) for fault in islice(faults(self.open(payload).tree, load(file)), LIMIT)]
