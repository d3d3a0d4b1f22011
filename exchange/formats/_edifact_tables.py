"""The tables that EDIFACT messages are checked against, read from their own short notation.

A directory (``schemas/edifact/D95B.yaml``) says what each segment holds::

    BGM: "C002(1001:an..3 1131:an..3) 1004:an..35 1225:an..3!"

that is, after the tag, a composite and two elements, each by its number in the directory of data elements and its
form; ``!`` marks what is mandatory, ``4*`` stands before what is repeated by position, ``x9`` behind an element that
may be repeated (syntax 4). A type's file says how segments follow each other::

    directory: ../../edifact/D95B.yaml
    structure: "BGM! FTX9 RFF9 TDT(RFF9 LOC9) NAD!9(CTA9) UNT!"

where ``!`` is mandatory again, a number how often it may occur, and what is in brackets belongs to a group that
begins with the segment before them. UNH and UNT are the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from exchange.errors import ConfigurationError
from exchange.yamlfile import read

_FORM: Final = re.compile(r"(?P<code>[A-Z]?[0-9]{3,4}):(?P<kind>an|a|n)(?P<up>\.\.)?(?P<most>[0-9]+)(?P<must>!?)")
_ITEM: Final = re.compile(
    r"\s*(?:(?P<times>[0-9]+)\*)?(?:(?P<composite>[A-Z][0-9]{3})(?P<must>!?)\((?P<parts>[^()]*)\)"
    r"|(?P<simple>[A-Z]?[0-9]{3,4}:[a-z.0-9]+!?))(?:x(?P<occurs>[0-9]+))?(?=\s|$)"
)
_NODE: Final = re.compile(r"\s*(?:(?P<tag>[A-Z0-9]{3})(?P<must>!?)(?P<most>[0-9]*)(?P<open>\(?)|(?P<close>\)))")


@frozen
class Form:
    """What one component may hold."""

    code: str  # of the directory of data elements: 1004
    kind: str  # a | n | an
    least: int
    most: int
    must: bool


@frozen
class Slot:
    """One element of a segment: a composite, or a single component under its own number."""

    code: str
    parts: tuple[Form, ...]
    must: bool
    occurs: int = 1


@define(eq=False)
class Node:
    """One place in the structure of a message: a segment, or the group that it begins."""

    number: int
    tag: str
    must: bool
    most: int
    above: Node | None
    group: bool = False
    begins: bool = False  # its group: it occurs when that does
    children: list[Node] = field(factory=list)
    last: int = 0  # the highest number within the group


Directory = Mapping[str, tuple[Slot, ...]]
_SERVICE: Final = {
    "UNH": "0062:an..14! S009!(0065:an..6! 0052:an..3! 0054:an..3! 0051:an..3! 0057:an..6 0110:an..6 0113:an..6)"
    " 0068:an..35 S010(0070:n..2! 0073:a1)",
    "UNT": "0074:n..10! 0062:an..14!",
    "UNS": "0081:a1!",
}


@cache
def directory(file: Path) -> Directory:
    """Read a directory of segments. Raises ValueError."""
    return {tag: slots(text) for tag, text in {**_yaml(file), **_SERVICE}.items()}


def _yaml(file: Path) -> dict[str, Any]:
    try:
        found = read(file.read_text("utf-8"), str(file)).data
    except (OSError, UnicodeDecodeError, ConfigurationError) as why:
        raise ValueError(str(why)) from None
    if not isinstance(found, dict):
        raise ValueError(f"{file.name} holds no table")
    return found


def type_tables(file: Path) -> dict[str, Any]:
    """Read the tables of a type as they are. Raises ValueError."""
    found = _yaml(file)
    if unknown := set(found) - {"versions", "tolerate", "codes"}:
        raise ValueError(f"{file.name}: unknown keys {', '.join(sorted(unknown))}")
    for version in found.get("versions", {}).values():
        if not isinstance(version, dict) or set(version) != {"directory", "structure"}:
            raise ValueError(f"{file.name}: a version needs directory and structure, and nothing else")
    return found


def slots(text: str) -> tuple[Slot, ...]:
    """Read what a segment holds. Raises ValueError.

    >>> [slot.code for slot in slots("C002(1001:an..3) 2*1004:an..35!")]
    ['C002', '1004', '1004']
    """
    return tuple(_slots(text))


def _slots(text: str) -> Iterator[Slot]:
    at = 0
    while text[at:].strip():
        found = _ITEM.match(text, at)
        if found is None:
            raise ValueError(f"no element can be read at {text[at:][:20]!r}")
        at = found.end()
        parts = tuple(_forms(found["parts"] or found["simple"]))
        code, must = found["composite"] or parts[0].code, bool(found["must"]) or (
            not found["composite"] and parts[0].must
        )  # fmt: skip
        for _ in range(int(found["times"] or 1)):
            yield Slot(code, parts, must, int(found["occurs"] or 1))


def _forms(text: str) -> Iterator[Form]:
    for item in text.split():
        times, star, form = item.rpartition("*")
        found = _FORM.fullmatch(form)
        if found is None or (star and not times.isdigit()):
            raise ValueError(f"{item!r} is no form of a data element")
        most = int(found["most"])
        one = Form(found["code"], found["kind"], 1 if found["up"] else most, most, bool(found["must"]))
        yield from [one] * int(times or 1)


def structure(text: str) -> list[Node]:
    """Read a structure; return its nodes by number, the message itself first. Raises ValueError."""
    root = Node(0, "", True, 1, None, group=True)
    nodes, here, at = [root], root, 0
    whole = f"UNH! {text.strip()}" if not text.strip().startswith("UNH") else text
    while whole[at:].strip():
        found = _NODE.match(whole, at)
        if found is None or (found["close"] and here is root):
            raise ValueError(f"no segment can be read at {whole[at:][:20]!r}")
        at = found.end()
        if found["close"]:
            here.last = len(nodes) - 1
            here = here.above or root
            continue
        node = Node(len(nodes), found["tag"], bool(found["must"]), int(found["most"] or 1), here)
        nodes.append(node)
        here.children.append(node)
        if found["open"]:
            node.group, trigger = True, Node(len(nodes), found["tag"], True, 1, node, begins=True)
            nodes.append(trigger)
            node.children.append(trigger)
            here = node
    if here is not root:
        raise ValueError("a bracket is not closed")
    root.last = len(nodes) - 1
    return nodes
