"""What CSV and Excel have in common: rows of texts under one header row, and the bounds of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from sys import getsizeof
from typing import Final

from attrs import define, field, frozen

from exchange.errors import Unreadable

LIMIT_COLUMNS: Final = 500
LIMIT_CELL: Final = 32_767  # characters, as in Excel

# What is held as a list of rows: workbooks, and tables while a map makes something else of them.
LIMIT_ROWS: Final = 100_000
LIMIT_CELLS: Final = 1_000_000
LIMIT_HELD: Final = 64 * 1024 * 1024  # bytes that all texts take in memory


@frozen
class Row:
    """One row that isn't empty; *number* is what a spreadsheet shows, where the header is row 1."""

    number: int
    cells: list[str]
    calculated: frozenset[int] = frozenset()  # cells that hold a formula or an error instead of a value

    def text(self, column: int) -> str:
        """Return what stands in a column, or an empty text where there is none."""
        return self.cells[column].strip() if 0 <= column < len(self.cells) else ""


@frozen
class Rows:
    """A table as it stands in the file; to iterate over it is to read the rows below its header once more."""

    headings: list[str]
    first: Row | None
    _read: Callable[[], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        """Read the rows, and keep none."""
        return islice(self._read(), 1, None)

    def column(self, heading: str) -> int:
        """Return the number of a column, or -1."""
        return self.headings.index(heading) if heading in self.headings else -1


def opened(read: Callable[[], Iterator[Row]]) -> Rows:
    """Read all rows once, for what makes them unreadable; the first is the header. Raises Unreadable."""
    rows = read()
    header = next(rows, None)
    if header is None or header.number != 1:
        raise malformed("its first row, the header row, is empty", "第一行（表头）为空")
    first = next(rows, None)
    for _ in rows:
        pass
    return Rows([_heading(cell) for cell in header.cells], first, read)


def told_apart(rows: Iterable[Row], column: int) -> Iterator[tuple[int, Row]]:
    """Yield each row with the number of its document, from 0: rows with the same text in a column are one.

    A row where it is blank belongs to the one above; without such a column all are one document. Texts are known by
    their hashes: themselves they might take as much memory as the message.
    """
    numbers: dict[int, int] = {}
    current = 0
    for row in rows:
        if text := row.text(column):
            current = hash(text)
        yield numbers.setdefault(current, len(numbers)), row


@define
class Held:
    """Rows that are kept, and a count of what they take."""

    rows: list[Row] = field(factory=list)
    _count: int = 0
    _cells: int = 0
    _bytes: int = 0

    def add(self, row: Row) -> None:
        """Keep a row, if anything stands in it. Raises Unreadable (SWX-1015)."""
        self._count += 1
        self._cells += len(row.cells)
        self._bytes += size_of(row.cells)
        if self._bytes > LIMIT_HELD:
            raise too_large()
        if self._count > LIMIT_ROWS + 1 or self._cells > LIMIT_CELLS:
            raise too_much(
                f"it has more than {LIMIT_ROWS} rows or {LIMIT_CELLS} cells",
                f"超过 {LIMIT_ROWS} 行或 {LIMIT_CELLS} 个单元格",
            )
        if row.calculated or any(map(str.strip, row.cells)):
            self.rows.append(row)


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
