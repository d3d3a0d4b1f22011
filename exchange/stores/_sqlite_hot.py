"""The verbs that every message passes: receive, context, conclude, claim, settle.

Each takes all requests of its kind in a batch and writes them together, inside one transaction of ``Database``.
States change by the tables of ``exchange.lifecycle`` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
from attrs import Factory, define, evolve

from exchange.errors import NotFound
from exchange.instants import SECOND, Instant, show_id
from exchange.lifecycle import DELIVERY, MESSAGE, step
from exchange.model import (
    Arrival,
    Conclusion,
    Context,
    Delivery,
    Endpoint,
    Envelope,
    Outcome,
    Parcel,
    Planned,
    Question,
)
from exchange.ports import Concluded, Settled
from exchange.stores._sqlite_answers import Answers
from exchange.stores._sqlite_base import Database
from exchange.stores._sqlite_deliveries import Deliveries, DeliveryRows, Sent, written_here
from exchange.stores._sqlite_insert import by_day, insert, marks
from exchange.stores._sqlite_keys import KeyIndex, key_hash
from exchange.stores._sqlite_look import Look
from exchange.stores._sqlite_rows import Rows, delivery_id
from exchange.stores._sqlite_signing import SigningLog
from exchange.stores._stages import deadline, read
from exchange.stores._words import STATE, STATES

MOST: Final = 500  # parameters in one query
LEFT: Final = {"accept": "ACCEPTED", "reject": "REJECTED", "hold": "HELD", "recognise": "DUPLICATE"}
RECEIVED: Final = STATE["RECEIVED"]


@define
class Sheet(DeliveryRows):
    """The rows that one batch of conclusions will insert."""

    decided: list[tuple[int]] = Factory(list)  # messages that leave ``pending``
    envelopes: list[tuple[int, tuple[Any, ...]]] = Factory(list)
    keys: list[tuple[int, int]] = Factory(list)


GONE: Final = ("ANSWERED", 0, None, 0, 0, None, 0)  # a delivery that needs nothing any more


class Hot:
    """What is done for every message."""

    def __init__(
        self,
        db: Database,
        keys: KeyIndex,
        rows: Rows,
        look: Look,
        answers: Answers,
        signing: SigningLog,
        deliveries: Deliveries,
    ) -> None:
        self._db, self._keys, self._rows, self._look, self._answers = db, keys, rows, look, answers
        self._signing, self._deliveries = signing, deliveries

    # -- receive -------------------------------------------------------------------------------------------------

    def receive(self, asked: Sequence[tuple[Parcel, Endpoint, Instant]]) -> list[Arrival]:
        """Keep parcels; they are RECEIVED."""
        arrivals, kept = [], []
        for parcel, endpoint, at in asked:
            message = self._db.next_id(at)
            dictionary, body = self._db.pack(parcel, message)
            if body is None:
                parcel = evolve(
                    parcel, body=self._db.bodies.spool(self._db.bodies.path(message), parcel.size, parcel.digest)
                )
            arrivals.append(Arrival(message, at, endpoint.name, endpoint.party, parcel))
            kept.append((dictionary, body))
        self._insert_messages(arrivals, kept)
        insert(self._db.connection, "INSERT INTO pending (message, state)", [(a.id, RECEIVED) for a in arrivals])
        return arrivals

    def _insert_messages(self, arrivals: Sequence[Arrival], kept: Sequence[tuple[int | None, bytes | None]]) -> None:
        number = self._db.number
        for day, rows in by_day(
            (
                arrival.id,
                (
                    arrival.id,
                    arrival.at,
                    number(arrival.endpoint),
                    number(arrival.party),
                    arrival.parcel.name,
                    orjson.dumps(arrival.parcel.headers).decode() if arrival.parcel.headers else None,
                    arrival.parcel.size,
                    arrival.parcel.digest,
                    *body,
                ),
            )
            for arrival, body in zip(arrivals, kept, strict=True)
        ):
            insert(self._db.connection, f"INSERT INTO message_{day}", rows)
        for arrival in arrivals:
            self._db.journal(arrival.id, "receive", arrival.at)

    # -- context -------------------------------------------------------------------------------------------------

    def context(self, asked: Sequence[Sequence[Question]]) -> list[Sequence[Context]]:
        """Look up what deciding needs to know."""
        return [self._look.contexts(questions) for questions in asked]

    # -- conclude ------------------------------------------------------------------------------------------------

    def conclude(self, asked: Sequence[Sequence[Conclusion]]) -> list[Sequence[Concluded]]:
        """Write what was decided."""
        return [self._conclude(conclusions) for conclusions in asked]

    def _conclude(self, conclusions: Sequence[Conclusion]) -> list[Concluded]:
        pending = self._pending([c.arrival.id for c in conclusions])
        written, sheet = [], Sheet()
        for c in conclusions:
            state, code = pending.get(c.arrival.id, ("", ""))
            left = self._answers.left(c.arrival.id) if c.arrival.only else set()
            if c.arrival.only and not left.issuperset(c.arrival.only):  # woken twice: the other was faster
                written.append(Concluded(state=self._rows.state(c.arrival.id), rejoin=[c.arrival.id] if left else ()))
            elif state != "RECEIVED" and not c.arrival.only:
                self._signing.add(c.operations)
                written.append(Concluded(state=self._rows.state(c.arrival.id)))  # an operator was faster
            else:
                written.append(self._write(c, state, bool(code), sheet))
        self._insert(sheet)
        return written

    def _insert(self, sheet: Sheet) -> None:
        db = self._db.connection
        db.executemany("DELETE FROM pending WHERE message = ?", sheet.decided)
        for day, rows in by_day(sheet.envelopes):
            insert(db, f"INSERT OR REPLACE INTO envelope_{day}", rows)
        self._deliveries.insert(sheet)
        self._keys.add(sheet.keys)

    def _pending(self, messages: Sequence[int]) -> dict[int, tuple[str, str]]:
        found: dict[int, tuple[str, str]] = {}
        for start in range(0, len(messages), MOST):
            part = messages[start : start + MOST]
            query = f"SELECT message, state, code FROM pending WHERE message IN ({marks(len(part))})"
            found |= {message: (STATES[s], code) for message, s, code in self._db.connection.execute(query, part)}
        return found

    def _write(self, c: Conclusion, state: str, again: bool, sheet: Sheet) -> Concluded:
        message, decision = c.arrival.id, c.decision
        self._journal(c)
        self._leave_pending(c, state, sheet)
        rejoin: list[int] = []
        if c.envelope is not None:
            sheet.envelopes.append((message, self._envelope(c, c.envelope)))
            sheet.keys.extend((key_hash(value), message) for value in c.envelope.values())
            rejoin = self._answers.waiting(c)
        settled, finished = self._answers.answer(message, decision.answered, c.at)
        self._answers.wait(c)
        first = self._deliveries.free_number(message) if again or c.arrival.only else 0
        queued = [
            delivery
            for i, planned in enumerate(decision.planned)
            if (delivery := self._plan(c, i, planned, first + i, sheet)) is not None
        ]
        left = LEFT.get(decision.event, "RECEIVED")
        if decision.event == "accept" and not queued:
            left = self._answers.finish([message], c.at).get(message, left)
        if left in ("REJECTED", "DUPLICATE", "COMPLETED"):
            finished.append((message, left))
        mailed = [planned.endpoint for planned in decision.planned if planned.mailbox]
        return Concluded(queued, mailed, left, settled, finished, rejoin)

    def _journal(self, c: Conclusion) -> None:
        decision, message = c.decision, c.arrival.id
        detail: dict[str, Any] = {"generation": c.generation}
        if decision.route:
            detail["route"] = decision.route
        if decision.code:
            detail |= {"code": decision.code, "en": decision.en, "zh": decision.zh}
        if decision.twin:
            detail["twin"] = show_id(decision.twin)
        if decision.steps:
            detail["steps"] = decision.steps
        if decision.waits:
            detail["waits"] = decision.waits
        if c.operations:
            detail["operations"] = self._signing.add(c.operations)
        if decision.findings:
            detail["findings"] = [_finding(f) for f in decision.findings]
        event = decision.event
        if c.arrival.only:
            event = self._reenter(message, event, c.at)
        self._db.journal(message, event, c.at, detail=detail)

    def _reenter(self, message: int, event: str, at: Instant) -> str:
        """Return the event that a parked receipt goes on with, from whatever state it is in by now."""
        state = self._rows.state(message)
        if state == "HELD" and event in ("accept", "recognise"):
            self._db.journal(message, "release", at)
            return event
        if event in MESSAGE[state]:
            return event
        return "reopen" if event == "accept" and "reopen" in MESSAGE[state] else "note"

    def _leave_pending(self, c: Conclusion, state: str, sheet: Sheet) -> None:
        execute, message, decision = self._db.connection.execute, c.arrival.id, c.decision
        if decision.event == "hold":
            execute("UPDATE pending SET state = ?, code = ? WHERE message = ?", (STATE["HELD"], decision.code, message))
        elif decision.event == "park":
            until = c.at + int(decision.wait_seconds * SECOND)
            execute("UPDATE pending SET code = 'parked', until = ? WHERE message = ?", (until, message))
        elif state:
            sheet.decided.append((message,))

    def _envelope(self, c: Conclusion, envelope: Envelope) -> tuple[Any, ...]:
        facts: dict[str, Any] = {
            "version": envelope.version,
            "documents": [d.keys for d in envelope.documents],
            "fields": envelope.fields,
        }
        if envelope.signed:
            facts["signed"] = True
        if envelope.wrappers:
            facts |= {"wrappers": envelope.wrappers, "digest": envelope.digest.hex()}
        if envelope.answers:
            facts["answers"] = [[a.code, a.stage, a.outcome, a.terminal, a.text] for a in envelope.answers]
            facts["causes"] = self._causes(c, envelope)
        text = orjson.dumps(facts).decode()
        return c.arrival.id, self._db.number(envelope.type), self._db.number(c.sender), envelope.own_id, text

    def _causes(self, c: Conclusion, envelope: Envelope) -> list[list[int] | None]:
        causes: list[list[int] | None] = [None] * len(envelope.documents)
        if c.arrival.only and (known := self._rows.envelope(c.arrival.id)):
            causes = known["causes"]
        for answered in c.decision.answered:
            causes[answered.record] = [answered.cause, answered.document]
        return causes

    def _plan(self, c: Conclusion, index: int, planned: Planned, number: int, sheet: Sheet) -> Delivery | None:
        documents = max(1, len(c.envelope.documents) if c.envelope else 1) if planned.expects_receipt else 0
        return self._deliveries.add(
            (c.arrival.id, number),
            planned,
            self._sent(c, index, planned),
            c.at,
            sheet,
            documents=documents,
            counts=c.decision.event == "accept",
            started=index in c.started,
        )

    def _sent(self, c: Conclusion, index: int, planned: Planned) -> Sent:
        own = c.envelope.type if c.envelope else ""
        if index in c.sealed:
            return Sent(c.sealed[index], c.sealed[index].headers.get("type", own))
        return written_here(planned) if planned.parcel is not None else Sent(c.arrival.parcel, own, frozen=False)

    # -- claim and settle ----------------------------------------------------------------------------------------

    def claim(self, asked: Sequence[tuple[Sequence[Delivery], Instant]]) -> list[list[Delivery]]:
        """QUEUED -> SENDING for those that still are."""
        return [self._claim(deliveries, at) for deliveries, at in asked]

    def _claim(self, deliveries: Sequence[Delivery], at: Instant) -> list[Delivery]:
        attempts: dict[int, int] = {}
        for start in range(0, len(deliveries), MOST):
            part = [delivery_id(*d.id) for d in deliveries[start : start + MOST]]
            query = (
                f"UPDATE delivery SET state = ?, attempts = attempts + 1 WHERE id IN ({marks(len(part))})"
                " AND state = ? RETURNING id, attempts"
            )
            attempts.update(self._db.connection.execute(query, (STATE["SENDING"], *part, STATE["QUEUED"])).fetchall())
        claimed = []
        for delivery in deliveries:
            if (count := attempts.get(delivery_id(*delivery.id))) is None:
                continue
            try:
                claimed.append(delivery.claimed(count, delivery.parcel or self._rows.sent(*delivery.id)))
            except NotFound as why:
                self._hold(delivery, why, at)
        return claimed

    def _hold(self, delivery: Delivery, why: NotFound, at: Instant) -> None:
        """Hold a delivery whose bytes are gone from disk: a person must look."""
        self._db.connection.execute(
            "UPDATE delivery SET state = ? WHERE id = ?", (STATE["HELD"], delivery_id(*delivery.id))
        )
        detail = {"code": "SWX-2080", "en": why.en, "zh": why.zh}
        self._db.journal(delivery.message, "hold", at, delivery.number, detail)

    def settle(self, asked: Sequence[Sequence[Outcome]]) -> list[list[Settled]]:
        """Write what became of attempts."""
        outcomes = [outcome for outcomes in asked for outcome in outcomes]
        settled = self._settle(outcomes)
        return [[settled.pop(0) for _ in outcomes] for outcomes in asked]

    def _settle(self, outcomes: Sequence[Outcome]) -> list[Settled]:
        known = self._open([delivery_id(*o.delivery.id) for o in outcomes])
        states, delivered, moved, ended, touched = [], [], [], [], []
        for outcome in outcomes:
            id = delivery_id(*outcome.delivery.id)
            state, documents, patience, counts, attempts, stages, place = known.get(id, GONE)
            if state == "QUEUED" and attempts < outcome.delivery.attempts:
                state = "SENDING"  # it was claimed while the disk couldn't be written
            if state != "SENDING":
                states.append(state)  # a receipt or an operator was faster
                continue
            state = step(DELIVERY, state, outcome.event)
            states.append(state)
            sent = outcome.delivery
            seq = self._db.journal(sent.message, outcome.event, outcome.at, sent.number, _told(outcome))
            if state == "DELIVERED":
                delivered.append((self._db.number(outcome.delivery.endpoint), seq, id))
            if state == "DELIVERED" and not documents:
                ended.append((id,))
            else:
                waits = outcome.at + patience if state == "DELIVERED" and patience else None
                if stages and state == "DELIVERED":
                    waits = deadline(read(self._db.text(stages), patience), place, outcome.at)
                moved.append((STATE[state], outcome.delivery.attempts, outcome.due_at, waits, id))
            if counts and state in ("DELIVERED", "FAILED"):
                touched.append(outcome.delivery.message)
        many = self._db.connection.executemany
        many("UPDATE delivery SET state = ?, attempts = ?, due_at = ?, deadline = ? WHERE id = ?", moved)
        many("DELETE FROM delivery WHERE id = ?", ended)
        self._deliveries.note_outgoing(delivered)
        finished = self._answers.finish(touched, outcomes[0].at if outcomes else 0)
        return [Settled(s, finished.get(o.delivery.message, "")) for s, o in zip(states, outcomes, strict=True)]

    def _open(self, ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        found: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(ids), MOST):
            part = ids[start : start + MOST]
            columns = "id, state, documents, patience, counts, attempts, stages, max(heard, told)"
            query = f"SELECT {columns} FROM delivery WHERE id IN ({marks(len(part))})"
            found |= {id: (STATES[s], *more) for id, s, *more in self._db.connection.execute(query, part)}
        return found


def _told(outcome: Outcome) -> dict[str, Any]:
    told: dict[str, Any] = {"attempt": outcome.delivery.attempts}
    if outcome.code:
        told |= {"code": outcome.code, "en": outcome.en, "zh": outcome.zh}
    if outcome.event == "defer":
        told["due_at"] = outcome.due_at
    return told


def _finding(finding: Any) -> dict[str, Any]:
    names = ("code", "severity", "pointer", "line", "rule", "value", "en", "zh")
    return {name: getattr(finding, name) for name in names}
