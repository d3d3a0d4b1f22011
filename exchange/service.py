"""The daemon: start, reload, drain, stop. Twisted's reactor runs it; everything it does is a coroutine.

Start-up: catalogue, token, store (recovery), routing table in force, then what was open goes on, and only then the
adapters listen. Stopping goes the other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from attrs import Factory, define, field

from exchange import asgi, catalogue, editions, observability, observability_signing, plugins, routesfile, tls
from exchange.catalogue import Catalogue
from exchange.chores import REFUSED, STOPPING, UNAPPROVED, Chores, settle_memory
from exchange.control import Control
from exchange.controlsocket import serve_control
from exchange.errors import ConfigurationError, Refused, StoreError
from exchange.explaining import Explainer
from exchange.instants import Instant
from exchange.observability import Metrics, Probes, Pulse
from exchange.ports import Adapter, Backlog, Change, Changed, Generation, Token, World
from exchange.routing import RoutingTable
from exchange.sending import Sending
from exchange.settings import Installation
from exchange.signing._api_settings import ApiSettings
from exchange.signing.api import SigningApi
from exchange.signing.custody import Custody
from exchange.signing.profiles import Profiles
from exchange.signing.service import SigningService
from exchange.switch import Limits, Switch
from exchange.trusting import Trusting

ACTOR: Final = "switchd"
RELEASED_AT_ONCE: Final = 200  # messages of a party that is resumed, in one transaction
Built = tuple[RoutingTable, list[routesfile.Test]]  # what checking a table makes of it


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
    catalogue: Catalogue = field(init=False)
    store: Any = field(init=False)
    switch: Switch = field(init=False)
    explainer: Explainer = field(init=False)
    token: Token = field(init=False)
    trusting: Trusting = field(init=False)
    custody: Custody = field(init=False)
    profiles: Profiles = field(init=False)
    signing: SigningService = field(init=False)
    api: SigningApi | None = None
    metrics: Metrics = field(init=False)
    pulse: Pulse = field(init=False)
    started_at: Instant = field(init=False, default=0)
    chores: Chores = field(init=False, default=Factory(Chores, takes_self=True))
    ready: bool = field(init=False, default=False)
    waiting: StoreError | None = field(init=False, default=None)  # why there is no table in force yet
    _backlog: Backlog = field(init=False)
    _begun: bool = field(init=False, default=False)
    _changing: asyncio.Lock = field(init=False, factory=asyncio.Lock)  # of what decides: one change after the other

    # -- start ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and begin to listen. Raises ConfigurationError or StoreError; then nothing listens."""
        settings, self.started_at = self.installation.settings, self.now()
        schemas = catalogue.SCHEMAS, *self.installation.schemas
        self.catalogue = catalogue.load(*schemas)
        self.trusting = Trusting(self.installation, self.now, self.log)
        await self.trusting.renew()
        self.token = self.installation.token()
        self._start_metrics()
        sample = b"".join(sample.path.read_bytes() for sample in self.catalogue.samples() if not sample.code)
        self.store = plugins.load("stores", settings.store.kind)(
            self.installation.path(settings.store.folder), now=self.now, sample=sample,
            duplicate_days=settings.store.duplicate_days, observe=self.metrics.batch,
        )  # fmt: skip
        self._backlog = await self.store.open()
        self.explainer = Explainer(schemas)
        sending = Sending(self.store, self.adapters, now=self.now, log=self.log, meter=self.metrics)
        most = settings.limits
        limits = Limits(most.payload_bytes, most.backlog_bytes, most.backlog, most.unsigned)
        self._start_signing()
        self.switch = Switch(
            self.store, self.catalogue, self.signing, sending, self.explainer.explain,
            now=self.now, log=self.log, meter=self.metrics, limits=limits,
        )  # fmt: skip
        await self.custody.open()
        self.profiles = self.installation.profiles_of(self.custody.section("profiles"))
        await self.token.open()
        await self._begin_with_a_table()
        await self._listen()
        settle_memory()
        if self._begun:
            self._started()

    def _start_signing(self) -> None:
        settings = self.installation.settings
        self.custody = Custody(
            self.store, self.token, now=self.now, log=self.log, dual_control=settings.signing.dual_control,
            sections=self.installation.agreed, software=settings.token.kind == "software", judge=self._judge_section,
        )  # fmt: skip
        self.signing = SigningService(self.token, self.now, self.log, self.store.log, self.custody.choose)

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
            expiring=lambda: self.trusting.expiring,
            now=self.now,
            directory=str(self.installation.home),
        )
        self.metrics = Metrics(probes, self.pulse)
        observability_signing.watch(self.token, self.metrics)

    async def _begin_with_a_table(self) -> None:
        """Go on with the generation in force, at first the file as it is, or wait until its profiles are approved."""
        known = await self.store.generations(1)
        text = known[0].text if known else self._routes_text()
        try:
            built = await self.check(text)
        except ConfigurationError:
            await self.check(text, profiles=self.installation.profiles)
            self.waiting = self.switch.refusing = UNAPPROVED
            self.log.error("switch.waits", code=UNAPPROVED.code, en=UNAPPROVED.en, zh=UNAPPROVED.zh)
            return
        generation = known[0] if known else await self.store.publish(text, ACTOR, "first start", self.now())
        await self._put_in_force(generation, built)

    async def _go_on(self) -> None:
        """Begin to work, now that there is a table: with what was open, and for those who have things signed."""
        late, self._begun, self.waiting, self.switch.refusing = self.waiting, True, None, None
        self.switch.held = self.switch.sending.held = await self.store.holds()
        self.switch.start(self._backlog.arrivals)
        await self.switch.sending.load()
        if api := self.installation.settings.signing.api:
            await self._listen_for_signing(api)
        if late:
            self._started()

    def _started(self) -> None:
        backlog, self.ready = self._backlog, True
        self.log.info(
            "switch.started", generation=self.switch.table.generation, undecided=len(backlog.arrivals),
            deliveries=backlog.deliveries, unknown=backlog.unknown,
        )  # fmt: skip

    async def _listen(self) -> None:
        settings = self.installation.settings
        if settings.monitor.port:
            app = observability.pages(self.metrics, self.pulse, self.readiness)
            self.listeners.append(await asgi.listen(app, host=settings.monitor.host, port=settings.monitor.port))
        path, group = self.installation.path(settings.control), settings.control_group
        self.listeners.append(await serve_control(Control(self), path, self.log, group))
        self.chores.start()

    async def _listen_for_signing(self, settings: ApiSettings) -> None:
        self.api = SigningApi(
            settings, self.signing, self.store, self.now, self.log, self.metrics.signing_request,
            table=lambda: self.switch.table, held=lambda: self.switch.held, refusing=lambda: self.switch.refusing,
        )  # fmt: skip
        self.listeners.append(self.api)
        await self.api.start()

    # -- the routing table ---------------------------------------------------------------------------------------

    async def check(
        self,
        text: str,
        rows: Sequence[Mapping[str, Any]] = (),
        types: Catalogue | None = None,
        profiles: Profiles | None = None,
    ) -> Built:
        """Build the table of a bundle and of imported parties, *rows* among them. Raises ConfigurationError.

        It may refer to *types* and *profiles*; without, to those in force.
        """
        types = types or self.catalogue
        trust = self.trusting.authorities
        known = routesfile.Known(types.types, types.business_fields, profiles or self.profiles, trust=trust)
        folder = self.installation.path(self.installation.settings.routes).parent
        imported = {row["code"]: row for row in (*await self.store.parties(), *rows)}.values()
        return routesfile.load(text, folder, known=known, imported=imported)

    def _routes_text(self) -> str:
        return routesfile.bundle(self.installation.path(self.installation.settings.routes))

    async def current(self) -> Generation:
        """Return the generation in force. Raises Refused while there is none."""
        if self.waiting:
            raise Refused(self.waiting.en, self.waiting.zh, code=self.waiting.code)
        (current,) = await self.store.generations(1)
        return current  # type: ignore[no-any-return]

    async def publish(self, text: str, actor: str, reason: str) -> Generation:
        """Check a bundle and put it in force. Raises ConfigurationError; then the old table stays in force."""
        async with self._changing:
            return await self._publish(text, actor, reason, self.catalogue)

    async def _publish(self, text: str, actor: str, reason: str, types: Catalogue) -> Generation:
        """Put a table and the types that it was checked with in force: both, or neither."""
        built, types_before = await self.check(text, types=types), self.catalogue
        before = await self.store.generations(1)
        generation: Generation = await self.store.publish(text, actor, reason, self.now())
        try:
            await self._put_in_force(generation, built, types)
        except Exception as why:  # an adapter can't serve it: a port that is taken, a certificate that is no more
            for old in before:
                taken_back = await self.store.publish(old.text, ACTOR, f"taken back: {why}", self.now())
                await self._put_in_force(taken_back, await self.check(old.text, types=types_before), types_before)
            raise
        return generation

    async def reload(self, actor: str = "SIGHUP") -> None:
        """Read all files but switchd.yaml anew, as SIGHUP asks; bad ones change nothing but the log."""
        try:
            await self.trusting.renew()
        except Exception as why:
            self.log.error("trust.refused", problems=_problems(why))
        tls.renew({**self.adapters, "signing.api": self.api}, self.log)
        try:
            async with self._changing:  # a new type comes with its route, and one that goes takes it along
                types, before = await self._read_types(), self.catalogue
                await self._publish(self._routes_text(), actor, "reload", types)
            self._types_renewed(before, actor, "reload")
        except Exception as why:
            self.log.error(
                "reload.refused", generation=self.switch.table.generation, problems=_problems(why), **REFUSED
            )

    async def _put_in_force(
        self, generation: Generation, built: Built | None = None, types: Catalogue | None = None
    ) -> None:
        """Switch to a table at once; messages that are being decided finish under the one they began with."""
        table, self.tests = built or await self.check(generation.text)
        table.generation = generation.number  # nobody has seen it yet
        by_kind: dict[str, dict[str, Any]] = {kind: {} for kind in self.adapters}
        for endpoint in table.endpoints.values():
            by_kind.setdefault(endpoint.kind, {})[endpoint.name] = endpoint
        for kind in by_kind:
            if kind not in self.adapters:
                self.adapters[kind] = table.kinds[kind](self._world(kind))
        self._judge_by(types or self.catalogue)
        self.switch.table = self.switch.sending.table = table
        for kind, endpoints in by_kind.items():
            await self.adapters[kind].serve(endpoints)
        self.switch.sending.resume()
        self.log.info("routes.published", generation=generation.number, actor=generation.actor)
        if not self._begun:
            await self._go_on()

    def _world(self, kind: str) -> World:
        settings = self.installation.settings
        directory = self.installation.path(settings.spool) / kind
        directory.mkdir(parents=True, exist_ok=True)
        return World(
            take=self.switch.take, archive=self.store, reactor=self.reactor, now=self.now, log=self.log,
            directory=str(directory), limit_bytes=settings.limits.payload_bytes,
            spool_bytes=settings.limits.spool_bytes, retention_days=settings.store.retention_days,
            settings=self.installation.adapter(kind),
        )  # fmt: skip

    # -- the message types ---------------------------------------------------------------------------------------

    async def renew_schemas(self, actor: str, reason: str) -> Mapping[str, Sequence[str]]:
        """Read all message types anew and judge by them from the next message on; return what is new of which.

        Raises ConfigurationError where they, or the table in force under them, are wrong; then the old ones stay.
        """
        async with self._changing:
            renewed, before = await self._read_types(), self.catalogue
            current = await self.current()
            await self.check(current.text, types=renewed)
            self._judge_by(renewed)
        return self._types_renewed(before, actor, reason)

    async def _read_types(self) -> Catalogue:
        schemas = catalogue.SCHEMAS, *self.installation.schemas
        return await asyncio.get_running_loop().run_in_executor(None, partial(catalogue.load, *schemas))

    def _judge_by(self, types: Catalogue) -> None:
        if types is not self.catalogue:
            self.catalogue = self.switch.catalogue = types
            self.explainer.renew()

    def _types_renewed(self, before: Catalogue, actor: str, reason: str) -> Mapping[str, Sequence[str]]:
        """Tell which types are others than *before*; return their editions."""
        types = self.catalogue.types
        changed = editions.changed(before.types, types)
        settle_memory()
        self.log.info("schemas.renewed", actor=actor, reason=reason, types=len(types), changed=sorted(changed))
        return changed

    async def _judge_section(self, kind: str, section: Any) -> None:
        """Raise ConfigurationError where the table in force doesn't go with a section that is to be approved."""
        if kind == "profiles":
            generations = await self.store.generations(1)
            text = generations[0].text if generations else self._routes_text()
            await self.check(text, profiles=self.installation.profiles_of(section))

    async def renew_profiles(self) -> None:
        """Sign and verify by the profiles that are in force now."""
        self.profiles = self.installation.profiles_of(self.custody.section("profiles"))
        async with self._changing:
            await (self._begin_with_a_table() if self.waiting else self._put_in_force(await self.current()))

    # -- operators -----------------------------------------------------------------------------------------------

    async def hold(self, subject: str, state: str, actor: str, reason: str) -> None:
        """Hold (``held``) or resume (empty) ``party:CODE`` or ``endpoint:NAME``."""
        holds = await self.store.holds({subject: state}, actor, reason, self.now())
        self.switch.held = self.switch.sending.held = holds
        self.switch.sending.resume()
        if not state and subject.startswith("party:"):
            await self._release_held_for(subject.removeprefix("party:"), actor, reason)

    async def _release_held_for(self, party: str, actor: str, reason: str) -> None:
        """Sort what was held only because its party was on hold, the oldest first, whatever it amounts to."""
        last = 0
        while held := await self.store.held_for(party, "SWX-2060", last, RELEASED_AT_ONCE):
            with suppress(Refused):  # somebody released one of them meanwhile: the rest is read anew
                await self.change([Change(message, "release", actor, reason, self.now()) for message in held])
                last = held[-1]

    async def import_parties(self, rows: Sequence[Mapping[str, Any]], actor: str, reason: str) -> int:
        """Keep parties in the store and take them into the table in force. Raises ConfigurationError; then none is."""
        async with self._changing:
            current = await self.current()
            built = await self.check(current.text, rows=rows)
            count: int = await self.store.import_parties(rows, actor, reason, self.now())
            await self._put_in_force(current, built)
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

    # -- stop ----------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Take nothing new, finish what is in flight, close. What is undecided or unsent waits on disk."""
        self.ready = False
        if hasattr(self, "switch"):
            self.switch.refusing = STOPPING
        self.chores.stop()
        for listener in self.listeners:
            await listener.stop()
        if hasattr(self, "switch"):
            await self.switch.stop()
            await self.switch.sending.stop()
            with suppress(StoreError):
                await self.chores.witness()
        await asyncio.gather(*(adapter.stop() for adapter in self.adapters.values()), return_exceptions=True)
        if hasattr(self, "switch"):
            self.explainer.stop()
            await self.token.close()
            await self.store.close()
            self.pulse.stop()
        self.log.info("switch.stopped")


def _problems(why: Exception) -> list[str]:
    return list(why.problems) if isinstance(why, ConfigurationError) else [str(why) or repr(why)]
