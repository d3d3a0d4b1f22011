"""Tables, CSV and Excel: charsets, quoting, row-level errors; bombs, formulas and endless cells are refused."""

from __future__ import annotations

import io
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.catalogue import SCHEMAS, load
from exchange.errors import Unreadable
from exchange.formats import _table_columns, _table_judge, _table_xlsx
from exchange.formats._table_csv import LIMIT_LENGTH, LIMIT_LINES
from exchange.formats._table_rows import LIMIT_CELL, LIMIT_COLUMNS
from exchange.formats.table import Table
from tests.bounds import orders

CATALOGUE = load()
VALID = SCHEMAS / "customs" / "ceb-table" / "samples" / "valid"
FULL = (VALID / "CEB311-Table--full-utf8-bom.csv").read_bytes()
BOOK = (VALID / "CEB311-Table--numbers-and-dates.xlsx").read_bytes()
ON = date(2026, 1, 1)


def cells(payload: bytes) -> list[list[str]]:
    table = Table().open(payload).tree
    return [table.headings, *(row.cells for row in table)]


def head_and_row() -> tuple[str, str]:
    head, *rows = FULL.decode("utf-8-sig").splitlines(keepends=True)
    return head, next(row for row in rows if "EX-0002" in row and "TEST-BUYER" in row)


def rebuilt(change: Callable[[str, bytes], bytes | None], more: dict[str, bytes] | None = None) -> bytes:
    """Return the sample workbook with other contents in its parts; None leaves a part out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(BOOK)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if (content := change(name, old.read(name))) is not None:
                new.writestr(name, content)
        for name, content in (more or {}).items():
            new.writestr(name, content)
    return out.getvalue()


def sheet(rows: str) -> bytes:
    """Return a workbook whose sheet has these rows."""
    return rebuilt(
        lambda name, old: f"<worksheet><sheetData>{rows}</sheetData></worksheet>".encode() if "sheet1" in name else old
    )


def refused(payload: bytes) -> str:
    before = time.process_time()
    with pytest.raises(Unreadable) as why:
        Table().open(payload)
    assert time.process_time() - before < 5
    assert why.value.zh != why.value.en
    return why.value.code


# -- CSV ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("表,编号\n1,箱\n".encode(), [["表", "编号"], ["1", "箱"]]),
        ("表,编号\r\n1,箱\r\n".encode("gbk"), [["表", "编号"], ["1", "箱"]]),
        ("\ufeff表;编号\n1;2,5".encode(), [["表", "编号"], ["1", "2,5"]]),
        ("*表\t编号*\n1\t2\n".encode(), [["表", "编号"], ["1", "2"]]),
        (b'a,b\n"x, ""y""","two\nlines"\n', [["a", "b"], ['x, "y"', "two\nlines"]]),
        (b"a,b\n=1+1,+2\n-3,@x\n", [["a", "b"], ["=1+1", "+2"], ["-3", "@x"]]),
        (b"a,b\n\n,\n1,2\n", [["a", "b"], ["1", "2"]]),
        (b"a,b\n012345678901234567,1.10\n", [["a", "b"], ["012345678901234567", "1.10"]]),
    ],
)
def test_csv_is_read_as_text(payload: bytes, expected: list[list[str]]) -> None:
    assert cells(payload) == expected


def test_rows_keep_the_numbers_a_spreadsheet_shows() -> None:
    table = Table().open(b'a,b\n1,"x\ny"\n\n,\n2,z\n').tree
    assert [row.number for row in table] == [2, 5]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'a,b\n1,"2\n', "SWX-1011"),
        (b'a,b\n1,"2" 3\n', "SWX-1011"),
        (b"\na,b\n", "SWX-1011"),
        (b"a,b\n1,\0\n", "SWX-1011"),
        (b"a,b\n1,\xff\n", "SWX-1014"),
        (b"a,b\n1," + b"x" * 10_000_000, "SWX-1015"),
        (b'a,b\n1,"' + b"x" * 10_000_000 + b'"', "SWX-1015"),
        (b'a,b\n1,"' + b"x\n" * 5_000_000, "SWX-1015"),
        (b"a,b\n1," + b"x" * (LIMIT_CELL + 1) + b"\n", "SWX-1015"),
        (b"a," * 1_000_000 + b"b\n", "SWX-1015"),
        (b"a,b\n" + b"," * 1_000_000, "SWX-1015"),
        (b"a,b\n" + b"," * LIMIT_COLUMNS, "SWX-1015"),
        (b"a,b\n" + b"1,2\n" * LIMIT_LINES, "SWX-1015"),
        (b"a,b\n" + b"\n" * LIMIT_LINES, "SWX-1015"),
        (b"a,b\n" + b'"x\n",' * (LIMIT_LENGTH // 5) + b"x\n", "SWX-1015"),
    ],
    ids=range(15),
)
def test_csv_that_is_malformed_or_too_much_is_refused_soon(payload: bytes, code: str) -> None:
    assert refused(payload) == code


def test_a_first_line_that_is_no_header_is_no_table() -> None:
    sniff = Table().sniff
    for payload in (
        b"a\n1\n",
        b"no end, no table",
        b"<a,b>\n",
        b"a,,b\n",
        b"\x01,b\n",
        b"a," + b"b" * 65 + b"\n",
        b"PK\3\4",
    ):
        assert not sniff(payload)


# -- Excel ----------------------------------------------------------------------------------------------------------


def test_a_workbook_gives_plain_digits_and_dates() -> None:
    head, first, second = cells(BOOK)
    row = dict(zip(head, first, strict=False))
    assert (row["代扣税款"], row["订购人电话"], row["下单日期"]) == ("9.1", "13800000000", "2026-11-22")
    assert row["备注"] == "=1+1"
    assert dict(zip(head, second, strict=False))["数量"] == "0.3"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('<c r="B1" t="b"><v>1</v></c>', "TRUE"),
        ('<c r="B1" t="str"><v>x</v></c>', "x"),
        ('<c r="B1" t="d"><v>2026-11-22</v></c>', "2026-11-22"),
        ('<c r="B1" s="1"><v>46348.5</v></c>', "2026-11-22 12:00:00"),
        ('<c r="B1" s="99"><v>46348.5</v></c>', "46348.5"),
        ('<c r="B1" s="1"><v>1e99</v></c>', "1e+99"),
        ('<c r="B1"><v>-0.000125</v></c>', "-0.000125"),
        ('<c r="B1"><v>123456789012345678</v></c>', "1.23456789012346E+17"),
        ('<c r="B1" t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r></is></c>', "ab"),
    ],
)
def test_a_cell_is_shown_as_people_would_write_it(cell: str, value: str) -> None:
    head = '<c r="A1" t="str"><v>h</v></c>'
    (row,) = _table_xlsx.rows(sheet(f"<row>{head}</row><row r='2'>{cell}</row>"))
    assert row.cells == ["", value]


def test_formulas_and_errors_are_marked_and_not_calculated() -> None:
    values = "<c><f>1+1</f><v>2</v></c><c t='e'><v>#N/A</v></c><c><v>3</v></c>"
    rows = f"<row r='1'><c t='str'><v>h</v></c></row><row r='2'>{values}</row>"
    (row,) = _table_xlsx.rows(sheet(rows))
    assert row.calculated == {0, 1}


def bomb() -> bytes:
    return rebuilt(lambda name, old: old.replace(b"<si>", b" " * 200_000_000 + b"<si>", 1) if "shared" in name else old)


def bomb_of_rows() -> bytes:
    return sheet("<row><c><v>1</v></c></row>" * 2_000_000)


def long_cell() -> bytes:
    return sheet(f'<row><c t="str"><v>{"x" * 10_000_000}</v></c></row>')


def wide_row() -> bytes:
    return sheet("<row>" + "<c><v>1</v></c>" * 1_000_000 + "</row>")


def far_column() -> bytes:
    return sheet('<row><c r="XFD1"><v>1</v></c></row>')


def deep() -> bytes:
    return sheet("<a>" * 100_000)


def entity() -> bytes:
    laughs = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]>'
    return rebuilt(
        lambda name, old: old.replace(b"<workbook ", laughs + b"<workbook ") if name == "xl/workbook.xml" else old
    )


def many_parts() -> bytes:
    return rebuilt(lambda name, old: old, {f"xl/media/{n}": b"" for n in range(20_000)})


def no_sheet() -> bytes:
    return rebuilt(lambda name, old: None if "sheet1" in name else old)


def other_compression() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(BOOK)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (bomb, "SWX-1015"),
        (bomb_of_rows, "SWX-1015"),
        (long_cell, "SWX-1015"),
        (wide_row, "SWX-1015"),
        (far_column, "SWX-1015"),
        (deep, "SWX-1015"),
        (entity, "SWX-1013"),
        (many_parts, "SWX-1015"),
        (no_sheet, "SWX-1011"),
        (other_compression, "SWX-1011"),
    ],
)
def test_a_hostile_workbook_is_refused_soon_in_bounded_memory(make: Callable[[], bytes], code: str) -> None:
    payload = make()
    assert refused(payload) == code
    tracemalloc.start()
    with pytest.raises(Unreadable):
        Table().open(payload)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(payload) + 100_000_000


# -- reading and judging --------------------------------------------------------------------------------------------


def test_rows_with_one_order_number_are_one_document() -> None:
    opened = CATALOGUE.open(FULL)
    type = CATALOGUE.identify(opened)
    envelope = CATALOGUE.read(opened, type)
    assert [document.keys["order"] for document in envelope.documents] == ["4401000001/EX-0001", "4401000001/EX-0002"]
    assert envelope.fields == {"appType": ("1",), "ebpCode": ("4401000001",), "ebcCode": ("4401000002",)}
    assert envelope.own_id != CATALOGUE.read(CATALOGUE.open(FULL + b"\n"), type).own_id
    part = CATALOGUE.open(CATALOGUE.part(opened, type, [1]))
    assert [document.keys["row"] for document in CATALOGUE.read(part, type).documents] == ["EX-0002"]
    assert CATALOGUE.valid(part, type, on=ON)


def test_every_fault_is_told_with_row_and_column_and_personal_values_are_masked() -> None:
    text = FULL.decode("utf-8-sig").replace("2.00000", "two").replace(",142", ",14").replace("测试甲", "测试甲" * 30)
    findings = CATALOGUE.explain(text.encode(), "CEB311-Table", "1")
    assert {(finding.code, finding.pointer, finding.line) for finding in findings} >= {
        ("SWX-1421", "row 3, column 单价", 3),
        ("SWX-1412", "row 2, column 原产国", 2),
        ("SWX-1412", "row 5, column 原产国", 5),
        ("SWX-1413", "row 2, column 订购人姓名", 2),
    }
    assert "「单价」" in next(finding.zh for finding in findings if finding.code == "SWX-1421")
    assert all("测试甲" not in finding.value for finding in findings)
    assert len(findings) <= 50


ANY = """
element: key
documents: 3
rows: 4
columns:
  - {name: table, en: table, use: M, of: document, codes: ["1"]}
  - {name: key, en: key, use: M, of: document, longest: 2}
  - {name: says, en: says, of: document, pattern: "[ab]+"}
  - {name: size, en: size, use: M, kind: number, whole: 1, decimals: 1}
  - {name: day, en: day, kind: date}
  - {name: not there, en: not there, kind: digits}
"""
CELL = st.sampled_from(["", " ", "1", "1.5", "1.55", "1E5", "a", "ab ", "ac", "x", "20240229", "2023-2-29", "abc"])


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.lists(CELL, min_size=1, max_size=7), max_size=8))
def test_rows_that_pass_the_one_look_have_no_fault(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(ANY, "utf-8")
    template = _table_columns.load(file)
    table = Table().open("\n".join(["table,key,size,says,day", *map(",".join, rows)]).encode()).tree
    looked = list(_table_judge.faults(table, template))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_table_judge._Walk, "_fits", lambda *_: False)
        assert list(_table_judge.faults(table, template)) == looked


def test_rows_of_a_document_need_not_be_adjacent_and_faults_come_in_the_order_of_rows() -> None:
    head, row = head_and_row()
    other = row.replace("EX-0002", "EX-3")
    payload = (head + row + other + row.replace(",142", ",1") + other.replace("示例平台", "别的平台")).encode()
    opened = CATALOGUE.open(payload)
    type = CATALOGUE.identify(opened)
    assert [document.keys["row"] for document in CATALOGUE.read(opened, type).documents] == ["EX-0002", "EX-3"]
    assert not CATALOGUE.valid(opened, type, on=ON)
    findings = CATALOGUE.explain(payload, "CEB311-Table", "1")
    assert [(finding.code, finding.line) for finding in findings] == [("SWX-1412", 4), ("SWX-1463", 5)]
    assert "row 3" in findings[1].en
    assert CATALOGUE.part(opened, type, [1]).decode("utf-8-sig").count("EX-3") == 2


def test_too_many_orders_and_rows_are_told_where_they_become_too_many_with_their_number() -> None:
    head, row = head_and_row()
    payload = head + row * 101 + "".join(row.replace("EX-0002", f"EX-{n}") for n in range(5_003))
    findings = CATALOGUE.explain(payload.encode(), "CEB311-Table", "1")
    assert [(finding.code, finding.line) for finding in findings] == [("SWX-1404", 101), ("SWX-1404", 5_102)]
    assert "101 times" in findings[0].en
    assert "5004 times" in findings[1].en


def test_keys_that_take_too_much_memory_are_refused() -> None:
    head, row = head_and_row()
    opened = CATALOGUE.open(
        (head + "".join(row.replace("EX-0002", f"𠮷{n}{'x' * 9_000}") for n in range(1_000))).encode()
    )
    with pytest.raises(Unreadable, match="keys and fields"):
        CATALOGUE.read(opened, CATALOGUE.identify(opened))


def test_a_large_table_is_checked_without_holding_its_rows() -> None:
    payload = orders(2_000_000, 60)
    tracemalloc.start()
    opened = CATALOGUE.open(payload)
    type = CATALOGUE.identify(opened)
    assert len(CATALOGUE.read(opened, type).documents) == payload.count(b"\n") // 60
    assert CATALOGUE.valid(opened, type, on=ON)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000_000  # as strings its cells would take fifty


def test_a_table_without_rows_is_told_so() -> None:
    header = FULL.partition(b"\n")[0] + b"\n"
    assert [f.code for f in CATALOGUE.explain(header, "CEB311-Table", "1")] == ["SWX-1401"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("columns: []", "must not be empty"),
        ("columns: [{name: a, en: a, kind: float}]", "kind"),
        ("columns: [{name: a, en: a}, {name: a, en: a}]", "stand there twice: a"),
        ("columns: [{name: a, en: a, pattern: '('}]", "missing )"),
    ],
)
def test_a_mistake_in_a_template_is_told(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"template\.yaml") as why:
        _table_columns.load(tmp_path / "template.yaml")
    assert problem in str(why.value)


def test_five_thousand_orders_are_judged_in_seconds() -> None:
    head, one = head_and_row()
    payload = (head + "".join(one.replace("EX-0002", f"EX-{n}") for n in range(5_000))).encode()
    before = time.process_time()
    opened = CATALOGUE.open(payload)
    type = CATALOGUE.identify(opened)
    assert CATALOGUE.valid(opened, type, on=ON)
    assert len(CATALOGUE.read(opened, type).documents) == 5_000
    assert time.process_time() - before < 5
