"""The index from key values to messages: cost independent of how many there are.

Key values are random (GUIDs), so inserting them one by one touches a random page of an ever larger B-tree each. Here
a value is first appended to the table ``fresh_key``, in order of arrival, and kept in memory; once enough have
gathered they are sorted and move, a slice with each commit, to the partition of the week. A lookup asks memory and
every partition within the horizon.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final

from exchange.stores._sqlite_insert import insert

GATHER: Final = 20_000  # keys that are sorted together
SLICE: Final = 4  # how many keys move for each key that comes: the old batch is gone before the new one is full
LOOKUP: Final = 500  # parameters in one query


def key_hash(value: str) -> int:
    """Return 63 bits that stand for *value*; every hit is checked against the value itself."""
    return int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), "big") >> 1


class KeyIndex:
    """Keys of one database; used by the writing thread alone.

    *table* returns the name of the key partition that now is filled; *tables* those within the horizon, newest
    first.
    """

    def __init__(
        self, connection: sqlite3.Connection, table: Callable[[], str], tables: Callable[[], Sequence[str]]
    ) -> None:
        self._connection = connection
        self._table = table
        self._tables = tables
        self._fresh: dict[int, list[int]] = {}
        self._moving: dict[int, list[int]] = {}
        self._slices: list[tuple[int, int]] = []  # what of the moving batch isn't moved yet, sorted, largest first
        self._batch = 0
        self._count = 0

    def load(self) -> None:
        """Read back what was fresh when the database was closed or its process died."""
        self._fresh, self._moving, self._slices, self._count = {}, {}, [], 0
        rows = self._connection.execute("SELECT hash, message, batch FROM fresh_key").fetchall()
        self._batch = max((batch for _, _, batch in rows), default=0)
        for value, message, _ in rows:
            self._fresh.setdefault(value, []).append(message)
            self._count += 1

    def add(self, keys: Sequence[tuple[int, int]]) -> None:
        """Add (hash, message) pairs, and move on what is due; inside a transaction."""
        batch = self._batch
        insert(self._connection, "INSERT INTO fresh_key", [(value, message, batch) for value, message in keys])
        for value, message in keys:
            self._fresh.setdefault(value, []).append(message)
        self._count += len(keys)
        if self._slices:
            self._move(max(SLICE * len(keys), 256))
        elif self._count >= GATHER:
            self._moving, self._fresh, self._count = self._fresh, {}, 0
            self._slices = sorted(((v, m) for v, ms in self._moving.items() for m in ms), reverse=True)
            self._batch += 1

    def _move(self, count: int) -> None:
        taken = self._slices[-count:]
        del self._slices[-count:]
        taken.reverse()
        insert(self._connection, f"INSERT OR IGNORE INTO {self._table()}", taken)
        if not self._slices:
            self._connection.execute("DELETE FROM fresh_key WHERE batch < ?", (self._batch,))
            self._moving = {}

    def find(self, hashes: Iterable[int]) -> dict[int, list[int]]:
        """Return the messages that carry each of *hashes*, newest first."""
        wanted = list(dict.fromkeys(hashes))
        found: dict[int, set[int]] = {}
        for value in wanted:
            for known in (self._fresh, self._moving):
                if value in known:
                    found.setdefault(value, set()).update(known[value])
        for table in self._tables():
            for start in range(0, len(wanted), LOOKUP):
                part = wanted[start : start + LOOKUP]
                query = f"SELECT hash, message FROM {table} WHERE hash IN ({','.join('?' * len(part))})"
                for value, message in self._connection.execute(query, part):
                    found.setdefault(value, set()).add(message)
        return {value: sorted(messages, reverse=True) for value, messages in found.items()}
