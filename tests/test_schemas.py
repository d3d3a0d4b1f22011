"""Every sample behaves as its name says, in both engines; the verdicts are those of the official schemas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from hypothesis import HealthCheck, given, settings
from lxml import etree

from exchange.catalogue import Sample, load
from exchange.errors import Rejected
from exchange.formats._xml_schema import schema_tree
from tests.mutants import forms, mutants, trimmed

CATALOGUE = load()
ON = date(2026, 1, 1)
SAMPLES = list(CATALOGUE.samples())
IN_2018 = date(2020, 1, 1)  # when 2018-113, of which the official samples are, was in force
CEB = {name: type for name, type in CATALOGUE.types.items() if type.spec.folder.name == "ceb"}
OFFICIAL = sorted(  # those with an official sample: 35
    name
    for name, type in CEB.items()
    if type.spec.editions[0].name == "2018-113" and name[3:6] not in ("816", "818", "900")
)
MUTANTS = settings(  # the same ones every time
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
Row = tuple[str, frozenset[str], str]
XS = "{http://www.w3.org/2001/XMLSchema}"
NAMED = ("length", "minLength", "maxLength", "totalDigits", "fractionDigits", "whiteSpace", "fixed", "default")
SHARED: dict[Path, set[str]] = {}  # schema file -> the types that it serves
for _type in CATALOGUE.types.values():
    for _edition in _type.spec.editions:
        SHARED.setdefault(_type.spec.folder / _edition.file, set()).add(_type.name)


def named(samples: list[Sample]) -> list[Any]:
    return [pytest.param(sample, id=sample.path.name) for sample in samples]


@pytest.mark.parametrize("sample", named([sample for sample in SAMPLES if not sample.code]))
def test_a_valid_sample_is_valid_and_nothing_but_warnings_is_said_of_it(sample: Sample) -> None:
    payload = sample.path.read_bytes()
    opened = CATALOGUE.open_as(payload, CATALOGUE.types[sample.type], sample.path.name)
    type = CATALOGUE.identify(opened)
    assert type.name == sample.type
    assert CATALOGUE.valid(opened, type, on=ON)
    findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
    assert findings == CATALOGUE.warnings(opened, type, CATALOGUE.schema(type, CATALOGUE.edition(type, ON)))
    assert all(finding.severity == "warning" for finding in findings)


@pytest.mark.parametrize("sample", named([sample for sample in SAMPLES if sample.code]))
def test_an_invalid_sample_fails_in_every_engine_with_the_code_in_its_name(sample: Sample) -> None:
    payload = sample.path.read_bytes()
    if not sample.code.startswith("SWX-14"):
        with pytest.raises(Rejected) as why:
            CATALOGUE.identify(CATALOGUE.open(payload))
        assert why.value.code == sample.code
        return
    opened = CATALOGUE.open_as(payload, CATALOGUE.types[sample.type], sample.path.name)
    type = CATALOGUE.identify(opened)
    assert type.name == sample.type
    assert not CATALOGUE.valid(opened, type, on=ON)
    findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
    assert [finding.code for finding in findings] == [sample.code]


@pytest.mark.parametrize("name", sorted(CATALOGUE.types))
def test_every_type_has_a_valid_sample(name: str) -> None:
    assert any(sample.type == name and not sample.code for sample in SAMPLES)


@pytest.mark.parametrize("file", sorted(SHARED), ids=lambda file: file.name)
def test_every_schema_has_a_small_and_a_full_valid_sample_and_invalid_ones(file: Path) -> None:
    samples = [sample for sample in SAMPLES if sample.type in SHARED[file]]
    assert len([sample for sample in samples if not sample.code]) >= 2
    assert len([sample for sample in samples if sample.code]) >= 2


@pytest.mark.parametrize("file", sorted(CATALOGUE.directory.glob("customs/*/*.xsd")), ids=lambda f: f.name)
def test_every_element_of_a_schema_is_labelled_in_chinese_and_english(file: Path) -> None:
    xs = "{http://www.w3.org/2001/XMLSchema}"
    for node in schema_tree(file, unsigned=False).iter(f"{xs}element"):
        if node.get("name") and node.get("name") not in ("SignedInfo", "SignatureValue", "KeyInfo"):
            zh, slash, en = node.findtext(f"{xs}annotation/{xs}documentation", "").partition(" / ")
            assert all([slash, zh, en.isascii()]), f"{file.name}: {node.get('name')}"


# -- against the official schemas, where they are present -----------------------------------------------------------


@pytest.fixture(scope="session")
def official(official_samples: Path) -> dict[str, etree.XMLSchema]:
    """Return the schema of 2018-113 (import or export) that has each message."""
    found = {}
    for file in official_samples.glob("*口业务节点报文.xsd"):
        schema, tree = etree.XMLSchema(file=str(file)), etree.parse(file)
        found |= {node.get("name"): schema for node in tree.iterfind("{*}element")}
    return found


def ours(name: str, on: date) -> etree.XMLSchema:
    type = CATALOGUE.types[name]
    compiled: etree.XMLSchema = CATALOGUE.schema(type, CATALOGUE.edition(type, on)).compiled  # type: ignore[attr-defined]
    return compiled


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_sample_gets_the_official_verdict(
    name: str, official_samples: Path, official: dict[str, etree.XMLSchema]
) -> None:
    root = etree.parse(official_samples / f"{name}.xml").getroot()
    assert official[name].validate(root) is ours(name, IN_2018).validate(root) is True


@pytest.mark.parametrize("name", OFFICIAL)
def test_mutants_of_the_official_sample_get_the_official_verdict(
    name: str, official_samples: Path, official: dict[str, etree.XMLSchema]
) -> None:
    root = trimmed(etree.parse(official_samples / f"{name}.xml").getroot())
    verdicts = Counter[bool]()

    @settings(MUTANTS, max_examples=70)
    @given(mutants(root))
    def compared(drawn: tuple[str, Any]) -> None:
        what, mutant = drawn
        verdict = official[name].validate(mutant)
        verdicts[verdict] += 1
        assert ours(name, IN_2018).validate(mutant) is verdict, f"{what}: the official verdict is {verdict}"

    compared()
    assert verdicts.total() >= 70
    assert min(verdicts[True], verdicts[False]) > 5


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_field_in_every_form_gets_the_official_verdict(
    name: str, official_samples: Path, official: dict[str, etree.XMLSchema]
) -> None:
    root = trimmed(etree.parse(official_samples / f"{name}.xml").getroot(), 1)
    theirs, own = official[name], ours(name, IN_2018)
    verdicts = Counter[bool]()
    for what in forms(root):
        verdict = theirs.validate(root)
        verdicts[verdict] += 1
        assert own.validate(root) is verdict, f"{what}: the official verdict is {verdict}"
    assert min(verdicts[True], verdicts[False]) > 100


@pytest.mark.parametrize("edition", ["2018-113", "202205"])
def test_elements_order_occurrences_and_facets_are_those_of_the_specification(edition: str, elements: Path) -> None:
    """What no official sample shows (202205, tax bills) is compared with the list of all elements."""
    known: dict[str, list[Row]] = {}
    for line in elements.read_text("utf-8").splitlines()[1:]:
        message, version, _, path, facets, occurs, _ = line.split("\t")
        if version == edition and message != "ExtendMessage" and not path.endswith("/(any)"):
            known.setdefault(message, []).append((path, facets_of(facets), occurs))
    told = {name for name, type in CEB.items() if edition in [e.name for e in type.spec.editions]}
    assert told == set(known)
    for name, rows in known.items():
        (file,) = [e.file for e in CEB[name].spec.editions if e.name == edition]
        schema = xmlschema.XMLSchema(str(CEB[name].spec.folder / file))
        assert list(rows_of(schema.elements[name], "")) == rows, name


def facets_of(text: str) -> frozenset[str]:
    """Return the facets of one element; a minimum of nothing is none."""
    if text.startswith("complex"):
        return frozenset({"complex"})
    return frozenset(text.removeprefix("xs:").split()) - {"minLength=0", "(XMLDSig)"}


def rows_of(element: Any, above: str) -> Iterator[Row]:
    """Walk a compiled schema as the list of all elements is written."""
    path, most = f"{above}/{element.local_name}", "*" if element.max_occurs is None else element.max_occurs
    yield path, said_of(element), f"{element.min_occurs}..{most}"
    if said_of(element) == {"complex"}:
        for child in element.type.content.iter_elements():
            if isinstance(child, xmlschema.XsdElement):
                yield from rows_of(child, path)


def said_of(element: Any) -> frozenset[str]:
    if element.local_name == "Signature":
        return frozenset({"ds:Signature"})
    if not element.type.is_simple():
        return frozenset({"complex"})
    builtin = next(e for e in ("int", "decimal", "string") if element.type.is_derived(element.maps.types[f"{XS}{e}"]))
    facets = {name.removeprefix(XS): str(facet.value) for name, facet in element.type.facets.items() if name}
    facets |= {name: value for name in ("fixed", "default") if (value := getattr(element, name)) is not None}
    own = {item for item in facets.items() if item[0] in NAMED and item != ("whiteSpace", "preserve")}
    numeric = {"whiteSpace"} if builtin != "string" else set()
    return frozenset({builtin, *(f"{name}={value}" for name, value in own if name not in numeric)})


# -- explaining -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CEB))
def test_whatever_libxml2_refuses_is_explained_in_two_languages_and_nothing_else(name: str) -> None:
    type = CEB[name]
    root = trimmed(etree.parse(next(s.path for s in SAMPLES if s.type == name and not s.code)).getroot())

    @settings(MUTANTS, max_examples=15)
    @given(mutants(root))
    def explained(drawn: tuple[str, Any]) -> None:
        what, mutant = drawn
        payload = etree.tostring(mutant, encoding="UTF-8")
        valid = CATALOGUE.valid(CATALOGUE.open(payload), type, on=ON)
        findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
        assert valid is not bool(findings), what
        assert all(f.code.startswith("SWX-14") and f.en.isascii() and "请" in f.zh for f in findings), what

    explained()
