"""What is set aside before it can be written: to be signed, or for steps that take their time. The others go on.

Whoever is the twin of a message that is set aside waits until that one is written: only then does the store know it.
What is signed comes back in batches, and of one party in the order in which it was decided.
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
from exchange.model import Arrival
from exchange.routing import RoutingTable
from exchange.signing.service import SigningService, Work

Name = tuple[str, str, str]  # what a message and its twins are known by


@frozen
class _Signing:
    """A message in the signing queue, without its parsed document: that is the queue's, as long as there is room."""

    name: Name
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
    unsigned: Counter[str] = field(factory=Counter)  # by the party that brought them
    _twins: dict[Name, dict[int, Arrival | None]] = field(factory=dict)
    _signed: list[tuple[_Signing, Work]] = field(factory=list)

    def sift(self, decided: Sequence[Decided], table: RoutingTable) -> list[Decided]:
        """Return what can be written at once; set the rest aside."""
        kept = []
        for e, decision in decided:
            name = twin_name(e)
            if name and name in self._twins:
                self._twins[name].setdefault(e.arrival.id, e.arrival)
            elif name and any(planned.sign for planned in decision.planned):
                self._twins[name] = {e.arrival.id: None}
                self._submit(name, (e, decision), table)
            elif name and slow(decision, table, e.arrival.parcel.size):
                self._twins[name] = {e.arrival.id: None}
                self.spawn(self._finish([name], Formed([(e, decision)]), table))
            else:
                kept.append((e, decision))
        return kept

    @property
    def empty(self) -> bool:
        """Tell whether nothing is set aside."""
        return not self._twins

    async def _finish(self, names: Sequence[Name], formed: Formed, table: RoutingTable) -> None:
        await self.finish(formed, table)
        for name in names:
            for twin in filter(None, self._twins.pop(name).values()):
                self.back(twin)

    # -- signing -------------------------------------------------------------------------------------------------

    def _submit(self, name: Name, one: Decided, table: RoutingTable) -> None:
        e, decision = one
        wanted = seals(e, decision, table)
        lean = Examined(e.arrival, e.type, e.envelope, e.message), decision
        names = {place: form_name(e, one.profile) for place, one in wanted.items()}
        signing = _Signing(name, lean, names, table)
        self.unsigned[e.arrival.party] += 1
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
            formed = together([self._formed(signing, work, again) for signing, work in mine])
            self.spawn(self._finish([signing.name for signing, _ in mine], formed, table))

    def _formed(self, signing: _Signing, work: Work, again: Again) -> Formed:
        party = signing.decided[0].arrival.party
        self.unsigned[party] -= 1
        if not self.unsigned[party]:
            del self.unsigned[party]
        results = dict(zip(signing.names, work.results, strict=True))
        return sealed(signing.decided, signing.names, results, again)


def twin_name(e: Examined) -> Name | None:
    """Return what a message and its twins are known by."""
    return (e.message.sender, e.message.type.name, e.message.envelope.own_id) if e.message else None


def apart(examined: Sequence[Examined]) -> tuple[list[Examined], list[Examined]]:
    """Split off those that an earlier one of the batch must be written before: its twins, and receipts about it.

    A receipt may be about an earlier receipt, too: one that brings the number by which the later one is known.
    """
    mixed = any(one.message is not None and one.message.type.kind == "receipt" for one in examined)
    twins: set[Name] = set()
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
