"""The canonical form that is digested and signed: inclusive C14N 1.0 without comments, made by libxml2.

It has one spelling only, and ``<`` occurs in it in tags alone, so parts of it can be cut out as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lxml import etree

from exchange.errors import Unreadable
from exchange.signing.faults import bad

URI: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"

_XML: Final = "{http://www.w3.org/XML/1998/namespace}"
_PARSER: Final = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"})


def parsed(document: bytes | etree._Element) -> etree._Element:
    """Return the root of a document, which may be parsed already. Raises Unreadable."""
    if not isinstance(document, bytes):
        return document
    try:
        return etree.fromstring(document, _PARSER)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"not well-formed XML: {error}", f"不是格式良好的 XML：{error}") from error


def qname(element: etree._Element) -> str:
    """Return an element's name as it is written."""
    local = element.tag.rpartition("}")[2]
    return f"{element.prefix}:{local}" if element.prefix else local


def canonical(root: etree._Element, code: str) -> bytes:
    """Return the canonical form of the whole document that *root* is the root of.

    Raises BadSignature with *code* where the document holds what a signature doesn't cover (comments inside the
    root), what not everybody reads alike (DOCTYPE, processing instructions), or a relative namespace name.
    """
    tree = root.getroottree()
    info: Any = tree.docinfo
    if info.doctype:
        raise bad(code, "a DOCTYPE isn't allowed", "不允许 DOCTYPE")
    if next(root.iter(etree.Comment, etree.ProcessingInstruction), None) is not None:
        raise bad(code, "comments and processing instructions aren't allowed in it", "其中不允许注释和处理指令")
    try:
        form = etree.tostring(tree, method="c14n", with_comments=False)  # lxml's default is with comments
    except etree.C14NError as error:
        raise bad(code, "it has a relative namespace name", "含有相对的命名空间名") from error
    if form.startswith(b"<?") or form.endswith(b"?>"):
        raise bad(code, "processing instructions around the root aren't allowed", "根元素前后不允许处理指令")
    return form


def apex(root: etree._Element, scope: Mapping[str | None, str]) -> bytes:
    """Return what the canonical form of a part writes into its first tag, because it is in scope there.

    *scope* is the namespaces where the part stands; its ancestors below *root* must have no ``xml:`` attributes. The
    rules are C14N 1.0, sections 2.3 and 2.4; namespace names stay unescaped, as libxml2 writes them.
    """
    names = sorted((f"xmlns:{prefix}" if prefix else "xmlns", uri) for prefix, uri in scope.items() if uri)
    attributes: Any = root.attrib
    inherited = sorted(
        (f"xml:{name.removeprefix(_XML)}", value.translate(_ESCAPES))
        for name, value in attributes.items()
        if name.startswith(_XML)
    )
    return "".join([f' {name}="{value}"' for name, value in names + inherited]).encode()
