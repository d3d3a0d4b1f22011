"""What the rows of a map may say, one by one; and every mistake in a map, with its place."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import Rejected
from exchange.model import Envelope, MessageType, Parcel, Party
from exchange.steps import About
from exchange.steps import _map_rows as rows_of
from exchange.steps._map_file import MapFile, Row
from exchange.steps._map_values import SHAPES
from exchange.steps.map import SCHEMAS, Map, MapOptions

AT, MESSAGE = 1_795_312_800_000_000, (20779 << 40) + 42  # 2026-11-22 10:00 in Beijing
ANYTHING = '{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}'
HEAD = """
title: {zh: 试, en: try}
certainty: own
notes: for a test
from: {type: A, format: json, file: any.json}
to: {type: B, format: json, file: any.json}
"""


def about(**changes: Any) -> About:
    said = {"envelope": Envelope("A", "1", "ID-1"), "type": MessageType("A", "json"), "receiver": None} | changes
    return About(at=AT, message=MESSAGE, **said)


def step(folder: Path, rows: str, head: str = HEAD, **values: str) -> Map:
    (folder / "any.json").write_text(ANYTHING)
    (folder / "try.yaml").write_text(f"{head}rows:\n{rows}" if rows else head)
    return Map(MapOptions.model_validate({"map": "try.yaml", "with": values}), folder)


def run(folder: Path, rows: str, message: Any, **values: str) -> Any:
    parcel = step(folder, rows, **values).apply(Parcel("m.json", json.dumps(message).encode()), about())
    return json.loads(parcel.read())


def wrong(folder: Path, rows: str, message: Any) -> list[str]:
    with pytest.raises(Rejected) as why:
        run(folder, rows, message)
    assert why.value.code == "SWX-1090"
    return [f"{f.code} {f.pointer}: {f.en}" for f in why.value.findings]


# -- what rows do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message", "made"),
    [
        ("{to: /x, from: /a}", {"a": " b "}, {"x": "b"}),
        ("{to: /x, from: /a}", {}, {}),
        ("{to: /x/y/z, from: /a}", {"a": "b"}, {"x": {"y": {"z": "b"}}}),
        ('{to: /x, from: "=CN"}', {}, {"x": "CN"}),
        ("{to: /x, from: [/a, /b]}", {"b": "2", "c": "3"}, {"x": "2"}),
        ('{to: /x, from: [/a, /b, "=c"], join: "-"}', {"a": "1", "b": ""}, {"x": "1-c"}),
        ("{to: /x, from: /a, cut: 3}", {"a": "ab cd"}, {"x": "ab"}),
        ('{to: /x, from: /a, pad: "000"}', {"a": "7"}, {"x": "007"}),
        ('{to: /x, from: /a, pad: "000"}', {"a": "12345"}, {"x": "12345"}),
        ('{to: /x, from: /a, as: integer, pad: "000"}', {"a": "7.0"}, {"x": "007"}),
        ("{to: /x, from: /a, codes: {b: B}}", {"a": "b"}, {"x": "B"}),
        ('{to: /x, from: /a, codes: {b: B, "*": keep}}', {"a": "c"}, {"x": "c"}),
        ('{to: /x, from: /a, codes: {b: B, "*": drop}}', {"a": "c"}, {}),
        ('{to: /x, from: /a, codes: {b: B, "*": =other}}', {"a": "c"}, {"x": "other"}),
        ("{to: /x, count: /a}", {"a": [1, 2, 3]}, {"x": "3"}),
        ("{to: /x, count: /a, as: integer}", {}, {"x": 0}),
        ("{to: /x, from: /a, as: number}", {"a": "0013.50"}, {"x": 13.5}),
        ("{to: /x, from: /a, as: number}", {"a": "1,5"}, {"x": 1.5}),
        ("{to: /x, from: /a, as: number}", {"a": "-7000"}, {"x": -7000}),
        ("{to: /x, from: /a, as: decimal}", {"a": "0013.500"}, {"x": "13.5"}),
        ("{to: /x, from: /a, as: upper}", {"a": "abc"}, {"x": "ABC"}),
        ("{to: /x, from: /a, as: guid}", {"a": "abc"}, {"x": "b79771f7-1e15-506f-8d52-1ad8088031cc"}),
        ("{to: /x, from: /a, as: instant}", {"a": "202611220845"}, {"x": "2026-11-22T08:45:00+08:00"}),
        ("{to: /x, from: /a, as: instant}", {"a": "2026-11-22T08:45:00Z"}, {"x": "2026-11-22T08:45:00+00:00"}),
        ("{to: /x, from: /a, as: YYYYMMDDhhmm}", {"a": "2026-11-22T23:45:00Z"}, {"x": "202611230745"}),
        ("{to: /x, from: /a, as: YYYYMMDDhhmmss}", {"a": "20261122084501123"}, {"x": "20261122084501"}),
        ("{to: /x, from: /a, as: day}", {"a": "261122"}, {"x": "2026-11-22"}),
        ("{to: /x, from: /a, as: YYYYMMDD}", {"a": "2026/1/2"}, {"x": "20260102"}),
        ("{to: /x, from: /a, as: YYMMDD}", {"a": "20261122"}, {"x": "261122"}),
        ("{to: /x, from: [$id, $message, $receiver], join: /}", {}, {"x": "ID-1/20261122-42"}),
        ("{to: /x, from: $at, as: YYYYMMDDhhmm}", {}, {"x": "202611221000"}),
        ("{to: /x, each: /a, from: .}", {"a": ["1", "2"]}, {"x": ["1", "2"]}),
        ("{to: /x, from: /b, where: {/a: [p, q]}}", {"a": "q", "b": "1"}, {"x": "1"}),
        ("{to: /x, from: /b, where: {/a: [p, q]}}", {"a": "r", "b": "1"}, {}),
        ('{to: /x, from: /b, where: {/a: "*"}}', {"a": "r", "b": "1"}, {"x": "1"}),
        ('{to: /x, from: /b, where: {/a: ""}}', {"a": "r", "b": "1"}, {}),
        ('{to: /x, from: /b, where: {/a: ""}}', {"b": "1"}, {"x": "1"}),
        ("{to: /x, rows: [{to: /y, from: /a}]}", {"a": "1"}, {"x": {"y": "1"}}),
        ("{to: /x, rows: [{to: /y, from: /a}]}", {}, {}),
        ("{where: {/a: p}, rows: [{to: /x, from: /a}]}", {"a": "p"}, {"x": "p"}),
        (
            "{each: /a, to: /x, rows: [{to: /n, from: $number}, {to: /y, from: /b}, {to: /z, from: ../c}]}",
            {"a": [{"b": "1"}, {"b": "2"}], "c": "3"},
            {"x": [{"n": "1", "y": "1", "z": "3"}, {"n": "2", "y": "2", "z": "3"}]},
        ),
        (
            "{each: /a, rows: [{each: /b, to: /x, rows: [{to: /n, from: [../$number, $number, ../../c], join: .}]}]}",
            {"a": [{"b": [{}, {}]}, {"b": [{}]}], "c": "z"},
            {"x": [{"n": "1.1.z"}, {"n": "1.2.z"}, {"n": "2.1.z"}]},
        ),
    ],
)
def test_a_row(tmp_path: Path, row: str, message: Any, made: Any) -> None:
    assert run(tmp_path, f"  - {row}\n", message) == made


def test_the_first_row_that_has_something_to_say_counts(tmp_path: Path) -> None:
    rows = "  - {to: /x, from: /a}\n  - {to: /x, from: /b}\n  - {to: /x, from: /c}\n"
    assert run(tmp_path, rows, {"b": "2", "c": "3"}) == {"x": "2"}


def test_a_route_gives_the_values_that_a_map_needs(tmp_path: Path) -> None:
    head = f"{HEAD}needs: [partner]\n"
    made = step(tmp_path, "  - {to: /x, from: $partner}\n", head, partner="EX01").apply(Parcel("m", b"{}"), about())
    assert json.loads(made.read()) == {"x": "EX01"}
    with pytest.raises(ValueError, match="the map needs partner, 'with' gives nothing"):
        step(tmp_path, "  - {to: /x, from: $partner}\n", head)
    with pytest.raises(ValueError, match="the map needs nothing, 'with' gives odd"):
        step(tmp_path, '  - {to: /x, from: "=1"}\n', odd="1")


def test_the_receiver_is_called_by_the_name_that_messages_call_it(tmp_path: Path) -> None:
    map = step(tmp_path, "  - {to: /x, from: $receiver}\n")
    for party, name in ((Party("P", "port"), "P"), (Party("P", "port", ids=("EDI1", "EDI2")), "EDI1")):
        assert json.loads(map.apply(Parcel("m", b"{}"), about(receiver=party)).read()) == {"x": name}


def test_the_result_has_a_name_and_a_type_of_its_own_and_the_original_is_untouched(tmp_path: Path) -> None:
    given = Parcel("GATE-1.edi", b'{"a": "1"}', {"id": "7", "type": "A"})
    made = step(tmp_path, "  - {to: /x, from: /a}\n").apply(given, about())
    assert (made.name, made.headers) == ("GATE-1.json", {"id": "7", "type": "B"})
    assert given == Parcel("GATE-1.edi", b'{"a": "1"}', {"id": "7", "type": "A"})


def test_options_and_what_is_wrong_pass_between_processes(tmp_path: Path) -> None:
    step(tmp_path, "  - {to: /x, from: /a, use: M}\n")
    options = pickle.loads(pickle.dumps(MapOptions(map="try.yaml")))
    with pytest.raises(Rejected) as why:
        Map(options, tmp_path).apply(Parcel("m", b"{}"), about())
    again = pickle.loads(pickle.dumps(why.value))
    assert (again.code, again.en, again.zh) == (why.value.code, why.value.en, why.value.zh)
    assert again.findings == why.value.findings


# -- what is wrong with a message --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message", "told"),
    [
        ("{to: /x, from: /a, use: M}", {}, "SWX-1481 /a: /a is required to make /x, and missing: fill it in"),
        (
            "{each: /a, to: /x, use: M, rows: [{to: /y, from: /b}]}",
            {},
            "SWX-1481 /a: /a is required to make /x, and missing: fill it in",
        ),
        (
            "{to: /x, from: /a, codes: {b: B}}",
            {"a": "c"},
            "SWX-1482 /a: /a has a code that can't be turned into /x: correct it, or have the code added to the map",
        ),
        (
            "{to: /x, from: /a, as: number}",
            {"a": "12kg"},
            "SWX-1483 /a: /a must be a number to become /x: correct it",
        ),
        (
            "{to: /x, from: /a, as: number}",
            {"a": "1234567890123456"},
            "SWX-1483 /a: /a must be a number of at most 15 digits to become /x: correct it",
        ),
        (
            "{to: /x, from: /a, as: integer}",
            {"a": "1.5"},
            "SWX-1483 /a: /a must be a whole number to become /x: correct it",
        ),
        (
            "{to: /x, from: /a, as: instant}",
            {"a": "20261122"},
            "SWX-1483 /a: /a must be an instant, with a time of day to become /x: correct it",
        ),
        (
            "{to: /x, from: /a, as: day}",
            {"a": "20261322"},
            "SWX-1483 /a: /a must be a day or an instant to become /x: correct it",
        ),
        (
            "{each: /a, to: /x, rows: [{to: /y, from: /b, use: M}, {to: /z, from: ../c, use: M}]}",
            {"a": [{"b": "1"}]},
            "SWX-1481 /c: /c is required to make /z, and missing: fill it in",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_place_in_the_source(tmp_path: Path, row: str, message: Any, told: str) -> None:
    assert wrong(tmp_path, f"  - {row}\n", message) == [told]


def test_everything_that_is_wrong_is_told_at_once_and_up_to_fifty_things(tmp_path: Path) -> None:
    rows = "  - {to: /x, from: /x, use: M}\n  - {each: /a, to: /y, rows: [{to: /b, from: /b, as: day, use: M}]}\n"
    told = wrong(tmp_path, rows, {"a": [{"b": "1"}, {}, {"b": "20261122"}, {"b": "x"}]})
    assert [line.partition(":")[0] for line in told] == [
        "SWX-1481 /x", "SWX-1483 /a/0/b", "SWX-1481 /a/1/b", "SWX-1483 /a/3/b",
    ]  # fmt: skip
    assert len(wrong(tmp_path, rows, {"a": [{}] * 80})) == 50


def test_values_in_findings_are_masked(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as why:
        run(tmp_path, "  - {to: /x, from: /a, as: number}\n", {"a": "张三丰"})
    assert [finding.value for finding in why.value.findings] == ["张**"]


def test_a_result_that_breaks_the_schema_of_its_type_goes_nowhere(tmp_path: Path) -> None:
    head = HEAD.replace("to: {type: B, format: json, file: any.json}", "to: {type: B, format: json, file: to.json}")
    (tmp_path / "to.json").write_text('{"type": "object", "properties": {"x": {"type": "string", "maxLength": 2}}}')
    map = step(tmp_path, "  - {to: /x, from: /a}\n", head)
    with pytest.raises(Rejected) as why:
        map.apply(Parcel("m", b'{"a": "abc"}'), about())
    assert (why.value.code, [f.code for f in why.value.findings]) == ("SWX-1091", ["SWX-1413"])


def test_a_result_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_of, "LIMIT_OUTPUT", 10_000)
    rows = "  - {each: /a, to: /x, rows: [{to: /y, from: ../b}]}\n"
    assert run(tmp_path, rows, {"a": [{}] * 9, "b": "b" * 1000})
    with pytest.raises(Rejected, match="SWX-1092"):
        run(tmp_path, rows, {"a": [{}] * 11, "b": "b" * 1000})


# -- what is wrong with a map ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{from: /a}", "rows[0]: 'to' is missing: a row writes somewhere, or has 'rows'"),
        ("{to: /x}", "rows[0]: a row has either 'from' or 'count'"),
        ("{to: /x, from: /a, count: /b}", "rows[0]: a row has either 'from' or 'count'"),
        ("{to: x, from: /a}", "rows[0].to: 'x' leads nowhere"),
        ("{to: /x, from: a}", "rows[0].from: 'a' leads nowhere"),
        ("{to: /x, from: [/a, b]}", "rows[0].from[1]: 'b' leads nowhere"),
        ("{to: /x, from: ../a}", "rows[0].from: there are 0 loops around this, not 1"),
        ("{to: /x, from: $mesage}", "rows[0].from: '$mesage' is not known here, did you mean 'message'?"),
        ("{to: /x, from: $number}", "rows[0].from: '$number' is not known here"),
        ("{to: /x, from: /a, table: gate}", "rows[0].table: there is no table 'gate'"),
        ('{to: /x, from: /a, codes: {a: b, "*": c}}', "rows[0]: '*' is error, keep, drop, or = and a text"),
        ("{to: /x, from: /a, as: date}", "rows[0].as: must be one of instant, day,"),
        ("{to: /x, frm: /a}", "rows[0]: unknown key 'frm', did you mean 'from'?"),
        ("{to: /x, from: /a, where: {b: c}}", "rows[0].where.b: 'b' leads nowhere"),
        ("{to: /x, from: /a, rows: [{to: /y, from: /b}]}", "rows[0].from: a block of rows writes no value"),
        ("{to: x, rows: [{to: /y, from: /b}]}", "rows[0].to: a block can't write to 'x'"),
        ("{each: a, to: /x, rows: [{to: /y, from: /b}]}", "rows[0].each: 'a' leads nowhere"),
        ("{to: /x, from: /a, codes: {a: 1}}", "rows[0].codes.a: 1 is a number here; write it in quotes"),
    ],
)
def test_a_mistake_in_a_map_is_told_with_its_place(tmp_path: Path, row: str, told: str) -> None:
    with pytest.raises(ValueError, match=rf"^{tmp_path}/try\.yaml:8:[0-9]+: {re.escape(told)}[^\n]*$"):
        step(tmp_path, f"  - {row}\n")


def test_all_mistakes_in_a_map_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"try\.yaml") as why:
        step(tmp_path, "  - {to: x, from: /a}\n  - {each: /a, to: /x, rows: [{to: y, from: b}]}\n")
    assert len(str(why.value).splitlines()) == 3


@pytest.mark.parametrize(("first", "second"), [("/x", "/x/y"), ("/x/y", "/x"), ("/x/y/z", "/x/y")])
def test_a_place_holds_a_value_or_others_never_both(tmp_path: Path, first: str, second: str) -> None:
    with pytest.raises(ValueError, match=rf"rows\[1\]\.to: '{second}' leads nowhere"):
        step(tmp_path, f"  - {{to: {first}, from: /a}}\n  - {{to: {second}, from: /b}}\n")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("CODECO-LogisticEvent", "there is no map 'CODECO-LogisticEvent', did you mean 'CODECO-LogisticsEvent'?"),
        ("../nowhere.yaml", "No such file"),
    ],
)
def test_a_map_that_isnt_there(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"map|file") as why:
        Map(MapOptions(map=name), tmp_path)
    assert told in str(why.value)


# -- the reference page ------------------------------------------------------------------------------------------


def test_the_example_of_the_reference_page_does_what_it_says(tmp_path: Path) -> None:
    page = (SCHEMAS.parent / "docs" / "reference" / "maps.md").read_text("utf-8").partition("## A complete example")[2]
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", page.partition("\n## ")[0], re.DOTALL))
    tables = SCHEMAS / "smdg" / "containers" / "tables" / "CODECO-UN.yaml"
    (tmp_path / "status.yaml").write_text(blocks["yaml"].replace("CODECO-UN.yaml", str(tables)))
    (tmp_path / "GatePass.json").write_text(blocks["json"])
    map = Map(MapOptions(map="status.yaml"), tmp_path)
    report = blocks["edifact"].encode()
    assert json.loads(map.apply(Parcel("m.edi", report), about()).read()) == json.loads(blocks["result"])
    with pytest.raises(Rejected) as why:
        map.apply(Parcel("m.edi", report.replace(b"DTM+7:202611220850:203'\n", b"")), about())
    assert [f"{f.code} {f.pointer}: {f.en}\n" for f in why.value.findings] == [blocks["wrong"]]


def test_the_reference_page_tells_every_key_of_a_row() -> None:
    page = (SCHEMAS.parent / "docs" / "reference" / "maps.md").read_text("utf-8")
    for name, field in (*Row.model_fields.items(), *MapFile.model_fields.items()):
        assert f"`{field.alias or name}" in page, name
    for shape in SHAPES:
        assert f"`{shape}`" in page, shape
