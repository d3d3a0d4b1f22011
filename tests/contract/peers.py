"""What the adapter contract needs: a switch that can be slow or refuse, and a peer of every kind.

A kind joins the suite with a module ``tests/contract/peer_<kind>.py`` that holds a class ``PEER``; nothing else is
to be registered.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import structlog
from attrs import define, field
from structlog.testing import LogCapture

from exchange.model import Endpoint, Parcel, Spool
from exchange.options import Strict
from exchange.ports import Adapter, World

PATIENCE_SECONDS = 20.0


class Peer(Protocol):
    """The far side of one kind of endpoint."""

    adapter: type[Adapter]

    async def open(self, stage: Stage) -> tuple[Endpoint, Endpoint]:
        """Start the peer; return the endpoint to be tested, and a neighbour that may come and go."""

    def settings(self) -> Strict | None:
        """Return the settings of the kind, once the peer is open."""

    async def serving(self, adapter: Any) -> None:
        """Hear that the adapter serves from now on."""

    async def give(self, name: str, body: bytes) -> bool:
        """Hand in a file as a real peer would, once; return whether the switch said yes.

        Where the switch fetches by itself, no means that it left the file with the peer. Anything raised is a no, too.
        """

    async def received(self) -> list[tuple[str, bytes]]:
        """Return (name, body) of everything sent to the peer so far."""

    async def fail(self) -> None:
        """Make sending to the peer impossible."""

    async def recover(self) -> None:
        """Make it possible again."""

    async def close(self) -> None:
        """Stop the peer."""


def kinds() -> list[type[Peer]]:
    """Return the peers of all kinds."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("peer_*.py"))
    return [importlib.import_module(f"tests.contract.{module}").PEER for module in modules]


class Taker:
    """Stands for the switch: takes parcels, refuses with ``failure``, and waits while ``gate`` is closed."""

    def __init__(self) -> None:
        self.parcels: list[tuple[Parcel, Endpoint]] = []
        self.spools: list[Spool] = []
        self.failure: Exception | None = None
        self.refused = 0
        self.waiting = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, parcel: Parcel, endpoint: Endpoint) -> str:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.failure is not None:
            self.refused += 1
            raise self.failure
        if isinstance(parcel.body, Spool):
            assert hashlib.sha256(parcel.read()).digest() == parcel.body.digest
            self.spools.append(parcel.body)
            spool, parcel = parcel.body, Parcel(parcel.name, parcel.read(), parcel.headers)
            spool.path.unlink()  # the file has become the store's
        self.parcels.append((parcel, endpoint))
        return f"20261122-{len(self.parcels)}"

    @property
    def taken(self) -> list[tuple[str, bytes]]:
        return [(parcel.name, parcel.read()) for parcel, _ in self.parcels]


@define
class Stage:
    """What a peer may build on, and where it sees what the switch did."""

    directory: Path
    taker: Taker = field(factory=Taker)
    log: LogCapture = field(factory=LogCapture)

    def count(self, *events: str) -> int:
        """Count log lines by their event."""
        return sum(entry["event"] in events for entry in self.log.entries)


@define
class Bench:
    """One adapter between a switch and a peer."""

    peer: Peer
    taker: Taker
    adapter: Adapter
    endpoint: Endpoint
    neighbour: Endpoint
    directory: Path

    async def serve(self, *endpoints: Endpoint) -> None:
        await self.adapter.serve({endpoint.name: endpoint for endpoint in endpoints})

    def left_over(self) -> list[Path]:
        """List what lies in the spool directory."""
        spool = self.directory / "spool"
        return sorted(spool.iterdir()) if spool.is_dir() else []


@contextlib.asynccontextmanager
async def bench(kind: type[Peer], directory: Path, **limits: int) -> AsyncIterator[Bench]:
    """Put an adapter between a switch and a peer, serving both endpoints of the peer."""
    from twisted.internet import reactor

    peer, stage = kind(), Stage(directory)
    own = directory / "adapter"
    own.mkdir()
    endpoint, neighbour = await peer.open(stage)
    world = World(
        take=stage.taker,
        archive=None,  # type: ignore[arg-type]
        reactor=reactor,
        now=lambda: time.time_ns() // 1000,
        log=structlog.wrap_logger(structlog.PrintLogger(), processors=[stage.log]),
        directory=str(own),
        settings=peer.settings(),
        **limits,
    )
    adapter = kind.adapter(world)
    set_up = Bench(peer, stage.taker, adapter, endpoint, neighbour, own)
    try:
        await set_up.serve(endpoint, neighbour)
        await peer.serving(adapter)
        yield set_up
    finally:
        stage.taker.gate.set()
        await adapter.stop()
        await peer.close()


async def until(true: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something is so; fail where it takes too long."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # many things can become true
            await asyncio.sleep(0.005)
