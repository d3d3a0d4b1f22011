"""The signing log in every store: appended with what was decided, read back, chained, never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import evolve

from exchange.errors import StoreError
from exchange.instants import SECOND, day_number, show_id
from exchange.model import Decision
from exchange.signinglog import Operation, Row, check
from exchange.stores.sqlite import FILE, SqliteStore
from tests.contract.test_store import KINDS, NOON, Bench, Clock, order, to_customs

DAY = 86_400


def operation(job: str = "1", code: str = "") -> Operation:
    return Operation(NOON, job, "ENT1", "ceb-sm2@1", "shop", "01691fe9", "hsm-a", b"\1" * 32, b"\2" * 32, code, 750, 2)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class opened:  # noqa: N801 - used as a context
    def __init__(self, kind: str, folder: Path, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.store = KINDS[kind](folder, now=self.clock)

    async def __aenter__(self) -> Bench:
        await self.store.open()
        return Bench(self.store, self.clock)

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()


async def everything(bench: Bench) -> Sequence[Row]:
    rows: Sequence[Row] = await bench.store.operations(after=0, limit=10_000)
    return rows


async def test_rows_are_numbered_without_gaps_and_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as bench:
        asked = [operation(str(n), "SWX-5000" if n % 2 else "") for n in range(20)]
        assert list(await bench.store.log(asked[:7])) == list(range(1, 8))
        assert list(await bench.store.log(asked[7:])) == list(range(8, 21))
        assert [row.operation for row in await everything(bench)] == asked
        newest = await bench.store.operations(before=1 << 60, limit=3)
        assert [row.number for row in newest] == [20, 19, 18]
        assert [row.number for row in await bench.store.operations(after=18, limit=9)] == [19, 20]
        told = check(await everything(bench))
        assert (told.rows, told.first, told.last, told.broken, told.gaps) == (20, 1, 20, 0, [])


async def test_a_messages_rows_are_written_with_its_decision(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as bench:
        await bench.store.log([operation("another")])
        arrival = await bench.receive()
        mine = [operation(show_id(arrival.id)), evolve(operation(show_id(arrival.id)), device="hsm-b")]
        await bench.conclude(arrival, Decision("accept", (to_customs(),)), order(), operations=mine)
        rows = await bench.store.operations(message=arrival.id)
        assert [(row.number, row.operation) for row in rows] == [(2, mine[0]), (3, mine[1])]
        (accepted,) = [line for line in (await bench.store.life(arrival.id))["journal"] if line["event"] == "accept"]
        assert accepted["operations"] == [2, 3]
        unsigned = await bench.receive(b"<b/>")
        assert await bench.store.operations(message=unsigned.id) == []


async def test_what_an_operator_decided_meanwhile_leaves_the_row_and_nothing_else(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as bench:
        arrival = await bench.receive()
        await bench.conclude(arrival, Decision("hold", code="SWX-2010"))
        await bench.conclude(arrival, Decision("accept", (to_customs(),)), order(), operations=[operation()])
        assert (await bench.store.life(arrival.id))["state"] == "HELD"
        assert len(await everything(bench)) == 1, "it was signed, whatever became of it"


async def test_the_chain_goes_on_over_days_and_restarts_and_retention_leaves_a_gap_that_is_told(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(3):
        async with opened("sqlite", tmp_path, clock) as bench:
            arrival = await bench.receive(b"<a>%d</a>" % clock())
            await bench.conclude(arrival, Decision("reject", code="SWX-1010"), operations=[operation()] * 2)
        clock.move(DAY)
    async with opened("sqlite", tmp_path, clock) as bench:
        told = check(await everything(bench))
        assert (told.rows, told.last, told.broken) == (6, 6, 0)
        await bench.store.retain(day_number(NOON) + 1)
        told = check(await everything(bench))
        assert (told.rows, told.first, told.broken, told.gaps) == (4, 3, 0, [])
        assert list(await bench.store.log([operation()])) == [7]


def test_a_gap_inside_the_log_is_told_and_what_follows_is_still_checked() -> None:
    rows = chain(6)
    told = check([*rows[:2], *rows[3:]])
    assert (told.rows, told.gaps, told.broken) == (5, [(3, 3)], 0)
    assert check(rows[3:], check(rows[:2])).gaps == [(3, 3)]


def chain(count: int) -> list[Row]:
    from exchange.signinglog import NOTHING, content, linked

    rows, link = [], NOTHING
    for number in range(1, count + 1):
        link = linked(link, content(number, operation(str(number))))
        rows.append(Row(number, operation(str(number)), link))
    return rows


@pytest.mark.parametrize("place", [1, 2, 4])
@pytest.mark.parametrize(
    "changed", [{"at": NOON + SECOND}, {"party": "ENT2"}, {"device": ""}, {"signature": b""}, {"attempts": 1}], ids=str
)
def test_a_row_that_was_changed_breaks_the_chain_there(place: int, changed: dict[str, object]) -> None:
    rows = chain(5)
    rows[place] = evolve(rows[place], operation=evolve(rows[place].operation, **changed))
    told = check(rows)
    assert (told.rows, told.broken) == (place, place + 1)


def test_rows_put_in_or_out_of_order_break_the_chain() -> None:
    rows = chain(5)
    assert check([*rows[:3], rows[2], *rows[3:]]).broken == 3
    assert check([rows[0], rows[2], rows[1]]).broken == 2
    assert check([*rows[:4], evolve(rows[4], link=bytes(32))]).broken == 5


async def test_nobody_changes_a_row_with_sql_either(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path) as bench:
        await bench.store.log([operation()])
    day = day_number(NOON)
    with sqlite3.connect(tmp_path / FILE) as other:
        for statement in (f"UPDATE signing_{day} SET code = 'x'", f"DELETE FROM signing_{day}"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                other.execute(statement)
    other.close()


async def test_a_transaction_that_came_to_nothing_leaves_no_hole_in_the_chain(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path) as bench:
        store: SqliteStore = bench.store
        await store.log([operation("1")])
        store._db.connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError):
            await store.log([operation("2")])
        store._db.connection.execute("PRAGMA query_only = OFF")
        assert list(await store.log([operation("3")])) == [2]
        assert check(await everything(bench)).broken == 0
