"""The paths of a type's YAML, read from whatever a format opens its messages as.

Written once for the formats that have no faster way of their own. What a single path looks like is theirs to say;
here several may be joined: ``a + b`` is what stands at both, with ``/`` between, or nothing where one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from sys import getsizeof
from typing import Any, Final

from exchange.errors import Unreadable
from exchange.formats import LIMIT_DOCUMENTS, Opened, TypeFile, too_many_documents
from exchange.model import Answer, Document, Envelope

LIMIT_TOLD: Final = 64 * 1024 * 1024  # bytes that keys and fields of all documents take in memory

Look = Callable[[Any], list[str]]  # a compiled path: the texts that stand there, none of them empty


class Facts:
    """Reads the envelope of one type."""

    def __init__(
        self,
        type: TypeFile,
        caseless: frozenset[str],
        answer: Callable[[str, str], Answer],
        compile: Callable[[str], Look],
    ) -> None:
        """Compile every path; raises ValueError whose arguments are those that *compile* raised ValueError for."""
        documents, answers = type.documents, type.answers
        self._name, self._answer, self._compile = type.name, answer, compile
        self._mistakes: list[str] = []
        self._version, self._own_id = self._either(type.version.path), self._paths(type.own_id)
        self._sender, self._receivers = self._paths(type.sender), self._paths(type.receivers)
        self._fields = {name: self._paths(path) for name, path in type.fields.items()}
        self._keys = [
            (name, [look for path in paths for look in self._paths(path)], name in caseless)
            for name, paths in documents.keys.items()
        ]
        self._each = {name: self._paths(path) for name, path in documents.fields.items()}
        self._code = self._either(answers.code if answers else ())
        self._text = self._either(answers.text if answers else ())
        self._original = self._paths(answers.original if answers else "")
        if self._mistakes:
            raise ValueError(*self._mistakes)

    def version(self, whole: Any) -> str:
        """Return the version that a message claims, or an empty text."""
        return _first(self._version, whole)

    def original(self, row: Any) -> str:
        """Return the message that a receipt encloses, or nothing."""
        return _joined(self._original, row)

    def envelope(self, whole: Any, rows: Iterable[Any]) -> Envelope:
        """Read the envelope of a message, which is *whole*, and its documents, the *rows*. Raises Unreadable."""
        documents: list[Document] = []
        held = 0
        answers: list[Answer] = []
        distinct: dict[str, dict[str, None]] = {name: {} for name in self._each}
        for row in rows:  # once: each may have to be read for it
            if len(documents) == LIMIT_DOCUMENTS:
                raise too_many_documents()
            documents.append(Document(keys := self._keys_of(row)))
            held += sum(map(getsizeof, keys.values()))
            if self._code:
                answers.append(self._answer(_first(self._code, row), _first(self._text, row)))
            for name, looks in self._each.items():
                if (text := _joined(looks, row)) not in distinct[name]:
                    distinct[name][text] = None
                    held += getsizeof(text)
            if held > LIMIT_TOLD:
                raise _told_too_much()
        fields: dict[str, tuple[str, ...]] = {name: (_joined(looks, whole),) for name, looks in self._fields.items()}
        fields |= {name: tuple(texts) for name, texts in distinct.items()}
        return Envelope(
            type=self._name,
            version=_first(self._version, whole),
            own_id=_joined(self._own_id, whole),
            sender=_joined(self._sender, whole),
            receivers=tuple(dict.fromkeys(text for look in self._receivers for text in look(whole))),
            documents=tuple(documents),
            answers=tuple(answers),
            fields={name: found for name, texts in fields.items() if (found := tuple(filter(None, texts)))},
        )

    def _either(self, texts: Sequence[str]) -> list[list[Look]]:
        return [self._paths(text) for text in texts]

    def _paths(self, text: str) -> list[Look]:
        try:
            return [self._compile(path.strip()) for path in text.split(" + ")] if text else []
        except ValueError:
            self._mistakes.append(text)
            return []

    def _keys_of(self, row: Any) -> dict[str, str]:
        found = ((name, _joined(looks, row), caseless) for name, looks, caseless in self._keys)
        return {name: value.upper() if caseless else value for name, value, caseless in found if value}


def _told_too_much() -> Unreadable:
    return Unreadable(
        f"keys and fields of the documents take more than {LIMIT_TOLD} bytes: send them in several messages",
        f"各单证的关键字段总量超过 {LIMIT_TOLD} 字节：请分成多个报文发送",
        code="SWX-1015",
    )


def _joined(looks: Sequence[Look], source: Any) -> str:
    parts = [next(iter(look(source)), "") for look in looks]
    return "/".join(parts) if all(parts) else ""


def _first(either: Sequence[Sequence[Look]], source: Any) -> str:
    """Return the first of several places that says something."""
    return next(filter(None, (_joined(looks, source) for looks in either)), "")


def probe(
    compile: Callable[[str], Look], whole: Callable[[Opened], Any], places: Sequence[tuple[str, bool]]
) -> Callable[[Opened], Sequence[str]]:
    """Compile places that tell types apart; see ``exchange.formats.Format``."""
    looks = [(compile(path), presence) for path, presence in places]

    def read(opened: Opened) -> Sequence[str]:
        source = whole(opened)
        texts = [(next(iter(look(source)), ""), presence) for look, presence in looks]
        return ["*" if presence and text else text for text, presence in texts]

    return read
