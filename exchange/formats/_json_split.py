"""A JSON Schema in two parts: what it says of a message without the items of its lists, and what of each item.

So a large message is judged item by item, and a small one is explained in the same way. A list can be taken out where
nothing but ``items`` looks into it. That is known of lists that ``properties`` lead to, from the root on or through
``LEVELS`` objects, where the rules about the list and the objects around it are among those listed here; any other rule
that could look at a list (uniqueItems, contains, prefixItems, unevaluatedItems, a condition on what is in it) leaves it
where it is, to be judged as a whole. So does a reference to anything but ``$defs``, for then the lists of the root may
stand elsewhere, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import jsonschema_rs
from attrs import field, frozen

from exchange.formats._json_outline import Items
from exchange.formats._json_parse import LIMIT_MARKS, LIMIT_TREE, too_much

LEVELS: Final = 2  # objects between the root and a list
DEFINITIONS: Final = ("$defs", "definitions")

_REMARKS: Final = {"$schema", "$id", "$comment", *DEFINITIONS, "title", "description", "default", "examples"}
_OF_LISTS: Final = _REMARKS | {"type", "items", "minItems", "maxItems"}
_OF_PLAIN: Final = {  # what looks at no list and no object, where no such value is listed
    "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "const", "enum",
}  # fmt: skip
_OF_NAMES: Final = _REMARKS | {
    "type",
    "required",
    "dependentRequired",
    "minProperties",
    "maxProperties",
    "propertyNames",
}
_OF_OBJECTS: Final = _OF_NAMES | {"properties", "additionalProperties"}
_ALL_OF_SEVERAL: Final = {"allOf", "anyOf", "oneOf"}
_OF_ONE: Final = {"not", "if", "then", "else"}
_ELSEWHERE: Final = {"$dynamicRef", "$dynamicAnchor", "$anchor", "$recursiveRef", "$recursiveAnchor"}

Path = list[str | int]


@frozen
class Each:
    """A list whose items are judged one by one; without rules for them, any value that nobody looks into."""

    rules: Any = None

    def below(self, name: str) -> Each:
        """Tell what a member is: nobody looks at it either."""
        return ANY


ANY: Final = Each()


@frozen
class Level:
    """An object whose members are known one by one."""

    names: Mapping[str, Place | None]
    others: Each | None  # what members are that have other names

    def below(self, name: str) -> Place | None:
        """Tell what a member is; nothing: it is judged as a whole."""
        return self.names.get(name, self.others)


Place = Each | Level


@frozen
class Split:
    """A compiled schema in two parts."""

    root: Place | None
    rest: Any  # what judges a message without the items

    def valid(self, tree: Any) -> bool:
        """Give the verdict. Raises Unreadable where a long list would have to be judged as a whole."""
        cut = _Cut()
        rest = cut.out(tree, self.root, [])
        return bool(self.rest.is_valid(rest)) and all(
            rules.is_valid(item) for _, items, rules in cut.lists for item in items
        )

    def errors(self, tree: Any) -> Iterator[tuple[Path, Any]]:
        """Yield every error with its path, those of items last. Raises Unreadable, as ``valid`` does."""
        cut = _Cut()
        for error in self.rest.iter_errors(cut.out(tree, self.root, [])):
            yield error.instance_path, error
        for path, items, rules in cut.lists:
            for number in range(len(items)):
                yield from _in_item(rules, items[number], [*path, number])

    def takes_out(self, steps: Sequence[str]) -> bool:
        """Tell whether the list at a place is judged item by item."""
        place: Place | None = self.root
        for step in steps:
            place = place.below(step) if place else None
        return isinstance(place, Each)


def _in_item(rules: Any, item: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    for error in rules.iter_errors(item):
        yield [*path, *error.instance_path], error


@frozen
class _Cut:
    lists: list[tuple[Path, Sequence[Any], Any]] = field(factory=list)

    def out(self, value: Any, place: Place | None, path: Path) -> Any:
        """Return a value whose lists are as long as they were, and empty."""
        if place is not None and isinstance(value, dict):
            return {name: self.out(inner, place.below(name), [*path, name]) for name, inner in value.items()}
        if isinstance(place, Each) and isinstance(value, list | Items):
            if place.rules is not None:
                self.lists.append((path, value, place.rules))
            return [None] * len(value)
        _refuse_long(value, path)
        return value


def _refuse_long(value: Any, path: Path) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_long(inner, [*path, name])
    elif isinstance(value, Items):
        at = "".join(f"/{step}" for step in path)[:64]
        raise too_much(
            f"it is larger than {LIMIT_TREE} bytes or {LIMIT_MARKS} values, and {at} can't be judged item by item",
            f"大于 {LIMIT_TREE} 字节或 {LIMIT_MARKS} 个值，且 {at} 无法逐项校验",
        )


# -- splitting ---------------------------------------------------------------------------------------------------


def compiled(schema: Any) -> Any:
    """Compile a JSON Schema; nothing is fetched. Raises what jsonschema_rs does."""
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def split(schema: Any) -> Split:
    """Split a schema that compiles."""
    if not isinstance(schema, dict) or not _at_home(schema):
        return Split(None, compiled(schema))
    root, rest = _Splitter(schema).level(schema, LEVELS)
    return Split(root, compiled(rest))


def _at_home(schema: Any, *, top: bool = True) -> bool:
    """Tell whether all references lead to definitions, whatever they are in."""
    if isinstance(schema, list):
        return all(_at_home(one, top=False) for one in schema)
    if not isinstance(schema, dict):
        return True
    to = schema.get("$ref", "")
    if isinstance(to, str) and to and not to.startswith(tuple(f"#/{name}/" for name in DEFINITIONS)):
        return False
    if _ELSEWHERE & schema.keys() or ("$id" in schema and not top):
        return False
    return all(_at_home(one, top=False) for one in schema.values())


@frozen
class _Splitter:
    schema: Mapping[str, Any]

    def level(self, node: dict[str, Any], levels: int) -> tuple[Level | None, dict[str, Any]]:
        """Return what can be taken out of an object, and its schema without that."""
        conditions = node.keys() & (_ALL_OF_SEVERAL | _OF_ONE)
        if node.keys() - _OF_OBJECTS - conditions:
            return None, node
        properties = node.get("properties", {})
        names: dict[str, Place | None] = {}
        rest = dict(properties)
        for name, inner in properties.items():
            blind = all(_blind({rule: node[rule]}, name) for rule in conditions)
            names[name], rest[name] = self._place(inner, levels) if blind else (None, inner)
        free = isinstance(node.get("additionalProperties", True), bool) and not conditions
        changed = any(rest[name] is not inner for name, inner in properties.items())
        return Level(names, ANY if free else None), {**node, "properties": rest} if changed else node

    def _place(self, node: Any, levels: int) -> tuple[Place | None, Any]:
        """Return what a member is, and its schema without what is judged item by item."""
        found = self._followed(node)
        if not isinstance(found, dict):
            return None, node
        if not found.keys() - _OF_LISTS - _OF_PLAIN and all(map(_plain, found.get("enum", [found.get("const")]))):
            if "items" not in found:
                return ANY, node
            rules = {"allOf": [found["items"]], **{name: self.schema.get(name, {}) for name in DEFINITIONS}}
            return Each(compiled(rules)), {rule: value for rule, value in found.items() if rule != "items"}
        if not levels:
            return None, node
        place, rest = self.level(found, levels - 1)
        return place, node if rest is found else rest

    def _followed(self, node: Any) -> Any:
        """Return what a reference leads to, if it says nothing beside."""
        for _ in range(LEVELS):
            if not isinstance(node, dict) or "$ref" not in node or node.keys() - _REMARKS - {"$ref"}:
                break
            steps = node["$ref"][2:].split("/")
            found: Any = self.schema
            for step in steps:
                found = found.get(step) if isinstance(found, dict) else None
            node = found
        return node


def _plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _blind(rules: Any, name: str) -> bool:
    """Tell that rules for an object never look at what a member of it is."""
    if isinstance(rules, bool):
        return True
    return isinstance(rules, dict) and all(_blind_rule(rule, value, name) for rule, value in rules.items())


def _blind_rule(rule: str, value: Any, name: str) -> bool:
    if rule == "properties":
        return name not in value
    if rule in _ALL_OF_SEVERAL:
        return all(_blind(one, name) for one in value)
    return rule in _OF_NAMES or (rule in _OF_ONE and _blind(value, name))
