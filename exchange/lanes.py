"""What waits for one endpoint, in which order it goes, and what holds what back.

A lane sends the oldest due delivery first. Deliveries that share a business key (an order and its correction) go one
after the other: while one is in flight or deferred, only later ones with the same key wait for it. Sans-IO: the
clock's time is passed in.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Final

from attrs import evolve

from exchange.instants import Instant
from exchange.model import Delivery

ACTIVE: Final = 10_000  # deliveries of one endpoint held in memory; the rest stay in the store until there is room
Id = tuple[int, int]


class Lane:
    """The deliveries due at one endpoint.

    *more* is true while the store may hold QUEUED deliveries, later than all of these, that were never pushed: then
    the owner refills from ``last`` on, and new deliveries aren't pushed but found by refilling.
    """

    def __init__(self, active: int = ACTIVE) -> None:
        self._active = active
        self._known: dict[Id, Delivery] = {}
        self._ready: list[tuple[Instant, Id]] = []
        self._queues: dict[str, deque[Id]] = {}
        self._flying: set[Id] = set()
        self._reserved: dict[str, None] = {}  # keys of what is about to be started
        self._promised = 0
        self.last: Id = (0, 0)
        self.more = False

    def __len__(self) -> int:
        return len(self._known)

    @property
    def idle(self) -> bool:
        """Tell whether nothing is here, on its way here, or left in the store."""
        return not self._known and not self._promised and not self.more

    @property
    def flying(self) -> int:
        """Deliveries in flight."""
        return len(self._flying)

    @property
    def oldest_at(self) -> Instant | None:
        """When the oldest of the deliveries held here was queued."""
        return min((d.queued_at for d in self._known.values()), default=None)

    @property
    def wants_refill(self) -> bool:
        """Tell whether there is room for what waits in the store."""
        return self.more and len(self._known) <= self._active // 2

    def reserve(self, keys: Sequence[str], window: int) -> bool:
        """Tell whether a delivery with these keys could be sent at once; if so, keep its place until ``start``."""
        if self.more or len(self._known) > len(self._flying) or len(self._flying) + self._promised >= window:
            return False
        if any(key in self._queues or key in self._reserved for key in keys):
            return False
        self._reserved.update(dict.fromkeys(keys))
        self._promised += 1
        return True

    def start(self, delivery: Delivery) -> None:
        """Add a delivery that a place was kept for; it is in flight."""
        self.cancel(delivery.keys)
        self._known[delivery.id] = delivery
        self._flying.add(delivery.id)
        if not self.more:  # else a refill from there would miss what waits in the store
            self.last = max(self.last, delivery.id)
        for key in delivery.keys:
            self._queues.setdefault(key, deque()).append(delivery.id)

    def cancel(self, keys: Sequence[str]) -> None:
        """Give a place back."""
        self._promised -= 1
        for key in keys:
            self._reserved.pop(key, None)

    def push(self, delivery: Delivery) -> bool:
        """Add a delivery; False when it stays in the store for a later refill."""
        if delivery.id in self._known:
            return True
        if (self.more or len(self._known) >= self._active) and delivery.id > self.last:
            self.more = True
            return False
        self._add(delivery)
        return True

    def refill(self, deliveries: list[Delivery], asked: int) -> None:
        """Add what the store had past ``last``; fewer than were *asked* for means that it has no more."""
        for delivery in deliveries:
            if delivery.id not in self._known:
                self._add(delivery)
        self.more = len(deliveries) >= asked

    def _add(self, delivery: Delivery) -> None:
        self._known[delivery.id] = delivery
        self.last = max(self.last, delivery.id)
        for key in delivery.keys:
            self._queues.setdefault(key, deque()).append(delivery.id)
        self._offer(delivery)

    def _offer(self, delivery: Delivery) -> None:
        if all(self._queues[key][0] == delivery.id for key in delivery.keys):
            heapq.heappush(self._ready, (delivery.due_at, delivery.id))

    def ready(self, now: Instant, most: int) -> list[Delivery]:
        """Take up to *most* deliveries that are due, oldest due first; they are in flight from now on."""
        taken: list[Delivery] = []
        while self._ready and self._ready[0][0] <= now and len(taken) < most:
            due_at, id = heapq.heappop(self._ready)
            delivery = self._known.get(id)
            if delivery is None or delivery.due_at != due_at or id in self._flying:
                continue  # dropped, or offered twice
            self._flying.add(id)
            taken.append(delivery)
        return taken

    def next_due(self) -> Instant | None:
        """Return when the next delivery that isn't in flight is due; None when nothing waits for time."""
        while self._ready and (
            self._ready[0][1] not in self._known or self._known[self._ready[0][1]].due_at != self._ready[0][0]
        ):
            heapq.heappop(self._ready)
        return self._ready[0][0] if self._ready else None

    def defer(self, delivery: Delivery) -> None:
        """Put a delivery back that was in flight; *delivery* says when it is due. Its keys stay taken."""
        if delivery.id in self._known:
            self._flying.discard(delivery.id)
            self._known[delivery.id] = delivery
            heapq.heappush(self._ready, (delivery.due_at, delivery.id))

    def advance(self, by: Instant) -> None:
        """Make everything due *by* microseconds earlier."""
        self._known = {id: evolve(d, due_at=d.due_at - by) for id, d in self._known.items()}
        self._ready = [(due_at - by, id) for due_at, id in self._ready]

    def drop(self, id: Id) -> None:
        """Forget a delivery, wherever it stands; what waited behind it moves up."""
        delivery = self._known.pop(id, None)
        self._flying.discard(id)
        if delivery is None:
            return
        for key in delivery.keys:
            queue = self._queues[key]
            first = queue[0] == id
            queue.remove(id)
            if not queue:
                del self._queues[key]
            elif first:
                self._offer(self._known[queue[0]])
