"""Send, in a whole daemon: what goes when, what is tried again, what waits for whom."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exchange.errors import Permanent, Transient
from exchange.instants import SECOND
from exchange.model import Parcel
from tests.daemon import ROUTES, Stuck, order, running

DOWN = Transient("the queue is down", "队列不可用", code="SWX-3013")
PATIENCE = "{name: customs-queue, kind: memory, retry: {first: 10, longest: 60, give_up: 300}}"
PATIENT = ROUTES.replace("{name: customs-queue, kind: memory}", PATIENCE)
QUIET = PATIENT.replace("role: enterprise", "role: enterprise\n    agreement: {acknowledge: rejected}")
BORDER = """  - code: BORDER
    role: border
    endpoints: [{name: border-queue, kind: memory}]
routes:
  - {name: both, match: {type: CEB311Message}, to: [customs-queue, border-queue]}
"""
BOTH = QUIET[: QUIET.index("routes:")] + BORDER


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange.sending.PAUSE_SECONDS", 0.02)


# -- in which order ----------------------------------------------------------------------------------------------


async def test_what_waited_goes_out_oldest_first(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET) as house:
        await house.hold_endpoint("customs-queue")
        await house.orders(5, 3, 9, 1)
        assert house.numbers() == []
        await house.hold_endpoint("customs-queue", "")
        await house.settle()
        assert house.numbers() == [5, 3, 9, 1]


async def test_what_was_deferred_goes_when_it_is_due_and_what_is_due_first_goes_first(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET, far={"customs-queue": DOWN}) as house:
        await house.orders(1)
        await house.until_logged("delivery.deferred", 1)
        house.clock.move(5)
        await house.orders(2)
        await house.until_logged("delivery.deferred", 2)
        house.far.clear()
        await house.pass_time(3)
        await house.orders(3)
        await house.until(lambda: house.numbers() == [3])
        await house.pass_time(60)
        await house.settle()
        assert house.numbers() == [3, 1, 2]


async def test_a_correction_waits_for_its_order_and_nothing_else_does(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET, far={"customs-queue": DOWN}) as house:
        await house.orders(1)
        await house.until_logged("delivery.deferred")
        house.far.clear()
        correction = await house.give("ent1-box", order(1, mark="111"))
        await house.orders(2)
        await house.until(lambda: house.numbers() == [2])
        assert (await house.delivery(correction))["state"] == "QUEUED"
        await house.pass_time(60)
        await house.settle()
        assert house.numbers() == [2, 1, 1]
        assert b"4000-8111-" in house.sent("customs-queue")[-1].read(), "the correction is the last"


# -- again and again ---------------------------------------------------------------------------------------------


async def test_the_wait_doubles_up_to_the_longest_and_the_journal_tells_why(tmp_path: Path) -> None:
    table = PATIENT.replace(", give_up: 300", "")
    async with running(tmp_path, table, far={"customs-queue": DOWN}) as house:
        (id,) = await house.orders(1)
        for attempt in range(1, 6):
            await house.until_logged("delivery.deferred", attempt)
            if attempt == 5:
                house.far.clear()
            await house.pass_time(72)
        await house.settle()
        lines = await house.told(id, "defer")
        waits = [(line["due_at"] - line["at"]) / SECOND for line in lines]
        for waited, least in zip(waits, (10, 20, 40, 60, 60), strict=True):
            assert least <= waited <= least * 1.2
        assert {(line["code"], line["en"], line["zh"]) for line in lines} == {(DOWN.code, DOWN.en, DOWN.zh)}
        assert [line["attempt"] for line in lines] == list(range(1, len(lines) + 1))
        assert (await house.delivery(id))["attempts"] == len(lines) + 1
        assert (await house.delivery(id))["state"] == "DELIVERED"


async def test_a_peer_that_asks_for_patience_gets_it(tmp_path: Path) -> None:
    busy = Transient("come back later", "请稍后", retry_after=500)
    async with running(tmp_path, ROUTES, far={"customs-queue": busy}) as house:
        (id,) = await house.orders(1)
        await house.until_logged("delivery.deferred")
        (line,) = await house.told(id, "defer")
        assert line["due_at"] - line["at"] == 500 * SECOND


async def test_whoever_is_given_up_is_failed_and_can_be_resent(tmp_path: Path) -> None:
    async with running(tmp_path, PATIENT, far={"customs-queue": DOWN}) as house:
        (id,) = await house.orders(1)
        await house.until_logged("delivery.deferred")
        await house.pass_time(299)
        await house.until_logged("delivery.deferred", 2)
        await house.pass_time(60)
        await house.until_logged("delivery.failed")
        assert await house.state(id) == "FAILED"
        (line, _) = await house.told(id, "fail")  # the delivery, and with it the message
        assert (line["code"], line["zh"]) == (DOWN.code, DOWN.zh)
        house.far.clear()
        await house.change("resend", id)
        await house.settle()
        assert (await house.delivery(id))["state"] == "DELIVERED"
        assert await house.state(id) == "ACCEPTED"


async def test_a_peer_that_says_never_is_believed_at_once(tmp_path: Path) -> None:
    never = Permanent("the queue refuses such messages", "队列拒收此类报文", code="SWX-3021")
    async with running(tmp_path, PATIENT, far={"customs-queue": never}) as house:
        (id,) = await house.orders(1)
        await house.settle()
        assert await house.state(id) == "FAILED"
        (line,) = house.logged("delivery.failed")
        assert (line["id"], line["attempt"], line["code"]) == (id, 1, "SWX-3021")
        assert await house.told(id, "defer") == []


async def test_an_adapter_that_breaks_is_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path, PATIENT, far={"customs-queue": KeyError("a bug")}) as house:
        (id,) = await house.orders(1)
        await house.until_logged("delivery.deferred")
        (line,) = await house.told(id, "defer")
        assert (line["code"], line["en"]) == ("SWX-3011", "KeyError: 'a bug'")
        house.far.clear()
        await house.pass_time(12)
        await house.settle()
        assert house.numbers() == [1]


async def test_an_attempt_that_never_ends_is_given_up_and_made_again(tmp_path: Path) -> None:
    stuck = Stuck()
    async with running(tmp_path, PATIENT, far={"customs-queue": stuck}) as house:
        (id,) = await house.orders(1)
        await house.until(lambda: stuck.waiting)
        await house.pass_time(599)
        assert house.logged("delivery.failed") == []
        await house.pass_time(2)
        await house.until_logged("delivery.failed")
        assert (await house.told(id, "fail"))[0]["code"] == "SWX-3012"
        house.far.clear()
        await house.change("resend", id)
        await house.settle()
        assert house.numbers() == [1]


@pytest.mark.parametrize("milliseconds", [8, 10, 12, 15, 18, 22, 27, 35, 45, 60, 90])
async def test_what_falls_due_just_while_its_lane_looks_at_the_clock_is_not_forgotten(
    tmp_path: Path, milliseconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    table = QUIET.replace("first: 10, longest: 60", "first: 0.1, longest: 0.1")
    async with running(tmp_path, table, far={"customs-queue": DOWN}) as house:
        await house.hold_endpoint("customs-queue")
        await house.orders(1)
        house.clock.step = milliseconds * 1000
        await house.hold_endpoint("customs-queue", "")
        await house.until_logged("delivery.deferred")
        house.far.clear()
        await house.until(house.numbers)


async def test_a_clock_that_is_set_back_delays_nothing_for_long(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET, far={"customs-queue": DOWN}) as house:
        await house.orders(1)
        await house.until_logged("delivery.deferred")
        house.far.clear()
        await house.pass_time(-3600)
        await house.orders(2)
        await house.until(lambda: 2 in house.numbers())
        await house.pass_time(80)
        await house.until(lambda: sorted(house.numbers()) == [1, 2])


# -- who waits for whom ------------------------------------------------------------------------------------------


async def test_one_endpoint_that_is_stuck_holds_nobody_else_back(tmp_path: Path) -> None:
    stuck = Stuck()
    async with running(tmp_path, BOTH, far={"border-queue": stuck}) as house:
        await house.orders(*range(1, 101))
        await house.until(lambda: len(house.numbers()) == 100)
        assert len(stuck.waiting) == house.memory.window
        assert house.numbers("border-queue") == []
        stuck.let_go()
        await house.settle()
        assert sorted(house.numbers("border-queue")) == list(range(1, 101))


@pytest.mark.parametrize(("window", "bound"), [("", 16), (", window: 3", 3), (", window: 1", 1)])
async def test_never_is_more_in_flight_than_the_window(tmp_path: Path, window: str, bound: int) -> None:
    flying, most = 0, 0

    async def slow(_: Parcel) -> None:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.001)
        flying -= 1

    table = ROUTES.replace("{name: customs-queue, kind: memory}", f"{{name: customs-queue, kind: memory{window}}}")
    async with running(tmp_path, table, far={"customs-queue": slow}) as house:
        await asyncio.gather(*(house.give("ent1-box", order(n)) for n in range(60)))
        await house.settle()
        assert most == bound
        assert sorted(house.numbers()) == list(range(60))


@pytest.mark.parametrize("verb", ["party.hold", "endpoint.hold"])
async def test_what_is_on_hold_gets_nothing_until_it_is_resumed(tmp_path: Path, verb: str) -> None:
    async with running(tmp_path, BOTH) as house:
        who = {"party.hold": {"code": "CUSTOMS"}, "endpoint.hold": {"name": "customs-queue"}}[verb]
        await house.ask(verb, **who, state="held", reason="works on the line")
        (id,) = await house.orders(1)
        await house.until(lambda: house.numbers("border-queue") == [1])
        assert ((await house.delivery(id))["state"], house.numbers()) == ("QUEUED", [])
        await house.ask(verb, **who, state="", reason="done")
        await house.settle()
        assert house.numbers() == [1]


async def test_a_hold_outlives_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET) as house:
        await house.hold_endpoint("customs-queue")
        await house.orders(1)
    async with running(tmp_path, QUIET) as house:
        await house.orders(2)
        assert house.numbers() == []
        await house.hold_endpoint("customs-queue", "")
        await house.settle()
        assert house.numbers() == [1, 2]


async def test_what_is_due_at_an_endpoint_that_left_the_table_waits_until_it_is_back(tmp_path: Path) -> None:
    async with running(tmp_path, BOTH, far={"border-queue": DOWN}) as house:
        await house.orders(1)
        await house.until_logged("delivery.deferred")
        await house.daemon.publish(f"#! file routes.yaml\n{QUIET}", "zhang", "the border goes")
        house.far.clear()
        await house.pass_time(60)
        assert house.numbers("border-queue") == []
        await house.daemon.publish(f"#! file routes.yaml\n{BOTH}", "zhang", "and comes back")
        await house.settle()
        assert house.numbers("border-queue") == [1]
