"""JSON in maps: JSON Pointers, and ``.``, the value itself; a loop leads to a list.

In the target every turn of a loop is one more item of a list, and so is what one row or block writes to a place where
the schema has a list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from exchange.formats import Opened
from exchange.formats._json_outline import Items
from exchange.formats._json_parse import parse
from exchange.formats.json import Json, steps_of, texts_in, value_at
from exchange.instants import Instant
from exchange.steps._map_file import TargetRow
from exchange.steps._map_sides import SELF, Base, Enter, Keep, Look, Loop, Put, Turn, keep, same

ANYTHING: Final[dict[str, Any]] = {}  # a schema that says nothing


class _Shape:
    """What a JSON Schema says about places, as far as its properties, items and references tell."""

    def __init__(self, file: Path) -> None:
        self._schema = parse(file.read_bytes())

    def at(self, steps: Sequence[str]) -> dict[str, Any] | None:
        """Return what is said about a place; nothing where there can be none. Lists stand for their items."""
        node: dict[str, Any] | None = self._plain(self._schema)
        for step in steps:
            if node is None:
                return None
            node = self._below(node, step)
        return node

    def listed(self, steps: Sequence[str]) -> bool:
        """Tell whether a place holds a list."""
        around = self.at(steps[:-1]) or ANYTHING
        return "items" in self._plain(around.get("properties", {}).get(steps[-1]), items=False)

    def _below(self, node: dict[str, Any], step: str) -> dict[str, Any] | None:
        properties = node.get("properties", {})
        if step in properties:
            return self._plain(properties[step])
        if step.isdigit():  # of a list, whose items this is about already
            return node
        return None if properties and node.get("additionalProperties") is False else ANYTHING

    def _plain(self, node: Any, *, items: bool = True) -> dict[str, Any]:
        """Follow references, and lists to their items."""
        for _ in range(20):
            if isinstance(node, dict) and isinstance(node.get("$ref"), str) and node["$ref"].startswith("#/"):
                node = value_at(self._schema, steps_of(node["$ref"][1:]))
            elif items and isinstance(node, dict) and isinstance(node.get("items"), dict):
                node = node["items"]
            else:
                break
        return node if isinstance(node, dict) else ANYTHING


def _checked(shape: _Shape, path: str, base: Base) -> list[str]:
    """Split a path. Raises ValueError where it is none, or the schema has no such place."""
    if shape.at(_whole(path, base)) is None:
        raise ValueError(path)
    return steps_of(path)


def _whole(path: str, base: Base) -> list[str]:
    return [step for pointer in (*base, path) for step in steps_of(pointer)]


# -- reading -----------------------------------------------------------------------------------------------------


class FromJson:
    """A JSON message."""

    def __init__(self, file: Path) -> None:
        self.format, self._shape = Json(), _Shape(file)

    def root(self, opened: Opened) -> Any:
        """Return the object."""
        return opened.tree

    def look(self, path: str, base: Base) -> Look:
        """Compile a pointer."""
        steps = [] if path == SELF else _checked(self._shape, path, base)
        return lambda value: next(iter(texts_in(value_at(value, steps))), "")

    def loop(self, path: str, base: Base) -> Loop:
        """Compile a pointer to a list; one that leads to a single value has one turn."""
        return partial(_items, _checked(self._shape, path, base))

    def pointer(self, place: Any, turns: Sequence[Turn], path: str) -> tuple[str, int | None]:
        """Point from the top of the message."""
        where = "".join(f"{loop}/{turn - 1}" for loop, turn in turns)
        return (where + (path if path != SELF else "")) or "/", None


def _items(steps: list[str], value: Any) -> Sequence[Any]:
    found = value_at(value, steps)
    return found if isinstance(found, list | Items) else [] if found is None else [found]


# -- writing -----------------------------------------------------------------------------------------------------


class ToJson:
    """A JSON message."""

    def __init__(self, row: TargetRow, file: Path) -> None:
        self.format, self._shape = Json(), _Shape(file)
        self._around: set[tuple[str, ...]] = set()  # objects that are written
        self._values: set[tuple[str, ...]] = set()

    def root(self) -> dict[str, Any]:
        """Return an object."""
        return {}

    def put(self, path: str, base: Base) -> Put:
        """Compile a pointer; where the schema has a list, each row adds to it."""
        return self.add(path, base) if self._shape.listed(_whole(path, base)) else self._setting(path, base, True)

    def add(self, path: str, base: Base) -> Put:
        """Compile a pointer to a list."""
        return self._adding(path, base, True)

    def enter(self, path: str, base: Base, loop: bool) -> tuple[Enter, Keep]:
        """Write an object, which is kept where anything was written into it."""
        if not path:
            return same, keep
        listed = loop or self._shape.listed(_whole(path, base))
        put = (self._adding if listed else self._setting)(path, base, False)
        return (lambda here, turn: {}), (lambda around, inner: put(around, inner) if inner else None)

    def missing(self) -> list[str]:
        """List required properties of all objects that are written."""
        return sorted(set(self._missing()))

    def write(self, root: Any, id: tuple[int, int], at: Instant) -> bytes:
        """Return JSON in UTF-8, on one line."""
        return json.dumps(root, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    def _setting(self, path: str, base: Base, value: bool) -> Callable[[Any, Any], None]:
        *around, name = self._compiled(path, base, value)

        def put(here: dict[str, Any], value: Any) -> None:
            for step in around:
                here = here.setdefault(step, {})
            here.setdefault(name, value)

        return put

    def _adding(self, path: str, base: Base, value: bool) -> Callable[[Any, Any], None]:
        *around, name = self._compiled(path, base, value)

        def add(here: dict[str, Any], value: Any) -> None:
            for step in around:
                here = here.setdefault(step, {})
            here.setdefault(name, []).append(value)

        return add

    def _compiled(self, path: str, base: Base, value: bool) -> list[str]:
        """Split a path. Raises ValueError where another one has a value above or below."""
        steps, whole = _checked(self._shape, path, base), tuple(_whole(path, base))
        around = {whole[:depth] for depth in range(1, len(whole))} | (set() if value else {whole})
        if around & self._values or (value and whole in self._around):
            raise ValueError(path)
        self._around |= around
        self._values |= {whole} if value else set()
        return steps

    def _missing(self) -> Iterator[str]:
        filled = self._around | self._values
        for steps in {(), *self._around}:
            for name in (self._shape.at(steps) or ANYTHING).get("required", ()):
                if (*steps, name) not in filled:
                    yield "/" + "/".join((*steps, name))
