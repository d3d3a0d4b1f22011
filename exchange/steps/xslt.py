"""Transformations written in XSLT 1.0, for what a map can't say.

    steps:
      - {name: to-partner, kind: xslt, version: "2", stylesheet: steps/order.xsl, with: {partner: EX01}}

A stylesheet may compute and nothing else: it reads no file and no network (``document()`` gives nothing), writes none,
includes no other one, and calls no function that isn't XSLT's or XPath's own. All of that is refused when it is read,
and again by libxslt when it runs. It gets the parameters ``id`` (the sender's id of the message), ``message`` (the
switch's), ``at``, ``receiver`` and ``type``, and what ``with`` says. ``xsl:message terminate="yes"`` rejects a message
in the stylesheet's own words.

It runs in the worker process, whose deadline bounds its time. Here its depth is bounded (libxslt's own limit), the
size of what it makes, and the memory that it takes for that on the way: where libxslt goes on without memory, until
the deadline ends it.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from lxml import etree
from pydantic import Field

from exchange.errors import Rejected
from exchange.formats import Text
from exchange.formats._xml_parse import parse
from exchange.model import Parcel
from exchange.options import Strict
from exchange.steps import About, Step

LIMIT_STYLESHEET: Final = 1024 * 1024  # bytes
LIMIT_RESULT: Final = 64 * 1024 * 1024  # bytes
LIMIT_MEMORY: Final = 512 * 1024 * 1024  # bytes more than the process has when a transformation begins
NEAR: Final = 64 * 1024 * 1024  # bytes: who came so near to the bound failed for want of memory
SHOWN: Final = 200  # characters of what libxslt says
XSL: Final = "{http://www.w3.org/1999/XSL/Transform}"
FACTS: Final = ("id", "message", "at", "receiver", "type")
TAKEN: Final = "profile_run"  # by lxml

_ELSEWHERE: Final = ("import", "include", "document")
_EXPRESSIONS: Final = ("select", "match", "test", "use", "count", "from", "value")
_EXTENSIONS: Final = ("extension-element-prefixes", f"{XSL}extension-element-prefixes")
_FUNCTIONS: Final = {  # of XPath 1.0 and XSLT 1.0 but for document, and what else stands before a bracket
    "last", "position", "count", "id", "local-name", "namespace-uri", "name", "string", "concat", "starts-with",
    "contains", "substring-before", "substring-after", "substring", "string-length", "normalize-space", "translate",
    "boolean", "not", "true", "false", "lang", "number", "sum", "floor", "ceiling", "round", "key", "format-number",
    "current", "unparsed-entity-uri", "generate-id", "system-property", "element-available", "function-available",
    "text", "node", "comment", "processing-instruction", "and", "or", "div", "mod",
}  # fmt: skip
_FOREIGN: Final = (  # namespaces of the functions that libxslt has besides
    "http://exslt.org/", "http://xmlsoft.org/XSLT/", "http://icl.com/saxon", "http://www.jclark.com/xt", "org.apache.",
)  # fmt: skip
_LITERAL: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_AVT: Final = re.compile(r"\{([^{}]*)\}")
_CALL: Final = re.compile(r"([\w.-]+(?::[\w.-]+)?)\s*\(")
_EMPTY: Final = ("unknown error", "runtime error")  # what libxslt says besides what it means
_MEMORY: Final = re.compile(r"memory|alloc|copy \S+ failed", re.IGNORECASE)
_Control: Any = etree.XSLTAccessControl
_NOTHING: Final = _Control(read_file=False, write_file=False, create_dir=False, read_network=False, write_network=False)
_NAME: Final = re.compile(r"[^\W\d][\w.-]*")


class XsltOptions(Strict):
    """What a route says about a stylesheet."""

    stylesheet: Text
    values: dict[Text, str] = Field(default_factory=dict, alias="with")
    type: str = ""  # what the result is, for those who are told


class Xslt(Step):
    """A stylesheet in a route."""

    Options: ClassVar[type[Strict]] = XsltOptions

    def __init__(self, options: XsltOptions, folder: Path) -> None:
        """Read and compile the stylesheet. Raises ValueError with every mistake and its line."""
        self._file = folder / options.stylesheet
        tree = _read(self._file)
        problems = [f"{self._file}:{line}: {text}" for line, text in _mistakes(tree)]
        problems += [f"with: {name!r} is no name of ours to give" for name in options.values if not _free(name)]
        if problems:
            raise ValueError("\n".join(problems))
        try:
            self._transform = etree.XSLT(tree, access_control=_NOTHING, regexp=False)
        except etree.LxmlError as why:
            raise ValueError(_told(self._file, why)) from None
        self._values: dict[str, Any] = {name: etree.XSLT.strparam(value) for name, value in options.values.items()}
        self._type = options.type

    def slow(self, size: int) -> bool:
        """Tell that it always is: nobody knows what a stylesheet does."""
        return True

    def apply(self, parcel: Parcel, about: About) -> Parcel:
        """Return what the stylesheet makes of a parcel. Raises Rejected."""
        root = parse(parcel.read())
        facts = {**about.facts, "type": about.type.name}
        said: dict[str, Any] = {name: etree.XSLT.strparam(text) for name, text in facts.items()}
        bound = _size() + LIMIT_MEMORY
        try:
            with _bounded(bound):
                payload = bytes(self._transform(root, **self._values | said))
        except MemoryError:
            raise _too_large() from None
        except etree.LxmlError as why:
            raise (_too_large() if _starved(why, bound) else self._failed(why)) from None
        if len(payload) > LIMIT_RESULT:
            raise _too_large()
        if not payload.strip():
            raise self._failed(None)
        headers = {**parcel.headers, "type": self._type} if self._type else parcel.headers
        return Parcel(parcel.name, payload, headers)

    def _failed(self, why: etree.LxmlError | None) -> Rejected:
        text = _told(self._file, why) if why is not None else f"{self._file.name}: the result is empty"
        return Rejected(
            f"the stylesheet makes nothing of this message: {text}",
            f"样式表无法转换本报文：{text}",
            code="SWX-1093",
        )


def _free(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and name not in (*FACTS, TAKEN)


def _read(file: Path) -> etree._ElementTree:
    try:
        payload = file.read_bytes()
        if len(payload) > LIMIT_STYLESHEET:
            raise ValueError(f"{file}: over {LIMIT_STYLESHEET} bytes")
        return parse(payload).getroottree()
    except (OSError, Rejected) as why:
        raise ValueError(f"{file}: {why}") from None


def _mistakes(tree: etree._ElementTree) -> Iterator[tuple[int, str]]:
    """Yield what a stylesheet may not do, by line."""
    root = tree.getroot()
    if root.tag not in (f"{XSL}stylesheet", f"{XSL}transform"):
        yield 1, "this is no XSLT stylesheet"
    for element in root.iter("*"):
        line: Any = element.sourceline
        yield from ((line, told) for told in _told_of(element))


def _told_of(element: etree._Element) -> Iterator[str]:
    """Yield what one element may not do."""
    name, parent = str(element.tag), element.getparent()
    declared = set(element.nsmap.values()) - set(parent.nsmap.values() if parent is not None else ())
    if any(uri.startswith(_FOREIGN) for uri in declared):
        yield "a namespace of extension functions isn't allowed"
    if name.startswith(XSL) and name.removeprefix(XSL) in _ELSEWHERE:
        yield f"xsl:{name.removeprefix(XSL)} isn't allowed: everything stands in one file"
    for attribute, text in element.items():
        if str(attribute) in _EXTENSIONS:
            yield "extension elements aren't allowed"
        for expression in _expressions(name, str(attribute), str(text)):
            yield from _faults(expression, element)


def _expressions(element: str, attribute: str, text: str) -> list[str]:
    """Return the XPath expressions in an attribute."""
    if element.startswith(XSL) and attribute in _EXPRESSIONS:
        return [text]
    return _AVT.findall(text)


def _faults(expression: str, element: etree._Element) -> Iterator[str]:
    for name in _CALL.findall(_LITERAL.sub("''", expression)):
        if name not in _FUNCTIONS:
            yield f"the function {name!r} isn't allowed, or there is none"
    spaces = {prefix: uri for prefix, uri in element.nsmap.items() if prefix}
    try:
        etree.XPath(expression, namespaces=spaces)
    except etree.XPathSyntaxError as why:
        yield f"{expression!r}: {why}"


@contextmanager
def _bounded(most: int) -> Iterator[None]:
    """Let the process take no more memory than so much; what it was allowed before, it is allowed after."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    if before[0] == resource.RLIM_INFINITY or most < before[0]:
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _size(which: str = "VmSize") -> int:
    """Return the address space that the process uses, or used at most, in bytes."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(which))


def _starved(why: etree.LxmlError, bound: int) -> bool:
    """Tell whether a transformation failed for want of memory: libxslt seldom says so, and then nothing else."""
    _, told = _messages(why)
    return bool(_MEMORY.search(" ".join(told))) or (not told and _size("VmPeak") > bound - NEAR)


def _told(file: Path, why: etree.LxmlError) -> str:
    """Return what libxslt says, and the line of the stylesheet that it says it of."""
    line, told = _messages(why)
    text = " ".join("; ".join(told or [str(why)]).split())[:SHOWN]
    return f"{file.name}:{line}: {text}" if line else f"{file.name}: {text}"


def _messages(why: etree.LxmlError) -> tuple[int, list[str]]:
    log: Any = why.error_log
    entries = list(log)
    line = next((entry.line for entry in entries if entry.line > 0), 0)
    return line, list(dict.fromkeys(entry.message for entry in entries if not entry.message.startswith(_EMPTY)))


def _too_large() -> Rejected:
    return Rejected(
        f"the stylesheet makes more than {LIMIT_RESULT} bytes of this message, or takes too much memory for it",
        f"样式表的转换结果超过 {LIMIT_RESULT} 字节，或占用内存过多",
        code="SWX-1092",
    )
