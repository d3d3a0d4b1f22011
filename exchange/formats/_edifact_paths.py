"""Paths of a type's YAML into EDIFACT messages; the syntax is explained in ``exchange.formats.edifact``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import Factory, define, field, frozen

from exchange.formats._edifact_text import Segment, component

ELSE: Final = " else "
_PLACE = r"[1-9][0-9]?"
_SINGLE: Final = re.compile(
    rf"(?P<whole>/?)(?P<tag>[A-Z][A-Z0-9]{{2}})(?P<filters>(?:\[{_PLACE}(?:\.{_PLACE})?=[^\[\]]+\])*)"
    rf"(?:/(?P<element>{_PLACE})(?:\.(?P<first>{_PLACE})(?:-(?P<last>{_PLACE}))?)?)?"
)
_FILTER: Final = re.compile(rf"\[({_PLACE})(?:\.({_PLACE}))?=([^\]]+)\]")
ENVELOPE: Final = frozenset(("UNB", "UNG"))


@frozen
class Single:
    """One place: which segment, and what of it."""

    tag: str
    filters: tuple[tuple[int, int, tuple[str, ...]], ...]
    element: int  # 0: the tag itself, where the segment is there at all
    first: int  # component; 0: all
    last: int

    def read(self, segment: Segment) -> str:
        """Return the text, or nothing where the segment isn't the one."""
        for element, part, values in self.filters:
            if component(segment, element, part) not in values:
                return ""
        if not self.element:
            return self.tag
        if self.element >= len(segment):
            return ""
        parts = segment[self.element][0]
        if self.first:
            if self.first == self.last:
                return parts[self.first - 1].strip() if self.first <= len(parts) else ""
            parts = parts[self.first - 1 : self.last]
        return ":".join(parts).strip().rstrip(":")


@define
class Paths:
    """Numbers the places that paths name as slots, and collects paths that are none."""

    mistakes: list[str] = field(factory=list)
    places: list[Single] = field(factory=list)
    by_tag: dict[str, list[int]] = Factory(dict)  # of the message or document
    envelope: list[int] = field(factory=list)  # of UNB and UNG
    above: list[int] = field(factory=list)  # of the message, where this reads documents within

    def slots(self, *paths: str) -> tuple[tuple[int, ...], ...]:
        """Return the alternatives of paths, each the slots to be joined."""
        return tuple(
            tuple(self._slot(one, path) for one in each.split()) for path in paths if path for each in path.split(ELSE)
        )

    def _slot(self, text: str, path: str) -> int:
        found = _SINGLE.fullmatch(text)
        if found is None:
            self.mistakes.append(path)
            return 0
        first, last = int(found["first"] or 0), int(found["last"] or found["first"] or 0)
        filters = tuple((int(e), int(c or 1), tuple(v.split("|"))) for e, c, v in _FILTER.findall(found["filters"]))
        self.places.append(Single(found["tag"], filters, int(found["element"] or 0), first, last))
        slot = len(self.places) - 1
        if found["tag"] in ENVELOPE:
            self.envelope.append(slot)
        elif found["whole"]:
            self.above.append(slot)
        else:
            self.by_tag.setdefault(found["tag"], []).append(slot)
        return slot

    def tags(self) -> frozenset[str]:
        """Return the segments that are read of messages."""
        return frozenset(place.tag for place in self.places) - ENVELOPE

    def empty(self) -> list[str]:
        """Return slots that hold nothing."""
        return [""] * len(self.places)

    def fill(self, segment: Segment, slots: list[str], numbers: Iterable[int]) -> None:
        """Read a segment into those of *slots* that are still empty."""
        for number in numbers:
            if not slots[number]:
                slots[number] = self.places[number].read(segment)


def value(slots: Sequence[str], path: tuple[tuple[int, ...], ...]) -> str:
    """Return what a path leads to: the first alternative that isn't empty, its parts joined with ``|``."""
    for each in path:
        text = "|".join([slots[number] for number in each if slots[number]])
        if text:
            return text
    return ""


def complete(slots: Sequence[str], path: tuple[tuple[int, ...], ...]) -> str:
    """Return what a path of a key leads to: nothing where a part is missing."""
    for each in path:
        parts = [slots[number] for number in each]
        if "" not in parts:
            return "|".join(parts)
    return ""
