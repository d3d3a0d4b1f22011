"""Bodies that arrive piece by piece: in memory while they are small, in a spool file once they aren't."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import BinaryIO, Final, Self

from attrs import frozen

from exchange.errors import StoreError, TooLarge
from exchange.model import Spool
from exchange.ports import World

CHUNK_BYTES: Final = 256 * 1024
STALE_SECONDS: Final = 24 * 3600


@frozen
class Spooler:
    """Where large bodies go, from which size on, and which size is refused; all sizes in bytes."""

    directory: Path
    spool_bytes: int
    limit_bytes: int

    @classmethod
    def of(cls, world: World) -> Self:
        """Make the spooler of one adapter."""
        return cls(Path(world.directory) / "spool", world.spool_bytes, world.limit_bytes)

    def begin(self) -> Reception:
        """Start to receive one body."""
        return Reception(self)

    def gather(self, file: BinaryIO) -> bytes | Spool:
        """Read *file* from where it stands to its end; blocks. Raises TooLarge, StoreError, and OSError of *file*."""
        reception = self.begin()
        try:
            while chunk := file.read(CHUNK_BYTES):
                reception.add(chunk)
            return reception.finish()
        except BaseException:
            reception.discard()
            raise

    def check(self, size: int) -> None:
        """Raise TooLarge where a body of *size* bytes is over the limit."""
        if size > self.limit_bytes:
            raise TooLarge(
                f"the payload is over the limit of {self.limit_bytes} bytes: split it, or ask for a higher limit",
                f"报文超过上限 {self.limit_bytes} 字节：请拆分后重新发送，或联系平台运营方调整上限",
            )

    def sweep(self) -> None:
        """Remove what a crash left behind more than a day ago; blocks."""
        oldest = time.time() - STALE_SECONDS
        with contextlib.suppress(FileNotFoundError), os.scandir(self.directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime < oldest:
                        os.unlink(entry)


class Reception:
    """One body on its way in; ends with ``finish`` or ``discard``."""

    def __init__(self, spooler: Spooler) -> None:
        self.size = 0
        self._spooler = spooler
        self._chunks: list[bytes] = []
        self._file: BinaryIO | None = None
        self._path = spooler.directory
        self._digest = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Append *chunk*. After TooLarge or StoreError nothing is kept, and nothing more may be added."""
        try:
            self._spooler.check(self.size + len(chunk))
            self.size += len(chunk)
            if self._file is None and self.size > self._spooler.spool_bytes:
                self._spill()
            if self._file is None:
                self._chunks.append(chunk)
            else:
                self._digest.update(chunk)
                self._file.write(chunk)
        except OSError as error:
            self.discard()
            raise _unwritable(error) from error
        except TooLarge:
            self.discard()
            raise

    def finish(self) -> bytes | Spool:
        """Return the whole body; a spooled one is on disk with its directory entry. Raises StoreError."""
        if self._file is None:
            return b"".join(self._chunks)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            sync_directory(self._path.parent)
        except OSError as error:
            self.discard()
            raise _unwritable(error) from error
        return Spool(self._path, self.size, self._digest.digest())

    async def complete(self) -> bytes | Spool:
        """``finish``, off the reactor's thread where it has to wait for the disk."""
        return self.finish() if self._file is None else await asyncio.to_thread(self.finish)

    def discard(self) -> None:
        """Forget everything received. Does nothing the second time."""
        self._chunks.clear()
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk made it keep is not wanted any more
                self._file.close()
            self._path.unlink(missing_ok=True)

    def _spill(self) -> None:
        directory = self._spooler.directory
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / secrets.token_hex(16)
        self._file = open(self._path, "xb", opener=_private)  # noqa: SIM115  # stays open until the body is complete
        body = b"".join(self._chunks)
        self._chunks.clear()
        self._digest.update(body)
        self._file.write(body)


def _private(path: str, flags: int) -> int:
    """Open a file that nobody else may read."""
    return os.open(path, flags, 0o600)


def discard(body: bytes | Spool) -> None:
    """Remove the file of a body that nobody took."""
    if isinstance(body, Spool):
        body.path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(error: OSError) -> StoreError:
    return StoreError(
        f"the spool directory can't be written ({error.strerror}): try again later",
        f"暂存目录无法写入（{error.strerror}），请稍后重试",
    )
