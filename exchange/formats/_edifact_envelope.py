"""The envelope of EDIFACT: interchanges, groups and messages, their counts and references.

Nothing of a message is read here but where it begins and ends; its segments are read again when somebody asks. So a
payload of any size costs little more memory than its bytes.

``[UNA] UNB (UNG (UNH ... UNT)+ UNE | UNH ... UNT)+ UNZ``, several times in one payload.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from itertools import groupby
from typing import Final

from attrs import define, field, frozen

from exchange.errors import Unreadable
from exchange.formats import Opened
from exchange.formats._edifact_text import (
    BOM,
    LIMIT_PAYLOAD,
    NOTHING,
    Segment,
    Separators,
    check_bounds,
    component,
    decoded,
    flat,
    head,
    scan,
    too_much,
)

_SERVICE: Final = frozenset(("UNA", "UNB", "UNG", "UNH", "UNT", "UNE", "UNZ"))
LIMIT_MESSAGES: Final = 20_000  # in one payload; what is kept of one takes some 2 000 bytes
LIMIT_INTERCHANGES: Final = 500
KEPT: Final = 1024 * 1024  # characters of a payload up to which segments are kept once they were found
ANY: Final[Container[str]] = frozenset()
MOST_FAULTS: Final = 200


@frozen
class Fault:
    """One thing wrong: the code that CONTRL has for it (data element 0085), and where."""

    code: str
    pointer: str  # UNB[1]/UNH[2]/BGM/2.1
    line: int  # number of the segment in the payload, from 1
    what: str  # how to say it: a key of the words
    value: str = ""
    limit: str = ""
    actual: str = ""


@define(eq=False)
class Message:
    """One UNH ... UNT."""

    interchange: Interchange
    group: Segment | None  # its UNG
    number: int  # in its interchange, from 1
    line: int  # number of its UNH in the payload
    header: Segment
    start: int
    end: int = 0
    segments_count: int = 0
    _raw: list[str] | None = None

    @property
    def kind(self) -> str:
        """Return type and version (S009) as UNH has it: CODECO:D:95B:UN."""
        return ":".join(self.header[2][0][:4]) if len(self.header) > 2 else ""

    @property
    def pointer(self) -> str:
        """Return where it stands."""
        return f"{self.interchange.pointer}/UNH[{self.number}]"

    def raw(self) -> Iterable[str]:
        """Return its segments unsplit, UNH and UNT included, as they are in the declared character set."""
        if len(self.interchange.text) > KEPT:
            return self._read()
        if self._raw is None:
            self._raw = list(self._read())
        return self._raw

    def _read(self) -> Iterator[str]:
        text, syntax, charset = self.interchange.text, self.interchange.syntax, self.interchange.charset
        for found in self.interchange.separators.pattern.finditer(text, self.start, self.end):
            body = found[1]
            if not body and not found[2]:
                return
            yield flat(body) if body.isascii() else decoded(flat(body), syntax, charset)[0]

    def segments(self, tags: Container[str] = ANY) -> Iterator[Segment]:
        """Yield its segments, or only those with these tags, split."""
        split = self.interchange.separators.split
        return (split(raw) for raw in self.raw() if tags is ANY or raw[:3] in tags)


@define(eq=False)
class Interchange:
    """One UNB ... UNZ."""

    text: str = field(repr=False)
    number: int  # in the payload, from 1
    line: int  # number of its UNB in the payload
    una: str
    separators: Separators
    header: Segment
    raw: str = field(repr=False)  # the header unsplit
    start: int
    messages: list[Message] = field(factory=list)
    groups: list[Segment] = field(factory=list)
    trailer: Segment | None = None
    end: int = 0
    charset: str = ""  # as that of the payload

    @property
    def pointer(self) -> str:
        """Return where it stands."""
        return f"UNB[{self.number}]"

    @property
    def syntax(self) -> str:
        """Return the syntax identifier, such as UNOA."""
        return component(self.header, 1)

    @property
    def version(self) -> str:
        """Return the syntax version: 1 to 4."""
        return component(self.header, 1, 2)

    @property
    def parties(self) -> tuple[str, str]:
        """Return sender and recipient with their qualifiers."""
        return _whole(self.header, 2), _whole(self.header, 3)


def _whole(segment: Segment, element: int) -> str:
    return ":".join(segment[element][0][:2]).rstrip(":") if element < len(segment) else ""


@define
class Payload:
    """All interchanges of one payload."""

    text: str = field(repr=False)
    charset: str = ""  # that was agreed on with the sender; empty: the declared one
    interchanges: list[Interchange] = field(factory=list)
    faults: list[Fault] = field(factory=list)
    count: int = 0  # of messages and groups

    @cached_property
    def messages(self) -> list[Message]:
        """Return all messages of all interchanges."""
        return [message for interchange in self.interchanges for message in interchange.messages]

    def note(self, fault: Fault) -> None:
        """Keep a fault of the envelope, unless there are more than anybody reads."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)


def payload_of(opened: Opened) -> Payload:
    """Return the tree of an opened payload."""
    tree: Payload = opened.tree
    return tree


def parse(payload: bytes, charset: str = "") -> Payload:
    """Find interchanges and messages; *charset* is read instead of those declared. Raises Unreadable."""
    if len(payload) > LIMIT_PAYLOAD:
        raise too_much(f"{len(payload)} bytes", f"交换共 {len(payload)} 字节")
    text = payload.decode("latin-1")
    at = len(BOM) if text.startswith(BOM) else 0
    read = Payload(text, charset)
    line = 0
    checked: set[Separators] = set()  # to the end of the payload: once is enough
    while True:
        start = head(text, at)
        if len(read.interchanges) >= LIMIT_INTERCHANGES:
            raise too_much(f"more than {LIMIT_INTERCHANGES} interchanges", f"交换超过 {LIMIT_INTERCHANGES} 个")
        if start.separators not in checked:
            check_bounds(text, start.start, start.separators)
            checked.add(start.separators)
        walk = _Walk(read, line)
        at, line = walk.interchange(start.start, start.una, start.separators)
        if NOTHING.match(text, at):
            return read


def written(messages: list[Message]) -> bytes:
    """Write interchanges anew with only these messages, byte for byte; headers are repeated, trailers counted."""
    text = ""
    for interchange, own in groupby(messages, lambda message: message.interchange):
        join, end = interchange.separators.join, interchange.separators.terminator
        text += (f"UNA{interchange.una}" if interchange.una else "") + interchange.raw + end
        count = 0
        for group, members in groupby(own, lambda message: message.group):
            inside = list(members)
            bodies = "".join(interchange.text[message.start : message.end].strip("\r\n") for message in inside)
            if group is not None:
                trailer = [[["UNE"]], [[str(len(inside))]], [[component(group, 5)]]]
                bodies = f"{join(group)}{end}{bodies}{join(trailer)}{end}"
            text += bodies
            count += 1 if group is not None else len(inside)
        text += join([[["UNZ"]], [[str(count)]], [[component(interchange.header, 5)]]]) + end
    return text.encode("latin-1")


def salvage(payload: bytes) -> Payload | None:
    """Read the header of an interchange that can't be read as a whole; nothing if that can't be read either."""
    text = payload.decode("latin-1")
    try:
        begun = head(text, len(BOM) if text.startswith(BOM) else 0)
        start, end = next(scan(text, begun.start, begun.separators), (0, 0))
    except Unreadable:
        return None
    raw = flat(text[start:end])
    if not raw:
        return None
    header = begun.separators.split(raw)
    return Payload(text, interchanges=[Interchange(text, 1, 1, begun.una, begun.separators, header, raw, start)])


# -- walking through one interchange -----------------------------------------------------------------------------


class _Walk:
    """Goes through the segments of one interchange, and notes what is wrong with the envelope."""

    def __init__(self, read: Payload, line: int) -> None:
        self._read, self._line = read, line
        self._message: Message | None = None
        self._group: Segment | None = None
        self._in_group = 0  # messages
        self._loose = False
        self._groups: set[str] = set()  # their references

    def interchange(self, start: int, una: str, separators: Separators) -> tuple[int, int]:
        """Read one; return where the next begins, and the number of segments so far."""
        text, size, line = self._read.text, len(separators.terminator), self._line
        for begin, end in scan(text, start, separators):
            line += 1
            tag = text[begin : begin + 3]
            if tag not in _SERVICE:
                if not tag.isalnum():
                    tag = flat(text[begin : min(end, begin + 8)])[:3]  # wrapped lines
                if tag not in _SERVICE:
                    if self._message is None:
                        self._line = line
                        self._fault("33", tag or "?", "outside")
                    continue
            if tag == "UNA" or (tag == "UNB" and begin > start):
                self._closed(None)
                return begin, line - 1
            self._line = line
            raw = flat(text[begin:end])
            segment = separators.split(raw)
            if tag == "UNB":
                self._begin(begin, una, separators, segment, raw)
                continue
            getattr(self, f"_{tag.lower()}")(segment, begin, end + size)
            if tag == "UNZ":
                return end + size, line
        self._line = line
        self._closed(None)
        return len(text), line

    @property
    def _current(self) -> Interchange:
        return self._read.interchanges[-1]

    def _begin(self, start: int, una: str, separators: Separators, header: Segment, raw: str) -> None:
        number = len(self._read.interchanges) + 1
        self._read.interchanges.append(
            Interchange(
                self._read.text, number, self._line, una, separators, header, raw, start, charset=self._read.charset
            )
        )

    def _ung(self, segment: Segment, begin: int, end: int) -> None:
        self._end_message(begin)
        self._end_group()
        if self._loose:
            self._fault("30", "UNG", "mixed")
        reference = component(segment, 5)
        if reference in self._groups:
            self._fault("26", f"UNG[{len(self._current.groups) + 1}]/5", "twice", reference)
        self._groups.add(reference)
        self._group, self._in_group = segment, 0
        self._counted()
        self._current.groups.append(segment)

    def _counted(self) -> None:
        """Count one more message or group. Raises Unreadable at too many."""
        self._read.count += 1
        if self._read.count > LIMIT_MESSAGES:
            raise too_much(f"more than {LIMIT_MESSAGES} messages", f"报文超过 {LIMIT_MESSAGES} 份")

    def _unh(self, segment: Segment, begin: int, end: int) -> None:
        self._end_message(begin)
        interchange = self._current
        self._counted()
        message = Message(interchange, self._group, len(interchange.messages) + 1, self._line, segment, begin)
        self._message = message
        if self._group is None:
            self._loose = True
            if interchange.groups:
                self._fault("30", f"UNH[{message.number}]", "mixed")
        self._in_group += 1
        interchange.messages.append(message)

    def _unt(self, segment: Segment, begin: int, end: int) -> None:
        message = self._message
        if message is None:
            self._fault("33", "UNT", "outside")
            return
        message.end = end
        message.segments_count = self._line - message.line + 1
        self._message = None
        at = f"UNH[{message.number}]/UNT"
        self._count(segment, at, message.segments_count)
        self._reference(segment, at, component(message.header, 1))

    def _une(self, segment: Segment, begin: int, end: int) -> None:
        self._end_message(begin)
        if self._group is None:
            self._fault("33", "UNE", "outside")
            return
        at = f"UNE[{len(self._current.groups)}]"
        self._count(segment, at, self._in_group)
        self._reference(segment, at, component(self._group, 5))
        if not self._in_group:
            self._fault("32", at, "nothing")
        self._group = None

    def _unz(self, segment: Segment, begin: int, end: int) -> None:
        self._closed(begin)
        interchange = self._current
        interchange.trailer = segment
        self._count(segment, "UNZ", len(interchange.groups) or len(interchange.messages))
        self._reference(segment, "UNZ", component(interchange.header, 5))
        interchange.end = end

    def _closed(self, end: int | None) -> None:
        """Note what is still open where the interchange ends, by its UNZ at *end* or without one."""
        self._end_message(end if end is not None else len(self._read.text))
        self._end_group()
        interchange = self._current
        if not interchange.messages:
            self._fault("32", "", "nothing")
        if end is None:
            self._fault("13", "UNZ", "trailer")

    def _end_message(self, end: int) -> None:
        if self._message is not None:
            self._message.end = end
            self._message.segments_count = self._line - self._message.line
            self._fault("13", f"UNH[{self._message.number}]/UNT", "trailer")
            self._message = None

    def _end_group(self) -> None:
        if self._group is not None:
            self._fault("13", f"UNE[{len(self._current.groups)}]", "trailer")
            self._group = None

    def _count(self, segment: Segment, at: str, actual: int) -> None:
        told = component(segment, 1)
        if not told.isascii() or not told.isdigit() or len(told) > 10 or int(told) != actual:
            self._fault("29", f"{at}/1", "count", told, str(actual))

    def _reference(self, segment: Segment, at: str, begun: str) -> None:
        told = component(segment, 2)
        if told != begun:
            self._fault("28", f"{at}/2", "reference", told, begun)

    def _fault(self, code: str, at: str, what: str, value: str = "", limit: str = "") -> None:
        pointer = self._current.pointer
        self._read.note(Fault(code, f"{pointer}/{at}" if at else pointer, self._line, what, value, limit))
