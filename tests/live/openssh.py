"""An SFTP server on loopback, and OpenSSH's clients and paramiko pointed at it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import paramiko
import pytest
import structlog
from argon2 import PasswordHasher
from twisted.logger import LogLevel, globalLogPublisher

from adapters.sftp_server import SftpServer
from exchange.model import Endpoint
from exchange.ports import World
from tests.contract.peers import Stage

needs_openssh = pytest.mark.skipif(
    shutil.which("sftp") is None and "CI" not in os.environ, reason="openssh-client is not installed"
)

Result = TypeVar("Result")
BODY = b"<CEB311Message/>" * 256
SECRET = "fictitious-Passw0rd"
MIB = 1 << 20


class Server:
    """An adapter with one enterprise, and OpenSSH's clients pointed at it."""

    def __init__(self, stage: Stage, keys: dict[str, Path], **more: Any) -> None:
        from twisted.internet import reactor

        self.stage, self.taker, self.keys, self.directory = stage, stage.taker, keys, stage.directory
        limits = {name: more.pop(name) for name in ("limit_bytes", "spool_bytes") if name in more}
        self.options = {
            "user": "ent-1",
            "keys": [keys[name].with_suffix(".pub").read_text() for name in ("ed25519", "rsa", "ecdsa")],
            "password": {"argon2": PasswordHasher(time_cost=1, memory_cost=1024).hash(SECRET)},
            "names": more.pop("names", "utf-8"),
        }
        self.endpoint = Endpoint("one", "ENT0001", "sftp_server", SftpServer.Options.model_validate(self.options))
        self.other = Endpoint(
            "two", "ENT0002", "sftp_server", SftpServer.Options.model_validate({**self.options, "user": "ent-2"})
        )
        world = World(
            take=stage.taker,
            archive=None,  # type: ignore[arg-type]
            reactor=reactor,
            now=lambda: time.time_ns() // 1000,
            log=structlog.wrap_logger(structlog.PrintLogger(), processors=[stage.log]),
            directory=str(self.directory / "data"),
            settings=SftpServer.Settings(host="127.0.0.1", port=0, **more),
            **limits,
        )
        self.adapter = SftpServer(world)
        self.box = self.directory / "data" / "users" / "ent-1"
        self.threads = ThreadPoolExecutor(60)  # for clients; the adapter needs the common ones

    async def serve(self, *endpoints: Endpoint) -> None:
        await self.adapter.serve({endpoint.name: endpoint for endpoint in endpoints})

    def flags(self, key: str = "ed25519", *more: str) -> list[str]:
        settings = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR"]
        options = [word for setting in (*more, *settings) for word in ("-o", setting)]
        return ["-F", "none", "-i", str(self.keys[key]), *options]

    async def run(self, *command: str, text: str = "", **more: Any) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1, stderr=-2, **more)
        async with asyncio.timeout(60):
            output, _ = await process.communicate(text.encode())
        return process.returncode or 0, output.decode()

    async def sftp(self, *commands: str, key: str = "ed25519", user: str = "ent-1", more: tuple[str, ...] = ()) -> str:
        """Run a batch; return what was printed, with ``FAILED`` at its end where a command failed."""
        flags = ["-P", str(self.adapter.port), *self.flags(key, *more)]
        status, output = await self.run("sftp", "-b", "-", *flags, f"{user}@127.0.0.1", text="\n".join(commands) + "\n")
        return output + ("FAILED" if status else "")

    async def ssh(self, *words: str, more: tuple[str, ...] = (), key: str = "ed25519") -> tuple[int, str]:
        return await self.run("ssh", "-p", str(self.adapter.port), *self.flags(key, *more), "ent-1@127.0.0.1", *words)

    async def thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)

    def paramiko(self, user: str = "ent-1", password: str = "") -> paramiko.SFTPClient:
        """Connect; blocks."""
        transport = paramiko.Transport(("127.0.0.1", self.adapter.port))
        try:
            if password:
                transport.connect(username=user, password=password)
            else:
                transport.connect(username=user, pkey=paramiko.Ed25519Key(filename=str(self.keys["ed25519"])))
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
        except BaseException:
            transport.close()
            raise
        return client

    def file(self, name: str, body: bytes = BODY) -> str:
        path = self.directory / name
        path.write_bytes(body)
        return str(path)

    def lying(self) -> list[str]:
        return sorted(str(path.relative_to(self.box)) for path in self.box.rglob("*") if path.is_file())

    def spooled(self) -> int:
        return sum(path.stat().st_size for path in (self.directory / "data").glob("spool/*"))

    def refusals(self) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self.stage.log.entries if entry["event"] == "sftp.login_refused"]


def line(client: paramiko.SFTPClient) -> paramiko.Transport:
    channel = client.get_channel()
    assert channel
    return channel.get_transport()


def leave(client: paramiko.SFTPClient) -> None:
    """Close the connection, and not just the channel in it."""
    line(client).close()


@asynccontextmanager
async def served(directory: Path, keys: dict[str, Path], **more: Any) -> AsyncIterator[Server]:
    server = Server(Stage(directory), keys, **more)
    await server.serve(server.endpoint, server.other)
    try:
        yield server
    finally:
        server.taker.gate.set()
        await server.adapter.stop()
        server.threads.shutdown()


def make_keys(directory: Path) -> dict[str, Path]:
    """Make user keys of every kind, and one that nobody knows."""
    kinds = {"ed25519": "ed25519", "rsa": "rsa", "ecdsa": "ecdsa", "stranger": "ed25519"}
    for name, kind in kinds.items():
        bits = ["-b", "3072"] if kind == "rsa" else []
        path = str(directory / name)
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", "test", "-f", path], check=True)
    return {name: directory / name for name in kinds}


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Fail where Twisted logged an error: whatever clients do, it is in our own log lines or in none."""
    noise: list[Any] = []

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.warn:
            noise.append(event)

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert not noise
