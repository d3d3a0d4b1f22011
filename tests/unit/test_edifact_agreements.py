"""EDIFACT as agreed on with a party: when it is answered with CONTRL, and which character set it is written in."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from exchange import catalogue
from exchange.agreement import Agreement
from exchange.errors import Invalid
from exchange.formats import Opened
from exchange.formats._edifact_text import decoded
from exchange.intake import decide, examine
from exchange.model import Arrival, Context, Decision, Endpoint, Finding, Parcel, Party, Prior, Route
from exchange.routing import RoutingTable
from tests.daemon import NOON

TYPES = catalogue.load()
BORDER = catalogue.SCHEMAS / "un" / "border" / "samples"
CUSCAR = (BORDER / "valid" / "CUSCAR.edi").read_bytes()  # asks for an acknowledgement
SILENT = CUSCAR.replace(b"++CUSCAR++1'", b"++CUSCAR'")
WRONG = SILENT.replace(b"UNT+", b"UNT+9")
LINE = Party("LINE", "enterprise", ids=("TESTLINE",))
THERE = Endpoint("customs-queue", "CUSTOMS", "memory")


def table(party: Party) -> RoutingTable:
    others = [Party("CUSTOMS", "customs", ids=("CUSTOMS",))]
    here = Endpoint("box", party.code, "memory")
    return RoutingTable([party, *others], [here, THERE], [Route("all", ("customs-queue",))])


def decided(body: bytes, party: Party, prior: Prior | None = None) -> Decision:
    """Decide what a party gave, with everything that is wrong with it, as the switch does."""
    arrival, known = Arrival(1 << 40, NOON, "box", party.code, Parcel("a.edi", body)), table(party)
    examined = examine(arrival, TYPES, known, NOON)
    if isinstance(examined.error, Invalid) and examined.error.question:
        found = catalogue.explain((), body, *examined.error.question)
        examined = evolve(examined, error=Invalid(findings=found))
    return decide(examined, Context(prior), TYPES, known, NOON)


def agreeing(**agreement: Any) -> Party:
    return evolve(LINE, agreement=Agreement(**agreement))


def told(decision: Decision) -> list[str]:
    """Return the actions (0083) of what the sender is told."""
    own = [p.parcel.read().decode() for p in decision.planned if p.disposition != "message" and p.parcel]
    return [text.partition("UCI+")[2].split("'")[0].split("+")[3] for text in own]


# -- when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contrl", "asked", "silent", "wrong"),
    [
        ("as-asked", ["7"], [], ["4"]),
        ("always", ["7"], ["7"], ["4"]),
        ("errors", [], [], ["4"]),
        ("never", [], [], []),
    ],
)
def test_an_agreement_says_when_contrl_is_written(
    contrl: str, asked: list[str], silent: list[str], wrong: list[str]
) -> None:
    party = agreeing(contrl=contrl)
    decisions = [decided(body, party) for body in (CUSCAR, SILENT, WRONG)]
    assert [decision.event for decision in decisions] == ["accept", "accept", "reject"]
    assert [told(decision) for decision in decisions] == [asked, silent, wrong]


def test_a_duplicate_is_answered_again_as_agreed() -> None:
    prior = Prior(1, Parcel("a.edi", SILENT).digest, "ACCEPTED")
    for contrl, answers in (("always", ["7"]), ("as-asked", [])):
        decision = decided(SILENT, agreeing(contrl=contrl), prior)
        assert (decision.event, told(decision)) == ("recognise", answers)


def test_who_wants_rejections_only_gets_no_acknowledgement_however_often_it_is_due() -> None:
    party = agreeing(contrl="always", acknowledge="rejected")
    assert [told(decided(body, party)) for body in (CUSCAR, WRONG)] == [[], ["4"]]
    assert [told(decided(body, agreeing(contrl="always", acknowledge="none"))) for body in (CUSCAR, WRONG)] == [[], []]


def test_what_is_no_edifact_is_told_of_all_the_same() -> None:
    decision = decided(b"<html/>", agreeing(contrl="never"))
    assert [planned.disposition for planned in decision.planned] == ["rejected"]


@pytest.mark.parametrize("role", ["customs", "border", "maritime", "port"])
@pytest.mark.parametrize("body", [CUSCAR, SILENT, WRONG, b"UNB+UNOA:1+TESTLINE"])
def test_an_authority_never_gets_contrl_nor_any_other_receipt_of_ours(role: str, body: bytes) -> None:
    decision = decided(body, evolve(agreeing(contrl="always"), role=role))
    assert decision.event == ("accept" if body in (CUSCAR, SILENT) else "hold")
    assert [planned for planned in decision.planned if planned.disposition != "message"] == []


# -- characters --------------------------------------------------------------------------------------------------


def named(name: bytes, syntax: bytes = b"UNOC:3") -> bytes:
    """Return a report whose ship is called so."""
    return SILENT.replace(b"UNOA:2", syntax).replace(b"TEST VESSEL", name)


def opened(body: bytes, charset: str = "") -> Opened:
    return TYPES.open(body, charset)


def texts(body: bytes, charset: str = "") -> str:
    return "\n".join(raw for message in opened(body, charset).tree.messages for raw in message.raw())


def faults(body: bytes, charset: str = "") -> list[Finding]:
    return TYPES.explain(body, "CUSCAR", "UN", charset=charset)


SHIP = "中山"


@pytest.mark.parametrize(
    ("syntax", "charset", "agreed"),
    [
        (b"UNOY:4", "utf-8", ""),
        (b"UNOX:4", "gb18030", ""),
        (b"UNOA:2", "utf-8", ""),  # nobody's, but written
        (b"UNOA:2", "gb18030", ""),
        (b"UNOC:3", "utf-8", "utf-8"),  # Latin-1 would take it for anything
        (b"UNOC:3", "gb18030", "gb18030"),
        (b"UNOY:4", "gb18030", "gb18030"),
        (b"UNOB:1", "big5", "big5"),
    ],
)
def test_chinese_is_read_as_declared_or_as_agreed(syntax: bytes, charset: str, agreed: str) -> None:
    body = named(SHIP.encode(charset), syntax)
    assert SHIP in texts(body, agreed)
    assert faults(body, agreed) == []
    decision = decided(body, agreeing(charset=agreed))
    assert decision.event == "accept"
    assert decision.planned[0].parcel is None, "the bytes go on as they are"


def test_what_is_not_in_the_agreed_character_set_is_refused() -> None:
    body = named(SHIP.encode("gb18030"), b"UNOC:3")
    assert faults(body) == []
    assert [(f.code, f.rule) for f in faults(body, "utf-8")] == [("SWX-1435", "46")]
    assert decided(body, LINE).event == "accept"
    decision = decided(body, agreeing(charset="utf-8"))
    assert (decision.event, told(decision)) == ("reject", ["4"])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("虚構丸".encode("iso2022_jp"), id="7 bits, in ISO-2022-JP"),
        pytest.param(b"\x1b$)A\x0eA!B2\x0f", id="7 bits, in ISO-2022-CN"),
        pytest.param(b"\x1b$)A" + SHIP.encode("gb2312"), id="8 bits, announced"),
    ],
)
def test_escapes_of_unox_are_refused_because_service_characters_hide_in_them(name: bytes) -> None:
    body = named(name, b"UNOX:4")
    assert not decoded(name.decode("latin-1"), "UNOX")[1]
    assert {f.rule for f in faults(body)} >= {"46"}
    decision = decided(body, LINE)
    assert (decision.event, told(decision)) == ("reject", ["4"])


def test_utf_8_that_is_cut_in_the_middle_of_a_character_is_refused_under_unoy() -> None:
    body = named(SHIP.encode()[:-1], b"UNOY:4")
    assert [(f.code, f.rule) for f in faults(body)] == [("SWX-1435", "46")]
