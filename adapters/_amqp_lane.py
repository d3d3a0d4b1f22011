"""One direction of one endpoint: a channel that is opened again for ever."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pika.adapters.twisted_connection import TwistedChannel

from adapters._amqp_link import OPEN_SECONDS, Link, Outage, backoff
from adapters._amqp_options import Options
from adapters._amqp_wire import Listener, Wire

WATCH_SECONDS: Final = 30.0  # between two looks at whether a channel still moves
GRACE_SECONDS: Final = 10.0  # for what is under way when a lane is closed


class Lane(Listener, ABC):
    """Keeps a channel open; what goes over it is the business of ``Publisher`` and ``Consumer``."""

    opened_event: ClassVar[str]  # what the log calls it when the channel is ready

    def __init__(self, link: Link, log: Any) -> None:
        self.link = link
        self.log = log.bind(broker=str(link.place))
        self.watch_seconds = WATCH_SECONDS
        self._outage = Outage(self.log)
        self._task = asyncio.ensure_future(self._run())

    async def retire(self) -> None:
        """Finish what is under way, as far as that takes no longer than ``GRACE_SECONDS``, and close."""
        await self.drain()
        self._task.cancel()
        await asyncio.wait({self._task})

    @abstractmethod
    async def prepare(self, wire: Wire, channel: TwistedChannel) -> Sequence[asyncio.Future[str]]:
        """Set the channel up; return what, beside its closing, ends its use."""

    @abstractmethod
    async def look(self, channel: TwistedChannel) -> None:
        """Raise TimeoutError where nothing has moved since the last look, and something should have."""

    @abstractmethod
    def lost(self, reason: str) -> None:
        """Settle what was under way on a channel that is gone."""

    @abstractmethod
    async def drain(self) -> None:
        """Begin nothing new, and wait for what is under way."""

    async def _run(self) -> None:
        while True:
            wire = await self.link.connected()
            reason = await self._serve(wire)
            self.lost(reason)
            if wire.gone.done():
                await asyncio.sleep(0)  # until the link knows it too
            else:
                self._outage.failed("amqp.refused", reason)
                await asyncio.sleep(backoff(self._outage.failures))

    async def _serve(self, wire: Wire) -> str:
        """Open a channel and use it; return why that ended."""
        channel: TwistedChannel | None = None
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                channel = await wire.open(self)
                ends = await self.prepare(wire, channel)
            self._outage.over(self.opened_event)
            return await self._watch(channel, ends)
        except TimeoutError as error:
            if channel is None:
                wire.abort("the broker opens no channel")
            return str(error) or f"the broker didn't answer for {OPEN_SECONDS:.0f} seconds"
        except Exception as error:
            return words(error)
        finally:
            if channel:
                wire.forget(channel.channel_number)
                if channel.is_open:
                    channel.close()

    async def _watch(self, channel: TwistedChannel, ends: Sequence[asyncio.Future[str]]) -> str:
        closed = channel.on_closed.asFuture(asyncio.get_running_loop())
        done: set[asyncio.Future[Any]] = set()
        while not done:
            done, _ = await asyncio.wait(
                (closed, *ends), timeout=self.watch_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                await self.look(channel)
        return words(closed.result()) if closed.done() else str(done.pop().result())


async def declare(channel: TwistedChannel, queue: str, options: Options) -> None:
    """Make a queue that is missing, where the administrator asks for it; it outlives the broker's restarts."""
    if options.declare:
        arguments = {"x-queue-type": "quorum"} if options.quorum else None
        await channel.queue_declare(queue, durable=True, arguments=arguments).asFuture(asyncio.get_running_loop())


def words(error: Any) -> str:
    """Return what a broker or a library says is wrong."""
    text = getattr(error, "reply_text", "")
    return f"{error.reply_code} {text}" if text else str(error) or type(error).__name__
