"""Many rows with one statement.

``executemany`` lets go of the interpreter lock for each row, and under load waits for it as often. One statement for
many rows waits once, and is a third faster even when nobody else runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

from exchange.instants import ID_BITS

SIZES: Final = (64, 16, 4, 1)  # rows in one statement: few texts, so that they stay prepared


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert *rows*, in order; *into* is what stands before ``VALUES``: ``INSERT INTO name``."""
    done = 0
    for size in SIZES:
        while len(rows) - done >= size:
            part = rows[done : done + size]
            connection.execute(_statement(into, len(part[0]), size), tuple(chain.from_iterable(part)))
            done += size


@cache
def _statement(into: str, columns: int, size: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"{into} VALUES {','.join([row] * size)}"


def by_day(rows: Iterable[tuple[int, tuple[Any, ...]]]) -> Iterable[tuple[int, list[tuple[Any, ...]]]]:
    """Return rows, each with the message it belongs to, by the days whose tables they go to."""
    days: dict[int, list[tuple[Any, ...]]] = {}
    for message, row in rows:
        days.setdefault(message >> ID_BITS, []).append(row)
    return days.items()


def marks(count: int) -> str:
    """Return *count* question marks for a query.

    >>> marks(3)
    '?,?,?'
    """
    return ",".join("?" * count)
