"""What is too large for a tree is accepted, read and judged as if it had one."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from exchange.catalogue import Sample, load
from exchange.errors import Rejected
from exchange.formats import _xml_parse
from exchange.formats._xml_parse import large, parse
from tests.contract.test_mutants import mutant as damaged
from tests.mutants import mutants

CATALOGUE = load()
ON = date(2026, 1, 1)
SAMPLES = [sample for sample in CATALOGUE.samples() if CATALOGUE.types[sample.type].format == "xml"]
WRAPPED = re.compile(rb"<(?:MFTMessage|PlatImpRet|ImportMessage)\b")

BARE = [s for s in SAMPLES if not WRAPPED.search(s.path.read_bytes())]
WHOLE = [s for s in BARE if not s.code.startswith("SWX-101")]
patient = settings(
    max_examples=700, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@contextmanager
def streaming() -> Iterator[None]:
    """Take everything for too large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_xml_parse, "NEVER_LARGE", -1)
        patch.setattr(_xml_parse, "LIMIT_TREE", -1)
        yield


def outcome(payload: bytes, on: date = ON) -> Any:
    try:
        opened = CATALOGUE.open(payload)
        type = CATALOGUE.identify(opened)
        envelope = CATALOGUE.read(opened, type)
        original = type.spec.reader.original(opened)
        return type.name, envelope, original, CATALOGUE.valid(opened, type, on=on, version=envelope.version)
    except Rejected as why:
        return why.code, why.en, why.zh


def the_same(payload: bytes) -> str:
    """Check that both ways come to the same; return what that is, in short."""
    expected = outcome(payload)
    with streaming():
        assert outcome(payload) == expected
    return expected[0] if len(expected) == 3 else str(expected[3])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.path.name)
def test_a_sample_comes_to_the_same(sample: Sample) -> None:
    payload = sample.path.read_bytes()
    if WRAPPED.search(payload):
        with streaming():
            assert outcome(payload)[0] == "SWX-1015"
        return
    the_same(payload)


def test_a_mutant_comes_to_the_same() -> None:
    ends: Counter[str] = Counter()

    @patient
    @given(sample=st.sampled_from(BARE), seed=st.integers(0, 2**48))
    def compared(sample: Sample, seed: int) -> None:
        payload = damaged(sample.path.read_bytes(), random.Random(seed))
        if not WRAPPED.search(payload.replace(b"\0", b"")):
            ends[the_same(payload)] += 1

    compared()
    assert {"True", "False", "SWX-1011", "SWX-1014"} <= set(ends)


def test_a_message_with_other_elements_comes_to_the_same() -> None:
    ends: Counter[str] = Counter()

    @patient
    @given(sample=st.sampled_from(WHOLE), charset=st.sampled_from(["UTF-8", "GB18030", "UTF-16"]), data=st.data())
    def compared(sample: Sample, charset: str, data: st.DataObject) -> None:
        _, changed = data.draw(mutants(parse(sample.path.read_bytes())))
        ends[the_same(etree.tostring(changed, encoding=charset))] += 1

    compared()
    assert min(ends["True"], ends["False"]) > 20


def test_receivers_and_texts_with_remarks_inside_come_to_the_same() -> None:
    (payload,) = [sample.path.read_bytes() for sample in SAMPLES if sample.path.name == "CEB311Message.xml"]
    odd = payload.replace(b"<ceb:orderNo>", b"<ceb:orderNo><!-- a -->x<?b c?><![CDATA[<d>]]>&amp;")
    assert odd != payload
    assert the_same(odd) == "True"


def test_what_is_wrong_with_a_stream_is_told_with_its_line_and_without_its_value() -> None:
    (payload,) = [sample.path.read_bytes() for sample in SAMPLES if sample.path.name == "CEB311Message.xml"]
    payload = payload.replace(b"<ceb:currency>142<", b"<ceb:currency>SECRET<", 1)
    line = payload[: payload.index(b"SECRET")].count(b"\n") + 1
    with streaming():
        (finding,) = CATALOGUE.explain(payload, "CEB311Message", "202205")
    assert (finding.line, finding.code) == (line, "SWX-1499")
    assert "currency" in finding.en
    assert "currency" in finding.pointer
    assert "SECRET" not in str(finding)


@pytest.mark.parametrize("name", ["xmlns:x%d='relative'", "xml:id='%d'"])
def test_no_number_of_warnings_hides_an_error(name: str) -> None:
    (payload,) = [sample.path.read_bytes() for sample in SAMPLES if sample.path.name == "CEB311Message.xml"]
    noise = b"".join(b"<ceb:ExtendMessage><ceb:name %s/></ceb:ExtendMessage>" % (name % n).encode() for n in range(300))
    assert the_same(payload.replace(b"</ceb:CEB311Message>", noise + b"</ceb:CEB311Message>")) == "False"
    attributes = b" ".join(b"xmlns:x%d='relative'" % number for number in range(200))
    assert the_same(payload.replace(b"<ceb:CEB311Message ", b"<ceb:CEB311Message %s " % attributes)) == "True"
    odd = payload.replace(b"<ceb:CEB311Message ", b"<ceb:CEB311Message %s " % attributes)
    assert the_same(odd.replace(b"<ceb:currency>142<", b"<ceb:currency>x<")) == "False"
    assert the_same(odd.replace(b"ceb:currency>", b"none:currency>")) == "SWX-1011"


def test_what_is_small_is_never_streamed() -> None:
    assert not large(b"<=" * (128 * 1024))
    assert large(b"<=" * (256 * 1024))
    assert not large(b" " * 60_000_000)
