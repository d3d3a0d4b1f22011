"""Say in words what a JSON Schema finds wrong: every error with its JSON Pointer, in two languages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import chain, starmap
from pathlib import Path
from typing import Any, Final

from exchange.formats._faults import LIMIT, Fault, Limit
from exchange.formats._json_parse import parse
from exchange.formats._json_split import Split
from exchange.formats.json import Json, split_of
from exchange.model import Finding

NAME_LIMIT: Final = 64  # characters of a name that a pointer shows
VALUE_LIMIT: Final = 1_000  # characters of a value; fewer are shown

_FACETS: Final = {  # of jsonschema_rs -> our rule
    "minLength": "minLength",
    "maxLength": "maxLength",
    "minimum": "minInclusive",
    "maximum": "maxInclusive",
    "exclusiveMinimum": "minExclusive",
    "exclusiveMaximum": "maxExclusive",
}
_TYPES: Final[Mapping[str, Limit]] = {
    "object": ("an object", "对象"),
    "array": ("a list", "数组"),
    "string": ("a text", "文本"),
    "integer": ("a whole number", "整数"),
    "number": ("a number", "数字"),
    "boolean": ("true or false", " true 或 false"),
    "null": ("null", " null"),
    "date": ("a date, YYYY-MM-DD", "日期（YYYY-MM-DD）"),
    "date-time": ("an instant with its offset, YYYY-MM-DDThh:mm:ss+08:00", "带时区的时间（YYYY-MM-DDThh:mm:ss+08:00）"),
    "uuid": ("a UUID", " UUID"),
    "uri": ("a URI", " URI"),
}


def explain(payload: bytes, file: Path, *, personal: frozenset[str]) -> list[Finding]:
    """List up to 50 findings, those inside of lists last. Raises Unreadable where the payload isn't JSON."""
    judge, labels = _loaded(file)
    errors = starmap(partial(_faults, labels), judge.errors(Json().open(payload).tree))  # keeps none: they are large
    distinct: dict[Fault, None] = {}
    for fault in chain.from_iterable(errors):
        distinct[fault] = None
        if len(distinct) == LIMIT:
            break
    return [fault.finding(personal) for fault in distinct]


@cache
def _loaded(file: Path) -> tuple[Split, Mapping[str, tuple[str, str]]]:
    return split_of(file), dict(_labels(parse(file.read_bytes())))


def _labels(schema: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    """Collect the labels (Chinese, English) of properties from their titles."""
    if isinstance(schema, list):
        for item in schema:
            yield from _labels(item)
    elif isinstance(schema, dict):
        for name, described in schema.items():
            yield from _labels(described)
            if name == "properties" and isinstance(described, dict):
                for field, about in described.items():
                    zh, slash, en = (
                        str(about.get("title", "")).partition(" / ") if isinstance(about, dict) else ("",) * 3
                    )
                    if slash:
                        yield field, (zh, en)


def _faults(labels: Mapping[str, tuple[str, str]], path: list[str | int], error: Any) -> Iterator[Fault]:
    kind = error.kind
    if kind.name == "required":
        yield _fault("required", [*path, kind.property], labels)
    elif kind.name in ("additionalProperties", "unevaluatedProperties"):
        for name in kind.unexpected:
            yield _fault("unexpected", [*path, name], labels)
    else:
        rule, limit = _rule(kind)
        value = error.instance
        actual = len(value) if isinstance(value, str | list) else 0
        text = (
            value[:VALUE_LIMIT]
            if isinstance(value, str)
            else ""
            if isinstance(value, dict | list)
            else json.dumps(value)
        )
        yield _fault(rule, path, labels, value=text, limit=limit, actual=actual)


def _rule(kind: Any) -> tuple[str, Limit]:
    """Tell which of our rules an error is, and what that demands."""
    if kind.name in _FACETS:
        return _FACETS[kind.name], str(kind.limit)
    if kind.name == "type":
        names = [_TYPES.get(name, name) for name in kind.types]
        pairs = [(name, name) if isinstance(name, str) else name for name in names]
        return "type", (" or ".join(en for en, _ in pairs), "或".join(zh for _, zh in pairs))
    if kind.name == "format":
        return "type", _TYPES.get(kind.format, kind.format)
    if kind.name == "enum":
        options = kind.options if isinstance(kind.options, list) else [kind.options]
        return "enumeration", ", ".join(map(str, options[:20]))
    if kind.name == "const":
        return "fixed", str(kind.expected_value)
    if kind.name == "pattern":
        return "pattern", kind.pattern
    if kind.name == "maxItems":
        return "occurs", str(kind.limit)
    return "schema", kind.name  # the library's text would repeat the value, which may be personal


def _fault(rule: str, path: list[str | int], labels: Mapping[str, tuple[str, str]], **more: Any) -> Fault:
    steps = [str(step)[:NAME_LIMIT].replace("~", "~0").replace("/", "~1") for step in path]
    name = next((step for step in reversed(path) if isinstance(step, str)), "message")[:NAME_LIMIT]
    zh, en = labels.get(name, ("", ""))
    pointer = "".join(f"/{step}" for step in steps) or "/"
    return Fault(rule, pointer, name, f"{name} ({en})" if en else name, f"{zh} {name}".strip(), **more)
