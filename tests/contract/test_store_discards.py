"""Every store: a discard and the receipt that tells the sender of it are one thing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from exchange.errors import Refused
from exchange.instants import show_id
from exchange.model import Arrival, Decision, Parcel, Planned
from exchange.ports import Change, Changed
from exchange.stores import _sqlite_base
from exchange.stores.sqlite import SqliteStore
from tests.contract.test_store import NOON, OUTBOX, Bench, Clock, make, order, to_customs

__all__ = ["make"]

TOLD = Parcel("Failed_a_1.json", b'{"state":"DISCARDED"}', {"type": "receipt"})


def discard(arrival: Arrival, **planned: Any) -> Change:
    told = Planned(OUTBOX.name, "ENT1", parcel=TOLD, disposition="rejected", refers_to=arrival.id, **planned)
    return Change(arrival.id, "discard", "zhang", "asked by phone", NOON, planned=(told,))


async def failed(bench: Bench, own_id: str = "G-1") -> Arrival:
    """Bring a message to FAILED: it was delivered to one receiver, and refused by another."""
    arrival = await bench.receive()
    concluded = await bench.accept(arrival, to_customs(), to_customs(), own_id=own_id)
    for delivery, event in zip(concluded.deliveries, ("deliver", "fail"), strict=True):
        await bench.send(delivery, event)
    return arrival


async def held(bench: Bench) -> Arrival:
    arrival = await bench.receive()
    await bench.conclude(arrival, Decision("hold", code="SWX-2010"), order())
    return arrival


@pytest.mark.parametrize("begin", [held, failed])
async def test_a_discard_brings_the_receipt_about_it_which_travels_as_any_other(
    make: Callable[..., Any], begin: Callable[[Bench], Any]
) -> None:
    async with make() as bench:
        arrival = await begin(bench)
        (changed,) = await bench.store.change([discard(arrival)])
        assert changed.state == "DISCARDED"
        (told,) = changed.deliveries
        assert told.parcel.headers["refers-to"] == show_id(arrival.id)
        (due,) = await bench.store.due(OUTBOX.name, (0, 0), 10)
        assert due == told
        await bench.send(due, "defer", due_at=NOON)
        settled = await bench.send((await bench.store.due(OUTBOX.name, (0, 0), 10))[0])
        assert (settled.state, settled.finished) == ("DELIVERED", "")
        assert await bench.state(arrival.id) == "DISCARDED"
        assert (await bench.store.payload(arrival.id, told.number)).body == TOLD.body
        assert await bench.store.queues() == []


async def test_in_a_mailbox_the_receipt_is_there_with_the_discard(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await held(bench)
        (changed,) = await bench.store.change([discard(arrival, mailbox=True)])
        assert (changed.deliveries, changed.mailed) == ([], [OUTBOX.name])
        (mail,) = await bench.store.mailbox(OUTBOX.name, 0, 10)
        assert (mail.message, mail.parcel.body) == (arrival.id, TOLD.body)


async def test_a_receipt_that_failed_can_be_resent_and_the_message_stays_discarded(make: Callable[..., Any]) -> None:
    async with make() as bench:
        arrival = await held(bench)
        (changed,) = await bench.store.change([discard(arrival)])
        await bench.send(changed.deliveries[0], "fail")
        (again,) = (await bench.change("resend", arrival.id)).deliveries
        assert (again.number, await bench.state(arrival.id)) == (changed.deliveries[0].number, "DISCARDED")


async def test_a_refused_discard_tells_nobody_and_takes_the_others_of_its_request_back(
    make: Callable[..., Any],
) -> None:
    async with make() as bench:
        first, second = await held(bench), await bench.receive()
        with pytest.raises(Refused):
            await bench.store.change([discard(first), discard(second)])
        assert [await bench.state(one.id) for one in (first, second)] == ["HELD", "RECEIVED"]
        assert await bench.store.due(OUTBOX.name, (0, 0), 10) == []
        (silent,) = await bench.store.change([evolve(discard(first), planned=())])
        assert silent == Changed("DISCARDED", [], [], mailed=[])


async def test_killed_at_any_statement_a_discard_and_its_receipt_are_both_there_or_neither(tmp_path: Path) -> None:
    folder, copies = tmp_path / "store", list[Path]()

    def watched(path: str) -> sqlite3.Connection:
        connection = _sqlite_base.connect(path)
        connection.set_trace_callback(keep)
        return connection

    def keep(statement: str) -> None:
        if copies:
            copies.append(as_a_kill_leaves_it(folder, len(copies)))

    store = SqliteStore(folder, now=Clock(), connect=watched)
    await store.open()
    arrival = await failed(Bench(store, Clock()))
    copies.append(as_a_kill_leaves_it(folder, 0))
    await store.change([discard(arrival)])
    left = [*copies, as_a_kill_leaves_it(folder, len(copies))]
    copies.clear()
    await store.close()
    found = [await state_and_due(copy, arrival) for copy in left]
    assert len(found) > 8
    assert (found[0], found[-1]) == (("FAILED", 0), ("DISCARDED", 1))
    assert set(found) == {("FAILED", 0), ("DISCARDED", 1)}


def as_a_kill_leaves_it(folder: Path, number: int) -> Path:
    copy = folder.with_name(f"copy-{number}")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm"))
    return copy


async def state_and_due(folder: Path, arrival: Arrival) -> tuple[str, int]:
    store = SqliteStore(folder, now=Clock())
    await store.open()
    try:
        life = await store.life(arrival.id)
        return life["state"], len(await store.due(OUTBOX.name, (0, 0), 10))
    finally:
        await store.close()
