"""Compiled XSDs: libxml2's verdict on a tree that was parsed already.

An XSD without a target namespace takes on that of the message it judges, as XSD itself has it for files that are
included: one file serves message types that differ in their namespace alone, and messages without one.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

from attrs import field, frozen
from lxml import etree

from exchange.formats import Opened, Schema
from exchange.formats._xml_stream import errors
from exchange.model import Finding

XSD: Final = "{http://www.w3.org/2001/XMLSchema}"


def local(tag: str) -> str:
    """Return a qualified name without its namespace.

    >>> local("{urn:x}Head"), local("Head")
    ('Head', 'Head')
    """
    return tag.rpartition("}")[2]


def compiled(file: Path, *, unsigned: bool) -> Schema:
    """Compile an XSD; *unsigned* lets the signature that it requires be absent. Raises ValueError."""
    try:
        tree = schema_tree(file, unsigned=unsigned)
        plain = etree.XMLSchema(tree)
    except (etree.LxmlError, OSError) as error:
        raise ValueError(str(error)) from None
    return Adapting(file, declared(tree), {"": plain}) if adapts(tree) else Fixed(plain)


@frozen
class Fixed:
    """An XSD with namespaces of its own."""

    compiled: etree.XMLSchema

    def valid(self, opened: Opened) -> bool:
        """Give libxml2's verdict."""
        if opened.streamed:
            return next(errors(opened.tree, self.compiled), None) is None
        return bool(self.compiled.validate(opened.tree))

    def warnings(self, opened: Opened) -> list[Finding]:
        """Return nothing: what isn't forbidden is as it should be."""
        return []


@frozen
class Adapting:
    """An XSD without a target namespace; it is compiled once for each in which messages come.

    These are few: a message is only judged once its type has been told by the namespaces that the type's YAML lists.
    """

    file: Path
    roots: frozenset[str]
    _known: dict[str, etree.XMLSchema] = field(repr=False)

    def valid(self, opened: Opened) -> bool:
        """Give libxml2's verdict on the root, or on what it wraps."""
        if opened.streamed:
            return next(errors(opened.tree, self._for(opened.tree.tag)), None) is None
        element = judged(opened.tree, self.roots)
        return bool(self._for(str(element.tag)).validate(element))

    def _for(self, tag: str) -> etree.XMLSchema:
        namespace = etree.QName(tag).namespace or ""
        known = self._known.get(namespace)
        if known is None:
            known = self._known[namespace] = etree.XMLSchema(adapted(self.file, namespace))
        return known

    def warnings(self, opened: Opened) -> list[Finding]:
        """Return nothing: what isn't forbidden is as it should be."""
        return []


def schema_tree(file: Path, *, unsigned: bool, namespace: str = "") -> etree._ElementTree:
    """Read an XSD; *unsigned* makes its particle of ds:Signature optional. Raises ValueError if it has none.

    One without a target namespace takes on *namespace*.
    """
    tree = etree.parse(file)
    if namespace and adapts(tree):
        return adapted(file, namespace)
    if unsigned:
        particles = [p for p in tree.iter(f"{XSD}element") if p.get("ref", "").rpartition(":")[2] == "Signature"]
        if not particles:
            raise ValueError(f"{file.name} has no ds:Signature of its own that could be left out")
        for particle in particles:
            particle.set("minOccurs", "0")
    return tree


def adapts(tree: etree._ElementTree) -> bool:
    """Tell whether an XSD takes on a namespace: it has none, and isn't just a list of what to import."""
    return tree.getroot().get("targetNamespace") is None and bool(declared(tree))


def adapted(file: Path, namespace: str) -> etree._ElementTree:
    """Return an XSD that includes *file* into a namespace."""
    text = (
        f'<xs:schema xmlns:xs="{XSD[1:-1]}" targetNamespace={quoteattr(namespace)} elementFormDefault="qualified">'
        f"<xs:include schemaLocation={quoteattr(file.as_uri())}/></xs:schema>"
    )
    return etree.fromstring(text, base_url=file.parent.as_uri() + "/").getroottree()


def declared(tree: etree._ElementTree) -> frozenset[str]:
    """Return the names of the elements that messages may begin with."""
    return frozenset(node.get("name", "") for node in tree.getroot().iterchildren(f"{XSD}element"))


def judged(root: etree._Element, names: frozenset[str]) -> etree._Element:
    """Return the element that a schema which declares *names* judges: the root, or the one such in a wrapper.

    Where a wrapper has several, the root stays, which no schema allows: another one might be read than is judged.
    """
    if not names or local(str(root.tag)) in names:
        return root
    inside = list(islice(root.iter(*(f"{{*}}{name}" for name in names)), 2))
    return inside[0] if len(inside) == 1 else root
