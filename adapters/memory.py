"""Endpoints in memory: tests give parcels, look at what was sent, and make the far side fail."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import ClassVar

from attrs import evolve

from adapters._spool import Spooler, discard
from exchange.errors import NotFound
from exchange.model import Endpoint, Parcel
from exchange.options import Strict
from exchange.ports import World


class Memory:
    """The adapter of kind ``memory``."""

    class Options(Strict):
        """An endpoint in memory has none."""

    class Settings(Strict):
        """Nor has the kind."""

    sends: ClassVar[bool] = True
    window: ClassVar[int] = 16
    mailbox: ClassVar[bool] = False
    receipts: ClassVar[str] = "native"

    def __init__(self, world: World) -> None:
        self._world = world
        self._spooler = Spooler.of(world)
        self._endpoints: Mapping[str, Endpoint] = {}
        self.sent: list[tuple[str, Parcel]] = []  # (endpoint, parcel), oldest first
        self.failure: Exception | None = None  # what every send raises

    async def serve(self, endpoints: Mapping[str, Endpoint]) -> None:
        """See ``ports.Adapter``."""
        self._endpoints = dict(endpoints)

    async def give(self, endpoint: str, parcel: Parcel) -> str:
        """Hand a parcel in and return its message id. Raises NotFound, TooLarge, or what take raises."""
        if endpoint not in self._endpoints:
            raise NotFound(f"no endpoint {endpoint!r} is served", f"没有端点 {endpoint!r}")
        if isinstance(parcel.body, bytes):
            parcel = evolve(parcel, body=self._spooler.gather(BytesIO(parcel.body)))
        try:
            return await self._world.take(parcel, self._endpoints[endpoint])
        except BaseException:
            discard(parcel.body)
            raise

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        """See ``ports.Adapter``."""
        if self.failure is not None:
            raise self.failure
        self.sent.append((endpoint.name, parcel))

    async def stop(self) -> None:
        """See ``ports.Adapter``."""
        self._endpoints = {}
