"""The three things that an SFTP handle can stand for: an upload, a download, a listing."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from adapters._sftp_wire import EOF, FAILURE, READ_BYTES, Attributes, Refusal
from adapters._spool import Reception
from exchange.errors import ExchangeError
from exchange.model import Spool

EARLY_BYTES: Final = 2 * 1024 * 1024  # most that may arrive ahead of a gap: clients write in parallel
LISTED: Final = 100  # entries in one reply

FILE_MODE: Final = modes.S_IFREG | 0o600


class Upload:
    """One file on its way in. Its bytes come in any order, but only once each and without gaps."""

    def __init__(self, name: str, reception: Reception) -> None:
        self.name = name
        self._reception = reception
        self._early: dict[int, bytes] = {}
        self._failure: ExchangeError | Refusal | None = None

    @property
    def attributes(self) -> Attributes:
        """What has arrived so far."""
        return Attributes(FILE_MODE, self._reception.size, 0)

    def write(self, offset: int, chunk: bytes) -> None:
        """Keep *chunk*. Raises Refusal, TooLarge or StoreError, and from then on always; nothing is kept then."""
        try:
            self._check()
            if offset < self._reception.size:
                raise Refusal(FAILURE, "these bytes were written before", "该位置的数据已写入，不能改写")
            self._early[offset] = chunk
            while (chunk := self._early.pop(self._reception.size, b"")) != b"":
                self._reception.add(chunk)
            if sum(map(len, self._early.values())) > EARLY_BYTES:
                raise Refusal(FAILURE, "the file is written with gaps", "文件写入不连续")
        except (ExchangeError, Refusal) as error:
            self._failure = error
            self.discard()
            raise

    async def complete(self) -> bytes | Spool:
        """Return the whole body. Raises Refusal, TooLarge or StoreError."""
        self._check()
        if any(self._early.values()):
            self.discard()
            raise Refusal(FAILURE, "the file has a gap: upload it again", "文件内容有缺口，请重新上传")
        return await self._reception.complete()

    def discard(self) -> None:
        """Forget what has arrived: the connection was cut, or the upload failed."""
        self._early.clear()
        self._reception.discard()

    def _check(self) -> None:
        if self._failure is not None:
            raise Refusal(FAILURE, str(self._failure))


class Download:
    """One file on its way out."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)

    @property
    def attributes(self) -> Attributes:
        """The file as it is."""
        return told(os.fstat(self._handle))

    def read(self, offset: int, length: int) -> bytes:
        """Return at most *length* bytes; raises Refusal at the end."""
        if data := os.pread(self._handle, min(length, READ_BYTES), offset):
            return data
        raise Refusal(EOF, "end of file")

    def discard(self) -> None:
        """Close the file."""
        os.close(self._handle)


class Listing:
    """One directory, read as far as the client asks for."""

    def __init__(self, entries: Iterable[tuple[str, Attributes]], encode: Callable[[str], bytes]) -> None:
        self._entries: Iterator[tuple[str, Attributes]] = iter(entries)
        self._encode = encode

    def some(self) -> list[tuple[bytes, str, bytes]]:
        """Return the next entries as (name, line, attributes); raises Refusal at the end."""
        if found := list(islice(self._entries, LISTED)):
            return [(self._encode(name), what.line(name), what.pack()) for name, what in found]
        raise Refusal(EOF, "end of directory")

    def discard(self) -> None:
        """Forget the rest."""
        self._entries = iter(())


def told(stat: os.stat_result) -> Attributes:
    """Make of a file's true attributes those that we tell."""
    return Attributes(FILE_MODE, stat.st_size, int(stat.st_mtime))


def files(directory: Path, shown: Callable[[str], bool]) -> Iterator[tuple[str, Attributes]]:
    """Read the regular files of a directory one by one."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if not shown(entry.name):
                continue
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if modes.S_ISREG(stat.st_mode):
                yield entry.name, told(stat)
