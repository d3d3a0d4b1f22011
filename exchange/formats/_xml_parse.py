"""Bytes to an XML tree, with every guard: what is refused here has reached nobody else.

libxml2 itself refuses more than 256 levels, 10 MB in one text or tag, and entities that multiply; the rest is ours.
"""

from __future__ import annotations

import codecs
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from lxml import etree

from exchange.errors import Unreadable
from exchange.formats import nothing_readable
from exchange.formats._xml_stream import GUARDS, Stream, checked, first

SMALL: Final = 64 * 1024  # bytes; up to here nothing can be crowded enough to hurt
LIMIT_ATTRIBUTES: Final = 256  # on one element, namespace declarations among them
LIMIT_MARKS: Final = 4_000_000  # "<" and "=" in one payload
LIMIT_TREE: Final = 64 * 1024 * 1024  # bytes that a tree may take
OF_A_MARK: Final = 200  # bytes of a tree, at the most
PIECE: Final = 1 << 20  # bytes that are decoded at a time
NEVER_LARGE: Final = 256 * 1024  # bytes of a payload whose tree isn't larger than that, whatever it holds
CLEARLY_UTF8: Final = 8  # multi-byte sequences; fewer may be GBK that happens to be valid UTF-8
CHARSETS: Final = frozenset(
    {"UTF-8", "UTF8", "UTF-16", "UTF-16LE", "UTF-16BE", "GB18030", "GBK", "GB2312", "CP936", "BIG5"}
    | {"ISO-8859-1", "US-ASCII", "ASCII"}
)

_UTF16 = re.compile(rb"\xff\xfe|\xfe\xff|<\0|\0<")
_DECLARED = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)")
_DOCTYPE = re.compile(rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)
_LONG_TAG = re.compile(rb"<[^<]{%d}" % (4 * LIMIT_ATTRIBUTES))  # an attribute takes four bytes at least
_CROWDED_TAG = re.compile(
    rb"<[^\s<>/=]++(?:\s++[^\s<>=]++\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+')){%d}" % (LIMIT_ATTRIBUTES + 1)
)

_GB: Final = frozenset({"GB2312", "GBK", "CP936"})

# Error numbers of libxml2 (xmlerror.h)
_ENTITY_ERRORS: Final = frozenset({26, 27, 28})
_CHARSET_ERRORS: Final = frozenset({31, 32, 81, 6003})
_LIMIT_ERRORS: Final = frozenset({45, 110, 114})


class _Parsers(threading.local):
    """Parsers of one thread: shared ones would make others wait."""

    def __init__(self) -> None:
        self.parser = _parser()
        self.gb18030 = _parser("GB18030")


def _parser(encoding: str | None = None) -> etree.XMLParser:
    return etree.XMLParser(encoding=encoding, **GUARDS)


_parsers = _Parsers()


Read = TypeVar("Read", etree._Element, Stream)


def parse(payload: bytes) -> etree._Element:
    """Parse with every guard; return the root. Raises Unreadable (SWX-1011 to SWX-1015)."""
    root = _guarded(payload, _tree)
    _refuse_after_parsing(payload, root.getroottree().docinfo)
    return root


def examined(payload: bytes) -> Stream:
    """Look at all of a payload with the same guards, and keep nothing of it. Raises Unreadable as ``parse`` does."""
    stream = _guarded(payload, _stream)
    _refuse_after_parsing(payload, first(payload, stream.charset)[1])
    return stream


def large(payload: bytes) -> bool:
    """Tell whether a payload makes too large a tree."""
    return (
        len(payload) > NEVER_LARGE
        and (payload.count(b"<") + payload.count(b"=")) * OF_A_MARK + len(payload) > LIMIT_TREE
    )


def _tree(payload: bytes, charset: str | None) -> etree._Element:
    return etree.fromstring(payload, _parsers.gb18030 if charset else _parsers.parser)


def _stream(payload: bytes, charset: str | None) -> Stream:
    checked(payload, charset)
    return Stream(payload, charset, first(payload, charset)[0])


def _guarded(payload: bytes, read: Callable[[bytes, str | None], Read]) -> Read:
    _refuse_before_parsing(payload)
    try:
        return read(payload, None)
    except etree.LxmlError as error:
        return _gb18030(payload, error, read)


def _gb18030(payload: bytes, error: etree.LxmlError, read: Callable[[bytes, str | None], Read]) -> Read:
    """Read GB18030 that calls itself GB2312 or GBK, which it extends: clients on Windows write it so."""
    if getattr(error, "code", 0) in _CHARSET_ERRORS and _declared(payload) in _GB and not _multibytes(payload):
        try:
            return read(payload, "GB18030")
        except etree.LxmlError:
            pass
    raise _unreadable(payload, error) from None


def _refuse_before_parsing(payload: bytes) -> None:
    view = _ascii_view(payload) if _UTF16.match(payload) else payload
    if _DOCTYPE.match(view):
        raise _doctype()
    if view is not payload and (charset := _declared(view)) and not charset.startswith("UTF-16"):
        raise _bad_charset(f"it declares {charset}, but its bytes are UTF-16", f"声明为 {charset}，实际为 UTF-16")
    if len(view) > SMALL:
        _refuse_crowds(view)


def _refuse_crowds(view: bytes | bytearray) -> None:
    if any(_CROWDED_TAG.match(view, tag.start()) for tag in _LONG_TAG.finditer(view)):
        raise _too_much(
            f"an element has more than {LIMIT_ATTRIBUTES} attributes", f"元素的属性超过 {LIMIT_ATTRIBUTES} 个"
        )
    if len(view) > LIMIT_MARKS and view.count(b"=") + view.count(b"<") > LIMIT_MARKS:
        raise _too_much(f"it has more than {LIMIT_MARKS} tags and attributes", f"标签与属性超过 {LIMIT_MARKS} 个")


def _ascii_view(payload: bytes) -> bytes | bytearray:
    charset = "utf-16" if payload[0] >= 0xFE else "utf-16-le" if payload[0] else "utf-16-be"
    view = bytearray()
    for text in _decoded(payload, charset, "replace"):
        view += text.encode()
    return view


def _refuse_after_parsing(payload: bytes, docinfo: Any) -> None:
    if docinfo.internalDTD is not None:  # in a charset that hid it from the look before
        raise _doctype()
    charset = docinfo.encoding or "UTF-8"
    if charset == "UTF-8" and payload[0] != 0xEF:  # behind a BOM something else may be declared
        return
    if charset.upper() not in CHARSETS:
        raise _bad_charset(f"charset {charset} isn't accepted here", f"不支持字符集 {charset}")
    declared = _declared(payload)
    if declared.startswith(("GB", "CP936")) and _multibytes(payload) >= CLEARLY_UTF8:
        raise _bad_charset(f"it declares {declared}, but its bytes are UTF-8", f"声明为 {declared}，实际为 UTF-8")


def _declared(payload: bytes | bytearray) -> str:
    match = _DECLARED.match(payload)
    return match[1].decode().upper() if match else ""


def _multibytes(payload: bytes) -> int:
    """Count the characters of more than one byte in UTF-8; none where it is no UTF-8, or nothing."""
    try:
        return sum(len(text) - len(text.encode("ascii", "ignore")) for text in _decoded(payload, "utf-8"))
    except UnicodeDecodeError:
        return 0


def _decoded(payload: bytes, charset: str, errors: str = "strict") -> Iterator[str]:
    """Decode piece by piece: the text of a large payload takes up to four times its bytes."""
    decoder = codecs.getincrementaldecoder(charset)(errors)
    for start in range(0, len(payload), PIECE):
        yield decoder.decode(payload[start : start + PIECE])
    yield decoder.decode(b"", final=True)


def _unreadable(payload: bytes, error: etree.LxmlError) -> Unreadable:
    """Tell which of the promised kinds a parser's error is."""
    if not payload.strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"):
        return nothing_readable(payload)
    number = getattr(error, "code", 0)
    line, column = getattr(error, "position", (0, 0))
    reason = str(getattr(error, "msg", error)).partition(", line ")[0].strip()[:200]
    en, zh = f"{reason} (line {line}, column {column})", f"第 {line} 行第 {column} 列，{reason}"
    if number in _ENTITY_ERRORS:
        return _doctype()
    if number in _LIMIT_ERRORS:
        return _too_much(en, zh)
    declared = _declared(payload) or "UTF-8"
    if number in _CHARSET_ERRORS or declared.startswith("UTF-16"):
        return _bad_charset(f"it declares {declared}: {en}", f"声明为 {declared}：{zh}")
    return Unreadable(
        f"the XML is cut off or malformed: {en}; check the transfer and the tags, then send it again",
        f"XML 不完整或格式错误（{zh}）：请检查传输是否中断、标签是否配对，然后重新发送",
        code="SWX-1011",
    )


def _doctype() -> Unreadable:
    return Unreadable(
        "a DOCTYPE or an entity of one's own is not accepted: remove it and write the text itself",
        "报文不得包含 DOCTYPE 或自定义实体：请删除并直接写出文本",
        code="SWX-1013",
    )


def _bad_charset(en: str, zh: str) -> Unreadable:
    return Unreadable(
        f"the charset is wrong: {en}; declare the charset the bytes are in (UTF-8 or GB18030) and send it again",
        f"字符集错误：{zh}；请使声明与实际编码一致（UTF-8 或 GB18030）后重新发送",
        code="SWX-1014",
    )


def in_a_wrapper(size: int) -> Unreadable:
    """Return the error for a message that is too large to be judged inside another one."""
    return _too_much(
        f"{size} bytes are too many for a message in a wrapper, send it without",
        f"带外层封装的报文过大（{size} 字节），请去掉封装",
    )


def _too_much(en: str, zh: str) -> Unreadable:
    return Unreadable(
        f"the XML goes beyond what is accepted: {en}; send simpler or smaller messages",
        f"XML 超出限制：{zh}；请简化或拆分报文后重新发送",
        code="SWX-1015",
    )
