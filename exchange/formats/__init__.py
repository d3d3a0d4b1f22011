"""What every format can do (XML now; others the same way), and what a type's YAML may say about one message type.

A format turns bytes into facts and knows no message type by name: what to look for is told by the catalogue. The
shape of the YAML is explained in ``exchange.catalogue``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from attrs import frozen
from pydantic import BeforeValidator, Field, PositiveFloat, StringConstraints

from exchange.errors import Unreadable
from exchange.model import Answer, Envelope, Finding
from exchange.ports import Strict

# -- what a type's YAML may say ----------------------------------------------------------------------------------

Text = Annotated[str, StringConstraints(min_length=1)]
OneOrMore = Annotated[  # paths: one may stand without brackets
    tuple[Text, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), Field(min_length=1)
]


class Title(Strict):
    """A name in two languages."""

    zh: Text
    en: Text


class Root(Strict):
    """How messages of the type begin: a root element, a message code."""

    namespace: str = ""
    name: Text


class Version(Strict):
    """Where a message says which version of the format it follows, and which are ours to read."""

    path: Text
    accepted: Annotated[tuple[str, ...], Field(min_length=1)]


class Edition(Strict):
    """One published schema of the type; *file* lies beside the YAML."""

    name: Text
    valid_from: date
    file: Text


class Documents(Strict):
    """The business documents in a message: where they are, what they are known by, what routing may look at."""

    element: str = ""  # empty: the message itself is the one document
    keys: Annotated[dict[Text, OneOrMore], Field(min_length=1)]  # most trusted first
    fields: dict[Text, Text] = Field(default_factory=dict)


class Answers(Strict):
    """What makes a type a receipt: which types it answers, and where it says what."""

    to: tuple[Text, ...]
    code: Text
    text: str = ""
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
    version: Version
    editions: Annotated[tuple[Edition, ...], Field(min_length=1)]
    own_id: Text
    sender: str = ""
    receivers: str = ""
    fields: dict[Text, Text] = Field(default_factory=dict)  # of the whole message
    documents: Documents
    signature: Literal["none", "optional", "required"] = "none"
    answered_by: tuple[Text, ...] = ()
    deadline_seconds: PositiveFloat | None = None
    answers: Answers | None = None


# -- what a format can do ----------------------------------------------------------------------------------------


@frozen
class Opened:
    """A payload that was parsed once; whoever wants to know more asks this value."""

    format: Format
    payload: bytes
    tree: Any  # the format's own: an lxml element, a list of segments


class Reader(Protocol):
    """Reads messages of one type; made from its YAML once."""

    def version(self, opened: Opened) -> str:
        """Return the version the message claims, or an empty text."""

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; what is missing is empty. Raises nothing: the schema judges, not the reader."""

    def original(self, opened: Opened) -> bytes:
        """Return the message that a receipt encloses, or nothing."""

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Write the message anew with only these of its documents, by their number."""


class Schema(Protocol):
    """A compiled schema of one edition of one type."""

    def valid(self, opened: Opened) -> bool:
        """Give the verdict."""


@runtime_checkable
class Remarking(Protocol):
    """A schema that lets some things pass and says so."""

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

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML; keys named in *caseless* are folded to upper case.

        *answer* turns a receipt's code and text into an Answer. Raises ValueError whose arguments are the paths that
        can't be understood.
        """

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Compile a schema; *unsigned* lets a required signature be absent. Raises ValueError."""

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List what a schema finds wrong, up to 50; fields named in *personal* are masked. Slow."""


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
