"""Many rows with one statement.

``executemany`` lets go of the interpreter lock for each row, and under load waits for it as often. One statement for
many rows waits once, and is a third faster even when nobody else runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

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
