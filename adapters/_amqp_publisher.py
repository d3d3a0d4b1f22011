"""Publish parcels, each confirmed by the broker before it counts as sent."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from typing import IO, Any, ClassVar, Final

from pika.adapters.twisted_connection import TwistedChannel
from pika.exceptions import ShortStringTooLong
from pika.spec import BasicProperties

from adapters import _amqp_frames as frames
from adapters._amqp_confirms import Confirms, unknown
from adapters._amqp_lane import GRACE_SECONDS, Lane, declare
from adapters._amqp_link import Link
from adapters._amqp_options import Options, Publish
from adapters._amqp_wire import Wire
from exchange.errors import Permanent, Transient
from exchange.model import Parcel, Spool

BLOCKED_SECONDS: Final = 30.0  # until it's worth asking a broker again that is short of memory or disk
_PERSISTENT: Final = 2


def _unwritable(error: Exception) -> Permanent:
    return Permanent(
        f"its id, type or name can't be written as AMQP properties (255 bytes of UTF-8): {error}",
        f"报文编号、类型或文件名无法写入 AMQP 属性（限 255 字节 UTF-8）：{error}",
    )


class Publisher(Lane):
    """Publishes to one target over one channel, any number of parcels at a time."""

    opened_event: ClassVar[str] = "amqp.publishing"

    def __init__(self, link: Link, log: Any, options: Options, target: Publish) -> None:
        self._options = options
        self._target = target
        self._head = options.head_bytes
        self._confirms = Confirms()
        self._wire: Wire | None = None  # while the channel can be written to
        self._retiring = False
        self._channel = 0
        self._method = b""
        self._why = ""  # why it can't be, where the connection isn't the reason
        self._oldest = 0  # at the last look
        self._turn = asyncio.Lock()  # the frames of one large message follow each other
        super().__init__(link, log)

    async def send(self, parcel: Parcel) -> None:
        """Return once the broker has the parcel. Raises Transient, or Permanent for what no broker takes."""
        if isinstance(parcel.body, Spool):
            async with self._turn:
                outcome = await self._stream(parcel, parcel.body)
        elif self._turn.locked():
            async with self._turn:
                outcome = self._begin(self._ready(), parcel, parcel.body)
        else:
            outcome = self._begin(self._ready(), parcel, parcel.body)
        await outcome

    def _begin(self, wire: Wire, parcel: Parcel, body: bytes) -> asyncio.Future[None]:
        properties = _properties(parcel)
        try:
            header = frames.header(self._channel, parcel.size + len(self._head), properties)
        except (ShortStringTooLong, UnicodeEncodeError) as error:
            raise _unwritable(error) from error
        outcome = self._confirms.add(properties.message_id, parcel.size)
        if self._head:
            body = self._head + body
        wire.write(b"".join((self._method, header, *frames.bodies(self._channel, body, wire.frame_bytes))))
        return outcome

    async def _stream(self, parcel: Parcel, spool: Spool) -> asyncio.Future[None]:
        wire = self._ready()
        with spool.path.open("rb") as file:
            outcome = self._begin(wire, parcel, b"")
            try:
                await wire.stream(self._pieces(wire, file))
            except OSError as error:
                outcome.cancel()
                raise unknown(str(error)) from error
            except BaseException:
                outcome.cancel()
                raise
        return outcome

    def _pieces(self, wire: Wire, file: IO[bytes]) -> Iterator[bytes]:
        step = wire.frame_bytes - frames.OVERHEAD
        while self._wire is wire and (piece := file.read(step)):
            yield frames.frame(frames.BODY, self._channel, piece)

    def _ready(self) -> Wire:
        wire = self._wire
        if wire is None or wire.blocked or self._retiring:
            raise self._unready()
        return wire

    def _unready(self) -> Transient:
        place, wire = self.link.place, self.link.wire
        if self._retiring:
            return Transient("the endpoint is no longer served", "端点已停止服务")
        if wire and wire.blocked:
            return Transient(
                f"the broker {place} accepts nothing now: {wire.blocked}",
                f"消息代理 {place} 暂停接收：{wire.blocked}",
                retry_after=BLOCKED_SECONDS,
            )
        why = (self._why if wire else self.link.why) or "the channel is being opened"
        return Transient(f"no channel to the broker {place}: {why}", f"与消息代理 {place} 的通道不可用：{why}")

    # -- the life of the channel

    async def prepare(self, wire: Wire, channel: TwistedChannel) -> Sequence[asyncio.Future[str]]:
        """Ask for confirms; then the channel is open to ``send``."""
        loop = asyncio.get_running_loop()
        if self._target.queue:
            await declare(channel, self._target.queue, self._options)
        await channel.confirm_delivery().asFuture(loop)
        self._channel = channel.channel_number
        self._method = frames.publish(
            self._channel, self._target.exchange, self._target.queue or self._target.routing_key
        )
        self._confirms = Confirms()
        self._wire = wire
        return ()

    async def look(self, channel: TwistedChannel) -> None:
        """Give the channel up where the broker confirms nothing, as a queue that has lost its majority does."""
        oldest, before = self._confirms.oldest, self._oldest
        self._oldest = oldest
        if oldest and oldest == before and self._wire and not self._wire.blocked:
            raise TimeoutError(f"the broker confirmed nothing for {self.watch_seconds:.0f} seconds")

    def lost(self, reason: str) -> None:
        """Tell every ``send`` that waits."""
        self.closed()
        self._why = reason
        self._oldest = 0
        self._confirms.lose(reason)

    async def drain(self) -> None:
        """Wait for confirms."""
        self._retiring = True
        if waiting := self._confirms.waiting():
            await asyncio.wait(waiting, timeout=GRACE_SECONDS)
        self.lost("the endpoint is no longer served")

    def closed(self) -> None:
        """Write nothing more on the channel."""
        self._wire = None

    def confirmed(self, number: int, multiple: bool, kept: bool) -> None:
        """Settle what the broker decided."""
        self._confirms.settle(number, multiple, kept)

    def returned(self, reason: str, properties: BasicProperties) -> None:
        """Note what can't be routed."""
        self._confirms.returned(str(properties.message_id), reason)


def _properties(parcel: Parcel) -> BasicProperties:
    headers = parcel.headers
    table = {"file-name": parcel.name}
    if disposition := headers.get("disposition"):
        table["disposition"] = disposition
    return BasicProperties(  # type: ignore[no-untyped-call]
        content_type="application/xml" if parcel.name.lower().endswith(".xml") else "application/octet-stream",
        headers=table,
        delivery_mode=_PERSISTENT,
        correlation_id=headers.get("refers-to") or None,
        message_id=headers.get("id") or uuid.uuid4().hex,  # what is returned is known by it
        type=headers.get("type") or None,
    )
