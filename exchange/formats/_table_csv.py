"""CSV to rows: UTF-8 (with or without a byte order mark) or GB18030, commas, semicolons or tabs, quoted as Excel does.

The charset is found as that of platform files. A cell is text and nothing else: what begins with = + - or @ is passed
on as it stands, and never calculated. Rows are read anew for each question, and none is kept: as texts they would take
up to sixty times their bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from typing import Final

from attrs import define

from exchange.formats._platform_parse import BOM, charset_of
from exchange.formats._table_rows import (
    LIMIT_CELL,
    LIMIT_COLUMNS,
    Row,
    Rows,
    cell_too_long,
    malformed,
    opened,
    too_much,
    too_wide,
)

SEPARATORS: Final = ",;\t"
LIMIT_LINES: Final = 1_048_576  # as many rows as Excel has; each takes some microseconds, however little is in it
LIMIT_LENGTH: Final = 1024 * 1024  # bytes of one row; as texts they take twenty times as much


def rows(payload: bytes) -> Rows:
    """Read a CSV file. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
    if payload.count(b"\n") > LIMIT_LINES:
        raise too_much(f"it has more than {LIMIT_LINES} lines", f"超过 {LIMIT_LINES} 行")
    charset = charset_of(payload)
    if b"\0" in payload:
        raise malformed("it holds a character that no text has (0x00)", "含有文本中不应出现的字符（0x00）")
    header = next(iter(_Lines(payload, charset)), "")
    return opened(partial(_rows, payload, charset, separator(header)))


def separator(header: str) -> str:
    """Return what the header row separates its cells with most.

    >>> separator("a;b;c,d")
    ';'
    """
    return max(SEPARATORS, key=header.count)


def _rows(payload: bytes, charset: str, delimiter: str) -> Iterator[Row]:
    lines, number = _Lines(payload, charset), 0
    try:
        for number, cells in enumerate(csv.reader(lines, delimiter=delimiter, strict=True), 1):
            lines.row = lines.at
            if len(cells) > LIMIT_COLUMNS:
                raise too_wide(number)
            text = "".join(cells)
            if len(text) > LIMIT_CELL and max(map(len, cells)) > LIMIT_CELL:
                raise cell_too_long(number)
            if text and not text.isspace():
                yield Row(number, cells)
    except csv.Error as why:  # a field over csv.field_size_limit(), a quote that is never closed
        if "field larger" in str(why):
            raise cell_too_long(number + 1) from None
        raise malformed(f"row {number + 1}: {why}", f"第 {number + 1} 行：引号不配对（{why}）") from None


@define
class _Lines:
    """A payload decoded line by line. No charset here has 0x0A in another character."""

    payload: bytes
    charset: str
    at: int = 0  # behind the last line that was read
    row: int = 0  # where the row begins that is read, of one line or, where cells are quoted, of several

    def __iter__(self) -> Iterator[str]:
        end = len(BOM) if self.payload.startswith(BOM) else 0
        while end < len(self.payload):
            start, end = end, self.payload.find(b"\n", end) + 1 or len(self.payload)
            if end - self.row > LIMIT_LENGTH:
                raise too_much(f"a row has more than {LIMIT_LENGTH} bytes", f"有一行超过 {LIMIT_LENGTH} 字节")
            self.at = end
            yield self.payload[start:end].decode(self.charset)
