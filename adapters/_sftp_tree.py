"""What one enterprise sees over SFTP: a root with four boxes, and nothing else.

OutBox takes uploads, SentBox shows what was taken, InBox holds receipts and messages, FailBox rejections: the folders
of the single-window import client. A file is taken on CLOSE, or, where it was uploaded under a temporary name, when it
is renamed to its final one.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import shutil
import stat as modes
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from adapters import _sftp_wire as wire
from adapters._folder import OURS, is_safe, is_temporary, make_directory, move_in, readable, tidy, unfinished, write
from adapters._sftp_files import Download, Listing, Upload, files, told
from adapters._sftp_wire import Attributes, Refusal
from adapters._spool import Spooler, discard
from exchange.model import Endpoint, Parcel, Spool
from exchange.ports import Take

UNFINISHED: Final = 100  # files that one user may have lying under temporary names
UNFINISHED_DAYS: Final = 7
RECENT: Final = 256  # files just taken whose attributes a session remembers


@frozen
class Box:
    """What may be done in one of the folders."""

    put: bool = False
    remove: bool = False


OUT, SENT, IN, FAIL = "OutBox", "SentBox", "InBox", "FailBox"
BOXES: Final = {OUT: Box(put=True, remove=True), SENT: Box(), IN: Box(remove=True), FAIL: Box(remove=True)}


@frozen
class Desk:
    """What the trees of all users share."""

    take: Take
    spooler: Spooler
    log: Any
    keeps_sent: bool


@frozen
class Place:
    """A path that was understood; no box means the root, no name the box itself."""

    box: str = ""
    name: str = ""

    def __str__(self) -> str:
        return posixpath.join("/", self.box, self.name)


class Tree:
    """The boxes of one user, in one session."""

    def __init__(self, root: Path, endpoint: Endpoint, desk: Desk) -> None:
        self.endpoint = endpoint
        self._root = root
        self._desk = desk
        self._charset: str = endpoint.options.names
        self._recent: dict[str, Attributes] = {}

    def prepare(self) -> None:
        """Make the boxes that aren't there yet; blocks."""
        for box in BOXES:
            make_directory(self._root / box)

    # -- looking -------------------------------------------------------------------------------------------------

    def canonical(self, path: bytes) -> bytes:
        """Return the absolute path within the root, whether or not there is such a file."""
        return self._encode(_normal(readable(path, self._charset)))

    def find(self, path: bytes) -> Place:
        """Understand a path; everything outside the four boxes doesn't exist."""
        text = _normal(readable(path, self._charset))
        parts = [part for part in text.split("/") if part]
        if len(parts) > 2 or (parts and parts[0] not in BOXES) or "\0" in text:
            raise FileNotFoundError
        return Place(*parts)

    def attributes(self, place: Place) -> Attributes:
        """Tell size, mode and time. Raises FileNotFoundError."""
        if not place.name:
            return Attributes(modes.S_IFDIR | 0o700, 0, 0)
        try:
            stat = self._path(place).lstat()
        except FileNotFoundError:
            # Clients look whether an upload has arrived whole, under the name that has just gone to SentBox.
            if place.box == OUT and place.name in self._recent:
                return self._recent[place.name]
            raise
        if not modes.S_ISREG(stat.st_mode):
            raise FileNotFoundError
        return told(stat)

    def listing(self, place: Place) -> Listing:
        """List the root or a box."""
        if place.name:
            raise FileNotFoundError
        return Listing(self._entries(place), self._encode)

    def _entries(self, place: Place) -> Iterator[tuple[str, Attributes]]:
        if place.box:
            return files(self._root / place.box, lambda name: not name.startswith(OURS))
        return ((box, self.attributes(Place(box))) for box in BOXES)

    # -- opening and changing ------------------------------------------------------------------------------------

    def open(self, path: bytes, flags: int) -> Upload | Download:
        """Open a file to read it, or to upload it."""
        if flags & (wire.FOR_WRITING | wire.APPENDING):
            return self._upload(self._destination(path), flags)
        place = self.find(path)
        self.attributes(place)
        return Download(self._path(place))

    def _destination(self, path: bytes) -> Place:
        """Return where an upload goes. Who uploads elsewhere is told where to."""
        with contextlib.suppress(FileNotFoundError):
            place = self.find(path)
            if place.box and BOXES[place.box].put:
                return place
        raise Refusal(wire.PERMISSION_DENIED, f"upload into {OUT}", f"请上传到 {OUT} 目录")

    def _upload(self, place: Place, flags: int) -> Upload:
        _check_name(place.name)
        there = self._path(place).is_file()
        if flags & wire.APPENDING or (there and not flags & wire.TRUNCATING):
            raise Refusal(
                wire.UNSUPPORTED, "no resuming or appending: upload the whole file", "不支持续传，请重新上传整个文件"
            )
        if not (there or flags & wire.CREATING):
            raise FileNotFoundError
        self._recent.pop(place.name, None)
        return Upload(place.name, self._desk.spooler.begin())

    async def close(self, upload: Upload) -> None:
        """Take an upload that the client has closed, or keep it where its name is temporary."""
        body = await upload.complete()
        if is_temporary(upload.name):
            await self._keep(upload.name, body)
        else:
            await self._take_whole(upload.name, body)

    def remove(self, place: Place) -> None:
        """Remove a file where the box allows it."""
        if not place.name or not BOXES[place.box].remove:
            raise Refusal(wire.PERMISSION_DENIED, "nothing can be removed here", "此处文件不允许删除")
        self.attributes(place)
        self._path(place).unlink()

    def rename(self, old: Place, new: Place, *, overwrite: bool) -> Coroutine[Any, Any, None] | None:
        """Rename a finished upload; to a final name means to take it, which the returned coroutine does."""
        if not (old.name and new.name and old.box == new.box == OUT):
            raise Refusal(wire.PERMISSION_DENIED, f"files are renamed within {OUT} only", f"仅允许在 {OUT} 内改名")
        _check_name(new.name)
        source, target = self._path(old), self._path(new)
        if not source.is_file():
            raise FileNotFoundError
        if not is_temporary(new.name):
            self._recent.pop(new.name, None)
            return self._take_renamed(source, new.name)
        if target.exists() and not overwrite:
            raise Refusal(wire.FAILURE, "there is a file of that name", "已有同名文件")
        source.rename(target)
        return None

    # -- taking --------------------------------------------------------------------------------------------------

    async def _keep(self, name: str, body: bytes | Spool) -> None:
        """Let an upload lie in OutBox until it is renamed."""
        target = self._path(Place(OUT, name))
        draft = unfinished(target.parent)
        try:
            if not target.exists() and sum(1 for _ in target.parent.iterdir()) >= UNFINISHED:
                raise Refusal(
                    wire.FAILURE, "too many unfinished files: rename or remove some", "未完成文件过多，请先改名或删除"
                )
            if isinstance(body, Spool):
                await asyncio.to_thread(shutil.move, body.path, draft)
            else:
                write(draft, body)
            draft.replace(target)
        except BaseException:
            discard(body)
            draft.unlink(missing_ok=True)
            raise

    async def _take_whole(self, name: str, body: bytes | Spool) -> None:
        draft = await self._second_name(body)
        try:
            await self._take(name, body)
        except BaseException:
            if draft:
                draft.unlink()
            raise
        self._show_sent(name, draft or body)

    async def _second_name(self, body: bytes | Spool) -> Path | None:
        """Keep hold of a spool file for SentBox, before it becomes the store's."""
        draft = unfinished(self._root / SENT)
        with self._only_logged():
            if isinstance(body, Spool) and self._desk.keeps_sent:
                await asyncio.to_thread(_link, body.path, draft)
                return draft
        return None

    async def _take_renamed(self, source: Path, name: str) -> None:
        body: bytes | Spool = self._small(source)
        if not body:
            body = await asyncio.to_thread(self._gather, source)
        await self._take(name, body)
        self._show_sent(name, source)

    def _small(self, source: Path) -> bytes:
        """Read a file that isn't worth a thread; of a larger one return nothing."""
        return source.read_bytes() if source.stat().st_size <= self._desk.spooler.spool_bytes else b""

    def _gather(self, source: Path) -> bytes | Spool:
        with source.open("rb") as file:
            return self._desk.spooler.gather(file)

    async def _take(self, name: str, body: bytes | Spool) -> None:
        parcel = Parcel(name, body)
        try:
            await self._desk.take(parcel, self.endpoint)
        except BaseException:
            discard(body)
            raise
        self._recent[name] = Attributes(modes.S_IFREG | 0o400, parcel.size, 0)
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def _show_sent(self, name: str, what: Path | bytes | Spool) -> None:
        """Show what was taken in SentBox. The answer is yes already: nothing that fails here may change it."""
        sent = self._root / SENT
        with self._only_logged():
            if isinstance(what, bytes) and self._desk.keeps_sent:
                write(draft := unfinished(sent), what)
                move_in(draft, sent, name)
            elif isinstance(what, Path):
                move_in(what, sent, name) if self._desk.keeps_sent else what.unlink()

    @contextlib.contextmanager
    def _only_logged(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._desk.log.warning("sftp.copy_missed", endpoint=self.endpoint.name, reason=str(error.strerror))

    def _path(self, place: Place) -> Path:
        return self._root / place.box / place.name

    def _encode(self, name: str) -> bytes:
        return name.encode(self._charset, "surrogateescape" if self._charset == "utf-8" else "replace")


def prune(root: Path, sent_days: int) -> None:
    """Remove old copies of what was taken, uploads that nobody finished, and what crashes left; blocks."""
    for box in BOXES:
        tidy(root / box)
    for box, days in ((SENT, sent_days), (OUT, UNFINISHED_DAYS)):
        oldest = time.time() - days * 86400
        if (root / box).is_dir():
            for name, what in files(root / box, lambda name: True):
                if what.modified < oldest:
                    (root / box / name).unlink(missing_ok=True)


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _check_name(name: str) -> None:
    if not is_safe(name):
        raise Refusal(
            wire.FAILURE,
            "choose another file name: at most 200 bytes of UTF-8, no control characters or backslashes",
            "请更换文件名：UTF-8 编码不超过 200 字节，不含控制字符和反斜杠",
        )


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or, on another disk, a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError:
            target.unlink(missing_ok=True)
            raise
