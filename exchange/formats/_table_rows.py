"""What CSV and Excel have in common: rows of texts under one header row, and the bounds of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from sys import getsizeof
from typing import Final

from attrs import field, frozen

from exchange.errors import Unreadable

LIMIT_COLUMNS: Final = 500
LIMIT_ROWS: Final = 100_000
LIMIT_CELLS: Final = 1_000_000
LIMIT_HELD: Final = 64 * 1024 * 1024  # bytes that all texts take in memory
LIMIT_CELL: Final = 32_767  # characters, as in Excel


@frozen
class Row:
    """One row that isn't empty; *number* is what a spreadsheet shows, where the header is row 1."""

    number: int
    cells: list[str]
    calculated: frozenset[int] = frozenset()  # cells that hold a formula or an error instead of a value


@frozen
class Rows:
    """A table as it stands in the file."""

    headings: list[str]
    rows: list[Row] = field(factory=list)

    def column(self, heading: str) -> int:
        """Return the number of a column, or -1."""
        return self.headings.index(heading) if heading in self.headings else -1


def collect(rows: Iterator[Row]) -> Rows:
    """Take the first row for the header, and count everything. Raises Unreadable (SWX-1011, SWX-1015)."""
    header = next(rows, None)
    if header is None or header.number != 1:
        raise malformed("its first row, the header row, is empty", "第一行（表头）为空")
    table = Rows([_heading(cell) for cell in header.cells])
    cells = held = 0
    for row in rows:
        cells += len(row.cells)
        held += size_of(row.cells)
        if held > LIMIT_HELD:
            raise too_large()
        if len(table.rows) >= LIMIT_ROWS or cells > LIMIT_CELLS:
            raise too_much(
                f"it has more than {LIMIT_ROWS} rows or {LIMIT_CELLS} cells",
                f"超过 {LIMIT_ROWS} 行或 {LIMIT_CELLS} 个单元格",
            )
        if any(map(str.strip, row.cells)) or row.calculated:
            table.rows.append(row)
    return table


def size_of(texts: Iterable[str]) -> int:
    """Return the bytes that texts take in memory: one to four for a character, and fifty for each."""
    return sum(map(getsizeof, texts))


def _heading(cell: str) -> str:
    """Return a heading without the star that templates mark required columns with."""
    return cell.strip().strip("*").strip()


def malformed(en: str, zh: str) -> Unreadable:
    """Return the error for a table that is cut off or no table at all."""
    return Unreadable(
        f"the table is cut off or malformed: {en}; save it again from the template and send it again",
        f"表格不完整或格式错误：{zh}；请用模板重新保存后再发送",
        code="SWX-1011",
    )


def too_much(en: str, zh: str) -> Unreadable:
    """Return the error for a table that goes beyond the bounds."""
    return Unreadable(
        f"the table goes beyond what is accepted: {en}; split it into smaller ones",
        f"表格超出限制：{zh}；请拆分后重新发送",
        code="SWX-1015",
    )


def too_large() -> Unreadable:
    """Return the error for a table with too much text in it."""
    return too_much(f"its texts take more than {LIMIT_HELD} bytes", f"文本总量超过 {LIMIT_HELD} 字节")


def cell_too_long(number: int) -> Unreadable:
    """Return the error for one cell that is longer than Excel allows."""
    return too_much(
        f"a cell in row {number} has more than {LIMIT_CELL} characters",
        f"第 {number} 行有单元格超过 {LIMIT_CELL} 个字符",
    )


def too_wide(number: int) -> Unreadable:
    """Return the error for a row with too many columns."""
    return too_much(f"row {number} has more than {LIMIT_COLUMNS} columns", f"第 {number} 行超过 {LIMIT_COLUMNS} 列")
