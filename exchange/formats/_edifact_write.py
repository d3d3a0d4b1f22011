"""Writing EDIFACT: an interchange of our own, with its own control numbers, counts and charset.

What is written stands in the charset that its syntax identifier declares and in that one's repertoire; trailing empty
elements and components are left out; the separators are the default ones, released where a value holds them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from exchange.formats._edifact_text import CHARSETS, REPERTOIRES, Element, Segment, Separators
from exchange.instants import NUMBER_BITS, Instant, show_instant

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONTROL: Final = re.compile(r"[\0-\x1f\x7f]")  # line breaks among them, which readers take out


@frozen
class Syntax:
    """A syntax identifier and version, such as UNOC:3. Repetition is written from version 4 on."""

    identifier: str
    version: str

    @property
    def separators(self) -> Separators:
        """Return the separators that need no UNA."""
        return Separators(repetition="*") if self.version >= "4" else Separators()


def syntax(text: str) -> Syntax:
    """Read a syntax as UNB has it. Raises ValueError.

    >>> syntax("UNOC:3").separators == Separators()
    True
    """
    identifier, _, version = text.partition(":")
    if identifier not in CHARSETS or version not in ("1", "2", "3", "4"):
        raise ValueError(f"no syntax {text!r}: UNOA to UNOK, UNOX or UNOY, version 1 to 4, such as UNOC:3")
    return Syntax(identifier, version)


def reference(message: int, delivery: int) -> str:
    """Return a control number that one delivery of the switch has and no other, however often it is made.

    Its id in base 36: 13 characters until the year 3600, and 14 may be written.

    >>> reference((20779 << 40) + 42, 0), reference((20779 << 40) + 42, 1)
    ('18FPBEUV4U2V4', '18FPBEUV4U2V5')
    """
    number, digits = (message << NUMBER_BITS) + delivery, ""
    while number or not digits:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def interchange(header: Segment, messages: Sequence[Sequence[Segment]], to: Syntax, control: str, at: Instant) -> bytes:
    """Write an interchange; *header* is a UNB whose syntax, time and control number are filled in here.

    Each message begins with its UNH, whose reference is filled in; UNT and UNZ are added. Raises ValueError that
    names what can't be written.
    """
    count, segments = str(len(messages)), [_header(header, to, control, at)]
    for number, message in enumerate(messages, 1):
        first = _set(_set(message[0], 1, str(number)), 0, "UNH")
        trailer = [_one("UNT"), _one(str(len(message) + 1)), _one(str(number))]
        segments += [first, *message[1:], trailer]
    segments.append([_one("UNZ"), _one(count), _one(control)])
    written = [_written(segment, to) for segment in segments]
    end = to.separators.terminator + "\r\n"
    return "".join(text + end for text in written).encode(CHARSETS[to.identifier])


def _header(header: Segment, to: Syntax, control: str, at: Instant) -> Segment:
    when = show_instant(at)
    day = when[:10].replace("-", "")
    written = _set(header, 1, to.identifier, to.version)
    written = _set(written, 4, day if to.version >= "4" else day[2:], when[11:16].replace(":", ""))
    return _set(written, 5, control)


def _set(segment: Segment, element: int, *parts: str) -> Segment:
    filled = [*segment, *([_one("")] * (element + 1 - len(segment)))]
    filled[element] = [list(parts)]
    return filled


def _one(text: str) -> Element:
    return [[text]]


def _written(segment: Segment, to: Syntax) -> str:
    """Write a segment, checking its characters. Raises ValueError."""
    text = to.separators.join(trimmed(segment))
    try:
        text.encode(CHARSETS[to.identifier])
    except UnicodeEncodeError as why:
        raise ValueError(f"{segment[0][0][0]}: {text[why.start]!r} is no character of {to.identifier}") from None
    if odd := REPERTOIRES.get(to.identifier, _CONTROL).search(text):
        raise ValueError(f"{segment[0][0][0]}: {odd[0]!r} is no character of {to.identifier}")
    return text


def trimmed(segment: Segment) -> Segment:
    """Return a segment without the empty elements and components at the end of what they are part of.

    >>> trimmed([[["TDT"]], [["20", "", ""]], [[""]], [["1"]], [["", ""]]])
    [[['TDT']], [['20']], [['']], [['1']]]
    """
    elements = [[_cut(parts) or [""] for parts in element] for element in segment]
    while len(elements) > 1 and not any(any(parts) for parts in elements[-1]):
        elements.pop()
    return elements


def _cut(parts: list[str]) -> list[str]:
    while parts and not parts[-1]:
        parts = parts[:-1]
    return parts
