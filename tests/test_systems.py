"""The list of systems: complete, and nothing in it that isn't there."""

from __future__ import annotations

import re

import pytest

from docs import _systems
from exchange import catalogue
from tests.conftest import SHARED

TYPES = catalogue.load()
FAMILIES = {_systems.family_of(type, TYPES) for type in TYPES.types.values()}


def heard(name: str) -> str:
    """Return a document that systems are named in, or skip: these are no part of the project."""
    found = list((SHARED / "requirements").glob(f"{name}_*"))
    if not found:
        pytest.skip("the documents that name the systems (shared/requirements) are not present beside this checkout")
    return found[0].read_text("utf-8")


def test_what_serves_a_system_is_in_the_catalogue() -> None:
    named = {name for system in _systems.systems() for name in system.get("serves", ())}
    assert sorted(named - FAMILIES - TYPES.types.keys()) == []


def test_every_family_serves_a_system_and_says_who_exchanges_it() -> None:
    used = {_systems.family_of(type, TYPES) for type in TYPES.types.values() if any(_systems.of(type, TYPES))}
    assert FAMILIES - used == {"un/contrl"}, "which is of every system that sends EDIFACT"
    assert set(_systems.known()["families"]) == FAMILIES


@pytest.mark.parametrize("group", _systems.known()["groups"], ids=lambda group: group["en"])
def test_every_system_has_two_names_and_a_state_that_is_explained(group: dict[str, list[dict[str, str]]]) -> None:
    names = [system["zh"] for system in group["systems"]]
    assert len(set(names)) == len(names)
    for system in group["systems"]:
        assert system["en"].isascii()
        assert re.search("[\u4e00-\u9fff]", system["zh"])
        assert set(system) & {"serves", "switch", "coming", "outside"}
        assert not ("outside" in system and set(system) & {"serves", "switch", "coming"})


@pytest.mark.parametrize("name", sorted(TYPES.types))
def test_a_scenario_that_is_named_exists_and_gives_such_a_message(name: str) -> None:
    told = _systems.scenario(TYPES.types[name], TYPES)
    if told:
        path = _systems.ROOT / told
        assert path.exists()
        assert path.is_file() or f" {name} (" in (path / "lives.txt").read_text("utf-8")


def test_every_declaration_and_notice_and_most_receipts_have_a_scenario() -> None:
    without = [type for type in TYPES.types.values() if not _systems.scenario(type, TYPES)]
    assert [type.name for type in without if type.kind != "receipt"] == []
    assert len(without) < 6, without


def test_every_system_of_the_main_document_is_listed() -> None:
    listed = {system["zh"] for system in _systems.systems()}
    headings = re.findall(r"^\s*1\.2\.1\.([1-3](?:\.\d+)+)\.?([^\d.\s].*?)\s*$", heard("002"), re.MULTILINE)
    chapters = {number for number, _ in headings}
    leaves = [title for number, title in headings if not any(other.startswith(f"{number}.") for other in chapters)]
    assert len(leaves) > 40
    missing = [title for title in leaves if title not in listed and f"{title}系统" not in listed]
    assert [title for title in missing if title.removesuffix("部分") not in listed] == []


def test_every_service_of_the_agreement_is_listed() -> None:
    listed = {system["zh"] for system in _systems.systems()}
    services = re.findall(r"^[（(][一二三四五六七八九十]+[）)]\s*([^。\n]{2,24})。", heard("000"), re.MULTILINE)
    assert len(services) == 18
    assert [title for title in services if title not in listed] == []
