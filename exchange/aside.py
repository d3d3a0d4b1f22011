"""What is set aside before it can be written: to be signed, or for steps that take their time. The others go on.

Whoever is the twin of a message that is set aside waits until that one is written: only then does the store know it.
So does what has a business key in common with it and goes to the same endpoint, or it would overtake. What is signed
comes back in batches, and of one party in the order in which it was decided.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from attrs import define, field, frozen

from exchange.forms import Again, Decided, Formed, Place, form_name, sealed, seals, slow, together
from exchange.instants import show_id
from exchange.intake import Examined
from exchange.lines import Lines, Mark
from exchange.model import Arrival, Decision
from exchange.routing import RoutingTable
from exchange.signing.service import SigningService, Work


@frozen
class _Signing:
    """A message in the signing queue, without its parsed document: that is the queue's, as long as there is room."""

    decided: Decided
    names: Mapping[Place, str]  # of what is sealed
    table: RoutingTable


@define(eq=False)
class Aside:
    """Messages that are decided and not written yet.

    *finish* writes decisions with their forms, and tries until it succeeds; *back* takes arrivals that are to be
    decided again; *spawn* starts a task; *again* decides a message anew that can't be sealed.
    """

    signing: SigningService
    finish: Callable[[Formed, RoutingTable], Awaitable[None]]
    back: Callable[[Arrival], None]
    spawn: Callable[[Awaitable[None]], None]
    again: Callable[[RoutingTable], Again]
    waiting: Counter[str] = field(factory=Counter)  # by the party that brought them
    payload_bytes: int = 0  # of all that is aside
    _inside: dict[int, Arrival] = field(factory=dict)
    _at_work: set[int] = field(factory=set)  # of them; the others wait for these
    _lines: Lines = field(factory=Lines)
    _signed: list[tuple[_Signing, Work]] = field(factory=list)

    def __len__(self) -> int:
        return len(self._inside)

    def __contains__(self, message: int) -> bool:
        return message in self._inside

    def sift(self, decided: Sequence[Decided], table: RoutingTable) -> list[Decided]:
        """Return what can be written at once; set the rest aside."""
        kept = []
        for e, decision in decided:
            id, marks = e.arrival.id, _marks(e, decision)
            if id in self._at_work:  # this is the same one
                continue
            if not self._lines.free(id, marks):
                self._enter(e.arrival, marks)
            elif marks and any(planned.sign for planned in decision.planned):
                self._enter(e.arrival, marks, at_work=True)
                self._submit((e, decision), table)
            elif marks and slow(decision, table, e.arrival.parcel.size):
                self._enter(e.arrival, marks, at_work=True)
                self.spawn(self._finish([id], Formed([(e, decision)]), table))
            else:
                kept.append((e, decision))
                if id in self._inside:
                    self._leave(id)
        return kept

    def _enter(self, arrival: Arrival, marks: Sequence[Mark], *, at_work: bool = False) -> None:
        if arrival.id not in self._inside:
            self._inside[arrival.id] = arrival
            self.waiting[arrival.party] += 1
            self.payload_bytes += arrival.parcel.size
            self._lines.join(arrival.id, marks)
        if at_work:
            self._at_work.add(arrival.id)

    def _leave(self, id: int) -> None:
        arrival = self._inside.pop(id)
        self._at_work.discard(id)
        self.payload_bytes -= arrival.parcel.size
        self.waiting[arrival.party] -= 1
        if not self.waiting[arrival.party]:
            del self.waiting[arrival.party]
        for following in self._lines.leave(id):
            if following not in self._at_work:
                self.back(self._inside[following])

    async def _finish(self, ids: Sequence[int], formed: Formed, table: RoutingTable) -> None:
        await self.finish(formed, table)
        for id in ids:
            self._leave(id)

    # -- signing -------------------------------------------------------------------------------------------------

    def _submit(self, one: Decided, table: RoutingTable) -> None:
        e, decision = one
        wanted = seals(e, decision, table)
        lean = Examined(e.arrival, e.type, e.envelope, e.message), decision
        names = {place: form_name(e, one.profile) for place, one in wanted.items()}
        signing = _Signing(lean, names, table)
        party = e.message.sender if e.message else e.arrival.party
        self.signing.submit(Work(show_id(e.arrival.id), party, tuple(wanted.values()), partial(self._done, signing)))

    def _done(self, signing: _Signing, work: Work) -> None:
        self._signed.append((signing, work))
        if len(self._signed) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Write what was signed in this turn of the loop, by the tables that it was decided with."""
        signed, self._signed = self._signed, []
        tables = {id(signing.table): signing.table for signing, _ in signed}
        for table in tables.values():
            mine = [(signing, work) for signing, work in signed if signing.table is table]
            again = self.again(table)
            formed = together([_formed(signing, work, again) for signing, work in mine])
            self.spawn(self._finish([signing.decided[0].arrival.id for signing, _ in mine], formed, table))


def _formed(signing: _Signing, work: Work, again: Again) -> Formed:
    results = dict(zip(signing.names, work.results, strict=True))
    return sealed(signing.decided, signing.names, results, again)


def _marks(e: Examined, decision: Decision) -> tuple[Mark, ...]:
    """Return what a message must not overtake another by: its name, and its business keys at each endpoint."""
    name = twin_name(e)
    return (name, *((p.endpoint, key) for p in decision.planned for key in p.keys)) if name else ()


def twin_name(e: Examined) -> Mark | None:
    """Return what a message and its twins are known by."""
    return (e.message.sender, e.message.type.name, e.message.envelope.own_id) if e.message else None


def apart(examined: Sequence[Examined]) -> tuple[list[Examined], list[Examined]]:
    """Split off those that an earlier one of the batch must be written before: its twins, and receipts about it.

    A receipt may be about an earlier receipt, too: one that brings the number by which the later one is known.
    """
    mixed = any(one.message is not None and one.message.type.kind == "receipt" for one in examined)
    twins: set[Mark] = set()
    known: set[str] = set()
    first: list[Examined] = []
    later: list[Examined] = []
    for one in examined:
        name, message = twin_name(one), one.message
        if name is None or message is None:
            first.append(one)
            continue
        values = {value for document in message.envelope.documents for value in document.indexed()} if mixed else set()
        about = message.type.kind == "receipt" and not known.isdisjoint(values)
        (later if name in twins or about else first).append(one)
        twins.add(name)
        known |= values
    return first, later
