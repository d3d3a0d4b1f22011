"""Bytes of a platform file to its records.

Records end with ``'``, their fields are separated by ``:``, and ``?`` takes the meaning from the character behind it.
Line breaks mean nothing, wherever they stand. The file itself doesn't name its charset; this is how it is found: a
byte order mark says UTF-8; bytes that are no UTF-8 are GB18030 (which GBK and GB2312 are part of); so are bytes that
could be UTF-8 but hold only sequences of two, for Chinese takes three there, and GBK text may look like that by
chance. Nothing else is taken. In all of them the three signs are never part of another character, so records are cut
out of the bytes and decoded when somebody looks at them: a large file isn't held twice as text.
"""

from __future__ import annotations

import re
from array import array
from functools import cached_property
from itertools import accumulate
from typing import Final

from attrs import frozen

from exchange.errors import Unreadable
from exchange.formats._charsets import is_text

LIMIT_RECORDS: Final = 300_000
LIMIT_RELEASES: Final = 1_000_000
LIMIT_LENGTH: Final = 64 * 1024  # bytes of one record
LIMIT_FIELDS: Final = 1_000  # of one record
BOM: Final = b"\xef\xbb\xbf"
TRAILER: Final = "99"

_RELEASED_RECORD = re.compile(rb"((?:[^?']++|\?.)*+)'", re.DOTALL)
_RELEASED_FIELD = re.compile(r"((?:[^?:]++|\?.)*+):", re.DOTALL)
_RELEASE = re.compile(r"\?(.)", re.DOTALL)
_LONG_SEQUENCE = re.compile(rb"[\xe0-\xf4]")  # what a character of three or four bytes begins with, in UTF-8
_BREAKS = str.maketrans("", "", "\r\n")
_BLANK: Final = b" \t\r\n\x1a"  # old editors end a file with 0x1A


@frozen
class File:
    """The records of a platform file as they stand there, without the ``'`` at their end."""

    raws: list[bytes]
    charset: str

    def id(self, number: int) -> str:
        """Return what a record begins with, its type."""
        return self.raws[number].lstrip(_BLANK)[:2].decode("ascii", "replace")

    def fields(self, number: int) -> list[str]:
        """Return the fields of a record; the first is its type."""
        text = self.raws[number].strip(_BLANK).decode(self.charset, "replace").translate(_BREAKS)
        if "?" not in text:
            return text.split(":")
        return [_RELEASE.sub(r"\1", found[1]) for found in _RELEASED_FIELD.finditer(f"{text}:")]

    def line(self, number: int) -> int:
        """Return the line that a record begins on, counted from 1."""
        raw = self.raws[number]
        return 1 + self._breaks[number] + raw[: len(raw) - len(raw.lstrip(_BLANK))].count(b"\n")

    @cached_property
    def _breaks(self) -> array[int]:
        """Count once the line breaks before each record: everything that is wrong has a line."""
        return array("L", accumulate((raw.count(b"\n") for raw in self.raws), initial=0))


def parse(payload: bytes) -> File:
    """Split into records. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
    charset = charset_of(payload)
    if b"\0" in payload:
        raise _cut("it holds a character that no text has (0x00)", "含有文本中不应出现的字符（0x00）")
    if payload.count(b"'") > LIMIT_RECORDS or payload.count(b"?") > LIMIT_RELEASES:
        raise _too_much(f"it has more than {LIMIT_RECORDS} records", f"记录超过 {LIMIT_RECORDS} 条")
    *raws, rest = payload.removeprefix(BOM).split(b"'")
    _refuse_long(raws, rest)
    if b"?" in payload:
        raws, rest = _released(payload.removeprefix(BOM))
        _refuse_long(raws, rest)
    if rest.strip(_BLANK):
        raise _cut(
            f"the last record doesn't end with ' (after {len(raws)} complete records)",
            f"最后一条记录没有以 ' 结束（此前有 {len(raws)} 条完整记录）",
        )
    return File(raws, charset)


def _released(payload: bytes) -> tuple[list[bytes], bytes]:
    raws, end = [], 0
    while found := _RELEASED_RECORD.match(payload, end):  # a search would begin anew at every byte of an open end
        raws.append(found[1])
        end = found.end()
    return raws, payload[end:]


def _refuse_long(raws: list[bytes], rest: bytes) -> None:
    if max(map(len, raws), default=0) > LIMIT_LENGTH or len(rest) > LIMIT_LENGTH:
        raise _too_much(
            f"a record is longer than {LIMIT_LENGTH} bytes, or its end (') is missing",
            f"有记录长于 {LIMIT_LENGTH} 字节，或缺少记录结束符（'）",
        )
    if any(raw.count(b":") >= LIMIT_FIELDS for raw in raws if len(raw) > LIMIT_FIELDS):
        raise _too_much(f"a record has more than {LIMIT_FIELDS} fields", f"有记录的字段超过 {LIMIT_FIELDS} 个")


def charset_of(payload: bytes) -> str:
    r"""Tell the charset of a platform file, as Python calls it. Raises Unreadable (SWX-1014).

    >>> [charset_of(text) for text in (b"00:", "箱".encode(), "箱号".encode("gbk"), b"\xef\xbb\xbf00:")]
    ['utf-8', 'utf-8', 'gb18030', 'utf-8']
    """
    if payload.isascii():
        return "utf-8"
    if (payload.startswith(BOM) or _LONG_SEQUENCE.search(payload)) and is_text(payload, "utf-8"):
        return "utf-8"
    if is_text(payload, "gb18030"):
        return "gb18030"
    raise Unreadable(
        "the charset is wrong: the bytes are neither UTF-8 nor GB18030; write the file in one of them, send it again",
        "字符集错误：既不是 UTF-8 也不是 GB18030；请用其中之一生成文件后重新发送",
        code="SWX-1014",
    )


def _cut(en: str, zh: str) -> Unreadable:
    return Unreadable(
        f"the platform file is cut off or malformed: {en}; check the transfer, then send it again",
        f"平台文件不完整或格式错误：{zh}；请检查传输是否中断，然后重新发送",
        code="SWX-1011",
    )


def _too_much(en: str, zh: str) -> Unreadable:
    return Unreadable(
        f"the platform file goes beyond what is accepted: {en}; correct it or send smaller files",
        f"平台文件超出限制：{zh}；请更正或拆分后重新发送",
        code="SWX-1015",
    )


def release(value: str) -> str:
    """Write a value so that it can stand in a field; what can't be text, or would break the line, is a blank.

    >>> release("L'HOSPITALET: what?")
    "L?'HOSPITALET?: what??"
    """
    return re.sub(r"([?:'])", r"?\1", re.sub(r"[\0-\x1f\x7f\ud800-\udfff]", " ", value))
