"""Directories that a partner, or another program, writes into and reads from.

Files are picked up from ``take_from`` when they are complete (see ``_pickup``) and parcels are put into ``send_to``
under a temporary name, synced, and renamed without ever overwriting. Polling is the truth: it also works on network
disks.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import Field, model_validator

from adapters._folder import Writer, tidy
from adapters._pickup import Claim, Pickup, Rules
from adapters._spool import Spooler
from exchange.errors import Busy, ExchangeError, Permanent, StoreError
from exchange.model import Endpoint, Parcel
from exchange.options import Location, Strict
from exchange.ports import World

THREADS: Final = 16

Result = TypeVar("Result")


class Folder:
    """The adapter of kind ``folder``."""

    class Options(Strict):
        """Two directories of one endpoint, either of which may be left out."""

        take_from: Location | None = Field(None, description="directory to pick files up from")
        send_to: Location | None = Field(None, description="directory to put files into")
        poll_seconds: float = Field(2.0, gt=0, description="how often to look")
        settle_seconds: float = Field(2.0, ge=0, description="how long a file must stand still to be complete")
        after: Literal["archive", "remove"] = Field("archive", description="what becomes of a file that was taken")

        @model_validator(mode="after")
        def _some_directory(self) -> Self:
            if self.take_from is None and self.send_to is None:
                raise ValueError("give take_from, send_to or both (请给出 take_from、send_to 或两者)")
            if self.take_from == self.send_to:
                raise ValueError("take_from and send_to must differ (take_from 与 send_to 不能相同)")
            return self

    class Settings(Strict):
        """The kind has none."""

    sends: ClassVar[bool] = True
    window: ClassVar[int] = 32
    mailbox: ClassVar[bool] = False
    receipts: ClassVar[str] = "native"

    def __init__(self, world: World) -> None:
        self._world = world
        # Threads of our own: network disks that hang must not hold up the rest of the switch.
        self._threads = ThreadPoolExecutor(THREADS, "folder")
        self._watches: dict[str, _Watch] = {}
        # By endpoint: a disk that hangs holds up its own only.
        self._writers: defaultdict[str, Writer] = defaultdict(lambda: Writer(cache(tidy), self._threads))

    async def serve(self, endpoints: Mapping[str, Endpoint]) -> None:
        """See ``ports.Adapter``."""
        await self._stop([name for name, watch in self._watches.items() if endpoints.get(name) != watch.endpoint])
        for name, endpoint in endpoints.items():
            if endpoint.options.take_from is not None and name not in self._watches:
                self._watches[name] = _Watch(self._world, endpoint, self._threads)

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        """See ``ports.Adapter``."""
        if endpoint.options.send_to is None:
            raise Permanent(f"endpoint {endpoint.name!r} has no send_to", f"端点 {endpoint.name!r} 未配置 send_to")
        await self._writers[endpoint.name].put(endpoint.options.send_to, parcel)

    async def stop(self) -> None:
        """See ``ports.Adapter``."""
        await self._stop(list(self._watches))
        self._threads.shutdown(wait=False)

    async def _stop(self, names: Sequence[str]) -> None:
        await asyncio.gather(*(self._watches.pop(name).stop() for name in names))


class _Watch:
    """Picks up, takes and finishes the files of one endpoint, round after round."""

    def __init__(self, world: World, endpoint: Endpoint, threads: Executor) -> None:
        self.endpoint = endpoint
        self._world = world
        self._threads = threads
        self._log = world.log.bind(endpoint=endpoint.name)
        options = endpoint.options
        self._spooler = Spooler.of(world)
        rules = Rules(options.take_from, options.settle_seconds, options.after == "archive", self._spooler)
        self._pickup = Pickup(rules, world.now, self._log)
        self._available = True
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish what is being taken."""
        self._stopping.set()
        await self._task

    async def _run(self) -> None:
        await self._in_thread(self._spooler.sweep)
        while not self._stopping.is_set():
            try:
                pause = await self._round()
            except Exception:  # a watch that ended would be noticed by nobody
                self._log.exception("folder.round_failed")
                pause = float(self.endpoint.options.poll_seconds)
            await self._sleep(pause)

    async def _round(self) -> float:
        """Do one round; return the seconds to wait before the next."""
        try:
            claims, more = await self._in_thread(self._pickup.round)
        except OSError as error:
            self._say(error)
            return float(self.endpoint.options.poll_seconds)
        self._say(None)
        pause = await self._take(claims)
        return pause or (0.0 if more else float(self.endpoint.options.poll_seconds))

    def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Awaitable[Result]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _take(self, claims: Sequence[Claim]) -> float:
        """Offer what was claimed, all at once and in order; return how long the switch asks us to wait."""
        if not claims:
            return 0.0
        results = await asyncio.gather(*map(self._take_one, claims), return_exceptions=True)
        outcomes = list(zip(claims, results, strict=True))
        taken = [claim for claim, result in outcomes if isinstance(result, str)]
        refused = [(claim, result) for claim, result in outcomes if isinstance(result, BaseException)]
        await self._in_thread(self._pickup.finish, taken, refused)
        if refused:
            codes = {getattr(error, "code", type(error).__name__) for _, error in refused}
            self._log.warning("folder.take_refused", files=len(refused), codes=sorted(codes))
        return max((self._patience(error) for _, error in refused), default=0.0)

    async def _take_one(self, claim: Claim) -> str:
        return await self._world.take(claim.parcel, self.endpoint)

    def _patience(self, error: BaseException) -> float:
        if isinstance(error, ExchangeError) and not isinstance(error, StoreError):
            return 0.0  # this file's own fault
        return error.retry_after if isinstance(error, Busy) else float(self.endpoint.options.poll_seconds)

    def _say(self, error: OSError | None) -> None:
        """Log that the directory went away or came back; once each."""
        if self._available != (error is None):
            self._available = error is None
            directory = str(self.endpoint.options.take_from)
            if error is None:
                self._log.info("folder.recovered", directory=directory)
            else:
                self._log.warning("folder.unavailable", directory=directory, reason=str(error.strerror))

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
