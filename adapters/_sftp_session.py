"""One run of the sftp subsystem: requests in, replies out, and never more of either in memory than is bounded.

Clients ask for a whole file in READ requests at once, and may take their time with the answers: reads wait in line
while the client's window or the socket is full, and while the line is long the client isn't allowed to send more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from adapters import _sftp_wire as wire
from adapters._sftp_files import Download, Listing, Upload
from adapters._sftp_tree import Tree
from adapters._sftp_wire import Fields, Refusal
from exchange.errors import ExchangeError

HANDLES: Final = 32  # open at once in one session
TOGETHER_BYTES: Final = 32 * 1024  # of replies to reads that are sent at once
LONGEST_LINE: Final = 512  # reads waiting before the client has to wait, too

Reply = tuple[int, bytes]
File = Upload | Download | Listing
Kind = TypeVar("Kind", Upload, Download, Listing)

_DONE: Final = wire.status(wire.OK, "")
_EXTENSIONS: Final = {b"posix-rename@openssh.com": b"1", b"fsync@openssh.com": b"1"}


class Session:
    """Answers the requests of one client about one tree; *write* and *clogged* are the channel's."""

    def __init__(
        self,
        tree: Tree,
        write: Callable[[bytes], None],
        clogged: Callable[[], bool],
        working: set[asyncio.Task[None]],
        log: Any,
    ) -> None:
        self._tree = tree
        self._write = write
        self._clogged = clogged
        self._working = working  # answers under way, in all sessions
        self._log = log
        self._packets = wire.Packets()
        self._files: dict[bytes, File] = {}
        self._opened = 0
        self._closing = 0
        self._reads: deque[tuple[int, Fields]] = deque()
        self._replies: list[bytes] = []
        self._replied_bytes = 0

    @property
    def congested(self) -> bool:
        """Whether the client should wait before it asks for more."""
        return len(self._reads) > LONGEST_LINE

    def receive(self, data: bytes) -> None:
        """Answer what the client asks. Raises Malformed: then the session is to be cut."""
        for kind, request, fields in self._packets.feed(data):
            if kind == wire.READ:
                self._reads.append((request, fields))
            elif kind == wire.INIT:
                extensions = b"".join(wire.string(name) + wire.string(value) for name, value in _EXTENSIONS.items())
                self._reply(3, (wire.VERSION, extensions))
            else:
                self._answer(request, _HANDLERS.get(kind, Session._unsupported), fields)
        self.pump()

    def pump(self) -> None:
        """Send replies, and answer the reads in line as far as there is room."""
        self._flush()
        while self._reads and not self._clogged():
            request, fields = self._reads.popleft()
            self._answer(request, Session._read, fields)
            if self._replied_bytes >= TOGETHER_BYTES:
                self._flush()
        self._flush()

    def cut(self) -> None:
        """Forget everything unfinished: the connection is gone. What is being taken goes on."""
        self._write = lambda data: None
        self._reads.clear()
        for file in self._files.values():
            file.discard()
        self._files.clear()

    # -- answering -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._replies:
            replies = b"".join(self._replies)
            self._replies.clear()
            self._replied_bytes = 0
            self._write(replies)

    def _reply(self, request: int, reply: Reply) -> None:
        self._replies.append(wire.packet(reply[0], request, reply[1]))
        self._replied_bytes += len(reply[1])

    def _answer(self, request: int, handler: Handler, fields: Fields) -> None:
        try:
            reply = handler(self, fields)
        except wire.Malformed:
            raise
        except Exception as error:
            reply = self._refuse(error)
        if isinstance(reply, tuple):
            self._reply(request, reply)
        else:
            task = asyncio.ensure_future(self._answer_later(request, reply))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _answer_later(self, request: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
            reply = _DONE
        except Exception as error:
            reply = self._refuse(error)
        self._reply(request, reply)
        self.pump()

    def _refuse(self, error: Exception) -> Reply:
        """Say no in the client's terms; what nobody foresaw is in the log with its traceback."""
        log = self._log.bind(endpoint=self._tree.endpoint.name)
        match error:
            case Refusal():
                return wire.status(error.code, error.text)
            case FileNotFoundError():
                return wire.status(wire.NO_SUCH_FILE, "no such file / 文件不存在")
            case ExchangeError():
                log.warning("sftp.request_refused", code=error.code, reason=error.en)
                return wire.status(wire.FAILURE, f"{error} / {error.zh}")
            case OSError():
                log.error("sftp.request_failed", reason=error.strerror)
                return wire.status(wire.FAILURE, "the server's disk failed; try later / 服务器存储异常，请稍后重试")
        log.error("sftp.request_broke", exc_info=error)
        return wire.status(wire.FAILURE, "the server failed; try later / 服务器内部错误，请稍后重试")

    # -- handles -------------------------------------------------------------------------------------------------

    def _open(self, fields: Fields) -> Reply:
        path, flags = fields.string(), fields.u32()
        return self._opens(lambda: self._tree.open(path, flags))

    def _opendir(self, fields: Fields) -> Reply:
        place = self._tree.find(fields.string())
        return self._opens(lambda: self._tree.listing(place))

    def _opens(self, open_file: Callable[[], File]) -> Reply:
        if len(self._files) + self._closing >= HANDLES:
            raise Refusal(wire.FAILURE, f"at most {HANDLES} files at once", f"同时打开的文件不得超过 {HANDLES} 个")
        file = open_file()
        self._opened += 1
        handle = b"%d" % self._opened
        self._files[handle] = file
        return wire.HANDLE, wire.string(handle)

    def _file(self, fields: Fields, kind: type[Kind]) -> Kind:
        file = self._files.get(fields.string())
        if not isinstance(file, kind):
            raise Refusal(wire.FAILURE, "no such handle", "句柄无效")
        return file

    def _close(self, fields: Fields) -> Reply | Coroutine[Any, Any, None]:
        file = self._files.pop(fields.string(), None)
        if isinstance(file, Upload):
            self._closing += 1
            return self._close_upload(file)
        if file is None:
            raise Refusal(wire.FAILURE, "no such handle", "句柄无效")
        file.discard()
        return _DONE

    async def _close_upload(self, upload: Upload) -> None:
        try:
            await self._tree.close(upload)
        finally:
            self._closing -= 1

    def _read(self, fields: Fields) -> Reply:
        file = self._file(fields, Download)
        return wire.DATA, wire.string(file.read(fields.u64(), fields.u32()))

    def _write_some(self, fields: Fields) -> Reply:
        self._file(fields, Upload).write(fields.u64(), fields.string())
        return _DONE

    def _readdir(self, fields: Fields) -> Reply:
        return wire.names(self._file(fields, Listing).some())

    def _fstat(self, fields: Fields) -> Reply:
        file = self._files.get(fields.string())
        if isinstance(file, Upload | Download):
            return wire.ATTRS, file.attributes.pack()
        raise Refusal(wire.FAILURE, "no such handle", "句柄无效")

    def _fsetstat(self, fields: Fields) -> Reply:
        upload = self._file(fields, Upload)
        return _ignored(fields, upload.attributes.size)

    # -- paths ---------------------------------------------------------------------------------------------------

    def _stat(self, fields: Fields) -> Reply:
        return wire.ATTRS, self._tree.attributes(self._tree.find(fields.string())).pack()

    def _setstat(self, fields: Fields) -> Reply:
        return _ignored(fields, self._tree.attributes(self._tree.find(fields.string())).size)

    def _realpath(self, fields: Fields) -> Reply:
        path = self._tree.canonical(fields.string())
        return wire.names([(path, "", b"\0\0\0\0")])

    def _remove(self, fields: Fields) -> Reply:
        self._tree.remove(self._tree.find(fields.string()))
        return _DONE

    def _rename(self, fields: Fields, *, overwrite: bool = False) -> Reply | Coroutine[Any, Any, None]:
        old, new = self._tree.find(fields.string()), self._tree.find(fields.string())
        return self._tree.rename(old, new, overwrite=overwrite) or _DONE

    def _extended(self, fields: Fields) -> Reply | Coroutine[Any, Any, None]:
        match fields.string():
            case b"posix-rename@openssh.com":
                return self._rename(fields, overwrite=True)
            case b"fsync@openssh.com":  # CLOSE syncs, and only then is anything promised
                self._file(fields, Upload)
                return _DONE
        return self._unsupported(fields)

    def _unsupported(self, fields: Fields) -> Reply:
        return wire.status(wire.UNSUPPORTED, "not offered here / 不支持此操作")


def _ignored(fields: Fields, size: int) -> Reply:
    """Pass over attributes that a client wants to set: times and modes are ours; a change of size is refused."""
    if fields.size_attribute() not in (None, size):
        raise Refusal(wire.UNSUPPORTED, "files can't be truncated or extended", "不支持修改文件大小")
    return _DONE


Handler = Callable[[Session, Fields], Reply | Coroutine[Any, Any, None]]
_HANDLERS: Final[dict[int, Handler]] = {
    wire.OPEN: Session._open,
    wire.CLOSE: Session._close,
    wire.WRITE: Session._write_some,
    wire.LSTAT: Session._stat,
    wire.STAT: Session._stat,
    wire.FSTAT: Session._fstat,
    wire.SETSTAT: Session._setstat,
    wire.FSETSTAT: Session._fsetstat,
    wire.OPENDIR: Session._opendir,
    wire.READDIR: Session._readdir,
    wire.REMOVE: Session._remove,
    wire.REALPATH: Session._realpath,
    wire.RENAME: Session._rename,
    wire.EXTENDED: Session._extended,
}
