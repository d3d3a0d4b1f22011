"""Every verb of switchctl in a running switch: what it tells, and what it refuses and how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from exchange.control import CHANGES, NEED_REASON, Control
from exchange.errors import NotFound, Refused
from tests.daemon import Stuck, answer, order, running
from tests.verbs import CHINESE, one_of_each, refused

# -- which verbs there are ---------------------------------------------------------------------------------------

HOLD = {"since": "2026-11-22T12:00:00.000+08:00", "by": "zhang", "reason": "unpaid"}
BAD: dict[str, Mapping[str, Any]] = {
    "status": {"verbose": True},
    "message.list": {"colour": "red"},
    "message.show": {},
    "message.search": {"limit": 5},
    "message.change": {"verb": "hold"},
    "queue.list": {"of": "ENT1"},
    "party.list": {"roles": "customs"},
    "endpoint.list": {"parties": "CUSTOMS"},
    "party.hold": {"code": "ENT1"},
    "party.import": {"rows": None},
    "endpoint.hold": {"name": "ent1-box"},
    "receipt.list": {"limits": 5},
    "hsm.status": {"of": "hsm-a"},
    "hsm.selftest": {"of": "hsm-a"},
    "hsm.open": {},
    "sign.status": {"of": "ENT1"},
    "sign.queue": {"of": "ENT1"},
    "sign.log": {"of": "ENT1"},
    "sign.test": {"profile": "ceb-sm2"},
    "trust.list": {"of": "e-port"},
    "trust.check": {},
    "trust.import": {},
    "trust.fetch": {"url": "http://lists.example"},
    "hsm.failover_test": {"device": "hsm-a"},
    "evidence.sign": {"message": "20261122-1"},
    "routes.publish": {"file": "routes.yaml"},
    "routes.history": {"since": "2026"},
    "routes.current": {"number": 1},
    "routes.rollback": {},
    "schema.reload": {"folder": "types"},
    "key.list": {"states": "active"},
    "key.show": {},
    "key.csr": {"name": "p256"},
    "change.submit": {"subject": "p256/1"},
    "change.list": {"states": "submitted"},
    "change.show": {},
    "change.approve": {},
    "change.reject": {},
}


async def test_there_is_a_way_to_be_wrong_for_every_verb(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        assert set(BAD) == set(house.control._verbs)
        assert set(BAD) >= NEED_REASON


@pytest.mark.parametrize("verb", BAD)
async def test_wrong_arguments_are_refused_by_name_and_change_nothing(tmp_path: Path, verb: str) -> None:
    async with running(tmp_path) as house:
        why = await refused(house, verb, **BAD[verb], **({"reason": "asked by phone"} if verb in NEED_REASON else {}))
        assert isinstance(why, Refused)
        assert (why.code, why.en.startswith(f"{verb}: ")) == ("SWX-7020", True)
        assert house.switch.held == {}
        assert house.switch.table.generation == 1


@pytest.mark.parametrize("verb", sorted(NEED_REASON))
@pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": " \t"}, {"reason": None}], ids=str)
async def test_a_change_without_a_reason_is_refused(tmp_path: Path, verb: str, reason: Mapping[str, Any]) -> None:
    async with running(tmp_path) as house:
        why = await refused(house, verb, **reason)
        assert (type(why), why.code) == (Refused, "SWX-7021")


def test_everything_that_changes_something_needs_a_reason() -> None:
    looking = {"status", "message.list", "message.show", "message.search", "queue.list", "party.list", "receipt.list"}
    looking |= {"endpoint.list", "routes.history", "routes.current", "hsm.status", "hsm.selftest"}
    looking |= {"sign.status", "sign.queue", "sign.log", "sign.test", "trust.list", "trust.check", "evidence.sign"}
    looking |= {"key.list", "key.show", "key.csr", "change.list", "change.show"}
    assert set(BAD) - looking == NEED_REASON


def test_the_verbs_say_what_they_do() -> None:
    verbs = Control(Any)._verbs  # type: ignore[arg-type]
    assert all(verb.__doc__ for verb in verbs.values())


async def test_a_verb_that_is_none_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        why = await refused(house, "message.shred", id="20261122-1")
        assert (type(why), why.code) == (NotFound, "SWX-7010")


# -- looking -----------------------------------------------------------------------------------------------------


async def test_status_counts_what_is_open_held_and_failed(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await one_of_each(house)
        await house.ask("party.hold", code="ENT2", state="held", reason="unpaid")
        house.clock.move(90)
        status = await house.ask("status")
        del status["version"]
        assert status == {
            "started_at": "2026-11-22T12:00:00.000+08:00",
            "up_seconds": 90,
            "generation": 1,
            "intake": "open",
            "ready": True,
            "held_messages": 1,
            "held_subjects": {
                "party:ENT2": {"since": "2026-11-22T12:00:00.000+08:00", "by": "zhang", "reason": "unpaid"}
            },
            "queued": 0,
            "failed": 1,
            "awaiting_receipt": 1,
            "receipts_missing": {},
            "certificates_expiring": {},
            "signing_keys": "in files: non-production",
        }


async def test_messages_are_listed_by_state_party_and_type_newest_first_page_by_page(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        ids = await one_of_each(house)
        for state, id in ids.items():
            listed = await house.ask("message.list", state=state)
            assert id in [head["id"] for head in listed]
            assert {head["state"] for head in listed} == {state}
        every = [head["id"] for head in await house.ask("message.list")]
        assert every == sorted(every, key=lambda id: -int(id.partition("-")[2]))
        assert every[:2] + [head["id"] for head in await house.ask("message.list", before=every[1])] == every
        assert [head["id"] for head in await house.ask("message.list", limit=3)] == every[:3]
        assert {head["party"] for head in await house.ask("message.list", party="CUSTOMS")} == {"CUSTOMS"}
        assert {head["type"] for head in await house.ask("message.list", type="CEB312Message")} == {"CEB312Message"}
        assert (await refused(house, "message.list", before="yesterday")).code == "SWX-7010"


async def test_a_life_is_shown_with_dates_deliveries_and_codes_in_words(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", order(1), "order.xml")
        await house.give("customs-queue", answer(1), "r.xml")
        await house.settle()
        life = await house.ask("message.show", id=id)
        assert (life["name"], life["type"], life["sender"], life["state"]) == (
            "order.xml", "CEB311Message", "ENT1", "COMPLETED",
        )  # fmt: skip
        assert life["at"] == "2026-11-22T12:00:00.000+08:00"
        assert [(d["endpoint"], d["state"]) for d in life["deliveries"]] == [
            ("customs-queue", "ANSWERED"),
            ("ent1-box", "DELIVERED"),
        ]
        (said,) = [line for line in life["journal"] if line.get("receipt")]
        assert (said["code"], said["outcome"]) == ("120", "accepted")
        assert CHINESE.search(said["meaning"]["zh"])
        assert said["meaning"]["en"]


@pytest.mark.parametrize("id", ["20261122-77", "20251122-1", "20261122", "yesterday-1", "20261399-1", "", "../../etc"])
async def test_what_is_not_there_is_not_found_in_two_languages(tmp_path: Path, id: str) -> None:
    async with running(tmp_path) as house:
        await house.give("ent1-box", order(1))
        await house.settle()
        assert (await refused(house, "message.show", id=id)).code == "SWX-7010"
        for verb in CHANGES:
            why = await refused(house, "message.change", verb=verb, ids=[id], reason="asked by phone")
            assert (type(why), why.code) == (NotFound, "SWX-7010")


@pytest.mark.parametrize(
    ("verb", "wrong", "meant"),
    [
        ("message.list", {"state": "HELDD"}, "HELD"),
        ("party.list", {"role": "custom"}, "customs"),
        ("party.hold", {"code": "ent1", "state": "held", "reason": "unpaid"}, "ENT1"),
        ("endpoint.hold", {"name": "ent1-bx", "state": "held", "reason": "unpaid"}, "ent1-box"),
    ],
)
async def test_a_misspelled_name_is_not_an_empty_list_but_answered_with_what_may_have_been_meant(
    tmp_path: Path, verb: str, wrong: Mapping[str, Any], meant: str
) -> None:
    async with running(tmp_path) as house:
        why = await refused(house, verb, **wrong)
        assert isinstance(why, NotFound)
        assert f"did you mean '{meant}'?" in why.en
        assert f"是否为 '{meant}'？" in why.zh


async def test_the_signing_log_of_what_is_no_message_is_not_found(tmp_path: Path) -> None:
    """It was an error of ours, SWX-9000."""
    async with running(tmp_path) as house:
        assert isinstance(await refused(house, "sign.log", message="order.xml"), NotFound)


async def test_messages_are_found_by_their_keys(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", order(7))
        await house.give("ent1-box", order(8))
        await house.settle()
        for key in ("ORDER-7", "TESTEBP001/ORDER-7", "00000000-0000-4000-8000-000000000007"):
            assert [head["id"] for head in await house.ask("message.search", key=key)] == [id]
        assert await house.ask("message.search", key="ORDER-") == []


async def test_queues_tell_how_much_waits_how_long_and_whether_on_hold(tmp_path: Path) -> None:
    async with running(tmp_path, far={"ent1-box": Stuck()}) as house:
        await house.ask("party.hold", code="CUSTOMS", state="held", reason="works on the line")
        for n in (1, 2):
            await house.give("ent1-box", order(n))
            await house.decided()
            house.clock.move(60)
        first, second = sorted(await house.ask("queue.list"), key=lambda row: row["endpoint"])
        assert (first["endpoint"], first["state"], first["depth"], first["oldest_seconds"], first["on_hold"]) == (
            "customs-queue", "QUEUED", 2, 120, True,
        )  # fmt: skip
        assert (second["endpoint"], second["state"], second["on_hold"]) == ("ent1-box", "SENDING", False)
        house.kill()


async def test_parties_are_listed_with_role_state_and_endpoints(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.ask("party.hold", code="ENT1", state="held", reason="unpaid")
        first, *_ = await house.ask("party.list", role="enterprise")
        assert first == {
            "code": "ENT1",
            "role": "enterprise",
            "name": "",
            "ids": ["DXPENT0000000001"],
            "state": "held",
            "hold": HOLD,
            "endpoints": ["ent1-box"],
        }
        assert [party["code"] for party in await house.ask("party.list", role="customs")] == ["CUSTOMS"]
        assert len(await house.ask("party.list")) == 3


async def test_endpoints_are_listed_with_what_waits_for_them_and_why_they_are_on_hold(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.ask("endpoint.hold", name="customs-queue", state="held", reason="unpaid")
        await house.orders(1, 2)
        house.clock.move(30)
        (customs,) = await house.ask("endpoint.list", party="CUSTOMS")
        assert customs == {
            "name": "customs-queue",
            "party": "CUSTOMS",
            "kind": "memory",
            "state": "held",
            "hold": HOLD,
            "waiting": 2,
            "oldest_seconds": 30,
        }
        box = (await house.ask("endpoint.list"))[0]
        assert (box["name"], box["state"], box["hold"]) == ("ent1-box", "active", None)


async def test_receipts_are_listed_and_those_that_answer_nothing_by_themselves(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.give("ent1-box", order(1))
        joined = await house.give("customs-queue", answer(1, code="120"), "r.xml")
        parked = await house.give("customs-queue", answer(2, code="800"), "early.xml")
        await house.settle()
        listed = await house.ask("receipt.list")
        life = await house.ask("message.show", id=joined)
        assert [head["answers"] for head in (await house.ask("message.list"))[:2]] == [
            head["answers"] for head in listed
        ]
        assert life["facts"]["answers"] == listed[1]["answers"]
        assert [(head["id"], head["answers"][0]["code"]) for head in listed] == [(parked, "800"), (joined, "120")]
        assert [head["id"] for head in await house.ask("receipt.list", unmatched=True)] == [parked]
        await house.pass_time(3601)
        assert [head["id"] for head in await house.ask("receipt.list", unmatched=True)] == [parked]
        assert await house.ask("receipt.list", party="ENT1") == []
        assert len(await house.ask("receipt.list", limit=1)) == 1
