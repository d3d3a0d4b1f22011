"""Files without public structure, carried as they are: nothing inside is read, so they are never recognised by it.

Who may send such files, and what a file is by the ending of its name, his agreement says::

    agreement: {opaque: {.txt: BorderText, .pdf: BorderPDF}}

A path of such a type is ``name``, the name of the file, ``#``, a digest of its bytes, or ``=1``, the text 1 itself. The
``own_id`` is name and content: the same file again is a duplicate, a corrected one of the same name is not. Sender is
who hands it in, and only the route says who gets it.

The schema is a few rules in YAML, each of which may be left out::

    most_bytes: 20000000             # so many at the most
    begins: "%PDF-"                  # with these characters
    charset: [utf-8, gb18030]        # text, in one of these
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Annotated, ClassVar, Final, Literal

from attrs import frozen
from pydantic import BeforeValidator, PositiveInt, ValidationError

from exchange.errors import ConfigurationError
from exchange.formats import Opened, Place, Root, TypeFile, nothing_readable
from exchange.formats._charsets import is_text
from exchange.formats._facts import Facts, Look, probe
from exchange.formats._faults import Fault
from exchange.model import Answer, Envelope, Finding
from exchange.options import Strict
from exchange.yamlfile import read

FORMAT: Final = "opaque"
DIGEST: Final = 32  # hexadecimal digits of the content that serve as an id

_PATH = re.compile(r"name|#|=\S+")


class Rules(Strict):
    """What a file of a type must be from the outside."""

    most_bytes: PositiveInt | None = None
    begins: str = ""
    charset: Annotated[
        tuple[Literal["utf-8", "gb18030"], ...], BeforeValidator(lambda said: [said] if isinstance(said, str) else said)
    ] = ()

    def faults(self, payload: bytes) -> Iterator[Fault]:
        """Yield what a payload breaks."""
        if self.most_bytes is not None and len(payload) > self.most_bytes:
            yield Fault("bytes", "/", "file", limit=str(self.most_bytes), actual=len(payload))
        if not payload.startswith(self.begins.encode()):
            yield Fault("begins", "/", "file", limit=self.begins)
        if self.charset and not any(is_text(payload, charset) for charset in self.charset):
            yield Fault("charset", "/", "file", limit=(" or ".join(self.charset), "或".join(self.charset)))


def load(file: Path) -> Rules:
    """Read the rules of a type. Raises ValueError that says where they are wrong."""
    try:
        document = read(file.read_text("utf-8"), file.name)
        return Rules.model_validate(document.data or {})
    except (OSError, UnicodeDecodeError) as why:
        raise ValueError(f"{file.name}: {why}") from None
    except ConfigurationError as why:
        raise ValueError("; ".join(why.problems)) from None
    except ValidationError as why:
        raise ValueError("; ".join(document.problems(why, Rules))) from None


def _compiled(path: str) -> Look:
    if not _PATH.fullmatch(path):
        raise ValueError(path)
    if path == "name":
        return lambda opened: [opened.format.name] if opened.format.name else []
    if path == "#":
        return lambda opened: [hashlib.sha256(opened.payload).hexdigest()[:DIGEST]]
    return lambda opened: [path[1:]]


class Reader:
    """Reads files of one type: their names."""

    def __init__(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> None:
        self._facts = Facts(type, caseless, answer, _compiled)
        if mistakes := [*type.containers, *([type.documents.element] if type.documents.element else [])]:
            raise ValueError(*mistakes)

    def version(self, opened: Opened) -> str:
        """Return what the type says in place of a version."""
        return self._facts.version(opened)

    def read(self, opened: Opened) -> Envelope:
        """Read the envelope; the file is the one document in it."""
        return self._facts.envelope(opened, [opened])

    def original(self, opened: Opened) -> bytes:
        """Return nothing: no such file is known to enclose another."""
        return b""

    def containers(self, opened: Opened) -> Sequence[Place]:
        """Return nothing: nobody looks inside."""
        return ()

    def part(self, opened: Opened, records: Collection[int]) -> bytes:
        """Return all of it: there is one document."""
        return opened.payload


@frozen
class Schema:
    """The rules of a type."""

    rules: Rules

    def valid(self, opened: Opened) -> bool:
        """Give the verdict."""
        return next(self.rules.faults(opened.payload), None) is None

    def warnings(self, opened: Opened) -> list[Finding]:
        """Return nothing: what isn't forbidden is as it should be."""
        return []


@frozen
class Opaque:
    """The format of a file that was agreed on to be of a *type*, under the *name* that it came with."""

    type: str = ""
    name: str = ""
    receipt_shape: ClassVar[str] = "json"

    def sniff(self, payload: bytes) -> bool:
        """Recognise nothing."""
        return False

    def open(self, payload: bytes) -> Opened:
        """Take it as it is. Raises Unreadable (SWX-1012) where it is empty."""
        if not payload:
            raise nothing_readable(payload)
        return Opened(self, payload, None)

    def key(self, opened: Opened) -> str:
        """Return the type that was agreed on."""
        return f"{FORMAT} {self.type}"

    def root_key(self, root: Root) -> str:
        """Return the same as a type's YAML spells it."""
        return f"{FORMAT} {root.name}"

    def probe(self, roots: Sequence[Root], places: Sequence[tuple[str, bool]]) -> Callable[[Opened], Sequence[str]]:
        """Compile places that tell types apart; see ``exchange.formats.Format``."""
        return probe(_compiled, lambda opened: opened, places)

    def reader(self, type: TypeFile, caseless: frozenset[str], answer: Callable[[str, str], Answer]) -> Reader:
        """Compile the paths of a type's YAML. Raises ValueError with those that are none."""
        return Reader(type, caseless, answer)

    def schema(self, file: Path, *, unsigned: bool) -> Schema:
        """Read the rules of a type. Raises ValueError."""
        return Schema(load(file))

    def explain(self, payload: bytes, file: Path, *, unsigned: bool, personal: frozenset[str]) -> list[Finding]:
        """List which rules a file breaks."""
        return [fault.finding(personal) for fault in load(file).faults(payload)]


def ending(name: str) -> str:
    """Return the ending of a file's name, by which agreements tell what it is.

    >>> ending("申请.PDF"), ending("none")
    ('.pdf', '')
    """
    return PurePath(name).suffix.lower()
