"""Checking messages against their tables: one pass over the segments, in the order of the structure.

Most segments are judged by one regular expression made from their table; only what it doesn't match is looked at
element by element, and that look is the one that counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from exchange.formats import Opened
from exchange.formats._edifact_envelope import Fault, Interchange, Message, payload_of
from exchange.formats._edifact_tables import Directory, Form, Node, Slot, directory, slots, structure, type_tables
from exchange.formats._edifact_text import (
    CHARSETS,
    DEFAULT,
    ESCAPE,
    ESCAPING,
    REPERTOIRES,
    Element,
    Segment,
    Separators,
    component,
    decoded,
)
from exchange.model import Finding

MOST_SEPARATORS: Final = 16  # sets of them that expressions are kept for
TOLERATED: Final = ("21",)  # characters that UNOA and UNOB lack: partners write them all the same
_NUMBER: Final = re.compile(r"-?[0-9]*(?:[.,][0-9]+)?")
_LETTERS: Final = re.compile(r"[^0-9]*")
UNB: Final = slots(
    "S001!(0001:a4! 0002:an1! 0080:an..6 0133:an..3 0076:an..2) S002!(0004:an..35! 0007:an..4 0008:an..35 0042:an..35)"
    " S003!(0010:an..35! 0007:an..4 0014:an..35 0046:an..35) S004!(0017:n..8! 0019:n4!) 0020:an..14!"
    " S005(0022:an..14! 0025:an2) 0026:an..14 0029:a1 0031:n1 0032:an..35 0035:n1"
)


@frozen
class Way:
    """A place that a segment may be at, coming from another."""

    node: Node  # of the segment
    entered: tuple[Node, ...]  # groups that begin with it, outermost first
    missing: tuple[Node, ...]  # mandatory ones that were passed by

    @property
    def counted(self) -> Node:
        """Return what occurs once more: the outermost group, else the segment."""
        return self.entered[0] if self.entered else self.node


@define
class Structure:
    """The structure of one message type, and the ways through it that were asked for before."""

    nodes: list[Node]
    _ways: dict[tuple[int, str], tuple[Way, ...]] = field(factory=dict)

    def ways(self, number: int, tag: str) -> tuple[Way, ...]:
        """Return where *tag* may stand after the node *number*, the nearest place first."""
        known = self._ways.get((number, tag))
        if known is None:
            known = tuple(self._find(self.nodes[number], tag))
            if len(self._ways) < 10_000:
                self._ways[number, tag] = known
        return known

    def _find(self, node: Node, tag: str) -> Iterator[Way]:
        missing: list[Node] = []
        here: Node | None = node
        while here is not None and here.above is not None:
            siblings = here.above.children
            start = siblings.index(here)
            for other in siblings[start:]:
                if other.tag == tag and not other.begins:
                    entered = (other,) if other.group else ()
                    yield Way(other.children[0] if other.group else other, entered, tuple(missing))
                if other is not here and other.must:
                    missing.append(other)
            here = here.above

    @cached_property
    def tags(self) -> frozenset[str]:
        """Return every segment that the message has."""
        return frozenset(node.tag for node in self.nodes)


@define
class Tables:
    """What one version of a type is checked against."""

    directory: Directory
    structure: Structure
    _fast: dict[Separators, dict[str, re.Pattern[str]]] = field(factory=dict)

    def fast(self, separators: Separators) -> dict[str, re.Pattern[str]]:
        """Return expressions, by tag, that match segments with nothing wrong; made when first needed."""
        known = self._fast.get(separators)
        if known is None:
            if len(self._fast) >= MOST_SEPARATORS:  # made up by somebody: usual ones are few
                self._fast.clear()
            known = self._fast[separators] = {}
        return known


@frozen
class Schema:
    """The tables of a type, by version; *tolerate* are codes of 0085 that don't matter here."""

    versions: Mapping[str, Tables]
    tolerate: frozenset[str]
    codes: Mapping[tuple[str, int, int], frozenset[str]]

    def valid(self, opened: Opened) -> bool:
        """Give the verdict."""
        return next(self.faults(opened), None) is None

    def warnings(self, opened: Opened) -> list[Finding]:
        """Return nothing: what isn't forbidden is as it should be."""
        return []

    def faults(self, opened: Opened) -> Iterator[Fault]:
        """Yield everything that is wrong: the envelope first, then message by message."""
        for fault in self._all(opened):
            if fault.code not in self.tolerate:
                yield fault

    def _all(self, opened: Opened) -> Iterator[Fault]:
        payload = payload_of(opened)
        yield from payload.faults
        seen: set[tuple[object, ...]] = set()
        for interchange in payload.interchanges:
            yield from _checked_header(interchange, seen)
            known: set[tuple[object, ...]] = set()
            for message in interchange.messages:
                mark = component(message.header, 1), message.kind, id(message.group)
                if mark in known:
                    yield Fault("26", f"{message.pointer}/1", message.line, "twice", mark[0])
                known.add(mark)
                yield from self._message(message)

    def _message(self, message: Message) -> Iterator[Fault]:
        tables = self.versions.get(message.kind.partition(":")[2])
        if tables is None:
            yield Fault("14", f"{message.pointer}/2", message.line, "version", message.kind)
            return
        yield from _Check(message, tables, self.codes, "21" not in self.tolerate).faults()


def _checked_header(interchange: Interchange, seen: set[tuple[object, ...]]) -> Iterator[Fault]:
    header, at = interchange.header, interchange.pointer
    mark = (*interchange.parties, component(header, 5), component(header, 11))
    if mark in seen:
        yield Fault("26", f"{at}/5", interchange.line, "twice", component(header, 5))
    seen.add(mark)
    syntax, version = interchange.syntax, interchange.version
    if syntax not in CHARSETS or version not in ("1", "2", "3", "4"):
        yield Fault("2", f"{at}/1", interchange.line, "syntax", f"{syntax}:{version}")
    if interchange.separators != DEFAULT or not _FAST_UNB.fullmatch(interchange.raw):
        yield from _elements(header, UNB, at, interchange.line, version)
    if len(day := component(header, 4)) not in (0, 6, 8):
        yield Fault("12", f"{at}/4.1", interchange.line, "day", day)


class _Check:
    """One message on its way through the structure."""

    def __init__(
        self, message: Message, tables: Tables, codes: Mapping[tuple[str, int, int], frozenset[str]], strict: bool
    ) -> None:
        self._message, self._tables, self._codes = message, tables, codes
        self._coded = {place[0] for place in codes}
        self._counts = [0] * len(tables.structure.nodes)
        self._node = tables.structure.nodes[0]
        self._seen: dict[str, int] = {}
        interchange = message.interchange
        self._separators, self._version = interchange.separators, interchange.version
        syntax = interchange.syntax
        text, agreed = interchange.text, interchange.charset
        self._syntax, self._undecodable = syntax, not text.isascii() or (syntax == ESCAPING and ESCAPE in text)
        strict = strict and not agreed and interchange.separators.component == ":"
        self._repertoire = REPERTOIRES.get(syntax) if strict else None

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the message."""
        structure, separators = self._tables.structure, self._separators
        directory, patterns, first = self._tables.directory, self._tables.fast(separators), self._message.line
        self._node = structure.nodes[1]  # UNH, which is there
        self._counts[1] = 1
        for line, raw in enumerate(self._message.raw(), first):
            tag = raw[:3]
            self._seen[tag] = self._seen.get(tag, 0) + 1
            if line > first:
                yield from self._step(tag, line)
            table = directory.get(tag)
            if self._repertoire is not None and (found := self._repertoire.search(raw)):
                yield Fault("21", self._at(tag), line, "character", found[0], self._syntax)
            if table is None or tag not in structure.tags:
                continue
            fast = patterns.get(tag)
            if fast is None:
                fast = patterns[tag] = _fast(table, tag, separators)
            trailing = self._version == "4" and raw.endswith((separators.element, separators.component))
            if trailing or tag in self._coded or fast.fullmatch(raw) is None:
                yield from self._slowly(raw, table, line)
        if self._undecodable:
            yield from self._charset()
        yield from self._left()

    def _slowly(self, raw: str, table: tuple[Slot, ...], line: int) -> Iterator[Fault]:
        segment = self._separators.split(raw)
        at = self._at(raw[:3])
        yield from _elements(segment, table, at, line, self._version)
        for (tag, element, part), allowed in self._codes.items():
            text = component(segment, element, part)
            if tag == raw[:3] and text and text not in allowed:
                place = f"{at}/{element}.{part}" if len(table[element - 1].parts) > 1 else f"{at}/{element}"
                yield Fault("12", place, line, "value", text, ", ".join(sorted(allowed)[:12]))

    def _at(self, tag: str) -> str:
        number = self._seen[tag]
        return f"{self._message.pointer}/{tag or '?'}" + (f"[{number}]" if number > 1 else "")

    def _step(self, tag: str, line: int) -> Iterator[Fault]:
        """Move to where a segment of this tag may stand."""
        ways = self._tables.structure.ways(self._node.number, tag)
        way = next((way for way in ways if self._counts[way.counted.number] < way.counted.most), None)
        if way is None and ways:
            way = ways[0]
            many, code = way.counted, "36" if way.entered else "35"
            yield Fault(code, self._at(tag), line, "occurs", "", str(many.most), str(self._counts[many.number] + 1))
        if way is None:
            what = "order" if tag in self._tables.structure.tags else "unexpected"
            yield Fault("15", self._at(tag), line, what, tag)
            return
        for node in way.missing:
            if not self._counts[node.number]:
                yield self._missing(node, line - 1)
        self._counts[way.counted.number] += 1
        if way.entered:
            group = way.entered[0]
            self._counts[group.number + 1 : group.last + 1] = [0] * (group.last - group.number)
            self._counts[way.node.number] = 1
        self._node = way.node

    def _missing(self, node: Node, line: int) -> Fault:
        return Fault("13", f"{self._message.pointer}/{node.tag}", line, "segment", node.tag)

    def _left(self) -> Iterator[Fault]:
        """Yield the mandatory segments that never came, where the message ends without its UNT."""
        if self._node.tag == "UNT":
            return
        line = self._message.line + self._message.segments_count - 1
        for node in self._tables.structure.nodes[0].children:
            passed = node.number <= self._node.number or self._counts[node.number]
            if node.must and node.tag != "UNT" and not passed:
                yield self._missing(node, line)

    def _charset(self) -> Iterator[Fault]:
        message, agreed = self._message, self._message.interchange.charset
        part = message.interchange.text[message.start : message.end]
        if not decoded(part, self._syntax, agreed)[1]:
            code = "21" if self._syntax in REPERTOIRES and not agreed else "46"
            yield Fault(code, message.pointer, message.line, "charset", "", agreed or self._syntax)


# -- one segment ---------------------------------------------------------------------------------------------------


def _elements(segment: Segment, table: tuple[Slot, ...], at: str, line: int, version: str) -> Iterator[Fault]:
    """Yield what is wrong with the elements of one segment."""
    given = segment[1:]
    if len(given) > len(table) and any(c for element in given[len(table) :] for r in element for c in r):
        yield Fault("16", f"{at}/{len(table) + 1}", line, "constituents", "", str(len(table)), str(len(given)))
    elif version == "4" and given and not any(any(r) for r in given[-1]):
        yield Fault("45", f"{at}/{len(given)}", line, "trailing")
    for number, slot in enumerate(table, 1):
        element = given[number - 1] if number <= len(given) else [[""]]
        yield from _element(element, slot, f"{at}/{number}", line)


def _element(element: Element, slot: Slot, at: str, line: int) -> Iterator[Fault]:
    if not any(c for r in element for c in r):
        if slot.must:
            yield Fault("13", at, line, "element", slot.code)
        return
    if len(element) > slot.occurs:
        yield Fault("35", at, line, "occurs", "", str(slot.occurs), str(len(element)))
    composite = slot.code != slot.parts[0].code
    for parts in element:
        if len(parts) > len(slot.parts) and any(parts[len(slot.parts) :]):
            yield Fault("16", at, line, "constituents", "", str(len(slot.parts)), str(len(parts)))
        for number, form in enumerate(slot.parts, 1):
            text = parts[number - 1] if number <= len(parts) else ""
            where = f"{at}.{number}" if composite else at
            if text:
                yield from _value(text, form, where, line)
            elif form.must:
                yield Fault("13", where, line, "element", form.code)


def _value(text: str, form: Form, at: str, line: int) -> Iterator[Fault]:
    size = len(text)
    if form.kind == "n":
        if not _NUMBER.fullmatch(text) or text in ("-", ""):
            yield Fault("37", at, line, "number", text, form.code)
            return
        size = sum(c.isdigit() for c in text)
    elif form.kind == "a" and not _LETTERS.fullmatch(text):
        yield Fault("37", at, line, "letters", text, form.code)
    if size > form.most:
        yield Fault("39", at, line, "long", text, str(form.most), str(size))
    elif size < form.least:
        yield Fault("40", at, line, "short", text, str(form.least), str(size))


def _fast(table: tuple[Slot, ...], tag: str, s: Separators) -> re.Pattern[str]:
    """Make an expression that matches only what has nothing wrong; it may miss what is right, but seldom does."""
    special = re.escape(s.component + s.element + s.release + s.repetition + s.terminator)
    one = rf"(?:[^{special}]|{re.escape(s.release)}.)" if s.release else f"[^{special}]"
    text, must = "", max((number for number, slot in enumerate(table, 1) if slot.must), default=0)
    for number in range(len(table) - 1, -1, -1):
        text = rf"{re.escape(s.element)}{_fast_element(table[number], one, s)}{text}"
        if number >= must:
            text = f"(?:{text})?"
    return re.compile(rf"{re.escape(tag)}{text}", re.DOTALL)


def _fast_element(slot: Slot, one: str, s: Separators) -> str:
    text = ""
    for number, form in reversed(list(enumerate(slot.parts))):
        what = {"an": one, "a": rf"(?![0-9]){one}", "n": "[0-9]"}[form.kind]
        value = rf"(?:{what}){{{form.least},{form.most}}}"
        text = (value if form.must else f"(?:{value})?") + text
        if number:
            text = re.escape(s.component) + text
            if not any(later.must for later in slot.parts[number:]):
                text = f"(?:{text})?"
    if not slot.must:
        return f"(?:{text})?"
    return text if any(form.must for form in slot.parts) else rf"(?={re.escape(s.component)}*{one}){text}"


_FAST_UNB: Final = _fast(UNB, "UNB", DEFAULT)

# -- reading ---------------------------------------------------------------------------------------------------------

_PLACE: Final = re.compile(r"([A-Z]{3})/([0-9]+)(?:\.([0-9]+))?")


@lru_cache(256)
def read_schema(file: Path) -> Schema:
    """Read the tables of a type. Raises ValueError."""
    tables: dict[str, Any] = type_tables(file)
    versions = {}
    for version, each in tables.get("versions", {}).items():
        known = directory((file.parent / each["directory"]).resolve())
        built = structure(each["structure"])
        if absent := {node.tag for node in built[1:]} - known.keys():
            raise ValueError(f"{file.name}: the directory has no segment {', '.join(sorted(absent))}")
        versions[version] = Tables(known, Structure(built))
    if not versions:
        raise ValueError(f"{file.name}: there are no versions")
    codes = {_place(path): frozenset(map(str, values)) for path, values in tables.get("codes", {}).items()}
    return Schema(versions, frozenset(map(str, tables.get("tolerate", TOLERATED))), codes)


def _place(path: str) -> tuple[str, int, int]:
    found = _PLACE.fullmatch(path)
    if found is None:
        raise ValueError(f"{path!r} is no place of a code")
    return found[1], int(found[2]), int(found[3] or 1)
