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
LIMIT_LINE: Final = 256 * 1024  # characters; nothing the bounds allow needs more than a few


def rows(payload: bytes) -> Rows:
    """Read a CSV file. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
    text = payload.removeprefix(BOM).decode(charset_of(payload))
    if "\0" in text:
        raise malformed("it holds a character that no text has (0x00)", "含有文本中不应出现的字符（0x00）")
    return collect(_rows(text, separator(text)))


def separator(text: str) -> str:
    """Return what the header row separates its cells with most.

    >>> separator("a;b;c,d")
    ';'
    """
    header = text[:LIMIT_LINE].partition("\n")[0]
    return max(SEPARATORS, key=header.count)


def _rows(text: str, separator: str) -> Iterator[Row]:
    number = 0
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
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


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if end - start > LIMIT_LINE:
            raise too_much(f"a line has more than {LIMIT_LINE} characters", f"有一行超过 {LIMIT_LINE} 个字符")
        yield text[start:end]
        start = end
