"""The HTTP adapter, what its tests ask of it, and all that it did to its world."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import httpx
from twisted.internet.task import Clock

from adapters.http_api import HttpApi, Options, Settings, new_key
from exchange.model import Endpoint, Parcel
from exchange.observability import recorded
from exchange.ports import World
from tests.fake_archive import NOON, FakeArchive

LIMIT_BYTES = 4096
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?><CEB311Message guid="4"/>'
KEY, HASH = new_key()
OTHER_KEY, OTHER_HASH = new_key()
ENT1 = Endpoint("ent1-http", "ENT1", "http_api", Options(keys=(HASH,)))
ENT2 = Endpoint("ent2-http", "ENT2", "http_api", Options(keys=(OTHER_HASH,)))
BEARER = {"Authorization": f"Bearer {KEY}"}


class Bench:
    """An adapter with keys of two parties; it listens only when it is served."""

    def __init__(self, directory: Path, reactor: Any = None, **settings: Any) -> None:
        self.taken: list[tuple[Parcel, Endpoint]] = []
        self.failure: Exception | None = None
        self.may_take = asyncio.Event()
        self.may_take.set()
        self.archive = FakeArchive()
        self.clock = Clock()
        self.now = NOON
        self.log, self.events = recorded()
        self._numbers = itertools.count(1)
        world = World(
            take=self._take, archive=self.archive, reactor=reactor or self.clock, now=lambda: self.now, log=self.log,
            directory=str(directory), limit_bytes=LIMIT_BYTES, spool_bytes=1024, settings=Settings(port=0, **settings),
        )  # fmt: skip
        self.api = HttpApi(world)

    async def _take(self, parcel: Parcel, endpoint: Endpoint) -> str:
        if self.failure:
            raise self.failure
        self.taken.append((parcel, endpoint))
        await self.may_take.wait()
        return f"20261122-{next(self._numbers)}"

    async def know(self, *endpoints: Endpoint) -> None:
        """Serve, but for the listener."""
        await self.api._gate.keys.replace(endpoints)

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.api, client=("192.0.2.7", 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://switch") as client:
            return await client.request(method, path, **more)


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert answer.status_code == status == problem["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "code", "zh"}
    assert problem["code"] == code
    return problem
