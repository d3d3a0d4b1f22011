"""Every store: stages of answers that are overdue are told once each, and are missing until they come."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exchange.instants import day_number
from exchange.model import Answer, Answered, Decision, Document, Envelope
from exchange.stores import _sqlite_base
from exchange.stores.sqlite import SqliteStore
from tests.contract.test_store import NOON, QUEUE, Bench, Clock, lasting, make, order, to_customs

__all__ = ["lasting", "make"]

STAGES = (("port", 60.0), ("customs", 1800.0))


class Waiting:
    """A message that was delivered, and waits for its answers."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.receipts = 0

    async def begin(self, documents: int = 1, deliver: bool = True) -> None:
        self.cause = await self.bench.receive()
        planned = to_customs(expects_receipt=True, deadline_seconds=86_400, deadlines=STAGES)
        concluded = await self.bench.accept(self.cause, planned, documents=documents)
        (self.delivery,) = concluded.deliveries
        if deliver:
            await self.bench.send(self.delivery)

    async def hear(self, stage: str, document: int = 0, *, terminal: bool = False) -> None:
        self.receipts += 1
        receipt = await self.bench.receive(str(self.receipts).encode(), endpoint=QUEUE)
        said = Answer("2", stage, "accepted" if terminal else "pending", terminal)
        envelope = Envelope("R", "1", f"R{self.receipts}", documents=(Document({"order": "1"}),), answers=(said,))
        answered = Answered(0, self.cause.id, document, 1, "CUSTOMS", said)
        await self.bench.conclude(receipt, Decision("accept", answered=(answered,)), envelope, "CUSTOMS")

    async def told_after(self, seconds: float) -> list[str]:
        self.bench.clock.move(seconds)
        late = await self.bench.store.overdue(self.bench.clock())
        assert all(one[:2] == (self.cause.id, "CUSTOMS") for one in late.receipts)
        return [stage for _, _, stage in late.receipts]

    async def missing(self) -> list[str]:
        known = (await self.bench.store.overdue(self.bench.clock())).missing
        assert set(known.values()) <= {1}
        return [stage for _, stage in known]


async def test_each_stage_that_is_silent_is_told_once(make: Callable[..., Any]) -> None:
    async with make() as bench:
        waiting = Waiting(bench)
        await waiting.begin()
        assert await waiting.told_after(59) == []
        assert await waiting.told_after(2) == ["port"]
        assert await waiting.told_after(60) == []
        assert await waiting.told_after(1700) == ["customs"]
        assert await waiting.told_after(86_400) == ["last"]
        assert await waiting.told_after(86_400) == []
        assert await waiting.missing() == ["port", "customs", "last"]
        journal = (await bench.store.life(waiting.cause.id))["journal"]
        told = [(line["code"], line["zh"]) for line in journal if line["event"] == "overdue"]
        assert told[0] == ("SWX-3041", "“port”环节的回执超时未到")
        assert [code for code, _ in told] == ["SWX-3041", "SWX-3041", "SWX-3040"]


async def test_a_stage_that_comes_after_all_is_missing_no_more(make: Callable[..., Any]) -> None:
    async with make() as bench:
        waiting = Waiting(bench)
        await waiting.begin()
        await waiting.told_after(2000)
        assert await waiting.missing() == ["port", "customs"]
        await waiting.hear("port")
        assert await waiting.missing() == ["customs"]
        await waiting.hear("customs")
        assert await waiting.missing() == []
        assert await waiting.told_after(86_400) == ["last"], "its deadline counts from the delivery"
        await waiting.hear("customs", terminal=True)
        assert await waiting.missing() == []
        assert await bench.state(waiting.cause.id) == "COMPLETED"


async def test_what_comes_in_time_is_never_told(make: Callable[..., Any]) -> None:
    async with make() as bench:
        waiting = Waiting(bench)
        await waiting.begin()
        await waiting.hear("port")
        assert await waiting.told_after(61) == []
        await waiting.hear("customs")
        assert await waiting.told_after(1800) == []
        assert await waiting.told_after(84_538) == []
        assert await waiting.told_after(2) == ["last"]


async def test_a_later_stage_stands_for_those_before_it_and_another_for_none(make: Callable[..., Any]) -> None:
    async with make() as bench:
        waiting = Waiting(bench)
        await waiting.begin()
        await waiting.hear("customs")
        assert await waiting.told_after(2000) == []
        other = Waiting(bench)
        await other.begin()
        await other.hear("tax")
        assert await other.told_after(61) == ["port"]


async def test_a_stage_has_come_when_it_has_for_every_document(make: Callable[..., Any]) -> None:
    async with make() as bench:
        waiting = Waiting(bench)
        await waiting.begin(documents=3)
        await waiting.hear("port", 0)
        await waiting.hear("port", 1)
        assert await waiting.told_after(61) == ["port"]
        await waiting.hear("port", 2, terminal=True)  # refused: nothing more is said of this one
        assert await waiting.missing() == []
        await waiting.hear("customs", 0)
        assert await waiting.told_after(1800) == ["customs"]
        await waiting.hear("customs", 1)
        assert await waiting.missing() == []


async def test_all_that_passed_while_the_switch_was_down_is_told_at_once(lasting: Callable[..., Any]) -> None:
    clock = Clock()
    async with lasting(clock) as bench:
        waiting = Waiting(bench)
        await waiting.begin()
    async with lasting(clock) as bench:
        waiting.bench = bench
        assert await waiting.told_after(100_000) == ["port", "customs", "last"]
    async with lasting(clock) as bench:
        waiting.bench = bench
        assert await waiting.told_after(1) == []
        assert await waiting.missing() == ["port", "customs", "last"]


async def test_an_answer_that_proves_delivery_starts_the_clock(make: Callable[..., Any]) -> None:
    async with make() as bench:
        waiting = Waiting(bench)
        await waiting.begin(deliver=False)
        assert await waiting.told_after(5000) == [], "nothing was delivered"
        await waiting.hear("port")
        assert await waiting.told_after(1799) == []
        assert await waiting.told_after(2) == ["customs"]


async def test_what_is_sent_again_is_waited_for_again(make: Callable[..., Any]) -> None:
    async with make() as bench:
        waiting = Waiting(bench)
        await waiting.begin()
        await waiting.hear("port")
        assert await waiting.told_after(1801) == ["customs"]
        changed = await bench.change("resend", waiting.cause.id)
        assert await waiting.missing() == []
        await bench.send(changed.deliveries[0])
        assert await waiting.told_after(1799) == []
        assert await waiting.told_after(2) == ["customs"]


async def test_a_store_from_before_stages_keeps_its_alarms(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    day, old = day_number(NOON), sqlite3.connect(folder / "switch.db")
    scripts = [(_sqlite_base.SQL / f"{name}-0001.sql").read_text("utf-8") for name in ("main", "day")]
    old.executescript("".join(scripts).replace("$n", str(day)))
    old.execute("INSERT INTO partition VALUES ('day', ?, 1)", (day,))
    old.execute("INSERT INTO name VALUES (1, 'customs-queue'), (2, 'CUSTOMS')")
    message = (day << 40) + 1
    row = (message << 8, 1, 2, 10, 1, 0, NOON, 0, 1, 1, 1, 60_000_000)
    for number, deadline in enumerate((-NOON, NOON + 1)):
        old.execute(f"INSERT INTO delivery VALUES ({','.join('?' * 13)})", (row[0] + number, *row[1:], deadline))
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    clock = Clock()
    store = SqliteStore(folder, now=clock, sample=b"")
    await store.open()
    try:
        assert (await store.overdue(clock())).missing == {("CUSTOMS", "last"): 1}
        clock.move(1)
        late = await store.overdue(clock())
        assert (late.receipts, late.missing) == ([(message, "CUSTOMS", "last")], {("CUSTOMS", "last"): 2})
    finally:
        await store.close()


@pytest.mark.parametrize("documents", [1, 3])
async def test_types_without_stages_are_told_as_ever(make: Callable[..., Any], documents: int) -> None:
    async with make() as bench:
        cause = await bench.receive()
        planned = to_customs(expects_receipt=True, deadline_seconds=60)
        concluded = await bench.accept(cause, planned, envelope=order(documents=documents))
        await bench.send(concluded.deliveries[0])
        waiting = Waiting(bench)
        waiting.cause = cause
        await waiting.hear("port")
        assert await waiting.told_after(61) == ["last"]
