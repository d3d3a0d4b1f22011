"""Which systems the switch is for, and which message types serve each: what docs/systems.yaml says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from docs._page import begun, table
from exchange import catalogue
from exchange.model import MessageType

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "docs" / "systems.yaml"
SCENARIOS: Final = ROOT / "tests" / "scenarios"
STATES: Final = {
    "served": ("served", "已支持"),
    "in part": ("in part", "部分支持"),
    "to come": ("to come", "待建"),
    "no messages": ("no messages", "无报文"),
}
_LIFE: Final = re.compile(r"^\d+-\d+ (\S+) \(", re.MULTILINE)


@cache
def known() -> Mapping[str, Any]:
    """Return what the data file says."""
    data: Mapping[str, Any] = YAML(typ="safe").load(FILE.read_text("utf-8"))
    return data


def systems() -> Iterator[Mapping[str, Any]]:
    """Iterate over all systems."""
    for group in known()["groups"]:
        yield from group["systems"]


def state(system: Mapping[str, Any]) -> str:
    """Tell how far a system is served."""
    if "outside" in system:
        return "no messages"
    if "serves" not in system and "switch" not in system:
        return "to come"
    return "in part" if "coming" in system else "served"


def family_of(type: MessageType, types: catalogue.Catalogue) -> str:
    """Return the folder of a type's family below schemas/."""
    return str(type.spec.folder.relative_to(types.directory))


def of(type: MessageType, types: catalogue.Catalogue) -> Iterator[Mapping[str, Any]]:
    """Iterate over the systems that a type serves."""
    family = family_of(type, types)
    return (one for one in systems() if {type.name, family} & set(one.get("serves", ())))


@cache
def _shown() -> Mapping[str, str]:
    """Return the first scenario in which a message of each type is given."""
    found: dict[str, str] = {}
    for lives in sorted(SCENARIOS.glob("s-*/lives.txt")):
        for name in _LIFE.findall(lives.read_text("utf-8")):
            found.setdefault(name, lives.parent.name)
    return found


def scenario(type: MessageType, types: catalogue.Catalogue) -> str:
    """Return the path of a test that takes a message of the type through the daemon, or nothing."""
    if type.name in _shown():
        return f"tests/scenarios/{_shown()[type.name]}"
    family = known()["families"][family_of(type, types)]
    return str(family.get("receipts" if type.kind == "receipt" else "scenario", ""))


def parties(type: MessageType, types: catalogue.Catalogue) -> str:
    """Return who exchanges messages of a type."""
    return str(known()["families"][family_of(type, types)]["parties"]["en"])


def page() -> str:
    """Write which system is served by what."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield begun(
        "Systems · 业务系统",
        "docs/systems.yaml",
        "The systems that the switch is for, and what of [the catalogue](messages.md) serves each. *In part* and *to\n"
        "come* mean what they say: what is missing stands beside. A message of a type that isn't known is held or\n"
        "rejected, never lost; [a site can add types](../how-to/add-a-message-type.md) without waiting for us.\n"
        "各业务系统由哪些报文支持；“部分支持”“待建”均注明尚缺的内容，各地也可自行添加报文类型。",
    )
    counts = {name: sum(state(one) == name for one in systems()) for name in STATES}
    yield " · ".join(f"{en} {zh}: {counts[name]}" for name, (en, zh) in STATES.items()) + "\n"
    for group in known()["groups"]:
        yield f"## {group['en']} · {group['zh']}\n"
        yield table(
            ["system · 系统", "state · 状态", "served by · 支持", "to come · 待建"], map(_row, group["systems"])
        )


def _row(system: Mapping[str, Any]) -> Sequence[str]:
    by = [f"`{name}`" for name in system.get("serves", ())]
    told = [_both(system[name]) for name in ("switch", "outside") if name in system]
    coming = _both(system["coming"]) if "coming" in system else ""
    return [f"{system['en']} · {system['zh']}", " ".join(STATES[state(system)]), ", ".join([*by, *told]), coming]


def _both(text: Mapping[str, str]) -> str:
    return f"{text['en']} · {text['zh']}"
