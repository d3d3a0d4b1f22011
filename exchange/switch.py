"""Take, sort, send: the one room that waits on both the store and the adapters.

*take* keeps a parcel and answers for it; *sort* decides everything that has arrived, in batches; ``Sending`` moves
what is due. All three survive a crash at any point: what each state costs is in docs/explanation/guarantees.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final

from attrs import evolve, frozen

from exchange.aside import Aside, apart
from exchange.catalogue import Catalogue
from exchange.errors import (
    Busy,
    ExchangeError,
    Invalid,
    Poisonous,
    StoreError,
    TooLarge,
    Unexpected,
    whereabouts,
)
from exchange.explaining import Worker
from exchange.forms import Again, Formed, stepped
from exchange.instants import Instant, show_id
from exchange.intake import Examined, decide, discarded, examine
from exchange.model import Arrival, Conclusion, Context, Decision, Endpoint, Finding, Parcel, Planned
from exchange.ports import Concluded, Hold, Meter, Store
from exchange.routing import RoutingTable
from exchange.sending import Sending
from exchange.signing.service import SigningService

BATCH: Final = 64  # arrivals decided together
LARGE: Final = 256 * 1024  # bytes over which a payload is examined in a thread of its own
POISON: Final = 3  # workers that a message may kill before a person must look
SUSPECTS: Final = 256  # of what was undecided at a crash: the oldest, tried one by one
PAUSE_SECONDS: Final = 2.0  # between attempts while the store can't
Explain = Callable[[Parcel, tuple[str, str, bool, str]], Awaitable[Sequence[Finding]]]


@frozen
class Limits:
    """How much the switch takes on."""

    payload_bytes: int = 64 * 1024 * 1024
    backlog_bytes: int = 128 * 1024 * 1024  # taken and not decided; more is refused politely
    backlog: int = 20_000
    unsigned: int = 5_000  # of them waiting to be signed, of one party: it alone is asked to wait


class Switch:
    """One worker's take-sort-send loop over one store.

    *explain* finds everything wrong with an invalid payload, off the reactor; *held* is what operators put on hold;
    another *catalogue* may be put in at any time.
    """

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        signing: SigningService,
        sending: Sending,
        explain: Explain,
        *,
        now: Callable[[], Instant],
        log: Any,
        meter: Meter,
        limits: Limits = Limits(),
    ) -> None:
        self._store, self.catalogue, self.signing, self.sending = store, catalogue, signing, sending
        self.worker = Worker()  # for slow steps
        self._explain = explain
        self._now, self._log, self._meter, self._limits = now, log, meter, limits
        self.table = RoutingTable()
        self.held: Mapping[str, Hold] = {}
        self.refusing: ExchangeError | None = None  # set while intake is closed: disk full, stopping
        self.undecided = 0  # arrivals taken and not concluded
        self._unsorted: deque[Arrival] = deque()
        self._undecided_bytes = 0
        self._suspects: deque[int] = deque()
        self._aside = Aside(signing, self._finish_patiently, self._add, self._spawn, self._again)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- take ----------------------------------------------------------------------------------------------------

    async def take(self, parcel: Parcel, endpoint: Endpoint) -> str:
        """Keep *parcel* and answer for it. See ``ports.Take``."""
        if parcel.size > self._limits.payload_bytes:
            limit = self._limits.payload_bytes
            raise TooLarge(
                f"{parcel.name}: {parcel.size} bytes are over the limit of {limit} bytes: send it in parts",
                f"{parcel.name}：{parcel.size} 字节超过上限 {limit} 字节：请拆分后发送",
            )
        if self.refusing is not None:
            raise self.refusing.with_traceback(None)  # else it remembers every refusal, and its parcel
        aside, limits = self._aside, self._limits
        backlog, backlog_bytes = self.undecided - len(aside), self._undecided_bytes - aside.payload_bytes
        if backlog >= limits.backlog or backlog_bytes >= limits.backlog_bytes:
            raise Busy("more has arrived than is decided: come back in a few seconds", "积压过多：请几秒后重试")
        if (mine := aside.waiting[endpoint.party]) and (
            mine >= limits.unsigned or len(aside) >= limits.backlog or aside.payload_bytes >= limits.backlog_bytes
        ):  # whoever has nothing there goes on: he may need no signature
            raise Busy("more has arrived than can be signed now: come back later", "待签名报文积压过多：请稍后重试")
        began = perf_counter()
        arrival = await self._store.receive(parcel, endpoint, self._now())
        self._meter.stage("receive", perf_counter() - began)
        party = self.table.parties.get(endpoint.party)
        self._meter.received(endpoint.kind, party.role if party else "")
        self._count(arrival)
        self._add(arrival)
        return show_id(arrival.id)

    def _count(self, arrival: Arrival, n: int = 1) -> None:
        self.undecided += n
        self._undecided_bytes += n * arrival.parcel.size

    def _add(self, arrival: Arrival) -> None:
        self._unsorted.append(arrival)
        self._wake.set()

    # -- sort ----------------------------------------------------------------------------------------------------

    def start(self, undecided: Sequence[int]) -> None:
        """Begin to sort; *undecided* are arrivals of an earlier life, oldest first.

        The oldest of those are tried one at a time, counted on disk before each try: if one of them kills the worker
        again and again, it is found, and innocent ones aren't blamed for it.
        """
        self._suspects.extend(undecided)
        self._spawn(self._sort_for_ever())

    async def stop(self) -> None:
        """Stop sorting; what isn't decided stays RECEIVED."""
        for task in self._tasks:
            task.cancel()
        self.worker.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.signing.stop()

    async def again(self, messages: Sequence[int]) -> None:
        """Sort messages that are RECEIVED once more: released, requeued, or receipts whose cause has come."""
        for arrival in await self._store.arrivals(messages):
            if arrival.id not in self._aside:  # else it is being signed, and the other one is this one
                self._count(arrival)
                self._add(arrival)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sort_for_ever(self) -> None:
        await self.patiently(self._sort_suspects)
        while True:
            await self._wake.wait()
            await self.signing.room()
            batch = self._next_batch()
            if not batch:
                self._wake.clear()
                continue
            await self.patiently(partial(self.sort, batch))

    def _next_batch(self) -> list[Arrival]:
        batch: list[Arrival] = []
        while self._unsorted and len(batch) < BATCH:
            batch.append(self._unsorted.popleft())
        return batch

    async def patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* until it succeeds: nothing was changed by an attempt that failed, and nothing may be lost."""
        while True:
            try:
                return await work()
            except StoreError as why:
                self._log.error("store.refused", stage="sort", code=why.code, en=why.en, zh=why.zh)
            except Exception as why:
                self._log.error("sort.broke", error=type(why).__name__, trace=whereabouts(why))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _sort_suspects(self) -> None:
        alone = SUSPECTS
        while self._suspects:
            count = 1 if alone > 0 else BATCH
            ids = [self._suspects.popleft() for _ in range(min(count, len(self._suspects)))]
            try:
                arrivals = await self._store.arrivals(ids, count_try=alone > 0)
            except StoreError:
                self._suspects.extendleft(reversed(ids))
                raise
            for arrival in arrivals:
                self._count(arrival)
            await self.patiently(partial(self.sort, arrivals))
            alone -= 1

    async def sort(self, arrivals: Sequence[Arrival]) -> None:
        """Decide *arrivals* and write what was decided. Raises StoreError, and then nothing was."""
        began = perf_counter()
        catalogue, table, at = self.catalogue, self.table, self._now()
        examined = [
            await self._examine_apart(arrival, catalogue, table, at)
            if arrival.parcel.size > LARGE
            else self._examine(arrival, catalogue, table, at)
            for arrival in arrivals
        ]
        plain = [e for e in examined if not _unexplained(e)]
        await self._conclude(*apart(plain), table=table, at=at)
        for one in examined:
            if _unexplained(one):
                self._spawn(self.patiently(partial(self._conclude_explained, one, table)))
        if arrivals:
            self._meter.stage("sort", (perf_counter() - began) / len(arrivals), len(arrivals))

    async def _examine_apart(
        self, arrival: Arrival, catalogue: Catalogue, table: RoutingTable, at: Instant
    ) -> Examined:
        """Examine a large payload in a thread: libxml2 lets go of the interpreter while it parses."""
        return await asyncio.get_running_loop().run_in_executor(None, self._examine, arrival, catalogue, table, at)

    def _examine(self, arrival: Arrival, catalogue: Catalogue, table: RoutingTable, at: Instant) -> Examined:
        if arrival.tries > POISON:
            why = Poisonous("the switch died on this message three times", "处理该报文时交换机三次异常退出")
            return Examined(arrival, error=why)
        try:
            return examine(arrival, catalogue, table, at, self.held, lean=True)
        except Exception as why:
            return Examined(arrival, error=self._unexpected(arrival, why))

    async def last_word(self, arrival: Arrival, type: str, reason: str) -> tuple[Planned, ...]:
        """Plan the receipt that tells a sender that an operator discards his message; nothing where none is due.

        *type* is what the message was known as before; what can't be read any more is told by that.
        """
        table, at = self.table, self._now()
        look = partial(examine, arrival, self.catalogue, table, at, lean=True)  # whoever is on hold is told as well
        try:
            examined = await asyncio.get_running_loop().run_in_executor(None, look)
        except Exception as why:
            examined = Examined(arrival, error=self._unexpected(arrival, why))
        if examined.type is None:
            examined = evolve(examined, type=self.catalogue.types.get(type))
        return discarded(examined, reason, self.catalogue, table, at)

    def _unexpected(self, arrival: Arrival, why: Exception) -> Unexpected:
        trace = whereabouts(why)
        self._log.error("message.broke", id=show_id(arrival.id), error=type(why).__name__, trace=trace)
        return Unexpected(f"the switch failed on this message: {trace}", f"交换机处理该报文时出错：{trace}")

    async def _conclude_explained(self, examined: Examined, table: RoutingTable) -> None:
        """Reject an invalid message with everything that is wrong with it."""
        why = examined.error
        if isinstance(why, Invalid) and why.question is not None:
            try:
                findings = await self._explain(examined.arrival.parcel, why.question)
            except Exception as broken:
                self._log.error("message.unexplained", id=show_id(examined.arrival.id), error=repr(broken))
                findings = ()
            why = Invalid(findings=findings)
        told = Examined(examined.arrival, examined.type, examined.envelope, error=why)
        await self._conclude([told], [], table=table, at=self._now())

    # -- conclude ------------------------------------------------------------------------------------------------

    async def _conclude(
        self, examined: Sequence[Examined], later: Sequence[Examined], *, table: RoutingTable, at: Instant
    ) -> None:
        asked = [e for e in examined if e.message is not None]
        contexts = await self._store.context([e.question for e in asked]) if asked else ()
        known = {e.arrival.id: context for e, context in zip(asked, contexts, strict=True)}
        decided = [(e, self._decide(e, known.get(e.arrival.id, Context()), table, at)) for e in examined]
        if table.steps or table.signs or len(self._aside):
            decided = self._aside.sift(decided, table)
        await self._finish(Formed(decided), table, at)
        if later:  # what the ones just written are an answer for: now the store knows them
            await self.patiently(partial(self._conclude, *apart(later), table=table, at=at))

    def _decide(self, examined: Examined, context: Context, table: RoutingTable, at: Instant) -> Decision:
        try:
            return decide(examined, context, self.catalogue, table, at)
        except Exception as why:
            error = self._unexpected(examined.arrival, why)
            return Decision("hold", code=error.code, en=error.en, zh=error.zh)

    def _conclusion(
        self, e: Examined, decision: Decision, formed: Formed, table: RoutingTable, at: Instant
    ) -> Conclusion:
        sender = e.message.sender if e.message else e.arrival.party
        started = [
            i for i, p in enumerate(decision.planned) if not p.mailbox and self.sending.reserve(p.endpoint, p.keys)
        ]
        forms, operations = formed.forms.get(e.arrival.id, {}), formed.operations.get(e.arrival.id, ())
        return Conclusion(e.arrival, decision, e.envelope, sender, table.generation, at, forms, started, operations)

    async def _finish(self, formed: Formed, table: RoutingTable, at: Instant) -> None:
        if table.steps:
            formed = await stepped(formed, self.worker, table, at, self._again(table))
        await self._write([self._conclusion(e, decision, formed, table, at) for e, decision in formed.decided])

    async def _finish_patiently(self, formed: Formed, table: RoutingTable) -> None:
        await self.patiently(lambda: self._finish(formed, table, self._now()))

    def _again(self, table: RoutingTable) -> Again:
        return lambda e, why: self._decide(evolve(e, message=None, error=why), Context(), table, self._now())

    def _give_back(self, conclusions: Sequence[Conclusion]) -> None:
        """Give back the places kept for deliveries that weren't written."""
        for conclusion in conclusions:
            for i in conclusion.started:
                planned = conclusion.decision.planned[i]
                self.sending.cancel(planned.endpoint, planned.keys)

    async def _write(self, conclusions: Sequence[Conclusion]) -> None:
        try:
            written = await self._store.conclude(conclusions)
        except StoreError:
            self._give_back(conclusions)
            raise
        except Exception as why:  # one of them is poison for the store: find it, hold it, go on
            if len(conclusions) > 1:
                self._give_back(conclusions)
                for one in conclusions:
                    await self.patiently(partial(self._write, [evolve(one, started=())]))
                return
            self._give_back(conclusions)
            (one,) = conclusions
            error = self._unexpected(one.arrival, why)
            decision = Decision("hold", code=error.code, en=error.en[:4000], zh=error.zh[:4000])
            conclusions = [Conclusion(one.arrival, decision, generation=one.generation, at=one.at)]
            written = await self._store.conclude(conclusions)
        for conclusion, concluded in zip(conclusions, written, strict=True):
            self._after(conclusion, concluded)

    def _after(self, conclusion: Conclusion, concluded: Concluded) -> None:
        """Start what the store has just made durable."""
        self._count(conclusion.arrival, -1)
        if not concluded.deliveries:
            self._give_back([conclusion])  # an operator was faster
        decision, arrival = conclusion.decision, conclusion.arrival
        self._log.info(
            f"message.{_PAST[decision.event]}",
            id=show_id(arrival.id),
            party=arrival.party,
            endpoint=arrival.endpoint,
            type=conclusion.envelope.type if conclusion.envelope else "",
            state=concluded.state,
            **({"code": decision.code} if decision.code else {}),
            **({"route": decision.route, "generation": conclusion.generation} if decision.route else {}),
        )
        for _, state in concluded.finished:
            self._meter.finished(state)
        self.sending.drop(concluded.settled)
        self.sending.push(concluded.deliveries)
        self.sending.ring(concluded.mailed)
        if concluded.rejoin:
            self._spawn(self.patiently(partial(self.again, concluded.rejoin)))


_PAST: Final = {
    "accept": "accepted", "reject": "rejected", "hold": "held", "recognise": "recognised", "park": "parked"
}  # fmt: skip


def _unexplained(examined: Examined) -> bool:
    return isinstance(examined.error, Invalid) and examined.error.question is not None
