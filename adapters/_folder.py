"""Rules that every folder-like kind shares: names, placing a file without overwriting, writing parcels durably."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import define

from adapters._spool import STALE_SECONDS, sync_directory
from exchange.errors import Transient
from exchange.model import Parcel, Spool

TEMPORARY: Final = (".tmp", ".temp", ".part", ".filepart")
OURS: Final = ".switch-"  # how the names of our own unfinished files begin
NAME_BYTES: Final = 200
BATCH: Final = 64

_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_BEIJING: Final = timedelta(hours=8)


# -- names -------------------------------------------------------------------------------------------------------


def is_temporary(name: str) -> bool:
    """Tell whether a file of this name isn't complete yet, by the customs of those who write it.

    >>> is_temporary("a.xml"), is_temporary("a.xml.TMP"), is_temporary(".in.a.xml")
    (False, True, True)
    """
    return name.startswith(".") or name.lower().endswith(TEMPORARY)


def is_safe(name: str) -> bool:
    """Tell whether a peer may give a file this name: no separators, controls or bidirectional marks, not too long."""
    return name not in ("", ".", "..") and not _UNSAFE.search(name) and len(name.encode()) <= NAME_BYTES


def safe_name(name: str) -> str:
    """Make a name that stays in its folder, is visible and complete to whoever reads there, and isn't too long.

    >>> safe_name("../../etc/passwd"), safe_name("报文.xml"), safe_name("a.tmp")
    ('_.._.._etc_passwd', '报文.xml', 'a.tmp_')
    """
    while (safer := _safer(name)) != name:
        name = safer
    return name


def _safer(name: str) -> str:
    name = _UNSAFE.sub("_", name) or "unnamed"
    if name.startswith("."):
        return "_" + name
    return shortened(name + "_" if is_temporary(name) else name, NAME_BYTES)


def shortened(name: str, room_bytes: int) -> str:
    """Cut the stem of a name so that it fits in *room_bytes* of UTF-8, and keep its extension."""
    stem, extension = _split(name)
    return _cut(stem, room_bytes - _size(extension)) + extension


def _split(name: str) -> tuple[str, str]:
    """Split off an extension, dot and all; a long one is none."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if stem and _size(extension) <= 16 else (name, "")


def _size(name: str) -> int:
    return len(name.encode(errors="surrogateescape"))


def _cut(text: str, room_bytes: int) -> str:
    if _size(text) <= room_bytes:
        return text
    return text.encode(errors="surrogateescape")[:room_bytes].decode(errors="ignore")


def readable(raw: bytes, charset: str = "utf-8") -> str:
    """Read a file name from a peer's bytes; whatever they are, the result is text that can be written again.

    A name that isn't UTF-8 is taken for GB18030, which Chinese Windows programs use.
    """
    for guess in dict.fromkeys((charset, "gb18030")):
        with contextlib.suppress(UnicodeDecodeError):
            return raw.decode(guess)
    return raw.decode(charset, "replace")


def stamped(name: str) -> str:
    """Put the time between stem and extension: Beijing time, 14 digits and 7 of the fraction, as receipts have it."""
    nanoseconds = time.time_ns()
    seconds = datetime.fromtimestamp(nanoseconds // 10**9, UTC) + _BEIJING
    stamp = f"_{seconds:%Y%m%d%H%M%S}{nanoseconds // 100 % 10**7:07d}"
    stem, extension = _split(name)
    return _cut(stem, 255 - len(stamp) - _size(extension)) + stamp + extension


# -- files -------------------------------------------------------------------------------------------------------


def move_in(source: Path, directory: Path, name: str) -> Path:
    """Move *source* into *directory* on the same disk; a taken name gets a time stamp. Returns where it lies."""
    target = directory / name
    while True:
        try:
            os.link(source, target, follow_symlinks=False)
            source.unlink()
            return target
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not os.path.lexists(target):
                return source.rename(target)
        target = directory / stamped(name)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, durably, for us alone."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def unfinished(directory: Path) -> Path:
    """Name a file of ours that nobody else looks at."""
    return directory / f"{OURS}{secrets.token_hex(8)}.tmp"


def tidy(directory: Path) -> None:
    """Remove unfinished files of ours that a crash left in *directory* more than a day ago."""
    oldest = time.time() - STALE_SECONDS
    for path in directory.glob(f"{OURS}*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def write(path: Path, body: bytes | Spool) -> None:
    """Write a new file, not yet durable."""
    with path.open("xb") as file:
        if isinstance(body, Spool):
            with body.path.open("rb") as source:
                shutil.copyfileobj(source, file)
        else:
            file.write(body)


# -- sending -----------------------------------------------------------------------------------------------------


@define(eq=False)
class _Draft:
    """One parcel on its way into a directory, and who waits for it."""

    directory: Path
    parcel: Parcel
    done: asyncio.Future[None]
    path: Path
    error: Exception | None = None

    def write(self) -> None:
        write(self.path, self.parcel.body)

    def sync(self) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())

    def publish(self) -> None:
        self.path = move_in(self.path, self.directory, safe_name(self.parcel.name))

    def attempt(self, step: Callable[[_Draft], None]) -> None:
        """Take a step unless an earlier one failed."""
        if self.error is None:
            try:
                step(self)
            except Exception as error:
                self.error = error
                with contextlib.suppress(OSError):
                    self.path.unlink()

    def settle(self) -> None:
        """Tell who waits, unless he was cancelled."""
        if self.done.done():
            return
        if self.error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(_transient(self.directory, self.error))


class Writer:
    """Writes parcels into directories: whatever is asked for while one batch goes to disk is the next batch.

    A batch costs one thread hop, one fsync for each file and one for each directory. *laid* is told, in that thread,
    where its files lie.
    """

    def __init__(
        self,
        prepare: Callable[[Path], None],
        threads: Executor | None = None,
        laid: Callable[[Sequence[Path]], None] = lambda paths: None,
    ) -> None:
        self._prepare, self._threads, self._laid = prepare, threads, laid
        self._asked: list[_Draft] = []
        self._work: asyncio.Task[None] | None = None

    async def put(self, directory: Path, parcel: Parcel) -> None:
        """Return once the parcel lies in *directory* durably, under its name made safe. Raises Transient."""
        done = asyncio.get_running_loop().create_future()
        self._asked.append(_Draft(directory, parcel, done, unfinished(directory)))
        if self._work is None:
            self._work = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._asked:
            batch, self._asked = self._asked[:BATCH], self._asked[BATCH:]
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._write_batch, batch)
            except RuntimeError as error:  # the adapter has been stopped, and its threads with it
                for draft in batch:
                    draft.error = error
            for draft in batch:
                draft.settle()
        self._work = None

    def _write_batch(self, batch: Sequence[_Draft]) -> None:
        """Write all, sync all, rename all: the first sync pays for most of the others."""
        for step in (lambda draft: self._prepare(draft.directory), _Draft.write, _Draft.sync, _Draft.publish):
            for draft in batch:
                draft.attempt(step)
        self._laid([draft.path for draft in batch if draft.error is None])
        for directory in {draft.directory for draft in batch}:
            alike = [draft for draft in batch if draft.directory == directory]
            try:
                sync_directory(directory)
            except OSError as error:
                for draft in alike:
                    draft.error = draft.error or error


def _transient(directory: Path, error: Exception) -> Exception:
    if not isinstance(error, OSError):
        return error
    return Transient(
        f"the folder {directory} can't be written ({error.strerror}): check that it is there, its owner and its space",
        f"目录 {directory} 无法写入（{error.strerror}）：请检查目录是否存在、属主和剩余空间",
    )
