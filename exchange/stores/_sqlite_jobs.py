"""Jobs of the remote signing API: one row each, written when it is taken on, and once more with what came of it.

A job's answer is written in the transaction of its rows in the signing log, and never over another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import zstandard

from exchange.errors import Refused
from exchange.instants import Instant
from exchange.signingjobs import SigningJob, Waiting
from exchange.signinglog import Operation
from exchange.stores._sqlite_base import Database
from exchange.stores._sqlite_signing import SigningLog

COLUMNS: Final = "number, client, party, key, digest, items, request, answer"
SWEPT: Final = 500  # jobs forgotten at once: others wait meanwhile


class Jobs:
    """The writing side."""

    def __init__(self, db: Database, log: SigningLog) -> None:
        self._db, self._log = db, log

    def open(self, asked: Sequence[SigningJob]) -> list[Any]:
        """Keep jobs that are to be done."""
        return [self._written(job) for job in asked]

    def finish(self, asked: Sequence[tuple[SigningJob, Sequence[Operation]]]) -> list[Any]:
        """Write answers with their rows of the log; where a job has one already, that stays and is returned."""
        return [self._finished(job, operations) for job, operations in asked]

    def _finished(self, job: SigningJob, operations: Sequence[Operation]) -> SigningJob | Refused:
        kept = self._kept(job.number)
        written = kept if kept is not None and kept.answer else self._written(job)
        self._log.add(operations)
        return written

    def _written(self, job: SigningJob) -> SigningJob | Refused:
        """Write a job, unless its client has another one under the same key."""
        if job.key:
            query = "SELECT number FROM signing_job WHERE client = ? AND key = ?"
            row = self._db.connection.execute(query, (job.client, job.key)).fetchone()
            if row and row[0] != job.number:
                return Refused(f"{job.client} has a job under this key", f"{job.client} 已用该键提交过任务")
        request = None if job.answer else zstandard.compress(job.request)
        answer = zstandard.compress(job.answer) if job.answer else None
        values = job.number, job.client, job.party, job.key, job.digest, job.items, request, answer
        self._db.connection.execute(f"INSERT OR REPLACE INTO signing_job VALUES ({','.join('?' * 8)})", values)
        return job

    def _kept(self, number: int) -> SigningJob | None:
        return JobRows(self._db.connection).job(number)

    def forget(self, asked: Sequence[Instant]) -> list[int]:
        """Remove finished jobs that came before an instant: so many at a time; return how many that were."""
        return [self._forgotten(before) for before in asked]

    def _forgotten(self, before: Instant) -> int:
        old = "SELECT number FROM signing_job WHERE number < ? AND answer IS NOT NULL ORDER BY number LIMIT ?"
        removed = self._db.connection.execute(f"DELETE FROM signing_job WHERE number IN ({old})", (before, SWEPT))
        return removed.rowcount


class JobRows:
    """Reads over any connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def job(self, number: int) -> SigningJob | None:
        """Return the job of a number."""
        return next(iter(self._jobs("number = ?", number)), None)

    def keyed(self, client: str, key: str) -> SigningJob | None:
        """Return the job that a client asked for under a key."""
        return next(iter(self._jobs("client = ? AND key = ?", client, key)), None)

    def waiting(self, since: Instant) -> Waiting:
        """Return what isn't finished, and how many items the jobs of each client had that came since an instant."""
        (newest,) = self._connection.execute("SELECT max(number) FROM signing_job").fetchone()
        query = "SELECT client, sum(items) FROM signing_job WHERE number >= ? GROUP BY client"
        signed = dict(self._connection.execute(query, (since,)).fetchall())
        return Waiting(self._jobs("answer IS NULL ORDER BY number"), newest or 0, signed)

    def _jobs(self, where: str, *values: Any) -> list[SigningJob]:
        rows = self._connection.execute(f"SELECT {COLUMNS} FROM signing_job WHERE {where}", values).fetchall()
        return [
            SigningJob(*row[:6], *(zstandard.decompress(body) if body else b"" for body in row[6:])) for row in rows
        ]
