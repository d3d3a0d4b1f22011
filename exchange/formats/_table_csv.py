"""CSV to rows: UTF-8 (with or without a byte order mark) or GB18030, commas, semicolons or tabs, quoted as Excel does.

The charset is found as that of platform files. A cell is text and nothing else: what begins with = + - or @ is passed
on as it stands, and never calculated.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Final

from exchange.formats._platform_parse import BOM, charset_of
from exchange.formats._table_rows import (
    LIMIT_CELL,
    LIMIT_COLUMNS,
    Row,
    Rows,
    cell_too_long,
    collect,
    malformed,
    too_much,
    too_wide,
)

SEPARATORS: Final = ",;\t"
LIMIT_LINE: Final = 256 * 1024  # bytes; nothing the bounds allow needs more than a few


def rows(payload: bytes) -> Rows:
    """Read a CSV file. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
    charset = charset_of(payload)
    if b"\0" in payload:
        raise malformed("it holds a character that no text has (0x00)", "含有文本中不应出现的字符（0x00）")
    return collect(_rows(payload, charset))


def separator(header: str) -> str:
    """Return what the header row separates its cells with most.

    >>> separator("a;b;c,d")
    ';'
    """
    return max(SEPARATORS, key=header.count)


def _rows(payload: bytes, charset: str) -> Iterator[Row]:
    number = 0
    reader = csv.reader(_lines(payload, charset), delimiter=separator(next(_lines(payload, charset), "")), strict=True)
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as why:  # a field over csv.field_size_limit(), a quote that is never closed
            if "field larger" in str(why):
                raise cell_too_long(number) from None
            raise malformed(f"row {number}: {why}", f"第 {number} 行：引号不配对（{why}）") from None
        if len(cells) > LIMIT_COLUMNS:
            raise too_wide(number)
        if max(map(len, cells), default=0) > LIMIT_CELL:
            raise cell_too_long(number)
        if cells:
            yield Row(number, cells)


def _lines(payload: bytes, charset: str) -> Iterator[str]:
    """Decode line by line: a large table isn't held twice as text. No charset here has 0x0A in another character."""
    start = len(BOM) if payload.startswith(BOM) else 0
    while start < len(payload):
        end = payload.find(b"\n", start) + 1 or len(payload)
        if end - start > LIMIT_LINE:
            raise too_much(f"a line has more than {LIMIT_LINE} bytes", f"有一行超过 {LIMIT_LINE} 字节")
        yield payload[start:end].decode(charset)
        start = end
