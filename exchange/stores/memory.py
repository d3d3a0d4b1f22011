"""The store for unit tests: the same tables and code on a database in memory; nothing outlives the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from exchange.instants import Instant
from exchange.ports import microseconds
from exchange.stores._sqlite_read import Reader
from exchange.stores.sqlite import SqliteStore


class MemoryStore(SqliteStore):
    """``SqliteStore`` without a file. *folder* is only used for payloads that are too large for a row."""

    def __init__(self, folder: Path, *, now: Callable[[], Instant] = microseconds, **options: Any) -> None:
        super().__init__(folder, now=now, **options)

    def _file(self) -> str:
        return ":memory:"

    def _read(self, verb: str, *values: Any) -> Awaitable[Any]:
        """Read over the writing connection, in its thread: another would open another memory."""
        return self._batcher.ask("read", (verb, values))

    def _apply(self, requests: list[tuple[str, Any]]) -> list[Any]:
        if "read" not in {verb for verb, _ in requests}:
            return list(super()._apply(requests))
        return [self._read_or_write(request) for request in requests]

    def _read_or_write(self, request: tuple[str, Any]) -> Any:
        verb, argument = request
        try:
            if verb == "read":
                return getattr(Reader(self._db.connection, self.folder), argument[0])(*argument[1])
            return super()._apply([request])[0]
        except Exception as why:
            return why


async def opened(folder: Path, **options: Any) -> MemoryStore:
    """Return an open MemoryStore."""
    store = MemoryStore(folder, **options)
    await store.open()
    await asyncio.sleep(0)
    return store
