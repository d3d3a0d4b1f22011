"""Bytes to JSON values, with every guard.

What RFC 8259 leaves open is refused here, for two readers would read it in two ways: names that occur twice, numbers
beyond what every reader can hold exactly (RFC 7493, section 2.2), NaN and Infinity, halves of surrogate pairs, charsets
other than UTF-8. A byte order mark is skipped.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from exchange.errors import Unreadable

LIMIT_DEPTH: Final = 64
LIMIT_TREE: Final = 8 * 1024 * 1024  # bytes; as text, and again as values, they take four times as much at worst
LIMIT_MARKS: Final = 150_000  # brackets, braces, commas and colons; a value takes a hundred bytes at most for each
LIMIT_ITEM: Final = 3 * 1024 * 1024  # bytes of one text; it takes twenty times as much to say what is wrong with it
LIMIT_DIGITS: Final = 40  # characters of one number
LARGEST: Final = 2**53 - 1
BOM: Final = b"\xef\xbb\xbf"
SHOWN: Final = 40
PIECE: Final = 1 << 20  # bytes that are decoded at a time


def large(payload: bytes) -> bool:
    """Tell whether a payload is too much to be held as values; see ``_json_outline``."""
    return len(payload) > LIMIT_TREE or marks(payload, 0, len(payload)) > LIMIT_MARKS


def marks(payload: bytes, start: int, end: int) -> int:
    """Count what values are told apart by."""
    return sum(payload.count(mark, start, end) for mark in (b"{", b"[", b",", b":"))


def parse(payload: bytes) -> dict[str, Any]:
    """Parse the one object that a message is. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
    if large(payload):
        raise too_much(
            f"it is larger than {LIMIT_TREE} bytes or {LIMIT_MARKS} values",
            f"大于 {LIMIT_TREE} 字节或 {LIMIT_MARKS} 个值",
        )
    return parsed(payload)


def parsed(payload: bytes) -> dict[str, Any]:
    """Parse what isn't large."""
    if len(payload) > LIMIT_ITEM and any(len(text[0]) > LIMIT_ITEM for text in _TEXT.finditer(payload)):
        raise item_too_large()
    refuse_charset(payload)
    try:
        value = value_of(payload.removeprefix(BOM), LIMIT_DEPTH)
    except json.JSONDecodeError as why:
        raise malformed_at(why.msg, why.lineno, why.colno) from None
    if not isinstance(value, dict):
        raise no_object()
    return value


def refuse_charset(payload: bytes) -> None:
    """Refuse what isn't UTF-8, which is found out piece by piece. Raises Unreadable (SWX-1014)."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(payload), PIECE):
        before = len(decoder.getstate()[0])  # bytes of a character that the last piece ended in
        try:
            decoder.decode(payload[start : start + PIECE], final=start + PIECE >= len(payload))
        except UnicodeDecodeError as why:
            at = start - before + why.start + 1
            raise Unreadable(
                f"the charset is wrong: JSON must be UTF-8, byte {at} isn't; convert it and send it again",
                f"字符集错误：JSON 必须为 UTF-8，第 {at} 字节不是；请转换后重新发送",
                code="SWX-1014",
            ) from None


def value_of(raw: bytes, levels: int) -> Any:
    """Parse one value, which may be nested in so many levels. Raises JSONDecodeError, Unreadable."""
    text = raw.decode()
    shape = raw.translate(_SHAPE)
    unsure = _LONG in shape or b"0e" in shape or b"0E" in shape
    try:
        value = (_EXACT if unsure else _SURE).decode(text)
    except RecursionError:
        raise too_deep() from None
    if raw.count(b"{") + raw.count(b"[") > levels and _deeper(value, levels):
        raise too_deep()
    if b"\\u" in raw:
        _refuse_no_text(value)
    return value


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members. Raises Unreadable where two are called the same."""
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _malformed(f"the name {_shown(name)} occurs twice in one object", f"同一对象中 {_shown(name)} 出现两次")
    return value


def _whole(digits: str) -> int:
    if len(digits) > LIMIT_DIGITS or abs(int(digits)) > LARGEST:
        raise _number_too_large(digits)
    return int(digits)


def _number(digits: str) -> float:
    if len(digits) > LIMIT_DIGITS or abs(float(digits)) > LARGEST:
        raise _number_too_large(digits)
    return float(digits)


def _constant(name: str) -> Any:
    raise _malformed(f"{name} is no JSON", f"{name} 不是合法的 JSON")


_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+\\?+(?:"|\Z)', re.DOTALL)
_SHAPE: Final = bytes.maketrans(b"123456789", b"0" * 9)
_LONG: Final = b"0" * 16  # a number without so many digits in a row, and without exponent, is one that can be held
_SURE: Final = json.JSONDecoder(object_pairs_hook=object_of, parse_constant=_constant)
_EXACT: Final = json.JSONDecoder(
    object_pairs_hook=object_of, parse_int=_whole, parse_float=_number, parse_constant=_constant
)


def _deeper(value: Any, levels: int) -> bool:
    """Tell whether containers are nested in more levels, without recursion."""
    row = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        row = [inner for container in row for inner in _inside(container) if isinstance(inner, dict | list)]
        if not row:
            return False
    return True


def _inside(container: Any) -> Iterator[Any]:
    yield from container.values() if isinstance(container, dict) else container


def _refuse_no_text(value: Any) -> None:
    try:
        text = orjson.dumps(value)
    except TypeError:
        raise _malformed("half of a surrogate pair is no character", "含有不成对的代理字符") from None
    if b"\\u0000" in text:
        raise _malformed("it holds a character that no text has (\\u0000)", "含有文本中不应出现的字符（\\u0000）")


def malformed_at(en: str, line: int, column: int) -> Unreadable:
    """Return the error for what breaks the grammar of JSON at a place."""
    return _malformed(f"{en} (line {line}, column {column})", f"第 {line} 行第 {column} 列，{en}")


def no_object() -> Unreadable:
    """Return the error for JSON that is something else than an object."""
    return _malformed("a message must be an object, { ... }", "报文必须是对象（{ ... }）")


def _malformed(en: str, zh: str) -> Unreadable:
    return Unreadable(
        f"the JSON is cut off or malformed: {en}; correct it, then send it again",
        f"JSON 不完整或格式错误（{zh}）：请更正后重新发送",
        code="SWX-1011",
    )


def too_much(en: str, zh: str) -> Unreadable:
    """Return the error for JSON that goes beyond the bounds."""
    return Unreadable(
        f"the JSON goes beyond what is accepted: {en}; send simpler or smaller messages",
        f"JSON 超出限制：{zh}；请简化或拆分报文后重新发送",
        code="SWX-1015",
    )


def item_too_large() -> Unreadable:
    """Return the error for what would have to be held as a whole, and is too large for that."""
    return too_much(
        f"one text, or one item of a list, is larger than {LIMIT_ITEM} bytes or {LIMIT_MARKS} values",
        f"单个文本或数组的某一项大于 {LIMIT_ITEM} 字节或 {LIMIT_MARKS} 个值",
    )


def too_deep() -> Unreadable:
    """Return the error for JSON that is nested too deep."""
    return too_much(f"it is nested deeper than {LIMIT_DEPTH} levels", f"嵌套超过 {LIMIT_DEPTH} 层")


def _number_too_large(digits: str) -> Unreadable:
    return too_much(
        f"the number {digits[:SHOWN]} can't be held exactly, write it as a text",
        f"数字 {digits[:SHOWN]} 无法精确表示，请写成文本",
    )


def _shown(name: str) -> str:
    return repr(name[:SHOWN])
