"""A message on its way in, frame by frame, so that a large one never lies in memory."""

from __future__ import annotations

import os
import tempfile

from adapters import _amqp_frames as frames
from adapters._spool import Reception, Spooler
from exchange.errors import StoreError
from exchange.model import Spool


class Content:
    """Gathers one body: in memory, in a file if it is large, nowhere if it isn't *wanted* or is over the limit."""

    def __init__(self, method: bytes, header: bytes, spooler: Spooler, wanted: bool) -> None:
        self.method = method
        self.size, self.properties = frames.read_header(header)
        self.left = self.size  # bytes still to come
        self._spooler = spooler
        self._kept = wanted and self.size <= spooler.limit_bytes
        self._pieces: list[bytes] = []
        self._file: Reception | None = spooler.begin() if self._kept and self.size > spooler.spool_bytes else None
        self._failure: StoreError | None = None

    def add(self, fragment: bytes) -> None:
        """Take the next piece of the body."""
        self.left -= len(fragment)
        if self._file is None:
            if self._kept:
                self._pieces.append(fragment)
        elif self._failure is None:
            try:
                self._file.add(fragment)
            except StoreError as error:  # the rest still arrives, and nobody has asked yet
                self._failure = error

    async def body(self) -> bytes | Spool:
        """Return the whole body, on disk if it is large. Raises TooLarge, and StoreError where it was lost."""
        self._spooler.check(self.size)
        if self._failure:
            raise self._failure
        if self._file:
            return await self._file.complete()
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def discard(self) -> None:
        """Remove the file, if there is one."""
        if self._file:
            self._file.discard()

    def fits(self) -> bool:
        """Tell whether the disk has room for this body now."""
        directory = self._spooler.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory) as file:
                os.posix_fallocate(file.fileno(), 0, self.size)
        except OSError:
            return False
        return True
