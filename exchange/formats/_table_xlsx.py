"""An Excel workbook (.xlsx, ECMA-376) to rows: the first sheet, values only.

A reader of our own, over zipfile and expat: both are bounded here byte by byte, a DOCTYPE ends the parse where it
stands, nothing is calculated, and numbers stay the digits that the file holds. openpyxl reads far more than one sheet
of values, turns numbers into floats, and keeps all shared texts in memory whatever their size; calamine has no bounds.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from xml.parsers import expat

from attrs import define, field

from exchange.archives import listed
from exchange.errors import Unreadable
from exchange.formats._table_rows import (
    LIMIT_CELL,
    LIMIT_CELLS,
    LIMIT_COLUMNS,
    LIMIT_HELD,
    Held,
    Row,
    Rows,
    cell_too_long,
    malformed,
    opened,
    size_of,
    too_large,
    too_much,
    too_wide,
)

LIMIT_UNPACKED: Final = 64 << 20  # bytes of all parts that are read
LIMIT_DIRECTORY: Final = 1 << 20  # bytes of the zip file's list of parts
LIMIT_DEPTH: Final = 32
CHUNK: Final = 64 * 1024
EXACT: Final = 15  # digits that Excel keeps of a number

_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_NOT_A_DATE = re.compile(r"\"[^\"]*\"|\[[^\]]*\]|\\.|_.")  # what stands for itself in a number format
_DATES: Final = frozenset({*range(14, 23), *range(27, 37), 45, 46, 47, *range(50, 59)})  # built-in formats
_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    expat.ExpatError,
    EOFError,
    LookupError,
    ValueError,
    ArithmeticError,
    RuntimeError,  # encrypted
    NotImplementedError,
    OSError,
)


def rows(payload: bytes) -> Rows:
    """Read the first sheet of a workbook. Raises Unreadable (SWX-1011, SWX-1013, SWX-1015)."""
    _refuse_directory(payload)
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            held = _Workbook(archive).rows()
    except _BROKEN as why:
        raise malformed(
            f"it is no Excel workbook that can be read ({type(why).__name__})", "无法作为 Excel 工作簿读取"
        ) from None
    return opened(lambda: iter(held))


def _refuse_directory(payload: bytes) -> None:
    """Refuse what zipfile would need much memory for before it looks at a single part."""
    found = listed(payload)
    if found is not None and found[1] > LIMIT_DIRECTORY:
        raise too_much("it has too many parts", "工作簿的组成部分过多")


@define
class _Workbook:
    archive: zipfile.ZipFile
    _left: int = LIMIT_UNPACKED
    _shared: list[str] = field(factory=list)
    _dates: list[bool] = field(factory=list)
    _epoch: datetime = datetime(1899, 12, 30)

    def rows(self) -> list[Row]:
        names = set(self.archive.namelist())
        if "xl/sharedStrings.xml" in names:
            texts = _Texts()
            self._parse("xl/sharedStrings.xml", texts)
            self._shared = texts.texts
        if "xl/styles.xml" in names:
            styles = _Styles()
            self._parse("xl/styles.xml", styles)
            self._dates = styles.dates()
        book = _Book()
        self._parse("xl/workbook.xml", book)
        if book.since_1904:
            self._epoch = datetime(1904, 1, 1)
        relations = _Relations()
        self._parse("xl/_rels/workbook.xml.rels", relations)
        target = relations.targets[book.sheets[0]] if book.sheets else ""
        sheet = _Sheet(self._value)
        self._parse(target[1:] if target.startswith("/") else f"xl/{target}", sheet)
        return sheet.held.rows

    def _parse(self, name: str, handler: Any) -> None:
        info = self.archive.getinfo(name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError
        parser = expat.ParserCreate(namespace_separator=" ")
        nesting = _Nesting(handler)
        parser.StartElementHandler, parser.EndElementHandler = nesting.start, nesting.end
        parser.CharacterDataHandler = handler.text
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.buffer_text = True
        with self.archive.open(info) as part:
            while chunk := part.read(CHUNK):
                self._left -= len(chunk)
                if self._left < 0:
                    raise too_much(f"unpacked, it is larger than {LIMIT_UNPACKED} bytes", "解压后过大")
                parser.Parse(chunk)
        parser.Parse(b"", True)

    def _value(self, kind: str, style: str, text: str) -> str:
        if kind == "s":
            return self._shared[int(text)] if text.isdigit() else ""
        if kind in ("str", "inlineStr", "e"):
            return text
        if kind == "b":
            return "TRUE" if text == "1" else "FALSE"
        if kind == "d" or not text:
            return text
        number = int(style) if style.isdigit() else 0
        if number < len(self._dates) and self._dates[number]:
            return self._instant(float(text))
        return _plain(text)

    def _instant(self, days: float) -> str:
        try:
            at = self._epoch + timedelta(seconds=round(days * 86_400))
        except (OverflowError, ValueError):
            return str(days)
        return at.strftime("%Y-%m-%d") if days == int(days) else at.strftime("%Y-%m-%d %H:%M:%S")


def _plain(text: str) -> str:
    """Write a number as people would: no exponent, none of the noise behind the digits that Excel keeps.

    >>> _plain("0.30000000000000004"), _plain("1.38E10"), _plain("1.2345678901234568E+17")
    ('0.3', '13800000000', '1.23456789012346E+17')
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite() or abs(number.adjusted()) >= EXACT:
        return f"{number:.{EXACT - 1}E}" if number.is_finite() and number else text
    rounded = f"{Decimal(f'{number:.{EXACT - 1}E}'):f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded


def _refuse_doctype(*_: Any) -> None:
    raise Unreadable(
        "a DOCTYPE or an entity of one's own is not accepted: save the workbook anew",
        "工作簿不得包含 DOCTYPE 或自定义实体：请重新保存",
        code="SWX-1013",
    )


# -- what expat tells us, part by part; names come without their namespaces, for there are two sets of them --------


@define
class _Nesting:
    handler: Any
    depth: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > LIMIT_DEPTH:
            raise too_much(f"it is nested deeper than {LIMIT_DEPTH} levels", f"嵌套超过 {LIMIT_DEPTH} 层")
        self.handler.start(name.rpartition(" ")[2], attributes)

    def end(self, name: str) -> None:
        self.depth -= 1
        self.handler.end(name.rpartition(" ")[2])


@define
class _Quiet:
    """A part that has no text worth reading."""

    def text(self, text: str) -> None:
        pass

    def end(self, name: str) -> None:
        pass


@define
class _Texts:
    """The texts that cells share: those of ``t``, but not of ``rPh``, which says how to pronounce them."""

    texts: list[str] = field(factory=list)
    _pieces: list[str] = field(factory=list)
    _reading: bool = False
    _pronounced: bool = False
    _length: int = 0
    _held: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "si":
            self._pieces, self._length = [], 0
        self._pronounced |= name == "rPh"
        self._reading = name == "t" and not self._pronounced

    def text(self, text: str) -> None:
        if self._reading:
            self._length += len(text)
            if self._length > LIMIT_CELL:
                raise too_much(f"a text has more than {LIMIT_CELL} characters", f"有文本超过 {LIMIT_CELL} 个字符")
            self._pieces.append(text)

    def end(self, name: str) -> None:
        self._reading = False
        if name == "rPh":
            self._pronounced = False
        elif name == "si":
            self.texts.append("".join(self._pieces))
            self._held += size_of(self.texts[-1:])
            if self._held > LIMIT_HELD // 2:  # the rows that refer to them are held, too
                raise too_large()
            if len(self.texts) > LIMIT_CELLS:
                raise too_much(f"it has more than {LIMIT_CELLS} texts", f"文本超过 {LIMIT_CELLS} 个")


@define
class _Styles(_Quiet):
    """Which cell styles show a number as a date."""

    _custom: dict[str, str] = field(factory=dict)
    _formats: list[str] = field(factory=list)
    _in_cells: bool = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "numFmt":
            self._custom[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif name in ("cellXfs", "cellStyleXfs"):
            self._in_cells = name == "cellXfs"
        elif name == "xf" and self._in_cells:
            self._formats.append(attributes.get("numFmtId", "0"))

    def dates(self) -> list[bool]:
        return [self._is_date(format) for format in self._formats]

    def _is_date(self, format: str) -> bool:
        if format in self._custom:
            return any(letter in "ymdhs" for letter in _NOT_A_DATE.sub("", self._custom[format]).lower())
        return format.isdigit() and len(format) < 4 and int(format) in _DATES


@define
class _Book(_Quiet):
    """Which sheets there are, by their relation, and where days are counted from."""

    sheets: list[str] = field(factory=list)
    since_1904: bool = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "workbookPr":
            self.since_1904 = attributes.get("date1904") in ("1", "true")
        elif name == "sheet":
            self.sheets += [value for key, value in attributes.items() if key.rpartition(" ")[2] == "id" and " " in key]


@define
class _Relations(_Quiet):
    """Which part a relation leads to."""

    targets: dict[str, str] = field(factory=dict)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship":
            self.targets[attributes.get("Id", "")] = attributes.get("Target", "")


@define
class _Sheet:
    """The rows of a sheet; cells left out are empty."""

    value: Callable[[str, str, str], str]
    held: Held = field(factory=Held)
    _number: int = 0
    _cells: list[str] = field(factory=list)
    _calculated: set[int] = field(factory=set)
    _column: int = -1
    _kind: str = ""
    _style: str = ""
    _pieces: list[str] = field(factory=list)
    _reading: bool = False
    _length: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "row":
            said = attributes.get("r", "")
            self._number = int(said) if said.isdigit() and len(said) < 9 else self._number + 1
            self._cells, self._calculated, self._column = [], set(), -1
        elif name == "c":
            self._column = _column(attributes.get("r", ""), self._column + 1)
            if not 0 <= self._column < LIMIT_COLUMNS:
                raise too_wide(self._number)
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "")
            self._pieces, self._length = [], 0
        elif name == "f":
            self._calculated.add(self._column)
        self._reading = name in ("v", "t")

    def text(self, text: str) -> None:
        if self._reading:
            self._length += len(text)
            if self._length > LIMIT_CELL:
                raise cell_too_long(self._number)
            self._pieces.append(text)

    def end(self, name: str) -> None:
        self._reading = False
        if name == "c":
            self._finish_cell()
        elif name == "row" and (self._cells or self._calculated):
            self.held.add(Row(self._number, self._cells, frozenset(self._calculated)))

    def _finish_cell(self) -> None:
        if self._kind == "e":
            self._calculated.add(self._column)
        value = self.value(self._kind, self._style, "".join(self._pieces)) if self._pieces else ""
        if value:
            self._cells += [""] * (self._column + 1 - len(self._cells))
            self._cells[self._column] = value


def _column(reference: str, following: int) -> int:
    """Return the number of a column, from 0, by a cell's reference, which may be left out.

    >>> _column("A1", 7), _column("AB12", 7), _column("", 7)
    (0, 27, 7)
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return following
    number = 0
    for letter in found[1]:
        number = number * 26 + ord(letter) - 64
    return number - 1
