"""A client of the SFTP server's session, without SSH between them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
from structlog.testing import LogCapture

from adapters import _sftp_wire as wire
from adapters._sftp_session import Session
from adapters._sftp_tree import Desk, Tree
from adapters._spool import Spooler
from adapters.sftp_server import SftpServer
from exchange.model import Endpoint, Parcel, Spool

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "B somebody@example.com"
WRITE = wire.FOR_WRITING | wire.CREATING | wire.TRUNCATING


def endpoint(user: str = "ent-1", **options: Any) -> Endpoint:
    return Endpoint(f"sftp-{user}", "ENT0001", "sftp_server", SftpServer.Options(user=user, keys=(KEY,), **options))


class Client:
    """A session and the one who speaks with it."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.root = directory / "root"
        self.taken: list[Parcel] = []
        self.failure: Exception | None = None
        self.logged = LogCapture()
        self.log = structlog.wrap_logger(structlog.PrintLogger(), processors=[self.logged])
        self.spooler = Spooler(directory / "spool", 1000, 5000)
        desk = Desk(self.take, self.spooler, self.log, options.pop("keeps_sent", True))
        self.tree = Tree(self.root, endpoint(**options), desk)
        self.tree.prepare()
        self.sent = bytearray()
        self.clogged = False
        self.working: set[asyncio.Task[None]] = set()
        self.session = Session(self.tree, self.sent.extend, lambda: self.clogged, self.working, self.log)
        self._requests = 0

    async def take(self, parcel: Parcel, where: Endpoint) -> str:
        if self.failure:
            raise self.failure
        self.taken.append(Parcel(parcel.name, parcel.read()))
        if isinstance(parcel.body, Spool):
            parcel.body.path.unlink()
        return "20261122-1"

    def ask(self, kind: int, *fields: bytes | int) -> None:
        self._requests += 1
        self.session.receive(wire.packet(kind, self._requests, b"".join(map(field, fields))))

    def replies(self) -> Iterator[tuple[int, int, bytes]]:
        while self.sent:
            length, kind, request = struct.unpack_from(">LBL", self.sent)
            yield kind, request, bytes(self.sent[9 : 4 + length])
            del self.sent[: 4 + length]

    async def call(self, kind: int, *fields: bytes | int) -> tuple[int, bytes]:
        """Ask one thing; return the kind of reply and its payload."""
        self.ask(kind, *fields)
        while self.working:
            await asyncio.wait(self.working)
        [(reply, request, payload)] = self.replies()
        assert request == self._requests
        return reply, payload

    async def status(self, kind: int, *fields: bytes | int) -> tuple[int, str]:
        """Ask one thing that a status answers; return its code and text."""
        reply, payload = await self.call(kind, *fields)
        assert reply == wire.STATUS
        return payload[3], wire.Fields(payload[4:]).string().decode()

    async def open(self, path: str, flags: int = WRITE) -> bytes:
        reply, payload = await self.call(wire.OPEN, path.encode(), flags, 0)
        assert reply == wire.HANDLE, payload
        return wire.Fields(payload).string()

    async def begin(self, path: str, body: bytes) -> bytes:
        """Open a file and write into it, once."""
        handle = await self.open(path)
        await self.call(wire.WRITE, handle, offset(0), body)
        return handle

    async def put(self, path: str, body: bytes) -> tuple[int, str]:
        handle = await self.open(path)
        for at in range(0, len(body), 700):
            await self.call(wire.WRITE, handle, offset(at), body[at : at + 700])
        return await self.status(wire.CLOSE, handle)

    async def names(self, path: str) -> list[str]:
        handle = wire.Fields((await self.call(wire.OPENDIR, path.encode()))[1]).string()
        found: list[str] = []
        while True:
            reply, payload = await self.call(wire.READDIR, handle)
            if reply == wire.STATUS:
                return sorted(found)
            fields = wire.Fields(payload)
            for _ in range(fields.u32()):
                found.append(fields.string().decode())
                fields.string()
                fields.size_attribute()

    def left_over(self) -> list[Path]:
        return list(self.spooler.directory.iterdir()) if self.spooler.directory.exists() else []


class Raw(bytes):
    """Goes into a packet as it is; other bytes are counted strings."""


def offset(number: int) -> Raw:
    return Raw(number.to_bytes(8))


def field(value: bytes | int) -> bytes:
    if isinstance(value, int):
        return struct.pack(">L", value)
    return value if isinstance(value, Raw) else wire.string(value)
