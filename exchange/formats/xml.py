"""XML: parse once, then identify, read and judge on that one tree.

libxml2 gives the verdict; ``_xml_explain`` says in words what is wrong, later and elsewhere. A DOCTYPE, and with it
every entity of one's own, is refused; charsets are taken as declared.

A path names child elements from the root or from a document downwards, all in the root's namespace; its last step
may be an attribute: ``BaseTransfer/dxpId``, ``@guid``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from lxml import etree

from exchange.formats import Opened, Root, TypeFile
from exchange.formats._xml_parse import parse
from exchange.model import Answer, Document, Envelope, Finding

DSIG: Final = "{http://www.w3.org/2000/09/xmldsig#}"
XSD: Final = "{http://www.w3.org/2001/XMLSchema}"

_START = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*+<")

_DECLARATION = re.compile(r"\A<\?xml[^>]*\?>")

# -- reading -----------------------------------------------------------------------------------------------------

_NAME = r"[^\W\d][\w.-]*"
_PATH = re.compile(rf"@{_NAME}|{_NAME}(?:/{_NAME})*(?:/@{_NAME})?")
_string: Callable[[etree._Element], str] = etree.XPath("string()", smart_strings=False)  # type: ignore[assignment]


def _text(element: etree._Element) -> str:
    # A comment inside would hide the text behind it from .text, but not from those who validate or sign.
    text = _string(element) if len(element) else element.text
    return text.strip() if text else ""


class _Step:
    """One level of the paths to be read: which children to look for, and into which slots their texts go."""

    def __init__(self) -> None:
        self.slot = -1
        self.attributes: list[tuple[str, int]] = []
        self.below: dict[str, _Step] = {}
        self.each: _Paths | None = None  # what to read of each element here, which is a document
        self.plain = True  # nothing but the text is asked for
        self.repeats = False  # documents are here or further down: every such element is visited

    def at(self, steps: Sequence[str]) -> _Step:
        """Return the level at the end of *steps*, made if need be."""
        if not steps:
            return self
        self.plain = False
        return self.below.setdefault(steps[0], _Step()).at(steps[1:])

    def fill(self, element: etree._Element, slots: list[str], rows: list[list[str]]) -> None:
        """Fill *slots*, where the first of repeated elements counts, and add a row for each document."""
        if self.slot >= 0:
            slots[self.slot] = slots[self.slot] or _text(element)
        for name, slot in self.attributes:
            slots[slot] = slots[slot] or (element.get(name) or "").strip()
        if not self.below:
            return
        waiting = self.below.copy()
        for child in element:
            tag = child.tag
            step = waiting.pop(tag, None)
            if step is None:
                continue
            if step.plain:
                slots[step.slot] = slots[step.slot] or _text(child)
            elif step.each:
                rows.append(step.each.read(child)[0])
            else:
                step.fill(child, slots, rows)
            if step.repeats:
                waiting[tag] = step
            elif not waiting:  # the rest, often the longer part, needn't be looked at
                break


class _Paths:
    """Numbers the paths of a YAML as slots, and collects those that are none."""

    def __init__(self, namespace: str) -> None:
        self._prefix = f"{{{namespace}}}" if namespace else ""
        self._slots: dict[str, int] = {}
        self._start = _Step()
        self.mistakes: list[str] = []

    def slot(self, path: str) -> int:
        """Return the slot that the text of *path* will be in; an empty path has a slot that stays empty."""
        if path not in self._slots:
            self._slots[path] = len(self._slots)
            names, _, attribute = path.partition("@")
            step = self._start.at(self.steps(path, names.removesuffix("/"))) if path else _Step()
            if attribute:
                step.plain = False
                step.attributes.append((attribute, self._slots[path]))
            else:
                step.slot = self._slots[path]
        return self._slots[path]

    def signature(self) -> int:
        """Return the slot that the value of an enveloped signature will be in."""
        slot = self._slots.setdefault(DSIG, len(self._slots))
        self._start.at([f"{DSIG}Signature", f"{DSIG}SignatureValue"]).slot = slot
        return slot

    def documents(self, path: str, each: _Paths) -> list[str]:
        """Read every element at *path*, or the root itself, by the paths of *each*; return the qualified names."""
        steps = self.steps(path, path)
        for depth in range(1, len(steps) + 1):
            self._start.at(steps[:depth]).repeats = True
        step = self._start.at(steps)
        step.each, step.plain = each, False
        return steps

    def steps(self, path: str, names: str) -> list[str]:
        """Spell out the element *names* of a path in qualified names."""
        if path and not _PATH.fullmatch(path):
            self.mistakes.append(path)
        return [self._prefix + name for name in names.split("/")] if names else []

    def read(self, element: etree._Element) -> tuple[list[str], list[list[str]]]:
        """Read the texts at all paths, by slot, and the same of each document."""
        slots = [""] * len(self._slots)
        rows: list[list[str]] = []
        if self._start.each:
            rows.append(self._start.each.read(element)[0])
        self._start.fill(element, slots, rows)
        return slots, rows


class Reader:
    """Reads messages of one type."""

    def __init__(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> None:
        documents, answers = type.documents, type.answers
        self._name, self._answer = type.name, answer
        claim, whole, each = (_Paths(type.root.namespace) for _ in range(3))
        claim.slot(type.version.path)
        self._version = whole.slot(type.version.path)
        self._own_id, self._sender = whole.slot(type.own_id), whole.slot(type.sender)
        self._receivers = "/".join(whole.steps(type.receivers, type.receivers))
        self._fields = [(name, whole.slot(path)) for name, path in type.fields.items()]
        self._signature = whole.signature()
        self._documents = "/".join(whole.documents(documents.element, each))
        self._keys = [
            (name, [each.slot(path) for path in paths], name in caseless) for name, paths in documents.keys.items()
        ]
        self._each_fields = [(name, each.slot(path)) for name, path in documents.fields.items()]
        self._says = (each.slot(answers.code), each.slot(answers.text)) if answers else None
        self._original = each.slot(answers.original if answers else "")
        self._claim, self._whole = claim, whole
        if mistakes := whole.mistakes + each.mistakes:
            raise ValueError(*mistakes)

    def version(self, opened: Opened) -> str:
        """Return the version the message claims, or an empty text."""
        return self._claim.read(opened.tree)[0][0]

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty."""
        root = opened.tree
        whole, rows = self._whole.read(root)
        return Envelope(
            type=self._name,
            version=whole[self._version],
            own_id=whole[self._own_id],
            sender=whole[self._sender],
            receivers=tuple(map(_text, root.iterfind(self._receivers))) if self._receivers else (),
            documents=tuple([Document(self._keys_of(row)) for row in rows]),
            answers=self._answers(rows),
            fields=self._distinct(whole, rows),
            signed=bool(whole[self._signature]),
        )

    def original(self, opened: Opened) -> bytes:
        """Return the message that a receipt encloses, or nothing."""
        text = "".join([row[self._original] for row in self._whole.read(opened.tree)[1]])
        return _DECLARATION.sub("", text).encode()  # it named the charset of bytes that are a text now

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the message anew, in its own charset, with only these of its documents."""
        tree = parse(opened.payload).getroottree()
        documents = tree.iterfind(self._documents) if self._documents else ()
        for number, document in enumerate(list(documents)):
            parent = document.getparent()
            if number not in records and parent is not None:
                parent.remove(document)
        info: Any = tree.docinfo
        part: bytes = etree.tostring(tree, encoding=info.encoding, xml_declaration=True, standalone=info.standalone)
        return part

    def _keys_of(self, row: list[str]) -> dict[str, str]:
        keys = {}
        for name, slots, caseless in self._keys:
            parts = [row[slot] for slot in slots]
            if "" not in parts:
                value = "/".join(parts)
                keys[name] = value.upper() if caseless else value
        return keys

    def _answers(self, rows: list[list[str]]) -> tuple[Answer, ...]:
        if self._says is None:
            return ()
        code, text = self._says
        return tuple([self._answer(row[code], row[text]) for row in rows])

    def _distinct(self, whole: list[str], rows: list[list[str]]) -> dict[str, tuple[str, ...]]:
        fields: dict[str, tuple[str, ...]] = {name: (whole[slot],) for name, slot in self._fields if whole[slot]}
        if len(rows) == 1:  # as most messages have it
            row = rows[0]
            fields.update({name: (row[slot],) for name, slot in self._each_fields if row[slot]})
            return fields
        for name, slot in self._each_fields:
            values = {row[slot]: None for row in rows if row[slot]}
            if values:
                fields[name] = tuple(values)
        return fields


# -- judging -----------------------------------------------------------------------------------------------------


def schema_tree(file: Path, *, unsigned: bool) -> etree._ElementTree:
    """Read an XSD; *unsigned* makes its particle of ds:Signature optional. Raises ValueError if it has none."""
    tree = etree.parse(file)
    if unsigned:
        particles = [p for p in tree.iter(f"{XSD}element") if p.get("ref", "").rpartition(":")[2] == "Signature"]
        if not particles:
            raise ValueError(f"{file.name} has no ds:Signature of its own that could be left out")
        for particle in particles:
            particle.set("minOccurs", "0")
    return tree


@frozen
class Schema:
    """A compiled XSD."""

    compiled: etree.XMLSchema

    def valid(self, opened: Opened) -> bool:
        """Give libxml2's verdict."""
        return bool(self.compiled.validate(opened.tree))


class Xml:
    """The format XML."""

    receipt_shape: Final = "ceb900"  # of the cross-border platform, whose users are most of those who send XML

    def sniff(self, payload: bytes) -> bool:
        """Tell by the first bytes whether the payload may be XML."""
        return _START.match(payload) is not None

    def open(self, payload: bytes) -> Opened:
        """Parse once. Raises Unreadable (SWX-1011 to SWX-1015)."""
        return Opened(self, payload, parse(payload))

    def key(self, opened: Opened) -> str:
        """Return the qualified name of the root."""
        return str(opened.tree.tag)

    def root_key(self, root: Root) -> str:
        """Return the qualified name that a type's YAML gives the root."""
        return f"{{{root.namespace}}}{root.name}" if root.namespace else root.name

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML. Raises ValueError with those that are none."""
        return Reader(type, caseless, answer)

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Compile an XSD. Raises ValueError."""
        try:
            return Schema(etree.XMLSchema(schema_tree(file, unsigned=unsigned)))
        except etree.LxmlError as error:
            raise ValueError(str(error)) from None

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what an XSD finds wrong, up to 50. Loads xmlschema (a third of a second) when first called."""
        from exchange.formats import _xml_explain

        return _xml_explain.explain(payload, file, unsigned=unsigned, personal=personal)
