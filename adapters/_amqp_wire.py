"""One connection to a broker: pika's Twisted connection, with the frames that carry messages taken off before it.

pika opens, tunes, keeps alive and closes the connection and its channels. Messages and confirmations go straight to
the ``Listener`` of their channel: see ``_amqp_frames`` for why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from pika.adapters.twisted_connection import TwistedChannel, TwistedProtocolConnection
from pika.connection import ConnectionParameters
from pika.exceptions import AMQPError
from pika.spec import BasicProperties
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from adapters import _amqp_frames as frames
from adapters._amqp_content import Content
from adapters._spool import Spooler
from exchange.ports import World

DRAIN_SECONDS: Final = 60.0  # a peer that takes nothing of a large body for so long is given up
CLOSE_SECONDS: Final = 5.0


class Listener:
    """Who the messages and confirmations of one channel are for; hears what it overrides."""

    def confirmed(self, number: int, multiple: bool, kept: bool) -> None:
        """Learn that the broker keeps a publish, or (not *kept*) that it failed to."""

    def returned(self, reason: str, properties: BasicProperties) -> None:
        """Learn that a publish can't be routed; its confirmation follows."""

    def delivered(self, tag: int, redelivered: bool, content: Content) -> None:
        """Get a whole message."""

    def closed(self) -> None:
        """Write nothing more on the channel."""


class Wire(TwistedProtocolConnection):
    """A connection; ``gone`` resolves to the reason when it is closed or lost, in the peer's words if it gave any."""

    transport: Any

    def __init__(self, parameters: ConnectionParameters, world: World, log: Any) -> None:
        super().__init__(parameters, custom_reactor=world.reactor)
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[str] = loop.create_future()
        self.heard_at = loop.time()  # when the last bytes came
        self.blocked = ""  # the broker's reason to accept no publishes now
        self._time = loop.time
        self._spooler = Spooler.of(world)
        self._log = log
        self._reason = ""
        self._frames = frames.Frames()
        self._streaming = asyncio.Lock()
        self._listeners: dict[int, Listener] = {}
        self._methods: dict[int, bytes] = {}  # by channel: the method whose content follows
        self._contents: dict[int, Content] = {}  # by channel: the content whose body is arriving
        self.ready.addErrback(lambda _: None)  # type: ignore[union-attr]  # ``gone`` tells
        self._impl.add_on_connection_blocked_callback(lambda _, told: self._block(str(told.method.reason)))
        self._impl.add_on_connection_unblocked_callback(lambda _, told: self._block(""))

    @property
    def frame_bytes(self) -> int:
        """Bytes of the largest frame, as negotiated."""
        return int(self._impl.params.frame_max)

    async def open(self, listener: Listener) -> TwistedChannel:
        """Open a channel whose messages and confirmations go to *listener*."""
        channel: TwistedChannel = await self.channel().asFuture(asyncio.get_running_loop())
        self._listeners[channel.channel_number] = listener
        return channel

    def forget(self, channel: int) -> None:
        """Pass on nothing of this channel any more."""
        if listener := self._listeners.pop(channel, None):
            listener.closed()
        self._methods.pop(channel, None)
        if content := self._contents.pop(channel, None):
            content.discard()

    def write(self, data: bytes) -> None:
        """Write whole frames; what can't leave now waits in memory."""
        self.transport.write(data)

    async def stream(self, pieces: Iterator[bytes]) -> None:
        """Write the frames of one large message, no faster than the peer takes them."""
        async with self._streaming:
            valve = _Valve()
            self.transport.registerProducer(valve, True)
            try:
                for piece in pieces:
                    self.transport.write(piece)
                    await self._drain(valve)
            except BaseException:
                self.abort("a large message broke off")  # the rest of its channel would be taken for its body
                raise
            finally:
                self.transport.unregisterProducer()

    async def shut(self) -> None:
        """Close politely; cut where the peer doesn't answer."""
        with suppress(Exception):
            self.close()
        await asyncio.wait({self.gone}, timeout=CLOSE_SECONDS)
        self.abort("closed")

    def abort(self, reason: str) -> None:
        """Cut the connection without waiting for what is still to be written."""
        if not self.gone.done():
            self._reason = self._reason or reason
            self.transport.abortConnection()

    async def _drain(self, valve: _Valve) -> None:
        while not self.gone.done():
            with suppress(TimeoutError):
                await asyncio.wait_for(valve.is_open.wait(), DRAIN_SECONDS)
                return
            if not self.blocked:
                raise TimeoutError(f"the broker took nothing for {DRAIN_SECONDS:.0f} seconds")

    def _block(self, reason: str) -> None:
        self.blocked = reason
        self._log.warning("amqp.blocked" if reason else "amqp.unblocked", reason=reason)

    # -- called by Twisted and pika

    def connectionReady(self) -> Wire:  # noqa: N802
        """Tell that the handshake is through."""
        self.opened.set_result(None)
        return self

    def connectionMade(self) -> None:  # noqa: N802
        """Send small frames at once."""
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Pass frames on, to listeners or to pika."""
        self.heard_at = self._time()
        self._impl.bytes_received += len(data)  # pika's heartbeat looks at it
        try:
            for kind, channel, payload in self._frames.feed(data):
                if kind == frames.METHOD:
                    self._method(channel, payload)
                elif kind == frames.BODY:
                    self._body(channel, payload)
                elif kind == frames.HEADER:
                    self._header(channel, payload)
                else:
                    super().dataReceived(frames.frame(kind, channel, payload))
        except AMQPError as error:
            self.abort(str(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Tell everybody who waits."""
        for channel in list(self._listeners):
            self.forget(channel)
        super().connectionLost(reason)
        if not self.gone.done():
            self.gone.set_result(self._reason or reason.getErrorMessage())

    # -- frames

    def _method(self, channel: int, payload: bytes) -> None:
        number = frames.read_method(payload)
        if number == frames.ACK or number == frames.NACK:
            if listener := self._listeners.get(channel):
                listener.confirmed(*frames.read_confirm(payload), number == frames.ACK)
        elif number == frames.DELIVER or number == frames.RETURN:
            self._methods[channel] = payload
        else:
            if number == frames.CONNECTION_CLOSE:
                self._reason = frames.read_reason(payload)
            elif number == frames.CHANNEL_CLOSE:
                self.forget(channel)  # at once: pika answers, and then the channel is no more
            super().dataReceived(frames.frame(frames.METHOD, channel, payload))

    def _header(self, channel: int, payload: bytes) -> None:
        method = self._methods.pop(channel)
        wanted = channel in self._listeners and frames.read_method(method) == frames.DELIVER
        content = self._contents[channel] = Content(method, payload, self._spooler, wanted)
        if not content.left:
            self._finish(channel, content)

    def _body(self, channel: int, payload: bytes) -> None:
        if content := self._contents.get(channel):
            content.add(payload)
            if content.left <= 0:
                self._finish(channel, content)

    def _finish(self, channel: int, content: Content) -> None:
        del self._contents[channel]
        listener = self._listeners.get(channel)
        if listener is None:
            return
        if frames.read_method(content.method) == frames.DELIVER:
            listener.delivered(*frames.read_deliver(content.method), content)
        else:
            listener.returned(frames.read_reason(content.method), content.properties)


class _Valve:
    """Closed by the transport while it holds enough to write."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()

    def pauseProducing(self) -> None:  # noqa: N802
        self.is_open.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self.is_open.set()

    def stopProducing(self) -> None:  # noqa: N802
        self.is_open.set()
