"""The line between ``switchctl`` and the daemon: a Unix socket that only the daemon's own user and root may open.

A request is one line of JSON, ``{"verb": "message.show", "arguments": {...}}``; the answer is one line,
``{"result": ...}`` or ``{"error": {"code", "kind", "en", "zh", "problems"}}``. Who asks is told by the kernel, not by
the asker.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

from exchange.errors import ConfigurationError, ExchangeError

LIMIT: Final = 64 * 1024 * 1024  # bytes of one line: a routing table of 70 000 parties fits
Call = Callable[[str, Mapping[str, Any], str], Awaitable[Any]]


@frozen
class ControlSocket:
    """The listening end."""

    _server: asyncio.Server
    _path: Path

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        self._server.close()
        self._path.unlink(missing_ok=True)


async def serve_control(call: Call, path: Path, log: Any) -> ControlSocket:
    """Answer requests on a Unix socket at *path* with ``call(verb, arguments, actor)``."""
    _make_room(path)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            actor = _peer(writer.get_extra_info("socket"))
            while line := await reader.readline():
                writer.write(await _answer(call, line, actor, log) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # gone, or a line over the limit
        finally:
            writer.close()

    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(connected, str(path), limit=LIMIT)
    finally:
        os.umask(mask)
    return ControlSocket(server, path)


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        path.unlink()  # left by a daemon that was killed


def _peer(connection: socket.socket) -> str:
    """Return the name of the user at the other end."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", packed)
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid{user}"


async def _answer(call: Call, line: bytes, actor: str, log: Any) -> bytes:
    try:
        request = orjson.loads(line)
        result = await call(request["verb"], request.get("arguments", {}), actor)
        return orjson.dumps({"result": result}, default=str)
    except ExchangeError as why:
        return orjson.dumps({"error": _shown(why)})
    except Exception as why:
        log.error("control.failed", error=repr(why))
        return orjson.dumps({"error": {"kind": "Unexpected", "code": "SWX-9000", "en": repr(why), "zh": repr(why)}})


def _shown(why: ExchangeError) -> dict[str, Any]:
    problems = list(why.problems) if isinstance(why, ConfigurationError) else []
    return {"kind": type(why).__name__, "code": why.code, "en": why.en, "zh": why.zh, "problems": problems}
