"""Telling apart message types that begin alike, by what stands at marked places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from exchange.formats import Opened
from exchange.model import MessageType

SHOWN: Final = 64  # characters of what a message claims that an error repeats
Place = tuple[str, bool]  # a path, and whether it is enough that something is there


@frozen
class Alike:
    """Types that begin alike; *probe* reads at once what tells them apart, if anything does."""

    types: Sequence[MessageType]
    places: Sequence[Place] = ()
    probe: Callable[[Opened], Sequence[str]] | None = None
    groups: Sequence[tuple[tuple[int, ...], Mapping[tuple[str, ...], Sequence[MessageType]]]] = ()

    def fitting(self, opened: Opened) -> Sequence[MessageType]:
        """Return the types that a message may be of; first those that are asked for the most."""
        if self.probe is None:
            return self.types
        said = self.probe(opened)
        return [
            type for where, known in self.groups for type in known.get(tuple([said[number] for number in where]), ())
        ]

    def said(self, opened: Opened) -> str:
        """Return what a message says at the places."""
        texts = self.probe(opened) if self.probe else ()
        return ", ".join(f"{path} {text[:SHOWN]!r}" for (path, _), text in zip(self.places, texts, strict=True))


def filed(types: Iterable[MessageType]) -> dict[str, Alike]:
    """File types under the keys that their messages begin with."""
    alike: dict[str, list[MessageType]] = {}
    for type in types:
        for key in dict.fromkeys(type.spec.format.root_key(way) for way in type.spec.file.root.ways()):
            alike.setdefault(key, []).append(type)
    return {key: _told_apart(members) for key, members in alike.items()}


def _told_apart(types: Sequence[MessageType]) -> Alike:
    asked: dict[tuple[Place, ...], dict[tuple[str, ...], list[MessageType]]] = {}
    for type in types:
        marks = type.spec.file.root.marks
        group = asked.setdefault(tuple((path, text == "*") for path, text in marks), {})
        group.setdefault(tuple(text for _, text in marks), []).append(type)
    places = list(dict.fromkeys(place for group in asked for place in group))
    if not places:
        return Alike(types)
    groups = sorted(asked.items(), key=lambda item: len(item[0]), reverse=True)
    roots = [type.spec.file.root for type in types]
    return Alike(
        types,
        places,
        types[0].spec.format.probe(roots, places),
        [(tuple(places.index(place) for place in group), known) for group, known in groups],
    )
