"""XML in maps: ``a/b/c``, ``a/@b``, ``.``; a loop is the path of an element.

A source is read by names alone, in whatever namespace; a target is written in its root's, and its elements stand in
the order in which rows first name them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from lxml import etree

from exchange.formats import Opened
from exchange.formats._xml_schema import local
from exchange.formats.xml import Xml
from exchange.instants import Instant
from exchange.steps._map_file import TargetRow
from exchange.steps._map_sides import SELF, Base, Enter, Keep, Look, Loop, Put, Turn, keep, same
from exchange.steps._map_values import Value
from exchange.steps._map_xsd import Xsd

_NAME: Final = r"[^\W\d][\w.-]*"
_PATH: Final = re.compile(rf"(?P<steps>{_NAME}(?:/{_NAME})*)?(?:(?(steps)/)@(?P<attribute>{_NAME}))?")
_string: Callable[[etree._Element], str] = etree.XPath("string()", smart_strings=False)  # type: ignore[assignment]


def _split(path: str) -> tuple[list[str], str]:
    """Split a path into elements and an attribute. Raises ValueError."""
    found = _PATH.fullmatch(path)
    if found is None or not path:
        raise ValueError(path)
    return found["steps"].split("/") if found["steps"] else [], found["attribute"] or ""


def _whole(base: Base, names: Sequence[str], attribute: str) -> tuple[str, ...]:
    """Return all names from the root to a place."""
    around = [name for path in base for name in path.split("/")]
    return (*around, *names, *([f"@{attribute}"] if attribute else []))


# -- reading -----------------------------------------------------------------------------------------------------


class FromXml:
    """An XML message; with *root*, what stands in a wrapper under that name."""

    def __init__(self, root: str, file: Path) -> None:
        self.format, self._root, self._xsd = Xml(), root, Xsd(file, root)

    def root(self, opened: Opened) -> Any:
        """Return the root, or the element of that name within."""
        tree: etree._Element = opened.tree
        if local(str(tree.tag)) == self._root:
            return tree
        return next(tree.iter(f"{{*}}{self._root}"), tree)

    def look(self, path: str, base: Base) -> Look:
        """Compile a path."""
        if path == SELF:
            return _text
        elements, attribute = self._checked(path, base)
        return partial(_attribute, _found(elements), attribute) if attribute else partial(_element, _found(elements))

    def loop(self, path: str, base: Base) -> Loop:
        """Compile a loop."""
        elements, attribute = self._checked(path, base)
        if attribute:
            raise ValueError(path)
        steps = _found(elements)
        return lambda element: element.iterfind(steps)

    def pointer(self, place: Any, turns: Sequence[Turn], path: str) -> tuple[str, int | None]:
        """Point by names and numbers."""
        where = "".join(f"/{loop}[{turn}]" for loop, turn in turns)
        root = local(str(place.getroottree().getroot().tag))
        return f"/{root}{where}/{path}".removesuffix("/"), place.sourceline

    def _checked(self, path: str, base: Base) -> tuple[list[str], str]:
        names, attribute = _split(path)
        if not self._xsd.knows(_whole(base, names, attribute)):
            raise ValueError(path)
        return names, attribute


def _found(elements: Sequence[str]) -> str:
    """Spell a path as lxml does."""
    return "/".join(f"{{*}}{name}" for name in elements)


def _text(element: etree._Element) -> str:
    text = _string(element) if len(element) else element.text
    return text.strip() if text else ""


def _element(steps: str, place: etree._Element) -> str:
    return next(filter(None, map(_text, place.iterfind(steps))), "")


def _attribute(steps: str, name: str, place: etree._Element) -> str:
    elements = place.iterfind(steps) if steps else iter((place,))
    return next(filter(None, ((element.get(name) or "").strip() for element in elements)), "")


# -- writing -----------------------------------------------------------------------------------------------------


class ToXml:
    """An XML message."""

    def __init__(self, row: TargetRow, file: Path) -> None:
        if row.root is None:
            raise ValueError("XML needs 'root': {name, namespace, prefix}")
        self._root, self._space = row.root, f"{{{row.root.namespace}}}" if row.root.namespace else ""
        self.format, self._xsd = Xml(), Xsd(file, row.root.name)
        self._used: set[tuple[str, ...]] = set()

    def root(self) -> etree._Element:
        """Return the root."""
        spaces: Any = {self._root.prefix or None: self._root.namespace} if self._space else None
        return etree.Element(self._space + self._root.name, nsmap=spaces)

    def put(self, path: str, base: Base) -> Put:
        """Compile a path."""
        steps, attribute = self._compiled(path, base)
        return partial(_set, steps, attribute)

    def add(self, path: str, base: Base) -> Put:
        """Compile the path of an element that may be there already."""
        steps, attribute = self._compiled(path, base)
        if attribute:
            raise ValueError(path)

        def add(here: etree._Element, value: Value) -> None:
            etree.SubElement(_made(here, steps[:-1]), steps[-1]).text = str(value)

        return add

    def enter(self, path: str, base: Base, loop: bool) -> tuple[Enter, Keep]:
        """Write an element of its own, which is kept where anything was written into it."""
        if not path:
            return same, keep
        steps, attribute = self._compiled(path, base)
        if attribute:
            raise ValueError(path)

        def attach(around: etree._Element, inner: etree._Element) -> None:
            if len(inner) or inner.text or inner.attrib:
                _made(around, steps[:-1]).append(inner)

        return (lambda here, turn: here.makeelement(steps[-1], nsmap=here.nsmap)), attach

    def missing(self) -> list[str]:
        """List required elements and attributes of all elements that are written."""
        return self._xsd.missing(self._used)

    def write(self, root: Any, id: tuple[int, int], at: Instant) -> bytes:
        """Return XML in UTF-8."""
        written: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
        return written

    def _compiled(self, path: str, base: Base) -> tuple[list[str], str]:
        names, attribute = _split(path)
        whole = _whole(base, names, attribute)
        if not self._xsd.knows(whole):
            raise ValueError(path)
        self._used.add(whole)
        return [self._space + name for name in names], attribute


def _made(here: etree._Element, steps: list[str]) -> etree._Element:
    for step in steps:
        last = here[-1] if len(here) else None
        if last is None or last.tag != step:
            last = next(here.iterchildren(step, reversed=True), None)
        here = last if last is not None else etree.SubElement(here, step)
    return here


def _set(steps: list[str], attribute: str, here: etree._Element, value: Value) -> None:
    text = str(value)
    element = _made(here, steps)
    if attribute:
        if element.get(attribute) is None:
            element.set(attribute, text)
    elif element.text is None:
        element.text = text
