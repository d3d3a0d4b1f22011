"""EDIFACT as JSON and back, nothing lost: what people look at, and what transformations start from.

::

    {"interchanges": [{"una": "", "separators": ":+.?' ", "charset": "ascii", "newline": "",
     "segments": [["UNB", ["UNOA", "2"], ...], ...]}]}

An element is a text; a composite a list of texts; one that is repeated ``{"repeat": [...]}``. Where an interchange
releases no more characters than it must, and all its segments end alike, the bytes that come back are the same.
"""

from __future__ import annotations

from typing import Any, Final

from exchange.formats._edifact_envelope import Interchange, Payload, parse
from exchange.formats._edifact_text import BLANK, CHARSETS, Element, Segment, Separators, flat, scan

LATIN: Final = "latin-1"


def to_json(payload: bytes) -> dict[str, Any]:
    """Return the JSON view of a payload. Raises Unreadable."""
    read = parse(payload)
    return {"interchanges": [_interchange(read, one) for one in read.interchanges]}


def from_json(view: dict[str, Any]) -> bytes:
    """Write what ``to_json`` returned. Raises ValueError, KeyError or TypeError for anything else."""
    return b"".join(_written(one) for one in view["interchanges"])


def _interchange(read: Payload, one: Interchange) -> dict[str, Any]:
    s, segments, gap = one.separators, [], None
    end = one.end or (read.interchanges[one.number].start if one.number < len(read.interchanges) else len(read.text))
    charset = _charset(read.text[one.start : end].encode("latin-1"), one.syntax)
    for start, stop in scan(read.text, one.start, s):
        if start >= end:
            break
        text = flat(read.text[start:stop]).encode("latin-1").decode(charset)
        segments.append([_element(element) for element in s.split(text)])
        if gap is None:
            after = read.text[stop + 1 : stop + 5]
            gap = after[: len(after) - len(after.lstrip(BLANK))]
    separators = "".join(c or " " for c in (s.component, s.element, s.decimal, s.release, s.terminator, s.repetition))
    return {
        "una": one.una,
        "separators": separators,
        "charset": charset,
        "newline": gap or "",
        "segments": segments,
    }


def _element(element: Element) -> Any:
    parts = [one[0] if len(one) == 1 else one for one in element]
    return parts[0] if len(parts) == 1 else {"repeat": parts}


def _written(one: dict[str, Any]) -> bytes:
    component, element, decimal, release, terminator, repetition = list(one["separators"])
    s = Separators(component, element, decimal, release.strip(" "), repetition.strip(" "), terminator)
    end = s.terminator + one["newline"]
    una = f"UNA{one['una']}" + one["newline"] if one["una"] else ""
    if one["charset"] not in (*CHARSETS.values(), LATIN):
        raise ValueError(f"no character set {one['charset']!r}")
    return (una + "".join(s.join(_segment(segment)) + end for segment in one["segments"])).encode(one["charset"])


def _charset(raw: bytes, syntax: str) -> str:
    """Return a character set that all the bytes are in: the declared one, UTF-8, or Latin-1, which has every byte."""
    for charset in (CHARSETS.get(syntax, "utf-8"), "utf-8"):
        try:
            if raw.decode(charset).encode(charset) == raw:
                return charset
        except UnicodeError:
            continue
    return LATIN


def _segment(segment: list[Any]) -> Segment:
    return [
        [[part] if isinstance(part, str) else part for part in (e["repeat"] if isinstance(e, dict) else [e])]
        for e in segment
    ]
