"""Simulated authorities: what they answer, in which form, and every way in which they misbehave."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from lxml import etree

from exchange import catalogue
from exchange.errors import ConfigurationError
from exchange.instants import SECOND
from exchange.ports import Signature
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import assemble, prepare
from exchange.tokens.software import KeyFiles, Software
from simulators import _authority_rules
from simulators._authority_engine import Authority
from simulators._authority_lines import FolderLine
from simulators._authority_writing import Receipt, Return
from simulators.authority import rules_of, serve
from tests import pki

NOON = 1_795_320_000 * SECOND  # 2026-11-22T12:00:00+08:00
TYPES = catalogue.load()
RULES = rules_of("customs.yaml")
DESK = RULES.desks[0]
SAMPLES = catalogue.SCHEMAS / "customs" / "ceb" / "samples"
CEB = "{http://www.chinaport.gov.cn/ceb}"
RULED = {name: DESK.filled(rules) for rules in DESK.types for name in rules.takes}
DECLARATIONS = sorted(RULED)


def customs(**options: Any) -> Authority:
    return Authority(rules=RULES, types=TYPES, **options)


def sample(name: str, ending: str = "", guid: str = "") -> bytes:
    """Read a sample; numbers get an ending that asks for something, the first document another GUID."""
    body = (SAMPLES / "valid" / f"{name}.xml").read_bytes()
    body = re.sub(rb"TEST-(ORDER|COP|WAYBILL)-\d{4}", rb"\g<0>" + ending.encode(), body)
    known = re.findall(rb"guid>([^<]+)<", body)[0]
    return body.replace(known, guid.encode()) if guid else body


def statuses(receipts: Iterable[Receipt]) -> list[str]:
    return [status for receipt in receipts for status in re.findall(r"<returnStatus>(.*?)<", receipt.body.decode())]


def require_valid(receipt: Receipt) -> None:
    opened = TYPES.open(receipt.body)
    type = TYPES.identify(opened)
    assert type.name == receipt.type
    assert TYPES.valid(opened, type, on=date(2026, 11, 22)), receipt.body.decode()


def keys_of(body: bytes) -> list[dict[str, str]]:
    opened = TYPES.open(body)
    return [dict(document.keys) for document in TYPES.read(opened, TYPES.identify(opened)).documents]


def test_every_declaration_of_the_family_is_answered_by_the_type_that_its_yaml_names() -> None:
    family = {name: type for name, type in TYPES.types.items() if type.spec.folder == SAMPLES.parent}
    assert {name for name, type in family.items() if type.kind == "declaration"} == set(DECLARATIONS)
    for name in DECLARATIONS:
        assert RULED[name].receipt == family[name].answered_by[0]
        last = DESK.courses[RULED[name].course][-1].status
        assert TYPES.code(family[RULED[name].receipt], last).terminal


# -- the normal course -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DECLARATIONS)
def test_every_receipt_of_the_normal_course_is_valid_and_has_the_keys_of_what_it_answers(name: str) -> None:
    body = sample(name)
    receipts = customs().answer(body, NOON)
    course = DESK.courses[RULED[name].course]
    assert statuses(receipts) == [step.status for step in course]
    assert [receipt.at for receipt in receipts] == [NOON + round(step.after * SECOND) for step in course]
    (asked,) = keys_of(body)
    for receipt in receipts:
        require_valid(receipt)
        (answered,) = keys_of(receipt.body)
        assert {key: value for key, value in answered.items() if key in asked} == {
            key: value for key, value in asked.items() if key in answered
        }
        assert len(asked.keys() & answered.keys()) > 1


@pytest.mark.parametrize("name", [f"{name}--{kind}" for name in DECLARATIONS for kind in ("minimal", "several")])
def test_documents_with_few_fields_and_messages_with_several_documents_are_answered(name: str) -> None:
    receipts = customs().answer(sample(name), NOON)
    for receipt in receipts:
        require_valid(receipt)
        assert len(keys_of(receipt.body)) == len(keys_of(sample(name)))


@pytest.mark.parametrize(("name", "expected"), [("CEB621Message", ["816", "818"]), ("CEB701Message", ["792"])])
def test_tax_bills_and_results_of_summaries_follow_where_they_are_asked_for(name: str, expected: list[str]) -> None:
    receipts = customs(later=True).answer(sample(name), NOON)
    course = len(DESK.courses[RULED[name].course])
    assert [receipt.type[3:6] for receipt in receipts[course:]] == expected
    given = keys_of(receipts[course - 1].body)[0]
    for receipt in receipts[course:]:
        require_valid(receipt)
        (keys,) = keys_of(receipt.body)
        assert len(keys.items() & given.items()) == 1, "the number that customs gave"
    assert len(customs(later=True).answer(sample(name, "-REJ"), NOON)) == 3
    assert len(customs().answer(sample(name), NOON)) == course


def test_receipts_look_as_those_of_customs_do() -> None:
    port, _, stored = customs().answer(sample("CEB311Message", guid="0000ABCD-0000-4000-8000-00000000000F"), NOON)
    assert port.body.startswith(
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><CEB312Message version="1.0" guid="'
    )
    assert stored.body.startswith(
        b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?><CEB312Message version="1.0" '
    )
    assert b"<guid>0000ABCD-0000-4000-8000-00000000000F</guid>" in port.body
    assert b"<guid>0000abcd-0000-4000-8000-00000000000f</guid>" in stored.body
    own = [etree.fromstring(receipt.body).get("guid", "") for receipt in (port, stored)]
    assert own[0] == own[0].upper()
    assert own[1] == own[1].lower()
    assert "<returnTime>20261122120001600</returnTime>" in stored.body.decode()
    assert "[0000ABCD-0000-4000-8000-00000000000F]" in port.body.decode()


def test_customs_gives_a_number_before_and_one_when_it_has_stored_the_inventory() -> None:
    body = re.sub(rb"<ceb:(preNo|invtNo|copNo)>.*?</ceb:\1>\s*", b"", sample("CEB621Message"))
    told = [keys_of(receipt.body)[0] for receipt in customs().answer(body, NOON)]
    (number,) = {keys["preNo"] for keys in told}
    assert re.fullmatch(r"B20261122\d{9}", number)
    assert ["invtNo" in keys for keys in told] == [False, False, True, True]
    assert re.fullmatch(r"51412026I\d{9}", told[-1]["invtNo"])
    assert all(keys["copNo"].startswith("SIM") for keys in told)


def test_the_same_message_moment_and_seed_give_the_same_receipts_and_another_seed_others() -> None:
    body = sample("CEB621Message--minimal")
    assert customs(seed=1).answer(body, NOON) == customs(seed=1).answer(body, NOON)
    assert customs(seed=1).answer(body, NOON) != customs(seed=2).answer(body, NOON)


def test_a_message_that_comes_again_keeps_the_numbers_it_was_given() -> None:
    first, again = (customs().answer(sample("CEB621Message--minimal"), at) for at in (NOON, NOON + 60 * SECOND))
    assert keys_of(first[-1].body)[0]["invtNo"] == keys_of(again[-1].body)[0]["invtNo"]
    assert {receipt.name for receipt in first}.isdisjoint(receipt.name for receipt in again)


def test_pace_stretches_every_delay() -> None:
    assert {receipt.at for receipt in customs(pace=0).answer(sample("CEB311Message"), NOON)} == {NOON}
    assert customs(pace=10).answer(sample("CEB311Message"), NOON)[-1].at == NOON + 16 * SECOND


# -- misbehaving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("-SILENT", []),
        ("-DUP", ["2", "2", "3", "3", "120", "120"]),
        ("-ORDER", ["120", "3", "2"]),
        ("-REJ", ["2", "3", "100"]),
        ("-ERR", ["-301010"]),
        ("-GARBAGE", ["2", "3"]),
        ("-UNKNOWN", ["2", "18", "3", "120"]),
        ("-LATE", ["2", "3", "120"]),
    ],
)
def test_a_number_with_an_ending_gets_what_it_asks_for(ending: str, expected: list[str]) -> None:
    receipts = customs().answer(sample("CEB311Message", ending), NOON)
    assert statuses(receipts) == expected
    for receipt in receipts if ending != "-GARBAGE" else receipts[:-1]:
        require_valid(receipt)


def test_late_receipts_come_twenty_seconds_later() -> None:
    usual, late = (customs().answer(sample("CEB311Message", ending), NOON) for ending in ("", "-LATE"))
    assert [b.at - a.at for a, b in zip(usual, late, strict=True)] == [20 * SECOND] * 3


def test_out_of_order_an_inventory_is_released_before_it_is_stored() -> None:
    assert statuses(customs().answer(sample("CEB621Message", "-ORDER"), NOON)) == ["800", "120", "3", "2"]


def test_a_duplicate_is_the_same_bytes_in_another_file() -> None:
    first, second, *_ = customs().answer(sample("CEB311Message", "-DUP"), NOON)
    assert first.body == second.body
    assert first.name != second.name


def test_garbage_is_a_receipt_that_was_cut_short() -> None:
    *_, last = customs().answer(sample("CEB311Message", "-GARBAGE"), NOON)
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(last.body)


def test_a_refusal_has_the_text_of_a_real_one() -> None:
    for name in DECLARATIONS:
        refused = customs().answer(sample(name, "-REJ"), NOON)[-1]
        require_valid(refused)
        texts = re.findall("<returnInfo>(.*?)<", refused.body.decode())
        assert set(texts) <= set(RULED[name].refusals)


def test_by_chance_a_share_of_documents_is_misbehaved_about_and_the_seed_decides_which() -> None:
    def refused(seed: int) -> list[int]:
        some = customs(shares={"reject": 0.3}, seed=seed)
        guids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(200)]
        answers = [some.answer(sample("CEB311Message", guid=guid), NOON) for guid in guids]
        return [number for number, receipts in enumerate(answers) if statuses(receipts)[-1] == "100"]

    assert 40 <= len(refused(1)) <= 80
    assert refused(1) == refused(1)
    assert refused(1) != refused(2)
    assert statuses(customs(shares={"silence": 1.0}).answer(sample("CEB311Message"), NOON)) == []


def test_an_ending_comes_before_chance() -> None:
    assert statuses(customs(shares={"silence": 1.0}).answer(sample("CEB311Message", "-REJ"), NOON))[-1] == "100"


# -- several in one file -----------------------------------------------------------------------------------------


def orders(count: int, **options: Any) -> tuple[Authority, list[Return]]:
    some = customs(**options)
    guids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(count)]
    return some, [
        one for n, guid in enumerate(guids) for one in some.returns(sample("CEB311Message", guid=guid), NOON + n)
    ]


def test_what_is_due_in_the_same_window_shares_a_file_whoever_it_is_for() -> None:
    some, returns = orders(3, window_seconds=1.0)
    receipts = some.write(returns)
    assert [statuses([receipt]) for receipt in receipts] == [["2", "3"] * 3, ["120"] * 3]
    for receipt in receipts:
        require_valid(receipt)


def test_a_file_holds_a_hundred_records_and_no_more() -> None:
    some, returns = orders(101, window_seconds=5.0)
    stored = [receipt for receipt in some.write(returns) if "120" in statuses([receipt])]
    assert [len(statuses([receipt])) for receipt in stored] == [100, 1]
    assert len({receipt.name for receipt in stored}) == 2
    assert Counter(key["order"] for receipt in stored for key in keys_of(receipt.body)).total() == 101


def test_what_comes_twice_or_cut_short_shares_its_file_with_nothing() -> None:
    some = customs(window_seconds=5.0)
    returns = [
        one
        for n, ending in enumerate(("", "-DUP", "-GARBAGE"))
        for one in some.returns(sample("CEB311Message", ending, f"00000000-0000-4000-8000-{n:012d}"), NOON)
    ]
    complete = [receipt for receipt in some.write(returns) if receipt.body.endswith(b"Message>")]
    assert sorted(len(statuses([receipt])) for receipt in complete) == [1] * 7 + [4]


# -- what customs checks -----------------------------------------------------------------------------------------


def der(folder: Path, name: str) -> bytes:
    return load_pem_x509_certificate((folder / f"{name}.crt").read_bytes()).public_bytes(Encoding.DER)


async def signed(folder: Path, key: str, profile: str) -> bytes:
    body = re.sub(rb"\s*<ds:Signature.*</ds:Signature>", b"", sample("CEB621Message"), flags=re.DOTALL)
    prepared = prepare(body, PROFILES.named(profile), der(folder, key))
    (value,) = await Software(KeyFiles(folder=folder)).sign([prepared.job(key)])
    assert isinstance(value, Signature)
    return assemble(body, prepared, value.value)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    pki.make_plain(folder)
    return folder


async def test_an_inventory_signed_by_a_known_certificate_is_released(keys: Path) -> None:
    knowing = customs(certificates=[der(keys, "rsa")])
    assert statuses(knowing.answer(await signed(keys, "rsa", "ceb-rsa-sha1"), NOON))[-1] == "800"


async def test_a_signature_by_another_key_or_over_other_content_is_refused(keys: Path) -> None:
    knowing = customs(certificates=[der(keys, "rsa")])
    strange = knowing.answer(await signed(keys, "foreign", "ecdsa-sha256"), NOON)
    altered = knowing.answer(
        (await signed(keys, "rsa", "ceb-rsa-sha1")).replace("测试甲".encode(), "测试乙".encode()), NOON
    )
    assert statuses(strange) == statuses(altered) == ["-621029"]
    assert "验签失败" in strange[0].body.decode()
    require_valid(strange[0])


def test_a_missing_signature_is_refused_where_certificates_are_known_and_else_not_looked_at(keys: Path) -> None:
    unsigned = re.sub(rb"\s*<ds:Signature.*</ds:Signature>", b"", sample("CEB621Message"), flags=re.DOTALL)
    assert statuses(customs(certificates=[der(keys, "rsa")]).answer(unsigned, NOON)) == ["-621026"]
    assert statuses(customs().answer(unsigned, NOON))[-1] == "800"
    assert statuses(customs(certificates=[der(keys, "rsa")]).answer(sample("CEB511Message"), NOON))[-1] == "120"


@pytest.mark.parametrize(
    ("body", "type", "told"),
    [
        (b"no XML \xff\x00", "Unknown", "无法识别"),
        (sample("CEB311Message")[:900], "Unknown", "XML 不完整"),
        (sample("CEB312Message"), "CEB312Message", "海关不接收 CEB312Message"),
        (
            (SAMPLES / "invalid" / "CEB311Message--SWX-1401--ebcCode-missing.xml").read_bytes(),
            "CEB311Message",
            "/CEB311Message/Order/OrderHead/ebcCode",
        ),
    ],
    ids=["bytes", "cut off", "receipt", "invalid"],
)
def test_what_breaks_its_format_is_answered_with_a_format_receipt_that_encloses_it(
    body: bytes, type: str, told: str
) -> None:
    (receipt,) = customs().answer(body, NOON)
    require_valid(receipt)
    record = etree.fromstring(receipt.body)[0]
    assert record.findtext(f"{CEB}oriMessageType") == type
    assert told in (record.findtext(f"{CEB}returnInfo") or "")
    enclosed = record.findtext(f"{CEB}oriBizMessage") or ""
    assert enclosed.split() == "".join(c for c in body.decode(errors="replace") if c != "\0").split()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("course: released", "course: relased"), "no course is called 'relased'"),
        (("form: CEB900Message", "form: CEB900"), "no form is called 'CEB900'"),
        (("asks: [orderNo]", "asks: [order]"), "no value is called 'order'"),
        (("takes: CEB303Message", "takes: CEB303"), "the catalogue has no type 'CEB303'"),
        (("copNo: DeliveryHead/copNo", "copNo: DeliveryHead//copNo"), "'DeliveryHead//copNo' is no path"),
        (("writer: acknowledge}", "}"), "write 'file' or 'writer'"),
    ],
)
def test_rules_with_a_mistake_are_refused(tmp_path: Path, wrong: tuple[str, str], told: str) -> None:
    text = (Path(_authority_rules.__file__).parent / "customs.yaml").read_text("utf-8")
    assert wrong[0] in text
    (tmp_path / "customs.yaml").write_text(text.replace(*wrong), "utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        Authority(rules=rules_of(str(tmp_path / "customs.yaml")), types=TYPES)


# -- the program -------------------------------------------------------------------------------------------------


def test_a_folder_gives_complete_files_only_oldest_first_and_once(tmp_path: Path) -> None:
    line = FolderLine(tmp_path / "in", tmp_path / "out")
    for name in ("b.xml", "a.xml", "c.xml.tmp", ".d.xml"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    assert list(line.take()) == [b"b.xml", b"a.xml"]
    assert list(line.take()) == []
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == [".d.xml", "c.xml.tmp"]


def test_what_was_taken_is_answered_when_it_is_due(tmp_path: Path) -> None:
    line = FolderLine(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "order.xml").write_bytes(sample("CEB311Message"))
    moment, told = NOON, []

    def now() -> int:
        return moment

    def rest() -> None:
        nonlocal moment
        told.append(statuses(Receipt(0, p.name, "", p.read_bytes()) for p in (tmp_path / "out").iterdir()))
        moment += SECOND

    line.rest = rest  # type: ignore[method-assign]
    serve(customs(), line, now, lambda: len(told) == 4)
    assert [sorted(each) for each in told] == [[], ["2", "3"], ["120", "2", "3"], ["120", "2", "3"]]
