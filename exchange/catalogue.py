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
    root: {namespace: "http://...", name: CEB312Message}      # more of this below
    version: {path: "@version", accepted: ["1.0"]}            # several paths: the first that says something; "*": any
    editions:                        # published schemas: of those for a message's version, the latest that is valid
      - {name: "202205", valid_from: 2022-05-01, file: CEB312Message-202205.xsd}      # on the day decides; one may end:
                                                                          # valid_until, the first day without it
      - {name: "2", valid_from: 2030-01-01, file: CEB312Message-2.xsd, versions: ["2.0"]}       # default: all

    own_id: "@guid"                  # the sender's id of the message; without, the same bytes are the same message
    sender: BaseTransfer/dxpId       # optional, as is receivers: (a path that may occur several times)
    fields: {copCode: BaseTransfer/copCode}      # what routing may look at, of the whole message
    documents:
      element: OrderReturn           # each is one business document; paths below start there
      keys:                          # most trusted first; the names must be those of the type that is answered
        guid: guid
        order: [ebpCode, orderNo]    # joined with "/", scope first; a key that lacks a part is left out
                                     # of XML: /a/b starts at the root of the message instead of the document
      fields: {returnStatus: returnStatus}       # what routing may look at: the distinct values

    containers: [A/B/ID]             # where all container numbers stand: a wrong check digit is warned of (SWX-1471)
    signature: optional              # none | optional | required: an enveloped ds:Signature, last child of the root
    behind_signature: [ExtendMessage]  # ... but for these, which stand behind it where they are there at all
    answered_by: [CEB312Message]     # of a declaration: which receipts it waits for; these then answer it
    deadline_seconds: 1800           # after which a missing receipt raises an alarm: the one that ends the waiting
    deadlines: {port: 60}            # the same for earlier stages (see codes.yaml) that must be heard of by then
    answers:                         # of a receipt
      to: [CEB311Message]
      code: returnStatus             # of several paths the first that says something counts; meaning in codes.yaml,
      table: status                  # ... in this table of it, or the first of several that lists it, or as its "*";
                                     # what isn't in there passes with a warning
      text: returnInfo
      every: true                    # what it says is said of every document of the answered message (else false)
      text_code: 5                   # the text begins with a code of so many characters: it counts, where it is listed
      terminal: ["100", "120"]       # codes that end the waiting; negative ones always do
      split: sender                  # one file answers many senders: each gets his part, or the original
      original: oriBizMessage        # where the answered message is enclosed, if it is

Where the root's name doesn't tell the type, or peers write it in several ways::

    root:
      namespace: "urn:Declaration:datamodel:standard:CN:MT2101:1"
      other_namespaces: [""]         # that peers use for the same; "" is none
      name: Manifest
      where: {Head/MessageType: MT2101, Declaration: "*"}    # what stands there; "*": such an element is there
      within: [MFTMessage/MFTData]   # wrappers that it may come in, from their root to what is around ours
      mixed: true                    # what stands inside is in other namespaces than the root (else false)

Such a type's paths go by names alone, in whatever namespace. An XSD without a target namespace takes on that of each
message, so one file may serve many types; one that declares nothing and only imports others stands for the set. A
wrapper is passed on unchanged and isn't judged.

A site adds editions to a type in a file of its own: see ``exchange.editions``.

``like: MT2101`` takes everything that a file doesn't say from another one beside it; an empty value (``~``) takes
something away.

``family.yaml``: ``title``, ``personal`` (fields whose values are masked), ``caseless`` (keys folded to upper case),
``receipt_shape`` (how our own receipts about these types are written). The labels that findings call a field by stand
in the XSD, as its documentation: ``订单编号 / order number``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from exchange import plugins
from exchange.alike import SHOWN, filed
from exchange.cataloguefile import Spec, read_types
from exchange.codesfile import Code, code_in
from exchange.errors import ConfigurationError, Rejected, Unidentified
from exchange.formats import Answers, Edition, Format, Opened, Schema, TypeFile, nothing_readable
from exchange.formats._containers import MOST, remarks
from exchange.formats.edifact import Edifact, agreed
from exchange.formats.json import Json
from exchange.formats.opaque import FORMAT as OPAQUE
from exchange.formats.opaque import Opaque
from exchange.formats.platform_file import PlatformFile
from exchange.formats.table import Table
from exchange.formats.xml import Xml
from exchange.model import Envelope, Finding, MessageType
from exchange.wrappers import Wrapped, opening

__all__ = ["SCHEMAS", "Catalogue", "Code", "Sample", "Spec", "explain", "load"]

SCHEMAS: Final = Path(__file__).parent.parent / "schemas"


@frozen
class Sample:
    """A message that shows a type; *code* is the finding that an invalid one must produce."""

    type: str
    path: Path
    code: str = ""


class Catalogue:
    """Every message type that is known here.

    Schemas are compiled when first needed, and kept: one for each file and way to look at the signature.
    """

    def __init__(self, types: Mapping[str, MessageType], formats: Mapping[str, Format], directory: Path) -> None:
        self.types = types
        self.directory = directory
        self._formats = formats
        self._schemas: dict[tuple[Path, bool], Schema] = {}
        self._deciding: dict[tuple[str, str, bool], Schema] = {}  # the same by type and edition: paths are slow to join
        self._by_key = filed(types.values())

    # -- the path of one message

    def open(self, payload: bytes, charset: str = "") -> Opened:
        """Parse a payload, once, or what is in the envelopes that it comes in. Raises Unreadable.

        *charset* was agreed on with its sender.
        """
        around: Sequence[Wrapped] = ()
        if opening.wrapper_of(payload) is not None:
            payload, around = opening.opened(payload)
        format = self._sniffed(payload)
        if format is None:
            raise nothing_readable(payload)
        opened = (agreed(format, charset) if charset else format).open(payload)
        return evolve(opened, wrappers=around) if around else opened

    def open_as(self, payload: bytes, type: MessageType, name: str) -> Opened:
        """Parse a payload that somebody says is of a type, as intake would. Raises Unreadable."""
        return Opaque(type.name, name).open(payload) if type.format == OPAQUE else self.open(payload)

    def identify(self, opened: Opened) -> MessageType:
        """Tell the type by root, marks and version. Raises Unidentified, which names what comes close."""
        key = opened.format.key(opened)
        alike = self._by_key.get(key)
        for type in alike.fitting(opened) if alike else ():
            spec: Spec = type.spec
            if spec.any_version or spec.file.version.accepts(spec.reader.version(opened)):
                return type
        raise self._unidentified(opened, key)

    def read(self, opened: Opened, type: MessageType) -> Envelope:
        """Read the envelope; a receipt's with one answer for each document, by the codes of its family."""
        spec: Spec = type.spec
        envelope = spec.reader.read(opened)
        if opened.wrappers:
            envelope = opening.addressed(envelope, opened, has_id=bool(spec.file.own_id), home=type.kind == "receipt")
        if spec.file.answers and spec.file.answers.original:
            return self._spread(opened, spec, envelope)
        return envelope

    def valid(self, opened: Opened, type: MessageType, *, on: date, version: str = "", unsigned: bool = False) -> bool:
        """Give the verdict of the edition that decides *on* a day about messages of a *version*.

        *unsigned* lets a required signature be absent: the switch is going to sign. Raises ConfigurationError where
        the schema itself is broken.
        """
        return self.schema(type, self.edition(type, on, version), unsigned=unsigned).valid(opened)

    def warnings(self, opened: Opened, type: MessageType, schema: Schema) -> list[Finding]:
        """List what a message should be looked at for that *schema* found valid; not every format has such remarks."""
        found, spec = schema.warnings(opened), type.spec
        return [*found, *remarks(spec.reader.containers(opened))] if spec.file.containers else found

    def receipt_shape(self, payload: bytes) -> str:
        """Tell how our own receipts are written about a message whose type can't be told."""
        if (wrapper := opening.wrapper_of(payload)) is not None:
            return wrapper.answers or "json"
        format = self._sniffed(payload)
        return format.receipt_shape if format else "ceb900"

    def explain(
        self, payload: bytes, type: str, edition: str, *, unsigned: bool = False, charset: str = ""
    ) -> list[Finding]:
        """List what an edition finds wrong with a payload, up to 50. Slow: see the function ``explain``."""
        spec: Spec = self.types[type].spec
        if not isinstance(spec.format, Opaque):
            payload, _ = opening.opened(payload)
        file = next(spec.folder / known.file for known in spec.file.editions if known.name == edition)
        unsigned = unsigned and spec.file.signature == "required"
        format = agreed(spec.format, charset)
        found = format.explain(payload, file, unsigned=unsigned, personal=spec.personal)
        if spec.file.containers:
            found += remarks(spec.reader.containers(format.open(payload)))
        return found[:MOST]

    def part(self, opened: Opened, type: MessageType, records: Collection[int]) -> bytes:
        """Write a message anew with only these of its documents, by their number in the envelope."""
        spec: Spec = type.spec
        return spec.reader.part(opened, records)

    # -- what is known of a type

    def edition(self, type: MessageType, on: date, version: str = "") -> Edition:
        """Return the edition that decides on a day about messages of a version: the latest that is valid by then.

        Where none is valid yet, the first decides. No version asks about any.
        """
        spec: Spec = type.spec
        fitting = [one for one in spec.editions if version in one.versions or not (version and one.versions)]
        return next((one for one in reversed(fitting) if one.valid_from <= on), fitting[0])

    def schema(self, type: MessageType, edition: Edition, *, unsigned: bool = False) -> Schema:
        """Return the compiled schema of an edition. Raises ConfigurationError where it can't be compiled."""
        key = type.name, edition.name, unsigned and type.signature == "required"
        known = self._deciding.get(key)
        if known is None:
            known = self._deciding[key] = self._compiled(type.spec, edition, unsigned=key[2])
        return known

    def _compiled(self, spec: Spec, edition: Edition, *, unsigned: bool) -> Schema:
        file = spec.folder / edition.file
        known = self._schemas.get((file, unsigned))
        if known is None:
            try:
                known = spec.format.schema(file, unsigned=unsigned)
            except ValueError as why:
                raise ConfigurationError([f"{file}:1:1: {why}"]) from None
            self._schemas[file, unsigned] = known
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

    def unlisted(self, type: MessageType, envelope: Envelope) -> list[str]:
        """Return the codes of a receipt that its table doesn't list; a table that is empty lists all."""
        known = type.spec.codes
        return list(dict.fromkeys(one.code for one in envelope.answers if known and one.code and one.code not in known))

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
        alike = self._by_key.get(key)
        if known := alike.fitting(opened) if alike else ():
            versions = ", ".join(version for type in known for version in type.spec.file.version.accepted)
            claimed = known[0].spec.reader.version(opened)[:SHOWN]
            return Unidentified(
                f"version {claimed!r} of {known[0].name} is not known here: use {versions}",
                f"{known[0].name} 的版本 {claimed!r} 未知：请使用 {versions}",
                code="SWX-1023",
            )
        if alike:
            said = alike.said(opened)
            return Unidentified(
                f"several types begin like this message, and none has {said}",
                f"有多种报文如此开头，但没有一种是：{said}",
                code="SWX-1024",
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


def load(*directories: Path) -> Catalogue:
    """Read the message types under *directories*; none: ours. Raises ConfigurationError with all mistakes.

    Of two types of the same name that of the later directory wins, so that a site may install the official schemas
    that it owns over ours.
    """
    formats = known_formats()
    types = read_types(directories or (SCHEMAS,), formats)
    return Catalogue({type.name: type for type in types}, formats, (directories or (SCHEMAS,))[0])


def known_formats() -> dict[str, Format]:
    """Return every format, ours and third parties', in the order in which they are asked."""
    formats: dict[str, Format] = {"xml": Xml(), "json": Json(), "edifact": Edifact(), "platform_file": PlatformFile()}
    formats |= {name: plugins.load("formats", name)() for name in plugins.names("formats")}
    formats[OPAQUE] = Opaque()
    formats["table"] = formats.pop("table", Table())  # last: CSV has no beginning of its own
    return formats


def explain(
    directories: tuple[Path, ...], payload: bytes, type: str, edition: str, unsigned: bool = False, charset: str = ""
) -> list[Finding]:
    """Do what ``Catalogue.explain`` does, in another process: everything here can be pickled."""
    return _loaded(*directories).explain(payload, type, edition, unsigned=unsigned, charset=charset)


_loaded = cache(load)
