"""What the switch asks of every format, tried on each.

``TYPES`` in the environment names a folder of types that are taken along: those of a format that is made elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.catalogue import SCHEMAS, Sample, load
from exchange.errors import Rejected, Unreadable
from exchange.formats import Format, Opened

CATALOGUE = load(SCHEMAS, *([Path(os.environ["TYPES"])] if os.environ.get("TYPES") else []))
READ = {
    name: type for name, type in CATALOGUE.types.items() if type.format != "opaque"
}  # of which nobody reads a thing
FORMATS: dict[str, Format] = {type.format: type.spec.format for type in READ.values()}
VALID = [sample for sample in CATALOGUE.samples() if not sample.code and sample.type in READ]
PAYLOADS = {name: [s.path.read_bytes() for s in VALID if CATALOGUE.types[s.type].format == name] for name in FORMATS}

every_format = pytest.mark.parametrize("name", sorted(FORMATS))
patient = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def survived(format: Format, payload: bytes) -> list[Opened]:
    """Open, or be refused in two languages with a code; anything else is a failure."""
    try:
        return [format.open(payload)]
    except Unreadable as error:
        why = error
    assert why.code.startswith("SWX-101")
    assert why.en
    assert why.zh != why.en
    return []


@every_format
def test_a_format_recognises_its_own_samples_and_no_foreign_bytes(name: str) -> None:
    format = FORMATS[name]
    assert all(format.sniff(payload) for payload in PAYLOADS[name])
    assert not any(format.sniff(payload) for payload in (b"", b"\0\1\2", b"PK\3\4", b"\x89PNG"))


@every_format
def test_opening_keeps_the_bytes_and_the_format(name: str) -> None:
    for payload in PAYLOADS[name]:
        opened = FORMATS[name].open(payload)
        assert opened.payload is payload
        assert opened.format is FORMATS[name]


@pytest.mark.parametrize("sample", VALID, ids=lambda sample: sample.path.name)
def test_a_sample_is_known_by_the_key_its_yaml_spells(sample: Sample) -> None:
    spec = CATALOGUE.types[sample.type].spec
    opened = spec.format.open(sample.path.read_bytes())
    assert spec.format.key(opened) in {spec.format.root_key(way) for way in spec.file.root.ways()}
    assert spec.file.version.accepts(spec.reader.version(opened))
    assert CATALOGUE.identify(opened).name == sample.type


@pytest.mark.parametrize("sample", VALID, ids=lambda sample: sample.path.name)
def test_reading_gives_an_id_and_a_key_for_each_document_and_leaves_the_verdict_alone(sample: Sample) -> None:
    spec = CATALOGUE.types[sample.type].spec
    opened = spec.format.open(sample.path.read_bytes())
    schema = spec.format.schema(spec.folder / spec.editions[-1].file, unsigned=False)
    before = schema.valid(opened)
    envelope = spec.reader.read(opened)
    assert envelope.own_id
    assert envelope.documents
    assert all(document.keys for document in envelope.documents)
    assert len(envelope.answers) == (len(envelope.documents) if spec.file.answers else 0)
    assert envelope == spec.reader.read(opened)
    assert schema.valid(opened) is before is True


@every_format
@patient
@given(payload=st.binary(max_size=2000))
def test_arbitrary_bytes_are_opened_or_unreadable(name: str, payload: bytes) -> None:
    for opened in survived(FORMATS[name], payload):
        assert opened.payload == payload


@every_format
@patient
@given(data=st.data())
def test_damaged_samples_are_opened_or_unreadable_and_can_be_read(name: str, data: st.DataObject) -> None:
    payload = bytearray(data.draw(st.sampled_from(PAYLOADS[name])))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(payload)))
        end = min(len(payload), start + data.draw(st.integers(0, 40)))
        payload[start:end] = data.draw(
            st.binary(max_size=12) | st.sampled_from([b"<", b"&#0;", b"]]>", b"<!--", b"\xff"])
        )
    for opened in survived(FORMATS[name], bytes(payload)):
        try:
            type = CATALOGUE.identify(opened)
        except Rejected:
            continue
        envelope = CATALOGUE.read(opened, type)
        assert len(envelope.answers) in (0, len(envelope.documents))


@every_format
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_invalid_can_be_explained(name: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(PAYLOADS[name])).decode("utf-8", "ignore")
    cut = data.draw(st.integers(0, len(text) - 1))
    damaged = (text[:cut] + data.draw(st.text(max_size=30)) + text[cut:]).encode("utf-8", "ignore")
    for opened in survived(FORMATS[name], damaged):
        try:
            type = CATALOGUE.identify(opened)
        except Rejected:
            continue
        spec = type.spec
        file = spec.folder / spec.editions[-1].file
        if not spec.format.schema(file, unsigned=False).valid(opened):
            findings = spec.format.explain(damaged, file, unsigned=False, personal=spec.personal)
            assert 0 < len(findings) <= 50
            assert all(finding.code and finding.rule and finding.pointer and finding.zh for finding in findings)
