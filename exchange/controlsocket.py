"""The line between ``switchctl`` and the daemon: a Unix socket that only the daemon's own user and root may open.

Where the settings name a group, its members may, too: each under an account of one's own, so that two persons are two.

A request is one line of JSON, ``{"verb": "message.show", "arguments": {...}}``; the answer is one line,
``{"result": ...}`` or ``{"error": {"code", "kind", "en", "zh", "problems"}}``. Who asks is told by the kernel, not by
the asker.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

from exchange.errors import ConfigurationError, ExchangeError

LIMIT: Final = 256 * 1024 * 1024  # bytes of one line: 70 000 parties fit, and 70 000 keys with certificates
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


async def serve_control(call: Call, path: Path, log: Any, group: str = "") -> ControlSocket:
    """Answer requests on a Unix socket at *path* with ``call(verb, arguments, actor)``.

    Raises ConfigurationError where it can't be opened to *group*.
    """
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
    listening = ControlSocket(server, path)
    try:
        _open_to(path, group)
    except ConfigurationError:
        await listening.stop()
        raise
    return listening


def _open_to(path: Path, group: str) -> None:
    if not group:
        return
    try:
        shutil.chown(path, group=group)
        path.chmod(0o660)
    except (LookupError, OSError) as why:
        problem = f"control_group: {path} can't be given to the group {group!r}: {why}"
        raise ConfigurationError([problem], code="SWX-4120") from why


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
