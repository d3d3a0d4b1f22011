"""The peer of the folder adapter: a program that writes into one directory and reads from another."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from adapters.folder import Folder
from exchange.model import Endpoint
from exchange.options import Strict
from tests.contract.peers import Stage, until


class PEER:
    adapter = Folder

    async def open(self, stage: Stage) -> tuple[Endpoint, Endpoint]:
        self._stage = stage
        self._out, self._in = stage.directory / "take", stage.directory / "sent"
        self._numbers = count()
        return self._endpoint("folder-one", self._out, self._in), self._endpoint(
            "folder-two", stage.directory / "take-2", stage.directory / "sent-2"
        )

    def _endpoint(self, name: str, take: Path, sent: Path) -> Endpoint:
        take.mkdir()
        sent.mkdir()
        options = Folder.Options(take_from=take, send_to=sent, poll_seconds=0.02, settle_seconds=0.05)
        return Endpoint(name, "ENT0001", "folder", options)

    def settings(self) -> Strict | None:
        return None

    async def serving(self, adapter: Any) -> None:
        pass

    async def give(self, name: str, body: bytes) -> bool:
        draft = self._out / f"{next(self._numbers)}.tmp"
        draft.write_bytes(body)
        inode = draft.stat().st_ino
        no = self._refusals()
        draft.rename(self._out / name)
        await until(lambda: self._archived(inode) or self._refusals() > no)
        return self._archived(inode)

    def _archived(self, inode: int) -> bool:
        return any(path.stat().st_ino == inode for path in self._out.glob("archive/*/*"))

    def _refusals(self) -> int:
        return self._stage.count("folder.take_refused", "folder.file_left")

    async def received(self) -> list[tuple[str, bytes]]:
        return [(path.name, path.read_bytes()) for path in sorted(self._in.iterdir())]

    async def fail(self) -> None:
        self._in.rename(self._in.with_name("away"))

    async def recover(self) -> None:
        self._in.with_name("away").rename(self._in)

    async def close(self) -> None:
        pass
