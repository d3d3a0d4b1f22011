"""Writing new deliveries: what a decision plans for a message, and the receipt about one that an operator discards."""

from __future__ import annotations

from typing import Any, Final

import orjson
from attrs import Factory, define, frozen

from exchange.instants import NUMBER_BITS, SECOND, Instant
from exchange.model import Delivery, Parcel, Planned
from exchange.stores._sqlite_base import Database
from exchange.stores._sqlite_insert import by_day, insert
from exchange.stores._sqlite_rows import Rows, delivery_id, headers, split_id
from exchange.stores._stages import written
from exchange.stores._words import STATE

QUEUED, SENDING = STATE["QUEUED"], STATE["SENDING"]
NO_BODY: Final[tuple[int | None, bytes | None]] = (None, None)


@define
class DeliveryRows:
    """The rows of deliveries that will be inserted together."""

    plans: list[tuple[int, tuple[Any, ...]]] = Factory(list)
    opened: list[tuple[Any, ...]] = Factory(list)
    outgoing: list[tuple[int, int, int]] = Factory(list)  # (endpoint, event, delivery) of what is in a mailbox now


@frozen
class Sent:
    """What travels; not *frozen*: the message's own bytes."""

    parcel: Parcel
    type: str
    frozen: bool = True


class Deliveries:
    """Writes deliveries."""

    def __init__(self, db: Database, rows: Rows) -> None:
        self._db, self._rows = db, rows

    def free_number(self, message: int) -> int:
        """Return the number that the next delivery of a message has."""
        query = f"SELECT max(id) FROM planned_{self._rows.day(message)} WHERE id >= ? AND id < ?"
        (last,) = self._db.connection.execute(query, (message << NUMBER_BITS, (message + 1) << NUMBER_BITS)).fetchone()
        return 0 if last is None else split_id(last)[1] + 1

    def add(
        self,
        id: tuple[int, int],
        planned: Planned,
        sent: Sent,
        at: Instant,
        to: DeliveryRows,
        *,
        documents: int = 0,
        counts: bool = False,
        started: bool = False,
    ) -> Delivery | None:
        """Add one planned delivery to rows; return it unless it is done with this, being in its mailbox.

        *documents* are those that await receipts; it *counts* where the message isn't complete without it.
        """
        (message, number), db, parcel = id, self._db, sent.parcel
        size, name, body = parcel.size, None, NO_BODY
        if sent.frozen:
            name, body = parcel.name, db.pack(parcel, message, f".{number}")
        key = delivery_id(message, number)
        patience = None if planned.deadline_seconds is None else int(planned.deadline_seconds * SECOND)
        stages = db.number(written(planned.deadlines)) if planned.deadlines else None
        endpoint, party = db.number(planned.endpoint), db.number(planned.party)
        keys = orjson.dumps(planned.keys).decode() if planned.keys else None
        kind = db.number(sent.type), planned.disposition, planned.refers_to, keys, documents, patience
        to.plans.append((message, (key, endpoint, party, *kind, size, name, *body, stages)))
        if planned.mailbox:
            to.outgoing.append((endpoint, db.journal(message, "deliver", at, number), key))
            return None
        waits = documents, patience, None, stages, 0, 0
        state = SENDING if started else QUEUED
        to.opened.append((key, endpoint, party, state, started, 0, at, at, size, counts, *waits))
        shown = headers(message, number, sent.type, planned.disposition, planned.refers_to)
        return Delivery(
            message, number, planned.endpoint, planned.party, size, at, at, int(started), 0, planned.keys,
            Parcel(parcel.name, parcel.body, shown), started,
        )  # fmt: skip

    def insert(self, rows: DeliveryRows) -> None:
        """Insert what was added."""
        for day, plans in by_day(rows.plans):
            insert(self._db.connection, f"INSERT INTO planned_{day}", plans)
        insert(self._db.connection, "INSERT INTO delivery", rows.opened)
        self.note_outgoing(rows.outgoing)

    def note_outgoing(self, delivered: list[tuple[int, int, int]]) -> None:
        """Put what was delivered in the order in which mailboxes show it."""
        if delivered:
            insert(self._db.connection, f"INSERT INTO outgoing_{self._db.today()}", delivered)


def written_here(planned: Planned) -> Sent:
    """Return what travels of what the switch itself has written."""
    assert planned.parcel is not None  # noqa: S101
    return Sent(planned.parcel, planned.parcel.headers.get("type", ""))
