"""What operators change in a running switch: what fits which state, what is refused, and what the journal keeps."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from exchange.control import CHANGES
from exchange.errors import ConfigurationError, NotFound, Refused
from tests.daemon import ROUTES, answer, order, running
from tests.verbs import one_of_each, refused

OTHER = "#! file routes.yaml\n" + ROUTES.replace("name: orders", "name: orders-now")

# -- changing messages -------------------------------------------------------------------------------------------

AFTER: dict[str, dict[str, str]] = {  # verb -> state before -> state after; anything else is refused
    "hold": {"RECEIVED": "HELD"},
    "release": {"HELD": "HELD"},  # sorted again, and it is garbage still
    "resend": {state: state for state in ("ACCEPTED", "COMPLETED", "REJECTED", "DUPLICATE")} | {"FAILED": "ACCEPTED"},
    "requeue": {"COMPLETED": "ACCEPTED"},
    "discard": {"HELD": "DISCARDED", "FAILED": "DISCARDED"},
}


@pytest.mark.parametrize("verb", CHANGES)
async def test_a_change_fits_some_states_and_the_others_are_told_what_it_is_for(tmp_path: Path, verb: str) -> None:
    async with running(tmp_path) as house:
        for state, id in (await one_of_each(house)).items():
            if state not in AFTER[verb]:
                why = await refused(house, "message.change", verb=verb, ids=[id], reason="asked by phone")
                assert (type(why), why.code) == (Refused, "SWX-7020")
                assert re.search(rf"message {id} is {state}: it can't be \w+; only .+ can", why.en)
                assert re.search(f"报文 {id} 处于 {state} 状态，不能执行 {verb}：仅适用于", why.zh)
                assert await house.state(id) == state
                continue
            (done,) = await house.change(verb, id)
            assert done["id"] == id
            await house.settle()
            assert await house.state(id) == AFTER[verb][state]
            said = [line for line in (await house.life(id))["journal"] if line["actor"] == "zhang"]
            assert said
            assert {line["reason"] for line in said} == {"asked by phone"}
            assert {"id": id, "verb": verb, "actor": "zhang"}.items() <= house.logged("message.changed")[-1].items()


async def test_a_delivery_that_waits_can_be_held_and_released_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.ask("endpoint.hold", name="customs-queue", state="held", reason="works on the line")
        id = await house.give("ent1-box", order(1))
        await house.decided()
        assert await house.change("hold", id, delivery=0) == [{"id": id, "state": "HELD"}]
        await house.ask("endpoint.hold", name="customs-queue", state="", reason="done")
        await house.settle()
        assert house.sent("customs-queue") == []
        why = await refused(house, "message.change", verb="release", ids=[id], reason="r", delivery=1)
        assert why.code == "SWX-7020"
        await house.change("release", id, delivery=0)
        await house.settle()
        assert len(house.sent("customs-queue")) == 1


async def test_resend_sends_the_same_bytes_under_the_same_id_and_not_what_a_receipt_has_proved(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", order(1))
        await house.settle()
        await house.change("resend", id, delivery=0)
        await house.settle()
        first, second = house.sent("customs-queue")
        assert (first.read(), first.headers) == (second.read(), second.headers)
        await house.give("customs-queue", answer(1), "r.xml")
        await house.settle()
        why = await refused(house, "message.change", verb="resend", ids=[id], reason="asked by phone", delivery=0)
        assert "no receipt has proved" in why.en


async def test_requeue_decides_anew_under_the_table_in_force(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", order(1))
        await house.give("customs-queue", answer(1), "r.xml")
        await house.settle()
        await house.ask("routes.publish", text=OTHER, reason="a new name")
        await house.change("requeue", id)
        await house.settle()
        assert [line["route"] for line in await house.told(id, "accept")] == ["orders", "orders-now"]
        assert len(house.sent("customs-queue")) == 2


async def test_many_changes_are_all_made_or_none(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        ids = await one_of_each(house)
        why = await refused(
            house, "message.change", verb="discard", ids=[ids["HELD"], ids["COMPLETED"]], reason="asked by phone"
        )
        assert ids["COMPLETED"] in why.en
        assert await house.states(ids["HELD"], ids["COMPLETED"]) == ["HELD", "COMPLETED"]
        assert house.logged("message.changed")[-1]["id"] == ids["DISCARDED"]
        done = await house.change("discard", ids["HELD"], ids["FAILED"])
        assert [one["state"] for one in done] == ["DISCARDED", "DISCARDED"]


async def test_messages_cannot_be_what_they_cannot_be(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        why = await refused(house, "message.change", verb="reject", ids=[], reason="asked by phone")
        assert (type(why), why.code) == (NotFound, "SWX-7010")


# -- parties, endpoints, tables ----------------------------------------------------------------------------------


def operations(home: Path) -> list[tuple[str, ...]]:
    with sqlite3.connect(home / "var/store/switch.db") as store:
        return store.execute("SELECT actor, verb, subject, reason FROM operation ORDER BY rowid").fetchall()


HOLDS = {"party.hold": ("code", "ENT1", "party:ENT1"), "endpoint.hold": ("name", "ent1-box", "endpoint:ent1-box")}


@pytest.mark.parametrize("verb", HOLDS)
async def test_holds_are_set_and_lifted_and_the_store_keeps_who_and_why(tmp_path: Path, verb: str) -> None:
    key, name, subject = HOLDS[verb]
    async with running(tmp_path) as house:
        held = await house.ask(verb, **{key: name}, state="held", reason="unpaid")
        assert (held, set(house.switch.held)) == ({"subject": subject, "state": "held"}, {subject})
        active = await house.ask(verb, actor="li", **{key: name}, state="", reason="paid")
        assert (active, set(house.switch.held)) == ({"subject": subject, "state": "active"}, set())
        assert operations(tmp_path)[1:] == [
            ("zhang", "hold", subject, "unpaid"),
            ("li", "resume", subject, "paid"),
        ]
        told = [(line["event"], line["actor"]) for line in house.events if line["event"].startswith("subject.")]
        assert told == [("subject.held", "zhang"), ("subject.resumed", "li")]


@pytest.mark.parametrize("verb", HOLDS)
async def test_whom_nobody_knows_cannot_be_held_and_states_of_ones_own_are_refused(tmp_path: Path, verb: str) -> None:
    key, name, _ = HOLDS[verb]
    async with running(tmp_path) as house:
        assert (await refused(house, verb, **{key: "NOBODY"}, state="held", reason="unpaid")).code == "SWX-7010"
        assert (await refused(house, verb, **{key: name}, state="frozen", reason="unpaid")).code == "SWX-7020"
        assert house.switch.held == {}


async def test_imports_are_counted_and_kept_with_who_and_why(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        rows = [{"code": f"P{n}", "role": "port"} for n in range(3)]
        assert await house.ask("party.import", rows=rows, reason="monthly list") == {"imported": 3}
        assert await house.ask("party.import", rows=[], reason="nobody new") == {"imported": 0}
        assert ("zhang", "import", "3 parties", "monthly list") in operations(tmp_path)


async def test_tables_are_published_compared_and_rolled_back_and_the_history_tells_who_and_why(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        first = await house.ask("routes.current", text=OTHER)
        assert {"-  - {name: orders, match: {type: CEB311Message}, to: [customs-queue]}"} < set(first["diff"])
        published = await house.ask("routes.publish", text=OTHER, reason="a new name", expect=1)
        assert (published["generation"], published["actor"], published["reason"]) == (2, "zhang", "a new name")
        assert (await house.ask("routes.current"))["text"] == OTHER
        assert (await house.ask("routes.current", text=OTHER))["diff"] == []
        back = await house.ask("routes.rollback", actor="li", number=1, reason="it was wrong")
        assert (back["generation"], back["digest"]) == (3, first["digest"])
        history = await house.ask("routes.history")
        assert [(g["generation"], g["actor"], g["reason"]) for g in history] == [
            (3, "li", "it was wrong"), (2, "zhang", "a new name"), (1, "switchd", "first start"),
        ]  # fmt: skip
        assert [g["generation"] for g in await house.ask("routes.history", limit=1)] == [3]
        assert house.switch.table.routes[0].name == "orders"


async def test_whoever_wrote_against_another_generation_is_told_to_look_again(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.ask("routes.publish", text=OTHER, reason="a new name")
        why = await refused(house, "routes.publish", text=OTHER, reason="the same", expect=1)
        assert (type(why), why.code) == (Refused, "SWX-7030")
        assert "look at the difference" in why.en
        assert (await refused(house, "routes.rollback", number=9, reason="back")).code == "SWX-7010"
        assert house.switch.table.generation == 2


@pytest.mark.parametrize("text", ["", "   \n", "routes: [", "#! file routes.yaml\n", "#! file routes.yaml\nparts: []"])
async def test_a_table_with_a_mistake_is_not_published(tmp_path: Path, text: str) -> None:
    async with running(tmp_path) as house:
        why = await refused(house, "routes.publish", text=text, reason="a new table")
        assert isinstance(why, ConfigurationError)
        assert all(re.match(r"routes\.yaml:\d+:\d+: ", problem) for problem in why.problems), why.problems
        assert (house.switch.table.generation, len(await house.ask("routes.history"))) == (1, 1)
