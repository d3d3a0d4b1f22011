"""What an XSD says about the places of a map: which there are, and which must be filled in.

Whether a value is right is for the compiled schema to say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import xmlschema
from attrs import frozen
from xmlschema.validators import XsdGroup

from exchange.formats._xml_explain import schema_of
from exchange.formats._xml_schema import local

ANY: Final = "*"
SIGNATURE: Final = "Signature"  # put in later, by those who sign


@frozen
class _Part:
    """A child or an attribute (with @) of an element; *declared* is xmlschema's."""

    required: bool
    declared: Any = None


Parts = Mapping[str, _Part]


class Xsd:
    """The elements of one root. Raises ValueError where there is no such root, or the file is no schema."""

    def __init__(self, file: Path, root: str) -> None:
        try:
            elements = schema_of(file.resolve()).elements.values()
        except (xmlschema.XMLSchemaException, OSError, ValueError) as why:
            raise ValueError(f"{file.name}: {why}") from None
        found = [element for element in elements if element.local_name == root]
        if not found:
            raise ValueError(f"{file.name} has no element {root!r}")
        self._known: dict[tuple[str, ...], Parts] = {(): dict(_inside(found[0]))}

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

    def _parts(self, path: tuple[str, ...]) -> Parts:
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = dict(_inside(self._parts(path[:-1])[path[-1]].declared))
        return known


def _inside(element: Any) -> Iterator[tuple[str, _Part]]:
    """Yield what may stand in an element, and its attributes."""
    if element is None:
        return
    content = element.type.content
    if isinstance(content, XsdGroup):
        yield from _particles(content, content.model != "choice")
    for name, attribute in element.attributes.items():
        if name is not None:  # else it stands for whatever attribute
            yield f"@{local(name)}", _Part(attribute.use == "required")


def _particles(group: Any, required: bool) -> Iterator[tuple[str, _Part]]:
    for one in group:
        must = required and one.min_occurs > 0
        if isinstance(one, XsdGroup):
            yield from _particles(one, must and one.model != "choice")
        elif isinstance(one, xmlschema.XsdElement):
            yield one.local_name, _Part(must, one)
        else:
            yield ANY, _Part(False)
