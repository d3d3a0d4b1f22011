"""Receipts find their senders, and nobody else; the receipts that we write ourselves are well-formed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import orjson
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import catalogue, receipts
from exchange.agreement import Agreement
from exchange.errors import Invalid, Rejected
from exchange.model import (
    Answer,
    Arrival,
    Cause,
    Context,
    Decision,
    Document,
    Endpoint,
    Envelope,
    Finding,
    Message,
    MessageType,
    Parcel,
    Party,
    Prior,
)
from exchange.routing import RoutingTable
from tests.daemon import NOON

TYPES = catalogue.load()
SENDERS = ("ENT1", "ENT2", "ENT3")
TABLE = RoutingTable(
    [*(Party(code, "enterprise") for code in SENDERS), Party("CUSTOMS", "customs"), Party("BORDER", "border")],
    [Endpoint(f"{code.lower()}-box", code, "memory") for code in (*SENDERS, "CUSTOMS")],
)
RECEIPT = MessageType("CEB312Message", "xml", kind="receipt")

# -- pure: whose is it? ------------------------------------------------------------------------------------------


def owner(id: int) -> str:
    return SENDERS[(id - 1) % 3]


def cause(id: int, *, awaited: bool = True, type: str = "CEB311Message") -> Cause:
    box = f"{owner(id).lower()}-box"
    return Cause(id, 0, owner(id), box, type, "a.xml", f"G-{id}", awaits=("CUSTOMS",) * awaited)


def receipt(records: int, only: tuple[int, ...] = (), sender: str = "CUSTOMS") -> Message:
    envelope = Envelope(
        "CEB312Message", "1.0", "R-1",
        documents=tuple(Document({"guid": f"D-{i}"}) for i in range(records)),
        answers=tuple(Answer("120", "customs", "accepted", True, f"record {i}") for i in range(records)),
    )  # fmt: skip
    return Message(
        Arrival(9, NOON, "customs-queue", "CUSTOMS", Parcel("r.xml", b"r"), 0, only), RECEIPT, envelope, sender
    )


def form(party: str, records: Sequence[int] | None) -> Parcel | None:
    return None if records is None else Parcel("r.xml", orjson.dumps(list(records)))


def decide(message: Message, *causes: Sequence[Cause], whole: bool = False, table: RoutingTable = TABLE) -> Decision:
    return receipts.decide(message, Context(causes=tuple(map(tuple, causes))), table, form, whole)


CAUSES = st.builds(cause, st.integers(1, 9), awaited=st.booleans())


@given(st.lists(st.lists(CAUSES, max_size=3), min_size=1, max_size=8), st.booleans(), st.data())
def test_every_record_goes_to_exactly_one_home_or_waits(found: list[list[Cause]], whole: bool, data: Any) -> None:
    every = list(range(len(found)))
    only = tuple(data.draw(st.lists(st.sampled_from(every), unique=True).map(sorted)))
    decision = decide(receipt(len(found), only), *found, whole=whole)
    answered = {one.record: one.cause for one in decision.answered}
    assert sorted([*decision.waits, *answered]) == list(only or every)
    assert (decision.event == "park") == (not answered)
    assert all(id in [cause.id for cause in found[record]] for record, id in answered.items())
    given_to = {p.party: orjson.loads(p.parcel.read()) if p.parcel else None for p in decision.planned}
    assert set(given_to) == set(map(owner, answered.values()))
    for party, records in given_to.items():
        his = [record for record, id in answered.items() if owner(id) == party]
        assert records == (None if whole or his == every else his)
    assert all(p.endpoint == f"{p.party.lower()}-box" for p in decision.planned)


@given(st.lists(CAUSES, min_size=2, max_size=4))
def test_keys_that_lead_to_several_senders_lead_to_nobody(found: list[Cause]) -> None:
    awaited = [c for c in found if c.awaits] or found
    decision = decide(receipt(1), found)
    if len({c.party for c in awaited}) > 1:
        assert (decision.event, decision.planned, decision.answered) == ("park", (), ())
    else:
        assert decision.planned[0].party == awaited[0].party


def test_what_awaits_a_receipt_is_preferred_to_what_is_newer() -> None:
    decision = decide(receipt(1), [cause(9, awaited=False), cause(7), cause(4)])
    assert [one.cause for one in decision.answered] == [7]


def test_an_enterprise_answers_only_what_was_sent_to_it() -> None:
    """Else anybody could write releases for his competitor."""
    stranger = evolve(receipt(1, sender="ENT2"), arrival=evolve(receipt(1).arrival, party="ENT2", endpoint="ent2-box"))
    for awaited in (True, False):
        assert decide(stranger, [cause(7, awaited=awaited)]).event == "park"
    asked = evolve(cause(7), awaits=("ENT2",))
    assert decide(stranger, [asked]).planned[0].party == "ENT1"


def test_an_authority_may_repeat_what_nobody_awaits_any_more() -> None:
    assert decide(receipt(1), [cause(7, awaited=False)]).planned[0].party == "ENT1"


def test_a_file_that_is_all_of_one_sender_passes_unchanged() -> None:
    (planned,) = decide(receipt(2), [cause(7)], [cause(4)]).planned
    assert planned.parcel is None
    assert planned.keys == ("answers:7", "answers:4"), "receipts about one message keep their order"


def test_a_file_of_many_senders_is_cut_or_given_whole_as_its_type_says() -> None:
    causes: list[list[Cause]] = [[cause(7)], [cause(8)], []]
    cut = decide(receipt(3), *causes)
    assert [p.parcel.read() for p in cut.planned if p.parcel] == [b"[0]", b"[1]"]
    assert cut.waits == (2,)
    assert [p.parcel for p in decide(receipt(3), *causes, whole=True).planned] == [None, None]


def test_a_sender_without_a_place_for_receipts_holds_the_file() -> None:
    table = RoutingTable(TABLE.parties.values(), [Endpoint("customs-queue", "CUSTOMS", "memory")])
    decision = decide(receipt(1), [cause(7)], table=table)
    assert (decision.event, decision.code) == ("hold", "SWX-2011")
    assert "ENT1" in decision.en


def test_a_receipt_seen_before_is_recognised_and_goes_nowhere() -> None:
    context = Context(Prior(3, b"", "COMPLETED"), ((cause(7),),))
    decision = receipts.decide(receipt(1), context, TABLE, form, False)
    assert (decision.event, decision.twin, decision.planned) == ("recognise", 3, ())


def test_a_receipt_goes_where_its_sender_asked_for() -> None:
    party = Party("ENT1", "enterprise", agreement=Agreement(reply_to="other"))
    endpoints = [*TABLE.endpoints.values(), Endpoint("other", "ENT1", "memory")]
    table = RoutingTable([party, Party("CUSTOMS", "customs")], endpoints)
    assert decide(receipt(1), [cause(7)], table=table).planned[0].endpoint == "other"


# -- pure: what we write -----------------------------------------------------------------------------------------

TEXT = st.text(max_size=200)
FINDINGS = st.lists(
    st.builds(Finding, st.just("SWX-1412"), TEXT, TEXT, TEXT, TEXT, st.none() | st.integers(1, 10**6)), max_size=50
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
ERRORS = st.builds(lambda zh, found: Invalid("it is wrong", zh, findings=found), TEXT | st.just("错" * 6000), FINDINGS)
BODIES = st.binary(max_size=300) | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.just(b"]]>" * 9)
ENVELOPES = st.none() | st.sampled_from(["CEB311Message", "T" * 40]).map(lambda name: Envelope(name, "1.0", "G-1"))


@settings(max_examples=60)
@given(NAMES, ERRORS, BODIES, ENVELOPES)
def test_a_rejection_always_obeys_the_ceb900_schema(
    name: str, why: Rejected, body: bytes, envelope: Envelope | None
) -> None:
    arrival = Arrival(1 << 40, NOON, "ent1-box", "ENT1", Parcel(name, body))
    parcel = receipts.rejected(arrival, envelope, why, NOON, "ceb900")
    opened = TYPES.open(parcel.read())
    type = TYPES.identify(opened)
    assert type.name == "CEB900Message"
    assert TYPES.valid(opened, type, on=date(2026, 1, 1))
    told = opened.tree.findtext("{*}MessageReturn/{*}returnInfo")
    assert "SWX-1040" in told


LONG = st.integers(0, 12_000).map(lambda size: "错" * size)


@given(st.lists(TEXT | LONG, max_size=40).map("\n".join))
def test_what_is_told_fits_and_begins_as_it_was_written(text: str) -> None:
    text = f"[Code:SWX-1040;Desc:{text}]"
    fitted = receipts._fit(text)
    assert len(fitted) <= receipts.RETURN_INFO
    assert fitted.startswith("[Code:SWX-1040;Desc:")
    clean = receipts._clean(text)
    assert fitted == clean or clean.startswith(fitted.rpartition("\n")[0])


def test_whole_lines_are_left_out_and_counted() -> None:
    lines = [f"{i:03} " + "错" * 96 for i in range(100)]
    fitted = receipts._fit("\n".join(lines)).split("\n")
    assert fitted[:-1] == lines[: len(fitted) - 1]
    assert fitted[-1] == f"另有 {100 - len(fitted) + 1} 条错误未列出"


def test_the_original_is_enclosed_where_it_is_text_of_a_bearable_size() -> None:
    for body, enclosed in (
        (b"<a>]]></a>", "<a>]]></a>"), ("订单".encode("gbk"), ""), (b"x" * (64 * 1024 + 1), ""), (b"\0\x01", ""),
    ):  # fmt: skip
        arrival = Arrival(1 << 40, NOON, "ent1-box", "ENT1", Parcel("a.xml", body))
        parcel = receipts.rejected(arrival, None, Invalid(), NOON, "ceb900")
        tree = TYPES.open(parcel.read()).tree
        assert tree.findtext("{*}MessageReturn/{*}oriBizMessage") == enclosed


def test_a_rejection_in_json_lists_every_finding_without_empty_fields() -> None:
    arrival = Arrival(1 << 40, NOON, "ent1-box", "ENT1", Parcel("order.xml", b"x"))
    why = Invalid(findings=[Finding("SWX-1412", "minLength", "/a/b", "too short", "过短", 3)])
    parcel = receipts.rejected(arrival, None, why, NOON, "json")
    assert parcel.name == "Failed_order_19700102-0.json"
    told = orjson.loads(parcel.read())
    assert (told["state"], told["code"], told["type"]) == ("REJECTED", "SWX-1040", "")
    assert told["findings"] == [
        {"code": "SWX-1412", "severity": "error", "pointer": "/a/b", "line": 3, "rule": "minLength",
         "en": "too short", "zh": "过短"}
    ]  # fmt: skip


def test_an_acceptance_tells_which_message_it_is_about_and_which_one_it_repeats() -> None:
    arrival = Arrival(1 << 40, NOON, "ent1-box", "ENT1", Parcel("order", b"x"))
    envelope = Envelope("CEB311Message", "1.0", "G-1")
    first = receipts.accepted(arrival, envelope, NOON, "ceb900")
    assert (first.name, first.headers) == ("Successed_order_19700102-0.json", {"type": "receipt"})
    told = orjson.loads(first.read())
    assert told == {
        "id": "19700102-0", "name": "order", "type": "CEB311Message", "own_id": "G-1", "state": "ACCEPTED",
        "received_at": "2026-11-22T12:00:00.000+08:00", "at": "2026-11-22T12:00:00.000+08:00",
    }  # fmt: skip
    again = orjson.loads(receipts.accepted(arrival, envelope, NOON, "ceb900", twin=2 << 40).read())
    assert again == told | {"duplicate_of": "19700103-0"}
