"""What tests of the amqp adapter share: a switch around it, and another program's view of the broker."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from pika.adapters.blocking_connection import BlockingChannel
from structlog.testing import LogCapture

from adapters.amqp import Amqp
from exchange.errors import Transient
from exchange.model import Endpoint, Parcel, Spool
from exchange.ports import World
from tests.live.rabbitmq import Broker

BODY = b"<CEB311Message>" + b"x" * 4065 + b"</CEB311Message>"


class Intake:
    """Stands for the switch: takes parcels, or raises what the test puts into ``failure``."""

    def __init__(self) -> None:
        self.parcels: list[Parcel] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()  # takes wait while it is cleared
        self.gate.set()
        self.tries = 0
        self.spools = 0

    async def __call__(self, parcel: Parcel, endpoint: Endpoint) -> str:
        self.tries += 1
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.failure:
            raise self.failure
        if isinstance(parcel.body, Spool):
            self.spools += 1
            assert hashlib.sha256(parcel.read()).digest() == parcel.body.digest
            parcel = Parcel(parcel.name, parcel.read(), parcel.headers)
        self.parcels.append(parcel)
        return "20261122-1"

    @property
    def ids(self) -> Counter[str]:
        return Counter(parcel.headers["id"] for parcel in self.parcels)


class Switch:
    """An adapter with what it needs around it."""

    def __init__(self, directory: Path, **world: Any) -> None:
        from twisted.internet import reactor

        self.intake = Intake()
        self.capture = LogCapture()
        self.adapter = Amqp(
            World(
                take=self.intake,
                archive=None,  # type: ignore[arg-type]
                reactor=reactor,
                now=lambda: 0,
                log=structlog.wrap_logger(None, processors=[self.capture]),
                directory=str(directory),
                **world,
            )
        )

    def consumer(self, name: str) -> Any:
        return self.adapter._served[name].consumer

    def logged(self, event: str) -> list[Mapping[str, Any]]:
        return [entry for entry in self.capture.entries if entry["event"] == event]


@asynccontextmanager
async def switch(directory: Path, *endpoints: Endpoint, **world: Any) -> AsyncIterator[Switch]:
    made = Switch(directory, **world)
    await made.adapter.serve({endpoint.name: endpoint for endpoint in endpoints})
    try:
        yield made
    finally:
        await made.adapter.stop()


def at(broker: Broker, name: str = "customs", **options: Any) -> Endpoint:
    written = {"url": broker.url, **broker.login, **options}
    return Endpoint(name, "CUSTOMS", "amqp", Amqp.Options.model_validate(written))


def parcel(number: int, body: bytes | Spool = BODY, **headers: str) -> Parcel:
    return Parcel(f"CEB311_{number}.xml", body, {"id": f"20261122-{number}", **headers})


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.02)


async def sent(switch: Switch, endpoint: Endpoint, parcel: Parcel, seconds: float = 150.0) -> int:
    """Send as the switch does, again and again; return the attempts it took."""
    deadline, attempts = time.monotonic() + seconds, 0
    while True:
        attempts += 1
        try:
            await switch.adapter.send(endpoint, parcel)
        except Transient:
            assert time.monotonic() < deadline, "it was never sent"
            await asyncio.sleep(0.1)
        else:
            return attempts


async def in_window(count: int, window: int, one: Callable[[int], Awaitable[Any]]) -> list[Any]:
    numbers, results = iter(range(count)), []

    async def lane() -> None:
        for number in numbers:
            results.append(await one(number))

    await asyncio.gather(*(lane() for _ in range(window)))
    return results


@contextmanager
def channel_of(broker: Broker) -> Iterator[BlockingChannel]:
    """A channel of another program, for a moment."""
    connection = broker.connect()
    try:
        yield connection.channel()
    finally:
        connection.close()


def declare(broker: Broker, **arguments: Any) -> str:
    """Make a durable queue with a name of its own."""
    name = f"q-{uuid4().hex[:8]}"
    with channel_of(broker) as channel:
        channel.queue_declare(name, durable=True, arguments=arguments)
    broker.remember()
    return name


def drain(broker: Broker, queue: str) -> Counter[str]:
    """Empty a queue as another program would, and count by message id."""
    found: Counter[str] = Counter()
    with channel_of(broker) as channel:
        for method, properties, _ in channel.consume(queue, inactivity_timeout=1.0):
            if method is None:
                break
            found[properties.message_id] += 1
            channel.basic_ack(method.delivery_tag)
    return found
