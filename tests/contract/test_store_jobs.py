"""Every store: a job of the remote signing API is done once, and told the same every time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from exchange.errors import Refused, StoreError
from exchange.instants import SECOND
from exchange.signingjobs import SigningJob
from exchange.signinglog import Operation
from exchange.stores import _sqlite_base
from exchange.stores._sqlite_jobs import SWEPT
from tests.contract.test_store import NOON, lasting, make

__all__ = ["lasting", "make"]

JOB = SigningJob(NOON, "SHOP", "ENT1", "order-7", b"d" * 32, 2, request=b'{"items":[]}')
DONE = evolve(JOB, request=b"", answer=b'{"state":"done"}')
SIGNED = Operation(NOON, "S1", "ENT1", "ceb-sm2@1", "shop", "01", "hsm-a", b"s" * 32, b"v" * 32)


async def test_a_job_is_kept_as_it_came_until_it_is_finished(make: Callable[..., Any]) -> None:
    async with make() as bench:
        await bench.store.open_job(JOB)
        assert await bench.store.job(JOB.number) == JOB
        assert await bench.store.keyed_job("SHOP", "order-7") == JOB
        assert await bench.store.keyed_job("OTHER", "order-7") is None
        assert (await bench.store.waiting_jobs(0)).jobs == [JOB]
        assert await bench.store.finish_job(DONE, [SIGNED]) == DONE
        assert await bench.store.job(JOB.number) == DONE
        waiting = await bench.store.waiting_jobs(0)
        assert (waiting.jobs, waiting.newest, waiting.signed) == ([], NOON, {"SHOP": 2})


async def test_a_job_may_be_kept_only_once_it_is_finished(make: Callable[..., Any]) -> None:
    async with make() as bench:
        await bench.store.finish_job(DONE, [SIGNED])
        assert await bench.store.keyed_job("SHOP", "order-7") == DONE
        [row] = await bench.store.operations(after=0)
        assert row.operation == SIGNED


async def test_an_answer_is_never_changed(make: Callable[..., Any]) -> None:
    async with make() as bench:
        await bench.store.open_job(JOB)
        await bench.store.finish_job(DONE, [SIGNED])
        assert await bench.store.finish_job(evolve(DONE, answer=b"another"), [SIGNED]) == DONE
        assert await bench.store.job(JOB.number) == DONE
        assert len(await bench.store.operations(after=0)) == 2  # the device did sign twice


async def test_a_client_has_one_job_under_a_key(make: Callable[..., Any]) -> None:
    async with make() as bench:
        await bench.store.open_job(JOB)
        twin = evolve(JOB, number=NOON + 1)
        with pytest.raises(Refused):
            await bench.store.open_job(twin)
        with pytest.raises(Refused):
            await bench.store.finish_job(evolve(DONE, number=NOON + 1), [])
        await bench.store.open_job(evolve(twin, client="OTHER"))
        await bench.store.open_job(evolve(twin, number=NOON + 2, key=""))
        await bench.store.open_job(evolve(twin, number=NOON + 3, key=""))
        assert [job.number - NOON for job in (await bench.store.waiting_jobs(0)).jobs] == [0, 1, 2, 3]


async def test_finished_jobs_are_forgotten_a_few_hundred_at_a_time(make: Callable[..., Any]) -> None:
    async with make() as bench:
        await bench.store.open_job(JOB)
        for number in range(1, SWEPT + 4):
            await bench.store.finish_job(evolve(DONE, number=NOON + number, key=""), [])
        before = NOON + SWEPT + 3
        assert [await bench.store.forget_jobs(before) for _ in range(3)] == [SWEPT, 2, 0]
        assert await bench.store.job(JOB.number) == JOB  # it is still to be done
        assert (await bench.store.waiting_jobs(before)).signed == {"SHOP": 2}


async def test_a_job_outlives_the_process(lasting: Callable[..., Any]) -> None:
    async with lasting() as bench:
        await bench.store.open_job(JOB)
        await bench.store.finish_job(evolve(DONE, number=NOON + SECOND, key="other"), [SIGNED])
    async with lasting() as bench:
        waiting = await bench.store.waiting_jobs(NOON + SECOND)
        assert (waiting.jobs, waiting.newest, waiting.signed) == ([JOB], NOON + SECOND, {"SHOP": 2})


class Falling(sqlite3.Connection):
    """Fails at the first row of the signing log that it is to write, once."""

    armed = False

    def execute(self, sql: str, *values: Any) -> Any:  # type: ignore[override]
        if Falling.armed and sql.startswith("INSERT INTO signing_2"):
            Falling.armed = False
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *values)


async def test_an_answer_and_its_rows_of_the_log_are_written_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exchange.stores.sqlite import SqliteStore

    def connect(path: str) -> sqlite3.Connection:
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened(*a, factory=Falling, **k))
        return _sqlite_base.connect(path)

    opened = sqlite3.connect
    store = SqliteStore(tmp_path, now=lambda: NOON, connect=connect)
    await store.open()
    monkeypatch.undo()
    await store.open_job(JOB)
    Falling.armed = True
    with pytest.raises((StoreError, sqlite3.OperationalError)):
        await store.finish_job(DONE, [SIGNED])
    assert await store.job(JOB.number) == JOB
    assert await store.operations(after=0) == []
    assert await store.finish_job(DONE, [SIGNED]) == DONE
    assert len(await store.operations(after=0)) == 1
    await store.close()
