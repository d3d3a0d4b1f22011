"""Picking files up from a directory that others write into: the blocking half of the folder adapter.

A file is complete once its size, times and inode have stood still for the settle time by our own monotonic clock: no
writer's clock or time zone plays a part. It is locked, read, and claimed by a rename into ``processing/``. The lock
stays until the file is finished, so of two switches one takes it, and what a dead switch left in ``processing/`` can be
told from what a living one works on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from adapters._folder import is_temporary, move_in, readable
from adapters._spool import Spooler, discard
from exchange.errors import Rejected
from exchange.instants import Instant, show_instant
from exchange.model import Parcel

LOOK: Final = 5_000  # directory entries looked at in one round
CLAIMS: Final = 100  # files claimed in one round, or ...
CLAIMED_BYTES: Final = 8 * 1024 * 1024  # ... so many bytes

Identity = tuple[int, int, int, int]
_NO_LOCKS: Final = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}  # EBADF: NFS, opened for reading


@frozen
class Claim:
    """One file that is ours: locked, read, and in ``processing/``."""

    handle: int
    path: Path
    name: str  # its name in the folder
    parcel: Parcel


@frozen
class _Found:
    """A complete file, sorted by what it is."""

    path: Path
    modified: int
    identity: Identity


@frozen
class Rules:
    """How one directory is picked up."""

    directory: Path
    settle_seconds: float
    keep: bool  # taken files go to archive/YYYYMMDD; else they are removed
    spooler: Spooler


class Pickup:
    """The files of one directory. Every public method blocks; call one at a time."""

    def __init__(
        self, rules: Rules, now: Callable[[], Instant], log: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rules = rules
        self._now = now
        self._log = log
        self._clock = clock
        self._processing = rules.directory / "processing"
        self._listing: Iterator[os.DirEntry[str]] | None = None
        self._seen: dict[str, tuple[Identity, float]] = {}  # in the last sweep: what a file was, and since when
        self._seeing: dict[str, tuple[Identity, float]] = {}  # in this one
        self._settled: list[_Found] = []
        self._ready: deque[_Found] = deque()
        self._left: dict[Path, Identity] = {}  # what we couldn't take: left alone until it changes

    def round(self) -> tuple[Sequence[Claim], bool]:
        """Look at some entries or claim some files, and tell whether there is more to do at once. Raises OSError."""
        if not self._ready:
            try:
                self._look()
            except OSError:
                self._listing, self._seeing, self._settled = None, {}, []
                raise
        claims = self._claim()
        return claims, bool(claims or self._ready or self._listing)

    def finish(self, taken: Iterable[Claim], refused: Iterable[tuple[Claim, BaseException]]) -> None:
        """Archive or remove what was taken; put back what was refused, and begin a new sweep then."""
        for claim in taken:
            self._close(claim, self._archive)
        for claim, error in refused:
            self._ready.clear()
            discard(claim.parcel.body)
            self._close(claim, self._put_back)
            if isinstance(error, Rejected):
                self._leave(self._rules.directory / claim.name, error)

    # -- looking -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Go on with the sweep through the directory; at its end the settled files are ready, oldest first."""
        if self._listing is None:
            self._listing = os.scandir(self._rules.directory)
        looked = 0
        for looked, entry in enumerate(islice(self._listing, LOOK), 1):  # noqa: B007  # counts
            if not is_temporary(entry.name):
                with suppress(FileNotFoundError):
                    self._see(entry)
        if looked < LOOK:
            self._swept()

    def _see(self, entry: os.DirEntry[str]) -> None:
        if not entry.is_file(follow_symlinks=False):
            return
        found, now = _found(entry), self._clock()
        identity, since = self._seen.get(entry.name, (None, now))
        if identity != found.identity:
            since = now
        self._seeing[entry.name] = found.identity, since
        if now - since >= self._rules.settle_seconds:
            self._settled.append(found)

    def _swept(self) -> None:
        found = [*self._orphans(), *sorted(self._settled, key=lambda each: (each.modified, each.path.name))]
        self._left = {path: identity for path, identity in self._left.items() if os.path.lexists(path)}
        self._ready.extend(each for each in found if self._left.get(each.path) != each.identity)
        self._seen, self._seeing, self._settled, self._listing = self._seeing, {}, [], None

    def _orphans(self) -> list[_Found]:
        """List what lies in ``processing/``; what a living switch works on will turn out to be locked."""
        with suppress(FileNotFoundError), os.scandir(self._processing) as entries:
            return [_found(entry) for entry in entries if entry.is_file(follow_symlinks=False)]
        return []

    # -- claiming ------------------------------------------------------------------------------------------------

    def _claim(self) -> list[Claim]:
        claims: list[Claim] = []
        room = CLAIMED_BYTES
        while self._ready and len(claims) < CLAIMS and room > 0:
            found = self._ready.popleft()
            try:
                claim = self._claim_one(found)
            except FileNotFoundError:
                continue  # another switch was faster, or its writer took it back
            except (OSError, Rejected) as error:
                self._leave(found.path, error)
                continue
            if claim:
                claims.append(claim)
                room -= claim.parcel.size
        return claims

    def _claim_one(self, found: _Found) -> Claim | None:
        with ExitStack() as undo:
            handle = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            undo.callback(os.close, handle)
            if not _lock(handle):
                return None
            self._rules.spooler.check(os.fstat(handle).st_size)
            with open(handle, "rb", closefd=False) as file:
                body = self._rules.spooler.gather(file)
            undo.callback(discard, body)
            if _identity(os.fstat(handle)) != found.identity:
                return None
            path, name = self._into_processing(found)
            undo.pop_all()
            return Claim(handle, path, name, Parcel(readable(os.fsencode(name)), body))

    def _into_processing(self, found: _Found) -> tuple[Path, str]:
        if found.path.parent == self._processing:
            return found.path, found.path.name.rpartition("~")[0] or found.path.name
        self._processing.mkdir(exist_ok=True)
        name = found.path.name
        return found.path.rename(self._processing / f"{name}~{found.identity[-1]:x}"), name

    def _leave(self, path: Path, error: BaseException) -> None:
        """Leave a file alone until it changes, and say so once."""
        self._log.warning("folder.file_left", name=readable(os.fsencode(path.name)), reason=str(error))
        with suppress(OSError):
            self._left[path] = _identity(path.lstat())

    # -- finishing -----------------------------------------------------------------------------------------------

    def _close(self, claim: Claim, step: Callable[[Claim], None]) -> None:
        try:
            step(claim)
        except OSError as error:
            self._log.error("folder.file_stuck", name=claim.parcel.name, reason=str(error))
        finally:
            os.close(claim.handle)

    def _archive(self, claim: Claim) -> None:
        if self._rules.keep:
            day = self._rules.directory / "archive" / show_instant(self._now())[:10].replace("-", "")
            day.mkdir(parents=True, exist_ok=True)
            move_in(claim.path, day, claim.name)
        else:
            claim.path.unlink()

    def _put_back(self, claim: Claim) -> None:
        move_in(claim.path, self._rules.directory, claim.name)


def _found(entry: os.DirEntry[str]) -> _Found:
    stat = entry.stat(follow_symlinks=False)
    return _Found(Path(entry), stat.st_mtime_ns, _identity(stat))


def _identity(stat: os.stat_result) -> Identity:
    """Return what changes when a file is written, replaced, renamed or given away; the inode is last."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _lock(handle: int) -> bool:
    """Lock a file against other switches; where a disk has no locks, the rename alone decides."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
