"""Send, in a whole daemon: more than memory holds, outcomes that can't be written, and a stop in the middle."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import StoreError
from exchange.lanes import Lane
from exchange.model import Delivery
from tests.daemon import Clock, Stuck, answer, order, running
from tests.unit.test_sending import DOWN, QUIET

DISK = StoreError("the disk is full", "磁盘已满", code="SWX-6010")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange.sending.PAUSE_SECONDS", 0.02)


# -- much of it --------------------------------------------------------------------------------------------------


async def test_what_memory_has_no_room_for_is_read_back_and_nothing_overtakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange.sending.Lane", partial(Lane, active=4))
    monkeypatch.setattr("exchange.sending.REFILL", 3)
    monkeypatch.setattr("exchange.sending.MEMORY_BYTES", 5_000)
    async with running(tmp_path, QUIET) as house:
        await house.hold_endpoint("customs-queue")
        await house.orders(*range(20))
        assert 0 < house.switch.sending._bytes <= 5_000
        await house.hold_endpoint("customs-queue", "")
        await house.until(lambda: len(house.numbers()) >= 20)
        await house.settle()
        assert house.numbers() == list(range(20))
        assert house.sent("customs-queue")[19].read() == order(19)
        assert house.switch.sending._bytes == 0


async def test_what_is_released_while_memory_is_full_is_sent_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange.sending.Lane", partial(Lane, active=4))
    async with running(tmp_path, QUIET) as house:
        await house.hold_endpoint("customs-queue")
        first, *_ = await house.orders(0)
        await house.change("hold", first)
        await house.orders(*range(1, 9))
        await house.change("release", first)
        await house.hold_endpoint("customs-queue", "")
        await house.until(lambda: len(house.numbers()) >= 9)
        await house.settle()
        assert sorted(house.numbers()) == list(range(9))


def test_what_is_started_hides_nothing_that_waits_in_the_store() -> None:
    lane = Lane(active=1)
    first, second, started = (Delivery(m, 0, "q", "P", 1, 0, 0) for m in (1, 2, 3))
    assert lane.reserve((), 9)
    assert (lane.push(first), lane.push(second)) == (True, False)
    lane.start(started)
    assert (lane.more, lane.last) == (True, (1, 0))


# -- outcomes ----------------------------------------------------------------------------------------------------


async def test_outcomes_are_written_together(tmp_path: Path) -> None:
    stuck = Stuck()
    async with running(tmp_path, QUIET, far={"customs-queue": stuck}) as house:
        await house.orders(*range(16))
        await house.until(lambda: len(stuck.waiting) == 16)
        settle, written = house.daemon.store.settle, []

        async def counted(outcomes: Any) -> Any:
            written.append(len(outcomes))
            return await settle(outcomes)

        house.daemon.store.settle = counted
        stuck.let_go()
        await house.settle()
        assert written == [16]


async def test_an_outcome_that_cannot_be_written_waits_for_the_disk_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET) as house:
        house.trip("settle", DISK, DISK, RuntimeError("a bug"))
        ids = await house.orders(*range(30))
        await house.settle()
        assert sorted(house.numbers()) == list(range(30))
        assert {(await house.delivery(id))["state"] for id in ids} == {"DELIVERED"}
        assert {line["stage"] for line in house.logged("store.refused")} == {"settle"}
        assert len(house.logged("settle.broke")) == 1


async def test_what_is_in_memory_is_sent_while_the_disk_cannot_count_attempts_and_only_once(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET) as house:
        await house.hold_endpoint("customs-queue")
        (id,) = await house.orders(1)
        house.trip("claim", DISK)
        await house.hold_endpoint("customs-queue", "")
        await house.settle()
        assert house.numbers() == [1]
        assert ((await house.delivery(id))["state"], (await house.delivery(id))["attempts"]) == ("DELIVERED", 1)


async def test_what_is_not_in_memory_waits_for_a_disk_that_cannot_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange.sending.MEMORY_BYTES", 0)
    clock = Clock(step=1000)
    async with running(tmp_path, QUIET, clock=clock) as house:
        await house.hold_endpoint("customs-queue")
        await house.orders(1)
        house.trip("claim", DISK, DISK)
        await house.hold_endpoint("customs-queue", "")
        await house.settle()
        assert house.numbers() == [1]


async def test_a_receipt_is_faster_than_the_outcome_and_is_proof_enough(tmp_path: Path) -> None:
    stuck = Stuck()
    async with running(tmp_path, QUIET, far={"customs-queue": stuck}) as house:
        (id,) = await house.orders(1)
        await house.until(lambda: stuck.waiting)
        await house.give("customs-queue", answer(1), "r.xml")
        await house.until(lambda: house.names("ent1-box") == ["r.xml"])
        assert await house.state(id) == "COMPLETED"
        stuck.let_go()
        await house.settle()
        assert await house.state(id) == "COMPLETED"
        assert (await house.delivery(id))["state"] == "ANSWERED"


async def test_what_a_receipt_has_proved_is_not_tried_again(tmp_path: Path) -> None:
    async with running(tmp_path, QUIET, far={"customs-queue": DOWN}) as house:
        (id,) = await house.orders(1)
        await house.until_logged("delivery.deferred")
        await house.give("customs-queue", answer(1), "r.xml")
        await house.until(lambda: house.names("ent1-box") == ["r.xml"])
        house.far.clear()
        await house.pass_time(60)
        await house.settle()
        assert (house.numbers(), await house.state(id)) == ([], "COMPLETED")


# -- stop --------------------------------------------------------------------------------------------------------


async def test_what_is_in_flight_at_a_stop_ends_is_written_and_is_not_sent_again(tmp_path: Path) -> None:
    stuck, events = Stuck(), []
    async with running(tmp_path, QUIET, far={"customs-queue": stuck}) as house:
        ids = await house.orders(*range(20))
        await house.until(lambda: len(stuck.waiting) == 16)
        house.trip("settle", DISK)
        closing = house.memory.stop

        async def closed() -> None:
            events.append(("closed", len(house.numbers())))
            await closing()

        house.memory.stop = closed  # type: ignore[method-assign]
        asyncio.get_running_loop().call_later(0.05, stuck.let_go)
    assert events == [("closed", 16)], "an adapter is closed once what it sends has ended"
    async with running(tmp_path, QUIET) as house:
        await house.settle()
        assert sorted(house.numbers()) == [16, 17, 18, 19]
        assert [await house.told(id, "defer") for id in ids] == [[]] * 20, "no outcome is unknown"


async def test_what_does_not_end_in_time_is_left_unknown_and_sent_again_under_the_same_id(tmp_path: Path) -> None:
    stuck = Stuck()
    async with running(tmp_path, QUIET, far={"customs-queue": stuck}) as house:
        (id,) = await house.orders(1)
        await house.until(lambda: stuck.waiting)
        await house.switch.sending.stop(0.05)
    async with running(tmp_path, QUIET) as house:
        await house.settle()
        (line,) = await house.told(id, "defer")
        assert line["code"] == "SWX-3030"
        (parcel,) = house.sent("customs-queue")
        assert (parcel.headers, parcel.read()) == (stuck.waiting[0].headers, order(1))
        assert (await house.delivery(id))["attempts"] == 2
