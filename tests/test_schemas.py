"""Every sample behaves as its name says, in both engines; the verdicts are those of the official schemas."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from lxml import etree

from exchange.catalogue import Sample, load
from exchange.errors import Rejected
from exchange.formats.xml import schema_tree

CATALOGUE = load()
ON = date(2026, 1, 1)
SAMPLES = list(CATALOGUE.samples())
OFFICIAL = ("CEB311", "CEB312", "CEB411", "CEB412", "CEB511", "CEB512", "CEB621", "CEB622")
MUTANTS = 60  # of each type


def named(samples: list[Sample]) -> list[Any]:
    return [pytest.param(sample, id=sample.path.name) for sample in samples]


def in_both_engines(sample: Sample, valid: bool, tree: Any) -> bool:
    """Tell whether xmlschema gives the same verdict; other formats have one engine only."""
    return CATALOGUE.types[sample.type].format != "xml" or slow_schema(sample.type).is_valid(tree) is valid


@cache
def slow_schema(type: str) -> xmlschema.XMLSchema:
    edition = CATALOGUE.edition(CATALOGUE.types[type], ON)
    return xmlschema.XMLSchema(str(CATALOGUE.types[type].spec.folder / edition.file))


@pytest.mark.parametrize("sample", named([sample for sample in SAMPLES if not sample.code]))
def test_a_valid_sample_is_valid_in_every_engine_and_nothing_but_warnings_is_said_of_it(sample: Sample) -> None:
    payload = sample.path.read_bytes()
    opened = CATALOGUE.open(payload)
    type = CATALOGUE.identify(opened)
    assert type.name == sample.type
    assert CATALOGUE.valid(opened, type, on=ON)
    assert in_both_engines(sample, True, opened.tree)
    findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
    assert findings == CATALOGUE.warnings(opened, type, on=ON)
    assert all(finding.severity == "warning" for finding in findings)


@pytest.mark.parametrize("sample", named([sample for sample in SAMPLES if sample.code]))
def test_an_invalid_sample_fails_in_every_engine_with_the_code_in_its_name(sample: Sample) -> None:
    payload = sample.path.read_bytes()
    if not sample.code.startswith("SWX-14"):
        with pytest.raises(Rejected) as why:
            CATALOGUE.identify(CATALOGUE.open(payload))
        assert why.value.code == sample.code
        return
    opened = CATALOGUE.open(payload)
    type = CATALOGUE.identify(opened)
    assert type.name == sample.type
    assert not CATALOGUE.valid(opened, type, on=ON)
    assert in_both_engines(sample, False, opened.tree)
    findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
    assert [finding.code for finding in findings] == [sample.code]


@pytest.mark.parametrize("name", sorted(CATALOGUE.types))
def test_every_type_has_a_small_and_a_full_valid_sample_and_invalid_ones(name: str) -> None:
    of_type = [sample for sample in SAMPLES if sample.type == name]
    assert len([sample for sample in of_type if not sample.code]) >= 2
    assert len([sample for sample in of_type if sample.code]) >= 2


@pytest.mark.parametrize("file", sorted((CATALOGUE.directory / "customs" / "ceb").glob("*.xsd")), ids=lambda f: f.name)
def test_every_element_of_a_schema_is_labelled_in_chinese_and_english(file: Path) -> None:
    xs = "{http://www.w3.org/2001/XMLSchema}"
    for node in schema_tree(file, unsigned=False).iter(f"{xs}element"):
        if node.get("name") and node.get("name") not in ("SignedInfo", "SignatureValue", "KeyInfo"):
            zh, slash, en = node.findtext(f"{xs}annotation/{xs}documentation", "").partition(" / ")
            assert all([slash, zh, en.isascii()]), f"{file.name}: {node.get('name')}"


# -- against the official schemas, where they are present -----------------------------------------------------------


@pytest.fixture(scope="session")
def official(official_samples: Path) -> etree.XMLSchema:
    return etree.XMLSchema(file=str(official_samples / "进口业务节点报文.xsd"))


def ours(name: str) -> etree.XMLSchema:
    type = CATALOGUE.types[f"{name}Message"]
    edition = CATALOGUE.edition(type, date(2020, 1, 1))  # the samples are of 2018-113
    compiled: etree.XMLSchema = CATALOGUE.schema(type, edition).compiled  # type: ignore[attr-defined]
    return compiled


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_sample_gets_the_official_verdict(
    name: str, official_samples: Path, official: etree.XMLSchema
) -> None:
    root = etree.parse(official_samples / f"{name}Message.xml").getroot()
    assert official.validate(root) is ours(name).validate(root) is True


@pytest.mark.parametrize("name", OFFICIAL)
def test_sixty_mutants_of_the_official_sample_get_the_official_verdict(
    name: str, official_samples: Path, official: etree.XMLSchema
) -> None:
    root = etree.parse(official_samples / f"{name}Message.xml").getroot()
    verdicts = []
    for what, mutant in mutants(root, name):
        verdicts.append(official.validate(mutant))
        assert ours(name).validate(mutant) is verdicts[-1], f"{what}: the official verdict is {verdicts[-1]}"
    assert len(verdicts) == MUTANTS
    assert {True, False} == set(verdicts)


@pytest.mark.parametrize("name", ["CEB311", "CEB621", "CEB622"])
def test_whatever_libxml2_refuses_is_explained_in_two_languages(name: str) -> None:
    path = next(sample.path for sample in SAMPLES if sample.path.name == f"{name}Message--several.xml")
    type = CATALOGUE.types[f"{name}Message"]
    edition = CATALOGUE.edition(type, ON)
    for what, mutant in mutants(etree.parse(path).getroot(), name):
        payload = etree.tostring(mutant, encoding="UTF-8")
        if not CATALOGUE.valid(CATALOGUE.open(payload), type, on=ON):
            findings = CATALOGUE.explain(payload, type.name, edition.name)
            assert findings, what
            assert all(f.code.startswith("SWX-14") and f.en.isascii() and "请" in f.zh for f in findings), what


def mutants(root: Any, seed: str) -> Iterator[tuple[str, Any]]:
    """Change one thing at a time, always the same ones for the same seed."""
    dice = random.Random(seed)
    while len(root) > 6:  # enough documents; more would only cost time
        root.remove(root[1])
    names = sorted({element.tag for element in root.iter(etree.Element)})
    for _ in range(MUTANTS):
        mutant = copy.deepcopy(root)
        element = dice.choice(list(mutant.iter(etree.Element))[1:])
        change = dice.choice(CHANGES)
        what = f"{change.__name__} {element.tag} of {seed}"
        change(element, names, dice)
        yield what, mutant


def delete(element: Any, names: list[str], dice: random.Random) -> None:
    element.getparent().remove(element)


def duplicate(element: Any, names: list[str], dice: random.Random) -> None:
    element.addnext(copy.deepcopy(element))


def swap(element: Any, names: list[str], dice: random.Random) -> None:
    if element.getnext() is not None:
        element.getnext().addnext(element)


def move(element: Any, names: list[str], dice: random.Random) -> None:
    element.getparent().insert(0, element)


def rename(element: Any, names: list[str], dice: random.Random) -> None:
    element.tag = dice.choice([*names, f"{element.tag}X", "nowhere"])


def empty(element: Any, names: list[str], dice: random.Random) -> None:
    element.text = ""


def stretch(element: Any, names: list[str], dice: random.Random) -> None:
    element.text = (element.text or "").strip() + "0" * dice.choice([1, 2, 20, 2000])


def cut(element: Any, names: list[str], dice: random.Random) -> None:
    element.text = (element.text or "").strip()[:-1]


def retype(element: Any, names: list[str], dice: random.Random) -> None:
    element.text = dice.choice(["abc", "-1", "1.5", "1.123456", "99999999999", " 7 ", "测试", "142"])


def attribute(element: Any, names: list[str], dice: random.Random) -> None:
    element.set(dice.choice(["guid", "version", "Id", "URI", "Algorithm", "other"]), dice.choice(["", "x", "0" * 36]))


def root_attribute(element: Any, names: list[str], dice: random.Random) -> None:
    root = element.getroottree().getroot()
    name = dice.choice(["guid", "version"])
    value = dice.choice([None, "", "1", "0" * 36, "0" * 37])
    if value is None:
        del root.attrib[name]
    else:
        root.set(name, value)


def comment(element: Any, names: list[str], dice: random.Random) -> None:
    element.append(etree.Comment("测试"))


CHANGES = (
    delete, duplicate, swap, move, rename, empty, stretch, cut, retype, attribute, root_attribute, comment,
)  # fmt: skip
