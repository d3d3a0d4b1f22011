"""Rows read back as values, over any connection: the writing thread and the reading one share these."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import orjson

from exchange.errors import NotFound
from exchange.instants import ID_BITS, NUMBER_BITS, show_id
from exchange.lifecycle import MARKS, MESSAGE, replay
from exchange.model import Arrival, Delivery, Parcel, Spool
from exchange.stores._sqlite_bodies import Bodies
from exchange.stores._words import EVENTS


def delivery_id(message: int, number: int) -> int:
    """Return the key of a delivery in the store's tables.

    >>> split_id(delivery_id(7, 2))
    (7, 2)
    """
    return (message << NUMBER_BITS) + number


def split_id(delivery: int) -> tuple[int, int]:
    """Return (message, number) of a delivery's key."""
    return delivery >> NUMBER_BITS, delivery & ((1 << NUMBER_BITS) - 1)


def headers(message: int, number: int, type: str, disposition: str, refers_to: int) -> dict[str, str]:
    """Return what a protocol may show beside the bytes of a delivery; the same at every attempt."""
    shown = {"id": f"{show_id(message)}.{number}", "type": type, "disposition": disposition}
    if refers_to:
        shown["refers-to"] = show_id(refers_to)
    return shown


class Rows:
    """Reads the tables of the day partitions; raises NotFound for what isn't there (any more)."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        bodies: Bodies,
        text: Callable[[int], str],
        day_of: Callable[[int], int | None],
    ) -> None:
        self._connection = connection
        self._bodies = bodies
        self._text = text
        self._day_of = day_of

    def _one(self, query: str, *values: Any) -> Any:
        return self._connection.execute(query, values).fetchone()

    def _all(self, query: str, *values: Any) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    def day(self, message: int) -> int:
        """Return the partition of *message*."""
        day = self._day_of(message)
        if day is None:
            raise NotFound(f"there is no message {show_id(message)} here", f"没有报文 {show_id(message)}")
        return day

    def message(self, message: int) -> tuple[Any, ...]:
        """Return the row of *message* without its body."""
        table = f"message_{self.day(message)}"
        row = self._one(
            f"SELECT id, at, endpoint, party, name, headers, size, digest FROM {table} WHERE id = ?", message
        )
        if row is None:
            raise NotFound(f"there is no message {show_id(message)} here", f"没有报文 {show_id(message)}")
        return tuple(row)

    def parcel(self, message: int) -> Parcel:
        """Return what came in."""
        _, _, _, _, name, shown, size, digest = self.message(message)
        query = f"SELECT dictionary, body FROM message_{self.day(message)} WHERE id = ?"
        dictionary, body = self._one(query, message)
        return Parcel(name, self._body(dictionary, body, message, "", size, digest), orjson.loads(shown or "{}"))

    def _body(
        self, dictionary: int | None, body: bytes | None, message: int, suffix: str, size: int, digest: bytes
    ) -> bytes | Spool:
        if dictionary is None or body is None:
            return self._bodies.spool(self._bodies.path(message, suffix), size, digest)
        return self._bodies.unpack(dictionary, bytes(body))

    def arrival(self, message: int, tries: int = 0, only: tuple[int, ...] = ()) -> Arrival:
        """Return *message* as it came in, to be sorted."""
        _, at, endpoint, party, *_ = self.message(message)
        return Arrival(message, at, self._text(endpoint), self._text(party), self.parcel(message), tries, only)

    def sent(self, message: int, number: int) -> Parcel:
        """Return the bytes of a delivery, as they travel at every attempt."""
        row = self._one(
            "SELECT type, disposition, refers_to, size, name, dictionary, body"
            f" FROM planned_{self.day(message)} WHERE id = ?",
            delivery_id(message, number),
        )
        if row is None:
            raise NotFound(f"message {show_id(message)} has no delivery {number}", f"报文没有第 {number} 个投递")
        type, disposition, refers_to, size, name, dictionary, body = row
        shown = headers(message, number, self._text(type), disposition, refers_to)
        if name is None:
            own = self.parcel(message)
            return Parcel(own.name, own.body, shown)
        return Parcel(name, self._body(dictionary, body, message, f".{number}", size, b""), shown)

    def envelope(self, message: int) -> dict[str, Any] | None:
        """Return type, sender, own_id and the facts of *message*; None when it could not be read."""
        query = f"SELECT type, sender, own_id, facts FROM envelope_{self.day(message)} WHERE message = ?"
        row = self._one(query, message)
        if row is None:
            return None
        type, sender, own_id, facts = row
        known: dict[str, Any] = orjson.loads(facts)
        return known | {"type": self._text(type), "sender": self._text(sender), "own_id": own_id}

    def events(self, message: int) -> list[tuple[int, int, str, int | None, str, dict[str, Any]]]:
        """Return the journal of *message*, oldest first: (seq, at, event, delivery, actor, detail)."""
        table = f"event_{self.day(message)}"
        rows = self._all(
            f"SELECT seq, at, event, number, actor, detail FROM {table} WHERE message = ? ORDER BY seq", message
        )
        return [
            (seq, at, EVENTS[event], number, self._text(actor), orjson.loads(detail or "{}"))
            for seq, at, event, number, actor, detail in rows
        ]

    def state(self, message: int) -> str:
        """Return the state that the journal of *message* leads to. Raises NotFound."""
        return self.standing(message)[0]

    def standing(self, message: int) -> tuple[str, str]:
        """Return the state of *message*, and the code that says why it is in it. Raises NotFound."""
        query = f"SELECT event, detail FROM event_{self.day(message)} WHERE message = ? AND number IS NULL ORDER BY seq"
        lines = [(EVENTS[event], detail) for event, detail in self._all(query, message)]
        if not lines:
            raise NotFound(f"there is no message {show_id(message)} here", f"没有报文 {show_id(message)}")
        steps = [(word, detail) for word, detail in lines if word not in MARKS]
        return replay(MESSAGE, (word for word, _ in steps)), orjson.loads(steps[-1][1] or "{}").get("code", "")

    def delivery(self, row: tuple[Any, ...]) -> Delivery:
        """Return an open delivery, without its parcel, from a row of ``OPEN``."""
        id, endpoint, party, attempts, unknown, queued_at, due_at, size, keys = row
        message, number = split_id(id)
        return Delivery(
            message=message,
            number=number,
            endpoint=self._text(endpoint),
            party=self._text(party),
            size=size,
            queued_at=queued_at,
            due_at=due_at,
            attempts=attempts,
            unknown=unknown,
            keys=tuple(orjson.loads(keys)) if keys else (),
        )

    def deliveries(self, ids: list[int]) -> list[Delivery]:
        """Return the open deliveries with these keys."""
        found = []
        for id in ids:
            row = self._one(
                "SELECT d.id, d.endpoint, d.party, attempts, unknown, queued_at, due_at, d.size, p.keys"
                f" FROM delivery d JOIN planned_{self.day(split_id(id)[0])} p ON p.id = d.id WHERE d.id = ?",
                id,
            )
            if row is not None:
                found.append(self.delivery(tuple(row)))
        return found


def day_bounds(day: int) -> tuple[int, int]:
    """Return the keys of the first delivery of *day* and of the day after."""
    return delivery_id(day << ID_BITS, 0), delivery_id((day + 1) << ID_BITS, 0)
