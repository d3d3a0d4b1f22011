"""The ASGI bridge on real sockets: what a connection must put up with, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from exchange.asgi import Bounds, Listener, listen
from exchange.observability import Metrics, Probes, Pulse, pages

SHORT = Bounds(connections=3, header_seconds=0.5, header_bytes=2000, stall_seconds=0.5, idle_seconds=0.5,
               linger_seconds=0.5)  # fmt: skip
PATIENCE_SECONDS = 6.0  # of the tests; the sweep comes once a second


class Echo:
    """An app that answers with the body, once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.was_asked = asyncio.Event()
        self.cut = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.was_asked.set()
        body = b""
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.cut += 1
                return
            body += event["body"]
            if not event["more_body"]:
                break
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


class Served:
    """A listener and the connections that a test made to it."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.url = f"http://127.0.0.1:{listener.port}/"
        self._writers: list[asyncio.StreamWriter] = []

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
        await self.listener.stop(0.1)


@asynccontextmanager
async def serving(app: Any, **more: Any) -> AsyncIterator[Served]:
    served = Served(await listen(app, **more))
    try:
        yield served
    finally:
        await served.close()


async def said(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes until the far side hangs up, one way or the other."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    return b""


def post(body: bytes, declared: int | None = None, headers: str = "") -> bytes:
    length = len(body) if declared is None else declared
    return f"POST / HTTP/1.1\r\nHost: switch\r\n{headers}Content-Length: {length}\r\n\r\n".encode() + body


async def test_an_answer_comes_at_once_and_the_connection_stays() -> None:
    async with serving(Echo()) as served:
        reader, writer = await served.dial()
        began = time.perf_counter()
        for _ in range(20):
            writer.write(post(b"ping"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(4) == b"ping"
            assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
        assert time.perf_counter() - began < 0.4, "40 ms each would be Nagle waiting for an ACK"
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(Echo()) as served:
        reader, writer = await served.dial()
        writer.write(post(b"one") + post(b"two", headers="Expect: 100-continue\r\n") + post(b"three"))
        for body in (b"one", b"two", b"three"):
            await reader.readuntil(b"\r\n\r\n")
            if body == b"two":
                await reader.readuntil(b"\r\n\r\n")  # after the 100 came the 200
            assert await reader.readexactly(len(body)) == body
        writer.close()


async def test_a_head_request_gets_its_answer() -> None:
    async with serving(Echo()) as served, httpx.AsyncClient() as client:
        assert (await client.head(served.url)).status_code == 200
        assert (await client.post(served.url, content=b"still in step")).content == b"still in step"


async def test_bytes_that_are_no_http_get_a_problem() -> None:
    async with serving(Echo()) as served:
        reader, writer = await served.dial()
        writer.write(b"\x16\x03\x01\x02\x00 not http\r\n\r\n")
        answer = await said(reader)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"application/problem+json" in answer


async def test_a_header_that_never_ends_is_cut() -> None:
    async with serving(Echo(), bounds=SHORT) as served:
        reader, writer = await served.dial()
        writer.write(b"GET / HTTP/1.1\r\nHost: sw")
        assert (await said(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_header_that_is_too_large_is_cut() -> None:
    async with serving(Echo(), bounds=SHORT) as served:
        reader, writer = await served.dial()
        writer.write(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 3000)
        assert (await said(reader)).startswith(b"HTTP/1.1 431 ")


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(Echo(), bounds=SHORT) as served:
        reader, _ = await served.dial()
        assert await said(reader) == b""


async def test_a_connection_that_says_nothing_more_is_closed() -> None:
    async with serving(Echo(), bounds=SHORT) as served:
        reader, writer = await served.dial()
        writer.write(post(b"ping"))
        assert (await said(reader)).endswith(b"ping")


async def test_a_body_that_stops_is_cut_and_the_app_is_told() -> None:
    app = Echo()
    async with serving(app, bounds=SHORT) as served:
        reader, writer = await served.dial()
        writer.write(post(b"half", declared=1000))
        assert (await said(reader)).startswith(b"HTTP/1.1 408 ")
        assert app.cut == 1


async def test_a_body_that_drips_is_cut_though_it_never_stops() -> None:
    app = Echo()
    async with serving(app, bounds=SHORT) as served:
        reader, writer = await served.dial()
        writer.write(post(b"", declared=1000))

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.1)

        dripping = asyncio.ensure_future(drip())
        assert (await said(reader)).startswith(b"HTTP/1.1 408 ")
        assert app.cut == 1
        dripping.cancel()


async def test_a_slow_app_is_not_the_peers_fault() -> None:
    app = Echo()
    app.may_answer.clear()
    async with serving(app, bounds=SHORT) as served:
        reader, writer = await served.dial()
        writer.write(post(b"ping"))
        await asyncio.sleep(1.6)  # longer than every bound, and a sweep
        app.may_answer.set()
        assert (await asyncio.wait_for(reader.readuntil(b"ping"), 1)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_nobody_waited_for_is_read_away_but_not_for_ever() -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serving(refusing, bounds=SHORT) as served:
        reader, writer = await served.dial()
        writer.write(post(b"x" * 1000, declared=10**9))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")

        async def flood() -> None:
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0.05)

        flooding = asyncio.ensure_future(flood())
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), PATIENCE_SECONDS)
        flooding.cancel()
        await asyncio.wait((flooding,))


async def test_one_connection_too_many_is_told_so() -> None:
    async with serving(Echo(), bounds=SHORT) as served:
        open_ones = [await served.dial() for _ in range(3)]
        reader, writer = await served.dial()
        writer.write(post(b"ping"))
        answer = await said(reader)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5\r\n" in answer
        open_ones[0][1].write(post(b"ping"))
        assert (await open_ones[0][0].readuntil(b"ping")).startswith(b"HTTP/1.1 200 ")


async def test_far_too_many_connections_are_cut() -> None:
    async with serving(Echo(), bounds=SHORT) as served:
        many = [await served.dial() for _ in range(3 + 64 + 5)]
        many[-1][1].write(post(b"ping"))
        assert await said(many[-1][0]) == b""


async def test_a_stop_lets_a_request_finish_and_takes_no_new_connection() -> None:
    app = Echo()
    app.may_answer.clear()
    async with serving(app) as served:
        reader, writer = await served.dial()
        idle_reader, _ = await served.dial()
        writer.write(post(b"ping"))
        await app.was_asked.wait()
        stopping = asyncio.ensure_future(served.listener.stop(5))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await served.dial()
        app.may_answer.set()
        answer = await said(reader)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
        assert await said(idle_reader) == b""
        await stopping


async def test_a_stop_does_not_wait_for_ever() -> None:
    app = Echo()
    app.may_answer.clear()
    async with serving(app) as served:
        _, writer = await served.dial()
        writer.write(post(b"ping"))
        await app.was_asked.wait()
        began = time.perf_counter()
        await served.listener.stop(0.2)
        assert time.perf_counter() - began < 2


async def test_a_unix_socket_is_for_our_own_user_and_outlives_no_crash(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    left_behind = socket.socket(socket.AF_UNIX)
    left_behind.bind(path)
    left_behind.close()
    async with serving(Echo(), unix=path) as served:
        assert served.listener.port == 0
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path)) as client:
            assert (await client.post("http://switch/", content=b"ping")).content == b"ping"


async def test_an_address_that_is_taken_is_an_error_not_an_exit() -> None:
    async with serving(Echo()) as served:
        with pytest.raises(OSError, match="in use"):
            await listen(Echo(), port=served.listener.port)


async def test_the_operators_pages_are_served_on_a_listener_of_their_own() -> None:
    from twisted.internet import reactor

    pulse = Pulse(reactor, interval_seconds=0.01)
    pulse.start()
    app = pages(Metrics(Probes(), pulse), pulse, lambda: {"store": (True, "open")})
    async with serving(app) as served, httpx.AsyncClient(base_url=served.url) as client:
        for path, expected in (("metrics", "switch_reactor_lag_seconds"), ("livez", "true"), ("readyz", "store")):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert expected in answer.text
        assert (await client.get("elsewhere")).status_code == 404
    pulse.stop()
