"""EDIFACT that we write: control numbers, counts, charsets; and that reading it gives back what was written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.formats._edifact_envelope import parse
from exchange.formats._edifact_groups import Group, grouped
from exchange.formats._edifact_json import from_json, to_json
from exchange.formats._edifact_schema import read_schema
from exchange.formats._edifact_text import Segment
from exchange.formats._edifact_write import interchange, reference, syntax, trimmed
from exchange.steps.map import SCHEMAS

AT = 1_795_312_800_000_000  # 2026-11-22 10:00 in Beijing
HEADER: Segment = [[["UNB"]], [[""]], [["US", "ZZ"]], [["THEM"]]]

plain = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=8)
chinese = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
tags = st.sampled_from(["BGM", "NAD", "FTX", "RFF"])


def segments(text: st.SearchStrategy[str], most: int) -> st.SearchStrategy[Segment]:
    element = st.lists(st.lists(text, min_size=1, max_size=3), min_size=1, max_size=most)
    return st.builds(lambda tag, rest: [[[tag]], *rest], tags, st.lists(element, max_size=4))


def messages(text: st.SearchStrategy[str], most: int) -> st.SearchStrategy[list[list[Segment]]]:
    header: Segment = [[["UNH"]], [[""]], [["CODECO", "D", "95B", "UN"]]]
    body = st.lists(segments(text, most), max_size=4)
    return st.lists(st.builds(lambda rest: [header, *rest], body), min_size=1, max_size=3)


def written(bodies: list[list[Segment]], name: str) -> bytes:
    return interchange(HEADER, bodies, syntax(name), "REF1", AT)


def read_back(payload: bytes) -> list[list[Segment]]:
    return [list(message.segments())[1:-1] for message in parse(payload).messages]


@settings(max_examples=150, deadline=None)
@given(messages(plain, 1))
def test_what_is_written_in_syntax_3_is_read_back_and_survives_the_json_view(bodies: list[list[Segment]]) -> None:
    payload = written(bodies, "UNOC:3")
    assert read_back(payload) == [[trimmed(segment) for segment in body[1:]] for body in bodies]
    assert from_json(to_json(payload)) == payload
    assert not parse(payload).faults


@settings(max_examples=150, deadline=None)
@given(messages(chinese, 3))
def test_what_is_written_in_syntax_4_is_read_back_with_repetitions(bodies: list[list[Segment]]) -> None:
    payload = written(bodies, "UNOY:4")
    assert read_back(payload) == [[trimmed(segment) for segment in body[1:]] for body in bodies]
    assert from_json(to_json(payload)) == payload
    assert not parse(payload).faults


def test_references_counts_and_time_are_ours() -> None:
    body: list[Segment] = [[[["UNH"]], [[""]], [["CODECO", "D", "95B", "UN"]]], [[["BGM"]], [["34"]], [["A'B?C+D:E"]]]]
    assert written([body, body], "UNOC:3").decode().split("\r\n") == [
        "UNB+UNOC:3+US:ZZ+THEM+261122:1000+REF1'",
        "UNH+1+CODECO:D:95B:UN'",
        "BGM+34+A?'B??C?+D?:E'",
        "UNT+3+1'",
        "UNH+2+CODECO:D:95B:UN'",
        "BGM+34+A?'B??C?+D?:E'",
        "UNT+3+2'",
        "UNZ+2+REF1'",
        "",
    ]
    assert written([body], "UNOY:4").startswith(b"UNB+UNOY:4+US:ZZ+THEM+20261122:1000+REF1'")


@pytest.mark.parametrize(
    ("text", "name"),
    [("lower", "UNOA:2"), ("箱", "UNOA:2"), ("箱", "UNOC:3"), ("\n", "UNOC:3"), ("a\0b", "UNOY:4"), ("é", "UNOB:3")],
)
def test_what_a_syntax_has_no_characters_for_is_refused(text: str, name: str) -> None:
    body: list[Segment] = [[[["UNH"]], [[""]], [["CODECO"]]], [[["FTX"]], [[text]]]]
    with pytest.raises(ValueError, match=r"FTX: .* is no character of UNO"):
        written([body], name)


@pytest.mark.parametrize("name", ["", "UNOC", "UNOZ:3", "UNOC:5", "UNOC:3:x"])
def test_a_syntax_of_nobody_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no syntax"):
        syntax(name)


def test_two_deliveries_never_share_a_control_number_and_none_is_too_long() -> None:
    messages = [(day << 40) + number for day in (20_779, 20_780) for number in (0, 1, 35, 36, 2**40 - 1)]
    ids = [(message, delivery) for message in messages for delivery in (0, 1, 35, 36, 254)]
    assert len({reference(*id) for id in ids}) == len(ids)
    assert {len(reference(*id)) for id in ids} == {13}  # CONTRL of ours has 14: never the same


# -- groups ------------------------------------------------------------------------------------------------------


def outline(group: Group) -> object:
    return "".join(segment[0][0][0] + " " for segment in group.segments).strip(), [outline(g) for g in group.groups]


def test_segments_belong_to_the_groups_that_the_structure_has() -> None:
    file = SCHEMAS / "smdg" / "containers" / "samples" / "valid" / "IFTSTA--several-statuses.edi"
    schema = read_schema(SCHEMAS / "smdg" / "containers" / "tables" / "IFTSTA-UN.yaml")
    (message,) = parse(file.read_bytes()).messages
    whole = grouped(message, schema.versions["D:95B:UN"].structure)
    assert outline(whole) == (
        "UNH BGM DTM UNT",
        [
            ("NAD", []),
            (
                "CNI",
                [
                    ("STS DTM LOC", [("TDT", [])]),
                    ("STS RFF DTM LOC", [("EQD SEL", []), ("EQD", [])]),
                ],
            ),
            ("CNI", [("STS DTM", [("EQD", [])])]),
        ],
    )
    assert [group.lines[0] for group in whole.parts("EQD")] == [15, 17, 21]
    assert [segment[2][0][0] for segment in whole.named("EQD")] == ["TSTU0000014", "TSTU0000020", "TSTU0000035"]


def test_a_segment_that_may_not_stand_where_it_does_stays_in_the_group_around_it() -> None:
    text = "UNB+UNOA:2+A+B+261122:0900+1'UNH+1+IFTSTA:D:95B:UN'BGM+23'CNI+1'STS+1+24'"
    text += "BGM+24'XYZ+1'DTM+334:1'UNT+8+1'UNZ+1+1'"
    schema = read_schema(SCHEMAS / "smdg" / "containers" / "tables" / "IFTSTA-UN.yaml")
    (message,) = parse(text.encode()).messages
    whole = grouped(message, schema.versions["D:95B:UN"].structure)
    assert outline(whole) == ("UNH BGM UNT", [("CNI", [("STS BGM XYZ DTM", [])])])
