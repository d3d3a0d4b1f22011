"""SFTP version 3 as bytes (draft-ietf-secsh-filexfer-02): packets in, fields out, replies back. Pure."""

from __future__ import annotations

import stat as modes
import time
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from attrs import frozen

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = range(1, 11)
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(11, 21)
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED: Final = 200

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = range(6)
UNSUPPORTED: Final = 8

FOR_READING, FOR_WRITING, APPENDING, CREATING, TRUNCATING, EXCLUSIVELY = (1 << bit for bit in range(6))

LARGEST_PACKET: Final = 512 * 1024  # bytes; twice what common clients send
READ_BYTES: Final = 256 * 1024  # most that one READ returns

_U32: Final = Struct(">L")
_U64: Final = Struct(">Q")
_HEAD: Final = Struct(">LBL")  # length, kind, request id
_STAT: Final = Struct(">LQLLLLL")  # flags, size, uid, gid, mode, accessed, modified
_WITH_SIZE, _WITH_OWNER, _WITH_MODE, _WITH_TIMES, _WITH_MORE = 1, 2, 4, 8, 0x80000000


class Malformed(Exception):
    """The client doesn't speak SFTP; there is no use in going on."""


class Refusal(Exception):
    """A request is refused: *code* for the program, the texts for people."""

    def __init__(self, code: int, en: str, zh: str = "") -> None:
        super().__init__(en)
        self.code = code
        self.text = f"{en} / {zh}" if zh else en


@frozen
class Attributes:
    """What we tell of a file: its mode, size in bytes and time of change in seconds since the epoch."""

    mode: int
    size: int
    modified: int

    def pack(self) -> bytes:
        """Write the ATTRS structure; owner and group are nobody's business."""
        flags = _WITH_SIZE | _WITH_OWNER | _WITH_MODE | _WITH_TIMES
        return _STAT.pack(flags, self.size, 0, 0, self.mode, self.modified, self.modified)

    def line(self, name: str) -> str:
        """Write the line that ``ls -l`` would."""
        when = time.strftime("%b %d %H:%M", time.gmtime(self.modified))
        return f"{modes.filemode(self.mode)}    1 switch   switch   {self.size:>10} {when} {name}"


class Fields:
    """The fields of one packet, read one after the other. Raises Malformed where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise Malformed("a packet ends in the middle of a field")
        part = self._data[self._at : end]
        self._at = end
        return part

    def u32(self) -> int:
        """Read a number of 32 bits."""
        return int(_U32.unpack(self._take(4))[0])

    def u64(self) -> int:
        """Read a number of 64 bits."""
        return int(_U64.unpack(self._take(8))[0])

    def string(self) -> bytes:
        """Read a counted string."""
        return self._take(self.u32())

    def size_attribute(self) -> int | None:
        """Read past an ATTRS structure and return the size in it, the one attribute that isn't ours to ignore."""
        flags = self.u32()
        size = self.u64() if flags & _WITH_SIZE else None
        self._take(8 * bool(flags & _WITH_OWNER) + 4 * bool(flags & _WITH_MODE) + 8 * bool(flags & _WITH_TIMES))
        for _ in range(2 * self.u32() if flags & _WITH_MORE else 0):
            self.string()
        return size


class Packets:
    """Cuts a stream into packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, Fields]]:
        """Yield (kind, request id, fields) of every packet that is whole now. Raises Malformed.

        INIT has a version where others have the request id.
        """
        data = self._rest + data
        at = 0
        while len(data) - at >= _HEAD.size:
            length, kind, request = _HEAD.unpack_from(data, at)
            if not 5 <= length <= LARGEST_PACKET:
                raise Malformed(f"a packet of {length} bytes")
            end = at + 4 + length
            if end > len(data):
                break
            yield kind, request, Fields(data[at + _HEAD.size : end])
            at = end
        self._rest = data[at:]


def packet(kind: int, request: int, payload: bytes) -> bytes:
    """Write one packet."""
    return _HEAD.pack(5 + len(payload), kind, request) + payload


def string(data: bytes) -> bytes:
    """Write a counted string."""
    return _U32.pack(len(data)) + data


def status(code: int, text: str) -> tuple[int, bytes]:
    """Make the reply that says how a request went."""
    return STATUS, _U32.pack(code) + string(text.encode()) + string(b"")


def names(entries: Iterable[tuple[bytes, str, bytes]]) -> tuple[int, bytes]:
    """Make the reply that lists (name, line, attributes)."""
    listed = [string(name) + string(line.encode(errors="replace")) + attributes for name, line, attributes in entries]
    return NAME, _U32.pack(len(listed)) + b"".join(listed)
