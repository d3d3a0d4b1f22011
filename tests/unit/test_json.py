"""JSON: one reading only, bounded depth and size; every error with its pointer."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.catalogue import SCHEMAS, load
from exchange.errors import Unreadable
from exchange.formats import json as format
from exchange.formats._json_parse import LIMIT_DEPTH, parse
from exchange.model import Envelope

CATALOGUE = load()
FOLDER = SCHEMAS / "neutral" / "event"
FULL = (FOLDER / "samples" / "valid" / "LogisticsEvent--full.json").read_bytes()
ON = date(2026, 1, 1)


def read(payload: bytes) -> Envelope:
    opened = CATALOGUE.open(payload)
    return CATALOGUE.read(opened, CATALOGUE.identify(opened))


def refused(payload: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as why:
        parse(payload)
    return why.value


# -- bytes to values ------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=20,
)


@given(
    value=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9), values, max_size=4
    )
)
def test_what_is_json_is_read_as_it_was_meant(value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" not in text:
        assert parse(text.encode()) == parse(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    ("payload", "code", "says"),
    [
        (b"{", "SWX-1011", "line 1, column 2"),
        (b'{"a": 1} {', "SWX-1011", "Extra data"),
        (b"[1]", "SWX-1011", "must be an object"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "SWX-1011", "'c' occurs twice"),
        (b'{"a": NaN}', "SWX-1011", "NaN"),
        (b'{"a": -Infinity}', "SWX-1011", "Infinity"),
        (b'{"a": "\\ud800"}', "SWX-1011", "surrogate"),
        (b'{"\\udfff": 1}', "SWX-1011", "surrogate"),
        (b'{"a": "\\u0000"}', "SWX-1011", "no text"),
        (b'{"a": "\0"}', "SWX-1011", "control character"),
        ('{"a": "é"}'.encode("latin-1"), "SWX-1014", "byte 8"),
        ('{"a": 1}'.encode("utf-16"), "SWX-1014", "UTF-8"),
        (b'{"a": 9007199254740992}', "SWX-1015", "9007199254740992"),
        (b'{"a": 1e400}', "SWX-1015", "1e400"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "SWX-1015", "exactly"),
        (b'{"a": 0.' + b"1" * 1_000_000 + b"}", "SWX-1015", "exactly"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "SWX-1015", "64 levels"),
        (b'{"a":' + b"[" * 5_000_000, "SWX-1015", "values"),
        (b'{"a":' + b"[" * 100_000, "SWX-1015", "64 levels"),
        (b'{"a":[' + b"0," * 1_000_000 + b"0]}", "SWX-1015", "values"),
    ],
)
def test_what_could_be_read_in_two_ways_or_is_too_much_is_refused(payload: bytes, code: str, says: str) -> None:
    before = time.process_time()
    why = refused(payload)
    assert why.code == code
    assert says in why.en
    assert len(why.en) < 300
    assert time.process_time() - before < 2


def test_what_is_just_within_the_bounds_is_taken() -> None:
    assert parse(b'{"a":' * LIMIT_DEPTH + b"1" + b"}" * LIMIT_DEPTH)
    assert parse(b'{"a": -9007199254740991, "b": "\\ud842\\udfb7"}') == {"a": -(2**53) + 1, "b": "𠮷"}


# -- reading --------------------------------------------------------------------------------------------------------


def test_each_event_is_a_document_known_by_its_id_and_its_container() -> None:
    envelope = read(FULL)
    assert (envelope.own_id, envelope.sender, envelope.receivers) == ("EV-0000002", "PORT01", ("CUSTOMS", "AGENT01"))
    assert envelope.documents[0].keys == {"event": "E-1", "voyage": "0000001/0126E"}
    assert envelope.documents[1].keys["container"] == "EXAU0000009"
    assert envelope.fields["equipmentEvent"] == ("DISC", "CUSS", "CUSI", "CUSR", "GTOT")
    assert envelope.fields["location"] == ("CNSHA",)


def test_a_part_has_only_its_events() -> None:
    opened = CATALOGUE.open(FULL)
    part = CATALOGUE.part(opened, CATALOGUE.identify(opened), [0, 4])
    assert [document.keys["event"] for document in read(part).documents] == ["E-1", "E-5"]
    assert CATALOGUE.valid(CATALOGUE.open(part), CATALOGUE.types["LogisticsEvent"], on=ON)
    assert len(read(FULL).documents) == 7


@pytest.mark.parametrize(
    ("value", "path", "texts"),
    [
        ({"a/b": {"~": [1, "x", True, None, {}, " "]}}, "/a~1b/~0", ["1", "x", "true"]),
        ({"a": [{"b": 1.5}]}, "/a/0/b", ["1.5"]),
        ({"a": [{"b": 1.5}]}, "/a/9/b", []),
        ({"a": "x"}, "/a/b", []),
        ({}, "=1.0", ["1.0"]),
    ],
)
def test_a_path_is_a_json_pointer(value: Any, path: str, texts: list[str]) -> None:
    assert format._compiled(path)(value) == texts


@pytest.mark.parametrize("path", ["a", "/a~2", "", "=", "a/b"])
def test_what_is_no_json_pointer_is_a_mistake(path: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        format._compiled(path)


# -- judging --------------------------------------------------------------------------------------------------------


def test_all_errors_are_told_at_once_with_pointers_and_labels() -> None:
    event = {"eventID": "", "eventType": "EQUIPMENT", "eventClassifierCode": "XXX", "eventDateTime": 7, "more/": 1}
    payload = json.dumps({"messageType": "LogisticsEvent", "version": "1.0", "messageID": "x" * 65, "events": [event]})
    findings = CATALOGUE.explain(payload.encode(), "LogisticsEvent", "1.0")
    assert {(finding.code, finding.pointer) for finding in findings} == {
        ("SWX-1413", "/messageID"),
        ("SWX-1412", "/events/0/eventID"),
        ("SWX-1415", "/events/0/eventClassifierCode"),
        ("SWX-1421", "/events/0/eventDateTime"),
        ("SWX-1402", "/events/0/more~1"),
        ("SWX-1401", "/events/0/equipmentEventTypeCode"),
        ("SWX-1401", "/events/0/equipmentReference"),
    }
    missing = next(finding for finding in findings if finding.pointer.endswith("equipmentReference"))
    assert missing.en == "equipmentReference (container number) is required but missing: add it"
    assert missing.zh == "缺少必填项 箱号 equipmentReference：请补填后重报"


def test_no_more_than_fifty_errors_are_told() -> None:
    payload = json.dumps({"messageType": "LogisticsEvent", "version": "1.0", "messageID": "x", "events": [{}] * 900})
    assert len(CATALOGUE.explain(payload.encode(), "LogisticsEvent", "1.0")) == 50


@pytest.mark.parametrize(
    "schema",
    [
        b'{"type": "objekt"}',
        b'{"$ref": "http://127.0.0.1:9/other.json"}',
        b'{"pattern": "("}',
        b"{",
    ],
)
def test_a_schema_that_is_none_or_wants_the_network_is_a_mistake(schema: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(schema)
    with pytest.raises(ValueError, match=r"x\.json"):
        format.compile(tmp_path / "x.json")


def test_a_pattern_takes_no_longer_than_its_text_is_long(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'{"properties": {"a": {"pattern": "^(a+)+$"}}}')
    before = time.process_time()
    assert not format.compile(tmp_path / "x.json").is_valid({"a": "a" * 100_000 + "b"})
    assert time.process_time() - before < 1
