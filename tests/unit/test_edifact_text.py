"""EDIFACT's tokenizer: separators as sent, every character kept, nothing hostile costs much."""

from __future__ import annotations

import gc
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.errors import Unreadable
from exchange.formats import _edifact_text
from exchange.formats._edifact_envelope import Payload, parse
from exchange.formats._edifact_text import CONTROL, DEFAULT, Separators, component, head

HEAD = b"UNB+UNOA:2+A:ZZ+B:ZZ+261122:0900+1'"


def one(body: bytes, *, before: bytes = HEAD, count: int = 3) -> Payload:
    return parse(before + b"UNH+1+CODECO:D:95B:UN'" + body + b"UNT+%d+1'UNZ+1+1'" % count)


def segments(payload: Payload) -> list[list[list[list[str]]]]:
    return list(payload.messages[0].segments())


def refused(payload: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as why:
        parse(payload)
    assert why.value.zh != why.value.en
    return why.value


def test_a_segment_is_split_into_elements_and_components() -> None:
    assert segments(one(b"BGM+34:::GATE+1+'"))[1] == [[["BGM"]], [["34", "", "", "GATE"]], [["1"]], [[""]]]


@pytest.mark.parametrize(
    ("written", "meant"),
    [(b"X??", "X?"), (b"A?'B", "A'B"), (b"A?+B?:C", "A+B:C"), (b"?A", "A"), (b"??'?'"[:2], "?"), (b"??????", "???")],
)
def test_released_characters_are_text(written: bytes, meant: str) -> None:
    assert segments(one(b"FTX+AAI+++" + written + b"'"))[1][4] == [[meant]]


def test_a_release_character_before_the_terminator_that_is_released_itself_ends_the_segment() -> None:
    assert [s[0][0][0] for s in segments(one(b"FTX+X??'BGM+1'", count=4))] == ["UNH", "FTX", "BGM", "UNT"]


def test_una_says_how_all_is_separated() -> None:
    text = "UNA=*,? ~UNB*UNOA=3*A*B*261122=0900*1~UNH*1*CODECO=D=95B=UN~FTX*A+B:C'D~UNT*3*1~UNZ*1*1~"
    payload = parse(text.encode())
    assert payload.interchanges[0].separators == Separators("=", "*", ",", "?", "", "~")
    assert segments(payload)[1] == [[["FTX"]], [["A+B:C'D"]]]


def test_a_blank_in_una_means_that_nothing_releases() -> None:
    payload = one(b"FTX+WHY? NOT'", before=b"UNA:+.  '" + HEAD)
    assert segments(payload)[1] == [[["FTX"]], [["WHY? NOT"]]]


def test_the_control_characters_of_level_b_need_no_una() -> None:
    text = "UNB+UNOB:1+A+B+261122:0900+1'UNH+1+CODECO:D:95B:UN'FTX+IT?S'UNT+3+1'UNZ+1+1'"
    payload = parse(text.translate(str.maketrans("+:'", "\x1d\x1f\x1c")).encode())
    assert payload.interchanges[0].separators == CONTROL
    assert segments(payload)[1] == [[["FTX"]], [["IT?S"]]]
    assert payload.faults == []


def test_elements_repeat_in_syntax_4_and_only_there() -> None:
    four = one(b"FTX+A*B:C?*D'", before=HEAD.replace(b"UNOA:2", b"UNOC:4"))
    assert segments(four)[1] == [[["FTX"]], [["A"], ["B", "C*D"]]]
    assert segments(one(b"FTX+A*B'"))[1] == [[["FTX"]], [["A*B"]]]
    other = one(b"FTX+A^B*C'", before=b"UNA:+.?^'" + HEAD.replace(b"UNOA:2", b"UNOC:4"))
    assert segments(other)[1] == [[["FTX"]], [["A"], ["B*C"]]]
    none = one(b"FTX+A*B'", before=b"UNA:+.? '" + HEAD.replace(b"UNOA:2", b"UNOC:4"))
    assert segments(none)[1] == [[["FTX"]], [["A*B"]]]


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n  ", b"\xef\xbb\xbf\r\n", b"UNA:+.? '\r\n"])
@pytest.mark.parametrize("after", [b"", b"\r\n", b"\n\n \x1a", b"\0\0"])
def test_what_stands_around_an_interchange_is_tolerated(before: bytes, after: bytes) -> None:
    body = (HEAD + b"UNH+1+CODECO:D:95B:UN'BGM+1'UNT+3+1'UNZ+1+1'").replace(b"'", b"'\r\n")
    payload = parse(before + body + after)
    assert payload.faults == []
    assert len(payload.messages) == 1


def test_lines_that_an_old_program_wrapped_are_joined() -> None:
    whole = HEAD + b"UNH+1+CODECO:D:95B:UN'FTX+AAI+++A LONG TEXT'UNT+3+1'UNZ+1+1'"
    wrapped = whole[:40] + b"\r\n".join(whole[at : at + 7] for at in range(40, len(whole), 7))
    assert parse(wrapped).faults == []
    assert segments(parse(wrapped)) == segments(parse(whole))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_what_is_joined_is_split_again(values: list[str]) -> None:
    for separators in (DEFAULT, Separators("=", "*", ",", "\\", "^", "~")):
        segment = [[["FTX"]], [values], [["A"], ["B", "C"]] if separators.repetition else [["A"]]]
        assert separators.split(separators.join(segment)) == segment


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_cut_interchange_is_refused_by_its_last_segment() -> None:
    why = refused(HEAD + b"UNH+1+CODECO:D:95B:UN'BGM+3")
    assert (why.code, "'BGM'" in why.en) == ("SWX-1016", True)
    assert refused(HEAD + b"UNH+1+CODECO'FTX+?'").code == "SWX-1016"
    assert refused(HEAD + b"FTX+?").code == "SWX-1016"


@pytest.mark.parametrize(
    "start", [b"UNA:+.+ 'UNB+", b"UNA::.? 'UNB:", b"UNA:+.? 'UNB*", b"UNB|UNOA", b"UNA:+.? 'UNH+", b"UNA 'UNB+"]
)
def test_separators_that_can_not_be_meant_are_refused(start: bytes) -> None:
    assert refused(start + b"UNOA:2+A+B+261122:0900+1'").code == "SWX-1017"


@pytest.mark.parametrize("payload", [b"", b"\r\n ", b"\xef\xbb\xbf"])
def test_nothing_is_called_empty(payload: bytes) -> None:
    assert refused(payload).code == "SWX-1012"


@pytest.mark.parametrize("payload", [b"DOC+1'UNA:+.? 'UNB+UNOA:2'", b"<a/>", b"UN", b"UNBALANCED"])
def test_what_does_not_begin_as_an_interchange_is_none(payload: bytes) -> None:
    assert refused(payload).code == "SWX-1010"


def test_a_segment_without_end_is_refused_at_once() -> None:
    payload = HEAD + b"FTX+" + b"A" * 50_000_000
    started = time.process_time()
    assert refused(payload).code == "SWX-1016"
    assert refused(payload + b"'").code == "SWX-1018"
    assert refused(HEAD + b"?" * 30_000_000).code == "SWX-1016"
    assert refused(HEAD + b"?'" * 15_000_000).code == "SWX-1018"
    assert refused(HEAD + b"?'" * 15_000_000 + b"'").code == "SWX-1018"
    assert time.process_time() - started < 5.0


def test_too_many_segments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_edifact_text, "LIMIT_SEGMENTS", 1000)
    assert refused(HEAD + b"'" * 1001).code == "SWX-1018"


def test_a_large_message_costs_little_more_memory_than_its_bytes() -> None:
    segment = b"LOC+147+0030586::5'FTX+AAY+++TEXT THAT TELLS NOTHING AT ALL TO ANYBODY'"
    count = 4_000_000 // len(segment)
    body = HEAD + b"UNH+1+CODECO:D:95B:UN'" + segment * count + b"UNT+%d+1'UNZ+1+1'" % (2 * count + 2)
    gc.collect()
    tracemalloc.start()
    try:
        payload = parse(body)
        assert sum(1 for _ in payload.messages[0].segments()) == 2 * count + 2
        assert tracemalloc.get_traced_memory()[1] < len(body) + 100_000
    finally:
        tracemalloc.stop()
    assert payload.faults == []


def test_a_head_says_where_the_interchange_begins() -> None:
    found = head("\r\nUNA:+.? '\r\nUNB+UNOA:2", 0)
    assert (found.start, found.una) == (13, ":+.? '")
    assert component(DEFAULT.split("RFF+ A : B"), 1, 2) == "B"
    assert component(DEFAULT.split("RFF"), 1) == ""
