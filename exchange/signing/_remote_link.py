"""Asking another switch over HTTPS: connections that are kept, one request on each at a time.

httptools, which parses what comes in, parses what comes back too; a client library would be one more dependency for a
single POST to a peer of our own kind.
"""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, field
from httptools import HttpParserError, HttpResponseParser

LARGEST: Final = 16 * 1024 * 1024  # bytes of an answer: a hundred signatures are some kilobytes
LONGEST: Final = 30.0  # seconds that a service rests which didn't answer
FAULTS: Final = (OSError, TimeoutError, HttpParserError, EOFError)  # ssl.SSLError is an OSError


class _Answer:
    """What httptools has read so far; it calls the methods that begin with ``on``."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete, self.keep = False, True

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"connection" and value.lower() == b"close":
            self.keep = False

    def on_body(self, body: bytes) -> None:
        self.body += body
        if len(self.body) > LARGEST:
            raise OSError(f"its answer is over {LARGEST} bytes")

    def on_message_complete(self) -> None:
        self.complete = True


@define(eq=False)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False
    begun: bool = False  # whether anything came back for the request at hand
    keep: bool = True

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self.begun = False
        self.writer.write(request)
        answer = _Answer()
        parser: Any = HttpResponseParser(answer)
        while not answer.complete:
            data = await self.reader.read(65_536)
            if not data:
                raise EOFError("it closed the connection")
            self.begun = True
            parser.feed_data(data)
        self.keep = answer.keep
        self.used = True
        return parser.get_status_code(), bytes(answer.body)


@define(eq=False)
class Link:
    """One service: its address, the connections that are idle, and how long it rests for not having answered."""

    url: str
    tls: ssl.SSLContext
    seconds: float  # for one request
    _idle: list[_Connection] = field(factory=list)
    _rests_until: float = 0.0
    _failures: int = 0

    @property
    def name(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    @property
    def rests(self) -> bool:
        """Tell whether it didn't answer of late: others are asked first."""
        return monotonic() < self._rests_until

    async def post(self, path: str, body: bytes, key: str) -> tuple[int, bytes]:
        """Send a request; return status and body of the answer. Raises one of ``FAULTS``; the service rests then.

        A kept connection may be gone by now: the request is sent once more over a new one, under the same
        Idempotency-Key *key*.
        """
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.name}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nIdempotency-Key: {key}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self._ask(head.encode() + body)
        except FAULTS as why:
            self._rests_until = monotonic() + min(LONGEST, 2.0**self._failures)
            self._failures += 1
            if isinstance(why, TimeoutError):
                raise TimeoutError(f"it gave no answer for {self.seconds:g} s") from None
            raise
        self._failures, self._rests_until = 0, 0.0
        return answer

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            answer = await connection.ask(request)
        except FAULTS:
            stale = connection.used and not connection.begun
            connection.writer.close()
            if not stale:
                raise
            self.close()  # all of them are from before
            return await self._ask(request)
        except BaseException:  # too late: whatever comes there now is no answer to the next request
            connection.writer.close()
            raise
        if connection.keep:
            self._idle.append(connection)
        else:
            connection.writer.close()
        return answer

    async def _connect(self) -> _Connection:
        place = urlsplit(self.url)
        return _Connection(*await asyncio.open_connection(place.hostname, place.port or 443, ssl=self.tls))

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().writer.close()
