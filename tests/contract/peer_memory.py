"""The peer of the memory adapter: the test itself."""

from __future__ import annotations

from adapters.memory import Memory
from exchange.errors import Transient
from exchange.model import Endpoint, Parcel
from exchange.options import Strict
from tests.contract.peers import Stage


class PEER:
    adapter = Memory

    async def open(self, stage: Stage) -> tuple[Endpoint, Endpoint]:
        options = Memory.Options()
        self._endpoint = Endpoint("memory-one", "ENT0001", "memory", options)
        return self._endpoint, Endpoint("memory-two", "ENT0002", "memory", options)

    def settings(self) -> Strict | None:
        return None

    async def serving(self, adapter: Memory) -> None:
        self._adapter = adapter

    async def give(self, name: str, body: bytes) -> bool:
        return bool(await self._adapter.give(self._endpoint.name, Parcel(name, body)))

    async def received(self) -> list[tuple[str, bytes]]:
        return [(parcel.name, parcel.read()) for _, parcel in self._adapter.sent]

    async def fail(self) -> None:
        self._adapter.failure = Transient("the peer is away", "对方不可用")

    async def recover(self) -> None:
        self._adapter.failure = None

    async def close(self) -> None:
        pass
