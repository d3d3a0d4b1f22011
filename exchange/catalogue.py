"""The catalogue of message types: what is known of a type is data under ``schemas/``, not code.

``schemas/<authority>/<family>/`` holds one family: ``family.yaml``, ``codes.yaml`` where it has receipts,
``<Type>.yaml`` and ``<Type>-<edition>.xsd`` for each type, and ``samples/valid`` and ``samples/invalid``. Samples are
named ``<Type>--<what>.xml``; an invalid one names the finding it must produce: ``<Type>--SWX-1413--<what>.xml``.

A type's YAML (this one is complete; models in ``exchange.formats``)::

    name: CEB312Message              # as people and routes call it; also the name of the file
    title: {zh: 进口电子订单回执, en: answer to import orders}
    kind: receipt                    # declaration | receipt | notice
    certainty: official              # official | confirmed (seen in real messages) | own (made up here)
    source: where the facts come from

    format: xml                      # whose path syntax the rest is written in; of XML: a/b/c, a/@b, @b
    root: {namespace: "http://...", name: CEB312Message}
    version: {path: "@version", accepted: ["1.0"]}
    editions:                        # published schemas, the latest that is valid on the day decides
      - {name: "202205", valid_from: 2022-05-01, file: CEB312Message-202205.xsd}

    own_id: "@guid"                  # the sender's id of the message
    sender: BaseTransfer/dxpId       # optional, as is receivers: (a path that may occur several times)
    fields: {copCode: BaseTransfer/copCode}      # what routing may look at, of the whole message
    documents:
      element: OrderReturn           # each is one business document; paths below start there
      keys:                          # most trusted first; the names must be those of the type that is answered
        guid: guid
        order: [ebpCode, orderNo]    # joined with "/", scope first; a key that lacks a part is left out
      fields: {returnStatus: returnStatus}       # what routing may look at: the distinct values

    signature: optional              # none | optional | required: an enveloped ds:Signature, last child of the root
    answered_by: [CEB312Message]     # of a declaration: which receipts it waits for
    deadline_seconds: 1800           # after which a missing receipt raises an alarm
    answers:                         # of a receipt
      to: [CEB311Message]
      code: returnStatus             # meaning in codes.yaml
      text: returnInfo
      terminal: ["100", "120"]       # codes that end the waiting; negative ones always do
      split: sender                  # one file answers many senders: each gets his part, or the original
      original: oriBizMessage        # where the answered message is enclosed, if it is

``family.yaml``: ``title``, ``personal`` (fields whose values are masked), ``caseless`` (keys folded to upper case),
``receipt_shape`` (how our own receipts about these types are written). The labels that findings call a field by stand
in the XSD, as its documentation: ``订单编号 / order number``.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from exchange import plugins
from exchange.cataloguefile import Code, Spec, code_in, read_types
from exchange.errors import ConfigurationError, Rejected, Unidentified
from exchange.formats import Answers, Edition, Format, Opened, Remarking, Schema, TypeFile, nothing_readable
from exchange.formats.json import Json
from exchange.formats.platform_file import PlatformFile
from exchange.formats.table import Table
from exchange.formats.xml import Xml
from exchange.model import Envelope, Finding, MessageType

__all__ = ["SCHEMAS", "Catalogue", "Code", "Sample", "Spec", "explain", "load"]

SCHEMAS: Final = Path(__file__).parent.parent / "schemas"
SHOWN: Final = 64  # characters of what a message claims that an error repeats


@frozen
class Sample:
    """A message that shows a type; *code* is the finding that an invalid one must produce."""

    type: str
    path: Path
    code: str = ""


class Catalogue:
    """Every message type that is known here.

    Schemas are compiled when first needed, and kept: one for each type, edition and way to look at the signature.
    """

    def __init__(self, types: Mapping[str, MessageType], formats: Mapping[str, Format], directory: Path) -> None:
        self.types = types
        self.directory = directory
        self._formats = formats
        self._schemas: dict[tuple[str, str, bool], Schema] = {}
        self._by_key: defaultdict[str, list[MessageType]] = defaultdict(list)
        for type in types.values():
            spec: Spec = type.spec
            self._by_key[spec.format.root_key(spec.file.root)].append(type)

    # -- the path of one message

    def open(self, payload: bytes) -> Opened:
        """Parse a payload, once. Raises Unreadable."""
        format = self._sniffed(payload)
        if format is None:
            raise nothing_readable(payload)
        return format.open(payload)

    def identify(self, opened: Opened) -> MessageType:
        """Tell the type by root and version. Raises Unidentified, which names what comes close."""
        key = opened.format.key(opened)
        for type in self._by_key.get(key, ()):
            spec: Spec = type.spec
            if spec.reader.version(opened) in spec.file.version.accepted:
                return type
        raise self._unidentified(opened, key)

    def read(self, opened: Opened, type: MessageType) -> Envelope:
        """Read the envelope; a receipt's with one answer for each document, by the codes of its family."""
        spec: Spec = type.spec
        envelope = spec.reader.read(opened)
        if spec.file.answers and spec.file.answers.original:
            return self._spread(opened, spec, envelope)
        return envelope

    def valid(self, opened: Opened, type: MessageType, *, on: date, unsigned: bool = False) -> bool:
        """Give the verdict of the edition that decides *on* a day.

        *unsigned* lets a required signature be absent: the switch is going to sign. Raises ConfigurationError where
        the schema itself is broken.
        """
        return self.schema(type, self.edition(type, on), unsigned=unsigned).valid(opened)

    def warnings(self, opened: Opened, type: MessageType, *, on: date) -> list[Finding]:
        """List what a valid message should be looked at for; not every format has such remarks."""
        schema = self.schema(type, self.edition(type, on))
        return schema.warnings(opened) if isinstance(schema, Remarking) else []

    def receipt_shape(self, payload: bytes) -> str:
        """Tell how our own receipts are written about a message whose type can't be told."""
        format = self._sniffed(payload)
        return format.receipt_shape if format else "ceb900"

    def explain(self, payload: bytes, type: str, edition: str, *, unsigned: bool = False) -> list[Finding]:
        """List what an edition finds wrong with a payload, up to 50. Slow: see the function ``explain``."""
        spec: Spec = self.types[type].spec
        file = next(spec.folder / known.file for known in spec.editions if known.name == edition)
        unsigned = unsigned and spec.file.signature == "required"
        return spec.format.explain(payload, file, unsigned=unsigned, personal=spec.personal)

    def part(self, opened: Opened, type: MessageType, records: Collection[int]) -> bytes:
        """Write a message anew with only these of its documents, by their number in the envelope."""
        spec: Spec = type.spec
        return spec.reader.part(opened, records)

    # -- what is known of a type

    def edition(self, type: MessageType, on: date) -> Edition:
        """Return the edition that decides on a day: the latest that is valid by then, or else the first."""
        spec: Spec = type.spec
        first, *later = sorted(spec.editions, key=lambda edition: edition.valid_from)
        return next((edition for edition in reversed(later) if edition.valid_from <= on), first)

    def schema(self, type: MessageType, edition: Edition, *, unsigned: bool = False) -> Schema:
        """Return the compiled schema of an edition. Raises ConfigurationError where it can't be compiled."""
        unsigned = unsigned and type.signature == "required"
        known = self._schemas.get((type.name, edition.name, unsigned))
        if known is None:
            spec: Spec = type.spec
            file = spec.folder / edition.file
            try:
                known = spec.format.schema(file, unsigned=unsigned)
            except ValueError as why:
                raise ConfigurationError([f"{file}:1:1: {why}"]) from None
            self._schemas[type.name, edition.name, unsigned] = known
        return known

    @property
    def business_fields(self) -> dict[str, Sequence[str]]:
        """Return, for each type's name, what ``fields`` returns."""
        return {name: self.fields(type) for name, type in self.types.items()}

    def fields(self, type: MessageType) -> tuple[str, ...]:
        """Return the names of the fields that routing may look at."""
        file: TypeFile = type.spec.file
        return (*file.fields, *file.documents.fields)

    def answers(self, type: MessageType) -> Answers:
        """Tell what a receipt type answers, and whether each sender gets a part of its files or all of it."""
        answers: Answers | None = type.spec.file.answers
        if answers is None:
            raise ValueError(f"{type.name} is no receipt")
        return answers

    def warm(self, on: date) -> None:
        """Compile every schema that decides on a day, so that no message waits. Raises ConfigurationError."""
        problems: list[str] = []
        for type in self.types.values():
            try:
                self.schema(type, self.edition(type, on))
                self.schema(type, self.edition(type, on), unsigned=True)
            except ConfigurationError as why:
                problems += why.problems
        if problems:
            raise ConfigurationError(problems)

    def code(self, type: MessageType, code: str) -> Code:
        """Tell what a code means in receipts of a type; one that nobody told us of is pending, or if negative an error.

        >>> catalogue = load()
        >>> catalogue.code(catalogue.types["CEB622Message"], "800").zh
        '放行'
        """
        spec: Spec = type.spec
        return code_in(spec.codes, code)

    def samples(self) -> Iterator[Sample]:
        """Iterate over the sample messages of all families, valid ones first."""
        for folder in sorted({type.spec.folder for type in self.types.values()}):
            for path in sorted(folder.glob("samples/valid/*")):
                yield Sample(path.name.partition("--")[0].partition(".")[0], path)
            for path in sorted(folder.glob("samples/invalid/*")):
                type, code, *_ = path.name.split("--")
                yield Sample(type, path, code)

    # -- what goes wrong, and what is enclosed

    def _sniffed(self, payload: bytes) -> Format | None:
        return next((format for format in self._formats.values() if format.sniff(payload)), None)

    def _spread(self, opened: Opened, spec: Spec, envelope: Envelope) -> Envelope:
        """Let a receipt that encloses the message it answers, answer every document in there."""
        try:
            enclosed = self.open(spec.reader.original(opened))
            cause = self.identify(enclosed)
        except Rejected:
            return envelope
        documents = cause.spec.reader.read(enclosed).documents
        if not documents or not spec.file.answers or cause.name not in spec.file.answers.to:
            return envelope
        return evolve(envelope, documents=documents, answers=envelope.answers[:1] * len(documents))

    def _unidentified(self, opened: Opened, key: str) -> Unidentified:
        known = self._by_key.get(key)
        if known:
            versions = ", ".join(version for type in known for version in type.spec.file.version.accepted)
            claimed = known[0].spec.reader.version(opened)[:SHOWN]
            return Unidentified(
                f"version {claimed!r} of {known[0].name} is not known here: use {versions}",
                f"{known[0].name} 的版本 {claimed!r} 未知：请使用 {versions}",
                code="SWX-1023",
            )
        local = key.rpartition("}")[2]
        namesakes = [candidate for candidate in self._by_key if candidate.rpartition("}")[2] == local]
        if namesakes:
            return Unidentified(
                f"{local} is in the wrong namespace: its qualified name must be {namesakes[0]}",
                f"{local} 的命名空间不对：应为 {namesakes[0]}",
                code="SWX-1022",
            )
        known_names = [candidate.rpartition("}")[2] for candidate in self._by_key]
        close = difflib.get_close_matches(local[:SHOWN], known_names, n=3)
        hint_en, hint_zh = (
            (f": did you mean {', '.join(close)}?", f"，是否为 {'、'.join(close)}？") if close else ("", "")
        )
        return Unidentified(
            f"no message type begins with {local[:SHOWN]!r}{hint_en}",
            f"没有以 {local[:SHOWN]!r} 开头的报文类型{hint_zh}",
            code="SWX-1021",
        )


def load(directory: Path = SCHEMAS) -> Catalogue:
    """Read the catalogue under *directory*. Raises ConfigurationError with all mistakes."""
    built_in: dict[str, Format] = {"xml": Xml(), "json": Json(), "platform_file": PlatformFile()}
    formats = built_in | {name: plugins.load("formats", name)() for name in plugins.names("formats")}
    formats["table"] = formats.pop("table", Table())  # last: CSV has no beginning of its own
    return Catalogue({type.name: type for type in read_types(directory, formats)}, formats, directory)


def explain(directory: Path, payload: bytes, type: str, edition: str, unsigned: bool = False) -> list[Finding]:
    """Do what ``Catalogue.explain`` does, in another process: everything here can be pickled."""
    return _loaded(directory).explain(payload, type, edition, unsigned=unsigned)


_loaded = cache(load)
