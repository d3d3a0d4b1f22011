"""The amqp adapter without a broker: its frames against pika's, and a wire with a scripted broker at its end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pika import frame as pika_frame
from pika import spec
from pika.connection import ConnectionParameters
from pika.exceptions import InvalidFrameError
from structlog.testing import LogCapture
from twisted.internet.testing import StringTransport

from adapters import _amqp_frames as frames
from adapters import _amqp_lane as lane
from adapters._amqp_options import Options, read_url
from adapters._amqp_publisher import Publisher
from adapters._amqp_wire import Listener, Wire
from exchange.errors import Permanent, Transient
from exchange.model import Parcel, Spool
from exchange.ports import World

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
WELL = "amqp://broker.example"
CAPABLE = {"publisher_confirms": True, "basic.nack": True}


def marshaled(channel: int, *methods: Any) -> bytes:
    return b"".join(pika_frame.Method(channel, method).marshal() for method in methods)


def content(channel: int, method: Any, body: bytes, **properties: Any) -> bytes:
    """What a broker writes to bring a message, in frames of at most 1000 bytes."""
    header = pika_frame.Header(channel, len(body), spec.BasicProperties(**properties)).marshal()
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    bodies = b"".join(pika_frame.Body(channel, piece).marshal() for piece in pieces)
    return marshaled(channel, method) + header + bodies


# -- frames ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 65_535), names, names, st.binary(max_size=5000))
def test_a_publish_is_written_as_pika_writes_it(channel: int, exchange: str, key: str, body: bytes) -> None:
    properties = spec.BasicProperties(message_id="20261122-1", delivery_mode=2, headers={"file-name": "订单.xml"})
    written = frames.publish(channel, exchange, key) + frames.header(channel, len(body), properties)
    written += b"".join(frames.bodies(channel, body, 1008))
    method = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
    expected = content(channel, method, body, message_id="20261122-1", delivery_mode=2, headers=properties.headers)
    assert written == expected


@given(st.integers(1, 65_535), st.integers(1, 2**63), st.booleans())
def test_an_acknowledgement_is_written_as_pika_writes_it(channel: int, tag: int, flag: bool) -> None:
    assert frames.ack(channel, tag, flag) == marshaled(channel, spec.Basic.Ack(tag, flag))
    assert frames.reject(channel, tag, flag) == marshaled(channel, spec.Basic.Reject(tag, flag))


@given(names, st.integers(1, 2**63), st.booleans())
def test_what_a_broker_says_is_read_as_pika_writes_it(text: str, tag: int, flag: bool) -> None:
    deliver = spec.Basic.Deliver(text, tag, flag, text, text)
    assert frames.read_deliver(marshaled(1, deliver)[7:-1]) == (tag, flag)
    assert frames.read_confirm(marshaled(1, spec.Basic.Nack(tag, flag, True))[7:-1]) == (tag, flag)
    assert frames.read_method(marshaled(1, deliver)[7:-1]) == frames.DELIVER
    assert frames.read_reason(marshaled(1, spec.Basic.Return(312, text, "", "q"))[7:-1]) == f"312 {text}"


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_a_stream_cut_anywhere_yields_the_same_frames(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames.frame(frames.BODY, 7, payload) for payload in payloads)
    reader, found, at = frames.Frames(), [], 0
    while at < len(stream):
        for cut in cuts:
            found += reader.feed(stream[at : at + cut])
            at += cut
    assert found == [(frames.BODY, 7, payload) for payload in payloads]


@pytest.mark.parametrize(
    "stream",
    [b"HTTP/1.1 400 Bad Request\r\n", b"AMQP\x00\x00\x09\x01", b"\x01\x00\x01\xff\xff\xff\xff.", b"\x08\0\0\0\0\0\0\0"],
)
def test_a_peer_that_speaks_something_else_is_found_out(stream: bytes) -> None:
    with pytest.raises(InvalidFrameError):
        list(frames.Frames().feed(stream))


def test_properties_that_cannot_be_read_do_not_stop_a_message() -> None:
    properties = spec.BasicProperties(content_type="text/xml", headers={"a": "b"}, message_id="1")
    payload = pika_frame.Header(1, 9, properties).marshal()[7:-1]
    size, found = frames.read_header(payload.replace(b"\x01aS", b"\x01a?"))
    assert (size, found.content_type, found.message_id) == (9, "text/xml", None)


# -- the wire ----------------------------------------------------------------------------------------------------


class Transport(StringTransport):
    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:
        self.aborted = True


class Ear(Listener):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def confirmed(self, number: int, multiple: bool, kept: bool) -> None:
        self.heard.append(("confirmed", number, multiple, kept))

    def returned(self, reason: str, properties: spec.BasicProperties) -> None:
        self.heard.append(("returned", reason, properties.message_id))

    def delivered(self, tag: int, redelivered: bool, content: Any) -> None:
        self.heard.append(("delivered", tag, redelivered, content))

    def closed(self) -> None:
        self.heard.append("closed")


class Line:
    """A wire whose handshake a scripted broker went through; ``say`` is what the broker sends next."""

    def __init__(self, directory: Path, **limits: int) -> None:
        from twisted.internet import reactor

        self.log = LogCapture()
        log = structlog.wrap_logger(None, processors=[self.log])
        nothing: Any = None
        self.world = World(nothing, nothing, reactor, lambda: 0, log, str(directory), **limits)
        self.transport = Transport()
        self.wire = Wire(ConnectionParameters(heartbeat=0), self.world, log)
        self.wire.makeConnection(self.transport)
        self.say(
            marshaled(
                0,
                spec.Connection.Start(0, 9, {"capabilities": CAPABLE}, b"PLAIN", b"en_US"),
                spec.Connection.Tune(2047, 131_072, 60),
                spec.Connection.OpenOk(),
            )
        )
        assert self.wire.opened.done()

    def say(self, data: bytes) -> None:
        self.wire.dataReceived(data)

    async def open(self, listener: Listener) -> Any:
        opening = asyncio.ensure_future(self.wire.open(listener))
        await asyncio.sleep(0)
        self.say(marshaled(1, spec.Channel.OpenOk()))
        return await opening

    def hang_up(self, reason: str) -> None:
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.wire.connectionLost(Failure(ConnectionLost(reason)))


async def test_messages_and_confirmations_go_to_the_listener_of_their_channel(tmp_path: Path) -> None:
    line, ear = Line(tmp_path), Ear()
    await line.open(ear)
    stream = content(1, spec.Basic.Deliver("c", 1, False, "", "q"), b"x" * 2500, message_id="a")
    stream += content(1, spec.Basic.Deliver("c", 2, True, "", "q"), b"", message_id="b")
    stream += content(1, spec.Basic.Return(312, "NO_ROUTE", "", "q"), b"y" * 1500, message_id="c")
    stream += marshaled(1, spec.Basic.Ack(7, True), spec.Basic.Nack(8, False))
    for at in range(0, len(stream), 700):
        line.say(stream[at : at + 700])
    first, second, *rest = ear.heard
    assert (first[1:3], await first[3].body()) == ((1, False), b"x" * 2500)
    assert (second[1:3], await second[3].body()) == ((2, True), b"")
    assert rest == [("returned", "312 NO_ROUTE", "c"), ("confirmed", 7, True, True), ("confirmed", 8, False, False)]
    assert not (tmp_path / "spool").exists()


async def test_a_message_cut_off_by_a_lost_connection_leaves_no_file(tmp_path: Path) -> None:
    line, ear = Line(tmp_path, spool_bytes=2000), Ear()
    await line.open(ear)
    line.say(content(1, spec.Basic.Deliver("c", 1, False, "", "q"), b"x" * 5000)[:-500])
    assert len(list((tmp_path / "spool").iterdir())) == 1
    line.hang_up("the cable was cut")
    assert not list((tmp_path / "spool").iterdir())
    assert "the cable was cut" in await line.wire.gone
    assert ear.heard == ["closed"]


async def test_a_body_over_the_limit_is_never_kept(tmp_path: Path) -> None:
    line, ear = Line(tmp_path, spool_bytes=2000, limit_bytes=4000), Ear()
    await line.open(ear)
    line.say(content(1, spec.Basic.Deliver("c", 1, False, "", "q"), b"x" * 5000))
    assert not (tmp_path / "spool").exists()
    with pytest.raises(Exception, match="limit of 4000 bytes"):
        await ear.heard[0][3].body()


async def test_a_channel_that_the_broker_closes_is_written_to_no_more(tmp_path: Path) -> None:
    line, ear = Line(tmp_path), Ear()
    channel = await line.open(ear)
    line.say(marshaled(1, spec.Channel.Close(404, "NOT_FOUND - no queue 'q'", 0, 0)))
    assert ear.heard == ["closed"]
    assert lane.words(await channel.on_closed.asFuture(asyncio.get_running_loop())) == "404 NOT_FOUND - no queue 'q'"


async def test_the_reason_a_broker_gives_for_closing_is_kept(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.say(marshaled(0, spec.Connection.Close(320, "CONNECTION_FORCED - shutdown", 0, 0)))
    line.hang_up("done")
    assert await line.wire.gone == "320 CONNECTION_FORCED - shutdown"


async def test_a_peer_that_stops_speaking_amqp_is_cut(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert line.transport.aborted
    line.hang_up("aborted")
    assert await line.wire.gone == "the peer speaks something else than AMQP 0-9-1"


# -- the publisher -----------------------------------------------------------------------------------------------


class FakeLink:
    """A link that is down, or up with a given wire."""

    def __init__(self, wire: Wire | None = None) -> None:
        self.place = read_url(WELL)
        self.wire = wire
        self.why = "Connection was refused"

    async def connected(self) -> Wire:
        return self.wire or await asyncio.get_running_loop().create_future()


def publisher(link: FakeLink, line: Line | None = None) -> Publisher:
    options = Options.model_validate({"url": WELL, "user": "switch", "publish": {"queue": "q"}})
    assert options.publish
    log = structlog.wrap_logger(None, processors=[LogCapture()])
    made: Any = Publisher(link, log, options, options.publish)  # type: ignore[arg-type]
    return made


async def publishing(line: Line) -> Publisher:
    made = publisher(FakeLink(line.wire))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    line.say(marshaled(1, spec.Channel.OpenOk()))
    for _ in range(3):
        await asyncio.sleep(0)
    line.say(marshaled(1, spec.Confirm.SelectOk()))
    for _ in range(3):
        await asyncio.sleep(0)
    line.transport.clear()
    return made


async def test_a_publisher_whose_broker_is_away_refuses_at_once_and_says_why() -> None:
    made = publisher(FakeLink())
    with pytest.raises(Transient, match=r"no channel to the broker .*: Connection was refused"):
        await made.send(Parcel("a.xml", b"x"))
    await made.retire()


async def test_a_publish_resolves_when_it_is_confirmed(tmp_path: Path) -> None:
    line = Line(tmp_path)
    made = await publishing(line)
    sending = asyncio.ensure_future(made.send(Parcel("a.xml", b"<a/>", {"id": "20261122-1"})))
    await asyncio.sleep(0)
    kinds = [kind for kind, _, _ in frames.Frames().feed(line.transport.value())]
    assert kinds == [frames.METHOD, frames.HEADER, frames.BODY]
    assert not sending.done()
    line.say(marshaled(1, spec.Basic.Ack(1)))
    await sending
    await made.retire()


async def test_an_id_that_amqp_has_no_room_for_fails_for_good(tmp_path: Path) -> None:
    line = Line(tmp_path)
    made = await publishing(line)
    with pytest.raises(Permanent, match="255 bytes"):
        await made.send(Parcel("a.xml", b"", {"id": "9" * 256}))
    with pytest.raises(Permanent, match="surrogates"):
        await made.send(Parcel("\udcff.xml", b""))
    assert line.transport.value() == b""
    await made.retire()


async def test_a_payload_whose_file_is_gone_leaves_the_channel_as_it_was(tmp_path: Path) -> None:
    line = Line(tmp_path)
    made = await publishing(line)
    with pytest.raises(FileNotFoundError):
        await made.send(Parcel("a.xml", Spool(tmp_path / "missing", 10, b"")))
    assert line.transport.value() == b""
    await made.retire()


async def test_a_large_message_that_breaks_off_cuts_the_connection(tmp_path: Path) -> None:
    line = Line(tmp_path)
    made = await publishing(line)
    (tmp_path / "payload").write_bytes(bytes(1_000_000))
    sending = asyncio.ensure_future(made.send(Parcel("a.xml", Spool(tmp_path / "payload", 1_000_000, b""))))
    await asyncio.sleep(0)
    line.transport.producer.pauseProducing()
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert line.transport.aborted
    line.hang_up("aborted")
    assert await line.wire.gone == "a large message broke off"
    await made.retire()


async def test_a_publisher_that_retires_waits_for_confirms_and_takes_nothing_more(tmp_path: Path) -> None:
    line = Line(tmp_path)
    made = await publishing(line)
    sending = asyncio.ensure_future(made.send(Parcel("a.xml", b"x")))
    await asyncio.sleep(0)
    retiring = asyncio.ensure_future(made.retire())
    await asyncio.sleep(0)
    with pytest.raises(Transient, match="no longer served"):
        await made.send(Parcel("b.xml", b"x"))
    assert not retiring.done()
    line.say(marshaled(1, spec.Basic.Ack(1)))
    await retiring
    await sending


async def test_a_broker_that_confirms_nothing_is_given_up(tmp_path: Path) -> None:
    line = Line(tmp_path)
    made = await publishing(line)
    sending = asyncio.ensure_future(made.send(Parcel("a.xml", b"x")))
    await asyncio.sleep(0)
    nothing: Any = None
    await made.look(nothing)
    with pytest.raises(TimeoutError, match="confirmed nothing"):
        await made.look(nothing)
    line.hang_up("cut")
    with pytest.raises(Transient, match="outcome unknown"):
        await sending
    await made.retire()
