"""Serve ASGI apps inside the running asyncio reactor: the one place where uvicorn meets it.

uvicorn brings the HTTP/1.1 connection, parsed by httptools; its server, which owns signals and process, stays out.
What a connection lacks is added here: bounds on the time and size of a request's header, on the pace of its body and
on the number of connections. One sweep a second looks after all connections, because a timer per request would cost
more than parsing it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import math
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from exchange.tls import Files, Renewable

__all__ = ["App", "Bounds", "Listener", "listen"]

App = Callable[[Any, Any, Any], Awaitable[None]]  # scope, receive, send

_TICK_SECONDS: Final = 1.0
_SLACK: Final = 64  # connections past the limit that are told so; those past it are cut
_SAID: Final = {
    400: ("the request is not HTTP/1.1", "请求不符合 HTTP/1.1"),
    408: ("the request did not arrive in time; send it again", "请求未在规定时间内到达, 请重新发送"),
    431: ("the request's header is too large; send fewer or shorter fields", "请求头过大, 请减少或缩短字段"),
    503: ("too many connections; try again in 5 seconds", "连接数已达上限, 请 5 秒后重试"),
}


@frozen
class Bounds:
    """What one listener puts up with."""

    connections: int = 800  # at once; below the usual limit of 1024 open files
    header_seconds: float = 10.0  # for a request's header, and for the first byte of a new connection
    header_bytes: int = 32 * 1024
    stall_seconds: float = 30.0  # a body may pause this long
    body_bytes_per_second: float = 1024.0  # a body slower than this, on average, counts as paused
    idle_seconds: float = 75.0  # between two requests of one connection
    linger_seconds: float = 5.0  # reading on, unheard, after an answer that didn't wait for the body


def _problem(status: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the body and headers of an answer that closes the connection (RFC 9457)."""
    en, zh = _SAID[status]
    title = http.HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": en, "zh": zh}
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *([(b"retry-after", b"5")] if status == 503 else []),
    ]
    return body, headers


def _raw(status: int) -> bytes:
    """Write such an answer as it travels."""
    body, headers = _problem(status)
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode(), *(b": ".join(pair) for pair in headers)]
    return b"\r\n".join([*lines, b"", body])


async def _crowded(scope: Any, receive: Any, send: Any) -> None:
    """Answer 503: this connection is one too many."""
    body, headers = _problem(503)
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Joined:
    """Stands before the transport for one answer: the head waits for the body, to be one packet, one system call."""

    __slots__ = ("_cycle", "_head", "_transport", "close", "is_closing")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._transport = cycle, cycle.transport
        self._head: bytes | None = None
        self.close, self.is_closing = self._transport.close, self._transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._cycle.response_started:  # 100 Continue
            self._transport.write(data)
        elif self._head is None:
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""


class _State(ServerState):
    """uvicorn's book of a server's connections, and a bell for when the last one is gone."""

    connections: set[_Connection]  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.vacated = asyncio.Event()


class _Connection(HttpToolsProtocol):
    """uvicorn's connection with an hour-glass: past ``due`` (loop time) the sweep ends it."""

    server_state: _State
    connections: set[_Connection]  # type: ignore[assignment]

    def __init__(self, bounds: Bounds, config: Config, state: _State, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, state, {}, loop)
        self.bounds = bounds
        self.heading = False  # inside a request's header
        self.heading_bytes = 0
        self.due = math.inf
        self.peer: dict[str, Any] = {}  # ASGI's extension "tls": the certificate of a client that has shown one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True) if tls else None
        if shown:
            self.peer = {"extensions": {"tls": {"client_cert_chain": [ssl.DER_cert_to_PEM_cert(shown)]}}}
        self.due = self.loop.time() + self.bounds.header_seconds
        excess = len(self.connections) - self.bounds.connections
        if excess > _SLACK:
            transport.abort()
        elif excess > 0:
            self.app = _crowded

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.connections:
            self.server_state.vacated.set()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.heading:
            self.heading_bytes += len(data)
            if self.heading_bytes > self.bounds.header_bytes:
                self.refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.peer:
            self.scope.update(self.peer)  # type: ignore[typeddict-item]
        self.heading, self.heading_bytes = True, 0
        self.due = self.loop.time() + self.bounds.header_seconds

    def on_headers_complete(self) -> None:
        self.heading = False
        self.due = self.loop.time() + self.bounds.stall_seconds
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["method"] != "HEAD":  # its answer has no body to wait for
            cycle.transport = _Joined(cycle)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        if not self.cycle.response_complete:
            bounds = self.bounds
            earned = self.due + len(body) / bounds.body_bytes_per_second
            self.due = min(earned, self.loop.time() + bounds.stall_seconds)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.due = self.loop.time() + self.bounds.idle_seconds if self.cycle.response_complete else math.inf

    def on_response_complete(self) -> None:
        """Go on to the next request; without uvicorn's timer, for the sweep knows ``due``."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self.heading:
            bounds = self.bounds
            self.due = self.loop.time() + (bounds.linger_seconds if self.cycle.more_body else bounds.idle_seconds)

    def send_400_response(self, msg: str) -> None:
        """Answer what httptools couldn't parse; uvicorn calls this."""
        self.refuse(400)

    def refuse(self, status: int) -> None:
        """Answer instead of the app, where no answer has begun, and close."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_raw(status))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def sweep(self, now: float) -> None:
        """End what is past due; where it is we who don't read on, the peer gets its time again."""
        if now < self.due:
            return
        if self.flow.read_paused:
            self.due = now + self.bounds.stall_seconds
            return
        working = self.cycle is not None and not self.cycle.response_complete
        if self.heading != working:  # half a header, or half a body
            self.refuse(408)
        else:  # silent from the start, idle, lingering; or half a pipelined header behind a request at work
            self.transport.abort()


class Listener:
    """A server that runs; *port* is the one bound, 0 where it is a Unix socket."""

    def __init__(self, server: asyncio.Server, state: _State, tls: Renewable | None = None) -> None:
        self._server = server
        self._tls = tls
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle
        address = server.sockets[0].getsockname()
        self.port: int = address[1] if isinstance(address, tuple) else 0
        self._tick()

    def _tick(self) -> None:
        now = self._loop.time()
        self._state.default_headers[:] = [(b"date", formatdate(usegmt=True).encode())]
        for connection in tuple(self._state.connections):
            connection.sweep(now)
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)

    def renew(self) -> Mapping[str, str]:
        """Read the files of TLS anew, if there are any: see ``tls.Renewing``."""
        return self._tls.renew() if self._tls else {}

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Close the door, let requests at work finish, then close every connection.

        A request that comes meanwhile on an open connection is still given to the app, which may refuse it. What
        works on after *grace_seconds* is cancelled.
        """
        self._server.close()
        await self._finish(grace_seconds)
        for task in tuple(self._state.tasks):
            task.cancel()
        await self._finish(1.0)
        self._timer.cancel()
        await self._hang_up()
        await self._server.wait_closed()

    async def _finish(self, seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while self._state.tasks and (left := deadline - self._loop.time()) > 0:
            for connection in self._state.connections:
                if connection.cycle is not None:
                    connection.cycle.keep_alive = False
            await asyncio.wait(self._state.tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _hang_up(self) -> None:
        """Close what is open; answers still on their way out get a second."""
        state = self._state
        state.vacated.clear()
        for connection in tuple(state.connections):
            connection.transport.close()
        if state.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(state.vacated.wait(), 1.0)
        for connection in tuple(state.connections):
            connection.transport.abort()


def _open_socket(host: str, port: int, unix: str) -> socket.socket:
    if not unix:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.create_server((host, port), family=family, backlog=2048)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; or else an answer waits 40 ms
        return opened
    path = Path(unix)
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()  # left behind by a process that was killed
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.bind(unix)
    path.chmod(0o600)  # nobody can connect before listen
    return opened


async def listen(
    app: App,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    unix: str = "",
    files: Files | None = None,
    bounds: Bounds = Bounds(),
) -> Listener:
    """Serve *app* on a TCP address, or on a Unix socket that only our own user may open.

    *files* turn TLS (1.2 and up) on, and can be read anew (``Listener.renew``). With a *client_ca* nobody gets through
    the handshake whose certificate isn't in that file, or issued by one that is; which one it was, the scope tells
    (``extensions.tls.client_cert_chain``). Raises OSError where the address or a file can't be had (ssl.SSLError, for a
    file that is no certificate or key, is one too).
    """
    loop = asyncio.get_running_loop()
    state = _State()
    config = Config(
        app, http=_Connection, ws="none", lifespan="off", loop="none", interface="asgi3", log_config=None,
        log_level="error", access_log=False, proxy_headers=False,
    )  # fmt: skip
    config.load()
    options: dict[str, Any] = {"backlog": 2048}
    tls = Renewable(files) if files else None
    if tls:
        options |= {"ssl": tls, "ssl_handshake_timeout": bounds.header_seconds, "ssl_shutdown_timeout": 1.0}
    create: Any = loop.create_unix_server if unix else loop.create_server
    server = await create(
        lambda: _Connection(bounds, config, state, loop), sock=_open_socket(host, port, unix), **options
    )
    return Listener(server, state, tls)
