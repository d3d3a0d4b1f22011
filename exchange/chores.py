"""What the daemon does again and again: it watches disk, deadlines, certificates and the signing log, and forgets."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exchange.errors import StoreError
from exchange.instants import day_number, show_id
from exchange.ports import LAST
from exchange.signinglog import CHECKPOINT, checkpoint

if TYPE_CHECKING:
    from exchange.service import Daemon

NEWEST: Final = 1 << 62
FULL = StoreError(
    "the disk of the store is nearly full: free space or extend the volume; intake waits",
    "存储磁盘空间不足：请清理或扩容；在此之前暂停接收",
    code="SWX-6010",
)
UNAPPROVED = StoreError(
    "nothing is taken, decided or sent: the routing table names signature profiles of switchd.yaml that nobody has "
    "approved. One person gives: switchctl change submit profiles --reason ...; then another: switchctl change approve "
    "NUMBER --reason ...; the switch begins at once",
    "暂不接收、处理或发送任何报文：路由表引用了 switchd.yaml 中尚未批准的签名规格。"
    "先由一人执行 switchctl change submit profiles --reason ...，"
    "再由另一人执行 switchctl change approve 编号 --reason ...；批准后立即开始运行",
    code="SWX-4122",
)
REFUSED: Final = {  # of a reload
    "en": "message types and table stay as they were: the administrator corrects the files that are named, "
    "then sends SIGHUP again",
    "zh": "报文类型和路由表均保持不变：请管理员更正所列文件后重新发送 SIGHUP",
}
STOPPING = StoreError("the switch is stopping: come back in a minute", "交换机正在停止：请稍后重试", code="SWX-6060")


class Chores:
    """The chores of one daemon; one that fails is told, and done again at its next turn."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._witnessed = 0  # row of the signing log that the log was told of last
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        often = (self.watch_disk, 2.0), (self.look_at_deadlines, 5.0), (self._daemon.trusting.tend, 60.0)
        hourly = ((chore, 3600.0) for chore in (self.retain, self.look_at_certificates, self.witness))
        for chore, seconds in (*often, *hourly):
            self.tasks.append(asyncio.create_task(self.repeat(chore, seconds)))

    def stop(self) -> None:
        """Do nothing more."""
        for task in self.tasks:
            task.cancel()

    async def repeat(self, chore: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Do a chore for ever."""
        while True:
            try:
                await chore()
            except Exception as why:
                self._daemon.log.error("chore.failed", chore=chore.__name__, error=str(why))
            await asyncio.sleep(seconds)

    async def watch_disk(self) -> None:
        """Close intake while the disk is nearly full or can't be written; deciding and sending go on as they can."""
        store = self._daemon.installation.settings.store
        folder: Path = self._daemon.installation.path(store.folder)
        free = shutil.disk_usage(folder).free
        why = FULL if free <= store.reserve_bytes else await self._trouble() or self._daemon.waiting
        before, self._daemon.switch.refusing = self._daemon.switch.refusing, why
        if why is not None and (before is None or before.code != why.code):
            self._daemon.log.error("intake.closed", code=why.code, en=why.en, zh=why.zh, free_bytes=free)
        elif why is None and before is not None:
            self._daemon.log.info("intake.opened", free_bytes=free)

    async def _trouble(self) -> StoreError | None:
        """Return why the store can't be written, if so: a disk can have space and be read-only all the same."""
        try:
            await self._daemon.store.probe()
        except StoreError as why:
            return why
        return None

    async def look_at_deadlines(self) -> None:
        """Tell, once each, which receipts are missing and which have waited for their cause in vain."""
        self._daemon.switch.sending.look_at_clock()
        late = await self._daemon.store.overdue(self._daemon.now())
        self._daemon.missing = late.missing
        for message, party, stage in late.receipts:
            code = "SWX-3040" if stage == LAST else "SWX-3041"
            self._daemon.log.warning("receipt.missed", id=show_id(message), party=party, stage=stage, code=code)
        for message in late.parked:
            self._daemon.log.warning("receipt.unmatched", id=show_id(message), code="SWX-2020")

    async def retain(self) -> None:
        """Forget days that are older than what is kept, and answers of the signing API."""
        keep = self._daemon.installation.settings.store.retention_days
        dropped = await self._daemon.store.retain(day_number(self._daemon.now()) - keep)
        forgotten = await self._daemon.api.forget() if self._daemon.api else 0
        if dropped or forgotten:
            self._daemon.log.info("store.retained", days_dropped=dropped, signing_jobs=forgotten)

    async def look_at_certificates(self) -> None:
        """Warn of certificates and lists that end soon."""
        await self._daemon.trusting.look(self._daemon.switch.table, self._daemon.custody.certificates)

    async def witness(self) -> None:
        """Tell the log how far the signing log is: whoever keeps that can prove later what stood in it."""
        last = next((row.number for row in await self._daemon.store.operations(before=NEWEST, limit=1)), 0)
        if last == self._witnessed:
            return
        begin = checkpoint(self._witnessed + 1) if self._witnessed else last // CHECKPOINT * CHECKPOINT
        for number in sorted({*range(begin, last + 1, CHECKPOINT), last} - {0}):
            for row in await self._daemon.store.operations(after=number - 1, limit=1):
                self._daemon.log.info("signing.checkpoint", number=row.number, link=row.link.hex())
        self._witnessed = last


def settle_memory() -> None:
    """Keep the collector off what was loaded at start, and from looking after every few messages.

    Messages leave no cycles behind; walking through the catalogue for them costs a sixth of the whole work.
    """
    gc.unfreeze()  # what an earlier catalogue left
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 100)
