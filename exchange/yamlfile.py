"""YAML as administrators write it: plain data, and where every bit of it stands in the text.

The scalars follow YAML 1.2's core schema whatever parser reads them (``no`` is the word no, not false). Errors of a
pydantic model are turned into lines ``file:line:column: where: what is wrong, did you mean ...?``, all at once.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode

from exchange.errors import ConfigurationError

MUST: Final = {
    "tuple_type": "be a list",
    "list_type": "be a list",
    "dict_type": "hold keys and their values",
    "model_type": "hold keys and their values",
    "path_type": "be the name of a file or folder",
    "too_short": "not be empty",
}
Path = tuple[str | int, ...]
Place = tuple[int, int]
PLAIN: Final = (
    (re.compile(r"~|null|Null|NULL|"), lambda text: None),
    (re.compile(r"true|True|TRUE"), lambda text: True),
    (re.compile(r"false|False|FALSE"), lambda text: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)


@frozen
class Document:
    """One YAML file as data, with the place of each value and key."""

    name: str
    data: Any
    places: Mapping[Path, Place]

    def problem(self, path: Path, text: str, *, inside: Path | None = None) -> str:
        """Write one mistake the way compilers do: the place of *path*, then where that is (or *inside* what)."""
        line, column = self.place(path)
        return f"{self.name}:{line}:{column}: {show_path(path if inside is None else inside)}{text}"

    def place(self, path: Path) -> Place:
        """Return line and column, counted from 1, of *path* or its nearest parent."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def problems(self, why: ValidationError, model: type[BaseModel], path: Path = ()) -> list[str]:
        """Write every mistake that validating what stands at *path* against *model* found, one a place."""
        found: dict[Path, str] = {}
        for error in why.errors():
            at = (*path, *(part for part in error["loc"] if not _is_tag(part)))
            found.setdefault((*at, error["type"] == "missing"), self._problem(error, model, at))
        return list(found.values())

    def _problem(self, error: Any, model: type[BaseModel], at: Path) -> str:
        if error["type"] == "extra_forbidden":
            known = _keys_beside(model, error["loc"][:-1])
            return self.problem(at, f"unknown key {at[-1]!r}{suggest(str(at[-1]), known)}", inside=at[:-1])
        if error["type"] == "missing":
            return self.problem(at[:-1], f"{at[-1]!r} is missing")
        if error["type"] == "string_type" and isinstance(error["input"], int | float):
            return self.problem(at, f"{error['input']} is a number here; write it in quotes")
        if error["type"] in MUST:
            return self.problem(at, f"must {MUST[error['type']]}")
        text = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
        return self.problem(at, text[:1].lower() + text[1:])


def read(text: str, name: str) -> Document:
    """Read one YAML document. Raises ConfigurationError with the place of what can't be read."""
    try:
        node = YAML(typ="safe").compose(io.StringIO(text))
    except MarkedYAMLError as why:
        mark = why.problem_mark or why.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise ConfigurationError([f"{name}:{place}: {why.problem or why.context}"]) from None
    except YAMLError as why:
        raise ConfigurationError([f"{name}:1:1: {' '.join(str(why).split())}"]) from None
    places: dict[Path, Place] = {(): (1, 1)}
    problems: list[str] = []
    data = _value(node, (), places, problems, name) if node is not None else None
    if problems:
        raise ConfigurationError(problems)
    return Document(name, data, places)


def _value(node: Node, path: Path, places: dict[Path, Place], problems: list[str], name: str) -> Any:
    places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, ScalarNode):
        return node.value if node.style else _plain(node.value)
    if isinstance(node, SequenceNode):
        return [_value(item, (*path, i), places, problems, name) for i, item in enumerate(node.value)]
    result: dict[str, Any] = {}
    for key, value in node.value:
        place = key.start_mark.line + 1, key.start_mark.column + 1
        word = str(key.value)
        if word in result:
            problems.append(f"{name}:{place[0]}:{place[1]}: {show_path(path)}{word!r} stands here twice")
        places[(*path, word)] = place
        result[word] = _value(value, (*path, word), places, problems, name)
    return result


def _plain(text: str) -> Any:
    for pattern, convert in PLAIN:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def show_path(path: Iterable[str | int]) -> str:
    """Write a path for people, with what separates it from the text.

    >>> show_path(("routes", 1, "match"))
    'routes[1].match: '
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return f"{text}: " if text else ""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean 'x'?`` when something known is close to *word*, else nothing.

    >>> suggest("too", ["to", "match"])
    ", did you mean 'to'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""


def _is_tag(part: Any) -> bool:
    """Tell whether a part of pydantic's location names a branch of a union instead of a place in the file."""
    return isinstance(part, str) and (part.endswith("]") or part in ("str", "int", "float", "bool", "function-before"))


def _keys_beside(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    """Return the keys that *model* allows at *location*."""
    here: Any = model
    for part in location:
        if isinstance(part, str) and isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(part)
            here = _model_in(field.annotation) if field else None
    if isinstance(here, type) and issubclass(here, BaseModel):
        return [field.alias or name for name, field in here.model_fields.items()]
    return []


def _model_in(annotation: Any) -> Any:
    """Return the model inside an annotation such as ``list[Model]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part))), None)
