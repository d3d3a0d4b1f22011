"""The archive: what people and adapters read. Its own connection; it never waits for a commit, never blocks one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import zstandard

from exchange.errors import NotFound
from exchange.instants import NUMBER_BITS, show_id
from exchange.model import Parcel, indexed
from exchange.ports import Generation, Kept, Mail
from exchange.register import KeyVersion, Proposal
from exchange.signingjobs import SigningJob, Waiting
from exchange.signinglog import Row
from exchange.stores import _sqlite_register
from exchange.stores._sqlite_bodies import Bodies
from exchange.stores._sqlite_jobs import JobRows
from exchange.stores._sqlite_keys import key_hash
from exchange.stores._sqlite_rows import Rows, split_id
from exchange.stores._sqlite_signing import SigningRows
from exchange.stores._words import STATE, STATES

GENERATION: Final = "number, at, actor, reason, digest, text"
SCAN: Final = 50_000  # messages looked at for one page of a list


class Reader:
    """Reads one database; used by one thread."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection = connection
        self._names: dict[int, str] = {}
        bodies = Bodies(folder / "payloads", self._dictionary)
        self._rows = Rows(connection, bodies, self._text, self._day_of)
        self._jobs = JobRows(connection)
        self._signing = SigningRows(connection, self._text, partial(self._partitions, "day"))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _dictionary(self, number: int) -> bytes:
        return bytes(self._all("SELECT body FROM dictionary WHERE number = ?", number)[0][0])

    def _text(self, number: int) -> str:
        if number not in self._names:
            self._names.update(self._all("SELECT number, text FROM name"))
        return self._names[number]

    def _partitions(self, kind: str) -> list[int]:
        """Return the partitions of one kind, newest first."""
        return [n for (n,) in self._all("SELECT number FROM partition WHERE kind = ? ORDER BY number DESC", kind)]

    def _day_of(self, message: int) -> int | None:
        day = message >> 40
        return day if self._all("SELECT 1 FROM partition WHERE kind = 'day' AND number = ?", day) else None

    # -- one message ---------------------------------------------------------------------------------------------

    def payload(self, message: int, delivery: int | None) -> Parcel:
        """Read a message's own bytes, or those of one of its deliveries."""
        return self._rows.parcel(message) if delivery is None else self._rows.sent(message, delivery)

    def life(self, message: int) -> dict[str, Any]:
        """Read everything known of a message."""
        journal = [
            {"at": at, "event": event, "delivery": number, "actor": actor} | detail
            for _, at, event, number, actor, detail in self._rows.events(message)
        ]
        return self._head(message) | {
            "facts": self._rows.envelope(message) or {},
            "deliveries": self._deliveries(message, journal),
            "journal": journal,
        }

    def _head(self, message: int) -> dict[str, Any]:
        _, at, endpoint, party, name, _, size, digest = self._rows.message(message)
        facts = self._rows.envelope(message) or {}
        state, code = self._rows.standing(message)
        return {
            "id": show_id(message),
            "at": at,
            "state": state,
            "code": code,
            "type": facts.get("type", ""),
            "sender": facts.get("sender", ""),
            "own_id": facts.get("own_id", ""),
            "keys": [dict(keys) for keys in facts.get("documents", ())],
            "endpoint": self._text(endpoint),
            "party": self._text(party),
            "name": name,
            "size": size,
            "digest": bytes(digest).hex(),
        }

    def _deliveries(self, message: int, journal: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        bounds = message << NUMBER_BITS, (message + 1) << NUMBER_BITS
        opened = {
            row[0]: row[1:]
            for row in self._all("SELECT id, state, attempts, due_at FROM delivery WHERE id >= ? AND id < ?", *bounds)
        }
        planned = self._all(
            "SELECT id, endpoint, party, type, disposition, size, name"
            f" FROM planned_{self._rows.day(message)} WHERE id >= ? AND id < ? ORDER BY id",
            *bounds,
        )
        deliveries = []
        for id, endpoint, party, type, disposition, size, name in planned:
            number = split_id(id)[1]
            state, attempts, due_at = opened.get(id, (None, None, None))
            deliveries.append(
                {
                    "number": number,
                    "endpoint": self._text(endpoint),
                    "party": self._text(party),
                    "type": self._text(type),
                    "disposition": disposition,
                    "frozen": name is not None,
                    "size": size,
                    "state": STATES[state] if state is not None else _closed(number, journal),
                    "attempts": attempts if attempts is not None else _attempts(number, journal),
                    "due_at": due_at if state == STATE["QUEUED"] else None,
                }
            )
        return deliveries

    def operations(self, message: int, after: int, before: int, limit: int) -> list[Row]:
        """Read rows of the signing log: of one message, after a number, or before one."""
        if message:
            lines = (line[-1] for line in self._rows.events(message))
            return self._signing.numbered([number for detail in lines for number in detail.get("operations", ())])
        return self._signing.after(after, limit) if after or not before else self._signing.before(before, limit)

    def job(self, number: int) -> SigningJob | None:
        """Read a job of the remote signing API."""
        return self._jobs.job(number)

    def keyed_job(self, client: str, key: str) -> SigningJob | None:
        """Read the job that a client asked for under a key of its own."""
        return self._jobs.keyed(client, key)

    def waiting_jobs(self, since: int) -> Waiting:
        """Read what isn't finished, and how much each client had signed since an instant."""
        return self._jobs.waiting(since)

    # -- many ----------------------------------------------------------------------------------------------------

    def search(self, value: str, limit: int) -> list[dict[str, Any]]:
        """Find messages by any of their keys, newest first."""
        hashed = key_hash(indexed(value))
        ids = {message for (message,) in self._all("SELECT message FROM fresh_key WHERE hash = ?", hashed)}
        for week in self._partitions("week"):
            ids.update(m for (m,) in self._all(f"SELECT message FROM key_{week} WHERE hash = ?", hashed))
        found = []
        for message in sorted(ids, reverse=True):
            try:
                head = self._head(message)
            except NotFound:
                continue
            values = {head["own_id"], *(v for keys in head["keys"] for k in keys.values() for v in (k, indexed(k)))}
            if value in values:
                found.append(head)
            if len(found) >= limit:
                break
        return found

    def messages(
        self, state: str, party: str, type: str, answers: bool | None, before: int, limit: int
    ) -> list[dict[str, Any]]:
        """List messages, newest first; *answers* True lists receipts only, False everything else."""
        found: list[dict[str, Any]] = []
        for seen, message in enumerate(self._ids(state, before or 1 << 62)):
            if len(found) >= limit or seen >= SCAN:
                break
            try:
                head = self._head(message)
            except NotFound:
                continue
            facts = self._rows.envelope(message) or {}
            if (
                (party in ("", head["party"], head["sender"]))
                and type in ("", head["type"])
                and (not state or state in (head["state"], "HELD"))
                and answers in (None, bool(facts.get("answers")))
            ):
                found.append(head | ({"answers": facts["answers"]} if facts.get("answers") else {}))
        return found

    def held_for(self, party: str, code: str, after: int, limit: int) -> list[int]:
        """Read which messages of a party are held for a reason, oldest first."""
        query = "SELECT message FROM pending WHERE message > ? AND state = ? AND code = ? ORDER BY message"
        held = (id for (id,) in self._connection.execute(query, (after, STATE["HELD"], code)))
        return list(islice((id for id in held if self._text(self._rows.message(id)[3]) == party), limit))

    def of_type(self, type: str, since_day: int, before: int, limit: int) -> list[Kept]:
        """Read what is kept of messages of one type, newest first: those before an id, not older than a day."""
        number = self._all("SELECT number FROM name WHERE text = ?", type)
        kept: list[Kept] = []
        for day in self._partitions("day") if number else ():
            if day < since_day or len(kept) == limit:
                break
            query = f"SELECT message FROM envelope_{day} WHERE type = ? AND message < ? ORDER BY message DESC LIMIT ?"
            try:
                ids = self._all(query, number[0][0], before, limit - len(kept))
                kept += [self._kept(message) for (message,) in ids]
            except (NotFound, sqlite3.OperationalError):
                if day in self._partitions("day"):
                    raise  # else retention dropped it just now
        return kept

    def _kept(self, message: int) -> Kept:
        _, at, _, _, name, *_ = self._rows.message(message)
        facts = self._rows.envelope(message) or {}
        return Kept(message, at, facts.get("sender", ""), name, *self._rows.standing(message))

    def _ids(self, state: str, before: int) -> Iterator[int]:
        """Yield ids that may be in *state*, newest first: open states have small tables of their own."""
        shifted = min(before << NUMBER_BITS, (1 << 63) - 1) if before < 1 << 55 else (1 << 63) - 1
        if state in ("RECEIVED", "HELD"):
            ids = {
                m
                for (m,) in self._all(
                    "SELECT message FROM pending WHERE message < ? AND state = ?", before, STATE[state]
                )
            }
            if state == "HELD":
                held = self._all("SELECT id FROM delivery WHERE id < ? AND state = ?", shifted, STATE[state])
                ids |= {split_id(id)[0] for (id,) in held}
            yield from sorted(ids, reverse=True)
        elif state in ("FAILED", "ACCEPTED"):
            failed = "AND state = ?" if state == "FAILED" else "AND state <> ?"
            rows = self._all(f"SELECT id FROM delivery WHERE id < ? AND counts = 1 {failed}", shifted, STATE["FAILED"])
            yield from sorted({split_id(id)[0] for (id,) in rows}, reverse=True)
        else:
            for day in self._partitions("day"):
                query = f"SELECT id FROM message_{day} WHERE id < ? ORDER BY id DESC"
                yield from (id for (id,) in self._connection.execute(query, (before,)))

    def mailbox(self, endpoint: str, after: int, limit: int) -> list[Mail]:
        """Read what was delivered to an endpoint after a position."""
        row = self._all("SELECT number FROM name WHERE text = ?", endpoint)
        if not row:
            return []
        mails: list[Mail] = []
        for day in reversed(self._partitions("day")):
            query = f"SELECT seq, delivery FROM outgoing_{day} WHERE endpoint = ? AND seq > ? ORDER BY seq LIMIT ?"
            for seq, delivery in self._all(query, row[0][0], after, limit - len(mails)):
                message, number = split_id(delivery)
                try:
                    at = self._rows.message(message)[1]
                    mails.append(Mail(seq, message, at, self._rows.sent(message, number)))
                except NotFound:
                    continue
        return mails

    def queues(self) -> list[dict[str, Any]]:
        """Count open deliveries by endpoint and state."""
        rows = self._all(
            "SELECT endpoint, state, count(*), min(queued_at), sum(size) FROM delivery GROUP BY endpoint, state"
        )
        return [
            {
                "endpoint": self._text(endpoint),
                "state": STATES[state],
                "depth": depth,
                "oldest_at": oldest,
                "bytes": size,
            }
            for endpoint, state, depth, oldest, size in rows
        ]

    def generations(self, limit: int) -> list[Generation]:
        """List published routing tables, newest first."""
        rows = self._all(f"SELECT {GENERATION} FROM generation ORDER BY number DESC LIMIT ?", limit)
        return [_generation(*row) for row in rows]

    def generation(self, number: int) -> Generation:
        """Read one published routing table. Raises NotFound."""
        for row in self._all(f"SELECT {GENERATION} FROM generation WHERE number = ?", number):
            return _generation(*row)
        raise NotFound(f"there is no generation {number} of the routing table", f"没有第 {number} 代路由表")

    def parties(self) -> list[Mapping[str, Any]]:
        """Read the parties that were imported."""
        return [orjson.loads(body) for (body,) in self._all("SELECT body FROM party ORDER BY code")]

    def proposals(self, limit: int) -> list[Proposal]:
        """List proposals, newest first."""
        return _sqlite_register.proposals(self._connection, limit)

    def proposal(self, number: int) -> Proposal:
        """Read one proposal."""
        return _sqlite_register.proposal(self._connection, number)

    def signing_keys(self) -> list[KeyVersion]:
        """Read every version of every key."""
        return _sqlite_register.keys(self._connection)


def _generation(number: int, at: int, actor: str, reason: str, digest: str, text: bytes) -> Generation:
    return Generation(number, at, actor, reason, digest, zstandard.ZstdDecompressor().decompress(text).decode())


def _closed(number: int, journal: Sequence[Mapping[str, Any]]) -> str:
    """Return the state that a delivery was closed in."""
    ends = {"deliver": "DELIVERED", "confirm": "DELIVERED", "answer": "ANSWERED", "cancel": "CANCELLED"}
    events = [line["event"] for line in journal if line["delivery"] == number and line["event"] in ends]
    return ends[events[-1]] if events else "CANCELLED"


def _attempts(number: int, journal: Sequence[Mapping[str, Any]]) -> int:
    return max((line.get("attempt", 0) for line in journal if line["delivery"] == number), default=0)
