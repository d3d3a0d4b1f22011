"""What simulated authorities write in every format: valid by its own schema, about the right message, counted right."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from exchange import catalogue
from exchange.instants import SECOND
from simulators._authority_engine import Authority
from simulators._authority_writing import Receipt
from simulators.authority import rules_of

NOON = 1_795_320_000 * SECOND  # 2026-11-22T12:00:00+08:00
DAY = date(2026, 11, 22)
TYPES = catalogue.load()
AUTHORITIES = {name: Authority(rules=rules_of(f"{name}.yaml"), types=TYPES) for name in ("customs", "port", "maritime")}
OTHERS = {name: [type for type in one.counters if not type.startswith("CEB")] for name, one in AUTHORITIES.items()}


def samples(type: str) -> list[Path]:
    folder = TYPES.types[type].spec.folder / "samples" / "valid"
    return [path for path in sorted(folder.iterdir()) if path.stem.partition("--")[0] == type]


def sample(type: str, *replaced: tuple[bytes, bytes]) -> bytes:
    body = next(path for path in samples(type) if path.stem == type).read_bytes()
    for old, new in replaced:
        assert old in body
        body = body.replace(old, new)
    return body


def require_valid(receipt: Receipt) -> None:
    opened = TYPES.open(receipt.body)
    type = TYPES.identify(opened)
    assert type.name == receipt.type
    envelope = TYPES.read(opened, type)
    assert TYPES.valid(opened, type, on=DAY, version=envelope.version), receipt.body.decode(errors="replace")
    assert not TYPES.unlisted(type, envelope)


@pytest.mark.parametrize(("name", "type"), [(name, type) for name, types in OTHERS.items() for type in types])
def test_every_answer_to_every_sample_is_valid_and_says_what_is_in_the_lists(name: str, type: str) -> None:
    assert samples(type)
    for path in samples(type):
        answers = AUTHORITIES[name].answer(path.read_bytes(), NOON)
        assert answers or path.name == "BAPLIE--minimal.edi", "a plan without containers"
        for receipt in answers:
            require_valid(receipt)


def test_what_answers_a_type_is_what_its_yaml_awaits() -> None:
    for name, types in OTHERS.items():
        for type in types:
            awaited = TYPES.types[type].answered_by
            receipts = AUTHORITIES[name].answer(samples(type)[0].read_bytes(), NOON)
            told = {receipt.type for receipt in receipts if TYPES.types[receipt.type].kind == "receipt"}
            assert told <= set(awaited) or not awaited, type


def test_containers_of_one_list_are_reported_together_and_counted() -> None:
    twice = b"EQD+CN+TSTU0000027'\nRFF+BN:TESTBOOK02'\nCNT+16:2'\nUNT+15+1'"
    _, report, status = AUTHORITIES["port"].answer(sample("COPRAR", (b"CNT+16:1'\nUNT+13+1'", twice)), NOON)
    require_valid(report)
    require_valid(status)
    assert re.findall(rb"EQD\+CN\+(\w+)'\nRFF\+BN:(\w+)'", report.body) == [
        (b"TSTU0000014", b"TESTBOOK01"), (b"TSTU0000027", b"TESTBOOK02"),
    ]  # fmt: skip
    assert b"BGM+46+" in report.body, "it was a loading order"
    assert b"CNT+16:2'" in report.body
    assert b"CNI+2'" in status.body
    discharged = sample("COPRAR", (b"BGM+45+", b"BGM+43+"))
    assert b"BGM+44+" in AUTHORITIES["port"].answer(discharged, NOON)[1].body


def test_each_message_of_an_interchange_gets_its_own_acknowledgement() -> None:
    body = sample("COPINO")
    message = body[body.index(b"UNH") : body.index(b"UNZ")]
    second = message.replace(b"UNH+1+", b"UNH+2+").replace(b"UNT+10+1'", b"UNT+10+2'").replace(b"TRUCK-01", b"TRUCK-02")
    both = body.replace(message, message + second).replace(b"UNZ+1+", b"UNZ+2+")
    answers = AUTHORITIES["port"].answer(both, NOON)
    about = [re.findall(rb"RFF\+ACW:(.+?)'", receipt.body) for receipt in answers]
    assert about == [[b"TRUCK-01"], [b"TRUCK-02"]] * 2
    assert len({receipt.name for receipt in answers}) == 4


@pytest.mark.parametrize(("asked", "said"), [(b"++++1'", b"+7'"), (b"++++2'", b"+8'"), (b"'", b"")])
def test_contrl_is_written_where_it_is_asked_for(asked: bytes, said: bytes) -> None:
    body = sample("COPINO", (b"261122:0900+TEST000020'", b"261122:0900+TEST000020" + asked))
    syntax = [receipt for receipt in AUTHORITIES["port"].answer(body, NOON) if receipt.type == "CONTRL"]
    assert [said in receipt.body for receipt in syntax] == [True] * bool(said)


def test_values_are_spelled_as_their_format_wants_it() -> None:
    strange = sample("COPINO", (b"TRUCK-01", b"A?+B?:C?'D"))
    answered, _ = AUTHORITIES["port"].answer(strange, NOON)
    require_valid(answered)
    assert b"RFF+ACW:A?+B?:C?'D'" in answered.body
    book = sample("BWS101", (b"TEST-BWS-0001", b"A&amp;B&lt;C"))
    (receipt,) = AUTHORITIES["customs"].answer(book, NOON)
    require_valid(receipt)
    assert b"<EtpsPreentNo>A&amp;B&lt;C<" in receipt.body


def test_receipts_have_the_charset_of_their_kind() -> None:
    gbk = (TYPES.types["MOT-IFCSUM"].spec.folder / "samples/valid/MOT-IFCSUM--full-gbk.txt").read_bytes()
    (receipt,) = AUTHORITIES["maritime"].answer(gbk, NOON)
    assert "已受理" in receipt.body.decode("gbk")
    old = re.sub(rb"TEST202601010001", b"TEST-QP", sample("DecMessage"))
    assert "已放行" in AUTHORITIES["customs"].answer(old, NOON)[-1].body.decode("gb18030")


def test_a_declaration_keeps_the_numbers_that_it_was_given_in_every_answer() -> None:
    answers = AUTHORITIES["customs"].answer(sample("DecMessage"), NOON)
    numbers = [TYPES.read(opened := TYPES.open(r.body), TYPES.identify(opened)).documents[0].keys for r in answers]
    assert numbers[0]["clientSeqNo"] == "TEST202601010001"
    assert len({keys["seqNo"] for keys in numbers}) == 1
    assert ["entryId" in keys for keys in numbers] == [False, False, True, True, True, True]
    assert re.fullmatch(r"010020261\d{9}", numbers[-1]["entryId"])


def test_another_course_gives_numbers_as_the_normal_one_does() -> None:
    answers = AUTHORITIES["customs"].answer(sample("DecMessage", (b"TEST202601010001", b"TEST-INSPECT")), NOON)
    assert [b"<CHANNEL>C<" in receipt.body for receipt in answers] == [False, False, True, False]
    assert [b"<ENTRY_ID>" in receipt.body for receipt in answers] == [False, True, True, True]


def test_containers_without_a_number_are_given_one_each() -> None:
    body = sample("COPARN", (b"EQN+3'\n", b"EQN+3'\nEQD+CN++22G1:102:5++2+4'\n"), (b"UNT+10+1'", b"UNT+11+1'"))
    *_, report = AUTHORITIES["port"].answer(body, NOON)
    assert len(set(re.findall(rb"EQD\+CN\+(SIMU\d{7})'", report.body))) == 2


def test_what_cannot_even_be_read_gets_the_refusal_of_the_first_desk_or_none() -> None:
    (refused,) = AUTHORITIES["customs"].answer(b"<cut", NOON)
    assert refused.type == "CEB900Message"
    assert AUTHORITIES["port"].answer(b"what is this", NOON) == []
    (contrl,) = AUTHORITIES["port"].answer(sample("COPINO").partition(b"UNT")[0], NOON)
    assert contrl.type == "CONTRL"
    assert b"+4" in contrl.body
