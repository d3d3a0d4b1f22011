"""The daemon: start, reload, drain, stop. Twisted's reactor runs it; everything it does is a coroutine.

Start-up: catalogue, token, store (recovery), routing table in force, then what was open goes on, and only then the
adapters listen. Stopping goes the other way round.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from exchange import asgi, catalogue, editions, observability, plugins, routesfile
from exchange.catalogue import Catalogue
from exchange.control import Control
from exchange.controlsocket import serve_control
from exchange.errors import ConfigurationError, StoreError
from exchange.explaining import Explainer
from exchange.instants import Instant, day_number, read_id, show_id
from exchange.observability import Metrics, Probes, Pulse
from exchange.ports import LAST, Adapter, Change, Changed, Generation, Token, World
from exchange.routing import RoutingTable
from exchange.sending import Sending
from exchange.settings import Installation
from exchange.signing.service import SigningService
from exchange.switch import Limits, Switch

ACTOR: Final = "switchd"
FULL = StoreError(
    "the disk of the store is nearly full: free space or extend the volume; intake waits",
    "存储磁盘空间不足：请清理或扩容；在此之前暂停接收",
    code="SWX-6010",
)
STOPPING = StoreError("the switch is stopping: come back in a minute", "交换机正在停止：请稍后重试", code="SWX-6060")


@define
class Daemon:
    """One running switch."""

    installation: Installation
    reactor: Any
    now: Callable[[], Instant]
    log: Any
    adapters: dict[str, Adapter] = field(factory=dict)
    missing: Mapping[tuple[str, str], int] = field(factory=dict)  # (party, stage) -> receipts overdue
    tests: list[routesfile.Test] = field(factory=list)
    listeners: list[Any] = field(factory=list)
    _chores: list[asyncio.Task[None]] = field(factory=list)
    catalogue: Catalogue = field(init=False)
    store: Any = field(init=False)
    switch: Switch = field(init=False)
    explainer: Explainer = field(init=False)
    token: Token = field(init=False)
    signing: SigningService = field(init=False)
    metrics: Metrics = field(init=False)
    pulse: Pulse = field(init=False)
    started_at: Instant = field(init=False, default=0)
    ready: bool = field(init=False, default=False)

    # -- start ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and begin to listen. Raises ConfigurationError or StoreError; then nothing listens."""
        settings, self.started_at = self.installation.settings, self.now()
        schemas = catalogue.SCHEMAS, *self.installation.schemas
        self.catalogue = catalogue.load(*schemas)
        self.token = self.installation.token()
        await self.token.open()
        self._start_metrics()
        self.store = plugins.load("stores", settings.store.kind)(
            self.installation.path(settings.store.folder),
            now=self.now,
            sample=b"".join(sample.path.read_bytes() for sample in self.catalogue.samples() if not sample.code),
            duplicate_days=settings.store.duplicate_days,
            observe=self.metrics.batch,
        )
        backlog = await self.store.open()
        self.explainer = Explainer(schemas)
        sending = Sending(self.store, self.adapters, now=self.now, log=self.log, meter=self.metrics)
        asked = settings.limits
        limits = Limits(asked.payload_bytes, asked.backlog_bytes, asked.backlog, asked.unsigned)
        self.signing = SigningService(self.token, self.now, self.log, self.store.log)
        self.switch = Switch(
            self.store,
            self.catalogue,
            self.signing,
            sending,
            self.explainer.explain,
            now=self.now,
            log=self.log,
            meter=self.metrics,
            limits=limits,
        )
        await self._put_in_force(await self._first_table())
        self.switch.held = sending.held = await self.store.holds()
        self.switch.start(backlog.arrivals)
        await sending.load()
        await self._listen()
        _settle_memory()
        self.ready = True
        self.log.info(
            "switch.started",
            generation=self.switch.table.generation,
            undecided=len(backlog.arrivals),
            deliveries=backlog.deliveries,
            unknown=backlog.unknown,
        )

    def _start_metrics(self) -> None:
        self.pulse = Pulse(self.reactor)
        self.pulse.start()
        probes = Probes(
            backlog=lambda: {n: (d, at) for n, (d, at) in self.switch.sending.waiting().items() if at is not None},
            missing=lambda: self.missing,
            unsigned=lambda: self.signing.queue.parties(),
            unsigned_seconds=lambda: self.signing.oldest_seconds(),
            unable=lambda: len(self.signing.troubles),
            generation=lambda: self.switch.table.generation,
            intake_open=lambda: self.ready and self.switch.refusing is None,
            now=self.now,
            directory=str(self.installation.home),
        )
        self.metrics = Metrics(probes, self.pulse)

    async def _first_table(self) -> Generation:
        """Return the generation in force; the very first is the file as it stands."""
        generations = await self.store.generations(1)
        if generations:
            return generations[0]  # type: ignore[no-any-return]
        text = routesfile.bundle(self.installation.path(self.installation.settings.routes))
        await self.check(text)
        return await self.store.publish(text, ACTOR, "first start", self.now())  # type: ignore[no-any-return]

    async def _listen(self) -> None:
        settings = self.installation.settings
        if settings.monitor.port:
            app = observability.pages(self.metrics, self.pulse, self.readiness)
            self.listeners.append(await asgi.listen(app, host=settings.monitor.host, port=settings.monitor.port))
        control = Control(self)
        self.listeners.append(await serve_control(control, self.installation.path(settings.control), self.log))
        chores = (self._watch_disk, 2.0), (self._look_at_deadlines, 5.0), (self._retain, 3600.0)
        for chore, seconds in chores:
            self._chores.append(asyncio.create_task(self._repeat(chore, seconds)))

    # -- the routing table ---------------------------------------------------------------------------------------

    async def check(
        self,
        text: str,
        generation: int = 0,
        rows: Sequence[Mapping[str, Any]] = (),
        types: Catalogue | None = None,
    ) -> tuple[RoutingTable, list[routesfile.Test]]:
        """Build the table of a bundle and of imported parties, *rows* among them. Raises ConfigurationError.

        It may refer to *types*; without, to those in force.
        """
        types = types or self.catalogue
        known = routesfile.Known(types.types, types.business_fields, self.installation.profiles)
        folder = self.installation.path(self.installation.settings.routes).parent
        imported = {row["code"]: row for row in (*await self.store.parties(), *rows)}.values()
        return routesfile.load(text, folder, known=known, imported=imported, generation=generation)

    async def publish(self, text: str, actor: str, reason: str) -> Generation:
        """Check a bundle and put it in force. Raises ConfigurationError; then the old table stays in force."""
        await self.check(text)
        before = await self.store.generations(1)
        generation: Generation = await self.store.publish(text, actor, reason, self.now())
        try:
            await self._put_in_force(generation)
        except Exception as why:  # an adapter can't serve it: a port that is taken, a certificate that is no more
            for old in before:
                await self._put_in_force(await self.store.publish(old.text, ACTOR, f"taken back: {why}", self.now()))
            raise
        return generation

    async def reload(self, actor: str = "SIGHUP") -> None:
        """Read schemas and routes anew as they stand, as SIGHUP asks; bad files change nothing but the log."""
        try:
            await self.renew_schemas(actor, "reload")
        except Exception as why:
            self.log.error("schemas.refused", problems=_problems(why))
        try:
            text = routesfile.bundle(self.installation.path(self.installation.settings.routes))
            await self.publish(text, actor, "reload")
        except Exception as why:
            self.log.error("routes.refused", problems=_problems(why), generation=self.switch.table.generation)

    async def _put_in_force(self, generation: Generation) -> None:
        """Switch to a table at once; messages that are being decided finish under the one they began with."""
        table, self.tests = await self.check(generation.text, generation.number)
        by_kind: dict[str, dict[str, Any]] = {kind: {} for kind in self.adapters}
        for endpoint in table.endpoints.values():
            by_kind.setdefault(endpoint.kind, {})[endpoint.name] = endpoint
        for kind in by_kind:
            if kind not in self.adapters:
                self.adapters[kind] = table.kinds[kind](self._world(kind))
        self.switch.table = self.switch.sending.table = table
        for kind, endpoints in by_kind.items():
            await self.adapters[kind].serve(endpoints)
        self.switch.sending.resume()
        self.log.info("routes.published", generation=generation.number, actor=generation.actor)

    def _world(self, kind: str) -> World:
        directory = self.installation.path(self.installation.settings.spool) / kind
        directory.mkdir(parents=True, exist_ok=True)
        limits = self.installation.settings.limits
        return World(
            take=self.switch.take,
            archive=self.store,
            reactor=self.reactor,
            now=self.now,
            log=self.log,
            directory=str(directory),
            limit_bytes=limits.payload_bytes,
            spool_bytes=limits.spool_bytes,
            settings=self.installation.adapter(kind),
        )

    # -- the message types ---------------------------------------------------------------------------------------

    async def renew_schemas(self, actor: str, reason: str) -> Mapping[str, Sequence[str]]:
        """Read all message types anew and judge by them from the next message on; return what is new of which.

        Raises ConfigurationError where they, or the table in force under them, are wrong; then the old ones stay.
        """
        schemas = catalogue.SCHEMAS, *self.installation.schemas
        renewed = await asyncio.get_running_loop().run_in_executor(None, partial(catalogue.load, *schemas))
        (current,) = await self.store.generations(1)
        await self.check(current.text, current.number, types=renewed)
        changed = editions.changed(self.catalogue.types, renewed.types)
        self.catalogue = self.switch.catalogue = renewed
        self.explainer.renew()
        _settle_memory()
        self.log.info("schemas.renewed", actor=actor, reason=reason, types=len(renewed.types), changed=sorted(changed))
        return changed

    # -- operators -----------------------------------------------------------------------------------------------

    async def hold(self, subject: str, state: str, actor: str, reason: str) -> None:
        """Hold (``held``) or resume (empty) ``party:CODE`` or ``endpoint:NAME``."""
        holds = await self.store.holds({subject: state}, actor, reason, self.now())
        self.switch.held = self.switch.sending.held = holds
        self.switch.sending.resume()
        if not state and subject.startswith("party:"):
            await self._release_held_for(subject.removeprefix("party:"), actor, reason)

    async def _release_held_for(self, party: str, actor: str, reason: str) -> None:
        """Sort what was held only because its party was on hold."""
        held = await self.store.messages(state="HELD", party=party, limit=10_000)
        for head in reversed(held):
            if head.get("code") == "SWX-2060":
                await self.change([Change(read_id(head["id"]), "release", actor, reason, self.now())])

    async def import_parties(self, rows: Sequence[Mapping[str, Any]], actor: str, reason: str) -> int:
        """Keep parties in the store and take them into the table in force. Raises ConfigurationError; then none is."""
        (current,) = await self.store.generations(1)
        await self.check(current.text, rows=rows)
        count: int = await self.store.import_parties(rows, actor, reason, self.now())
        await self._put_in_force(current)
        return count

    async def change(self, changes: list[Change]) -> list[Changed]:
        """Do what an operator asks of messages, and start what follows from it. Raises Refused or NotFound."""
        done: list[Changed] = list(await self.store.change(changes))
        for changed in done:
            self.switch.sending.drop(changed.withdrawn)
            self.switch.sending.push(changed.deliveries)
            self.switch.sending.ring(changed.mailed)
            if changed.arrivals:
                await self.switch.patiently(partial(self.switch.again, changed.arrivals))
        return done

    def readiness(self) -> dict[str, tuple[bool, str]]:
        """Return every check of /readyz; a peer that is down doesn't make the switch unready."""
        refusing = self.switch.refusing
        return {
            "started": (self.ready, "all adapters listen" if self.ready else "starting"),
            "intake": (refusing is None, refusing.en if refusing else "open"),
            "routes": (self.switch.table.generation > 0, f"generation {self.switch.table.generation}"),
        }

    # -- chores --------------------------------------------------------------------------------------------------

    async def _repeat(self, chore: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await chore()
            except Exception as why:
                self.log.error("chore.failed", chore=chore.__name__.strip("_"), error=str(why))
            await asyncio.sleep(seconds)

    async def _watch_disk(self) -> None:
        """Close intake while the disk is nearly full or can't be written; deciding and sending go on as they can."""
        store = self.installation.settings.store
        folder: Path = self.installation.path(store.folder)
        free = shutil.disk_usage(folder).free
        why = FULL if free <= store.reserve_bytes else await self._trouble()
        before, self.switch.refusing = self.switch.refusing, why
        if why is not None and (before is None or before.code != why.code):
            self.log.error("intake.closed", code=why.code, en=why.en, zh=why.zh, free_bytes=free)
        elif why is None and before is not None:
            self.log.info("intake.opened", free_bytes=free)

    async def _trouble(self) -> StoreError | None:
        """Return why the store can't be written, if so: a disk can have space and be read-only all the same."""
        try:
            await self.store.probe()
        except StoreError as why:
            return why
        return None

    async def _look_at_deadlines(self) -> None:
        self.switch.sending.look_at_clock()
        late = await self.store.overdue(self.now())
        self.missing = late.missing
        for message, party, stage in late.receipts:
            code = "SWX-3040" if stage == LAST else "SWX-3041"
            self.log.warning("receipt.missed", id=show_id(message), party=party, stage=stage, code=code)
        for message in late.parked:
            self.log.warning("receipt.unmatched", id=show_id(message), code="SWX-2020")

    async def _retain(self) -> None:
        keep = self.installation.settings.store.retention_days
        dropped = await self.store.retain(day_number(self.now()) - keep)
        if dropped:
            self.log.info("store.retained", days_dropped=dropped)

    # -- stop ----------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Take nothing new, finish what is in flight, close. What is undecided or unsent waits on disk."""
        self.ready = False
        if hasattr(self, "switch"):
            self.switch.refusing = STOPPING
        for chore in self._chores:
            chore.cancel()
        for listener in self.listeners:
            await listener.stop()
        if hasattr(self, "switch"):
            await self.switch.stop()
            await self.switch.sending.stop()
        await asyncio.gather(*(adapter.stop() for adapter in self.adapters.values()), return_exceptions=True)
        if hasattr(self, "switch"):
            self.explainer.stop()
            await self.token.close()
            await self.store.close()
            self.pulse.stop()
        self.log.info("switch.stopped")


def _problems(why: Exception) -> list[str]:
    return list(why.problems) if isinstance(why, ConfigurationError) else [str(why) or repr(why)]


def _settle_memory() -> None:
    """Keep the collector off what was loaded at start, and from looking after every few messages.

    Messages leave no cycles behind; walking through the catalogue for them costs a sixth of the whole work.
    """
    gc.unfreeze()  # what an earlier catalogue left
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 100)
