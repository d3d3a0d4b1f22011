"""What every format can do (XML now; others the same way), and what a type's YAML may say about one message type.

A format turns bytes into facts and knows no message type by name: what to look for is told by the catalogue. The
shape of the YAML is explained in ``exchange.catalogue``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, runtime_checkable

from attrs import frozen
from pydantic import BeforeValidator, Field, PositiveFloat, StringConstraints

from exchange.errors import Unreadable
from exchange.model import Answer, Envelope, Finding
from exchange.options import Strict

if TYPE_CHECKING:
    from exchange.wrappers import Wrapped

# -- what a type's YAML may say ----------------------------------------------------------------------------------

Text = Annotated[str, StringConstraints(min_length=1)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OneOrMore = Annotated[  # paths: one may stand without brackets
    tuple[Text, ...], BeforeValidator(_listed), Field(min_length=1)
]


class Title(Strict):
    """A name in two languages."""

    zh: Text
    en: Text


class Root(Strict):
    """How messages of the type begin: a root element, a message code; and what tells types apart that begin alike."""

    namespace: str = ""
    other_namespaces: tuple[str, ...] = ()  # that peers use for the same
    mixed: bool = False  # of XML: what stands inside is in other namespaces than the root
    name: Text
    where: dict[Text, Text] = Field(default_factory=dict)  # path -> the text there; "*": there is such a place
    within: tuple[Text, ...] = ()  # wrappers it may come in: the path from the wrapper's root to what is around ours

    @property
    def marks(self) -> tuple[tuple[str, str], ...]:
        """What tells the type from others that begin alike: places and texts, by place."""
        return tuple(sorted(self.where.items()))

    def ways(self) -> tuple[Root, ...]:
        """Return every way that a message of the type may begin."""
        namespaces = (self.namespace, *self.other_namespaces)
        wrappers = (Root(name=path.partition("/")[0]) for path in self.within)
        return (*(self.model_copy(update={"namespace": one}) for one in namespaces), *wrappers)


class Version(Strict):
    """Where a message says which version of the format it follows, and which are ours to read."""

    path: Annotated[tuple[Text, ...], BeforeValidator(_listed)] = ()  # the first place that says something counts
    accepted: Annotated[tuple[str, ...], Field(min_length=1)] = ("",)  # "*": any

    def accepts(self, version: str) -> bool:
        """Tell whether a version that a message claims is ours to read."""
        return version in self.accepted or "*" in self.accepted


class Edition(Strict):
    """One published schema of the type; *file* lies beside the YAML."""

    name: Text
    valid_from: date
    file: Text
    versions: tuple[Text, ...] = ()  # that messages may claim under it; none: every accepted one
    valid_until: date | None = None  # the day from which on it decides no more
    certainty: Literal["official", "confirmed", "own"] | None = None  # where it differs from the type's
    source: str = ""


class Documents(Strict):
    """The business documents in a message: where they are, what they are known by, what routing may look at."""

    element: str = ""  # empty: the message itself is the one document
    keys: Annotated[dict[Text, OneOrMore], Field(min_length=1)]  # most trusted first
    fields: dict[Text, Text] = Field(default_factory=dict)


class Status(Strict):
    """What a code says about the document it answers."""

    stage: str
    outcome: Literal["pending", "accepted", "released", "rejected", "error"]
    zh: str
    en: str


class Answers(Strict):
    """What makes a type a receipt: which types it answers, and where it says what."""

    to: tuple[Text, ...]
    code: OneOrMore  # of several places the first that says something counts
    text: Annotated[tuple[Text, ...], BeforeValidator(_listed)] = ()
    every: bool = False  # what it says is said of every document of the message that it answers
    text_code: int = Field(0, ge=0)  # the text begins with a code of so many characters, which is more exact
    table: OneOrMore = ("status",)  # of codes.yaml, which tell what the codes mean; "*" there is any other code
    terminal: tuple[Text, ...] = ()  # codes after which nothing more is waited for; negative ones always are
    split: Literal["sender", "original"] = "sender"
    original: str = ""  # where the answered message itself is enclosed, if it is


class TypeFile(Strict):
    """One message type, as its YAML describes it."""

    name: Text
    title: Title
    kind: Literal["declaration", "receipt", "notice"]
    certainty: Literal["official", "confirmed", "own"]
    source: Text
    format: Text
    root: Root
    version: Version = Version()
    editions: Annotated[tuple[Edition, ...], Field(min_length=1)]
    own_id: str = ""  # empty: messages have no id; the same bytes are the same message
    sender: str = ""
    receivers: str = ""
    fields: dict[Text, Text] = Field(default_factory=dict)  # of the whole message
    documents: Documents
    containers: Annotated[tuple[Text, ...], BeforeValidator(_listed)] = ()  # where container numbers stand, every one
    signature: Literal["none", "optional", "required"] = "none"
    behind_signature: tuple[Text, ...] = ()  # children of the root that stand behind the signature, in order
    answered_by: tuple[Text, ...] = ()
    deadline_seconds: PositiveFloat | None = None
    deadlines: dict[Text, PositiveFloat] = Field(default_factory=dict)  # of earlier stages: stage -> seconds
    answers: Answers | None = None


LIMIT_DOCUMENTS: Final = 50_000  # in one message: each is answered for itself, and takes some 600 bytes


def too_many_documents() -> Unreadable:
    """Return the error for a message with more documents than are taken."""
    return Unreadable(
        f"the message has more than {LIMIT_DOCUMENTS} documents: send them in several messages",
        f"报文中的单证超过 {LIMIT_DOCUMENTS} 份：请分成多个报文发送",
        code="SWX-1015",
    )


# -- what a format can do ----------------------------------------------------------------------------------------


@frozen
class Opened:
    """A payload that was parsed once; whoever wants to know more asks this value."""

    format: Format
    payload: bytes
    tree: Any  # the format's own: an lxml element, a list of segments
    wrappers: Sequence[Wrapped] = ()  # around the payload, outermost first
    streamed: bool = False  # too large for a tree: it is read anew for each question

    @property
    def document(self) -> Any:
        """Return what signatures are over: the tree or, where there is none, the bytes."""
        return self.payload if self.streamed else self.tree


@frozen
class Place:
    """A text in a message, and where it stands, which is only worked out where somebody is told."""

    text: str
    where: Callable[[], tuple[str, int | None]]  # pointer and line


class Reader(Protocol):
    """Reads messages of one type; made from its YAML once."""

    def version(self, opened: Opened) -> str:
        """Return the version the message claims, or an empty text."""

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty: the schema judges, not the reader.

        Raises Unreadable (SWX-1015) where there are more than ``LIMIT_DOCUMENTS``.
        """

    def original(self, opened: Opened) -> bytes:
        """Return the message that a receipt encloses, or nothing."""

    def containers(self, opened: Opened) -> Iterable[Place]:
        """Return every container number, where the type's YAML says that there are some."""

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the message anew with only these of its documents, by their number."""


class Schema(Protocol):
    """A compiled schema of one edition of one type."""

    def valid(self, opened: Opened) -> bool:
        """Give the verdict."""

    def warnings(self, opened: Opened) -> list[Finding]:
        """List what a valid message should be looked at for, up to 50."""


class Format(Protocol):
    """One way to write messages; a value without state."""

    @property
    def receipt_shape(self) -> str:
        """How our own receipts are written about a message whose type can't be told."""

    def sniff(self, payload: bytes) -> bool:
        """Tell by the first bytes whether the payload may be of this format."""

    def open(self, payload: bytes) -> Opened:
        """Parse once. Raises Unreadable."""

    def key(self, opened: Opened) -> str:
        """Return what the type is known by: the qualified name of the root, a message code."""

    def root_key(self, root: Root) -> str:
        """Return the same key as a type's YAML spells it."""

    def probe(self, roots: Sequence[Root], places: Sequence[tuple[str, bool]]) -> Callable[[Opened], Sequence[str]]:
        """Compile places that tell types apart which may begin as *roots* do: paths, and whether being there is enough.

        What is returned reads the texts there; "*" where being there is enough.
        """

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML; keys named in *caseless* are folded to upper case.

        *answer* turns a receipt's code and text into an Answer. Raises ValueError whose arguments are the paths that
        can't be understood.
        """

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Compile a schema; *unsigned* lets a required signature be absent. Raises ValueError."""

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what a schema finds wrong, up to 50; fields named in *personal* are masked. Slow."""


@runtime_checkable
class SchemaSets(Protocol):
    """What a format can tell besides, where a schema may be a set of files; asked by who installs schemas."""

    def schema_files(self, file: Path, within: Path) -> tuple[list[Path], list[str]]:
        """Return the files of a set, by its main one, and lines on what is wrong with them."""

    def schema_mistakes(self, file: Path) -> list[str]:
        """List why a set can't be compiled, as lines with places."""

    def unknown_paths(self, file: Path, type: TypeFile) -> list[str]:
        """Name the paths of a type's YAML that the schema has no place for; its root's name, where that is unknown."""


@runtime_checkable
class SchemaRemarks(Protocol):
    """What a format can tell besides of schemas that are right; asked by who checks schemas."""

    def schema_remarks(self, file: Path, type: TypeFile) -> list[str]:
        """Say what a schema keeps messages of a type from, as lines with places."""


def nothing_readable(payload: bytes) -> Unreadable:
    """Return the error for a payload in which no format recognises itself."""
    if not payload.strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"):
        return Unreadable(
            f"the message is empty ({len(payload)} bytes): send it again, complete",
            f"报文为空（{len(payload)} 字节）：请重新发送完整的报文",
            code="SWX-1012",
        )
    return Unreadable(
        "the bytes are no format known here: send XML that begins with '<', or what was agreed on, as it is",
        "无法识别的报文格式：请发送以“<”开头的 XML 报文，或约定的其他格式，不压缩、不加封装",
    )
