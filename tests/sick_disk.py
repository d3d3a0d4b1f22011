"""Disks that fall ill when a test says so.

``sick()`` puts itself between SQLite and the operating system for every database that is opened inside it. What SQLite
makes of a fault (roll back, forget, find its way back) is SQLite's own code, as it is on a real disk. ``small()`` and
``failing()`` are real file systems; mounting them takes root.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Final

import pytest

FULL: Final = {"write": sqlite3.SQLITE_FULL}  # ENOSPC
READ_ONLY: Final = {"write": sqlite3.SQLITE_IOERR_WRITE}  # EROFS under an open file, which ext4 turns to when it fails
UNSYNCED: Final = {"sync": sqlite3.SQLITE_IOERR_FSYNC}
DEAD: Final = dict.fromkeys(("read", "write", "sync"), sqlite3.SQLITE_IOERR)

_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Move = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)  # xRead and xWrite
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class _Layer(ctypes.Structure):
    """``sqlite3_vfs``, as far as it is changed."""

    _fields_ = (
        ("version", c_int), ("file_size", c_int), ("path_size", c_int), ("next", c_void_p), ("name", c_char_p),
        ("data", c_void_p), ("open", c_void_p), ("rest", c_void_p * 15),
    )  # fmt: skip


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods``."""

    _fields_ = (
        ("version", c_int), ("close", c_void_p), ("read", c_void_p), ("write", c_void_p), ("truncate", c_void_p),
        ("sync", c_void_p), ("rest", c_void_p * 13),
    )  # fmt: skip


class Disk:
    """The state of the disk: what each of read, write and sync answers instead of doing it."""

    def __init__(self) -> None:
        self.faults: dict[str, int] = {}
        self.refused = 0

    def falls_ill(self, faults: dict[str, int]) -> None:
        """Answer with these faults from now on."""
        self.faults = faults

    def heals(self) -> None:
        """Work again."""
        self.faults = {}


class _Shim:
    """The layer between; made once, because connections may outlive the test that opened them."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = POINTER(_Layer)
        self._own = self._library.sqlite3_vfs_find(None)
        self._kept: list[Any] = []  # what C holds pointers to
        self._methods: dict[int, _Methods] = {}
        self._layer = _Layer.from_buffer_copy(self._own.contents)
        self._layer.name = b"sick"
        self._layer.next = None
        self._layer.open = self._keep(_Open(self._opens))
        self.disk = Disk()

    def _keep(self, function: Any) -> int | None:
        self._kept.append(function)
        return ctypes.cast(function, c_void_p).value

    def use(self, wanted: bool) -> None:
        """Stand before the operating system, or step aside."""
        layer = ctypes.byref(self._layer) if wanted else self._own
        assert self._library.sqlite3_vfs_register(layer, 1) == sqlite3.SQLITE_OK

    def _opens(self, _: int, name: int, file: int, flags: int, told: int) -> int:
        opens = ctypes.cast(self._own.contents.open, _Open)
        code: int = opens(ctypes.cast(self._own, c_void_p), name, file, flags, told)
        if code == sqlite3.SQLITE_OK:
            methods = c_void_p.from_address(file)
            assert methods.value
            methods.value = ctypes.addressof(self._sickened(methods.value))
        return code

    def _sickened(self, address: int) -> _Methods:
        """Return the methods at *address*, three of them behind a fault."""
        if address not in self._methods:
            copy = _Methods.from_buffer_copy(_Methods.from_address(address))
            for verb, kind in (("read", _Move), ("write", _Move), ("sync", _Sync)):
                setattr(copy, verb, self._keep(kind(self._guard(verb, kind(getattr(copy, verb))))))
            self._methods[address] = copy
        return self._methods[address]

    def _guard(self, verb: str, does: Any) -> Any:
        def guarded(*values: int) -> int:
            if code := self.disk.faults.get(verb):
                self.disk.refused += 1
                return code
            return does(*values)  # type: ignore[no-any-return]

        return guarded


_shims: list[_Shim] = []


@contextmanager
def sick() -> Iterator[Disk]:
    """Open databases on a disk that can fall ill; it is well again at the end."""
    if not _shims:
        _shims.append(_Shim())
    (shim,) = _shims
    shim.disk.heals()
    shim.disk.refused = 0
    shim.use(True)
    try:
        yield shim.disk
    finally:
        shim.disk.heals()
        shim.use(False)


# -- real disks --------------------------------------------------------------------------------------------------


class Mount:
    """A file system of a few megabytes at *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, leave: int = 0) -> None:
        """Write until nothing fits any more, or until *leave* bytes are free."""
        with (self.path / "ballast").open("ab", buffering=0) as file:
            for size in (65_536, 512):
                while self._free() - size >= leave and self._fits(file, size):
                    pass

    def _free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize if found.f_bavail else 65_536  # the last block may have room

    @staticmethod
    def _fits(file: Any, size: int) -> bool:
        try:
            return bool(file.write(bytes(size)) == size)
        except OSError as why:
            if why.errno != errno.ENOSPC:
                raise
            return False

    def free(self) -> None:
        """Make room again."""
        (self.path / "ballast").unlink()

    def abort(self) -> None:
        """Give up writing, as the file system does by itself after an I/O error."""
        _run("mount", "-o", "remount,abort", str(self.path))

    def repair(self) -> None:
        """Mount it again, once nobody uses it."""
        _run("umount", str(self.path))
        _run("mount", "-o", "loop", f"{self.path}.img", str(self.path))

    def seal(self) -> None:
        """Make it read-only for everybody who comes from now on."""
        _run("mount", "-o", "remount,ro", str(self.path))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a real disk takes root and {command[0]}: {done.stderr.strip()}")


@contextmanager
def small(path: Path, mebibytes: int = 12) -> Iterator[Mount]:
    """Mount an empty tmpfs at *path*, or skip where that isn't allowed."""
    path.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path))
    try:
        yield Mount(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def failing(path: Path, mebibytes: int = 16) -> Iterator[Mount]:
    """Mount an ext4 that lies in a file at *path*, or skip where that isn't allowed."""
    path.mkdir()
    image = path.with_name(f"{path.name}.img")
    with image.open("wb") as file:
        file.truncate(mebibytes * 1024 * 1024)
    _run("mkfs.ext4", "-q", str(image))
    _run("mount", "-o", "loop,errors=remount-ro", str(image), str(path))
    try:
        yield Mount(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
