"""Everything that is wrong is told at once: where, which rule, the masked value, what to do, in two languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS, load
from exchange.formats._xml_faults import _misplaced
from exchange.formats._xml_words import RULES, masked
from exchange.formats.xml import Xml
from exchange.model import Finding

CATALOGUE = load()
VALID = SCHEMAS / "customs" / "ceb" / "samples" / "valid"
XML = Xml()


def text(name: str) -> str:
    return (VALID / f"{name}.xml").read_text("utf-8-sig")


def explained(name: str, message: str, *, unsigned: bool = False) -> list[Finding]:
    return CATALOGUE.explain(message.encode(), name, "202205", unsigned=unsigned)


def without(message: str, name: str, count: int = 1) -> str:
    lines = message.splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if f"<ceb:{name}>" in line][:count]
    return "".join(line for number, line in enumerate(lines) if number not in found)


def test_a_missing_field_is_named_with_its_position_its_line_and_its_label() -> None:
    first, second = text("CEB311Message--several").split("TEST-ORDER-0004")
    broken = f"{first}TEST-ORDER-0004{without(second, 'ebcCode')}"
    (finding,) = explained("CEB311Message", broken)
    assert finding == Finding(
        code="SWX-1401",
        rule="required",
        pointer="/CEB311Message/Order[2]/OrderHead/ebcCode",
        en="ebcCode (merchant code) is required but missing: add it",
        zh="缺少必填项 电商企业代码 ebcCode：请补填后重报",
        line=1 + broken.splitlines().index("      <ceb:ebcName>测试电商企业（虚构）</ceb:ebcName>", 75),
    )


def test_a_text_that_is_too_long_is_told_with_both_lengths() -> None:
    (finding,) = explained("CEB311Message", text("CEB311Message").replace("TEST-ORDER-0001", "N" * 72))
    assert finding.pointer == "/CEB311Message/Order/OrderHead/orderNo"
    assert finding.zh == "订单编号 orderNo 最长 60 个字符，现为 72 个：请缩短后重报"
    assert finding.en == "orderNo (order number) must be at most 60 characters long, is 72: shorten it"
    assert finding.value == "N" * 39 + "…"
    assert finding.line == 10


def test_an_empty_text_is_called_empty() -> None:
    (finding,) = explained("CEB311Message", text("CEB311Message").replace(">TESTEBP001<", "><"))
    assert (finding.rule, finding.code) == ("minLength", "SWX-1412")
    assert finding.zh == "电商平台代码 ebpCode 不得为空：请填写后重报"


def test_every_structural_fault_of_one_element_is_told_at_once() -> None:
    broken = text("CEB311Message")
    broken = without(without(broken, "ebpCode"), "taxTotal")
    broken = broken.replace("<ceb:consignee>", "<ceb:consignee>测试乙</ceb:consignee><ceb:consignee>")
    broken = broken.replace("<ceb:currency>", "<ceb:nonsense/><ceb:currency>", 1)
    line = "      <ceb:guid>00000000-0000-4000-8000-000000311001</ceb:guid>\n"
    broken = broken.replace(line, "").replace("      <ceb:orderNo>", f"{line}      <ceb:orderNo>")
    found = {(finding.rule, finding.pointer.rpartition("/")[2]) for finding in explained("CEB311Message", broken)}
    assert found == {
        ("required", "ebpCode"),
        ("required", "taxTotal"),
        ("occurs", "consignee[2]"),
        ("unexpected", "nonsense"),
        ("order", "guid"),
    }


def test_faults_in_values_are_told_beside_structural_ones() -> None:
    broken = without(text("CEB311Message"), "ebpCode").replace(">218.20<", ">1,218.20<").replace(">142<", ">840<")
    findings = explained("CEB311Message", broken)
    assert [finding.rule for finding in findings] == ["required", "type", "fixed", "fixed", "fixed"]
    assert [finding.line for finding in findings] == sorted(finding.line or 0 for finding in findings)


def test_of_many_findings_the_first_fifty_are_told() -> None:
    order = text("CEB311Message").partition("  <ceb:BaseTransfer>")[0].partition("<ceb:Order>")[2]
    many = text("CEB311Message").replace("<ceb:Order>", f"<ceb:Order>{order}  <ceb:Order>" * 1, 1)
    broken = many.replace("<ceb:unit>011</ceb:unit>", "<ceb:unit>1</ceb:unit>" + "<ceb:zz/>" * 30)
    assert len(explained("CEB311Message", broken)) == 50


def test_one_element_in_the_wrong_place_is_one_finding() -> None:
    message = text("CEB311Message--several")
    start, end = message.index("  <ceb:BaseTransfer>"), message.index("  <ceb:BaseSubscribe>")
    moved = message[:start] + message[end:]
    moved = moved.replace("  <ceb:Order>\n", f"{message[start:end]}  <ceb:Order>\n", 1)
    (finding,) = explained("CEB311Message", moved)
    assert (finding.rule, finding.pointer) == ("order", "/CEB311Message/BaseTransfer")
    assert finding.zh == "传输信息 BaseTransfer 的顺序不对，应位于 BaseSubscribe 之前：请调整后重报"


@pytest.mark.parametrize(
    ("ranks", "misplaced"),
    [
        ([], []),
        ([0, 1, 2], []),
        ([2, 0, 0, 1], [0]),
        ([0, 2, 1], [1]),
        ([0, 1, 1, 0, 2], [3]),
        ([1, 1, 0, 0, 0], [0, 1]),
    ],
)
def test_the_fewest_elements_are_called_misplaced(ranks: list[int], misplaced: list[int]) -> None:
    assert _misplaced(ranks) == misplaced


def test_attributes_are_told_with_an_at_sign() -> None:
    broken = text("CEB311Message").replace(' version="1.0" xmlns', ' version="" extra="1" xmlns')
    broken = broken.replace(' guid="', ' guid="0')
    found = {(finding.pointer, finding.rule, finding.code) for finding in explained("CEB311Message", broken)}
    assert found == {
        ("/CEB311Message/@guid", "length", "SWX-1411"),
        ("/CEB311Message/@version", "minLength", "SWX-1412"),
        ("/CEB311Message/@extra", "superfluous", "SWX-1407"),
    }
    (finding,) = explained("CEB311Message", text("CEB311Message").replace(' version="1.0" xmlns', " xmlns"))
    assert finding.zh == "缺少属性 报文版本号 version：请补填后重报"


def test_the_same_field_is_called_what_it_is_where_it_stands() -> None:
    broken = text("CEB621Message").replace("<ceb:country>502<", "<ceb:country>5<")
    head, line = explained("CEB621Message", broken)
    assert (head.zh[:6], line.zh[:3]) == ("启运国（地区", "原产国")


def test_default_namespace_and_charset_change_nothing() -> None:
    broken = text("CEB311Message").replace("TEST-ORDER-0001", "N" * 72)
    plain = broken.replace("ceb:", "").replace("xmlns:ceb=", "xmlns=")
    chinese = plain.replace("UTF-8", "GB18030").encode("gb18030")
    expected = explained("CEB311Message", broken)
    assert explained("CEB311Message", plain) == expected
    assert CATALOGUE.explain(chinese, "CEB311Message", "202205") == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("buyerIdNumber", "110101190001010000" * 4),
        ("buyerName", "测试甲" * 30),
        ("consigneeAddress", "测试路 1 号" * 60),
    ],
)
def test_personal_values_are_masked(name: str, value: str) -> None:
    message = text("CEB311Message")
    start = message.index(f"<ceb:{name}>") + len(name) + 6
    (finding,) = explained("CEB311Message", message[:start] + value + message[message.index("<", start) :])
    assert finding.value == value[0] + "*" * 38 + "…"
    assert value[1:4] not in finding.en + finding.zh


def test_what_looks_like_a_telephone_or_an_identity_card_is_masked_anywhere() -> None:
    assert masked("13900000000", personal=False) == "1**********"
    assert (
        masked("请联系13900000000，证件11010119000101000X。", personal=False)
        == "请联系1**********，证件1*****************。"
    )
    assert masked("TEST-139000000001", personal=False) == "TEST-139000000001"
    assert masked("1" * 41, personal=False) == "1" * 39 + "…"
    assert masked("", personal=True) == ""


def test_a_message_that_is_going_to_be_signed_may_lack_its_signature() -> None:
    message = text("CEB621Message")
    start, end = message.index("  <ds:Signature "), message.index("</ceb:CEB621Message>")
    unsigned = message[:start] + message[end:]
    (finding,) = explained("CEB621Message", unsigned)
    assert (finding.rule, finding.pointer) == ("required", "/CEB621Message/Signature")
    assert explained("CEB621Message", unsigned, unsigned=True) == []
    (other,) = explained("CEB621Message", unsigned.replace("<ceb:packNo>1<", "<ceb:packNo>one<"), unsigned=True)
    assert other.rule == "type"


# -- rules that these schemas don't use, and what only libxml2 refuses ------------------------------------------------

EVERYTHING = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="a"><xs:complexType><xs:sequence>
    <xs:element name="pattern" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
      <xs:pattern value="[A-Z]{3}"/></xs:restriction></xs:simpleType></xs:element>
    <xs:element name="enumeration" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string">
      <xs:enumeration value="I"/><xs:enumeration value="E"/></xs:restriction></xs:simpleType></xs:element>
    <xs:element name="range" minOccurs="0" maxOccurs="4"><xs:simpleType><xs:restriction base="xs:decimal">
      <xs:minInclusive value="1"/><xs:maxExclusive value="9"/></xs:restriction></xs:simpleType></xs:element>
    <xs:element name="uri" type="xs:anyURI" minOccurs="0"/>
    <xs:element name="int" type="xs:int" minOccurs="0"/>
    <xs:element name="choice" minOccurs="0"><xs:complexType><xs:choice>
      <xs:element name="x"/><xs:element name="y"/></xs:choice></xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
</xs:schema>"""


@pytest.mark.parametrize(
    ("content", "rule", "pointer", "zh"),
    [
        ("<pattern>abc</pattern>", "pattern", "/a/pattern", "pattern 的格式应为 [A-Z]{3}：请更正后重报"),
        ("<enumeration>X</enumeration>", "enumeration", "/a/enumeration", "enumeration 只能取 I, E：请更正后重报"),
        ("<range>2</range><range>0</range>", "minInclusive", "/a/range[2]", "range 不得小于 1：请更正后重报"),
        ("<range>9</range>", "maxExclusive", "/a/range", "range 应小于 9：请更正后重报"),
        ("<int>99999999999</int>", "type", "/a/int", "int 应为整数（小于 2147483648）：请更正后重报"),
        ("<choice/>", "required", "/a/choice/x | y", "缺少必填项 x | y：请补填后重报"),
        ("<choice><z/></choice>", "unexpected", "/a/choice/z", "此处不应出现 z：请删除后重报"),
        ("<int>1<b/></int>", "unexpected", "/a/int/b", "此处不应出现 b：请删除后重报"),
    ],
)
def test_other_rules_have_words_too(content: str, rule: str, pointer: str, zh: str, tmp_path: Path) -> None:
    file = tmp_path / "a.xsd"
    file.write_text(EVERYTHING)
    (finding,) = XML.explain(f"<a>{content}</a>".encode(), file, unsigned=False, personal=frozenset())
    assert (finding.rule, finding.pointer, finding.zh) == (rule, pointer, zh)
    assert finding.code == RULES[rule][0]


def test_what_only_libxml2_refuses_is_told_in_its_words_without_the_value(tmp_path: Path) -> None:
    file = tmp_path / "a.xsd"
    file.write_text(EVERYTHING)
    payload = b"<a>\n<uri>%13900000000:::[</uri></a>"
    assert not XML.schema(file, unsigned=False).valid(XML.open(payload))
    (finding,) = XML.explain(payload, file, unsigned=False, personal=frozenset())
    assert (finding.code, finding.pointer, finding.line) == ("SWX-1499", "/a/uri", 2)
    assert "anyURI" in finding.en
    assert "139" not in finding.en + finding.zh + finding.value


def test_a_valid_message_has_nothing_to_explain() -> None:
    assert explained("CEB311Message", text("CEB311Message")) == []


def test_every_rule_has_a_code_of_its_block_and_both_languages() -> None:
    for code, en, zh in RULES.values():
        assert code.startswith("SWX-14")
        assert en.isascii()
        assert "{what}" in en
        assert "{what}" in zh
