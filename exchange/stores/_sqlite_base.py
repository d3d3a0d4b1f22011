"""One SQLite database: connection, migrations, partitions, names, bodies, journal lines, transactions.

Everything here runs in the thread that writes. A transaction that fails leaves nothing behind: what this room keeps
in memory (names, partitions, counters) is read anew before the next.
"""

from __future__ import annotations

import errno
import fcntl
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson

from exchange.errors import StoreError
from exchange.instants import ID_BITS, Instant, day_number
from exchange.model import Parcel, Spool
from exchange.stores._sqlite_bodies import Bodies
from exchange.stores._sqlite_insert import insert
from exchange.stores._words import EVENT

SQL: Final = Path(__file__).parent
SEQ_BLOCK: Final = 1 << 20  # events numbered with one visit to the counter
LARGE: Final = 256 * 1024  # bytes over which a body is a file
DISK: Final = {  # what the file system says -> what SQLite would
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.EACCES: sqlite3.SQLITE_PERM,
}
Connect = Callable[[str], sqlite3.Connection]


def connect(path: str) -> sqlite3.Connection:
    """Open a database for writing: WAL, and every commit on disk before it returns."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    for pragma in (
        "page_size = 8192",
        "journal_mode = WAL",
        "synchronous = FULL",
        "wal_autocheckpoint = 4000",
        "cache_size = -65536",
        "temp_store = MEMORY",
        "busy_timeout = 5000",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what SQLite and the file system say into a StoreError that says who must do what."""
    try:
        yield
    except sqlite3.Error as why:
        raise _store_error(getattr(why, "sqlite_errorcode", 0) & 0xFF, str(why), why) from why
    except OSError as why:
        raise _store_error(DISK.get(why.errno or 0, sqlite3.SQLITE_IOERR), str(why), why) from why


def _store_error(code: int, text: str, why: Exception) -> Exception:
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            "the disk of the store is full: free space or extend the volume; intake waits",
            "存储磁盘已满：请清理或扩容；在此之前暂停接收",
            code="SWX-6010",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            f"the store can't be written ({text}): check the mount and the owner of its folder; intake waits",
            f"存储不可写（{text}）：请检查挂载方式与目录属主；在此之前暂停接收",
            code="SWX-6020",
        )
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM):
        return StoreError(f"the store can't write now: {text}", f"存储暂时不可写：{text}", code="SWX-6030")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"the store's file is damaged ({text}): stop the switch and restore the last backup",
            f"存储文件已损坏（{text}）：请停止交换机并恢复最近的备份",
            code="SWX-6050",
        )
    return why


class Database:
    """The writing side of one database file, and the folder beside it that holds large payloads."""

    def __init__(self, folder: Path, now: Callable[[], Instant], sample: bytes, connect: Connect = connect) -> None:
        self.folder = folder
        self.now = now
        self._sample = sample
        self._connect = connect
        self.bodies = Bodies(folder / "payloads", self._dictionary_body)
        self._lines: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        self._adopted: list[Path] = []  # spool files that this transaction has linked into our own folder
        self._stale = False  # what is kept in memory may be of a transaction that never was
        self._opened = ExitStack()

    def open(self, file: str = "switch.db") -> None:
        """Open or create the database and bring its tables to the newest form."""
        with store_errors(), ExitStack() as opened:
            self.bodies.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)  # whole messages lie in it
            if file != ":memory:":
                opened.enter_context(_only_one(self.folder))
                file = str(self.folder / file)
            self.connection = opened.enter_context(closing(self._connect(file)))
            self._migrate()
            self.reload()
            self._learn_sample()
            self._opened = opened.pop_all()

    def reload(self) -> None:
        """Read back what is kept in memory; after a rollback that is what was before."""
        self._lines.clear()
        self._adopted.clear()
        execute = self.connection.execute
        self.partitions = {tuple(row) for row in execute("SELECT kind, number FROM partition")}
        self._numbers: dict[str, int] = dict(execute("SELECT text, number FROM name").fetchall())
        self._names = {number: text for text, number in self._numbers.items()}
        self._seq, self._seq_end = 0, 0
        days = [number for kind, number in self.partitions if kind == "day"]
        self._last_id = 0
        if days:
            newest = max(days)
            (last,) = execute(f"SELECT max(id) FROM message_{newest}").fetchone()
            self._last_id = last or (newest << ID_BITS)

    # -- migrations and partitions -------------------------------------------------------------------------------

    def _migrate(self) -> None:
        done = self.connection.execute("PRAGMA user_version").fetchone()[0]
        for number, script in _scripts("main", done):
            with self.transaction():
                self._script(script)
                self.connection.execute(f"PRAGMA user_version = {number}")
        for kind in ("day", "week"):
            rows = self.connection.execute("SELECT number, version FROM partition WHERE kind = ?", (kind,)).fetchall()
            for partition, version in rows:
                with self.transaction():
                    self._upgrade(kind, partition, version)

    def _upgrade(self, kind: str, partition: int, version: int) -> None:
        for number, script in _scripts(kind, version):
            self._script(script.replace("$n", str(partition)))
            version = number
        self.connection.execute("INSERT OR REPLACE INTO partition VALUES (?, ?, ?)", (kind, partition, version))

    def _script(self, script: str) -> None:
        for statement in script.split(";\n"):
            if statement.strip():
                self.connection.execute(statement)

    def partition(self, kind: str, number: int) -> int:
        """Return *number* after making sure that the tables of that day or week are there."""
        if (kind, number) not in self.partitions:
            self._upgrade(kind, number, 0)
            self.partitions.add((kind, number))
        return number

    def days(self, *, newest_first: bool = True) -> list[int]:
        """Return the days that have tables."""
        return sorted((number for kind, number in self.partitions if kind == "day"), reverse=newest_first)

    def today(self) -> int:
        """Return the day that now is written to; it never goes back, even when the clock does."""
        newest = max((number for kind, number in self.partitions if kind == "day"), default=0)
        return self.partition("day", max(day_number(self.now()), newest))

    def day_of(self, message: int) -> int | None:
        """Return the day whose tables hold *message*; None when retention dropped them."""
        day = message >> ID_BITS
        return day if ("day", day) in self.partitions else None

    # -- numbers -------------------------------------------------------------------------------------------------

    def next_id(self, at: Instant) -> int:
        """Return a new message id; ids grow even when the clock is set back."""
        self._last_id = max(self._last_id + 1, (day_number(at) << ID_BITS) + 1)
        self.partition("day", self._last_id >> ID_BITS)
        return self._last_id

    def number(self, text: str) -> int:
        """Return the number that stands for *text*, giving it one if need be."""
        number = self._numbers.get(text)
        if number is None:
            number = len(self._numbers) + 1
            self.connection.execute("INSERT INTO name VALUES (?, ?)", (number, text))
            self._numbers[text], self._names[number] = number, text
        return number

    def text(self, number: int) -> str:
        """Return the text that *number* stands for."""
        return self._names[number]

    def _next_seq(self) -> int:
        if self._seq >= self._seq_end:
            row = self.connection.execute("SELECT value FROM counter WHERE name = 'seq'").fetchone()
            self._seq = row[0] if row else 1
            self._seq_end = self._seq + SEQ_BLOCK
            self.connection.execute("INSERT OR REPLACE INTO counter VALUES ('seq', ?)", (self._seq_end,))
        self._seq += 1
        return self._seq - 1

    # -- journal -------------------------------------------------------------------------------------------------

    def journal(
        self,
        message: int,
        event: str,
        at: Instant,
        number: int | None = None,
        detail: dict[str, Any] | None = None,
        actor: str = "switch",
    ) -> int:
        """Add one journal line, written with this transaction; return its sequence number."""
        seq = self._next_seq()
        text = orjson.dumps(detail).decode() if detail else None
        self._lines[message >> ID_BITS].append((message, seq, at, EVENT[event], number, self.number(actor), text))
        return seq

    # -- bodies --------------------------------------------------------------------------------------------------

    def _dictionary_body(self, number: int) -> bytes:
        row = self.connection.execute("SELECT body FROM dictionary WHERE number = ?", (number,)).fetchone()
        return bytes(row[0])

    def _learn_sample(self) -> None:
        """Keep the sample that new bodies are compressed against; old ones name the dictionary they were."""
        row = self.connection.execute("SELECT number, body FROM dictionary ORDER BY number DESC LIMIT 1").fetchone()
        self.dictionary = row[0] if row else 0
        if row is None or bytes(row[1]) != self._sample:
            self.dictionary += 1
            with self.transaction():
                self.connection.execute("INSERT INTO dictionary VALUES (?, ?)", (self.dictionary, self._sample))

    def pack(self, parcel: Parcel, message: int, suffix: str = "") -> tuple[int | None, bytes | None]:
        """Return (dictionary, body) for a row; a large body goes to a file instead."""
        if isinstance(parcel.body, Spool) or len(parcel.body) > LARGE:
            self.bodies.keep(self.bodies.path(message, suffix), parcel.body)
            if isinstance(parcel.body, Spool):
                self._adopted.append(parcel.body.path)
            return None, None
        return self.bodies.pack(parcel.body, self.dictionary)

    # -- transactions --------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[bool]:
        """Write everything or nothing; raises StoreError, and then nothing has changed.

        Tells whether what is kept in memory was read anew because the last transaction came to nothing.
        """
        again = self._stale
        with store_errors():
            if again:
                self._roll_back()
                self.reload()
            self.connection.execute("BEGIN IMMEDIATE")
        self._stale = True
        try:
            with store_errors():
                yield again
                self._write_lines()
                self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a disk that is gone; it is done once the disk is back
                self._roll_back()
            raise
        self._stale = False
        for path in self._adopted:
            with suppress(OSError):
                path.unlink()
        self._adopted.clear()

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _write_lines(self) -> None:
        for day, lines in self._lines.items():
            insert(self.connection, f"INSERT INTO event_{day}", lines)
        self._lines.clear()

    def close(self) -> None:
        """Close the connection."""
        self._opened.close()


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep every other switch out of *folder*. Raises StoreError where one is in it."""
    with (folder / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"another switch works on the store in {folder}: stop it first, or give this one a folder of its own",
                f"另一个交换机正在使用存储目录 {folder}：请先停止它，或为本实例另设目录",
                code="SWX-6080",
            ) from None
        yield


def _scripts(kind: str, done: int) -> Sequence[tuple[int, str]]:
    """Return the migrations after number *done*. Raises StoreError where that is newer than all of them."""
    known = {int(path.stem.rpartition("-")[2]): path for path in SQL.glob(f"{kind}-*.sql")}
    if done > max(known):
        raise StoreError(
            f"the store was written by a newer switch ({kind} tables {done}, this one knows {max(known)}): "
            "install that version again, or restore a backup from before",
            f"存储来自更新的版本（{kind} {done}，本版本至 {max(known)}）：请安装该版本，或恢复升级前的备份",
            code="SWX-6070",
        )
    return [(number, known[number].read_text("utf-8")) for number in sorted(known) if number > done]
