"""The zip around evidence: every entry as it is, one behind the other, nothing between, before or behind them.

What isn't compressed can't blow up, and is the same bytes wherever it is written. Times are fixed.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from exchange.archives import danger, listed
from exchange.errors import Refused
from exchange.evidence.form import Entry, entry
from exchange.model import Spool

UNREADABLE: Final = "SWX-7070"
ENTRIES: Final = 2_000
DIRECTORY: Final = 512 * 1024  # bytes of the list of entries
WHOLE: Final = 128 * 1024 * 1024  # bytes of an entry that is read as a whole: twice the largest payload
CHUNK: Final = 1024 * 1024
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_LOCAL, _CENTRAL, _END = 30, 46, 22  # bytes of the headers, without the name
_TAIL: Final = 66_000
BROKEN: Final = (
    zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, EOFError, LookupError, ValueError, NotImplementedError,
    RuntimeError, OSError,
)  # fmt: skip


class Writer:
    """Writes entries in the order they are given."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False)

    def add(self, name: str, what: str, body: bytes | Spool) -> Entry:
        """Write an entry; return its line of the manifest. Raises Refused where the file would be over 4 GiB."""
        digest, size = sha256(), 0
        try:
            with self._zip.open(zipfile.ZipInfo(name, _TIME), "w") as file:
                for part in _parts(body):
                    digest.update(part)
                    size += file.write(part)
        except zipfile.LargeZipFile as why:
            en = f"{name}: evidence of over 4 GiB can't be written"
            raise Refused(en, f"{name}：证据包不能超过 4 GiB", code=UNREADABLE) from why
        return entry(name, what, size, digest.digest())

    def append(self, name: str, body: bytes) -> None:
        """Write an entry that no manifest lists: the manifest itself, and what is about it."""
        self._zip.writestr(zipfile.ZipInfo(name, _TIME), body)

    def close(self) -> None:
        """Write the list of entries."""
        self._zip.close()


def _parts(body: bytes | Spool) -> Iterator[bytes]:
    with body.path.open("rb") if isinstance(body, Spool) else BytesIO(body) as file:
        while part := file.read(CHUNK):
            yield part


class Package:
    """An evidence file that somebody hands in; nothing of it is ever written anywhere."""

    def __init__(self, path: Path) -> None:
        """Look at the list of entries. Raises Refused ``SWX-7070`` where it isn't as ``Writer`` writes it."""
        try:
            size = path.stat().st_size
            _require_short(path, size)
            self._zip = zipfile.ZipFile(path)
        except BROKEN as why:
            raise unreadable(f"it is no zip file ({why})", f"不是 zip 文件（{why}）") from why
        self._entries: Mapping[str, zipfile.ZipInfo] = {one.filename: one for one in self._zip.infolist()}
        try:
            _require_plain(self._zip.infolist(), bool(self._zip.comment), size)
        except Refused:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()

    @property
    def names(self) -> list[str]:
        """The entries in their order."""
        return list(self._entries)

    def read(self, name: str, most: int = WHOLE) -> bytes:
        """Return an entry, of at most so many bytes. Raises Refused ``SWX-7070`` where it isn't there, or is broken."""
        known = self._entries.get(name)
        if known is None:
            raise unreadable(f"{name} is missing", f"缺少 {name}")
        if known.file_size > most:
            raise unreadable(f"{name} is too large", f"{name} 过大")
        try:
            return self._zip.read(known)
        except BROKEN as why:
            raise unreadable(f"{name} is broken ({why})", f"{name} 已损坏（{why}）") from why

    def measure(self, name: str) -> tuple[int, bytes]:
        """Return size and SHA-256 of an entry, whatever its checksum says. Raises Refused ``SWX-7070``."""
        digest, size = sha256(), 0
        try:
            with self._zip.open(self._entries[name]) as file:
                while part := file.read(CHUNK):
                    digest.update(part)
                    size += len(part)
        except BROKEN as why:
            raise unreadable(f"{name} is broken ({why})", f"{name} 已损坏（{why}）") from why
        return size, digest.digest()


def _require_short(path: Path, size: int) -> None:
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        count, length = listed(file.read()) or (0, 0)
    if not 0 < count <= ENTRIES or length > DIRECTORY:
        raise unreadable("it is no zip file, or one of another form", "不是 zip 文件，或形式不符")


def _require_plain(entries: Sequence[zipfile.ZipInfo], commented: bool, size: int) -> None:
    """Let pass only entries that are stored one behind the other and fill the file."""
    at, rest = 0, _END
    for one in entries:
        plain = one.compress_type == zipfile.ZIP_STORED and one.file_size == one.compress_size
        if (
            danger(one)
            or not plain
            or one.extra
            or one.comment
            or one.header_offset != at
            or not one.filename.isascii()
        ):
            raise unreadable(f"entry {one.filename!r} is of another form", f"条目 {one.filename!r} 形式不符")
        at += _LOCAL + len(one.filename) + one.file_size
        rest += _CENTRAL + len(one.filename)
    if commented or at + rest != size:
        raise unreadable("there is something between or behind its entries", "条目之间或之后另有内容")
    if len({one.filename for one in entries}) != len(entries):
        raise unreadable("an entry is there twice", "条目重复")


def unreadable(en: str, zh: str) -> Refused:
    """Return the error that says why a file is no evidence."""
    return Refused(f"this is no evidence file: {en}", f"不是证据包：{zh}", code=UNREADABLE)
