"""The frames that carry messages and their confirmations, between bytes and values; pure.

AMQP 0-9-1, sections 2.3.5 (frames), 4.2.6 (content) and 1.8 (class basic), with RabbitMQ's publisher confirms. All
other frames are pika's: these few are met once or more per message, and are handled here because a message costs a
third (sent) to a half (taken) less so, and because a large body must be seen piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from struct import Struct
from typing import Any, Final

from pika.exceptions import InvalidFrameError
from pika.frame import Header
from pika.spec import BasicProperties

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
CONNECTION_CLOSE: Final = 10 << 16 | 50
CHANNEL_CLOSE: Final = 20 << 16 | 40
RETURN, DELIVER, ACK, NACK = (60 << 16 | number for number in (50, 60, 80, 120))
OVERHEAD: Final = 8  # bytes of a frame beside its payload
LARGEST: Final = 131_072  # bytes of one frame, as pika negotiates it

_FRAME: Final = Struct(">BHI")
_METHOD: Final = Struct(">I")
_SIZE: Final = Struct(">Q")
_CONFIRM: Final = Struct(">IQB")
_CODE: Final = Struct(">H")
_END: Final = b"\xce"


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Yield (kind, channel, payload) of every frame that is whole now. Raises pika's InvalidFrameError."""
        data = self._rest + data
        at, end = 0, len(data)
        while end - at >= OVERHEAD:
            kind, channel, size = _FRAME.unpack_from(data, at)
            if kind not in (METHOD, HEADER, BODY, HEARTBEAT) or size > LARGEST:
                raise InvalidFrameError("the peer speaks something else than AMQP 0-9-1")
            stop = at + 7 + size
            if stop >= end:
                break
            if data[stop] != 0xCE:
                raise InvalidFrameError("a frame doesn't end where it says")
            yield kind, channel, data[at + 7 : stop]
            at = stop + 1
        self._rest = data[at:]


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Write one frame."""
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END


def publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """Write the method of a mandatory publish: what can't be routed comes back."""
    names = (name.encode() for name in (exchange, routing_key))
    strings = b"".join(bytes((len(name),)) + name for name in names)
    return frame(METHOD, channel, b"\x00\x3c\x00\x28\x00\x00" + strings + b"\x01")


def header(channel: int, size: int, properties: BasicProperties) -> bytes:
    """Write the content header of a message of *size* bytes."""
    return Header(channel, size, properties).marshal()


def bodies(channel: int, body: bytes, most: int) -> Iterator[bytes]:
    """Write *body* as frames of at most *most* bytes each, framing included."""
    step = most - OVERHEAD
    for at in range(0, len(body), step):
        yield frame(BODY, channel, body[at : at + step])


def ack(channel: int, tag: int, multiple: bool) -> bytes:
    """Acknowledge one delivery, or (*multiple*) all up to it."""
    return frame(METHOD, channel, _CONFIRM.pack(ACK, tag, multiple))


def reject(channel: int, tag: int, requeue: bool) -> bytes:
    """Refuse one delivery: back into the queue, or to where the queue sends its dead letters."""
    return frame(METHOD, channel, _CONFIRM.pack(60 << 16 | 90, tag, requeue))


def read_method(payload: bytes) -> int:
    """Return class and number of a method, as one integer."""
    number: int = _METHOD.unpack_from(payload)[0]
    return number


def read_confirm(payload: bytes) -> tuple[int, bool]:
    """Read an ack or nack of the broker: (publish number, it and all before it)."""
    _, tag, bits = _CONFIRM.unpack_from(payload)
    return tag, bool(bits & 1)


def read_deliver(payload: bytes) -> tuple[int, bool]:
    """Read a delivery: (delivery tag, whether the broker delivered it before)."""
    at = 5 + payload[4]
    return _SIZE.unpack_from(payload, at)[0], bool(payload[at + 8])


def read_reason(payload: bytes) -> str:
    """Read why the broker returns a message or closes a connection: ``312 NO_ROUTE``."""
    code = _CODE.unpack_from(payload, 4)[0]
    return f"{code} {payload[7 : 7 + payload[6]].decode('utf-8', 'replace')}"


def read_header(payload: bytes) -> tuple[int, BasicProperties]:
    """Read a content header: (body size, properties).

    Properties after one that can't be read are left out: a message must not block its queue for a strange header.
    """
    properties: Any = BasicProperties()  # type: ignore[no-untyped-call]
    with suppress(Exception):
        properties.decode(payload, 12)
    return _SIZE.unpack_from(payload, 4)[0], properties
