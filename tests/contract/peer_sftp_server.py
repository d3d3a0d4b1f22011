"""The peer of the sftp_server adapter: an enterprise's client (paramiko) with a key of its own."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paramiko

from adapters.sftp_server import SftpServer
from exchange.model import Endpoint
from exchange.options import Strict
from tests.contract.peers import Stage

KEYS = [paramiko.ECDSAKey.generate(bits=256) for _ in range(2)]


def line(key: paramiko.PKey) -> str:
    """Write a key as in ``authorized_keys``."""
    return f"{key.get_name()} {key.get_base64()}"


class PEER:
    adapter = SftpServer

    async def open(self, stage: Stage) -> tuple[Endpoint, Endpoint]:
        self._boxes = stage.directory / "adapter" / "users" / "ent-1"
        self._thread = ThreadPoolExecutor(1)  # of our own: the adapter needs the common ones
        self._client: paramiko.SFTPClient | None = None
        self._transport: paramiko.Transport | None = None
        one, two = (
            Endpoint(f"sftp-{n}", f"ENT000{n}", "sftp_server", SftpServer.Options(user=f"ent-{n}", keys=(line(key),)))
            for n, key in enumerate(KEYS, 1)
        )
        return one, two

    def settings(self) -> Strict | None:
        return SftpServer.Settings(host="127.0.0.1", port=0)

    async def serving(self, adapter: Any) -> None:
        self._port = adapter.port

    async def give(self, name: str, body: bytes) -> bool:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._put, name, body)
        return True

    async def received(self) -> list[tuple[str, bytes]]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._fetch)

    async def fail(self) -> None:
        inbox = self._boxes / "InBox"
        if inbox.is_dir():
            inbox.rename(self._boxes / "away")
        inbox.parent.mkdir(parents=True, exist_ok=True)
        inbox.write_bytes(b"")

    async def recover(self) -> None:
        (self._boxes / "InBox").unlink()
        if (self._boxes / "away").is_dir():
            (self._boxes / "away").rename(self._boxes / "InBox")

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._thread.shutdown()

    def _connected(self) -> paramiko.SFTPClient:
        if self._transport is None or not self._transport.is_active() or self._client is None:
            self._transport = paramiko.Transport(("127.0.0.1", self._port))
            self._transport.connect(username="ent-1", pkey=KEYS[0])
            self._client = paramiko.SFTPClient.from_transport(self._transport)
        assert self._client is not None
        return self._client

    def _put(self, name: str, body: bytes) -> None:
        self._connected().putfo(io.BytesIO(body), f"/OutBox/{name}")

    def _fetch(self) -> list[tuple[str, bytes]]:
        client, found = self._connected(), []
        for box in ("InBox", "FailBox"):
            for name in sorted(client.listdir(f"/{box}")):
                with client.open(str(Path("/", box, name))) as file:
                    found.append((name, file.read()))
        return found
