"""The signing log in its tables: written with what was signed, read by number, by message, or from the newest back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from exchange.signinglog import NOTHING, Operation, Row, content, linked
from exchange.stores._sqlite_base import Database
from exchange.stores._sqlite_insert import insert

COLUMNS: Final = (
    "number, at, job, party, profile, key, serial, device, digest, signature, code, microseconds, attempts, link"
)


class SigningLog:
    """Adds rows; the link of the last one is kept in memory, and read anew after a transaction that wasn't."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def load(self) -> None:
        """Find the end of the log."""
        self._number, self._link = 0, NOTHING
        for day in self._db.days():
            query = f"SELECT number, link FROM signing_{day} ORDER BY number DESC LIMIT 1"
            if row := self._db.connection.execute(query).fetchone():
                self._number, self._link = row[0], bytes(row[1])
                return

    def add(self, operations: Sequence[Operation]) -> list[int]:
        """Append operations; return the numbers of their rows."""
        if not operations:
            return []
        number, rows = self._db.number, []
        for one in operations:
            self._number += 1
            self._link = linked(self._link, content(self._number, one))
            names = number(one.party), number(one.profile), number(one.key), one.serial, number(one.device)
            told = one.digest, one.signature, one.code, one.microseconds, one.attempts
            rows.append((self._number, one.at, one.job, *names, *told, self._link))
        insert(self._db.connection, f"INSERT INTO signing_{self._db.today()}", rows)
        return [row[0] for row in rows]

    def log(self, asked: Sequence[Sequence[Operation]]) -> list[list[int]]:
        """Append what belongs to no conclusion: what failed, and the work of the remote API."""
        return [self.add(operations) for operations in asked]


class SigningRows:
    """Reads the log over any connection; *days* are those that have tables, newest first."""

    def __init__(
        self, connection: sqlite3.Connection, text: Callable[[int], str], days: Callable[[], Sequence[int]]
    ) -> None:
        self._connection, self._text, self._days = connection, text, days

    def numbered(self, numbers: Sequence[int]) -> list[Row]:
        """Return the rows of these numbers that are still there."""
        found: list[Row] = []
        for day in self._days() if numbers else ():
            for number in numbers:
                found += self._rows(f"SELECT {COLUMNS} FROM signing_{day} WHERE number = ?", number)
        return sorted(found, key=lambda row: row.number)

    def before(self, number: int, limit: int) -> list[Row]:
        """Return rows before *number*, newest first."""
        return self._some(self._days(), "number < ? ORDER BY number DESC", number, limit)

    def after(self, number: int, limit: int) -> list[Row]:
        """Return rows after *number*, oldest first."""
        return self._some(list(reversed(self._days())), "number > ? ORDER BY number", number, limit)

    def _some(self, days: Sequence[int], where: str, number: int, limit: int) -> list[Row]:
        found: list[Row] = []
        for day in days:
            if len(found) >= limit:
                break
            query = f"SELECT {COLUMNS} FROM signing_{day} WHERE {where} LIMIT ?"
            found += self._rows(query, number, limit - len(found))
        return found

    def _rows(self, query: str, *values: Any) -> Iterator[Row]:
        text = self._text
        for row in self._connection.execute(query, values).fetchall():
            number, at, job, party, profile, key, serial, device, digest, signature, code, took, attempts, link = row
            operation = Operation(
                at, job, text(party), text(profile), text(key), serial, text(device), digest, signature, code, took,
                attempts,
            )  # fmt: skip
            yield Row(number, operation, link)
