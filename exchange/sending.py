"""Send: move what is due to its endpoints, and record what became of every attempt.

Each endpoint has a lane of its own: one that is down holds back nobody else. An attempt is counted on disk before it
is made; only a positive confirmation ends it well. While the disk can't be written, what is in memory goes on being
sent and the outcomes wait: a duplicate after a crash is better than a ship that waits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from attrs import evolve

from exchange.errors import ConfigurationError, DeliveryError, ExchangeError, Permanent, StoreError, Transient
from exchange.instants import SECOND, Instant, show_id
from exchange.lanes import Lane
from exchange.model import Delivery, Endpoint, Outcome
from exchange.ports import Adapter, Hold, Mailbox, Meter, Settled, Store
from exchange.retry import delay, exhausted
from exchange.routing import RoutingTable

MEMORY_BYTES: Final = 64 * 1024 * 1024  # payloads of queued deliveries kept in memory; the rest is read when claimed
REFILL: Final = 5_000  # deliveries read from the store at once
STUCK_SECONDS: Final = 600.0  # after which an attempt that neither ends nor fails is given up
PAUSE_SECONDS: Final = 2.0  # between attempts to write an outcome
LEFT: Final = {"deliver": "delivered", "defer": "deferred", "fail": "failed"}


class Sending:
    """Lanes, one for each endpoint with something due, and the attempts in flight."""

    def __init__(
        self, store: Store, adapters: Mapping[str, Adapter], *, now: Callable[[], Instant], log: Any, meter: Meter
    ) -> None:
        self._store, self._adapters = store, adapters
        self._now, self._log, self._meter = now, log, meter
        self._lanes: dict[str, Lane] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempts: dict[tuple[int, int], tuple[asyncio.Task[None], Instant]] = {}  # in flight, and since when
        self._outcomes: list[Outcome] = []  # to be written
        self._busy: set[str] = set()
        self._kept: dict[tuple[int, int], int] = {}  # deliveries whose payload is in memory, and its bytes
        self._bytes = 0
        self._stopping = False
        self._seen: Instant = 0  # the latest that the clock showed
        self.table = RoutingTable()
        self.held: Mapping[str, Hold] = {}

    # -- what is due ---------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what was due when the switch stopped; lanes that overflow read the rest as they go."""
        after, more = (0, 0), True
        while more:
            deliveries = await self._store.due("", after, REFILL)
            self.push(deliveries)
            more = len(deliveries) == REFILL
            after = deliveries[-1].id if deliveries else after

    def reserve(self, name: str, keys: Sequence[str]) -> bool:
        """Tell whether a new delivery could be sent at once; then its place is kept until ``push`` or ``cancel``."""
        endpoint = self.table.endpoints.get(name)
        if endpoint is None or self._stopping or self._on_hold(endpoint):
            return False
        return self._lane(name).reserve(keys, self._window(endpoint))

    def cancel(self, name: str, keys: Sequence[str]) -> None:
        """Give a kept place back: what it was for wasn't written."""
        self._lanes[name].cancel(keys)

    def push(self, deliveries: Sequence[Delivery]) -> None:
        """Queue deliveries that the store has QUEUED; send those at once that were started."""
        touched = {}
        for delivery in deliveries:
            lane = self._lane(delivery.endpoint)
            if delivery.started:
                self._start(lane, delivery)
                continue
            if self._bytes + delivery.size > MEMORY_BYTES:
                delivery = delivery.stripped()
            if lane.push(delivery) and delivery.parcel is not None:
                self._kept[delivery.id] = delivery.size
                self._bytes += delivery.size
            touched[delivery.endpoint] = True
        for name in touched:
            self._wake(name)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane()
        return lane

    def _start(self, lane: Lane, delivery: Delivery) -> None:
        lane.start(delivery)
        endpoint = self.table.endpoints.get(delivery.endpoint)
        self._fly(endpoint or Endpoint(delivery.endpoint, delivery.party, ""), delivery)

    def _fly(self, endpoint: Endpoint, delivery: Delivery) -> None:
        self._attempts[delivery.id] = self._spawn(self._attempt(endpoint, delivery)), self._now()

    def _window(self, endpoint: Endpoint) -> int:
        return endpoint.window or self._adapters[endpoint.kind].window

    def _on_hold(self, endpoint: Endpoint) -> bool:
        held = self.held
        return bool(held) and (f"endpoint:{endpoint.name}" in held or f"party:{endpoint.party}" in held)

    def drop(self, ids: Sequence[tuple[int, int]]) -> None:
        """Forget deliveries that needn't be sent any more: answered, held or cancelled."""
        for id in ids:
            for lane in self._lanes.values():
                self._forget(lane, id)

    def ring(self, endpoints: Sequence[str]) -> None:
        """Wake the peers that wait at these mailboxes: something is in them."""
        for name in endpoints:
            endpoint = self.table.endpoints.get(name)
            if endpoint is not None:
                cast(Mailbox, self._adapters[endpoint.kind]).ring(name)

    def resume(self) -> None:
        """Look at every lane again: the table or what is on hold has changed."""
        for name in list(self._lanes):
            self._wake(name)

    def waiting(self) -> dict[str, tuple[int, Instant | None]]:
        """Return, for each endpoint with something due, how much and since when."""
        return {name: (len(lane), lane.oldest_at) for name, lane in self._lanes.items() if len(lane)}

    # -- pumping -------------------------------------------------------------------------------------------------

    def _wake(self, name: str) -> None:
        if name not in self._busy and not self._stopping:
            self._busy.add(name)
            self._spawn(self._pump(name))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _pump(self, name: str) -> None:
        """Send what is due in one lane until nothing is, or the window is full."""
        looked_at = self._now()
        try:
            while not self._stopping:
                lane, endpoint = self._lanes[name], self.table.endpoints.get(name)
                if endpoint is None or self._on_hold(endpoint):
                    return
                if lane.wants_refill:
                    lane.refill(list(await self._store.due(name, lane.last, REFILL)), REFILL)
                room = self._window(endpoint) - lane.flying
                looked_at = self._now()
                batch = lane.ready(looked_at, room) if room > 0 else []
                if not batch:
                    return
                for delivery in await self._claim(batch, lane):
                    self._fly(endpoint, delivery)
        except StoreError as why:
            self._log.error("store.refused", stage="send", code=why.code, en=why.en, zh=why.zh)
            self._set_timer(name, PAUSE_SECONDS)
        finally:
            self._busy.discard(name)
            self._set_due_timer(name, looked_at)

    async def _claim(self, batch: list[Delivery], lane: Lane) -> Sequence[Delivery]:
        """Count the attempts on disk; a disk that can't be written doesn't stop what is in memory."""
        try:
            claimed = await self._store.claim(batch, self._now())
        except StoreError as why:
            self._log.error("store.refused", stage="claim", code=why.code, en=why.en, zh=why.zh)
            claimed = [d.claimed(d.attempts + 1, d.parcel) for d in batch if d.parcel is not None]
            for delivery in (d for d in batch if d.parcel is None):
                lane.defer(evolve(delivery, due_at=self._now() + int(PAUSE_SECONDS * SECOND)))
            return claimed
        kept = {delivery.id for delivery in claimed}
        for delivery in batch:
            if delivery.id not in kept:
                self._forget(lane, delivery.id)
        return claimed

    def _forget(self, lane: Lane, id: tuple[int, int]) -> None:
        self._bytes -= self._kept.pop(id, 0)
        lane.drop(id)

    def _set_due_timer(self, name: str, looked_at: Instant) -> None:
        lane = self._lanes.get(name)
        due = lane.next_due() if lane else None
        if due is not None and due > looked_at:  # what was due already waits for room, or for its endpoint
            self._set_timer(name, (due - self._now()) / SECOND)
        elif lane is not None and lane.idle:
            del self._lanes[name]

    def _set_timer(self, name: str, seconds: float) -> None:
        if name in self._timers:
            self._timers.pop(name).cancel()
        if not self._stopping:
            self._timers[name] = asyncio.get_running_loop().call_later(seconds, self._wake, name)

    # -- one attempt ---------------------------------------------------------------------------------------------

    async def _attempt(self, endpoint: Endpoint, delivery: Delivery) -> None:
        outcome = await self._try(endpoint, delivery)
        _, began = self._attempts.pop(delivery.id)
        self._meter.stage("send", (outcome.at - began) / SECOND)
        self._outcomes.append(outcome)
        if len(self._outcomes) == 1:
            self._spawn(self._settle())

    async def _try(self, endpoint: Endpoint, delivery: Delivery) -> Outcome:
        """Attempt a delivery once; anything short of a yes is "not yet", unless the peer says never."""
        try:
            adapter = self._adapters.get(endpoint.kind)
            if adapter is None or delivery.parcel is None:
                raise Transient(f"endpoint {endpoint.name} is not in the routing table", "端点不在路由表中")
            await adapter.send(endpoint, delivery.parcel)
        except asyncio.CancelledError:
            if self._stopping:
                raise
            text, text_zh = f"no answer for {STUCK_SECONDS:.0f} seconds", f"{STUCK_SECONDS:.0f} 秒内没有应答"
            return self._not_yet(endpoint, delivery, Transient(text, text_zh, code="SWX-3012"))
        except Permanent as why:
            return self._outcome(delivery, "fail", why)
        except (DeliveryError, ConfigurationError) as why:
            return self._not_yet(endpoint, delivery, why)
        except Exception as why:
            text = f"{type(why).__name__}: {why}"
            return self._not_yet(endpoint, delivery, Transient(text, text, code="SWX-3011"))
        return Outcome(delivery, "deliver", self._now())

    def look_at_clock(self) -> None:
        """End attempts that neither end nor fail, and follow a clock that was set back; to be called now and then."""
        now = self._now()
        if (back := self._seen - now) > SECOND:
            self._log.warning("clock.set_back", seconds=back // SECOND)
            self._attempts = {id: (task, began - back) for id, (task, began) in self._attempts.items()}
            for lane in self._lanes.values():
                lane.advance(back)
            self.resume()
        self._seen = now
        limit = now - int(STUCK_SECONDS * SECOND)
        for task, began in list(self._attempts.values()):
            if began < limit:
                task.cancel()

    def _not_yet(self, endpoint: Endpoint, delivery: Delivery, why: ExchangeError) -> Outcome:
        now = self._now()
        if exhausted(endpoint.retry, (now - delivery.queued_at) / SECOND):
            return self._outcome(delivery, "fail", why)
        retry_after = getattr(why, "retry_after", None)
        seconds = delay(endpoint.retry, delivery.attempts, random.random(), retry_after)  # noqa: S311 - jitter
        return self._outcome(delivery, "defer", why, now + int(seconds * SECOND))

    def _outcome(self, delivery: Delivery, event: str, why: ExchangeError, due_at: Instant = 0) -> Outcome:
        return Outcome(delivery, event, self._now(), due_at, why.code, why.en, why.zh)

    async def _settle(self) -> None:
        """Write outcomes together, however long the disk takes; only then do their lanes go on."""
        await asyncio.sleep(0)  # what ends in the same turn of the loop is written together
        outcomes, self._outcomes = self._outcomes, []
        while True:
            try:
                settled = await self._store.settle(outcomes)
                break
            except StoreError as why:
                self._log.error("store.refused", stage="settle", code=why.code, en=why.en, zh=why.zh)
            except Exception as why:  # our own fault: say so, and keep the lanes closed until it is mended
                self._log.error("settle.broke", error=repr(why), ids=[show_id(o.delivery.message) for o in outcomes])
            await asyncio.sleep(PAUSE_SECONDS)
        for outcome, one in zip(outcomes, settled, strict=True):
            self._record(outcome, one)
        for name in {outcome.delivery.endpoint for outcome in outcomes}:
            self._wake(name)

    def _record(self, outcome: Outcome, settled: Settled) -> None:
        delivery = outcome.delivery
        lane = self._lane(delivery.endpoint)
        if settled.state == "QUEUED":
            kept = delivery if delivery.id in self._kept else delivery.stripped()
            lane.defer(evolve(kept, due_at=outcome.due_at))
        else:
            self._forget(lane, delivery.id)
        if settled.finished:
            self._meter.finished(settled.finished)
            self._meter.stage("end_to_end", (outcome.at - delivery.queued_at) / SECOND)
        self._log.info(
            f"delivery.{LEFT[outcome.event]}",
            id=show_id(delivery.message),
            delivery=delivery.number,
            endpoint=delivery.endpoint,
            attempt=delivery.attempts,
            **({"code": outcome.code, "en": outcome.en} if outcome.code else {}),
        )

    async def stop(self, seconds: float = 10.0) -> None:
        """Start nothing new; give attempts in flight *seconds* to end."""
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._tasks and (left := end - loop.time()) > 0:  # attempts that end leave their outcomes to be written
            await asyncio.wait(self._tasks, timeout=left)
        for task in self._tasks:
            task.cancel()
