"""Jobs of the remote signing API: each is signed once, written, and then told, the same every time.

What a client waits for goes the express way and is written when it is done: until then nobody has seen anything of
it. What is asked for with ``respond-async`` is written before it is confirmed, waits as long as it takes, and is
begun anew after a crash: signatures that were made before it are used by nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import orjson
from attrs import define, evolve, field, frozen

from exchange.errors import Busy, ConfigurationError, ExchangeError, StoreError, TokenError
from exchange.instants import SECOND, Instant, show_instant
from exchange.signing._api_clients import Caller
from exchange.signing._api_problems import Problem, conflicting, not_yet, unable
from exchange.signing._api_requests import Item, SignRequest, parsed
from exchange.signing._api_seals import FINAL, seal_of, told, waits
from exchange.signing._api_settings import ApiSettings
from exchange.signing.profiles import Profiles
from exchange.signing.sealing import Sealed
from exchange.signing.service import SigningService, Work
from exchange.signingjobs import Jobs as Store
from exchange.signingjobs import SigningJob

PAUSE_SECONDS: Final = 2.0  # between attempts while the store can't


def show_job(number: Instant) -> str:
    """Write a job's number for people and for the signing log.

    >>> show_job(1795320000000000)
    'S1795320000000000'
    """
    return f"S{number}"


@frozen
class Asked:
    """A request, its bytes, and who sent it."""

    caller: Caller
    request: SignRequest
    body: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    key: str = ""  # Idempotency-Key

    @property
    def patient(self) -> bool:
        """Whether the client comes back for the result."""
        return self.request.mode == "async"


@define(eq=False)
class Jobs:
    """The jobs that are at work. *admit* raises Problem for a request that may not, or can't, be done."""

    service: SigningService
    store: Store
    settings: ApiSettings
    now: Callable[[], Instant]
    log: Any
    profiles: Callable[[], Profiles]
    admit: Callable[[Asked], None]
    _newest: Instant = 0
    _inside: Counter[str] = field(factory=Counter)  # by party
    _bytes: int = 0
    _running: dict[tuple[str, str], tuple[bytes, asyncio.Task[SigningJob]]] = field(factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(factory=set)

    async def start(self, since: Instant, again: Callable[[SigningJob], Caller]) -> dict[str, int]:
        """Go on with what isn't finished; return how much clients had signed since an instant.

        *again* tells whose a job is: they need no permission for what was confirmed.
        """
        waiting = await self.store.waiting_jobs(since)
        self._newest = waiting.newest
        for job in waiting.jobs:
            self._count(job)
            self._spawn(self._work_again(job, again(job)))
        return dict(waiting.signed)

    async def stop(self) -> None:
        """Leave what is at work: of what was confirmed, everything is on disk."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def take(self, asked: Asked) -> SigningJob:
        """Return the job of a request: finished, or on disk where the client comes back for it.

        A request that comes again under its key, be it meanwhile, gets the job that it had. Raises Problem, Busy and
        StoreError; then nothing was signed that anybody will see.
        """
        task = self._spawn(self._begun(asked)) if not asked.key else self._shared(asked)
        try:
            return await asyncio.wait_for(asyncio.shield(task), self.settings.timeout_seconds)
        except TimeoutError:
            raise not_yet() from None

    def _shared(self, asked: Asked) -> asyncio.Task[SigningJob]:
        """Return the work of a request that has a key, which may be under way."""
        place = asked.caller.name, asked.key
        if place not in self._running:
            task = self._spawn(self._once(asked))
            self._running[place] = asked.digest, task
            task.add_done_callback(lambda _: self._running.pop(place, None))
        digest, task = self._running[place]
        _require_same(digest, asked)
        return task

    async def _once(self, asked: Asked) -> SigningJob:
        kept = await self.store.keyed_job(asked.caller.name, asked.key)
        if kept is None:
            return await self._begun(asked)
        _require_same(kept.digest, asked)
        return kept

    # -- a new job -----------------------------------------------------------------------------------------------

    async def _begun(self, asked: Asked) -> SigningJob:
        self._require_room(asked)
        self.admit(asked)
        job = self._numbered(asked)
        self._count(job)
        if not asked.patient:
            return await self._work(job, asked.request.items, asked.caller, patient=False)
        try:
            await self.store.open_job(job)
        except BaseException:
            self._count(job, -1)
            raise
        self._spawn(self._work(job, asked.request.items, asked.caller, patient=True))
        return job

    def _require_room(self, asked: Asked) -> None:
        most = self.settings.waiting
        full = self._inside[asked.caller.party] and self._inside[asked.caller.party] + len(asked.request.items) > most
        if full or (self._bytes and self._bytes + len(asked.body) > self.settings.waiting_bytes):
            raise Busy("more waits to be signed than is taken on: come back later", "待签名任务积压过多：请稍后重试")

    def _numbered(self, asked: Asked) -> SigningJob:
        self._newest = max(self._newest + 1, self.now())
        caller, items = asked.caller, len(asked.request.items)
        return SigningJob(self._newest, caller.name, caller.party, asked.key, asked.digest, items, asked.body)

    def _count(self, job: SigningJob, sign: int = 1) -> None:
        self._inside[job.party] += sign * job.items
        self._bytes += sign * len(job.request)
        if not self._inside[job.party]:
            del self._inside[job.party]

    # -- the work ------------------------------------------------------------------------------------------------

    async def _work(self, job: SigningJob, items: Sequence[Item], caller: Caller, *, patient: bool) -> SigningJob:
        """Sign, write, return what is to be told."""
        try:
            results = await self._signed(job, items, caller, patient)
            operations = [one.operation for one in results if one.operation]
            if all(waits(one) for one in results):
                await self._record(operations)
                raise unable(next(one.error for one in results if isinstance(one.error, TokenError)))
            answer = self._answer(job, items, results)
            finish = partial(self.store.finish_job, evolve(job, request=b"", answer=answer), operations)
            return await (self._patiently(finish) if patient else finish())
        finally:
            self._count(job, -1)

    async def _work_again(self, job: SigningJob, caller: Caller) -> SigningJob:
        return await self._work(job, parsed(SignRequest, job.request).items, caller, patient=True)

    async def _signed(self, job: SigningJob, items: Sequence[Item], caller: Caller, patient: bool) -> list[Sealed]:
        """Put a piece of work into the queue for each item; return what became of them."""
        try:
            seals = [seal_of(item, self.profiles(), caller) for item in items]
        except ConfigurationError as why:  # a profile was there when this was confirmed, and is no more
            return [Sealed(error=why) for _ in items]
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(seals)

        def done(work: Work) -> None:
            nonlocal left
            left -= 1
            if not left and not over.done():
                over.set_result(None)

        name, express = show_job(job.number), not patient
        works = [Work(name, job.party, [seal], done, express, patient, FINAL) for seal in seals]
        for work in works:
            self.service.submit(work)
        await over
        return [work.results[0] for work in works]

    def _answer(self, job: SigningJob, items: Sequence[Item], results: Sequence[Sealed]) -> bytes:
        head, profiles = shown(job) | {"state": "done", "done_at": show_instant(self.now())}, self.profiles()
        every = [told(item, profiles, one) for item, one in zip(items, results, strict=True)]
        return orjson.dumps(head | {"results": every})

    async def _record(self, operations: Sequence[Any]) -> None:
        try:
            await self.service.record(operations)
        except StoreError as why:
            self.log.error("signing.unrecorded", operations=len(operations), error=str(why))

    async def _patiently(self, work: Callable[[], Awaitable[SigningJob]]) -> SigningJob:
        """Write until it succeeds: what was confirmed isn't lost because the disk is full."""
        while True:
            try:
                return await work()
            except StoreError as why:
                self.log.error("store.refused", stage="sign", code=why.code, en=why.en, zh=why.zh)
            await asyncio.sleep(PAUSE_SECONDS)

    def _spawn(self, work: Any) -> asyncio.Task[SigningJob]:
        task: asyncio.Task[SigningJob] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        why = None if task.cancelled() else task.exception()
        if why is not None and not isinstance(why, ExchangeError | Problem):
            self.log.error("signing.job_failed", error=repr(why))


def _require_same(digest: bytes, asked: Asked) -> None:
    if digest != asked.digest:
        raise conflicting()


def shown(job: SigningJob) -> dict[str, Any]:
    """Return the head of what is told of a job that isn't finished."""
    return {"job": show_job(job.number), "state": "waiting", "at": show_instant(job.number // SECOND * SECOND)}
