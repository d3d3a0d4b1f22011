"""What a parcel is, and what is decided about it: pure, on the real catalogue and a table in memory."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from adapters.folder import Folder
from adapters.http_api import HttpApi
from exchange import catalogue
from exchange.agreement import Agreement
from exchange.errors import BadSignature, Held, Invalid, UnknownParty
from exchange.instants import SECOND, Instant
from exchange.intake import Examined, decide, examine
from exchange.model import Arrival, Cause, Context, Decision, Endpoint, Parcel, Party, Prior, Route
from exchange.routing import RoutingTable
from tests import pki, sealing
from tests.daemon import NOON, SAMPLES, answer, inventory, order

TYPES = catalogue.load()
ENT1 = Party("ENT1", "enterprise", ids=("DXPENT0000000001",), signing_key="p256")
ENT2 = Party("ENT2", "enterprise", ids=("DXPENT0000000002",))
CUSTOMS = Party("CUSTOMS", "customs")
ENDPOINTS = (
    Endpoint("ent1-box", "ENT1", "memory"),
    Endpoint("ent2-box", "ENT2", "memory"),
    Endpoint("customs-queue", "CUSTOMS", "memory"),
)
ORDERS = Route("orders", ("customs-queue",), match={"type": ("CEB311Message",)})
SIGNED = Route("inventories", ("customs-queue",), sign="ecdsa-sha256", match={"type": ("CEB621Message",)})


def table(*parties: Party, routes: tuple[Route, ...] = (ORDERS, SIGNED), **more: Any) -> RoutingTable:
    """Return a table; *parties* replace those of the same code."""
    known = {party.code: party for party in (ENT1, ENT2, CUSTOMS, *parties)}
    return RoutingTable(known.values(), more.pop("endpoints", ENDPOINTS), routes, **more)


def arrived(body: bytes, endpoint: Endpoint = ENDPOINTS[0]) -> Arrival:
    return Arrival(1 << 40, NOON, endpoint.name, endpoint.party, Parcel("a.xml", body))


def looked_at(
    body: bytes, known: RoutingTable | None = None, held: Collection[str] = (), at: Instant = NOON
) -> Examined:
    return examine(arrived(body), TYPES, known or table(), at, held)


def decided(body: bytes, known: RoutingTable | None = None, prior: Prior | None = None) -> Decision:
    return decide(looked_at(body, known), Context(prior), TYPES, known or table(), NOON)


def agreeing(**agreement: Any) -> Party:
    return evolve(ENT1, agreement=Agreement(**agreement))


# -- what can't be read ------------------------------------------------------------------------------------------

ORDER = order(1)
BOMB = (
    b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    b"<l>&c;&c;&c;&c;</l>"
)
OUTSIDE = b'<?xml version="1.0"?><!-- x --><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>'
GBK = ORDER.decode().encode("gbk")
BROKEN: dict[str, tuple[bytes, str]] = {
    "cut off in the middle": (ORDER[: len(ORDER) // 2], "SWX-1011"),
    "cut off before the last tag": (ORDER.rstrip()[:-22], "SWX-1011"),
    "cut off by one byte": (ORDER.rstrip()[:-1], "SWX-1011"),
    "twice in one file": (ORDER + ORDER, "SWX-1011"),
    "no bytes": (b"", "SWX-1012"),
    "only blanks and a BOM": (b"\xef\xbb\xbf \r\n", "SWX-1012"),
    "a broken zip file": (b"PK\x03\x04" + b"\0" * 100, "SWX-1084"),
    "JSON of no known type": (b'{"orderNo": "1"}', "SWX-1021"),
    "another root": (ORDER.replace(b"CEB311Message", b"CEB999Message"), "SWX-1021"),
    "a root of HTML": (b"<html><body>502 Bad Gateway</body></html>", "SWX-1021"),
    "another version": (ORDER.replace(b' version="1.0" xmlns', b' version="9.9" xmlns'), "SWX-1023"),
    "no version": (ORDER.replace(b' version="1.0" xmlns', b" xmlns"), "SWX-1023"),
    "another namespace": (ORDER.replace(b"http://www.chinaport.gov.cn/ceb", b"http://example.org/ceb"), "SWX-1022"),
    "no namespace": (re.sub(rb' xmlns:ceb="[^"]+"', b"", ORDER).replace(b"ceb:", b""), "SWX-1022"),
    "entities that multiply": (BOMB, "SWX-1013"),
    "an entity from a file": (OUTSIDE, "SWX-1013"),
    "GBK declared as UTF-8": (GBK, "SWX-1014"),
    "UTF-8 declared as GBK": (ORDER.replace(b'encoding="UTF-8"', b'encoding="GBK"'), "SWX-1014"),
    "a charset of nobody": (ORDER.replace(b'encoding="UTF-8"', b'encoding="x-none"'), "SWX-1014"),
    "nested too deep": (b"<a>" * 5000 + b"</a>" * 5000, "SWX-1015"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_read_is_rejected_with_the_reason_in_two_languages(what: str) -> None:
    body, code = BROKEN[what]
    decision = decided(body)
    assert (decision.event, decision.code) == ("reject", code)
    assert decision.en.isascii()
    assert re.search("[\u4e00-\u9fff]", decision.zh)
    (told,) = decision.planned
    assert (told.endpoint, told.disposition, told.refers_to) == ("ent1-box", "rejected", 1 << 40)
    assert told.parcel is not None
    assert code in told.parcel.read().decode()


@pytest.mark.parametrize("what", BROKEN)
def test_the_same_from_an_authority_is_held_and_nobody_is_told(what: str) -> None:
    body, code = BROKEN[what]
    examined = examine(arrived(body, ENDPOINTS[2]), TYPES, table(), NOON)
    decision = decide(examined, Context(), TYPES, table(), NOON)
    assert (decision.event, decision.code, decision.planned) == ("hold", code, ())


@given(st.binary(max_size=200))
def test_any_bytes_are_decided_without_an_exception(body: bytes) -> None:
    decision = decided(body)
    assert decision.event == "reject"
    assert decision.code.startswith("SWX-10")


@given(st.integers(0, len(ORDER) - 1), st.binary(min_size=1, max_size=3))
def test_any_damage_to_an_order_is_decided_without_an_exception(place: int, noise: bytes) -> None:
    decision = decided(ORDER[:place] + noise + ORDER[place + len(noise) :])
    assert decision.event in ("accept", "reject")


def test_an_order_in_gb18030_is_read() -> None:
    body = (SAMPLES / "CEB311Message--gb18030.xml").read_bytes()
    assert looked_at(body).message is not None


def test_an_invalid_message_names_what_can_explain_it() -> None:
    examined = looked_at(ORDER.replace(b"<ceb:currency>142<", b"<ceb:currency>999<"))
    assert isinstance(examined.error, Invalid)
    assert examined.error.question == ("CEB311Message", "202205", False, "")


# -- who it is from and for --------------------------------------------------------------------------------------


def error_of(body: bytes, known: RoutingTable) -> str:
    examined = looked_at(body, known)
    assert isinstance(examined.error, UnknownParty)
    return examined.error.code


def test_an_unknown_sender_is_rejected() -> None:
    assert error_of(order(1, sender=9), table()) == "SWX-1051"


def test_a_sender_that_does_not_own_the_endpoint_is_rejected() -> None:
    assert error_of(order(1, sender=2), table()) == "SWX-1052"


@pytest.mark.parametrize("mandate", ["ENT2", "*"])
def test_a_platform_may_send_for_whom_its_agreement_names(mandate: str) -> None:
    known = table(agreeing(sends_for=(mandate,)))
    message = looked_at(order(1, sender=2), known).message
    assert message is not None
    assert message.sender == "ENT2"


def test_a_party_that_left_the_table_is_rejected_and_has_no_place_to_be_told() -> None:
    known = RoutingTable([CUSTOMS], ENDPOINTS, [ORDERS])
    decision = decided(ORDER, known)
    assert (decision.event, decision.code, decision.planned) == ("reject", "SWX-1051", ())


def test_a_message_of_a_party_on_hold_is_not_even_read() -> None:
    examined = looked_at(b"garbage", held={"party:ENT1"})
    assert isinstance(examined.error, Held)
    assert (examined.error.code, examined.opened) == ("SWX-2060", None)
    assert looked_at(ORDER, held={"party:ENT2", "endpoint:ent1-box"}).error is None


PERMIT_XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="Permit"><xs:complexType>
<xs:sequence><xs:element name="to" type="xs:string" maxOccurs="9"/><xs:element name="number" type="xs:string"/>
</xs:sequence><xs:attribute name="id"/><xs:attribute name="v"/></xs:complexType></xs:element></xs:schema>"""
PERMIT_YAML = """
name: Permit
title: {zh: 许可, en: permit}
kind: notice
certainty: own
source: made up
format: xml
root: {name: Permit}
version: {path: "@v", accepted: ["1"]}
editions: [{name: "1", valid_from: 2020-01-01, file: Permit-1.xsd}]
own_id: "@id"
receivers: to
documents: {keys: {permit: number}}
"""


def permits(folder: Path) -> catalogue.Catalogue:
    """Return a catalogue of one type, which names its receivers."""
    family = folder / "border" / "permit"
    family.mkdir(parents=True)
    (family / "family.yaml").write_text("title: {zh: 许可, en: permits}\n", "utf-8")
    (family / "Permit.yaml").write_text(PERMIT_YAML, "utf-8")
    (family / "Permit-1.xsd").write_text(PERMIT_XSD, "utf-8")
    return catalogue.load(folder)


def test_an_unknown_receiver_is_rejected_by_name_and_a_known_one_is_routed_on(tmp_path: Path) -> None:
    types = permits(tmp_path)
    to_customs = Route("permits", ("customs-queue",), match={"receiver": ("CUSTOMS",)})
    known = table(routes=(to_customs,))
    body = b'<Permit id="1" v="1"><to>CUSTOMS</to>%s<number>7</number></Permit>'
    examined = examine(arrived(body % b"<to>NOBODY</to><to>NOR-HIM</to>"), types, known, NOON)
    assert isinstance(examined.error, UnknownParty)
    assert examined.error.code == "SWX-1053"
    assert "NOBODY, NOR-HIM" in examined.error.en
    examined = examine(arrived(body % b""), types, known, NOON)
    assert decide(examined, Context(), types, known, NOON).route == "permits"
    examined = examine(arrived(body % b"<to>ENT2</to>"), types, known, NOON)
    assert decide(examined, Context(), types, known, NOON).code == "SWX-2012", "one of its receivers has no route"


# -- signatures --------------------------------------------------------------------------------------------------


def signed(key: str = "p256") -> bytes:
    return sealing.seal(inventory(1), "ecdsa-sha256", key)


def pinned(*keys: str, verify: str = "require") -> RoutingTable:
    certificates = tuple(pki.der(key) for key in keys or ("p256",))
    return table(evolve(ENT1, certificates=certificates, agreement=Agreement(verify=verify)))


def verdict(body: bytes, known: RoutingTable) -> str:
    examined = looked_at(body, known, at=sealing.now())
    if examined.error is None:
        return ""
    assert isinstance(examined.error, BadSignature)
    return examined.error.code


def test_a_good_signature_stands_and_its_signer_is_known() -> None:
    examined = looked_at(signed(), pinned(), at=sealing.now())
    assert examined.message is not None
    assert examined.message.signer.endswith("0cde6f")


def test_a_signature_that_is_missing_where_it_is_required_is_rejected() -> None:
    assert verdict(ORDER, pinned()) == "SWX-1031"


def test_the_signature_of_another_party_is_rejected() -> None:
    assert verdict(signed("foreign"), pinned()) == "SWX-1034"


def test_an_expired_certificate_is_rejected() -> None:
    assert verdict(signed("expired"), pinned("expired")) == "SWX-1035"


def test_a_message_that_was_changed_after_signing_is_rejected() -> None:
    assert verdict(signed().replace(b">142<", b">502<"), pinned()) == "SWX-1032"


def test_a_profile_that_was_not_agreed_on_is_rejected() -> None:
    known = pinned()
    party = evolve(known.parties["ENT1"], agreement=Agreement(verify="require", profiles=("ceb-sm2",)))
    assert verdict(signed(), table(party)) == "SWX-1037"


def test_where_the_agreement_only_warns_the_message_passes_with_a_warning() -> None:
    for body in (ORDER, signed("foreign")):
        examined = looked_at(body, pinned(verify="warn"), at=sealing.now())
        assert examined.message is not None
        (warning,) = examined.message.warnings
        assert (warning.severity, warning.rule) == ("warning", "signature")
        decision = decide(examined, Context(), TYPES, table(), NOON)
        assert (decision.event, decision.findings) == ("accept", (warning,))


def test_what_is_signed_already_is_not_signed_again() -> None:
    (planned, _) = decided(signed()).planned
    assert (planned.sign, planned.key) == ("", "")


def test_what_comes_unsigned_is_signed_with_the_routes_key_or_the_senders() -> None:
    (planned, _) = decided(inventory(1)).planned
    assert (planned.sign, planned.key) == ("ecdsa-sha256", "p256")
    (planned, _) = decided(inventory(1), table(routes=(evolve(SIGNED, key="platform"),))).planned
    assert planned.key == "platform"


def test_a_type_that_must_be_signed_is_rejected_where_nobody_signs() -> None:
    decision = decided(inventory(1), table(routes=(evolve(SIGNED, sign=""),)))
    assert (decision.event, decision.code) == ("reject", "SWX-1031")


EVENT = (catalogue.SCHEMAS / "neutral" / "event" / "samples" / "valid" / "LogisticsEvent--minimal.json").read_bytes()


def test_what_cannot_carry_a_signature_is_rejected_where_one_is_required() -> None:
    decision = decided(EVENT, table(agreeing(verify="require")))
    assert (decision.event, decision.code) == ("reject", "SWX-1031")


def test_a_route_that_would_sign_what_cannot_carry_a_signature_holds_it() -> None:
    decision = decided(EVENT, table(routes=(evolve(SIGNED, match={"type": ("LogisticsEvent",)}),)))
    assert (decision.event, decision.code, decision.planned) == ("hold", "SWX-2071", ())


def test_a_sender_without_a_key_is_held_until_it_has_one() -> None:
    decision = decided(inventory(1), table(evolve(ENT1, signing_key="")))
    assert (decision.event, decision.code, decision.planned) == ("hold", "SWX-2070", ())


# -- what is decided ---------------------------------------------------------------------------------------------


def test_an_accepted_order_goes_to_customs_and_is_acknowledged() -> None:
    to_customs, back = decided(ORDER).planned
    assert (to_customs.endpoint, to_customs.expects_receipt, to_customs.deadline_seconds) == (
        "customs-queue", True, 1800,
    )  # fmt: skip
    assert to_customs.keys == ("order:TESTEBP001/ORDER-1",), "a GUID marks one transmission, and orders nothing"
    assert (back.endpoint, back.disposition) == ("ent1-box", "accepted")


@pytest.mark.parametrize(("wanted", "told"), [("all", 1), ("rejected", 0), ("none", 0)])
def test_acceptance_is_told_to_those_who_want_to_hear_it(wanted: str, told: int) -> None:
    planned = decided(ORDER, table(agreeing(acknowledge=wanted))).planned
    assert len([p for p in planned if p.disposition == "accepted"]) == told


@pytest.mark.parametrize(("wanted", "told"), [("all", 1), ("rejected", 1), ("none", 0)])
def test_rejection_is_told_to_those_who_want_to_hear_it(wanted: str, told: int) -> None:
    assert len(decided(b"", table(agreeing(acknowledge=wanted))).planned) == told


def test_receipts_go_where_the_party_asked_for() -> None:
    endpoints = (*ENDPOINTS, Endpoint("ent1-other", "ENT1", "memory"))
    known = table(agreeing(reply_to="ent1-other"), endpoints=endpoints)
    assert [p.endpoint for p in decided(ORDER, known).planned] == ["customs-queue", "ent1-other"]
    assert decided(b"", known).planned[0].endpoint == "ent1-other"


def test_no_route_is_held_and_says_what_to_do() -> None:
    decision = decided(ORDER, table(routes=()))
    assert (decision.event, decision.code) == ("hold", "SWX-2010")
    assert "add one, then release" in decision.en


def test_the_same_bytes_again_are_a_duplicate_and_are_acknowledged_again() -> None:
    prior = Prior(7, arrived(ORDER).parcel.digest, "COMPLETED")
    decision = decided(ORDER, prior=prior)
    assert (decision.event, decision.twin) == ("recognise", 7)
    (told,) = decision.planned
    assert told.disposition == "accepted"
    assert told.parcel is not None
    assert b'"duplicate_of"' in told.parcel.read()


def test_other_bytes_under_the_same_id_are_in_conflict() -> None:
    decision = decided(ORDER, prior=Prior(7, b"other", "ACCEPTED"))
    assert (decision.event, decision.code) == ("reject", "SWX-1060")


def test_a_receipt_that_breaks_its_schema_passes_with_a_warning() -> None:
    examined = examine(arrived(answer(1).replace(b"20261122120500123", b"soon"), ENDPOINTS[2]), TYPES, table(), NOON)
    assert examined.message is not None
    assert [(warning.code, warning.severity) for warning in examined.message.warnings] == [("SWX-1040", "warning")]


def test_a_receipt_with_codes_of_no_list_passes_with_a_warning_that_names_them() -> None:
    body = answer(1, 2, 3).replace(b">120<", b">18<", 1).replace(b">120<", b">-451999<", 1)
    examined = examine(arrived(body, ENDPOINTS[2]), TYPES, table(), NOON)
    assert examined.message is not None
    (warning,) = examined.message.warnings
    assert (warning.code, warning.severity, warning.en) == ("SWX-1041", "warning", "codes in no list: 18, -451999")
    assert [(a.outcome, a.terminal) for a in examined.message.envelope.answers] == [
        ("pending", False), ("error", True), ("accepted", True),
    ]  # fmt: skip
    causes = ((Cause(7, 0, "ENT1", "ent1-box", "CEB311Message", "a.xml", "G-7", awaits=("CUSTOMS",)),),) * 3
    decision = decide(examined, Context(causes=causes), TYPES, table(), NOON)
    assert (decision.event, decision.findings, len(decision.answered)) == ("accept", (warning,), 3)


def test_rejections_are_written_as_the_endpoint_speaks_or_else_as_the_type_wants() -> None:
    broken = ORDER.replace(b"<ceb:currency>142<", b"<ceb:currency>999<")
    for kind, begins in ((HttpApi, b"{"), (Folder, b"<?xml")):
        endpoint = Endpoint("ent1-box", "ENT1", "k")
        known = table(endpoints=(endpoint,), kinds={"k": kind})
        (told,) = decided(broken, known).planned
        assert told.parcel is not None
        assert told.parcel.read().startswith(begins)


def test_the_edition_of_the_day_in_beijing_decides() -> None:
    body = inventory(1).replace(b"<ceb:gcode>", b"<ceb:itemNo>ITEM-NUMBER-OF-25-LETTERS</ceb:itemNo><ceb:gcode>")
    may = 1_651_334_400 * SECOND  # 2022-05-01T00:00:00+08:00, when they were cut to 20
    assert looked_at(body, at=may - 1).error is None
    assert isinstance(looked_at(body, at=may).error, Invalid)
