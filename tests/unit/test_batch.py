"""Group commit: what is asked while a batch runs is applied together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import StoreError
from exchange.stores._batch import FEW, Batcher, Request

DISK = StoreError("the disk is full", "磁盘已满", code="SWX-6010")


class Ledger:
    """What stands behind a batcher: keeps the batches, waits at ``gate``, and fails as it is asked to."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    def apply(self, requests: list[Request]) -> Sequence[Any]:
        self.reached.set()
        assert self.gate.wait(10)
        for verb, argument in requests:
            if verb in ("poison", "full"):
                raise DISK if verb == "full" else ValueError(argument)
        self.batches.append([argument for _, argument in requests])
        return [ValueError(argument) if verb == "refuse" else argument for verb, argument in requests]


@asynccontextmanager
async def opened(ledger: Ledger, **options: Any) -> AsyncIterator[Batcher]:
    batcher = Batcher(ledger.apply, **options)
    try:
        yield batcher
    finally:
        ledger.gate.set()
        await batcher.close()


@asynccontextmanager
async def busy(ledger: Ledger, **options: Any) -> AsyncIterator[Batcher]:
    """Open a batcher that is at work with its first batch until the gate opens."""
    ledger.gate.clear()
    async with opened(ledger, **options) as batcher:
        first = batcher.ask("keep", "first")
        await asyncio.to_thread(ledger.reached.wait, 10)
        yield batcher
        await first


async def told(asked: Sequence[asyncio.Future[Any]]) -> list[str]:
    results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
    return [repr(result) if isinstance(result, BaseException) else result for result in results]


async def test_what_is_asked_while_a_batch_runs_is_applied_together_and_in_order() -> None:
    ledger = Ledger()
    async with busy(ledger) as batcher:
        asked = [batcher.ask("keep", str(i)) for i in range(50)]
        ledger.gate.set()
        assert await told(asked) == [str(i) for i in range(50)]
    assert ledger.batches == [["first"], [str(i) for i in range(50)]]


async def test_a_batch_has_its_bound() -> None:
    ledger = Ledger()
    sizes: list[int] = []
    async with busy(ledger, most=8, observe=sizes.append) as batcher:
        asked = [batcher.ask("keep", str(i)) for i in range(20)]
        ledger.gate.set()
        await told(asked)
    assert [len(batch) for batch in ledger.batches] == [1, 8, 8, 4]
    assert sizes == [1, 8, 8, 4]


async def test_nobody_hears_anything_before_the_batch_is_applied() -> None:
    ledger = Ledger()
    async with busy(ledger) as batcher:
        asked = batcher.ask("keep", "second")
        await asyncio.sleep(0.02)
        assert not asked.done()
        ledger.gate.set()
        assert await asked == "second"


async def test_a_disk_that_refuses_fails_everybody_in_the_batch_and_nobody_after_it() -> None:
    ledger = Ledger()
    async with busy(ledger, most=3) as batcher:
        asked = [batcher.ask(verb, verb) for verb in ("keep", "full", "keep", "keep")]
        ledger.gate.set()
        assert await told(asked) == [repr(DISK)] * 3 + ["keep"]
    assert ledger.batches == [["first"], ["keep"]]


async def test_a_poisonous_request_fails_alone_and_the_others_keep_their_order() -> None:
    ledger = Ledger()
    async with busy(ledger) as batcher:
        asked = [batcher.ask(verb, verb + str(i)) for i, verb in enumerate(("keep", "poison", "keep", "poison"))]
        ledger.gate.set()
        assert await told(asked) == ["keep0", "ValueError('poison1')", "keep2", "ValueError('poison3')"]
    assert ledger.batches == [["first"], ["keep0"], ["keep2"]]


async def test_a_refusal_that_changed_nothing_is_told_to_its_asker_alone() -> None:
    ledger = Ledger()
    async with busy(ledger) as batcher:
        asked = [batcher.ask("keep", "a"), batcher.ask("refuse", "b"), batcher.ask("keep", "c")]
        ledger.gate.set()
        assert await told(asked) == ["a", "ValueError('b')", "c"]
    assert ledger.batches == [["first"], ["a", "b", "c"]]


async def test_one_that_no_longer_waits_holds_up_nobody() -> None:
    ledger = Ledger()
    async with busy(ledger) as batcher:
        gone, stays = batcher.ask("keep", "gone"), batcher.ask("keep", "stays")
        gone.cancel()
        ledger.gate.set()
        assert await stays == "stays"
    assert ledger.batches[1] == ["gone", "stays"], "it was asked for, and may have been promised to a peer"


async def test_one_message_by_itself_never_waits_and_a_batch_under_load_does(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("exchange.stores._batch.time.sleep", waits.append)
    ledger = Ledger()
    async with busy(ledger, gather_seconds=60.0) as batcher:
        few = [batcher.ask("keep", str(i)) for i in range(FEW)]
        ledger.gate.set()
        await told(few)
        await batcher.ask("keep", "alone")
        assert waits == []
        ledger.gate.clear()
        ledger.reached.clear()
        first = batcher.ask("keep", "first of many")
        await asyncio.to_thread(ledger.reached.wait, 10)
        many = [batcher.ask("keep", str(i)) for i in range(FEW + 1)]
        ledger.gate.set()
        await told([first, *many])
        assert waits == []
        await batcher.ask("keep", "after many")
        assert waits == [60.0]


async def test_closing_applies_what_was_asked_and_refuses_what_comes_later() -> None:
    ledger = Ledger()
    async with busy(ledger) as batcher:
        asked = [batcher.ask("keep", str(i)) for i in range(5)]
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        late = batcher.ask("keep", "late")
        ledger.gate.set()
        await closing
        assert await told(asked) == ["0", "1", "2", "3", "4"]
        with pytest.raises(StoreError, match="SWX-6060 the store is closed"):
            await late
    assert ledger.batches[-1] == ["0", "1", "2", "3", "4"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["keep", "keep", "keep", "poison", "refuse", "full"]), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_whatever_fails_each_gets_its_own_answer_and_what_was_answered_is_kept(verbs: list[str], most: int) -> None:
    ledger = Ledger()

    async def ask() -> list[str]:
        async with busy(ledger, most=most) as batcher:
            asked = [batcher.ask(verb, f"{verb}-{i}") for i, verb in enumerate(verbs)]
            ledger.gate.set()
            return await told(asked)

    results = asyncio.get_event_loop_policy().get_event_loop().run_until_complete(ask())
    kept = [argument for batch in ledger.batches for argument in batch]
    for i, (verb, result) in enumerate(zip(verbs, results, strict=True)):
        own = f"{verb}-{i}"
        assert result in {own, f"ValueError({own!r})", repr(DISK)}
        assert (result == own) <= (own in kept), "answered for, so kept"
        assert (result == repr(DISK)) <= (own not in kept), "refused, so not kept"
    assert kept == sorted(kept, key=lambda own: -1 if own == "first" else int(own.rpartition("-")[2]))
    assert len(kept) == len(set(kept))
