"""Payloads at rest: compressed in a row, or, when large, a file beside the database."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import zstandard

from exchange.errors import NotFound
from exchange.instants import ID_BITS
from exchange.model import Spool

RAW: Final = 0  # dictionary number of bodies that aren't compressed
SMALL: Final = 512  # bytes under which compressing doesn't pay


class Bodies:
    """Puts payloads away and finds them again. One for each thread."""

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
        if not (isinstance(body, Spool) and _link(body.path, path)):
            _write(path, body)
        for folder in (path.parent, self.folder):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def sweep(self, days: Collection[int]) -> None:
        """Remove the files of days that are none of *days*."""
        for folder in self.folder.iterdir():
            if folder.name.isdecimal() and int(folder.name) not in days:
                shutil.rmtree(folder, ignore_errors=True)

    def spool(self, path: Path, size: int, digest: bytes) -> Spool:
        """Return the large body in *path*. Raises NotFound when retention took it."""
        if not path.exists():
            raise NotFound(f"the payload file {path.name} is gone", f"报文文件 {path.name} 已不存在")
        return Spool(path, size, digest)


def _link(path: Path, to: Path) -> bool:
    """Give a file a second name; tell whether that was possible: spool and store may be on different disks."""
    try:
        os.link(path, to)
    except OSError as why:
        if why.errno != errno.EXDEV:
            raise
        return False
    return True


def _write(path: Path, body: bytes | Spool) -> None:
    with path.open("wb") as file:
        if isinstance(body, Spool):
            with body.path.open("rb") as spooled:
                shutil.copyfileobj(spooled, file)
        else:
            file.write(body)
        file.flush()
        os.fsync(file.fileno())
