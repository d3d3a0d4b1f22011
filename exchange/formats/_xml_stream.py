"""XML that is too large to be held as a tree: read anew for each question, element by element.

A tree takes eight times the bytes of a message; of what is read here nothing stays but the answer. Each reading takes
some tenths of a second for 10 MB. What is accepted, read and judged is the same as with a tree; two things are
different: a message in a wrapper is refused (an XSD judges a stream from its root on), and a signature, which is over
all of a message, still needs the tree.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Final, Protocol

from attrs import define, field, frozen
from lxml import etree

from exchange.formats import LIMIT_DOCUMENTS, too_many_documents

CHUNK: Final = 64 * 1024  # bytes between two looks at what a schema found
GUARDS: Final[Mapping[str, Any]] = {  # of every parser here: nothing is fetched, no entity is put in
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_pis": False,
    "collect_ids": False,
}


class Level(Protocol):
    """One level of paths; see ``exchange.formats.xml``."""

    slot: int
    present: int
    attributes: list[tuple[str, int]]
    below: dict[str, Any]
    each: Any
    repeats: bool
    anywhere: bool


@frozen
class Stream:
    """A payload that is well-formed, and the charset to read it in where that isn't the one it declares."""

    payload: bytes
    charset: str | None
    tag: str  # of its root


class Silent:
    """Hears of no element: what is parsed for it is only checked."""

    def close(self) -> None:
        """End."""


def checked(payload: bytes, charset: str | None) -> None:
    """Parse and keep nothing. Raises LxmlError."""
    parser = _parser(Silent(), charset)
    etree.fromstring(payload, parser)
    for entry in parser.error_log:  # what a tree is refused for, too: a prefix that stands for nothing
        if entry.domain == etree.ErrorDomains.NAMESPACE and entry.level >= etree.ErrorLevels.ERROR:
            raise etree.XMLSyntaxError(entry.message, entry.type, entry.line, entry.column)  # type: ignore[call-arg]


def _parser(target: Any, charset: str | None, schema: etree.XMLSchema | None = None) -> etree.XMLParser:
    return etree.XMLParser(target=target, encoding=charset, schema=schema, **GUARDS)


def first(payload: bytes, charset: str | None) -> tuple[str, Any]:
    """Return the name of the root, and what the document says of itself."""
    _, root = next(etree.iterparse(io.BytesIO(payload), events=("start",), encoding=charset, **GUARDS))
    return str(root.tag), root.getroottree().docinfo


# -- reading -----------------------------------------------------------------------------------------------------


class _Found(Exception):
    """All that was asked for is known."""


@define
class _Frame:
    """An element that is being read: what is still looked for in it, and where its texts go."""

    waiting: dict[str, Level]
    slots: list[str]
    slot: int = -1
    pieces: list[str] = field(factory=list)


@define
class Reading:
    """Fills the slots of paths as ``_Step.fill`` does, from a parser's events."""

    start_at: Level
    slots: list[str]
    rows: list[list[str]] = field(factory=list)
    _frames: list[_Frame] = field(factory=list)
    _listening: list[list[str]] = field(factory=list)  # the texts that are being collected, one inside the other
    _ignored: int = 0  # levels below an element that no path names

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Begin an element."""
        if self._ignored:
            self._ignored += 1
            return
        if not self._frames:
            self._enter(self.start_at, self.slots, attributes)
            return
        above = self._frames[-1]
        name = tag.rpartition("}")[2] if self.start_at.anywhere else tag
        level = above.waiting.get(name)
        if level is None:
            self._ignored = 1
            return
        if not level.repeats:
            del above.waiting[name]
        if level.each is None:
            self._enter(level, above.slots, attributes)
        else:
            if len(self.rows) >= LIMIT_DOCUMENTS:
                raise too_many_documents()
            row = level.each.empty()
            self.rows.append(row)
            self._enter(level.each.start, row, attributes)

    def data(self, text: str) -> None:
        """Take a piece of text."""
        for pieces in self._listening:
            pieces.append(text)

    def end(self, tag: str) -> None:
        """End an element; stop where nothing more is looked for."""
        if self._ignored:
            self._ignored -= 1
            return
        frame = self._frames.pop()
        if frame.slot >= 0:
            self._listening.pop()
            frame.slots[frame.slot] = frame.slots[frame.slot] or "".join(frame.pieces).strip()
        if len(self._frames) == 1 and not self._frames[0].waiting and not self._listening:
            raise _Found

    def close(self) -> None:
        """End."""

    def _enter(self, level: Level, slots: list[str], attributes: Mapping[str, str]) -> None:
        frame = _Frame(level.below.copy(), slots, level.slot)
        self._frames.append(frame)
        if level.slot >= 0:
            self._listening.append(frame.pieces)
        if level.present >= 0:
            slots[level.present] = "*"
        for name, slot in level.attributes:
            slots[slot] = slots[slot] or attributes.get(name, "").strip()
        if len(self._frames) == 1 and not frame.waiting and level.slot < 0:
            raise _Found


def read(stream: Stream, start_at: Level, slots: list[str]) -> list[list[str]]:
    """Fill *slots* and return a row for each document."""
    reading = Reading(start_at, slots)
    with suppress(_Found):
        etree.fromstring(stream.payload, _parser(reading, stream.charset))
    return reading.rows


# -- judging -----------------------------------------------------------------------------------------------------


def errors(stream: Stream, schema: etree.XMLSchema, size: int = CHUNK) -> Iterator[tuple[int, str]]:
    """Yield what a schema finds wrong, and the line on which it was found, looking every so many bytes or lines."""
    parser = _parser(Silent(), stream.charset, schema)
    known, line = 0, 1
    for chunk in chain(_pieces(stream.payload, size), [b""]):
        if chunk:
            parser.feed(chunk)
        else:
            parser.close()
        log = parser.feed_error_log
        for entry in islice(log, known, None):
            if entry.domain == etree.ErrorDomains.SCHEMASV and entry.level >= etree.ErrorLevels.ERROR:
                yield line, entry.message
        known = len(log)
        line += chunk.count(b"\n")


def _pieces(payload: bytes, size: int) -> Iterator[bytes]:
    """Cut at the ends of lines where there are some, or else after *size* bytes."""
    start = 0
    while start < len(payload):
        end = payload.find(b"\n", start, start + size) + 1 if size < CHUNK else 0
        end = end or start + size
        yield payload[start:end]
        start = end
