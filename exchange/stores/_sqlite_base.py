"""One SQLite database: connection, migrations, partitions, names, bodies, journal lines, transactions.

Everything here runs in the thread that writes. A transaction that fails leaves nothing behind: what this room keeps
in memory (names, partitions, counters) is read anew after a rollback.
"""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import zstandard

from exchange.errors import NotFound, StoreError
from exchange.instants import ID_BITS, Instant, day_number
from exchange.model import Parcel, Spool
from exchange.stores._words import EVENT

SQL: Final = Path(__file__).parent
SEQ_BLOCK: Final = 1 << 20  # events numbered with one visit to the counter
RAW: Final = 0  # dictionary number of bodies that aren't compressed
SMALL: Final = 512  # bytes under which compressing doesn't pay
LARGE: Final = 256 * 1024  # bytes over which a body is a file
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
        full = why.errno in (28, 122)  # no space, quota
        raise _store_error(sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR, str(why), why) from why


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


class Bodies:
    """Payloads at rest: compressed in a row, or, when large, a file of their own. One for each thread."""

    def __init__(self, folder: Path, dictionaries: Callable[[int], bytes]) -> None:
        self.folder = folder
        self._dictionaries = dictionaries
        self._compressor: tuple[int, zstandard.ZstdCompressor] | None = None
        self._decompressors: dict[int, zstandard.ZstdDecompressor] = {}

    def pack(self, body: bytes, dictionary: int) -> tuple[int, bytes]:
        """Return (dictionary, bytes) to store for a small body."""
        if len(body) < SMALL:
            return RAW, body
        if self._compressor is None or self._compressor[0] != dictionary:
            self._compressor = dictionary, zstandard.ZstdCompressor(level=3, dict_data=self._dictionary(dictionary))
        return dictionary, self._compressor[1].compress(body)

    def unpack(self, dictionary: int, body: bytes) -> bytes:
        """Return what ``pack`` was given."""
        if dictionary == RAW:
            return body
        if dictionary not in self._decompressors:
            data = self._dictionary(dictionary)
            self._decompressors[dictionary] = zstandard.ZstdDecompressor(dict_data=data)
        return self._decompressors[dictionary].decompress(body)

    def _dictionary(self, number: int) -> zstandard.ZstdCompressionDict:
        data = self._dictionaries(number)
        return zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)

    def path(self, message: int, suffix: str = "") -> Path:
        """Return where a large body of *message* lies."""
        return self.folder / str(message >> ID_BITS) / f"{message}{suffix}"

    def keep(self, path: Path, body: bytes | Spool) -> None:
        """Put a large body into its file, durably; a Spool's file is linked, not copied."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # left by a transaction that never was
        if isinstance(body, Spool):
            os.link(body.path, path)
        else:
            with path.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        for folder in (path.parent, self.folder):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def spool(self, path: Path, size: int, digest: bytes) -> Spool:
        """Return the large body in *path*. Raises NotFound when retention took it."""
        if not path.exists():
            raise NotFound(f"the payload file {path.name} is gone", f"报文文件 {path.name} 已不存在")
        return Spool(path, size, digest)


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

    def open(self, file: str = "switch.db") -> None:
        """Open or create the database and bring its tables to the newest form."""
        with store_errors():
            self.bodies.folder.mkdir(parents=True, exist_ok=True)
            self.connection = self._connect(str(self.folder / file) if file != ":memory:" else file)
            self._migrate()
            self.reload()
            self._learn_sample()

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
        for number, script in _scripts("main"):
            if number > done:
                with self.transaction():
                    self._script(script)
                    self.connection.execute(f"PRAGMA user_version = {number}")
        for kind in ("day", "week"):
            rows = self.connection.execute("SELECT number, version FROM partition WHERE kind = ?", (kind,)).fetchall()
            for partition, version in rows:
                with self.transaction():
                    self._upgrade(kind, partition, version)

    def _upgrade(self, kind: str, partition: int, version: int) -> None:
        for number, script in _scripts(kind):
            if number > version:
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
    def transaction(self) -> Iterator[None]:
        """Write everything or nothing; raises StoreError, and then nothing has changed."""
        with store_errors():
            self.connection.execute("BEGIN IMMEDIATE")
        try:
            with store_errors():
                yield
                self._write_lines()
                self.connection.execute("COMMIT")
            for path in self._adopted:
                path.unlink(missing_ok=True)
            self._adopted.clear()
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.reload()
            raise

    def _write_lines(self) -> None:
        for day, lines in self._lines.items():
            self.connection.executemany(f"INSERT INTO event_{day} VALUES (?, ?, ?, ?, ?, ?, ?)", lines)
        self._lines.clear()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def _scripts(kind: str) -> Sequence[tuple[int, str]]:
    found = sorted(SQL.glob(f"{kind}-*.sql"))
    return [(int(path.stem.rpartition("-")[2]), path.read_text("utf-8")) for path in found]
