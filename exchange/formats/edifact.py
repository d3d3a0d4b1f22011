"""UN/EDIFACT: interchanges of syntax version 1 to 4, read from their bytes and never written anew.

One payload is one message of the switch: one or more interchanges, all of the same sender and recipient, whose
messages are all of one type and version. Anything else is unidentified: SWX-1027 (several types), SWX-1025 (no
message), SWX-1026 (several senders or recipients).

A type is known by the message type in UNH (``root: {name: CODECO}``) and by its version::

    version: {path: UNH/2.2-4, accepted: ["D:95B:UN", "D:00B:UN"]}

A path names a segment, which one, and what of it; elements after the tag and components are counted from 1, and the
first segment that has the place filled counts:

    ``BGM/2``               the second element of BGM; of a composite all components, joined with ``:``
    ``DTM/1.2``             its second component; ``UNH/2.2-4``: the second to the fourth, joined with ``:``
    ``NAD[1=CA]/2.1``       of the NAD whose first element is CA; ``[1.1=CA|CF]`` names component and alternatives
    ``ERC``                 the tag itself, where there is such a segment
    ``UNB/5``, ``UNG/5``    of the envelope that the message stands in
    ``/BGM/2``              of the whole message, where documents are parts of it
    ``UNB/2 UNB/5``         two places joined with ``|``; what is empty is left out, but a key then has no value
    ``BGM/4 else BGM/3``    the first of them that isn't empty

``documents.element`` names the segments that documents begin with: ``UNH`` makes every message one, ``CNI`` every
consignment (it ends where the next begins); ``UCI|UCM`` several. Empty, the payload is one document, its first
message. ``own_id``, ``sender`` and ``fields`` are read in the envelope and in the first message.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar, Final

from attrs import frozen

from exchange.errors import Unidentified, Unreadable
from exchange.formats import LIMIT_DOCUMENTS, Format, Opened, Place, Root, TypeFile, too_many_documents
from exchange.formats._edifact_contrl import Verdict, answerable, asked, contrl
from exchange.formats._edifact_envelope import Interchange, Message, Payload, parse, payload_of, salvage, written
from exchange.formats._edifact_paths import Paths, Single, complete, value
from exchange.formats._edifact_schema import Schema, read_schema
from exchange.model import Answer, Document, Envelope, Finding

__all__ = ["Edifact", "Reader", "Verdict", "acknowledge", "agreed"]

NAMED: Final = 3  # interchanges that an id names; of more the first and the last
_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n\t \0]*+UN(?:A[^A-Za-z0-9]{6}|B[^A-Za-z0-9])")


class Reader:
    """Reads messages of one type."""

    def __init__(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> None:
        documents, answers = type.documents, type.answers
        self._name, self._answer = type.name, answer
        claim, whole, each = Paths(), Paths(), Paths()
        self._claimed = claim.slots(*type.version.path)
        self._version = whole.slots(*type.version.path)
        self._own_id, self._sender = whole.slots(type.own_id), whole.slots(type.sender)
        self._receivers = whole.slots(type.receivers)
        self._fields = [(name, whole.slots(path)) for name, path in type.fields.items()]
        self._starts = frozenset(documents.element.split("|")) if documents.element else frozenset()
        self._keys = [
            (name, [each.slots(path) for path in paths], name in caseless) for name, paths in documents.keys.items()
        ]
        self._each_fields = [(name, each.slots(path)) for name, path in documents.fields.items()]
        self._says = (each.slots(*answers.code), each.slots(*answers.text)) if answers else None
        self._numbers = Paths()
        self._numbers.slots(*type.containers)
        self._claim, self._whole, self._each = claim, whole, each
        self._tags = self._starts | each.tags()
        bad_starts = [documents.element] if any(not re.fullmatch("[A-Z0-9]{3}", tag) for tag in self._starts) else []
        if mistakes := [*whole.mistakes, *each.mistakes, *self._numbers.mistakes, *bad_starts]:
            raise ValueError(*dict.fromkeys(mistakes))

    def version(self, opened: Opened) -> str:
        """Return the version the message claims, or an empty text."""
        return value(_first(self._claim, payload_of(opened).messages), self._claimed)

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty."""
        payload = payload_of(opened)
        whole = _first(self._whole, payload.messages)
        rows = list(islice(self._rows(payload.messages), LIMIT_DOCUMENTS + 1))
        if len(rows) > LIMIT_DOCUMENTS:
            raise too_many_documents()
        return Envelope(
            type=self._name,
            version=value(whole, self._version),
            own_id=self._own(whole, payload.interchanges),
            sender=value(whole, self._sender),
            receivers=tuple(filter(None, [value(whole, self._receivers)])),
            documents=tuple([Document(self._keys_of(row)) for row in rows]),
            answers=self._answers(rows),
            fields=self._distinct(whole, rows),
        )

    def original(self, opened: Opened) -> bytes:
        """Return nothing: EDIFACT receipts enclose no message."""
        return b""

    def containers(self, opened: Opened) -> Iterator[Place]:
        """Yield every container number, with its segment's number."""
        numbers = self._numbers
        for message in payload_of(opened).messages:
            seen: Counter[str] = Counter()
            for line, raw in enumerate(message.raw(), message.line):
                tag = raw[:3]
                if tag not in numbers.by_tag:
                    continue
                seen[tag] += 1
                segment = message.interchange.separators.split(raw)
                for one in (numbers.places[number] for number in numbers.by_tag[tag]):
                    yield Place(one.read(segment), partial(_where, message, tag, seen[tag], one, line))

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the interchanges anew, with only the messages that hold these documents, byte for byte."""
        kept, number = [], 0
        for message in payload_of(opened).messages:
            held = range(number, number + len(self._message_rows(message)))
            number = held.stop
            if not set(held).isdisjoint(records):
                kept.append(message)
        return written(kept)

    def _own(self, whole: list[str], interchanges: list[Interchange]) -> str:
        others = [value(_first(self._whole, i.messages[:1], i), self._own_id) for i in interchanges[1:]]
        ids = [value(whole, self._own_id), *others]
        return " ".join(ids) if len(ids) <= NAMED else f"{ids[0]} ... {ids[-1]} ({len(ids)})"

    def _rows(self, messages: list[Message]) -> Iterator[list[str]]:
        """Yield what each document says."""
        if not self._starts:
            yield _first(self._each, messages)
            return
        for message in messages:
            yield from self._message_rows(message)

    def _message_rows(self, message: Message) -> list[list[str]]:
        rows: list[list[str]] = []
        each = self._each
        base = each.empty()
        _fill_envelope(each, base, message, message.interchange)
        for segment in message.segments(self._tags):
            tag = segment[0][0][0]
            if tag in self._starts:
                if len(rows) >= LIMIT_DOCUMENTS:
                    raise too_many_documents()
                rows.append(each.empty())
            if each.above:
                each.fill(segment, base, (n for n in each.above if each.places[n].tag == tag))
            if rows and tag in each.by_tag:
                each.fill(segment, rows[-1], each.by_tag[tag])
        return [[text or common for text, common in zip(row, base, strict=True)] for row in rows]

    def _keys_of(self, row: list[str]) -> dict[str, str]:
        keys = {}
        for name, paths, caseless in self._keys:
            parts = [complete(row, path) for path in paths]
            if "" not in parts:
                text = "/".join(parts)
                keys[name] = text.upper() if caseless else text
        return keys

    def _answers(self, rows: list[list[str]]) -> tuple[Answer, ...]:
        if self._says is None:
            return ()
        code, text = self._says
        return tuple([self._answer(value(row, code), value(row, text)) for row in rows])

    def _distinct(self, whole: list[str], rows: list[list[str]]) -> dict[str, tuple[str, ...]]:
        fields: dict[str, tuple[str, ...]] = {}
        fields |= {name: (text,) for name, path in self._fields if (text := value(whole, path))}
        for name, path in self._each_fields:
            values = tuple(dict.fromkeys(filter(None, [value(row, path) for row in rows])))
            if values:
                fields[name] = values
        return fields


def _where(message: Message, tag: str, number: int, place: Single, line: int) -> tuple[str, int]:
    return f"{message.pointer}/{tag}[{number}]/{place.element}.{place.first}", line


def _fill_envelope(paths: Paths, slots: list[str], message: Message | None, interchange: Interchange) -> None:
    group = message.group if message else None
    for number in paths.envelope:
        segment = interchange.header if paths.places[number].tag == "UNB" else group
        if segment is not None:
            slots[number] = paths.places[number].read(segment)


def _first(paths: Paths, messages: list[Message], interchange: Interchange | None = None) -> list[str]:
    """Read the envelope and the first message."""
    slots = paths.empty()
    message = messages[0] if messages else None
    around = message.interchange if message else interchange
    if around is not None:
        _fill_envelope(paths, slots, message, around)
    if message is not None and (paths.by_tag or paths.above):
        wanted = {tag: list(numbers) for tag, numbers in paths.by_tag.items()}
        for number in paths.above:
            wanted.setdefault(paths.places[number].tag, []).append(number)
        segments = iter([message.header]) if wanted.keys() == {"UNH"} else message.segments(wanted.copy())
        for segment in segments:
            tag = segment[0][0][0]
            if tag in wanted:
                paths.fill(segment, slots, wanted[tag])
                if all(slots[number] for number in wanted[tag]):
                    del wanted[tag]
                    if not wanted:
                        break
    return slots


@frozen
class Edifact:
    """The format UN/EDIFACT, as declared or in the *charset* that was agreed on with a sender."""

    charset: str = ""
    receipt_shape: ClassVar[str] = "edifact"

    def sniff(self, payload: bytes) -> bool:
        """Tell by the first bytes whether the payload may be EDIFACT."""
        return _START.match(payload) is not None

    def open(self, payload: bytes) -> Opened:
        """Find interchanges and messages, once. Raises Unreadable (SWX-1010, 1012, 1016 to 1018)."""
        return Opened(self, payload, parse(payload, self.charset))

    def key(self, opened: Opened) -> str:
        """Return the message type in UNH. Raises Unidentified where the payload is not one message of the switch."""
        payload = payload_of(opened)
        kinds = list(dict.fromkeys(message.kind for message in payload.messages))
        if not kinds:
            raise Unidentified(
                "there is no message in the interchange: send at least one UNH ... UNT",
                "交换中没有报文：至少应有一组 UNH … UNT",
                code="SWX-1025",
            )
        if len(kinds) > 1:
            raise Unidentified(
                f"several types of messages are sent together ({_listed(kinds)}): send each in a file of its own",
                f"一份文件中混有多种报文（{_listed(kinds)}）：请将每种报文分开发送",
                code="SWX-1027",
            )
        if len({interchange.parties for interchange in payload.interchanges}) > 1:
            raise Unidentified(
                "interchanges of several senders or recipients are sent together: send each in a file of its own",
                "一份文件中有不同发送方或接收方的交换：请分开发送",
                code="SWX-1026",
            )
        return kinds[0].partition(":")[0]

    def root_key(self, root: Root) -> str:
        """Return the message type that a type's YAML names."""
        return root.name

    def probe(self, roots: Sequence[Root], places: Sequence[tuple[str, bool]]) -> Callable[[Opened], Sequence[str]]:
        """Compile places that tell types apart; see ``exchange.formats.Format``."""
        paths = Paths()
        asked = [(paths.slots(path), presence) for path, presence in places]

        def read(opened: Opened) -> Sequence[str]:
            row = _first(paths, payload_of(opened).messages)
            texts = [(value(row, slots), presence) for slots, presence in asked]
            return ["*" if presence and text else text for text, presence in texts]

        return read

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML. Raises ValueError with those that are none."""
        return Reader(type, caseless, answer)

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Read the tables of a type. Raises ValueError."""
        return read_schema(file)

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what is wrong, up to 50: rules are codes of data element 0085, lines count segments."""
        from exchange.formats import _edifact_words

        return _edifact_words.explain(self.open(payload), read_schema(file), personal)


def agreed(format: Format, charset: str) -> Format:
    """Return the format that reads a charset which was agreed on; only EDIFACT is written otherwise than it says."""
    return Edifact(charset) if charset and isinstance(format, Edifact) else format


def acknowledge(payload: bytes, verdict: Verdict) -> bytes | None:
    """Write the CONTRL that tells the sender of *payload*; empty where none is due, None where it can't be written.

    None is due for CONTRL and APERAK, nor where *verdict* says that it isn't wanted.
    """
    if verdict.wanted == "never":
        return b""
    try:
        read: Payload | None = parse(payload)
    except Unreadable:
        read = salvage(payload)
    if read is None:
        return None
    wrong = bool(verdict.code or verdict.findings)
    wanted = wrong or verdict.wanted == "always" or (verdict.wanted == "as-asked" and asked(read))
    return contrl(read, verdict) if wanted and answerable(read) else b""


def _listed(kinds: list[str]) -> str:
    return ", ".join(kind[:40] for kind in kinds[:5]) + (", ..." if len(kinds) > 5 else "")
