"""Receipts in the store: they settle deliveries, end messages, and wait for a cause that hasn't come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from exchange.errors import NotFound
from exchange.instants import NUMBER_BITS, SECOND, Instant, show_id
from exchange.lifecycle import DELIVERY, step
from exchange.model import Answered, Conclusion, Envelope, indexed
from exchange.stores._sqlite_base import Database
from exchange.stores._sqlite_keys import key_hash
from exchange.stores._sqlite_rows import Rows, split_id
from exchange.stores._stages import deadline, place, read
from exchange.stores._words import STATE, STATES

MOST: Final = 400  # messages in one query


def batched(items: Iterable[int], size: int) -> Iterator[list[int]]:
    """Yield *items* in lists of at most *size*."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


class Answers:
    """What receipts do to the deliveries and messages they answer."""

    def __init__(self, db: Database, rows: Rows) -> None:
        self._db, self._rows = db, rows
        self._waiting: dict[int, set[int]] = {}

    def load(self) -> None:
        """Read back which key values parked receipts wait for."""
        self._waiting = {}
        for value, message in self._db.connection.execute("SELECT value, message FROM parked"):
            self._waiting.setdefault(value, set()).add(message)

    # -- answering -----------------------------------------------------------------------------------------------

    def answer(
        self, receipt: int, answered: Sequence[Answered], at: Instant
    ) -> tuple[list[tuple[int, int]], list[tuple[int, str]]]:
        """Settle what *answered* proves; return deliveries that need no more sending, and messages that ended."""
        if not answered:
            return [], []
        dropped: list[tuple[int, int]] = []
        ended: list[int] = []
        for one in answered:
            if self._db.day_of(one.cause) is not None:  # else retention took the cause
                ended += self._answer(receipt, one, at, dropped)
        return dropped, list(self.finish(ended, at).items())

    def _answer(self, receipt: int, one: Answered, at: Instant, dropped: list[tuple[int, int]]) -> list[int]:
        told: dict[str, Any] = {
            "receipt": show_id(receipt),
            "document": one.document,
            "code": one.answer.code,
            "stage": one.answer.stage,
            "outcome": one.answer.outcome,
            "text": one.answer.text[:200],
        }
        rows = self._db.connection.execute(
            "SELECT id, state, documents, patience, counts, stages, heard, told, deadline FROM delivery"
            " WHERE id >= ? AND id < ? AND party = ?",
            (one.cause << NUMBER_BITS, (one.cause + 1) << NUMBER_BITS, self._db.number(one.party)),
        ).fetchall()
        if not rows:  # repeated, or late: evidence all the same
            self._db.journal(one.cause, "note", at, detail=told)
        ended: list[int] = []
        for id, before, documents, patience, counts, *staged in rows:
            event = "answer" if one.answer.terminal and self._whole(id, one, documents) else "confirm"
            state = step(DELIVERY, STATES[before], event)
            self._db.journal(one.cause, event, at, split_id(id)[1], told)
            if state == "ANSWERED":
                self._db.connection.execute("DELETE FROM delivery WHERE id = ?", (id,))
                self._db.connection.execute("DELETE FROM answered WHERE delivery = ?", (id,))
                if staged[0] is not None:
                    self._db.connection.execute("DELETE FROM heard WHERE delivery = ?", (id,))
                ended += [one.cause] * counts
            else:
                since = at if STATES[before] != state else None
                self._confirm(id, one, documents, STATE[state], patience, since, *staged)
            if STATES[before] in ("QUEUED", "SENDING", "HELD", "FAILED"):
                dropped.append(split_id(id))
        return ended

    def _confirm(
        self,
        id: int,
        one: Answered,
        documents: int,
        state: int,
        patience: int | None,
        since: Instant | None,
        stages: int | None,
        heard: int,
        told: int,
        due: Instant | None,
    ) -> None:
        """Write what an answer that isn't the last word proves: delivery, *since* now, and stages that have come."""
        if since is None and stages is None:
            return
        waits = read(self._db.text(stages) if stages is not None else "", patience)
        before, known = max(heard, told), heard
        if stages is not None:
            heard = max(heard, self._heard(id, one, documents, place(waits, one.answer.stage), len(waits)))
        if since is None and heard == known:
            return
        if since is None and due is not None:
            since = due - waits[before][1]
        due = deadline(waits, max(heard, told), since) if since is not None else None
        self._db.connection.execute(
            "UPDATE delivery SET state = ?, deadline = ?, heard = ? WHERE id = ?", (state, due, heard, id)
        )

    def _heard(self, id: int, one: Answered, documents: int, come: int, all: int) -> int:
        """Return how many stages have come for every document of a delivery; a last word stands for all of them."""
        if documents <= 1:
            return come
        execute = self._db.connection.execute
        execute(
            "INSERT INTO heard VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET stages = max(stages, excluded.stages)",
            (id, one.document, all if one.answer.terminal else come),
        )
        count, least = execute("SELECT count(*), min(stages) FROM heard WHERE delivery = ?", (id,)).fetchone()
        return int(least) if count >= documents else 0

    def _whole(self, id: int, one: Answered, documents: int) -> bool:
        """Tell whether every document of the delivery has its terminal receipt, this one included."""
        if documents <= 1:
            return True
        execute = self._db.connection.execute
        execute("INSERT OR IGNORE INTO answered VALUES (?, ?)", (id, one.document))
        (count,) = execute("SELECT count(*) FROM answered WHERE delivery = ?", (id,)).fetchone()
        return bool(count >= documents)

    def finish(self, messages: Iterable[int], at: Instant) -> dict[int, str]:
        """End those *messages* none of whose deliveries is open any more, or only FAILED ones."""
        states: dict[int, set[int]] = {message: set() for message in messages}
        for part in batched(states, MOST):
            values = ",".join(f"({message << NUMBER_BITS})" for message in part)
            query = (
                f"WITH asked (first) AS (VALUES {values}) SELECT first, state FROM asked"
                f" JOIN delivery ON id >= first AND id < first + {1 << NUMBER_BITS}"
            )
            for first, state in self._db.connection.execute(query):
                states[first >> NUMBER_BITS].add(state)
        finished: dict[int, str] = {}
        for message, left in states.items():
            if not left:
                self._db.journal(message, "complete", at)
                finished[message] = "COMPLETED"
            elif left == {STATE["FAILED"]} and self._rows.state(message) == "ACCEPTED":
                self._db.journal(message, "fail", at)
                finished[message] = "FAILED"
        return finished

    # -- waiting -------------------------------------------------------------------------------------------------

    def wait(self, c: Conclusion) -> None:
        """Note which values the unmatched records of a receipt wait for, and forget those that are matched."""
        if not c.arrival.only and not c.decision.waits:
            return
        execute, message = self._db.connection.execute, c.arrival.id
        if c.arrival.only:
            for document in set(c.arrival.only) - set(c.decision.waits):
                execute("DELETE FROM parked WHERE message = ? AND document = ?", (message, document))
        if c.envelope is None:
            return
        until = c.at + int(c.decision.wait_seconds * SECOND)
        for document in c.decision.waits:
            for value in {key_hash(text) for text in c.envelope.documents[document].indexed()}:
                execute("INSERT OR IGNORE INTO parked VALUES (?, ?, ?, ?)", (value, message, document, until))
                self._waiting.setdefault(value, set()).add(message)

    def left(self, message: int) -> set[int]:
        """Return the records of a receipt that still wait."""
        query = "SELECT DISTINCT document FROM parked WHERE message = ?"
        return {document for (document,) in self._db.connection.execute(query, (message,))}

    def waiting(self, c: Conclusion) -> list[int]:
        """Return the parked receipts that wait for what *c* brings: a message, or numbers for one that is known."""
        if not self._waiting or c.envelope is None or c.decision.event != "accept":
            return []
        values = self._taught(c, c.envelope) if c.envelope.answers else c.envelope.values()
        found = {message for value in values for message in self._waiting.get(key_hash(value), ())}
        return sorted(found - {c.arrival.id})

    def _taught(self, c: Conclusion, envelope: Envelope) -> Iterator[str]:
        """Iterate over what a receipt's records are known by and those that they answer aren't, where it is awaited."""
        for one in c.decision.answered:
            values = [v for v in envelope.documents[one.record].indexed() if key_hash(v) in self._waiting]
            facts = self._rows.envelope(one.cause) if values and self._db.day_of(one.cause) is not None else None
            keys = facts["documents"][one.document] if facts else {}
            yield from set(values).difference(map(indexed, keys.values()))

    def expire(self, now: Instant) -> list[int]:
        """Hold the receipts whose cause never came; return them. They still join when it comes after all."""
        execute = self._db.connection.execute
        late = [message for (message,) in execute("SELECT DISTINCT message FROM parked WHERE until <= ?", (now,))]
        code, en = "SWX-2020", "the message that this receipt answers has not come"
        detail = {"code": code, "en": en, "zh": "回执所对应的报文一直没有到达"}
        for message in late:
            execute("UPDATE parked SET until = ? WHERE message = ?", (1 << 62, message))
            try:
                held = execute(
                    "UPDATE pending SET state = ?, code = ? WHERE message = ? AND code = 'parked'",
                    (STATE["HELD"], code, message),
                )
                self._db.journal(message, "hold" if held.rowcount else "expire", now, detail=detail)
            except NotFound:
                continue
        return late
