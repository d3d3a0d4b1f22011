"""Sort, in a whole daemon, while the disk or the token can't, the table changes, or the switch is stopped."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import ExchangeError, StoreError, TokenError
from exchange.stores.sqlite import SqliteStore
from tests.daemon import ROUTES, House, Stuck, answer, inventory, order, running

DISK = StoreError("the disk is full", "磁盘已满", code="SWX-6010")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange.switch.PAUSE_SECONDS", 0.02)


# -- the disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["context", "conclude"])
async def test_what_the_disk_refuses_is_decided_once_it_can_be_written(tmp_path: Path, verb: str) -> None:
    async with running(tmp_path) as house:
        house.trip(verb, DISK, DISK)
        twins = await house.together(order(1), order(1), order(2))
        await house.settle()
        assert sorted(await house.states(*twins)) == ["ACCEPTED", "ACCEPTED", "DUPLICATE"]
        assert house.switch.undecided == 0
        assert {line["code"] for line in house.logged("store.refused")} == {"SWX-6010"}


async def test_a_batch_that_is_written_half_is_counted_once(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.trip("conclude", None, DISK, DISK)  # the twins are written after their elder
        twins = await house.together(order(1), order(1))
        await house.settle()
        assert await house.states(*twins) == ["ACCEPTED", "DUPLICATE"]
        assert house.switch.undecided == 0
        assert len(house.sent("customs-queue")) == 1


async def test_places_kept_for_what_was_not_written_are_given_back(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.trip("conclude", OverflowError("one of them"), None, DISK)  # all, then one by one
        ids = await house.together(*(order(i) for i in range(6)))
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED"] * 6
        house.far["customs-queue"] = stuck = Stuck()
        for i in range(20, 40):
            await house.give("ent1-box", order(i))
        await house.decided()
        await house.until(lambda: len(stuck.waiting) == house.memory.window)
        stuck.let_go()
        await house.settle()


INVALID = order(3).replace(b"<ceb:currency>142<", b"<ceb:currency>999<")


@pytest.mark.parametrize("verb", ["arrivals", "context", "conclude"])
async def test_what_was_undecided_at_a_crash_is_counted_and_tried_once_however_often_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    async with running(tmp_path) as house:
        house.gate("context")
        ids = [await house.give("ent1-box", body) for body in (order(1), inventory(2))]
    asked, failures = getattr(SqliteStore, verb), [DISK] * 4

    def refusing(*values: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return asked(*values, **more)

    monkeypatch.setattr(SqliteStore, verb, refusing)
    async with running(tmp_path) as house:
        await house.until(lambda: len(house.logged("message.accepted")) == 2)
        assert await house.states(*ids) == ["ACCEPTED"] * 2, "a disk that fails kills no worker: nothing is poison"
        assert house.switch.undecided == house.switch._undecided_bytes == 0


async def test_an_invalid_message_beside_a_disk_that_fails_is_rejected_once(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.trip("conclude", DISK, DISK)
        good, bad = await house.together(order(1), INVALID)
        await house.settle()
        assert sorted(await house.states(good, bad)) == ["ACCEPTED", "REJECTED"]
        assert house.switch.undecided == house.switch._undecided_bytes == 0


async def test_what_is_released_while_the_disk_fails_is_decided_once_it_is_back(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("customs-queue", b"garbage")
        await house.settle()
        house.trip("arrivals", DISK, DISK)
        assert await house.change("release", id) == [{"id": id, "state": "RECEIVED"}]
        await house.settle()
        assert await house.state(id) == "HELD"
        assert len(await house.told(id, "hold")) == 2
        assert house.switch.undecided == house.switch._undecided_bytes == 0


# -- the token ---------------------------------------------------------------------------------------------------


def out_of_order(house: House, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Let the token refuse as long as the list returned isn't empty; each refusal takes one away."""
    token: Any = house.switch.signing.token
    sign = token.sign
    refusals: list[Exception] = [TokenError("the device is locked", "密码设备已锁定") for _ in range(3)]

    async def refusing(jobs: Any) -> Any:
        return [refusals[0]] * len(jobs) if refusals and refusals.pop() else await sign(jobs)

    monkeypatch.setattr(token, "sign", refusing)
    return refusals


async def test_what_the_token_cannot_sign_waits_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        refusals = out_of_order(house, monkeypatch)
        refusals.extend(refusals * 1000)
        signed, plain = await house.together(inventory(1), order(2))
        await house.until(lambda: house.logged("message.accepted"))
        assert sorted(await house.states(signed, plain)) == ["ACCEPTED", "RECEIVED"]
        assert house.switch.undecided == 1, "it counts as backlog"
        refusals.clear()
        await house.settle()
        assert await house.states(signed, plain) == ["ACCEPTED"] * 2
        assert {line["code"] for line in house.logged("token.refused")} == {"SWX-5000"}
        assert house.switch.undecided == house.switch._undecided_bytes == 0


async def test_token_and_disk_that_fail_together_lose_and_repeat_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        out_of_order(house, monkeypatch)
        house.trip("conclude", DISK, DISK)
        ids = await house.together(inventory(1), order(2), inventory(3))
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED"] * 3
        assert len(house.sent("customs-queue")) == 3
        assert house.switch.undecided == house.switch._undecided_bytes == 0


# -- the table changes, the switch stops -------------------------------------------------------------------------

OTHER = ROUTES.replace("name: orders", "name: orders-now")


async def test_a_message_finishes_under_the_table_it_began_with(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        gate = house.gate("context")
        before = await house.give("ent1-box", order(1))
        await house.until(lambda: gate.waiting)
        await house.daemon.publish(f"#! file routes.yaml\n{OTHER}", "zhang", "a new name")
        gate.opened.set()
        after = await house.give("ent1-box", order(2))
        await house.settle()
        for id, generation, route in ((before, 1, "orders"), (after, 2, "orders-now")):
            (line,) = await house.told(id, "accept")
            assert (line["generation"], line["route"]) == (generation, route)


async def test_a_stop_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    taken: list[str] = []

    async def feed(house: House, first: int) -> None:
        for i in range(first, first + 1000):
            try:
                taken.append(await house.give("ent1-box", order(i)))
            except ExchangeError:
                return

    def enough(count: int) -> bool:
        return len(taken) >= count

    for life in range(3):
        async with running(tmp_path) as house:
            feeding = [asyncio.create_task(feed(house, 10_000 * life + 1000 * n)) for n in range(4)]
            await house.until(partial(enough, 40 * (life + 1)))
        await asyncio.gather(*feeding)
    async with running(tmp_path) as house:
        await house.settle()
        assert set(await house.states(*taken)) == {"ACCEPTED"}
        assert house.logged("sort.broke") == house.logged("message.broke") == []
    assert len(taken) == len(set(taken)) >= 120


async def test_a_receipt_and_what_it_answers_may_come_in_one_batch(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        cause, receipt = await asyncio.gather(
            house.give("ent1-box", order(1)), house.give("customs-queue", answer(1), "r.xml")
        )
        await house.settle()
        await house.until(lambda: "r.xml" in house.names("ent1-box"))
        assert await house.states(cause, receipt) == ["COMPLETED", "COMPLETED"]


async def test_a_large_message_is_sorted_and_signed_like_a_small_one(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", inventory(1) + b"\n" * 300_000)
        await house.settle()
        (parcel,) = house.sent("customs-queue")
        assert await house.state(id) == "ACCEPTED"
        assert parcel.read().count(b"<ds:SignatureValue>") == 1
