"""The Ministry of Transport's platform file (平台文件): records of text between carriers, agents and ports.

Read by ``_platform_parse``, judged by the record tables of ``_platform_table``. What a type is known by is the message
type in record 00. A path names a record and a field, counted as in the specification, where the id is field 1:
``00/5``; ``01/*`` is every field behind the id, ``=1`` the text 1 itself (a platform file names no version), ``#`` a
digest of the bytes.

A platform file has no control number, and its time is in minutes: two files of one minute differ only in content. So
a type's ``own_id`` is sender, receiver, time and content: the same file again is a duplicate, a corrected one is not.

A document begins with the record that the YAML calls its element and ends before the next one, or the trailer. Its
paths may also name records that stand once for the whole file, such as the voyage.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from exchange.errors import Unreadable
from exchange.formats import Opened, Place, Root, TypeFile
from exchange.formats._facts import Facts, Look, probe
from exchange.formats._faults import LIMIT
from exchange.formats._platform_judge import faults
from exchange.formats._platform_parse import TRAILER, File, charset_of, parse, release
from exchange.formats._platform_table import RecordTable, load
from exchange.model import Answer, Envelope, Finding

DIGEST: Final = 16  # hexadecimal digits of the content that an id takes in
HEADER: Final = "00"
CONTENT: Final = "#"  # what the digest is called among the records

_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*+00\s*+:\s*+[A-Za-z0-9]{2,10}\s*+[:']")
_PATH = re.compile(r"(?P<record>[0-9A-Z]{2})/(?:(?P<field>[1-9][0-9]{0,2})|\*)|=(?P<constant>\S+)|#")

Records = Mapping[str, list[str]]  # id -> fields of the first record of that id


def _compiled(path: str) -> Look:
    found = _PATH.fullmatch(path)
    if found is None:
        raise ValueError(path)
    record, number, constant = found["record"] or CONTENT, int(found["field"] or 0), found["constant"]
    if constant:
        return lambda records: [constant]

    def look(records: Records) -> list[str]:
        fields = records.get(record, [])
        chosen = fields[number - 1 : number] if number else fields[1:]
        return [value for text in chosen if (value := text.strip())]

    return look


class Reader:
    """Reads files of one type."""

    def __init__(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> None:
        self._element = type.documents.element
        self._facts = Facts(type, caseless, answer, _compiled)
        found = [(path, _PATH.fullmatch(path)) for path in type.containers]
        if mistakes := [path for path, match in found if match is None or not match["field"]]:
            raise ValueError(*mistakes)
        self._containers = [(match["record"], int(match["field"])) for _, match in found if match]

    def version(self, opened: Opened) -> str:
        """Return the version that record 00 claims, or what the type says in its place."""
        return self._facts.version(_header(opened))

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty."""
        head = {CONTENT: ["", hashlib.sha256(opened.payload).hexdigest()[:DIGEST]], **self._head(opened.tree)}
        return self._facts.envelope(head, self._rows(opened.tree, head))

    def original(self, opened: Opened) -> bytes:
        """Return the message that a receipt encloses, or nothing."""
        return self._facts.original(self._head(opened.tree)).encode()

    def containers(self, opened: Opened) -> Iterator[Place]:
        """Yield every container number."""
        file: File = opened.tree
        for number in range(len(file.raws)) if self._containers else ():
            for record, field in self._containers:
                if file.id(number) == record:
                    text = "".join(file.fields(number)[field - 1 : field]).strip()
                    yield Place(text, partial(_where, file, number, field))

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the file anew with only these of its documents, and a total that is right."""
        file: File = opened.tree
        kept, document = [], -1
        for number in range(len(file.raws)):
            id = file.id(number)
            document += id == self._element
            if document < 0 or document in records or id == TRAILER:
                kept.append(number)
        removed = len(file.raws) - len(kept)
        raws = [
            _corrected(file, number, removed) if file.id(number) == TRAILER else file.raws[number] for number in kept
        ]
        return b"".join(raw + b"'" for raw in raws)

    def _head(self, file: File) -> Records:
        """Collect the records of the whole file: those before its first document."""
        head: dict[str, list[str]] = {}
        for number in range(len(file.raws)):
            id = file.id(number)
            if id in (self._element, TRAILER):
                break
            if id not in head:
                head[id] = file.fields(number)
        return head

    def _rows(self, file: File, head: Records) -> Iterator[Records]:
        if not self._element:
            yield head
            return
        row: dict[str, list[str]] | None = None
        for number in range(len(file.raws)):
            id = file.id(number)
            if id in (self._element, TRAILER) and row is not None:
                yield row
                row = None
            if id == self._element:
                row = dict(head)
            if row is not None and (id not in row or id == self._element):
                row[id] = file.fields(number)
        if row is not None:
            yield row


def _where(file: File, number: int, field: int) -> tuple[str, int]:
    return f"record {number + 1} ({file.id(number)}), field {field}", file.line(number)


def write(records: Sequence[Sequence[str]], *, like: bytes) -> bytes:
    """Write records as a platform file, one a line, in the charset of the file *like*."""
    try:
        charset = charset_of(like)
    except Unreadable:
        charset = "utf-8"
    return encoded(records, charset)


def encoded(records: Sequence[Sequence[str]], charset: str) -> bytes:
    """Write records as a platform file, one a line."""
    lines = [f"{':'.join(map(release, record))}'\r\n" for record in records]
    return "".join(lines).encode(charset, "replace")


def _corrected(file: File, number: int, removed: int) -> bytes:
    """Write the trailer of a file that lost records."""
    fields = file.fields(number)
    said = fields[1].strip() if len(fields) > 1 else ""
    total = str(int(said) - removed) if said.isascii() and said.isdigit() and len(said) < 10 else said
    return ("\r\n" + ":".join([fields[0], total, *fields[2:]])).encode(file.charset, "replace")


@frozen
class Schema:
    """A compiled record table."""

    table: RecordTable

    def valid(self, opened: Opened) -> bool:
        """Give the verdict; warnings don't count."""
        return not any(fault.severity == "error" for fault in faults(opened.tree, self.table))

    def warnings(self, opened: Opened) -> list[Finding]:
        """List what passes and should be looked at all the same, up to 50."""
        found = []
        for fault in faults(opened.tree, self.table):
            if fault.severity == "warning":
                found.append(fault.finding(frozenset()))
            if len(found) == LIMIT:
                break
        return found


def _header(opened: Opened) -> Records:
    file: File = opened.tree
    return {HEADER: file.fields(0)} if file.raws else {}


class PlatformFile:
    """The format platform file."""

    receipt_shape: Final = "platform_file"

    def sniff(self, payload: bytes) -> bool:
        """Tell by the first record whether the payload may be a platform file."""
        return _START.match(payload) is not None

    def open(self, payload: bytes) -> Opened:
        """Parse once. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
        return Opened(self, payload, parse(payload))

    def key(self, opened: Opened) -> str:
        """Return the message type of record 00."""
        file: File = opened.tree
        fields = file.fields(0) if file.raws else []
        return f"{HEADER}:{fields[1].strip()}" if len(fields) > 1 else HEADER

    def root_key(self, root: Root) -> str:
        """Return the beginning of the file, by which a type is known among those of every format."""
        return f"{HEADER}:{root.name}"

    def probe(self, roots: Sequence[Root], places: Sequence[tuple[str, bool]]) -> Callable[[Opened], Sequence[str]]:
        """Compile places that tell types apart; see ``exchange.formats.Format``."""
        return probe(_compiled, _header, places)

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML. Raises ValueError with those that are none."""
        return Reader(type, caseless, answer)

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Compile a record table. Raises ValueError."""
        return Schema(load(file))

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what a record table finds wrong, errors first, up to 50."""
        errors: list[Finding] = []
        warnings: list[Finding] = []
        for fault in faults(parse(payload), load(file)):
            found = errors if fault.severity == "error" else warnings
            if len(found) < LIMIT:
                found.append(fault.finding(personal))
            if len(errors) == LIMIT:
                break
        return (errors + warnings)[:LIMIT]
