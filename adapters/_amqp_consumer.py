"""Consume a queue: a delivery is acknowledged once the switch answers for it, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from pika.adapters.twisted_connection import TwistedChannel
from pika.spec import BasicProperties

from adapters import _amqp_frames as frames
from adapters._amqp_content import Content
from adapters._amqp_lane import GRACE_SECONDS, Lane, declare, words
from adapters._amqp_link import OPEN_SECONDS, Link, Outage, backoff
from adapters._amqp_options import Consume, Options
from adapters._amqp_wire import Wire
from adapters._spool import Spooler
from exchange.errors import ExchangeError, Rejected, StoreError
from exchange.model import Endpoint, Parcel, Spool
from exchange.ports import World


class Acks:
    """The deliveries of one channel that aren't acknowledged yet; acknowledges those that are taken together."""

    def __init__(self, channel: int, write: Callable[[bytes], None]) -> None:
        self.is_open = True  # the channel is there: only on it can they be acknowledged
        self._channel = channel
        self._write = write
        self._pending: dict[int, None] = {}  # not taken, oldest first
        self._taken: list[int] = []  # and not acknowledged

    @property
    def idle(self) -> bool:
        """Tell whether nothing is being taken."""
        return not self._pending

    def add(self, tag: int) -> None:
        """Note a delivery."""
        self._pending[tag] = None

    def taken(self, tag: int) -> None:
        """Acknowledge a delivery, with all that are taken in the same turn of the loop."""
        self._pending.pop(tag, None)
        if not self._taken:
            asyncio.get_running_loop().call_soon(self.flush)
        self._taken.append(tag)

    def refused(self, tag: int, requeue: bool) -> None:
        """Give a delivery back: to its queue, or (not *requeue*) to where that sends its dead letters."""
        self._pending.pop(tag, None)
        if self.is_open:
            self._write(frames.reject(self._channel, tag, requeue))

    def flush(self) -> None:
        """Write what is to be acknowledged, in as few frames as may be."""
        tags, self._taken = sorted(self._taken), []
        if not tags or not self.is_open:
            return
        oldest = next(iter(self._pending), tags[-1] + 1)
        together = [tag for tag in tags if tag < oldest]
        data = frames.ack(self._channel, together[-1], True) if together else b""
        self._write(data + b"".join(frames.ack(self._channel, tag, False) for tag in tags[len(together) :]))


class _LetGo(Exception):
    """The channel is gone or closing: the broker will deliver again."""


class Consumer(Lane):
    """Takes parcels from one queue, as many at a time as the prefetch allows."""

    opened_event: ClassVar[str] = "amqp.consuming"

    def __init__(self, link: Link, world: World, endpoint: Endpoint, options: Options, source: Consume) -> None:
        self._world = world
        self._endpoint = endpoint
        self._options = options
        self._source = source
        self._channel: TwistedChannel | None = None
        self._consumer_tag = ""
        self._acks = Acks(0, lambda _: None)
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring = asyncio.Event()
        self._count = 0  # deliveries
        self._seen = 0  # of them at the last look
        self._stuck = 0  # looks in a row that found messages waiting and nothing moving
        super().__init__(link, world.log.bind(endpoint=endpoint.name, queue=source.queue))
        self._troubles = Outage(self.log)

    # -- deliveries

    def delivered(self, tag: int, redelivered: bool, content: Content) -> None:
        """Take it, beside others."""
        if self._retiring.is_set():
            content.discard()  # unacknowledged, it goes back to its queue
            return
        self._count += 1
        self._acks.add(tag)
        task = asyncio.ensure_future(self._deliver(self._acks, tag, redelivered, content))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, acks: Acks, tag: int, redelivered: bool, content: Content) -> None:
        body: bytes | Spool = b""
        try:
            body = await content.body()
            if head := self._options.head_bytes:
                spooler = Spooler.of(self._world)
                body = body.removeprefix(head) if isinstance(body, bytes) else await headless(body, head, spooler)
            await self._take(acks, read_parcel(self._source.queue, tag, redelivered, content.properties, body))
            acks.taken(tag)
        except Rejected as error:
            self.log.warning("parcel.refused", size=content.size, code=error.code, reason=error.en)
            acks.refused(tag, requeue=False)
        except StoreError as error:
            await self._await_room(acks, tag, content, error)
        except _LetGo:
            pass
        finally:
            content.discard()
            if isinstance(body, Spool):  # without its head it is a file of its own
                body.path.unlink(missing_ok=True)

    async def _take(self, acks: Acks, parcel: Parcel) -> None:
        """Ask until the switch answers for the parcel; the broker keeps it, and sends no more than the prefetch."""
        failures = 0
        while True:
            try:
                await self._world.take(parcel, self._endpoint)
            except Rejected:
                raise
            except Exception as error:
                failures += 1
                self._troubles.failed("intake.paused", error.en if isinstance(error, ExchangeError) else repr(error))
                await self._pause(acks, max(backoff(failures), getattr(error, "retry_after", 0.0)))
            else:
                break
        if self._troubles.is_on:
            self._troubles.over("intake.resumed")

    async def _await_room(self, acks: Acks, tag: int, content: Content, error: StoreError) -> None:
        """Have a body that our disk lost sent again, but not before there is room for it."""
        self._troubles.failed("intake.paused", error.en)
        failures = 0
        while not failures or not content.fits():
            failures += 1
            await self._pause(acks, backoff(failures))
        acks.refused(tag, requeue=True)

    async def _pause(self, acks: Acks, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._retiring.wait(), seconds)
        if self._retiring.is_set() or not acks.is_open:
            raise _LetGo

    # -- the life of the channel

    async def prepare(self, wire: Wire, channel: TwistedChannel) -> Sequence[asyncio.Future[str]]:
        """Consume; the broker may cancel that, because the queue is deleted."""
        loop = asyncio.get_running_loop()
        await declare(channel, self._source.queue, self._options)
        await channel.basic_qos(prefetch_count=self._source.prefetch).asFuture(loop)
        self._acks = Acks(channel.channel_number, wire.write)
        messages, self._consumer_tag = await channel.basic_consume(self._source.queue).asFuture(loop)
        self._channel = channel
        ended = loop.create_future()

        def on_cancel(queue: asyncio.Future[Any]) -> None:  # pika's queue gets no message, only its own end
            reason = queue.exception()
            if not self._retiring.is_set() and not ended.done():
                ended.set_result(f"the broker ended the consumer: {words(reason)}; was the queue deleted?")

        messages.get().asFuture(loop).add_done_callback(on_cancel)
        return (ended,)

    async def look(self, channel: TwistedChannel) -> None:
        """Give the channel up where messages wait, we wait, and the broker brings none."""
        idle = self._acks.idle and self._count == self._seen
        self._seen = self._count
        ready = await self._ready(channel) if idle else 0
        self._stuck = self._stuck + 1 if ready and self._count == self._seen else 0
        if self._stuck > 1:
            raise TimeoutError(f"{ready} messages wait in the queue, but the broker delivers none")

    async def _ready(self, channel: TwistedChannel) -> int:
        async with asyncio.timeout(OPEN_SECONDS):
            declared = await channel.queue_declare(self._source.queue, passive=True).asFuture(
                asyncio.get_running_loop()
            )
        return int(declared.method.message_count)

    def lost(self, reason: str) -> None:
        """Let go of deliveries: the broker brings them again."""
        self.closed()
        self._stuck = 0

    async def drain(self) -> None:
        """Let the broker bring nothing more; finish what is being taken."""
        self._retiring.set()
        if self._channel and self._channel.is_open:
            cancel = self._channel.basic_cancel(self._consumer_tag).asFuture(asyncio.get_running_loop())
            with suppress(Exception):  # a channel that is lost brings nothing more either
                await asyncio.wait_for(cancel, GRACE_SECONDS)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()
        self._acks.flush()

    def closed(self) -> None:
        """Acknowledge nothing more on the channel."""
        self._acks.is_open = False


async def headless(body: Spool, head: bytes, spooler: Spooler) -> bytes | Spool:
    """Return a large body without the *head* that its peer puts before it, where it did."""

    def without() -> bytes | Spool:
        with body.path.open("rb") as file:
            if file.read(len(head)) != head:
                return body
            rest = spooler.gather(file)
        body.path.unlink(missing_ok=True)
        return rest

    return await asyncio.to_thread(without)


def read_parcel(queue: str, tag: int, redelivered: bool, properties: BasicProperties, body: bytes | Spool) -> Parcel:
    """Make a parcel of a delivery: what the publisher says beside the bytes becomes its headers.

    Its name is the header ``file-name``, or else the message id, or else the queue's name and a number.
    """
    table = properties.headers or {}
    said = {
        "id": properties.message_id,
        "type": properties.type,
        "refers-to": properties.correlation_id,
        "disposition": table.get("disposition"),
        "redelivered": "true" if redelivered else "",
    }
    headers = {name: text for name, value in said.items() if (text := _text(value))}
    name = _text(table.get("file-name")) or headers.get("id") or f"{queue}-{tag}"
    return Parcel(name, body, headers)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
