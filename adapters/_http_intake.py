"""The hot road of the HTTP API: a raw body in, an id out once it is on disk."""

from __future__ import annotations

import itertools
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from adapters._http_keys import Gate
from adapters._http_problems import Problem
from adapters._spool import Spooler, discard
from exchange.model import Endpoint, Parcel, Spool
from exchange.ports import World

_JSON: Final = (b"content-type", b"application/json")
_PLAIN: Final = (b"", b"identity")


class Intake:
    """A plain ASGI callable: no framework and no model between the socket and the switch."""

    def __init__(self, world: World, gate: Gate) -> None:
        self._world, self._gate = world, gate
        self._spooler = Spooler.of(world)
        self._numbers = itertools.count(1)

    def sweep(self) -> None:
        """Remove half bodies that a crash left behind; blocks."""
        self._spooler.sweep()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer ``POST /v1/messages``. Raises Problem, and what ``World.take`` raises, before anything is sent."""
        headers = dict(scope["headers"])
        endpoint = self._gate.admit(scope, headers)
        if headers.get(b"content-encoding", b"") not in _PLAIN:
            raise Problem("SWX-8060", "send the message as it is, without Content-Encoding", "请发送未压缩的报文")
        self._spooler.check(int(headers.get(b"content-length", b"0")))
        name = self._name(headers.get(b"x-file-name", b""))
        body = await self._read(receive)
        if body is None:
            return  # the client is gone
        id = await self._take(Parcel(name, body), endpoint)
        answer = b'{"id":"%s","state":"RECEIVED"}' % id.encode()
        location = b"/v1/messages/" + id.encode()
        lines = [_JSON, (b"content-length", b"%d" % len(answer)), (b"location", location)]
        await send({"type": "http.response.start", "status": 202, "headers": lines})
        await send({"type": "http.response.body", "body": answer})

    async def _read(self, receive: Any) -> bytes | Spool | None:
        """Return the body, in a file of ours if it is large; None where it was cut short."""
        event = await receive()
        if event["type"] == "http.request" and not event["more_body"] and len(event["body"]) <= self._world.spool_bytes:
            return bytes(event["body"])
        reception = self._spooler.begin()
        try:
            while event["type"] == "http.request":
                reception.add(event["body"])
                if not event["more_body"]:
                    return await reception.complete()
                event = await receive()
        except BaseException:
            reception.discard()
            raise
        reception.discard()
        return None

    async def _take(self, parcel: Parcel, endpoint: Endpoint) -> str:
        try:
            return await self._world.take(parcel, endpoint)
        except Exception:
            discard(parcel.body)
            raise

    def _name(self, quoted: bytes) -> str:
        """Return the file name that the client gave, or one of our own that comes only once."""
        if not quoted:
            return f"http-{self._world.now()}-{next(self._numbers)}"
        try:
            name = unquote_to_bytes(quoted).decode()
        except UnicodeDecodeError:
            raise Problem.unreadable(
                "X-File-Name", "expected UTF-8, percent-encoded", "应为百分号编码的 UTF-8"
            ) from None
        if name in (".", "..") or "/" in name or "\\" in name or not name.isprintable() or len(name.encode()) > 255:
            raise Problem.unreadable("X-File-Name", "expected a file name without slashes, at most 255 bytes",
                             "应为不含斜杠的文件名，最长 255 字节")  # fmt: skip
        return name
