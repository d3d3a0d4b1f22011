"""AMQP 0-9-1 (RabbitMQ): parcels are published with confirms, and taken from queues with acknowledgements.

A broker is connected to once per direction for all endpoints that reach it by the same options: RabbitMQ stops reading
from a connection that publishes while memory or disk is short, and acknowledgements must get through even then. Each
direction of an endpoint has a channel of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from adapters import _amqp_options
from adapters._spool import Spooler
from exchange.errors import Permanent, Transient
from exchange.model import Endpoint, Parcel
from exchange.options import Strict
from exchange.ports import World

if TYPE_CHECKING:
    from adapters._amqp_consumer import Consumer
    from adapters._amqp_lane import Lane
    from adapters._amqp_link import Link
    from adapters._amqp_publisher import Publisher

__all__ = ["Amqp"]


@frozen
class _Served:
    endpoint: Endpoint
    publisher: Publisher | None = None
    consumer: Consumer | None = None

    @property
    def lanes(self) -> list[Lane]:
        return [lane for lane in (self.publisher, self.consumer) if lane]


class Amqp:
    """Serves the endpoints of kind ``amqp``; the contract is ``exchange.ports.Adapter``."""

    Options: ClassVar[type[Strict]] = _amqp_options.Options
    Settings: ClassVar[type[Strict]] = _amqp_options.Settings
    sends: ClassVar[bool] = True
    window: ClassVar[int] = 200
    mailbox: ClassVar[bool] = False
    receipts: ClassVar[str] = "native"

    def __init__(self, world: World) -> None:
        logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it says comes as errors too, and we tell it once
        Spooler.of(world).sweep()
        self._world = world
        self._links: dict[Hashable, Link] = {}
        self._served: dict[str, _Served] = {}

    async def serve(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Serve exactly these endpoints; one that changed finishes what is under way before it starts anew."""
        await self._retire([name for name, served in self._served.items() if endpoints.get(name) != served.endpoint])
        for name in endpoints.keys() - self._served.keys():
            self._served[name] = self._start(endpoints[name])
        await self._close_unused()

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        """Return once the broker confirmed the parcel."""
        served = self._served.get(endpoint.name)
        if served is None:
            raise Transient(f"endpoint {endpoint.name} is not served", f"端点 {endpoint.name} 未启用")
        if served.publisher is None:
            raise Permanent(
                f"endpoint {endpoint.name} only consumes: to send to it, add publish to its options",
                f"端点 {endpoint.name} 只接收：要向它发送，请在选项中加入 publish",
            )
        await served.publisher.send(parcel)

    async def stop(self) -> None:
        """Consume nothing more, finish takes and confirms as far as they come soon, close."""
        await self._retire(list(self._served))
        await self._close_unused()

    def _start(self, endpoint: Endpoint) -> _Served:
        # Late, because pika's Twisted adapter imports the reactor, and the daemon installs its own first.
        from adapters._amqp_consumer import Consumer
        from adapters._amqp_publisher import Publisher

        options: _amqp_options.Options = endpoint.options
        publisher = consumer = None
        if options.publish:
            log = self._world.log.bind(endpoint=endpoint.name)
            publisher = Publisher(self._link("publish", options), log, options, options.publish)
        if options.consume:
            consumer = Consumer(self._link("consume", options), self._world, endpoint, options, options.consume)
        return _Served(endpoint, publisher, consumer)

    def _link(self, direction: str, options: _amqp_options.Options) -> Link:
        from adapters._amqp_link import Link

        key = (direction, options.connection)
        if key not in self._links:
            self._links[key] = Link(options, self._world)
        return self._links[key]

    async def _retire(self, names: Iterable[str]) -> None:
        lanes = [lane for name in names for lane in self._served.pop(name).lanes]
        await asyncio.gather(*(lane.retire() for lane in lanes))

    async def _close_unused(self) -> None:
        used = {id(lane.link) for served in self._served.values() for lane in served.lanes}
        unused = {key: link for key, link in self._links.items() if id(link) not in used}
        for key in unused:
            del self._links[key]
        await asyncio.gather(*(link.close() for link in unused.values()))
