"""Types that begin alike, in several namespaces or in a wrapper: told apart, read and judged all the same."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest

from exchange.catalogue import Catalogue, load
from exchange.errors import ConfigurationError, Unidentified
from exchange.formats import Opened
from exchange.model import Envelope

NOW = date(2026, 1, 1)
XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">
  <xs:include schemaLocation="common.xsd"/>
  <xs:element name="Manifest">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="Head" type="Head"/>
        <xs:choice>
          <xs:element name="Declaration" type="Body"/>
          <xs:element name="Response" type="Body"/>
        </xs:choice>
      </xs:sequence>
      <xs:attribute name="v"/>
    </xs:complexType>
  </xs:element>
</xs:schema>"""
COMMON = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">
  <xs:complexType name="Head">
    <xs:sequence>
      <xs:element name="Id" type="xs:string"/>
      <xs:element name="Type" type="xs:string" minOccurs="0"/>
    </xs:sequence>
  </xs:complexType>
  <xs:complexType name="Body">
    <xs:sequence>
      <xs:element name="Journey" type="xs:string" minOccurs="0"/>
      <xs:element name="Bill" minOccurs="0" maxOccurs="9">
        <xs:complexType>
          <xs:sequence>
            <xs:element name="No" type="xs:integer"/>
            <xs:element name="Code" type="xs:string" minOccurs="0"/>
            <xs:element name="Text" type="xs:string" minOccurs="0"/>
          </xs:sequence>
        </xs:complexType>
      </xs:element>
    </xs:sequence>
  </xs:complexType>
</xs:schema>"""
REQUEST = """
name: {name}
title: {{zh: 舱单, en: manifest}}
kind: declaration
certainty: own
source: made up
format: xml
root:
  namespace: "urn:{name}"
  other_namespaces: [""]
  name: Manifest
  where: {{Head/Type: {name}, Declaration: "*"}}
  within: [Wrap/Data]
version: {{path: ["@v", "@V"], accepted: ["*"]}}
editions: [{{name: "1", valid_from: 2020-01-01, file: Manifest.xsd}}]
documents:
  element: Declaration/Bill
  keys: {{bill: [/Declaration/Journey, No]}}
answered_by: [Reply]
"""
REPLY = """
name: Reply
title: {zh: 回执, en: answer}
kind: receipt
certainty: own
source: made up
format: xml
root: {namespace: "urn:M1", other_namespaces: ["urn:M2", ""], name: Manifest, where: {Response: "*"}}
editions: [{name: "1", valid_from: 2020-01-01, file: Manifest.xsd}]
own_id: Head/Id
documents:
  element: Response/Bill
  keys: {bill: [/Response/Journey, No]}
answers:
  to: [M1, M2]
  code: Code
  text: Text
  text_code: 5
  terminal: ["01", "*"]
"""
CODES = """
status:
  "01": {stage: customs, outcome: accepted, zh: 接受, en: accepted}
  "19010": {stage: customs, outcome: pending, zh: 转人工, en: reviewed by a person}
  "*": {stage: customs, outcome: error, zh: 失败, en: failed}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    family = tmp_path / "customs" / "made-up"
    family.mkdir(parents=True)
    (family / "family.yaml").write_text("title: {zh: 测试, en: made up}\n", "utf-8")
    (family / "codes.yaml").write_text(CODES, "utf-8")
    (family / "Manifest.xsd").write_text(XSD)
    (family / "common.xsd").write_text(COMMON)
    (family / "Reply.yaml").write_text(REPLY, "utf-8")
    for name in ("M1", "M2"):
        (family / f"{name}.yaml").write_text(REQUEST.format(name=name), "utf-8")
    return tmp_path


@pytest.fixture
def catalogue(folder: Path) -> Catalogue:
    return load(folder)


def manifest(kind: str = "M1", namespace: str = "urn:M1", body: str = "Declaration", bills: str = "") -> bytes:
    inside = bills or "<Bill><No>7</No></Bill>"
    head = f"<Head><Id>id</Id><Type>{kind}</Type></Head>"
    text = f"<Manifest>{head}<{body}><Journey>V1</Journey>{inside}</{body}></Manifest>"
    return text.replace("<Manifest", f'<Manifest xmlns="{namespace}"' if namespace else "<Manifest", 1).encode()


def told(catalogue: Catalogue, payload: bytes) -> str:
    return catalogue.identify(catalogue.open(payload)).name


def read(catalogue: Catalogue, payload: bytes) -> tuple[Opened, Envelope, bool]:
    opened = catalogue.open(payload)
    type = catalogue.identify(opened)
    return opened, catalogue.read(opened, type), catalogue.valid(opened, type, on=NOW)


def test_types_that_begin_alike_are_told_by_what_stands_inside(catalogue: Catalogue) -> None:
    assert told(catalogue, manifest("M1")) == "M1"
    assert told(catalogue, manifest("M2", "urn:M2")) == "M2"
    assert told(catalogue, manifest("M2", "")) == "M2"
    assert told(catalogue, manifest("M2", "urn:M2", "Response")) == "Reply"
    assert told(catalogue, manifest("any", "", "Response")) == "Reply"


def test_what_no_type_says_is_told(catalogue: Catalogue) -> None:
    for payload in (manifest("M3", ""), manifest("M2", "urn:M1"), b"<Manifest/>", b"<Wrap><Data><x/></Data></Wrap>"):
        with pytest.raises(Unidentified) as why:
            told(catalogue, payload)
        assert why.value.code == "SWX-1024"
    with pytest.raises(Unidentified, match=r"none has Declaration '\*', Head/Type 'M3', Response ''"):
        told(catalogue, manifest("M3", ""))
    with pytest.raises(Unidentified) as why:
        told(catalogue, manifest("M1", "urn:other"))
    assert why.value.code == "SWX-1022"


@pytest.mark.parametrize("namespace", ["urn:M1", ""])
@pytest.mark.parametrize("wrapped", [False, True])
def test_namespace_and_wrapper_make_no_difference(catalogue: Catalogue, namespace: str, wrapped: bool) -> None:
    def sent(bills: str = "") -> bytes:
        inside = manifest("M1", namespace, bills=bills)
        return b"<Wrap><Sign>x</Sign><Data>" + inside + b"</Data></Wrap>" if wrapped else inside

    _, envelope, valid = read(catalogue, sent())
    assert valid
    assert (envelope.type, dict(envelope.documents[0].keys)) == ("M1", {"bill": "V1/7"})
    payload = sent("<Bill><No>seven</No></Bill>")
    assert not read(catalogue, payload)[2]
    (finding,) = catalogue.explain(payload, "M1", "1")
    assert finding.code == "SWX-1421"
    assert finding.pointer.endswith("Manifest/Declaration/Bill/No")


def test_a_wrapper_with_several_inside_is_refused_for_another_might_be_read_than_is_judged(
    catalogue: Catalogue,
) -> None:
    good, bad = manifest(), manifest(bills="<Bill><No>seven</No></Bill>")
    payload = b"<Wrap><x>" + good + b"</x><Data>" + bad + b"</Data></Wrap>"
    assert not read(catalogue, payload)[2]
    assert catalogue.explain(payload, "M1", "1")
    assert not read(catalogue, b"<Wrap><Data>" + good + good + b"</Data></Wrap>")[2]


def test_a_part_keeps_the_wrapper_and_the_namespace(catalogue: Catalogue) -> None:
    bills = "".join(f"<Bill><No>{number}</No></Bill>" for number in (1, 2, 3))
    payload = b"<Wrap><Data>" + manifest(bills=bills) + b"</Data></Wrap>"
    opened, envelope, _ = read(catalogue, payload)
    part = catalogue.part(opened, catalogue.types["M1"], [0, 2])
    assert read(catalogue, part)[1].documents == (envelope.documents[0], envelope.documents[2])
    assert b"Wrap" in part


def test_of_several_places_for_the_version_the_first_that_says_something_counts(catalogue: Catalogue) -> None:
    for attributes, version in ((b"v='1'", "1"), (b"V='2'", "2"), (b"v='3' V='4'", "3"), (b"", "")):
        payload = manifest(namespace="").replace(b"<Manifest", b"<Manifest " + attributes)
        assert read(catalogue, payload)[1].version == version


def test_without_an_id_of_its_own_the_same_bytes_are_the_same_message(catalogue: Catalogue) -> None:
    ids = [read(catalogue, payload)[1].own_id for payload in (manifest(), manifest(), manifest() + b" ")]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 32


def test_the_code_that_a_text_begins_with_counts_where_it_is_known(catalogue: Catalogue) -> None:
    bills = "".join(
        f"<Bill><No>1</No><Code>{code}</Code><Text>{text}</Text></Bill>"
        for code, text in (("01", "21301 ok"), ("03", "19010 manual"), ("01", ""), ("99", "x"))
    )
    answers = read(catalogue, manifest(body="Response", bills=bills))[1].answers
    assert [(a.code, a.outcome, a.terminal) for a in answers] == [
        ("01", "accepted", True),
        ("19010", "pending", False),
        ("01", "accepted", True),
        ("99", "error", True),
    ]


def test_two_types_may_not_claim_the_same(folder: Path) -> None:
    file = folder / "customs" / "made-up" / "M2.yaml"
    file.write_text(REQUEST.format(name="M2").replace("Head/Type: M2", "Head/Type: M1"), "utf-8")
    with pytest.raises(ConfigurationError, match="M1 claims the same root and version"):
        load(folder)


def test_paths_of_marks_wrappers_and_keys_that_are_none_are_told(folder: Path) -> None:
    file = folder / "customs" / "made-up" / "M2.yaml"
    text = REQUEST.format(name="M2").replace("Wrap/Data", "Wrap//Data").replace("/Declaration/Journey", "//Journey")
    file.write_text(text.replace('["@v", "@V"]', '["@v", "@"]').replace("Head/Type", "Head//Type"), "utf-8")
    with pytest.raises(ConfigurationError) as why:
        load(folder)
    text = "\n".join(why.value.problems)
    assert all(f"'{path}' is no path" in text for path in ("Wrap//Data", "//Journey", "@", "Head//Type"))


def test_schemas_of_many_types_are_compiled_once_for_each_file_and_namespace(catalogue: Catalogue) -> None:
    for payload in (manifest("M1"), manifest("M2", "urn:M2"), manifest("M2", ""), manifest("M2", "urn:M2", "Response")):
        assert read(catalogue, payload)[2]
    assert len(catalogue._schemas) == 1


def test_many_types_that_begin_alike_cost_no_more_than_two(folder: Path) -> None:
    few = load(folder)
    for number in range(3, 60):
        text = REQUEST.format(name=f"M{number}")
        (folder / "customs" / "made-up" / f"M{number}.yaml").write_text(text, "utf-8")
    many = load(folder)

    def microseconds(catalogue: Catalogue) -> float:
        opened = catalogue.open(manifest("M2", ""))
        rounds = []
        for _ in range(9):
            began = time.process_time()
            for _ in range(200):
                catalogue.identify(opened)
            rounds.append((time.process_time() - began) / 200 * 1e6)
        return min(rounds)

    assert microseconds(many) < microseconds(few) + 10
