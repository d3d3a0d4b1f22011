"""DER (X.690, 10), as far as signatures are written in it: read strictly, so that there is one spelling only."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from attrs import field, frozen

INTEGER, OCTETS, NULL, OID, UTC_TIME, TIME, SEQUENCE, SET = 0x02, 0x04, 0x05, 0x06, 0x17, 0x18, 0x30, 0x31
_LONGEST: Final = 4  # bytes of a length: four gigabytes


def tlv(tag: int, *parts: bytes) -> bytes:
    """Write a value: tag, length, and its parts.

    >>> tlv(SEQUENCE, integer(1), integer(128)).hex()
    '300702010102020080'
    """
    length = sum(map(len, parts))
    if length < 0x80:
        return b"".join((bytes((tag, length)), *parts))
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return b"".join((bytes((tag, 0x80 | len(size))), size, *parts))


def integer(value: int) -> bytes:
    """Write a number that isn't negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


@lru_cache(256)
def oid(dotted: str) -> bytes:
    """Write an object identifier.

    >>> oid("1.2.156.10197.1.301").hex()
    '06082a811ccf5501822d'
    """
    first, second, *rest = map(int, dotted.split("."))
    return tlv(OID, *map(_base128, (40 * first + second, *rest)))


def _base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))


@frozen
class Node:
    """One value in a text, whose bytes are copied when they are asked for."""

    data: bytes = field(repr=False)
    start: int  # of the tag
    content: int  # behind the length
    end: int

    @property
    def tag(self) -> int:
        """The tag, one byte."""
        return self.data[self.start]

    @property
    def whole(self) -> bytes:
        """The value with its tag and length."""
        return self.data[self.start : self.end]

    @property
    def body(self) -> bytes:
        """The value without them."""
        return self.data[self.content : self.end]

    def children(self) -> list[Node]:
        """Return what this value is made of. Raises ValueError."""
        if not self.tag & 0x20:
            raise ValueError("a plain value where a constructed one is wanted")
        found, at = [], self.content
        while at < self.end:
            found.append(_node(self.data, at, self.end))
            at = found[-1].end
        return found

    def of(self, *tags: int) -> list[Node]:
        """Return what this value is made of, which must be values with these tags. Raises ValueError."""
        found = self.children()
        if [one.tag for one in found] != list(tags):
            raise ValueError("other values than there must be")
        return found


def parse(data: bytes) -> Node:
    """Read a text that is one value. Raises ValueError."""
    node = _node(data, 0, len(data))
    if node.end != len(data):
        raise ValueError("something behind the end")
    return node


def _node(data: bytes, at: int, end: int) -> Node:
    """Read tag and length of the value at *at*, which must end by *end*. Raises ValueError."""
    if end - at < 2 or data[at] & 0x1F == 0x1F:
        raise ValueError("no value that is known here")
    length, content = data[at + 1], at + 2
    if length >= 0x80:
        size = length & 0x7F
        written = data[content : content + size]
        content += size
        length = int.from_bytes(written, "big")
        if not 0 < size <= _LONGEST or written[:1] in (b"", b"\0") or length < 0x80:
            raise ValueError("a length that isn't written the one right way")
    if content + length > end:
        raise ValueError("it ends too early")
    return Node(data, at, content, content + length)
