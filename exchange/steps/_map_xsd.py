"""What an XSD says about the places of a map: which there are, and which must be filled in.

Only what maps need: names, occurrences and types, in the file and those it includes. Whether a value is right is for
the compiled schema to say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen
from lxml import etree

from exchange.formats._xml_schema import XSD, local

ANY: Final = "*"
SIGNATURE: Final = "Signature"  # put in later, by those who sign
_GROUPS: Final = (f"{XSD}sequence", f"{XSD}all", f"{XSD}choice")
_BASES: Final = (f"{XSD}complexContent", f"{XSD}simpleContent", f"{XSD}extension", f"{XSD}restriction")


@frozen
class _Part:
    """A child or an attribute (with @) of an element."""

    required: bool
    node: etree._Element


Parts = Mapping[str, _Part]


class Xsd:
    """The elements of one root."""

    def __init__(self, file: Path, root: str) -> None:
        self._named: dict[tuple[str, str], etree._Element] = {}
        self._read(file, set())
        found = self._named.get((f"{XSD}element", root))
        if found is None:
            raise ValueError(f"{file.name} has no element {root!r}")
        self._root = found
        self._known: dict[tuple[str, ...], Parts] = {}

    def knows(self, path: Sequence[str]) -> bool:
        """Tell whether there can be something at a path of names; the last may be an attribute, with @."""
        for depth, name in enumerate(path):
            parts = self._parts(tuple(path[:depth]))
            if ANY in parts:
                return True
            if name not in parts:
                return False
        return True

    def missing(self, used: Collection[tuple[str, ...]]) -> list[str]:
        """List what is required in elements that are written, and isn't."""
        filled = {path[:depth] for path in used for depth in range(len(path) + 1)}
        written = {path[:depth] for path in used for depth in range(len(path))}
        found = (
            (*path, name)
            for path in written
            for name, part in self._parts(path).items()
            if part.required and name not in (ANY, SIGNATURE)
        )
        return sorted("/".join(path) for path in found if path not in filled)

    def _read(self, file: Path, seen: set[Path]) -> None:
        if file in seen:
            return
        seen.add(file)
        try:
            root = etree.parse(file).getroot()
        except (etree.LxmlError, OSError) as why:
            raise ValueError(f"{file.name}: {why}") from None
        for node in root.iterchildren(f"{XSD}*"):
            if node.tag == f"{XSD}include":
                self._read(file.parent / node.get("schemaLocation", ""), seen)
            self._named.setdefault((str(node.tag), node.get("name", "")), node)

    def _parts(self, path: tuple[str, ...]) -> Parts:
        known = self._known.get(path)
        if known is None:
            node = self._root if not path else self._parts(path[:-1])[path[-1]].node
            known = self._known[path] = dict(self._inside(self._type(node), True))
        return known

    def _type(self, element: etree._Element) -> etree._Element | None:
        """Return the complex type of an element."""
        if ref := element.get("ref"):
            found = self._named.get((f"{XSD}element", _bare(ref)))
            return None if found is None else self._type(found)
        if name := element.get("type"):
            return self._named.get((f"{XSD}complexType", _bare(name)))
        return next(element.iterchildren(f"{XSD}complexType"), None)

    def _inside(self, node: etree._Element | None, required: bool) -> Iterator[tuple[str, _Part]]:
        if node is None:
            return
        base = node.get("base")
        if base and node.tag == f"{XSD}extension":
            yield from self._inside(self._named.get((f"{XSD}complexType", _bare(base))), required)
        for child in node.iterchildren(f"{XSD}*"):
            must = required and child.get("minOccurs", "1") != "0"
            if child.tag in _GROUPS:
                yield from self._inside(child, must and child.tag != _GROUPS[2])
            elif child.tag in _BASES:
                yield from self._inside(child, required)
            elif child.tag in (f"{XSD}group", f"{XSD}attributeGroup"):
                yield from self._inside(self._named.get((str(child.tag), _bare(child.get("ref", "")))), must)
            elif child.tag == f"{XSD}any":
                yield ANY, _Part(False, child)
            elif child.tag == f"{XSD}element":
                yield _bare(child.get("ref", "") or child.get("name", "")), _Part(must, child)
            elif child.tag == f"{XSD}attribute":
                yield (
                    f"@{_bare(child.get('ref', '') or child.get('name', ''))}",
                    _Part(child.get("use") == "required", child),
                )


def _bare(name: str) -> str:
    """Return a name without its prefix."""
    return local(name).rpartition(":")[2]
