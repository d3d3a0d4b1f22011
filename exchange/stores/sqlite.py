"""The embedded store: one SQLite file, one writing thread with group commit, one reading thread.

``SqliteStore`` is ``ports.Store`` and ``ports.Archive``. The tables are explained column by column in
``main-*.sql``, ``day-*.sql`` and ``week-*.sql``; what a crash costs in each state is in
docs/explanation/guarantees.md.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from exchange.errors import NotFound, StoreError
from exchange.instants import Instant, day_number
from exchange.model import Arrival, Conclusion, Context, Delivery, Endpoint, Outcome, Parcel, Question
from exchange.ports import (
    Backlog,
    Change,
    Changed,
    Concluded,
    Generation,
    Hold,
    Mail,
    Overdue,
    Past,
    Settled,
    microseconds,
)
from exchange.register import KeyVersion, Proposal
from exchange.signingjobs import SigningJob, Waiting
from exchange.signinglog import Operation, Row
from exchange.stores._batch import Batcher, Request
from exchange.stores._sqlite_answers import Answers
from exchange.stores._sqlite_base import Connect, Database, connect
from exchange.stores._sqlite_deliveries import Deliveries
from exchange.stores._sqlite_hot import Hot
from exchange.stores._sqlite_jobs import Jobs
from exchange.stores._sqlite_keys import KeyIndex
from exchange.stores._sqlite_look import Look
from exchange.stores._sqlite_rare import Rare
from exchange.stores._sqlite_read import Reader
from exchange.stores._sqlite_register import Keeping
from exchange.stores._sqlite_rows import Rows
from exchange.stores._sqlite_signing import SigningLog

FILE: Final = "switch.db"


class SqliteStore:
    """Durable state in *folder*, and its journal.

    *sample* is text that payloads resemble (sample messages, at most 64 KiB of it is used): they are compressed
    against it. *duplicate_days* is how far back a message id is recognised as seen before.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], Instant] = microseconds,
        sample: bytes = b"",
        duplicate_days: int = 30,
        connect: Connect = connect,
        observe: Callable[[int], None] | None = None,
    ) -> None:
        self.folder = folder
        self._now = now
        self._duplicate_days = duplicate_days
        self._observe = observe
        self._db = Database(folder, now, sample[:65_536], connect)

    # -- life ----------------------------------------------------------------------------------------------------

    async def open(self) -> Backlog:
        """Open or create, recover, and start the threads."""
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._batcher = Batcher(self._apply, observe=self._observe)
        backlog: Backlog = await self._batcher.ask("open", None)
        return backlog

    def _open(self) -> Backlog:
        self._db.open(self._file())
        self._keys = KeyIndex(self._db.connection, self._week, self._weeks)
        rows = Rows(self._db.connection, self._db.bodies, self._db.text, self._db.day_of)
        self._answers = Answers(self._db, rows)
        look = Look(self._db, self._keys, rows)
        self._signing = SigningLog(self._db)
        deliveries = Deliveries(self._db, rows)
        hot = Hot(self._db, self._keys, rows, look, self._answers, self._signing, deliveries)
        rare = Rare(self._db, rows, self._answers, deliveries)
        jobs = Jobs(self._db, self._signing)
        self._verbs: dict[str, Callable[[Sequence[Any]], Sequence[Any]]] = {
            "receive": hot.receive,
            "context": hot.context,
            "conclude": hot.conclude,
            "claim": hot.claim,
            "settle": hot.settle,
            "probe": rare.probe,
            "arrivals": rare.arrivals,
            "due": rare.due,
            "overdue": rare.overdue,
            "retain": rare.retain,
            "change": rare.change,
            "publish": rare.publish,
            "holds": rare.holds,
            "import_parties": rare.parties,
            "log": self._signing.log,
            "open_job": jobs.open,
            "finish_job": jobs.finish,
            "forget_jobs": jobs.forget,
            "record": Keeping(self._db.connection).record,
        }
        with self._db.transaction():
            self._load()
            return rare.recover(self._now())

    def _file(self) -> str:
        return FILE

    def _load(self) -> None:
        self._keys.load()
        self._answers.load()
        self._signing.load()

    def _week(self) -> str:
        return f"key_{self._db.partition('week', self._db.today() // 7)}"

    def _weeks(self) -> list[str]:
        oldest = (day_number(self._now()) - self._duplicate_days) // 7
        weeks = sorted((n for kind, n in self._db.partitions if kind == "week" and n >= oldest), reverse=True)
        return [f"key_{week}" for week in weeks]

    async def close(self) -> None:
        """Commit what was asked and close."""
        await self._batcher.close()
        self._reading.shutdown()
        if hasattr(self, "_reader"):
            self._reader.close()  # before the writer: the last to leave puts everything into the one file
        self._db.close()

    # -- the writing thread --------------------------------------------------------------------------------------

    def _apply(self, requests: list[Request]) -> Sequence[Any]:
        if requests[0][0] == "open":
            return [self._open()]  # nothing else can have been asked yet
        groups: dict[str, list[int]] = {}
        for place, (verb, _) in enumerate(requests):
            groups.setdefault(verb, []).append(place)
        results: list[Any] = [None] * len(requests)
        with self._db.transaction() as again:
            if again:
                self._load()
            for verb, places in groups.items():
                answers = self._verbs[verb]([requests[place][1] for place in places])
                for place, answer in zip(places, answers, strict=True):
                    results[place] = answer
        return results

    # -- verbs ---------------------------------------------------------------------------------------------------

    def probe(self) -> Awaitable[None]:
        """See ``ports.Store``."""
        return self._batcher.ask("probe", None)

    def receive(self, parcel: Parcel, endpoint: Endpoint, at: Instant) -> Awaitable[Arrival]:
        """See ``ports.Store``."""
        return self._batcher.ask("receive", (parcel, endpoint, at))

    def arrivals(self, ids: Sequence[int], *, count_try: bool = False) -> Awaitable[Sequence[Arrival]]:
        """See ``ports.Store``."""
        return self._batcher.ask("arrivals", (ids, count_try))

    def context(self, questions: Sequence[Question]) -> Awaitable[Sequence[Context]]:
        """See ``ports.Store``."""
        return self._batcher.ask("context", questions)

    def conclude(self, conclusions: Sequence[Conclusion]) -> Awaitable[Sequence[Concluded]]:
        """See ``ports.Store``."""
        return self._batcher.ask("conclude", conclusions)

    def claim(self, deliveries: Sequence[Delivery], at: Instant) -> Awaitable[Sequence[Delivery]]:
        """See ``ports.Store``."""
        return self._batcher.ask("claim", (deliveries, at))

    def settle(self, outcomes: Sequence[Outcome]) -> Awaitable[Sequence[Settled]]:
        """See ``ports.Store``."""
        return self._batcher.ask("settle", outcomes)

    def change(self, changes: Sequence[Change]) -> Awaitable[Sequence[Changed]]:
        """See ``ports.Store``."""
        return self._batcher.ask("change", changes)

    def due(self, endpoint: str, after: tuple[int, int], limit: int) -> Awaitable[Sequence[Delivery]]:
        """See ``ports.Store``."""
        return self._batcher.ask("due", (endpoint, after, limit))

    def overdue(self, now: Instant) -> Awaitable[Overdue]:
        """See ``ports.Store``."""
        return self._batcher.ask("overdue", now)

    def retain(self, before_day: int) -> Awaitable[int]:
        """See ``ports.Store``."""
        return self._batcher.ask("retain", before_day)

    def publish(self, text: str, actor: str, reason: str, at: Instant) -> Awaitable[Generation]:
        """See ``ports.Store``."""
        return self._batcher.ask("publish", (text, actor, reason, at, sha256(text.encode()).hexdigest()))

    def holds(
        self, holds: Mapping[str, str] | None = None, actor: str = "", reason: str = "", at: Instant = 0
    ) -> Awaitable[Mapping[str, Hold]]:
        """See ``ports.Store``."""
        return self._batcher.ask("holds", (holds, actor, reason, at))

    def import_parties(
        self, parties: Sequence[Mapping[str, Any]], actor: str, reason: str, at: Instant
    ) -> Awaitable[int]:
        """See ``ports.Store``."""
        return self._batcher.ask("import_parties", (parties, actor, reason, at))

    def log(self, operations: Sequence[Operation]) -> Awaitable[Sequence[int]]:
        """See ``ports.Store``."""
        return self._batcher.ask("log", operations)

    def open_job(self, job: SigningJob) -> Awaitable[SigningJob]:
        """See ``signingjobs.Jobs``."""
        return self._batcher.ask("open_job", job)

    def finish_job(self, job: SigningJob, operations: Sequence[Operation]) -> Awaitable[SigningJob]:
        """See ``signingjobs.Jobs``."""
        return self._batcher.ask("finish_job", (job, operations))

    def forget_jobs(self, before: Instant) -> Awaitable[int]:
        """See ``signingjobs.Jobs``."""
        return self._batcher.ask("forget_jobs", before)

    def record(self, proposal: Proposal, keys: Sequence[KeyVersion] = ()) -> Awaitable[Proposal]:
        """See ``register.Register``."""
        return self._batcher.ask("record", (proposal, keys))

    # -- the reading thread --------------------------------------------------------------------------------------

    def _read(self, verb: str, *values: Any) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self._reading, self._reader_does, verb, *values)

    def _reader_does(self, verb: str, *values: Any) -> Any:
        try:
            if not hasattr(self, "_reader"):
                self._reader = self._open_reader()
            return getattr(self._reader, verb)(*values)
        except sqlite3.Error as why:
            raise StoreError(f"the store can't be read now: {why}", f"存储暂时不可读：{why}", code="SWX-6030") from why

    def _open_reader(self) -> Reader:
        return _reader(self.folder)

    @classmethod
    @contextmanager
    def past(cls, folder: Path) -> Iterator[Past]:
        """See ``ports.Past``."""
        try:
            reader = _reader(folder)
        except sqlite3.Error as why:
            raise NotFound(f"there is no store in {folder}: {why}", f"{folder} 中没有存储：{why}") from why
        try:
            yield reader
        except sqlite3.Error as why:
            raise StoreError(f"the store can't be read now: {why}", f"存储暂时不可读：{why}", code="SWX-6030") from why
        finally:
            reader.close()

    def payload(self, message: int, delivery: int | None = None) -> Awaitable[Parcel]:
        """See ``ports.Archive``."""
        return self._read("payload", message, delivery)

    def life(self, message: int) -> Awaitable[dict[str, Any]]:
        """See ``ports.Archive``."""
        return self._read("life", message)

    def search(self, value: str, limit: int = 50) -> Awaitable[Sequence[dict[str, Any]]]:
        """See ``ports.Archive``."""
        return self._read("search", value, limit)

    def messages(
        self,
        *,
        state: str = "",
        party: str = "",
        type: str = "",
        answers: bool | None = None,
        before: int = 0,
        limit: int = 50,
    ) -> Awaitable[Sequence[dict[str, Any]]]:
        """See ``ports.Archive``."""
        return self._read("messages", state, party, type, answers, before, limit)

    def held_for(self, party: str, code: str, after: int, limit: int) -> Awaitable[Sequence[int]]:
        """See ``ports.Archive``."""
        return self._read("held_for", party, code, after, limit)

    def mailbox(self, endpoint: str, after: int, limit: int) -> Awaitable[Sequence[Mail]]:
        """See ``ports.Archive``."""
        return self._read("mailbox", endpoint, after, limit)

    def queues(self) -> Awaitable[Sequence[dict[str, Any]]]:
        """See ``ports.Archive``."""
        return self._read("queues")

    def generations(self, limit: int = 50) -> Awaitable[Sequence[Generation]]:
        """See ``ports.Archive``."""
        return self._read("generations", limit)

    def parties(self) -> Awaitable[Sequence[Mapping[str, Any]]]:
        """See ``ports.Archive``."""
        return self._read("parties")

    def operations(
        self, *, message: int = 0, after: int = 0, before: int = 0, limit: int = 50
    ) -> Awaitable[Sequence[Row]]:
        """See ``ports.Archive``."""
        return self._read("operations", message, after, before, limit)

    def job(self, number: Instant) -> Awaitable[SigningJob | None]:
        """See ``signingjobs.Jobs``."""
        return self._read("job", number)

    def keyed_job(self, client: str, key: str) -> Awaitable[SigningJob | None]:
        """See ``signingjobs.Jobs``."""
        return self._read("keyed_job", client, key)

    def waiting_jobs(self, since: Instant) -> Awaitable[Waiting]:
        """See ``signingjobs.Jobs``."""
        return self._read("waiting_jobs", since)

    def proposals(self, limit: int = 50) -> Awaitable[Sequence[Proposal]]:
        """See ``register.Register``."""
        return self._read("proposals", limit)

    def proposal(self, number: int) -> Awaitable[Proposal]:
        """See ``register.Register``."""
        return self._read("proposal", number)

    def signing_keys(self) -> Awaitable[Sequence[KeyVersion]]:
        """See ``register.Register``."""
        return self._read("signing_keys")


def _reader(folder: Path) -> Reader:
    uri = f"{(folder / FILE).resolve().as_uri()}?mode=ro"
    return Reader(sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False), folder)
