"""Platform files: charsets, release characters, loops and totals; what is hostile is refused in bounded time."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS, load
from exchange.errors import Unreadable
from exchange.formats import _platform_table
from exchange.formats._platform_parse import charset_of, parse, release
from exchange.formats.platform_file import PlatformFile, write
from exchange.model import Envelope, Finding

CATALOGUE = load()
FOLDER = SCHEMAS / "mot" / "platform"
FULL = (FOLDER / "samples" / "valid" / "MOT-IFCSUM--full-gbk.txt").read_bytes()
ON = date(2026, 1, 1)
HEAD = "00:IFCSUM:MANIFEST:9:AGENT01:PORT01:202611221130'\r\n10:EX01::CN:0126E::::20261123:CNSHA'\r\n11:EXL'\r\n"
BILL = "12:EXBL1'\r\n13:CNNGB'\r\n"


def findings(text: str, type: str = "MOT-IFCSUM") -> list[Finding]:
    return CATALOGUE.explain(text.encode(), type, "1996")


def told(text: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.pointer) for finding in findings(text)]


def read(payload: bytes) -> Envelope:
    opened = CATALOGUE.open(payload)
    return CATALOGUE.read(opened, CATALOGUE.identify(opened))


# -- bytes to records -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:a?:b:c'", ["00", "a:b", "c"]),
        ("00:L?'HOSPITALET:C?/ 1:TEL?: 0574'", ["00", "L'HOSPITALET", "C/ 1", "TEL: 0574"]),
        ("00:a??:'", ["00", "a?", ""]),
        ("00:a?:'", ["00", "a:"]),
        ("00:?''", ["00", "'"]),
        ("\r\n 00:wrapped\r\n line:b'\r\n\x1a", ["00", "wrapped line", "b"]),
        ("00'", ["00"]),
    ],
)
def test_fields_lose_their_release_characters_and_line_breaks(text: str, expected: list[str]) -> None:
    assert parse(text.encode()).fields(0) == expected


def test_what_was_released_is_read_back() -> None:
    for value in ("L'HOSPITALET: what?", "??''::", "", "箱号"):
        assert parse(f"00:{release(value)}:'".encode()).fields(0) == ["00", value, ""]


@pytest.mark.parametrize(
    ("payload", "charset"),
    [
        (b"00:'", "utf-8"),
        ("00:宁波'".encode(), "utf-8"),
        ("00:宁波'".encode("gbk"), "gb18030"),
        ("00:𠮷'".encode("gb18030"), "gb18030"),
        ("00:𠮷'".encode(), "utf-8"),
        ("00:腔'".encode("gbk"), "gb18030"),  # its two bytes are also valid UTF-8, of a character no port uses
        ("\ufeff00:é'".encode(), "utf-8"),
    ],
)
def test_the_charset_is_told_by_the_bytes(payload: bytes, charset: str) -> None:
    assert charset_of(payload) == charset


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"00:IFCSUM:x", "SWX-1011"),
        (b"00:IFCSUM:x'10:a\0b'", "SWX-1011"),
        (b"00:IFCSUM:x?'", "SWX-1011"),
        (b"00:IFCSUM:\xff\xfe'", "SWX-1014"),
    ],
)
def test_what_is_no_platform_file_is_refused(payload: bytes, code: str) -> None:
    with pytest.raises(Unreadable) as why:
        PlatformFile().open(payload)
    assert why.value.code == code


@pytest.mark.parametrize(
    "payload",
    [
        b"00:IFCSUM:" + b"x" * 50_000_000,
        b"00:IFCSUM:" + b"?'" * 20_000_000,
        b"00:IFCSUM:" + b":" * 50_000_000 + b"'",
        b"00:IFCSUM'" + b"'" * 50_000_000,
        b"00:IFCSUM'" + b"?'" * 900_000,
        b"00:IFCSUM:'" + b"?" * 50_000_000 + b"'",
        b"00:IFCSUM:'" + b":" * 2_000 + b"'",
    ],
    ids=[
        "unterminated",
        "released for ever",
        "one record of colons",
        "empty records",
        "an open end",
        "question marks",
        "fields",
    ],
)
def test_what_is_hostile_is_refused_soon(payload: bytes) -> None:
    before = time.process_time()
    with pytest.raises(Unreadable) as why:
        PlatformFile().open(payload)
    assert why.value.code == "SWX-1015"
    assert time.process_time() - before < 3


# -- reading --------------------------------------------------------------------------------------------------------


def test_a_manifest_is_its_bills_of_lading() -> None:
    envelope = read(FULL)
    assert envelope.type == "MOT-IFCSUM"
    assert envelope.sender == "AGENT01"
    assert envelope.receivers == ("PORT01", "TALLY01", "MSA01")
    assert [document.keys["bill"] for document in envelope.documents] == [
        "EXAMPLE STAR/0126E/EXBL0000001",
        "EXAMPLE STAR/0126E/EXBL0000002",
    ]
    assert envelope.fields == {
        "fileFunction": ("9",),
        "voyage": ("0126E",),
        "vessel": ("EXAMPLE STAR",),
        "billNo": ("EXBL0000001", "EXBL0000002"),
        "dischargePort": ("CNNGB",),
    }


def test_the_id_is_sender_receiver_time_and_content() -> None:
    first, other = read(FULL).own_id, read(FULL.replace(b"N/M", b"N/N")).own_id
    assert first.rpartition("/")[0] == other.rpartition("/")[0] == "AGENT01/PORT01/20261122113005"
    assert first != other
    assert read(FULL).own_id == first


def test_a_part_has_its_own_documents_and_a_total_that_is_right() -> None:
    opened = CATALOGUE.open(FULL)
    type = CATALOGUE.identify(opened)
    part = CATALOGUE.part(opened, type, [1])
    assert [document.keys["bill"] for document in read(part).documents] == ["EXAMPLE STAR/0126E/EXBL0000002"]
    assert CATALOGUE.valid(CATALOGUE.open(part), type, on=ON)
    assert "宁波".encode("gbk") in part


def test_what_is_written_is_in_the_charset_of_what_it_answers() -> None:
    assert write([["00", "宁波'"]], like="00:宁波'".encode("gbk")) == "00:宁波?''\r\n".encode("gbk")
    assert write([["00", "a\r\nb\0"]], like=b"\xff") == b"00:a  b '\r\n"


# -- judging --------------------------------------------------------------------------------------------------------


def test_all_faults_are_told_at_once_with_record_field_and_line() -> None:
    text = HEAD.replace(":9:", ":7:").replace("0126E", "") + BILL + "51:1:EXAU1'\r\n13:X'\r\n99:12'\r\n"
    assert told(text) == [
        ("SWX-1415", "record 1 (00), field 4 FILE FUNCTION"),
        ("SWX-1401", "record 2 (10), field 5 VOYAGE"),
        ("SWX-1403", "record 6 (51)"),
        ("SWX-1404", "record 7 (13)"),
        ("SWX-1454", "record 8 (99), field 2 RECORD TOTAL OF FILE"),
    ]
    assert [finding.line for finding in findings(text)] == [1, 2, 6, 7, 8]
    assert all(finding.zh != finding.en for finding in findings(text))


def test_every_loop_must_hold_what_it_needs() -> None:
    text = HEAD + "12:EXBL1'\r\n12:EXBL2'\r\n13:X'\r\n41:1'\r\n99:9'\r\n"
    assert told(text) == [
        ("SWX-1401", "record 4 (12)"),
        ("SWX-1401", "record 7 (41)"),
        ("SWX-1454", "record 8 (99), field 2 RECORD TOTAL OF FILE"),
    ]


@pytest.mark.parametrize(("total", "fits"), [("6", True), ("4", True), ("5", False), ("x", False), ("", False)])
def test_the_total_may_count_the_envelope_or_not(total: str, fits: bool) -> None:
    assert (told(f"{HEAD}{BILL}99:{total}'") == []) is fits


@pytest.mark.parametrize("instant", ["2611221130", "202611221130", "20261122113005"])
def test_times_have_ten_twelve_or_fourteen_digits(instant: str) -> None:
    assert told(f"{HEAD}{BILL}99:6'".replace("202611221130", instant)) == []


@pytest.mark.parametrize("instant", ["26112211", "202613221130", "2026112211305", "2026112225305", "now"])
def test_other_times_are_told(instant: str) -> None:
    assert [code for code, _ in told(f"{HEAD}{BILL}99:6'".replace("202611221130", instant))] == ["SWX-1421"]


def test_what_is_not_known_passes_with_one_warning() -> None:
    text = f"{HEAD}77:a'\r\n{BILL}77:b'\r\n99:8'".replace("AGENT01", "AN AGENT WITH A LONG CODE").replace(
        "EXL'", "EXL::more'"
    )
    assert CATALOGUE.valid(CATALOGUE.open(text.encode()), CATALOGUE.types["MOT-IFCSUM"], on=ON)
    assert [(finding.code, finding.severity) for finding in findings(text)] == [
        ("SWX-1413", "warning"),
        ("SWX-1453", "warning"),
        ("SWX-1452", "warning"),
    ]


def test_the_verdict_on_a_large_manifest_takes_a_second() -> None:
    bills = "".join(
        f"12:EXBL{n}'\r\n13:CNNGB'\r\n41:1::1:7:X:1.5'\r\n51:1:EXAU{n}:SL:20GP:F'\r\n" for n in range(9_999)
    )
    payload = f"{HEAD}{bills}99:{9_999 * 4 + 4}'".encode()
    before = time.process_time()
    opened = CATALOGUE.open(payload)
    assert CATALOGUE.valid(opened, CATALOGUE.types["MOT-IFCSUM"], on=ON)
    assert len(CATALOGUE.read(opened, CATALOGUE.types["MOT-IFCSUM"]).documents) == 9_999
    assert time.process_time() - before < 3


@pytest.mark.parametrize("record", ["12:'\r\n", "12:EXBL1'\r\n13:CNNGB'\r\n11:EXL::more'\r\n"])
def test_what_is_wrong_with_every_record_of_a_large_file_is_found_in_seconds(record: str) -> None:
    count = 100_000 // record.count("'")
    payload = f"{HEAD}{record * count}99:1'".encode()
    opened = CATALOGUE.open(payload)
    type = CATALOGUE.types["MOT-IFCSUM"]
    before = time.process_time()
    schema = CATALOGUE.schema(type, CATALOGUE.edition(type, ON))
    assert not schema.valid(opened)
    assert len(schema.warnings(opened)) == (50 if "more" in record else 0)
    assert len(CATALOGUE.explain(payload, type.name, "1996")) == 50
    assert time.process_time() - before < 10


def test_a_record_is_on_the_line_that_it_begins_on() -> None:
    file = parse(b"00:IFCSUM'10:A\r\nB'\r\n\r\n11:C'99:4'\r\n")
    assert [file.line(number) for number in range(4)] == [1, 1, 4, 4]


# -- record tables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("records: [{id: '7', title: {zh: a, en: a}}]", "should match pattern"),
        ("records: [{id: '77', title: {zh: a, en: a}, within: '78'}]", "there is no record '78' above"),
        ("records: [{id: '77', title: {zh: a, en: a}}, {id: '77', title: {zh: a, en: a}}]", "stands there twice"),
        (
            "records: [{id: '77', title: {zh: a, en: a}, fields: [{at: 2, name: A, zh: a, form: X(2), use: M/C}]}]",
            "must stand in pairs",
        ),
        ("records: [{id: '77', title: {zh: a, en: a}, fields: [{at: 2, name: A, zh: a, form: Z}]}]", "pattern"),
        ("base: table.yaml", "it is its own base"),
        ("base: missing.yaml", "No such file"),
        ("record: []", "did you mean 'records'"),
    ],
)
def test_a_mistake_in_a_record_table_is_told(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "table.yaml").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"(table|missing)\.yaml") as why:
        _platform_table.load(tmp_path / "table.yaml")
    assert problem in str(why.value)
