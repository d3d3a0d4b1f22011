"""JSON messages: one object in UTF-8, judged by a JSON Schema (draft 2020-12).

Parsed by ``_json_parse``; where they are large, read as an ``_json_outline``, and judged item by item by a schema that
``_json_split`` has split. What a type is known by stands at the top of the object, under one of ``IDENTITIES``; the
YAML says which: ``root: {namespace: /messageType, name: LogisticsEvent}``, where /messageType may be left out. All
paths are JSON Pointers (RFC 6901): ``/sender``, ``/events``, and in a document ``/equipmentReference``. One that leads
to a list stands for all the texts in it; ``=1`` is the text 1 itself, for messages that name no version.

A schema is self-contained: nothing is fetched for it. Its regular expressions are those of RE2, which take no more
time than the text is long. Fields are labelled by ``title: 箱号 / container number``.

jsonschema-rs (MIT, maintained, one wheel without dependencies) gives verdict and explanation: it finds every error, as
values with a path. So does jsonschema, but it took 140 times as long for the verdict on seven events when measured, and
brings four packages; fastjsonschema stops at the first error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
from attrs import frozen

from exchange.errors import Unreadable
from exchange.formats import Opened, Place, Root, TypeFile
from exchange.formats._facts import Facts, Look, probe
from exchange.formats._json_outline import Items, outline
from exchange.formats._json_parse import LIMIT_MARKS, LIMIT_TREE, large, parse, parsed
from exchange.formats._json_split import Split, compiled, split
from exchange.model import Answer, Envelope, Finding

IDENTITIES: Final = ("/messageType", "/$schema", "/type")  # the first that is there counts

_START = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+[{\[]")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")


def steps_of(pointer: str) -> list[str]:
    """Split a JSON Pointer. Raises ValueError."""
    if not _POINTER.fullmatch(pointer):
        raise ValueError(pointer)
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def value_at(value: Any, steps: list[str]) -> Any:
    """Return what steps lead to, or nothing."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list | Items) and step.isascii() and step.isdigit() and len(step) < 9:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def texts_in(value: Any) -> list[str]:
    """Return the scalars in a value as texts, those of a list one by one."""
    if isinstance(value, list | Items):
        return [text for item in value if not isinstance(item, list) for text in texts_in(item)]
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    return [] if value is None or isinstance(value, dict) else [json.dumps(value)]


def _compiled(path: str) -> Look:
    if path.startswith("=") and len(path) > 1:
        return lambda value: [path[1:]]
    steps = steps_of(path)
    return lambda value: texts_in(value_at(value, steps))


def _where(pointer: str) -> tuple[str, None]:
    return pointer, None


class Reader:
    """Reads messages of one type."""

    def __init__(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> None:
        self._facts = Facts(type, caseless, answer, _compiled)
        element, identity = type.documents.element, type.root.namespace
        self._containers = [(path, _compiled(path)) for path in type.containers if _POINTER.fullmatch(path)]
        if mistakes := [
            path
            for path, wrong in (
                (element, element and not _POINTER.fullmatch(element)),
                (identity, identity and identity not in IDENTITIES),
                *((path, not _POINTER.fullmatch(path)) for path in type.containers),
            )
            if wrong
        ]:
            raise ValueError(*mistakes)
        self._element = steps_of(element) if element else []

    def version(self, opened: Opened) -> str:
        """Return the version the message claims, or an empty text."""
        return self._facts.version(opened.tree)

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty."""
        return self._facts.envelope(opened.tree, self._documents(opened.tree))

    def original(self, opened: Opened) -> bytes:
        """Return the message that a receipt encloses, or nothing."""
        return "".join(map(self._facts.original, self._documents(opened.tree))).encode()

    def containers(self, opened: Opened) -> Iterator[Place]:
        """Yield the container numbers of every document."""
        start = f"/{'/'.join(self._element)}" if self._element else ""
        for number, row in enumerate(self._documents(opened.tree)):
            for path, look in self._containers:
                for text in look(row):
                    yield Place(text, partial(_where, f"{start}/{number}{path}" if start else path))

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the message anew with only these of its documents."""
        tree = Json().open(opened.payload).tree
        if self._element:
            *around, name = self._element
            owner = value_at(tree, around)
            if isinstance(owner, dict) and isinstance(owner.get(name), list | Items):
                owner[name] = [item for number, item in enumerate(owner[name]) if number in records]
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), default=list).encode()

    def _documents(self, tree: Any) -> Sequence[Any]:
        found = value_at(tree, self._element)
        return found if isinstance(found, list | Items) else [] if found is None else [found]


@frozen
class Schema:
    """A compiled JSON Schema."""

    file: Path
    compiled: Any

    def valid(self, opened: Opened) -> bool:
        """Give the verdict. Raises Unreadable (SWX-1015) where too much would have to be judged as a whole."""
        if opened.streamed:
            return self._split.valid(opened.tree)
        return bool(self.compiled.is_valid(opened.tree))

    def warnings(self, opened: Opened) -> list[Finding]:
        """Return nothing: what isn't forbidden is as it should be."""
        return []

    @cached_property
    def _split(self) -> Split:
        return split_of(self.file)


def compile(file: Path) -> Any:
    """Compile a JSON Schema. Raises ValueError."""
    try:
        return compiled(parse(file.read_bytes()))
    except (OSError, ValueError, Unreadable, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as why:
        raise ValueError(f"{file.name}: {str(why).partition(chr(10))[0]}") from None


def split_of(file: Path) -> Split:
    """Compile a JSON Schema that is known to be one, in two parts."""
    return split(parse(file.read_bytes()))


class Json:
    """The format JSON."""

    receipt_shape: Final = "json"

    def sniff(self, payload: bytes) -> bool:
        """Tell by the first bytes whether the payload may be JSON."""
        return _START.match(payload) is not None

    def open(self, payload: bytes) -> Opened:
        """Parse once. Raises Unreadable (SWX-1011, SWX-1014, SWX-1015)."""
        if large(payload):
            return Opened(self, payload, outline(payload), streamed=True)
        return Opened(self, payload, parsed(payload))

    def key(self, opened: Opened) -> str:
        """Return what the message says it is, and where it says so."""
        for place in IDENTITIES:
            if isinstance(name := opened.tree.get(place[1:]), str):
                return f"{place} {name}"
        return IDENTITIES[0]

    def root_key(self, root: Root) -> str:
        """Return the same as a type's YAML spells it."""
        return f"{root.namespace or IDENTITIES[0]} {root.name}"

    def probe(self, roots: Sequence[Root], places: Sequence[tuple[str, bool]]) -> Callable[[Opened], Sequence[str]]:
        """Compile places that tell types apart; see ``exchange.formats.Format``."""
        return probe(_compiled, lambda opened: opened.tree, places)

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML. Raises ValueError with those that are none."""
        return Reader(type, caseless, answer)

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Compile a JSON Schema. Raises ValueError."""
        return Schema(file, compile(file))

    def schema_remarks(self, file: Path, type: TypeFile) -> list[str]:
        """Say where large messages of a type can't be judged by a schema."""
        element = type.documents.element
        if not element or split_of(file).takes_out(steps_of(element)):
            return []
        bound = f"{LIMIT_TREE} bytes or {LIMIT_MARKS} values"
        return [f"{file}:1:1: {element} can't be judged item by item, so messages over {bound} are refused"]

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what a JSON Schema finds wrong, up to 50."""
        from exchange.formats import _json_explain

        return _json_explain.explain(payload, file, personal=personal)
