"""EDIFACT as characters: separators, segments, elements, character sets (ISO 9735, syntax versions 1 to 4).

Bytes are read as Latin-1, one character for each, so that separators are found at once and nothing is lost; segments
with other than ASCII characters are read again in the character set that UNB declares. A payload is scanned once, in
linear time whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from attrs import evolve, frozen

from exchange.errors import Unreadable
from exchange.formats import nothing_readable

LIMIT_PAYLOAD: Final = 128 * 1024 * 1024  # characters
LIMIT_SEGMENT: Final = 64 * 1024  # characters; the longest of any directory has some thousand
LIMIT_SEGMENTS: Final = 2_000_000

Element = list[list[str]]  # its repetitions (one, but for syntax 4), each a list of components
Segment = list[Element]  # the first element is the tag

BLANK: Final = "\r\n\t \0"  # may stand before and between segments, and after the last with the old end-of-file mark
END: Final = BLANK + "\x1a"
NOTHING: Final = re.compile(rf"[{END}]*+\Z")
BOM: Final = "\xef\xbb\xbf"  # of UTF-8, read as Latin-1
_RELEASED: Final = 0xDC00  # lone surrogates stand for released characters while a segment is split: no text has them
_UNRELEASE: Final = {_RELEASED + code: code for code in range(256)}
_HEAD: Final = re.compile(rf"[{BLANK}]*+(?:UNA(?P<una>[^A-Za-z0-9]{{6}})[{BLANK}]*+)?UNB(?P<separator>[^A-Za-z0-9])")
_SYNTAX: Final = re.compile(r"\W*UN[OAB]?\W")

CHARSETS: Final[Mapping[str, str]] = {  # syntax identifier -> Python's name
    "UNOA": "ascii", "UNOB": "ascii", "UNOC": "iso8859-1", "UNOD": "iso8859-2", "UNOE": "iso8859-5",
    "UNOF": "iso8859-7", "UNOG": "iso8859-3", "UNOH": "iso8859-4", "UNOI": "iso8859-6", "UNOJ": "iso8859-8",
    "UNOK": "iso8859-9", "UNOX": "gb18030", "UNOY": "utf-8",
}  # fmt: skip
ESCAPING: Final = "UNOX"  # allows ISO 2022, whose escapes aren't read here: after one, "'" may be half a character
ESCAPE: Final = "\x1b"
REPERTOIRES: Final[Mapping[str, re.Pattern[str]]] = {  # what A and B don't allow, separators aside
    "UNOA": re.compile(r"[^A-Z0-9 .,\-()/='+:?!\"%&*;<>]"),
    "UNOB": re.compile(r"[^ -~]"),
}


@frozen(cache_hash=True)
class Separators:
    """The service characters of an interchange; *release* and *repetition* may be absent (empty)."""

    component: str = ":"
    element: str = "+"
    decimal: str = "."
    release: str = "?"
    repetition: str = ""
    terminator: str = "'"

    @property
    def pattern(self) -> re.Pattern[str]:
        """Return what finds the next segment: its text, and its terminator unless the end comes first."""
        return _pattern(self)

    def split(self, text: str) -> Segment:
        """Split one segment, released characters included."""
        released = bool(self.release) and self.release in text
        if released:
            text = _released(self).sub(_hide, text)
        component, repetition = self.component, self.repetition
        if repetition and repetition in text:
            elements = [[r.split(component) for r in e.split(repetition)] for e in text.split(self.element)]
        else:
            elements = [[e.split(component)] for e in text.split(self.element)]
        if released:
            elements = [[[c.translate(_UNRELEASE) for c in r] for r in e] for e in elements]
        return elements

    def join(self, segment: Segment) -> str:
        """Write one segment without its terminator, releasing only what must be."""
        write = _escape(self)
        return self.element.join(
            (self.repetition or "*").join(self.component.join(c.translate(write) for c in r) for r in element)
            for element in segment
        )

    def una(self) -> str:
        """Write the service string advice."""
        optional = self.repetition or " "
        return f"UNA{self.component}{self.element}{self.decimal}{self.release or ' '}{optional}{self.terminator}"


DEFAULT: Final = Separators()
CONTROL: Final = Separators("\x1f", "\x1d", ".", "", "", "\x1c")  # level B's own set: IS 1, IS 3, IS 4


@lru_cache(64)
def _pattern(separators: Separators) -> re.Pattern[str]:
    end, release = re.escape(separators.terminator), re.escape(separators.release)
    most = f"{{0,{LIMIT_SEGMENT}}}+"
    text = rf"(?:[^{end}{release}]++|{release}.?){most}" if release else rf"[^{end}]*+"
    return re.compile(rf"[{BLANK}]*+({text})({end}|)", re.DOTALL)


@lru_cache(64)
def _released(separators: Separators) -> re.Pattern[str]:
    return re.compile(re.escape(separators.release) + "(.)", re.DOTALL)


def _hide(match: re.Match[str]) -> str:
    code = ord(match[1])
    return chr(_RELEASED + code) if code < 256 else match[1]


@lru_cache(64)
def _escape(separators: Separators) -> Mapping[int, str]:
    if not separators.release:
        return {}
    special = (
        separators.component, separators.element, separators.release, separators.repetition, separators.terminator,
    )  # fmt: skip
    return {ord(character): separators.release + character for character in special if character}


# -- the beginning of an interchange -----------------------------------------------------------------------------


@frozen
class Head:
    """Where the first segment of an interchange begins, and how it is to be read."""

    start: int  # of its UNB
    una: str  # the six characters of the service string advice, if there is one
    separators: Separators


def head(text: str, at: int) -> Head:
    """Read UNA and the beginning of UNB. Raises Unreadable (SWX-1010, 1012, 1017)."""
    found = _HEAD.match(text, at)
    if found is None:
        if at <= len(BOM) and not _SYNTAX.match(text, at):
            raise nothing_readable(text[at : at + 99].encode("latin-1", "replace"))
        raise _unusable(
            "the interchange begins with neither UNB nor UNA and UNB", "交换没有以 UNB（或 UNA 加 UNB）开头"
        )
    start, una, separator = found.start("separator") - 3, found["una"] or "", found["separator"]
    if una:
        known = _advised(una, separator)
    elif separator in (DEFAULT.element, CONTROL.element):
        known = DEFAULT if separator == DEFAULT.element else CONTROL
    else:
        raise _unusable(
            f"UNB is followed by {separator!r}: separators other than the default ones need a UNA",
            f"UNB 之后为 {separator!r}：使用非默认分隔符时必须有 UNA",
        )
    repetition = una[4].strip() if una else "*" if known is DEFAULT else ""
    return Head(start, una, _repeating(text, start, known, repetition))


def _advised(una: str, separator: str) -> Separators:
    component, element, decimal, release, _, terminator = list(una)
    used = [component, element, terminator, *([release] if release != " " else [])]
    if len(set(used)) < len(used) or " " in (component, element, terminator):
        raise _unusable(f"UNA gives one character several meanings: {una!r}", f"UNA 中同一字符有多种用途：{una!r}")
    if element != separator:
        raise _unusable(
            f"UNA says that elements are separated by {element!r}, UNB uses {separator!r}",
            f"UNA 规定的数据元分隔符为 {element!r}，而 UNB 使用 {separator!r}",
        )
    return Separators(component, element, decimal, release.strip(), "", terminator)


def _repeating(text: str, start: int, s: Separators, repetition: str) -> Separators:
    """Let elements repeat where the syntax version is 4 or later; before, the fifth character was reserved."""
    version = text[start + 8 : start + 10]  # UNB+UNOC:4
    if (
        version[:1] != s.component
        or not version[1:].isdigit()
        or version[1] < "4"
        or repetition in (s.component, s.element, s.release, s.terminator)
    ):
        return s
    return evolve(s, repetition=repetition)


def _unusable(en: str, zh: str) -> Unreadable:
    return Unreadable(f"{en}: correct it and send it again", f"{zh}：请更正后重新发送", code="SWX-1017")


# -- segments ----------------------------------------------------------------------------------------------------


def scan(text: str, at: int, separators: Separators) -> Iterator[tuple[int, int]]:
    """Yield where each segment's text begins and ends. Raises Unreadable (SWX-1016, 1018) at what can't be one."""
    for found in separators.pattern.finditer(text, at):
        start, end = found.span(1)
        if end - start > LIMIT_SEGMENT or (not found[2] and end < len(text)):
            raise _too_long()
        if not found[2]:
            if NOTHING.match(text, start):
                return
            raise _cut(text[start : start + 3])
        yield start, end


def check_bounds(text: str, at: int, separators: Separators) -> None:
    """Refuse what needn't be scanned at all: too long, or cut off in a segment. Raises Unreadable."""
    end = separators.terminator
    tail = text.rfind(end) + 1
    if not NOTHING.match(text, tail):
        raise _cut(text[max(at, tail) : tail + 99].lstrip(BLANK)[:3])
    for window in range(at, tail - LIMIT_SEGMENT, LIMIT_SEGMENT):
        if text.find(end, window, window + LIMIT_SEGMENT) < 0:
            raise _too_long()
    if text.count(separators.terminator) > LIMIT_SEGMENTS:
        raise too_much(f"more than {LIMIT_SEGMENTS} segments", f"段数超过 {LIMIT_SEGMENTS}")


def _cut(tag: str) -> Unreadable:
    return Unreadable(
        f"the interchange is cut off: its last segment ({tag!r}) has no terminator; send it again, complete",
        f"交换不完整：最后一段（{tag!r}）没有段终止符，请重新发送完整的报文",
        code="SWX-1016",
    )


def _too_long() -> Unreadable:
    return too_much(f"a segment of over {LIMIT_SEGMENT} characters", f"单个段超过 {LIMIT_SEGMENT} 个字符")


def too_much(en: str, zh: str) -> Unreadable:
    """Return the error for what is larger than anything real."""
    return Unreadable(f"the interchange has {en}: split it", f"{zh}，超出限制：请拆分后重新发送", code="SWX-1018")


def flat(text: str) -> str:
    """Undo line breaks inside a segment: old programs wrap lines anywhere."""
    return text.replace("\r", "").replace("\n", "") if "\n" in text or "\r" in text else text


def decoded(text: str, syntax: str, agreed: str = "") -> tuple[str, bool]:
    """Read a segment in the *agreed* character set, or that of a syntax identifier; tell whether the bytes fit it.

    Under UNOA and UNOB, where nothing but ASCII may stand, UTF-8 and then GB18030 are tried: partners write so.
    """
    if syntax == ESCAPING and ESCAPE in text and not agreed:
        return text, False
    if text.isascii():
        return text, True
    raw = text.encode("latin-1")
    declared = agreed or CHARSETS.get(syntax)
    for charset in (declared or "utf-8", *(("utf-8", "gb18030") if declared == "ascii" else ())):
        try:
            return raw.decode(charset), charset == declared
        except UnicodeDecodeError:
            continue
    return text, False


def component(segment: Sequence[Element], element: int, part: int = 1) -> str:
    """Return a component by its place (elements after the tag and components are counted from 1), or nothing."""
    if element < len(segment) and part <= len(segment[element][0]):
        return segment[element][0][part - 1].strip()
    return ""
