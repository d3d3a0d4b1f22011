"""The XML of an envelope as parts that know their place in the bytes: what is inside must come out as it stands.

One pass of expat, in pieces and bounded. The text of a *blob* (the payload, which may be large) is never gathered: it
is a slice of the bytes. A DOCTYPE ends the pass where it stands.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final
from xml.parsers import expat

from attrs import Factory, define, frozen

from exchange.errors import Unreadable
from exchange.formats.xml import Xml

LIMIT_PARTS: Final = 2_000  # an envelope has some twenty elements, its signature some twenty more
LIMIT_DEPTH: Final = 32
LIMIT_ATTRIBUTES: Final = 32  # on one element
LIMIT_TEXT: Final = 64 * 1024  # characters of all texts but the payload's
LIMIT_TAG: Final = 256 * 1024  # bytes of one tag or comment
CHUNK: Final = 64 * 1024

TOO_MUCH: Final = "too much"
_START_TAG: Final = re.compile(rb"<(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+>")
_DECLARED: Final = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)")
_DECLARATION: Final = re.compile(r"\ufeff?<\?xml[^>]*\?>")
_NATIVE: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_CODECS: Final = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030"}  # which extends them


@define
class Part:
    """One element: ``{namespace}name``, and where it stands in ``Parts.data``."""

    name: str
    prefix: str
    attributes: Mapping[str, str]
    start: int
    line: int
    end: int = -1  # -1: it was never closed
    inside: tuple[int, int] = (0, 0)  # from behind the start tag to before the end tag
    text: str = ""
    parts: list[Part] = Factory(list)
    declared: dict[str, str] = Factory(dict)  # prefix -> namespace
    used: set[str] = Factory(set)  # prefixes of its name and attributes

    @property
    def local(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition("}")[2]

    def find(self, *names: str) -> Part | None:
        """Return the first part at a path of local names."""
        if not names:
            return self
        return next((p.find(*names[1:]) for p in self.parts if p.local == names[0]), None)

    def say(self, *names: str) -> str:
        """Return the text at a path of local names, or an empty one."""
        part = self.find(*names)
        return part.text.strip() if part else ""


@frozen
class Parts:
    """What was read: the bytes that the places are in, and the root; *broken* tells why it ends early."""

    data: bytes  # as they came, or in UTF-8 where expat can't read their charset
    charset: str  # empty: as they came
    root: Part | None
    broken: str = ""

    def blob(self, part: Part) -> Iterator[bytes]:
        """Iterate over the text of a part that wasn't gathered; it is ``<`` where there are elements in it."""
        start, end = part.inside
        if self.data.find(b"<", start, end) >= 0 or self.data.find(b"&", start, end) >= 0:
            yield _plain(self.data[start:end])
            return
        for at in range(start, end, CHUNK):
            yield self.data[at : min(at + CHUNK, end)]

    def cut(self, part: Part) -> bytes:
        """Return a part as a document of its own: byte for byte, with the namespaces that it takes from around it."""
        assert self.root is not None  # noqa: S101
        missing = dict(_borrowed(part, _scope(self.root, part) or {}, frozenset()))
        bytes_ = self.data[part.start : part.end]
        if missing:
            name_end = re.compile(rb"<[^\s/>]+").match(bytes_)
            at = name_end.end() if name_end else 0
            extra = "".join(f' xmlns{":" if p else ""}{p}="{_escaped(uri)}"' for p, uri in sorted(missing.items()))
            bytes_ = bytes_[:at] + extra.encode() + bytes_[at:]
        if not self.charset:
            return bytes_
        declared = f'<?xml version="1.0" encoding="{self.charset}"?>\n'
        return declared.encode() + bytes_.decode().encode(_codec(self.charset))


def _escaped(uri: str) -> str:
    return uri.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _scope(here: Part, wanted: Part) -> dict[str, str] | None:
    """Return the namespaces that are declared around a part."""
    for part in here.parts:
        if part is wanted:
            return dict(here.declared)
        if (found := _scope(part, wanted)) is not None:
            return {**here.declared, **found}
    return None


def _borrowed(part: Part, around: Mapping[str, str], own: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Iterate over the prefixes that are used inside a part and declared outside only."""
    own |= part.declared.keys()
    yield from ((prefix, around[prefix]) for prefix in part.used - own if around.get(prefix))
    for inner in part.parts:
        yield from _borrowed(inner, around, own)


def _codec(charset: str) -> str:
    return _CODECS.get(charset.lower(), charset)


def _recoded(payload: bytes) -> tuple[bytes, str]:
    """Return bytes that expat can read, and the charset they were in where that is another."""
    if payload[:2] in (b"\xff\xfe", b"\xfe\xff"):
        charset = "UTF-16"
    else:
        found = _DECLARED.match(payload)
        charset = found[1].decode() if found else "UTF-8"
        if charset.lower() in _NATIVE:
            return payload, ""
    try:
        codecs.lookup(_codec(charset))
        text = payload.decode(_codec(charset))
    except (LookupError, UnicodeError):
        return payload, ""  # expat, and then libxml2, say what is wrong
    return _DECLARATION.sub("", text, count=1).encode(), charset


class _Stop(Exception):
    """Nothing more is read; the text says why."""


class _Reading:
    """Builds the parts as expat tells of them."""

    def __init__(self, data: bytes, blobs: Collection[str]) -> None:
        self._data, self._blobs = data, blobs
        self.root: Part | None = None
        self._open: list[Part] = []
        self._declared: dict[str, str] = {}
        self._count = self._texts = 0
        parser = self._parser = expat.ParserCreate(namespace_separator="}")
        parser.namespace_prefixes = True
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        parser.StartNamespaceDeclHandler = self._declare
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype

    def run(self) -> str:
        """Read everything; return why it ended early, or nothing."""
        try:
            for at in range(0, len(self._data), CHUNK):
                self._parser.Parse(self._data[at : at + CHUNK], False)
                if at - self._parser.CurrentByteIndex > LIMIT_TAG and not self._in_blob:
                    return TOO_MUCH
            self._parser.Parse(b"", True)
        except (_Stop, expat.ExpatError) as why:
            return str(why)
        except (ValueError, LookupError) as why:  # a charset of several bytes, or of nobody
            return f"charset: {why}"
        return ""

    @property
    def _in_blob(self) -> bool:
        return bool(self._open) and self._open[-1].local in self._blobs

    def _declare(self, prefix: str | None, uri: str | None) -> None:
        self._declared[prefix or ""] = uri or ""

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > LIMIT_PARTS or len(self._open) > LIMIT_DEPTH or len(attributes) > LIMIT_ATTRIBUTES:
            raise _Stop(TOO_MUCH)
        plain, prefix = _named(name)
        at = self._parser.CurrentByteIndex
        named = {_named(key): value for key, value in attributes.items()}
        part = Part(
            plain, prefix, {key: value for (key, _), value in named.items()}, at, self._parser.CurrentLineNumber
        )
        part.declared, self._declared = self._declared, {}
        part.used = {prefix, *(p for _, p in named if p)}
        tag = _START_TAG.match(self._data, at)
        behind = tag.end() if tag else at
        part.inside = behind, behind
        if self._open:
            self._open[-1].parts.append(part)
        else:
            self.root = part
        self._open.append(part)
        if self._in_blob:
            self._parser.CharacterDataHandler = None

    def _end(self, name: str) -> None:
        part = self._open.pop()
        at = self._parser.CurrentByteIndex
        if self._data.startswith(b"</", at) and at >= part.inside[0]:
            part.inside = part.inside[0], at
            part.end = self._data.index(b">", at) + 1
        else:  # <Data/>
            part.end = part.inside[0]
        self._parser.CharacterDataHandler = None if self._in_blob else self._text

    def _text(self, text: str) -> None:
        self._texts += len(text)
        if self._texts > LIMIT_TEXT:
            raise _Stop(TOO_MUCH)
        if self._open:
            self._open[-1].text += text

    def _doctype(self, *_: object) -> None:
        raise _Stop("doctype")


def _named(name: str) -> tuple[str, str]:
    """Return ``{namespace}name`` and the prefix of a name as expat spells it: ``namespace}name}prefix``."""
    parts = name.split("}")
    if len(parts) == 1:
        return name, ""
    return "{" + parts[0] + "}" + parts[1], parts[2] if len(parts) > 2 else ""


def read(payload: bytes, blobs: Collection[str]) -> Parts:
    """Read an envelope as far as it can be read; texts of the elements named in *blobs* aren't gathered."""
    data, charset = _recoded(payload)
    reading = _Reading(data, blobs)
    broken = reading.run()
    return Parts(data, charset, reading.root, broken)


def read_whole(payload: bytes, blobs: Collection[str]) -> tuple[Parts, Part]:
    """Read an envelope and its root. Raises Unreadable (SWX-1011 to SWX-1015), as for any XML."""
    parts = read(payload, blobs)
    if parts.root is not None and not parts.broken:
        return parts, parts.root
    if parts.broken == TOO_MUCH:
        raise Unreadable(
            "the envelope goes beyond what is accepted: it has too many or too long elements; send simpler ones",
            "信封超出限制：元素过多或过长；请简化后重新发送",
            code="SWX-1015",
        )
    Xml().open(payload)  # says better what is wrong
    raise Unreadable(
        f"the envelope can't be read: {parts.broken}; check it and send it again",
        f"信封无法读取（{parts.broken}）：请检查后重新发送",
        code="SWX-1011",
    )


def _plain(text: bytes) -> bytes:
    """Return what character data says that isn't plain: CDATA, references, remarks."""
    found: list[str] = []
    elements: list[str] = []
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.CharacterDataHandler = found.append
    parser.StartElementHandler = lambda name, attributes: elements.append(name)
    try:
        parser.Parse(b"<Data>", False)
        parser.Parse(text, False)
        parser.Parse(b"</Data>", True)
    except expat.ExpatError:
        elements.clear()
    return "".join(found).encode() if len(elements) == 1 else b"<"  # which is no base64
