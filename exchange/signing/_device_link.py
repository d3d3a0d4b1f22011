"""One worker process of one device, from the switch's side.

Jobs go out as lines and come back as answers by number; what is asked in one turn of the loop is written together. A
process that doesn't answer in time is killed: the library in it may hang for ever, and nothing else would help.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import orjson

from exchange.ports import SM2_ID
from exchange.tokens.device import RETRY_OTHER, DeviceFault, DeviceSettings

START_SECONDS: Final = 30.0  # for loading a library and logging in; network devices take their time
LOOK_SECONDS: Final = 0.25  # between looks at what is overdue
LINE: Final = 1 << 20


class Link:
    """A running worker; *lost* is called once, with the reason, when it is gone."""

    def __init__(self, name: str, settings: DeviceSettings, lost: Callable[[str], None]) -> None:
        self._name, self._settings, self._lost = name, settings, lost
        self._asked: dict[int, tuple[asyncio.Future[bytes], float]] = {}
        self._lines: list[bytes] = []
        self._number = 0
        self._over = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> dict[str, str]:
        """Start the process and open the device; return what it says of itself. Raises DeviceFault."""
        reader, told = await self._begin(self._settings.sessions)
        if "opened" not in told:
            self.kill("it didn't open")
            raise _fault(told or {"text": "its process died while it opened the device"})
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read(reader)), loop.create_task(self._watch())]
        opened: dict[str, str] = told["opened"]
        return opened

    async def look(self) -> list[dict[str, Any]]:
        """Start the process, load the library, and return what is there; then end it. Raises DeviceFault."""
        _, told = await self._begin(0)
        self.kill("it was looked at")
        if "seen" not in told:
            raise _fault(told or {"text": "its process died while it loaded the library"})
        seen: list[dict[str, Any]] = told["seen"]
        return seen

    async def _begin(self, sessions: int) -> tuple[asyncio.StreamReader, dict[str, Any]]:
        """Start the process and tell it what to open; return what it answers, which is nothing where it died."""
        reader, writer = await asyncio.open_connection(sock=self._spawn(), limit=LINE)
        self._writer = writer
        settings = self._settings
        asked = {
            "kind": settings.kind,
            "settings": settings.model_dump(mode="json", exclude={"pin", "kind", "folder"}),
            "pin": settings.pin.read() if settings.pin and sessions else "",
            "sessions": sessions,
        }
        writer.write(orjson.dumps(asked) + b"\n")
        try:
            async with asyncio.timeout(START_SECONDS):
                return reader, orjson.loads(await reader.readline() or b"{}")
        except (TimeoutError, OSError) as error:
            self.kill(f"it didn't open within {START_SECONDS:.0f} s")
            raise DeviceFault(RETRY_OTHER, "START", self._over) from error

    def _spawn(self) -> socket.socket:
        """Start the process (a new program, no fork of this one); return our end of the wire."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "exchange.tokens.device_worker"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=self._settings.folder,
            )
        return ours

    @property
    def in_flight(self) -> int:
        """How many jobs it has."""
        return len(self._asked)

    @property
    def pid(self) -> int:
        """Its process; 0 before it has one."""
        return self._process.pid if self._process else 0

    def ask(
        self, do: str, at: str, algorithm: str = "", data: bytes = b"", sm2_id: bytes = SM2_ID
    ) -> asyncio.Future[bytes]:
        """Ask for one thing; the future may end in a DeviceFault."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        if self._over:
            future.set_exception(DeviceFault(RETRY_OTHER, "LOST", self._over))
            return future
        self._number += 1
        self._asked[self._number] = future, loop.time()
        texts = {"data": b64encode(data).decode(), "as": b64encode(sm2_id).decode()}
        job = {"id": self._number, "do": do, "at": at, "with": algorithm, **texts}
        self._lines.append(orjson.dumps(job) + b"\n")
        if len(self._lines) == 1:
            loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._writer and not self._over:
            self._writer.write(b"".join(lines))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        reason = "its process died"
        with suppress(OSError, ValueError):
            while line := await reader.readline():
                answer = orjson.loads(line)
                future, _ = self._asked.pop(answer["id"], (None, 0.0))
                if future is None or future.done():
                    continue
                if "fault" in answer:
                    future.set_exception(fault := _fault(answer))
                    reason = fault.text if fault.kind == RETRY_OTHER else reason
                else:
                    future.set_result(b64decode(answer["value"]))
        self.kill(reason)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            oldest = min((since for _, since in self._asked.values()), default=None)
            limit = self._settings.timeout_seconds
            if oldest is not None and asyncio.get_running_loop().time() - oldest > limit:
                return self.kill(f"it gave no answer for {limit:g} s")

    def kill(self, reason: str) -> None:
        """End the process at once; what it was asked for fails, to be tried elsewhere."""
        if self._over:
            return
        self._over = reason
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._writer:
            self._writer.close()
        asked, self._asked = self._asked, {}
        for future, _ in asked.values():
            if not future.done():
                future.set_exception(DeviceFault(RETRY_OTHER, "LOST", reason))
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._lost(reason)


def _fault(told: dict[str, Any]) -> DeviceFault:
    return DeviceFault(told.get("fault", RETRY_OTHER), told.get("code", "DIED"), told["text"])
