"""XML: parse once, then identify, read and judge on that one tree.

libxml2 gives the verdict; ``_xml_explain`` says in words what is wrong, later and elsewhere. A DOCTYPE, and with it
every entity of one's own, is refused; charsets are taken as declared.

A path names child elements from the root or from a document downwards, all in the root's namespace; its last step
may be an attribute: ``BaseTransfer/dxpId``, ``@guid``. Where a type may come in several namespaces or in a wrapper,
names are enough and namespaces don't matter. A key of a document may begin with a slash: it stands in the message
around, at a path from the root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar

from lxml import etree

from exchange.formats import LIMIT_DOCUMENTS, Opened, Place, Root, Schema, TypeFile, too_many_documents
from exchange.formats import _xml_stream as streaming
from exchange.formats._xml_parse import examined, in_a_wrapper, large, parse
from exchange.formats._xml_schema import compiled, local
from exchange.formats._xml_stream import Stream
from exchange.model import Answer, Document, Envelope, Finding

Tree = TypeVar("Tree", etree._Element, Stream)
DSIG: Final = "{http://www.w3.org/2000/09/xmldsig#}"
PRESENT: Final = "*"  # what is read at a place that only has to be there

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

    def __init__(self, anywhere: bool) -> None:
        self.slot = -1
        self.present = -1  # the slot that tells that there is such an element
        self.attributes: list[tuple[str, int]] = []
        self.below: dict[str, _Step] = {}
        self.each: _Paths | None = None  # what to read of each element here, which is a document
        self.plain = True  # nothing but the text is asked for
        self.repeats = False  # documents are here or further down: every such element is visited
        self.anywhere = anywhere  # in whatever namespace: the levels below are filed under local names

    def at(self, steps: Sequence[str]) -> _Step:
        """Return the level at the end of *steps*, made if need be."""
        if not steps:
            return self
        self.plain = False
        return self.below.setdefault(steps[0], _Step(self.anywhere)).at(steps[1:])

    def fill(self, element: etree._Element, slots: list[str], rows: list[list[str]]) -> None:
        """Fill *slots*, where the first of repeated elements counts, and add a row for each document."""
        if self.slot >= 0:
            slots[self.slot] = slots[self.slot] or _text(element)
        if self.present >= 0:
            slots[self.present] = PRESENT
        for name, slot in self.attributes:
            slots[slot] = slots[slot] or (element.get(name) or "").strip()
        if not self.below:
            return
        waiting, anywhere = self.below.copy(), self.anywhere
        for child in element:
            tag = child.tag
            if anywhere and isinstance(tag, str):  # comments have none
                tag = tag.rpartition("}")[2]
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

    def __init__(self, *roots: Root) -> None:
        self.anywhere = any(root.other_namespaces or root.within or root.mixed for root in roots)  # names are enough
        self._prefix = f"{{{roots[0].namespace}}}" if roots[0].namespace and not self.anywhere else ""
        self._slots: dict[str, int] = {}
        self.start = _Step(self.anywhere)
        self.mistakes: list[str] = []

    def slot(self, path: str) -> int:
        """Return the slot that the text of *path* will be in; an empty path has a slot that stays empty."""
        if path not in self._slots:
            self._slots[path] = len(self._slots)
            names, _, attribute = path.partition("@")
            step = self.start.at(self.steps(path, names.removesuffix("/"))) if path else _Step(self.anywhere)
            if attribute:
                step.plain = False
                step.attributes.append((attribute, self._slots[path]))
            else:
                step.slot = self._slots[path]
        return self._slots[path]

    def presence(self, path: str) -> int:
        """Return the slot that will tell whether there is an element at *path*."""
        slot = self._slots[f"{path} is there"] = len(self._slots)
        step = self.start.at(self.steps(path, path))
        step.present, step.plain = slot, False
        return slot

    def signature(self) -> int:
        """Return the slot that the value of an enveloped signature will be in."""
        slot = self._slots.setdefault(DSIG, len(self._slots))
        names = [f"{DSIG}Signature", f"{DSIG}SignatureValue"]
        self.start.at([local(name) for name in names] if self.anywhere else names).slot = slot
        return slot

    def documents(self, path: str, each: _Paths) -> list[str]:
        """Read every element at *path*, or the root itself, by the paths of *each*; return the qualified names."""
        steps = self.steps(path, path)
        for depth in range(1, len(steps) + 1):
            self.start.at(steps[:depth]).repeats = True
        step = self.start.at(steps)
        step.each, step.plain = each, False
        return steps

    def steps(self, path: str, names: str) -> list[str]:
        """Spell out the element *names* of a path in qualified names."""
        if path and not _PATH.fullmatch(path):
            self.mistakes.append(path)
        return [self._prefix + name for name in names.split("/")] if names else []

    def text(self) -> _Paths:
        """Read the text of each element itself."""
        self.start.slot = self._slots["."] = len(self._slots)
        return self

    def empty(self) -> list[str]:
        """Return a slot for each path, with nothing in it."""
        return [""] * len(self._slots)

    def read(self, element: etree._Element | Stream) -> tuple[list[str], list[list[str]]]:
        """Read the texts at all paths, by slot, and the same of each document."""
        slots = self.empty()
        rows: list[list[str]] = []
        if self.start.each:
            rows.append(self.start.each.read(element)[0])
        if isinstance(element, Stream):
            return slots, rows + streaming.read(element, self.start, slots)
        self.start.fill(element, slots, rows)
        return slots, rows


class _Unwrapping:
    """Finds what the paths of types start at: the root, or what stands in the wrapper that is the root."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._paths = {path.partition("/")[0]: _inside(f"{path}/{root.name}") for root in roots for path in root.within}

    def __call__(self, tree: Tree) -> Tree:
        path = self._paths.get(str(tree.tag)) if self._paths else None
        if isinstance(tree, Stream):
            if path is not None:
                raise in_a_wrapper(len(tree.payload))
            return tree
        inside = None if path is None else tree.find(path)
        return tree if inside is None else inside


class Reader:
    """Reads messages of one type."""

    def __init__(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> None:
        documents, answers, root = type.documents, type.answers, type.root
        self._name, self._answer = type.name, answer
        claim, whole, each = (_Paths(root) for _ in range(3))
        self._claims = [claim.slot(path) for path in type.version.path]
        self._unwrap = _Unwrapping([root])
        self._version = [whole.slot(path) for path in type.version.path]
        self._has_id = bool(type.own_id)
        self._own_id, self._sender = whole.slot(type.own_id), whole.slot(type.sender)
        self._receivers = "/".join(whole.steps(type.receivers, type.receivers))
        self._each_receiver = _Paths(root)
        self._each_receiver.documents(type.receivers, _Paths(root).text())
        self._fields = [(name, whole.slot(path)) for name, path in type.fields.items()]
        self._signature = whole.signature()
        self._documents = "/".join(whole.documents(documents.element, each))
        if claim.anywhere:
            self._receivers, self._documents = _inside(f"/{type.receivers}"), _inside(f"/{documents.element}")
        self._keys = [
            (name, [_place(path, whole, each) for path in paths], name in caseless)
            for name, paths in documents.keys.items()
        ]
        self._each_fields = [(name, each.slot(path)) for name, path in documents.fields.items()]
        self._says = [[each.slot(path) for path in paths] for paths in (answers.code, answers.text)] if answers else []
        self._original = each.slot(answers.original if answers else "")
        self._claim, self._whole = claim, whole
        self._containers = [_inside(f"/{path}") for path in type.containers]
        others = [path for path in (*root.within, *root.where, *type.containers) if not _PATH.fullmatch(path)]
        if mistakes := claim.mistakes + whole.mistakes + each.mistakes + others:
            raise ValueError(*dict.fromkeys(mistakes))

    def version(self, opened: Opened) -> str:
        """Return the version the message claims, or an empty text."""
        return _first(self._claim.read(self._unwrap(opened.tree))[0], self._claims)

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty."""
        root = self._unwrap(opened.tree)
        whole, rows = self._whole.read(root)
        if len(rows) > LIMIT_DOCUMENTS:
            raise too_many_documents()
        return Envelope(
            type=self._name,
            version=_first(whole, self._version),
            own_id=whole[self._own_id] if self._has_id else blake2b(opened.payload, digest_size=16).hexdigest(),
            sender=whole[self._sender],
            receivers=self._received(root) if self._receivers else (),
            documents=tuple([Document(self._keys_of(row, whole)) for row in rows]),
            answers=self._answers(rows),
            fields=self._distinct(whole, rows),
            signed=bool(whole[self._signature]),
        )

    def original(self, opened: Opened) -> bytes:
        """Return the message that a receipt encloses, or nothing."""
        text = "".join([row[self._original] for row in self._whole.read(opened.tree)[1]])
        return _DECLARATION.sub("", text).encode()  # it named the charset of bytes that are a text now

    def containers(self, opened: Opened) -> Iterator[Place]:
        """Yield every container number; of what is too large for a tree none: it would have to be read once more."""
        root = None if opened.streamed else self._unwrap(opened.tree)
        for element in (element for path in self._containers if root is not None for element in root.iterfind(path)):
            yield Place(_text(element), partial(_where, opened.tree, element))

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the message anew, in its own charset, with only these of its documents."""
        root = parse(opened.payload)
        tree = root.getroottree()
        documents = self._unwrap(root).iterfind(self._documents) if self._documents else ()
        for number, document in enumerate(list(documents)):
            parent = document.getparent()
            if number not in records and parent is not None:
                parent.remove(document)
        info: Any = tree.docinfo
        part: bytes = etree.tostring(tree, encoding=info.encoding, xml_declaration=True, standalone=info.standalone)
        return part

    def _received(self, root: etree._Element | Stream) -> tuple[str, ...]:
        if isinstance(root, Stream):
            return tuple(row[0] for row in self._each_receiver.read(root)[1])
        return tuple(map(_text, root.iterfind(self._receivers)))

    def _keys_of(self, row: list[str], whole: list[str]) -> dict[str, str]:
        keys = {}
        for name, slots, caseless in self._keys:
            parts = [row[slot] if slot >= 0 else whole[~slot] for slot in slots]
            if "" not in parts:
                value = "/".join(parts)
                keys[name] = value.upper() if caseless else value
        return keys

    def _answers(self, rows: list[list[str]]) -> tuple[Answer, ...]:
        if not self._says:
            return ()
        codes, texts = self._says
        return tuple([self._answer(_first(row, codes), _first(row, texts)) for row in rows])

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


def _first(texts: Sequence[str], slots: Sequence[int]) -> str:
    """Return the first text that says something, or an empty one."""
    for slot in slots:
        if texts[slot]:
            return texts[slot]
    return ""


def _where(root: etree._Element, element: Any) -> tuple[str, int]:
    path = root.getroottree().getelementpath(element)  # counts its siblings
    return f"/{local(str(root.tag))}/{re.sub('{[^}]*}', '', path)}", element.sourceline


def _inside(path: str) -> str:
    """Return the path below the first step of *path*, in lxml's spelling, in whatever namespace.

    >>> _inside("MFTMessage/MFTData/Manifest"), _inside("/")
    ('{*}MFTData/{*}Manifest', '')
    """
    return "/".join(f"{{*}}{name}" for name in path.split("/")[1:] if name)


def _place(path: str, whole: _Paths, each: _Paths) -> int:
    """Return the slot of a document's key; of one that stands in the message around, the complement of its slot."""
    if not path.startswith("/"):
        return each.slot(path)
    if not _PATH.fullmatch(path[1:]):
        each.mistakes.append(path)
        return 0
    return ~whole.slot(path[1:])


# -- the format --------------------------------------------------------------------------------------------------


class Xml:
    """The format XML."""

    receipt_shape: Final = "ceb900"  # of the cross-border platform, whose users are most of those who send XML

    def sniff(self, payload: bytes) -> bool:
        """Tell by the first bytes whether the payload may be XML."""
        return _START.match(payload) is not None

    def open(self, payload: bytes) -> Opened:
        """Parse once. Raises Unreadable (SWX-1011 to SWX-1015)."""
        if large(payload):
            return Opened(self, payload, examined(payload), streamed=True)
        return Opened(self, payload, parse(payload))

    def key(self, opened: Opened) -> str:
        """Return the qualified name of the root."""
        return str(opened.tree.tag)

    def root_key(self, root: Root) -> str:
        """Return the qualified name that a type's YAML gives the root."""
        return f"{{{root.namespace}}}{root.name}" if root.namespace else root.name

    def probe(self, roots: Sequence[Root], places: Sequence[tuple[str, bool]]) -> Callable[[Opened], Sequence[str]]:
        """Compile places that tell types apart: paths, and whether an element there is enough."""
        paths, unwrap = _Paths(*roots), _Unwrapping(roots)
        for path, presence in places:
            (paths.presence if presence else paths.slot)(path)
        return lambda opened: paths.read(unwrap(opened.tree))[0]

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML. Raises ValueError with those that are none."""
        return Reader(type, caseless, answer)

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Compile an XSD. Raises ValueError."""
        return compiled(file, unsigned=unsigned)

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what an XSD finds wrong, up to 50. Loads xmlschema (a third of a second) when first called."""
        from exchange.formats import _xml_explain

        return _xml_explain.explain(payload, file, unsigned=unsigned, personal=personal)

    def schema_files(self, file: Path, within: Path) -> tuple[list[Path], list[str]]:
        """Return the XSDs of a set, by the main one, and what is wrong with what they refer to."""
        from exchange.formats import _xml_set

        return _xml_set.files(file, within)

    def schema_mistakes(self, file: Path) -> list[str]:
        """List why an XSD can't be compiled."""
        from exchange.formats import _xml_set

        return _xml_set.mistakes(file)

    def unknown_paths(self, file: Path, type: TypeFile) -> list[str]:
        """Name the paths of a type that an XSD has no place for."""
        from exchange.formats import _xml_set

        return _xml_set.unknown(file, type)
