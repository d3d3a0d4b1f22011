"""EDIFACT in maps: the paths of ``exchange.formats.edifact``; a loop names the segment that a group begins with.

What a path leads to is looked for in its group first, then in the groups inside. In a target, a segment is written
where a row first names it, with its filters filled in: ``RFF[1.1=BN]/1.2``. Each turn of a loop writes segments of its
own; a block ``to: UNH`` writes messages of its own. Control numbers and counts are ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from exchange.errors import Unreadable
from exchange.formats import Opened
from exchange.formats._edifact_envelope import Message, Payload, payload_of
from exchange.formats._edifact_groups import Group, grouped
from exchange.formats._edifact_paths import ENVELOPE, Paths, Single, value
from exchange.formats._edifact_schema import read_schema
from exchange.formats._edifact_text import Segment
from exchange.formats._edifact_write import interchange, reference, syntax
from exchange.formats.edifact import Edifact
from exchange.instants import Instant
from exchange.steps._map_file import TargetRow
from exchange.steps._map_sides import Base, Enter, Keep, Look, Loop, Put, Turn, keep, same
from exchange.steps._map_values import Value

# -- reading -----------------------------------------------------------------------------------------------------

_FILTERS: Final = re.compile(r"\[[^\]]*\]")


@define(eq=False)
class _Whole:
    """A payload: its groups are messages, made when somebody asks."""

    payload: Payload
    make: Callable[[Message], Group]
    _first: Group | None = None

    @property
    def message(self) -> Message:
        return self.payload.messages[0]

    def named(self, tag: str) -> list[Any]:
        return self._made(self.message).named(tag)

    def parts(self, tag: str) -> Iterator[Group]:
        for message in self.payload.messages:
            group = self._made(message)
            if tag == "UNH":
                yield group
            else:
                yield from group.parts(tag)

    def _made(self, message: Message) -> Group:
        """Return the groups of a message; those of the first are kept, which rows outside of loops ask for."""
        if message is not self.message:
            return self.make(message)
        if self._first is None:
            self._first = self.make(message)
        return self._first


class FromEdifact:
    """EDIFACT: paths of ``exchange.formats.edifact``; a loop names the segment that its group begins with."""

    def __init__(self, file: Path) -> None:
        self.format = Edifact()
        self._versions = read_schema(file).versions
        self._tags = {"UNH", *ENVELOPE}.union(*(tables.structure.tags for tables in self._versions.values()))

    def root(self, opened: Opened) -> Any:
        """Return the payload. Raises Unreadable where there is no structure for its version."""
        payload = payload_of(opened)
        for message in payload.messages:
            if message.kind.partition(":")[2] not in self._versions:
                raise Unreadable(
                    f"there is no table for {message.kind}", f"没有 {message.kind} 的规范", code="SWX-1023"
                )
        return _Whole(payload, self._made)

    def _made(self, message: Message) -> Group:
        return grouped(message, self._versions[message.kind.partition(":")[2]].structure)

    def look(self, path: str, base: Base) -> Look:
        """Compile a path; ``else`` and several places in one path are as in a type's YAML."""
        paths = Paths()
        slots = paths.slots(path)
        if paths.mistakes or any(place.tag not in self._tags or not self._holds(place) for place in paths.places):
            raise ValueError(path)
        above = frozenset(paths.above)
        if len(paths.places) == 1:
            return partial(_found, paths.places[0], 0 in above)
        looks = [partial(_found, place, number in above) for number, place in enumerate(paths.places)]
        return lambda place: value([look(place) for look in looks], slots)

    def loop(self, path: str, base: Base) -> Loop:
        """Compile a loop: ``EQD``, ``RFF[1.1=BN]``."""
        paths = Paths()
        paths.slots(path)
        if paths.mistakes or len(paths.places) != 1 or paths.places[0].element or paths.places[0].tag not in self._tags:
            raise ValueError(path)
        (single,) = paths.places
        if not single.filters:
            return lambda place: place.parts(single.tag)
        return lambda place: (part for part in place.parts(single.tag) if single.read(part.segments[0]))

    def pointer(self, place: Any, turns: Sequence[Turn], path: str) -> tuple[str, int | None]:
        """Point the way that CONTRL needs it."""
        inside = isinstance(place, Group) and not path.startswith("/")
        line = place.lines[0] if inside else place.message.line
        where = _FILTERS.sub("", path).lstrip("/")
        return f"{place.message.pointer}/{where}" if where else place.message.pointer, line

    def _holds(self, place: Single) -> bool:
        """Tell whether a segment has such an element in some version."""
        if place.tag in ENVELOPE or not place.element:
            return True
        known = [tables.directory[place.tag] for tables in self._versions.values() if place.tag in tables.directory]
        return any(place.element <= len(slots) and place.last <= len(slots[place.element - 1].parts) for slots in known)


def _found(single: Single, whole: bool, place: Any) -> str:
    """Return the text at the first segment that has the place filled."""
    if single.tag in ENVELOPE:
        message: Message = place.message
        segment = message.interchange.header if single.tag == "UNB" else message.group
        return single.read(segment) if segment is not None else ""
    while whole and getattr(place, "above", None) is not None:
        place = place.above
    for segment in place.named(single.tag):
        if text := single.read(segment):
            return text
    return ""


# -- writing -----------------------------------------------------------------------------------------------------


@define(eq=False)
class _Out:
    """An interchange that is being written."""

    header: Segment = field(factory=lambda: [[["UNB"]]])
    messages: list[list[Segment]] = field(factory=list)


@define(eq=False)
class _Turn:
    """What one turn of a loop has written so far, by place."""

    out: _Out
    known: dict[Any, Segment] = field(factory=dict)


class ToEdifact:
    """EDIFACT: ``EQD/2.1``, ``RFF[1.1=BN]/1.2``: a segment is written where a row first names it, with its filters.

    Each turn of a loop writes segments of its own; a block ``to: UNH`` writes messages of its own.
    """

    def __init__(self, row: TargetRow, file: Path) -> None:
        self.format, self._kind = Edifact(), row.message.split(":")
        self._syntax = syntax(row.syntax)
        tables = read_schema(file).versions.get(":".join(self._kind[1:4]))
        if tables is None:
            raise ValueError(f"{file.name} has no version {row.message!r}: write it as CODECO:D:95B:UN")
        self._tables = tables
        self._used: dict[str, set[int]] = {}

    def root(self) -> _Turn:
        """Return the interchange."""
        return _Turn(_Out())

    def put(self, path: str, base: Base) -> Put:
        """Compile a place in a segment."""
        paths = Paths()
        paths.slots(path)
        single = paths.places[0] if len(paths.places) == 1 and not paths.mistakes else None
        if single is None or not single.element or single.first != single.last or not self._known(single):
            raise ValueError(path)
        self._used.setdefault(single.tag, set()).update([single.element], [e for e, _, _ in single.filters])
        filters = [(element, part, values[0]) for element, part, values in single.filters]
        if any(len(values) > 1 for _, _, values in single.filters):
            raise ValueError(path)
        place = single.element, single.first or 1
        key = single.tag, tuple(filters)

        def put(turn: _Turn, value: Value) -> None:
            segment = turn.known.get(key) or self._begun(turn, key)
            _fill(segment, *place, str(value))

        return put

    def add(self, path: str, base: Base) -> Put:
        """Compile a place in segments that may be there several times."""
        put = self.put(path, base)
        return lambda turn, value: put(_Turn(turn.out), value)

    def enter(self, path: str, base: Base, loop: bool) -> tuple[Enter, Keep]:
        """Let each turn write segments of its own, or a message of its own."""
        if path not in ("", "UNH"):
            raise ValueError(path)

        def enter(turn: _Turn, number: int) -> _Turn:
            if path:
                self._message(turn.out)
            return _Turn(turn.out)

        return (enter if loop or path else same), keep

    def missing(self) -> list[str]:
        """List required segments, and required elements of the segments that are written."""
        absent = [] if {2, 3} <= self._used.get("UNB", set()) else ["UNB/2 and UNB/3"]
        tags = set(self._used) - {"UNB"}
        for node in self._tables.structure.nodes:
            if node.group and (node.tag in tags or not node.tag):
                absent += [n.tag for n in node.children if n.must and n.tag not in tags | {"UNH", "UNT"}]
        for tag in tags:
            slots = enumerate(self._tables.directory[tag], 1)
            absent += [f"{tag}/{number}" for number, slot in slots if slot.must and number not in self._used[tag]]
        return sorted(set(absent))

    def write(self, root: Any, id: tuple[int, int], at: Instant) -> bytes:
        """Return an interchange."""
        out: _Out = root.out
        return interchange(out.header, out.messages, self._syntax, reference(*id), at)

    def _message(self, out: _Out) -> list[Segment]:
        header = [[["UNH"]], [[""]], [list(self._kind)]]
        out.messages.append([header])
        return out.messages[-1]

    def _begun(self, turn: _Turn, key: tuple[str, tuple[tuple[int, int, str], ...]]) -> Segment:
        tag, filters = key
        segment: Segment = [[[tag]]]
        if tag == "UNB":
            segment = turn.out.header
        else:
            (turn.out.messages[-1] if turn.out.messages else self._message(turn.out)).append(segment)
        turn.known[key] = segment
        for element, part, text in filters:
            _fill(segment, element, part, text)
        return segment

    def _known(self, place: Single) -> bool:
        """Tell whether the version has such a place; a composite needs the number of a component."""
        if place.tag == "UNB":
            return place.element in (2, 3) or place.element > 5
        slots = self._tables.directory.get(place.tag, ())
        if place.element > len(slots) or place.tag not in self._tables.structure.tags - {"UNH", "UNT"}:
            return False
        parts = len(slots[place.element - 1].parts)
        return place.last <= parts if place.first else parts == 1


def _fill(segment: Segment, element: int, part: int, text: str) -> None:
    segment += [[[""]] for _ in range(element + 1 - len(segment))]
    parts = segment[element][0]
    parts += [""] * (part - len(parts))
    parts[part - 1] = parts[part - 1] or text
