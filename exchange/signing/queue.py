"""The signing queue (签名队列): whose turn it is. Pure: no clock, no token, no waiting.

Each party has lanes of its own, one for each key it signs with, and the lanes take turns: a party that brings ten
thousand messages delays its own only. Behind each other in one lane, messages come out in the order they went in, also
when a device answers out of order: ``finish`` holds back what is ready until everything in front of it is.

The express lanes are served first, for somebody is waiting at the other end; every fifth turn goes to the others all
the same. What can't be signed now is put back with ``retry``: its lane rests until it is woken, the others go on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

from attrs import define, field

T = TypeVar("T")
FIFTH: Final = 5  # turns, of which one is not the express lanes'


@define(eq=False)
class Item(Generic[T]):
    """One piece of work and its place."""

    what: T
    lane: Lane[T]
    number: int  # grows with every piece of work
    since: float  # when it was put in, by whatever clock the user has
    ready: bool = False
    tried: bool = False


@define(eq=False)
class Lane(Generic[T]):
    """What one party wants signed with one key."""

    party: str
    name: Hashable
    express: bool
    waiting: deque[Item[T]] = field(factory=deque)
    taken: deque[Item[T]] = field(factory=deque)  # in order; ready ones wait for those in front
    resting: bool = False
    careful: bool = False  # what was tried last came to nothing: one at a time, until one doesn't


class Queue(Generic[T]):
    """Work that waits for a token, and work that a token has."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, Lane[T]] = {}
        self._turns: dict[bool, deque[Lane[T]]] = {True: deque(), False: deque()}  # express or not: who is next
        self._turn = 0
        self._number = 0
        self._inside: Counter[str] = Counter()
        self.waiting = 0
        self.taken = 0

    def put(self, party: str, key: str, what: T, *, since: float, express: bool = False) -> None:
        """Put in work of *party*, to be signed with *key*."""
        name = party, key, express
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(party, name, express)
        self._number += 1
        lane.waiting.append(Item(what, lane, self._number, since))
        self._inside[party] += 1
        self.waiting += 1
        if len(lane.waiting) == 1 and not lane.resting:
            self._turns[express].append(lane)

    def inside(self, party: str) -> int:
        """Return how much of a party's work is in the queue or with the token."""
        return self._inside[party]

    def parties(self) -> dict[str, int]:
        """Return how much work of whom is inside, the most first."""
        return dict(self._inside.most_common())

    def oldest(self) -> float | None:
        """Return since when the oldest waits; None where nothing does."""
        fronts = [lane.taken or lane.waiting for lane in self._lanes.values() if lane.taken or lane.waiting]
        return min((front[0].since for front in fronts), default=None)

    def take(self, most: int) -> list[Item[T]]:
        """Take out the next pieces of work, at most so many, a turn each."""
        taken: list[Item[T]] = []
        while len(taken) < most and (lane := self._next()) is not None:
            item = lane.waiting.popleft()
            if lane.waiting and not lane.careful:
                self._turns[lane.express].append(lane)
            if not item.tried:  # else it has its place already
                lane.taken.append(item)
            item.tried = True
            taken.append(item)
        self.waiting -= len(taken)
        self.taken += len(taken)
        return taken

    def _next(self) -> Lane[T] | None:
        self._turn += 1
        express = bool(self._turns[True]) and (self._turn % FIFTH != 0 or not self._turns[False])
        turns = self._turns[express]
        return turns.popleft() if turns else None

    def finish(self, item: Item[T]) -> Iterator[T]:
        """Note that *item* is ready; return all that leaves the queue with it, in order."""
        item.ready = True
        self.taken -= 1
        lane = item.lane
        if lane.careful:
            lane.careful = False
            self._seat(lane)
        while lane.taken and lane.taken[0].ready:
            done = lane.taken.popleft()
            self._inside[lane.party] -= 1
            if not self._inside[lane.party]:
                del self._inside[lane.party]
            yield done.what
        if not lane.taken and not lane.waiting:
            self._lanes.pop(lane.name, None)

    def retry(self, item: Item[T]) -> Lane[T]:
        """Put *item* back where it was; its lane rests until ``wake``."""
        lane = item.lane
        place = next((i for i, other in enumerate(lane.waiting) if other.number > item.number), len(lane.waiting))
        lane.waiting.insert(place, item)
        self.waiting += 1
        self.taken -= 1
        lane.resting = lane.careful = True
        turns = self._turns[lane.express]
        if lane in turns:
            turns.remove(lane)
        return lane

    def wake(self, lane: Lane[T]) -> None:
        """Let a lane that rests take part again."""
        lane.resting = False
        self._seat(lane)

    def _seat(self, lane: Lane[T]) -> None:
        """Give a lane that has work a turn, if it may have one and has none."""
        turns = self._turns[lane.express]
        if lane.waiting and not lane.resting and lane not in turns:
            turns.append(lane)
