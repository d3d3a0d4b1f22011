"""Bytes to JSON values, with every guard.

What RFC 8259 leaves open is refused here, for two readers would read it in two ways: names that occur twice, numbers
beyond what every reader can hold exactly (RFC 7493, section 2.2), NaN and Infinity, halves of surrogate pairs, charsets
other than UTF-8. A byte order mark is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import orjson

from exchange.errors import Unreadable

LIMIT_DEPTH: Final = 64
LIMIT_PAYLOAD: Final = 8 * 1024 * 1024  # bytes; as text, and again as values, they take four times as much at worst
LIMIT_MARKS: Final = 150_000  # brackets, braces, commas and colons; a value takes a hundred bytes at most for each
LIMIT_DIGITS: Final = 40  # characters of one number
LARGEST: Final = 2**53 - 1
BOM: Final = b"\xef\xbb\xbf"
SHOWN: Final = 40


def parse(payload: bytes) -> dict[str, Any]:
    """Parse the one object that a message is. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
    if len(payload) > LIMIT_PAYLOAD:
        raise _too_much(f"it is larger than {LIMIT_PAYLOAD} bytes", f"大于 {LIMIT_PAYLOAD} 字节")
    if sum(map(payload.count, (b"{", b"[", b",", b":"))) > LIMIT_MARKS:
        raise _too_much(f"it has more than {LIMIT_MARKS} values", f"值超过 {LIMIT_MARKS} 个")
    try:
        text = payload.removeprefix(BOM).decode()
    except UnicodeDecodeError as why:
        raise Unreadable(
            f"the charset is wrong: JSON must be UTF-8, byte {why.start + 1} isn't; convert it and send it again",
            f"字符集错误：JSON 必须为 UTF-8，第 {why.start + 1} 字节不是；请转换后重新发送",
            code="SWX-1014",
        ) from None
    value = _value(text)
    if not isinstance(value, dict):
        raise _malformed("a message must be an object, { ... }", "报文必须是对象（{ ... }）")
    if payload.count(b"{") + payload.count(b"[") > LIMIT_DEPTH and _deeper(value, LIMIT_DEPTH):
        raise _too_deep()
    if "\\u" in text:
        _refuse_no_text(value)
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_int=_whole, parse_float=_number, parse_constant=_constant
        )
    except json.JSONDecodeError as why:
        raise _malformed(
            f"{why.msg} (line {why.lineno}, column {why.colno})", f"第 {why.lineno} 行第 {why.colno} 列，{why.msg}"
        ) from None
    except RecursionError:
        raise _too_deep() from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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


def _deeper(value: Any, levels: int) -> bool:
    """Tell whether containers are nested in more levels, without recursion."""
    row = [value]
    for _ in range(levels):
        row = [inner for container in row for inner in _inside(container) if isinstance(inner, dict | list)]
        if not row:
            return False
    return True


def _inside(container: Any) -> Iterator[Any]:
    yield from container.values() if isinstance(container, dict) else container


def _refuse_no_text(value: dict[str, Any]) -> None:
    try:
        text = orjson.dumps(value)
    except TypeError:
        raise _malformed("half of a surrogate pair is no character", "含有不成对的代理字符") from None
    if b"\\u0000" in text:
        raise _malformed("it holds a character that no text has (\\u0000)", "含有文本中不应出现的字符（\\u0000）")


def _malformed(en: str, zh: str) -> Unreadable:
    return Unreadable(
        f"the JSON is cut off or malformed: {en}; correct it, then send it again",
        f"JSON 不完整或格式错误（{zh}）：请更正后重新发送",
        code="SWX-1011",
    )


def _too_much(en: str, zh: str) -> Unreadable:
    return Unreadable(
        f"the JSON goes beyond what is accepted: {en}; send simpler or smaller messages",
        f"JSON 超出限制：{zh}；请简化或拆分报文后重新发送",
        code="SWX-1015",
    )


def _too_deep() -> Unreadable:
    return _too_much(f"it is nested deeper than {LIMIT_DEPTH} levels", f"嵌套超过 {LIMIT_DEPTH} 层")


def _number_too_large(digits: str) -> Unreadable:
    return _too_much(
        f"the number {digits[:SHOWN]} can't be held exactly, write it as a text",
        f"数字 {digits[:SHOWN]} 无法精确表示，请写成文本",
    )


def _shown(name: str) -> str:
    return repr(name[:SHOWN])
