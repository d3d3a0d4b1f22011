"""The signing service: everything that is to be signed waits in one queue for one token.

The pipeline's messages are as durable as they were before: each is RECEIVED in the store until its sealed form is
written with its row of the signing log, in one transaction, before anything leaves. A crash in between costs an unused
signature. So the queue is kept in memory and comes into being again at the next start.

Patient work waits while the token can't sign: it keeps its place, its lane is tried again every two seconds. Work that
isn't, because somebody waits at the other end, is told what the token said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from time import monotonic
from typing import Any, Final

from attrs import Factory, define, evolve, field

from exchange.errors import TokenError
from exchange.instants import Instant
from exchange.ports import Token
from exchange.signing.queue import Item, Lane, Queue
from exchange.signing.sealing import Choose, Seal, Sealed, seal
from exchange.signing.soon import Soon
from exchange.signinglog import Operation

PARSED_BYTES: Final = 4 * 1024 * 1024  # of documents that wait parsed (in ten times the room); others are parsed again
PAUSE_SECONDS: Final = 2.0  # until a lane is tried again that the token couldn't sign for
Record = Callable[[Sequence[Operation]], Awaitable[Any]]


@define(eq=False)
class Work:
    """What one message, or one job of the remote API, wants sealed; *done* is called once, with all results in."""

    job: str
    party: str
    seals: Sequence[Seal]
    done: Callable[[Work], None]
    express: bool = False
    patient: bool = True
    final: Collection[str] = ()  # codes of the token that even patient work doesn't wait to see mended
    results: Sequence[Sealed] = ()
    refused: bool = False  # the token couldn't, at least once
    parsed_bytes: int = 0  # of its documents that wait parsed


@define(eq=False)
class SigningService:
    """Signs whatever is submitted, in turns; *record* appends to the signing log what belongs to no conclusion."""

    token: Token
    now: Callable[[], Instant]
    log: Any
    record: Record
    choose: Choose = lambda key, at: key
    troubles: dict[str, TokenError] = field(factory=dict)  # key -> why the token couldn't sign with it just now
    queue: Queue[Work] = field(factory=Queue)
    _tasks: set[asyncio.Task[None]] = field(factory=set)
    _pump_soon: Soon = field(init=False, default=Factory(lambda self: Soon(self._pump), takes_self=True))
    _moved: asyncio.Event = field(factory=asyncio.Event)
    _parsed_bytes: int = 0

    def submit(self, work: Work) -> None:
        """Put *work* in the queue."""
        if self._parsed_bytes > PARSED_BYTES:
            work.seals = [evolve(one, root=None) for one in work.seals]
        work.parsed_bytes = sum(len(one.original) for one in work.seals if one.root is not None)
        self._parsed_bytes += work.parsed_bytes
        self.queue.put(work.party, work.seals[0].key, work, since=monotonic(), express=work.express)
        self._pump_soon()

    async def room(self) -> None:
        """Wait while more is in the queue than the token likes; not for one that can't sign, for others go on."""
        while self.queue.waiting >= self.token.ahead and not self.troubles:
            self._moved.clear()
            await self._moved.wait()

    async def stop(self) -> None:
        """Sign nothing more; what was submitted isn't called back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def status(self) -> dict[str, Any]:
        """Tell what waits, and for whom."""
        return {
            "waiting": self.queue.waiting,
            "with_token": self.queue.taken,
            "window": self.token.window,
            "oldest_seconds": round(self.oldest_seconds(), 1),
            "trouble": {key: str(why) for key, why in self.troubles.items()},
            "parties": [{"party": party, "depth": depth} for party, depth in self.queue.parties().items()],
        }

    def oldest_seconds(self) -> float:
        """Return how long the oldest work has waited; 0 where there is none."""
        oldest = self.queue.oldest()
        return monotonic() - oldest if oldest is not None else 0.0

    # -- the pump ------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Hand the token as much as it can work on."""
        most = self.token.batch
        while (room := self.token.window - self.queue.taken) > 0 and (batch := self.queue.take(min(most, room))):
            task = asyncio.get_running_loop().create_task(self._sign(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _sign(self, batch: Sequence[Item[Work]]) -> None:
        wanted = [(item.what.job, item.what.party, one) for item in batch for one in item.what.seals]
        try:
            results = await seal(self.token, wanted, self.now(), self.choose)
        except Exception as why:  # the token broke its contract; nothing may be lost by that
            self.log.error("token.broke", error=repr(why))
            error = TokenError(f"the token failed: {why!r}", f"密码设备异常：{why!r}")
            results = [Sealed(error=error) for _ in wanted]
        failed: list[Operation] = []
        for item in batch:
            count = len(item.what.seals)
            self._settle(item, results[:count], failed)
            results = results[count:]
        self._moved.set()
        self._pump_soon()
        if failed:
            await self._record(failed)

    def _settle(self, item: Item[Work], results: Sequence[Sealed], failed: list[Operation]) -> None:
        work = item.what
        trouble = next((one.error for one in results if isinstance(one.error, TokenError)), None)
        if trouble is not None and work.patient and trouble.code not in work.final:
            if not work.refused:
                failed += [one.operation for one in results if one.error and one.operation]
            work.refused = True
            self._rest(self.queue.retry(item), work.seals[0].key, trouble)
            return
        if trouble is None:
            self.troubles.pop(work.seals[0].key, None)
        self._parsed_bytes -= work.parsed_bytes
        work.results = results
        for ready in self.queue.finish(item):
            ready.done(ready)

    def _rest(self, lane: Lane[Work], key: str, why: TokenError) -> None:
        if key not in self.troubles or self.troubles[key].code != why.code:
            self.log.error("token.refused", key=key, party=lane.party, code=why.code, en=why.en, zh=why.zh)
        self.troubles[key] = why
        asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._wake, lane)

    def _wake(self, lane: Lane[Work]) -> None:
        self.queue.wake(lane)
        self._pump_soon()

    async def _record(self, operations: Sequence[Operation]) -> None:
        try:
            await self.record(operations)
        except Exception as why:  # the disk is full, say; what failed changed nothing
            self.log.error("signing.unrecorded", operations=len(operations), error=str(why))
