"""The verbs that are asked now and then: recovery, refilling, deadlines, retention, and what operators do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
import zstandard

from exchange.errors import InvalidTransition, NotFound, Refused
from exchange.instants import ID_BITS, NUMBER_BITS, Instant, show_id
from exchange.lifecycle import DELIVERY, MESSAGE, step
from exchange.model import Arrival, Delivery
from exchange.ports import LAST, Backlog, Change, Changed, Generation, Hold, Overdue
from exchange.stores._sqlite_answers import Answers
from exchange.stores._sqlite_base import Database
from exchange.stores._sqlite_deliveries import Deliveries, DeliveryRows, written_here
from exchange.stores._sqlite_rows import Rows, day_bounds, delivery_id, split_id
from exchange.stores._stages import Stages, deadline, read
from exchange.stores._words import STATE, STATES

POISON: Final = 3  # deaths of a worker after which a person must look
UNKNOWN = {"code": "SWX-3030", "en": "the outcome is unknown: the switch stopped", "zh": "结果未知：交换机曾停止"}
OVERDUE = {"code": "SWX-3040", "en": "the receipt is overdue", "zh": "回执超时未到"}
POISONED = {"code": "SWX-2030", "en": "the switch died three times sending this", "zh": "投递时交换机三次异常退出"}


class Rare:
    """What isn't done for every message."""

    def __init__(self, db: Database, rows: Rows, answers: Answers, deliveries: Deliveries) -> None:
        self._db, self._rows, self._answers, self._deliveries = db, rows, answers, deliveries

    @property
    def _execute(self) -> Callable[..., Any]:
        return self._db.connection.execute

    # -- start and refill ----------------------------------------------------------------------------------------

    def recover(self, now: Instant) -> Backlog:
        """Put back what was being sent when the process died, and list what was not decided."""
        sending = self._execute("SELECT id, unknown FROM delivery WHERE state = ?", (STATE["SENDING"],)).fetchall()
        for id, unknown in sending:
            message, number = split_id(id)
            poisoned = unknown + 1 >= POISON
            self._execute(
                "UPDATE delivery SET state = ?, unknown = unknown + 1 WHERE id = ?",
                (STATE["HELD" if poisoned else "QUEUED"], id),
            )
            self._db.journal(message, "hold" if poisoned else "defer", now, number, POISONED if poisoned else UNKNOWN)
        arrivals = [
            row[0] for row in self._execute("SELECT message FROM pending WHERE state = ?", (STATE["RECEIVED"],))
        ]
        arrivals += [row[0] for row in self._execute("SELECT DISTINCT message FROM parked")]
        (count,) = self._execute("SELECT count(*) FROM delivery").fetchone()
        return Backlog(tuple(sorted(set(arrivals))), count, len(sending))

    def probe(self, asked: Sequence[None]) -> Sequence[None]:
        """Write the first page as it is."""
        (version,) = self._execute("PRAGMA user_version").fetchone()
        self._execute(f"PRAGMA user_version = {version}")
        return asked

    def arrivals(self, asked: Sequence[tuple[Sequence[int], bool]]) -> list[list[Arrival]]:
        """Read what waits to be decided."""
        return [
            [arrival for message in messages if (arrival := self._arrival(message, count_try)) is not None]
            for messages, count_try in asked
        ]

    def _arrival(self, message: int, count_try: bool) -> Arrival | None:
        row = self._execute("SELECT state, tries, code FROM pending WHERE message = ?", (message,)).fetchone()
        only = tuple(
            document
            for (document,) in self._execute("SELECT DISTINCT document FROM parked WHERE message = ?", (message,))
        )
        try:
            if row is not None and STATES[row[0]] == "RECEIVED":
                if count_try:
                    self._execute("UPDATE pending SET tries = tries + 1 WHERE message = ?", (message,))
                    self._db.journal(message, "try", self._db.now(), detail={"tries": row[1] + 1})
                return self._rows.arrival(message, row[1] + count_try, only)
            return self._rows.arrival(message, 0, only) if only else None
        except NotFound as why:
            if row is not None and STATES[row[0]] == "RECEIVED":
                self._hold_lost(message, why)
            return None

    def _hold_lost(self, message: int, why: NotFound) -> None:
        """Hold a message whose bytes are gone from disk: a person must look."""
        self._execute("UPDATE pending SET state = ?, code = 'SWX-2080' WHERE message = ?", (STATE["HELD"], message))
        detail = {"code": "SWX-2080", "en": why.en, "zh": why.zh}
        self._db.journal(message, "hold", self._db.now(), detail=detail)

    def due(self, asked: Sequence[tuple[str, tuple[int, int], int]]) -> list[list[Delivery]]:
        """Read QUEUED deliveries past a place, oldest first."""
        return [self._due(*one) for one in asked]

    def _due(self, endpoint: str, after: tuple[int, int], limit: int) -> list[Delivery]:
        found: list[Delivery] = []
        place = delivery_id(*after)
        only = "AND d.endpoint = ?" if endpoint else ""
        values = (self._db.number(endpoint),) if endpoint else ()
        for day in self._db.days(newest_first=False):
            first, end = day_bounds(day)
            if end <= place or len(found) >= limit:
                continue
            rows = self._execute(
                "SELECT d.id, d.endpoint, d.party, attempts, unknown, queued_at, due_at, d.size, p.keys"
                f" FROM delivery d JOIN planned_{day} p ON p.id = d.id WHERE d.id > ? AND d.id < ? AND state = ? {only}"
                " ORDER BY d.id LIMIT ?",
                (max(place, first - 1), end, STATE["QUEUED"], *values, limit - len(found)),
            )
            found += [self._rows.delivery(tuple(row)) for row in rows]
        return found

    # -- time ----------------------------------------------------------------------------------------------------

    def overdue(self, asked: Sequence[Instant]) -> list[Overdue]:
        """Journal what passed its deadline."""
        return [self._overdue(now) for now in asked]

    def _overdue(self, now: Instant) -> Overdue:
        rows = self._execute(
            "SELECT id, party, deadline, patience, stages, heard, told FROM delivery WHERE deadline <= ? LIMIT 10000",
            (now,),
        ).fetchall()
        late = [
            (split_id(id)[0], self._db.text(party), stage)
            for id, party, *waiting in rows
            for stage in self._tell(id, now, *waiting)
        ]
        return Overdue(late, self._answers.expire(now), self._missing())

    def _stages(self, stages: int | None, patience: int | None) -> Stages:
        return read(self._db.text(stages) if stages is not None else "", patience)

    def _tell(
        self, id: int, now: Instant, due: Instant, patience: int | None, stages: int | None, heard: int, told: int
    ) -> list[str]:
        """Journal every stage of a delivery that is overdue and wasn't told; return them."""
        waits, place = self._stages(stages, patience), max(heard, told)
        since, late = due - waits[place][1], []
        while place < len(waits) and since + waits[place][1] <= now:
            stage = waits[place][0]
            detail = dict(OVERDUE) if stage == LAST else _overdue(stage)
            self._db.journal(split_id(id)[0], "overdue", now, split_id(id)[1], detail)
            late.append(stage)
            place += 1
        due_next = deadline(waits, place, since)
        self._execute("UPDATE delivery SET told = ?, deadline = ? WHERE id = ?", (place, due_next, id))
        return late

    def _missing(self) -> dict[tuple[str, str], int]:
        """Count what is missing now, by party and stage."""
        counts: Counter[tuple[str, str]] = Counter()
        rows = self._execute(
            "SELECT party, stages, patience, heard, told, count(*) FROM delivery WHERE told > heard"
            " GROUP BY party, stages, patience, heard, told"
        )
        for party, stages, patience, heard, told, count in rows:
            for stage, _ in self._stages(stages, patience)[heard:told]:
                counts[self._db.text(party), stage] += count
        return dict(counts)

    def retain(self, asked: Sequence[int]) -> list[int]:
        """Drop days that are over and hold nothing open; return how many. Their large payloads go at the next look."""
        self._db.bodies.sweep(self._db.days())
        return [self._retain(before) for before in asked]

    def _retain(self, before: int) -> int:
        dropped = 0
        newest = max(self._db.days(), default=0)
        for day in self._db.days():
            if day >= before or day == newest or self._holds_open(day):
                continue
            for table in ("message", "envelope", "planned", "event", "outgoing", "signing"):
                self._execute(f"DROP TABLE {table}_{day}")
            self._forget("day", day)
            dropped += 1
        oldest = min(self._db.days(), default=0)
        for week in [number for kind, number in self._db.partitions if kind == "week" and number < oldest // 7]:
            self._execute(f"DROP TABLE key_{week}")
            self._forget("week", week)
        return dropped

    def _holds_open(self, day: int) -> bool:
        first, end = day_bounds(day)
        open_work = "SELECT 1 FROM delivery WHERE id >= ? AND id < ? AND state <> ? LIMIT 1"
        held = "SELECT 1 FROM pending WHERE message >= ? AND message < ? LIMIT 1"
        return bool(
            self._execute(open_work, (first, end, STATE["DELIVERED"])).fetchone()
            or self._execute(held, (day << ID_BITS, (day + 1) << ID_BITS)).fetchone()
        )

    def _forget(self, kind: str, number: int) -> None:
        self._execute("DELETE FROM partition WHERE kind = ? AND number = ?", (kind, number))
        if kind == "day":
            self._execute("DELETE FROM delivery WHERE id >= ? AND id < ?", day_bounds(number))
            self._execute("DELETE FROM heard WHERE delivery >= ? AND delivery < ?", day_bounds(number))
            self._execute(
                "DELETE FROM parked WHERE message >= ? AND message < ?", (number << ID_BITS, (number + 1) << ID_BITS)
            )
        self._db.partitions.discard((kind, number))

    # -- operators -----------------------------------------------------------------------------------------------

    def change(self, asked: Sequence[Sequence[Change]]) -> list[list[Changed]]:
        """Do what operators ask. A refusal takes the whole transaction back; the others are then applied anew."""
        return [[getattr(self, f"_{change.verb}")(change) for change in changes] for changes in asked]

    def _step(self, change: Change, event: str) -> str:
        """Move the message itself by *event*; journal who and why."""
        state = self._rows.state(change.message)
        try:
            after = step(MESSAGE, state, event)
        except InvalidTransition:
            raise _refused(change, state) from None
        self._db.journal(change.message, event, change.at, detail={"reason": change.reason}, actor=change.actor)
        return after

    def _move(self, change: Change, event: str, number: int, state: str) -> None:
        id = delivery_id(change.message, number)
        if state == "CANCELLED":
            self._execute("DELETE FROM delivery WHERE id = ?", (id,))
        else:
            self._execute(
                "UPDATE delivery SET state = ?, due_at = ?, deadline = NULL, told = 0 WHERE id = ?",
                (STATE[state], change.at, id),
            )
        self._db.journal(change.message, event, change.at, number, {"reason": change.reason}, change.actor)

    def _open(self, change: Change, *states: str) -> list[tuple[int, str]]:
        """Return (number, state) of the open deliveries that the change is about."""
        rows = self._execute(
            "SELECT id, state FROM delivery WHERE id >= ? AND id < ?",
            (change.message << NUMBER_BITS, (change.message + 1) << NUMBER_BITS),
        ).fetchall()
        found = [(split_id(id)[1], STATES[state]) for id, state in rows]
        return [(number, state) for number, state in found if state in states and change.delivery in (None, number)]

    def _hold(self, change: Change) -> Changed:
        if self._rows.state(change.message) == "RECEIVED":
            self._execute(
                "UPDATE pending SET state = ?, code = 'SWX-2050' WHERE message = ?", (STATE["HELD"], change.message)
            )
            return Changed(self._step(change, "hold"))
        queued = self._open(change, "QUEUED")
        if not queued:
            raise _refused(change, self._rows.state(change.message))
        for number, _ in queued:
            self._move(change, "hold", number, "HELD")
        return Changed("HELD", withdrawn=[(change.message, number) for number, _ in queued])

    def _release(self, change: Change) -> Changed:
        if self._rows.state(change.message) == "HELD":
            self._execute(
                "UPDATE pending SET state = ?, tries = 0, code = 'released' WHERE message = ?",
                (STATE["RECEIVED"], change.message),
            )
            return Changed(self._step(change, "release"), arrivals=[change.message])
        held = self._open(change, "HELD")
        if not held:
            raise _refused(change, self._rows.state(change.message))
        for number, _ in held:
            self._move(change, "release", number, "QUEUED")
        return Changed("QUEUED", self._again(change, [number for number, _ in held]))

    def _resend(self, change: Change) -> Changed:
        """Send the same bytes again: FAILED deliveries, else DELIVERED ones that no receipt has proved."""
        state = self._rows.state(change.message)
        again = self._open(change, "FAILED") or self._open(change, "DELIVERED")
        for number, was in again:
            self._move(change, "retry" if was == "FAILED" else "resend", number, "QUEUED")
        numbers = [number for number, _ in again] or self._reopen_delivered(change)
        if not numbers:
            raise _refused(change, state)
        if state in ("FAILED", "COMPLETED"):
            self._step(change, "reopen")
        return Changed("QUEUED", self._again(change, numbers))

    def _reopen_delivered(self, change: Change) -> list[int]:
        """Open again the deliveries whose last step was *deliver*."""
        last = {
            number: event
            for _, _, event, number, _, _ in self._rows.events(change.message)
            if number is not None and event in ("deliver", "answer", "cancel", "fail")
        }
        numbers = [n for n, event in last.items() if event == "deliver" and change.delivery in (None, n)]
        counts = int(self._rows.state(change.message) in ("ACCEPTED", "COMPLETED", "FAILED"))
        for number in numbers:
            self._execute(
                "INSERT OR IGNORE INTO delivery"
                " SELECT id, endpoint, party, ?, 0, 0, ?, ?, size, ?, documents, patience, NULL, stages, 0, 0"
                f" FROM planned_{self._rows.day(change.message)} WHERE id = ?",
                (STATE["QUEUED"], change.at, change.at, counts, delivery_id(change.message, number)),
            )
            self._db.journal(change.message, "resend", change.at, number, {"reason": change.reason}, change.actor)
        return numbers

    def _requeue(self, change: Change) -> Changed:
        """Send the message through the pipeline again: new deliveries, decided anew."""
        self._step(change, "requeue")
        self._execute(
            "INSERT OR REPLACE INTO pending (message, state, code) VALUES (?, ?, 'requeued')",
            (change.message, STATE["RECEIVED"]),
        )
        return Changed("RECEIVED", arrivals=[change.message])

    def _discard(self, change: Change) -> Changed:
        """Give up a held or failed message; what of it is still open is cancelled, and its sender may be told."""
        state = self._step(change, "discard")
        self._execute("DELETE FROM pending WHERE message = ?", (change.message,))
        self._execute("DELETE FROM parked WHERE message = ?", (change.message,))
        withdrawn = []
        for number, was in self._open(change, "QUEUED", "HELD", "FAILED"):
            step(DELIVERY, was, "cancel")
            self._move(change, "cancel", number, "CANCELLED")
            withdrawn.append((change.message, number))
        return Changed(state, self._plan(change), withdrawn, mailed=[p.endpoint for p in change.planned if p.mailbox])

    def _plan(self, change: Change) -> list[Delivery]:
        """Write the deliveries that come with a change; return those that are to be sent."""
        rows, first = DeliveryRows(), self._deliveries.free_number(change.message)
        added = [
            self._deliveries.add((change.message, first + i), planned, written_here(planned), change.at, rows)
            for i, planned in enumerate(change.planned)
        ]
        self._deliveries.insert(rows)
        return [delivery for delivery in added if delivery is not None]

    def _again(self, change: Change, numbers: Sequence[int]) -> list[Delivery]:
        return self._rows.deliveries([delivery_id(change.message, number) for number in numbers])

    # -- configuration -------------------------------------------------------------------------------------------

    def publish(self, asked: Sequence[tuple[str, str, str, Instant, str]]) -> list[Generation]:
        """Append generations of the routing table."""
        return [self._publish(*one) for one in asked]

    def _publish(self, text: str, actor: str, reason: str, at: Instant, digest: str) -> Generation:
        (last,) = self._execute("SELECT coalesce(max(number), 0) FROM generation").fetchone()
        body = zstandard.ZstdCompressor().compress(text.encode())
        self._execute("INSERT INTO generation VALUES (?,?,?,?,?,?)", (last + 1, at, actor, reason, digest, body))
        self._operation(at, actor, "publish", f"generation {last + 1}", reason)
        return Generation(last + 1, at, actor, reason, digest, text)

    def holds(self, asked: Sequence[tuple[Mapping[str, str] | None, str, str, Instant]]) -> list[dict[str, Hold]]:
        """Change and return what is on hold."""
        for changes, actor, reason, at in asked:
            for subject, state in (changes or {}).items():
                self._execute("DELETE FROM hold WHERE subject = ?", (subject,))
                if state:
                    self._execute("INSERT INTO hold VALUES (?,?,?,?,?)", (subject, state, actor, reason, at))
                self._operation(at, actor, "hold" if state else "resume", subject, reason)
        rows = self._execute("SELECT subject, actor, reason, at FROM hold").fetchall()
        now = {subject: Hold(*more) for subject, *more in rows}
        return [now] * len(asked)

    def parties(self, asked: Sequence[tuple[Sequence[Mapping[str, Any]], str, str, Instant]]) -> list[int]:
        """Keep imported parties; return how many."""
        counts = []
        for parties, actor, reason, at in asked:
            self._db.connection.executemany(
                "INSERT OR REPLACE INTO party VALUES (?, ?)", [(p["code"], orjson.dumps(p)) for p in parties]
            )
            self._operation(at, actor, "import", f"{len(parties)} parties", reason)
            counts.append(len(parties))
        return counts

    def _operation(self, at: Instant, actor: str, verb: str, subject: str, reason: str) -> None:
        self._execute("INSERT INTO operation VALUES (?,?,?,?,?)", (at, actor, verb, subject, reason))


def _overdue(stage: str) -> dict[str, str]:
    return {
        "code": "SWX-3041",
        "stage": stage,
        "en": f"no receipt of stage {stage!r} came in time",
        "zh": f"“{stage}”环节的回执超时未到",
    }


def _refused(change: Change, state: str) -> Refused:
    past, en, zh = _FITS[change.verb]
    return Refused(
        f"message {show_id(change.message)} is {state}: it can't be {past}; only {en} can",
        f"报文 {show_id(change.message)} 处于 {state} 状态，不能执行 {change.verb}：仅适用于{zh}",
    )


_FITS: Final = {  # verb -> its past, and what it is for
    "hold": ("held", "what isn't decided, or has deliveries that aren't sent", "尚未处理的报文和尚未发送的投递"),
    "release": ("released", "what is HELD, or has deliveries that are", "已挂起（HELD）的报文和投递"),
    "resend": ("resent", "what was delivered or failed, and no receipt has proved", "已投递或失败、且无回执证实的投递"),
    "requeue": ("requeued", "what is COMPLETED", "已完成（COMPLETED）的报文"),
    "discard": ("discarded", "what is HELD or FAILED", "已挂起（HELD）或失败（FAILED）的报文"),
}
