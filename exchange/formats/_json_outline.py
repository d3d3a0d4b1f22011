"""JSON that is too large to be held as values: read in one walk, of which an outline stays.

The outline is the message as ``_json_parse`` gives it, but for its long lists: of these only the places of their items
are kept, and whoever looks at them reads one item after the other. Each value is cut out of the bytes and goes through
the guards of ``_json_parse``; what stands between values is read here, and nothing but the grammar of JSON passes. So a
cut in a wrong place is an error of one of the two, never another reading.

Lists are only cut up where objects alone are around them: an item is always held as a whole.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from json import JSONDecodeError
from typing import Any, Final

import orjson
from attrs import define, frozen

from exchange.formats._json_parse import (
    BOM,
    LIMIT_DEPTH,
    LIMIT_ITEM,
    LIMIT_MARKS,
    LIMIT_TREE,
    PIECE,
    item_too_large,
    malformed_at,
    marks,
    no_object,
    object_of,
    refuse_charset,
    too_deep,
    too_much,
    value_of,
)

SHORT: Final = 64 * 1024  # bytes of a list that is held like everything else
LIMIT_ALL: Final = 10_000_000  # marks; see ``_json_parse``
LIMIT_OPENINGS: Final = 2_000_000  # brackets and braces: each takes two or three microseconds to find and to read

_WITHIN: Final = bytes(range(0x80, 0xC0))  # bytes of a character behind its first
_BLANK = re.compile(rb"[ \t\r\n]*+")
_PLAIN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^"\[\]{},: \t\r\n]++', re.DOTALL)
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+[\[\]{}]', re.DOTALL)


@frozen(eq=False)
class Items(Sequence[Any]):
    """The items of a long list: each is read when it is asked for."""

    payload: bytes
    places: array[int]  # where each begins and ends

    def __len__(self) -> int:
        return len(self.places) // 2

    def __getitem__(self, number: Any) -> Any:
        start, end = self.places[2 * number], self.places[2 * number + 1]
        return orjson.loads(self.payload[start:end])  # every guard was passed when its place was found


def outline(payload: bytes) -> dict[str, Any]:
    """Read the one object that a message is. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
    if payload.count(b"{") + payload.count(b"[") > LIMIT_OPENINGS:
        raise too_much(f"it has more than {LIMIT_OPENINGS} objects and lists", f"对象和数组超过 {LIMIT_OPENINGS} 个")
    if marks(payload, 0, len(payload)) > LIMIT_ALL:
        raise too_much(f"it has more than {LIMIT_ALL} values", f"值超过 {LIMIT_ALL} 个")
    refuse_charset(payload)
    walk = _Walk(payload)
    at = walk.blank(len(BOM) if payload.startswith(BOM) else 0)
    if payload[at : at + 1] != b"{":
        raise no_object()
    value, at = walk.object(at, 1)
    if (at := walk.blank(at)) < len(payload):
        raise walk.wrong("Extra data", at)
    return value


@define
class _Walk:
    """A walk over a message; what is held of it is counted."""

    payload: bytes
    _held_bytes: int = 0
    _held_values: int = 0

    def object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        """Return the object that begins at a place, and where it ends."""
        pairs: list[tuple[str, Any]] = []
        end = b","
        at = self._opened(at, depth)
        if self.payload[at : at + 1] == b"}":
            return {}, at + 1
        while end == b",":
            if self.payload[at : at + 1] != b'"':
                raise self.wrong("Expecting property name enclosed in double quotes", at)
            name, behind = self._value(at, depth)
            self._hold(at, behind)
            at = self._sign(behind, b":")
            value, at = self._member(at, depth)
            pairs.append((name, value))
            at = self._sign(at, b",}")
            end = self.payload[at - 1 : at]
            at = self.blank(at) if end == b"," else at
        return object_of(pairs), at

    def _member(self, at: int, depth: int) -> tuple[Any, int]:
        sign = self.payload[at : at + 1]
        if sign == b"{":
            return self.object(at, depth + 1)
        if sign == b"[":
            return self._list(at, depth + 1)
        value, end = self._value(at, depth)
        self._hold(at, end)
        return value, end

    def _list(self, start: int, depth: int) -> tuple[Sequence[Any], int]:
        places = array("Q")
        end = b","
        at = self._opened(start, depth)
        if self.payload[at : at + 1] == b"]":
            return [], at + 1
        while end == b",":
            _, behind = self._value(at, depth)
            self._hold(at, at)
            places.extend((at, behind))
            at = self._sign(behind, b",]")
            end = self.payload[at - 1 : at]
            at = self.blank(at) if end == b"," else at
        items = Items(self.payload, places)
        if at - start > SHORT:
            return items, at
        self._hold(start, at)
        return list(items), at

    def _opened(self, at: int, depth: int) -> int:
        if depth > LIMIT_DEPTH:
            raise too_deep()
        return self.blank(at + 1)

    def _value(self, start: int, depth: int) -> tuple[Any, int]:
        """Return a value that is held as a whole, and where it ends; it stands in so many objects and lists."""
        end = self._end(start)
        if end - start > LIMIT_ITEM or marks(self.payload, start, end) > LIMIT_MARKS:
            raise item_too_large()
        try:
            return value_of(self.payload[start:end], LIMIT_DEPTH - depth), end
        except JSONDecodeError as why:
            said = why.msg if why.msg != "Extra data" else "Expecting ',' delimiter"
            raise self.wrong(said, start + len(why.doc[: why.pos].encode())) from None

    def _end(self, start: int) -> int:
        """Return where a value ends; the end of the payload, where it has none."""
        sign = self.payload[start : start + 1]
        if sign not in (b"{", b"["):
            found = _PLAIN.match(self.payload, start)
            return found.end() if found else len(self.payload) if sign == b'"' else start + len(sign)
        at, depth = start, 0
        while found := _BRACKET.match(self.payload, at):
            at = found.end()
            depth += 1 if self.payload[at - 1] in b"{[" else -1
            if not depth:
                return at
        return len(self.payload)

    def _hold(self, start: int, end: int) -> None:
        self._held_bytes += end - start
        self._held_values += 1 + marks(self.payload, start, end)
        if self._held_bytes > LIMIT_TREE or self._held_values > LIMIT_MARKS:
            raise too_much(
                f"its lists have more than {LIMIT_MARKS} items, or it is larger than {LIMIT_TREE} bytes without them",
                f"各数组超过 {LIMIT_MARKS} 项，或数组以外的部分大于 {LIMIT_TREE} 字节",
            )

    def _sign(self, at: int, signs: bytes) -> int:
        """Return the place behind one of some signs, which must come next; the first of them is what is missed."""
        at = self.blank(at)
        if at == len(self.payload) or self.payload[at] not in signs:
            raise self.wrong(f"Expecting '{signs[:1].decode()}' delimiter", at)
        return at + 1 if signs != b":" else self.blank(at + 1)

    def blank(self, at: int) -> int:
        """Return the place behind white space."""
        found = _BLANK.match(self.payload, at)
        return found.end() if found else at

    def wrong(self, en: str, at: int) -> Exception:
        """Return the error for what breaks the grammar at a place, in the words of Python's json."""
        line = self.payload.count(b"\n", 0, at) + 1
        start = self.payload.rfind(b"\n", 0, at) + 1
        start = start or len(BOM) * self.payload.startswith(BOM)
        pieces = (self.payload[one : min(one + PIECE, at)] for one in range(start, at, PIECE))
        return malformed_at(en, line, 1 + sum(len(piece.translate(None, _WITHIN)) for piece in pieces))
