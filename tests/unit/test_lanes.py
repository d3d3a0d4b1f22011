"""The order in which deliveries leave for one endpoint."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from exchange.lanes import Lane
from exchange.model import Delivery


def due(message: int, at: int = 0, *keys: str) -> Delivery:
    return Delivery(message, 0, "queue", "CUSTOMS", 10, queued_at=message, due_at=at, keys=keys)


def ids(deliveries: list[Delivery]) -> list[int]:
    return [delivery.message for delivery in deliveries]


def test_the_oldest_due_goes_first() -> None:
    lane = Lane()
    for message, at in ((1, 30), (2, 10), (3, 20), (4, 99)):
        lane.push(due(message, at))
    assert ids(lane.ready(50, 2)) == [2, 3]
    assert ids(lane.ready(50, 9)) == [1]
    assert lane.next_due() == 99


def test_a_deferred_delivery_holds_back_only_later_ones_with_its_key() -> None:
    lane = Lane()
    first, update, other = due(1, 0, "order:A"), due(2, 0, "order:A"), due(3, 0, "order:B")
    for delivery in (first, update, other):
        lane.push(delivery)
    assert ids(lane.ready(0, 9)) == [1, 3]
    lane.defer(evolve(first, due_at=50))
    assert ids(lane.ready(10, 9)) == []
    assert ids(lane.ready(50, 9)) == [1]
    lane.drop(first.id)
    assert ids(lane.ready(50, 9)) == [2]


def test_a_message_with_many_documents_waits_for_each_of_them() -> None:
    lane = Lane()
    for delivery in (due(1, 0, "a"), due(2, 0, "b"), due(3, 0, "a", "b"), due(4, 0, "b")):
        lane.push(delivery)
    assert ids(lane.ready(0, 9)) == [1, 2]
    lane.drop((2, 0))
    assert ids(lane.ready(0, 9)) == []
    lane.drop((1, 0))
    assert ids(lane.ready(0, 9)) == [3]
    lane.drop((3, 0))
    assert ids(lane.ready(0, 9)) == [4]


def test_a_dropped_delivery_is_not_sent() -> None:
    lane = Lane()
    lane.push(due(1))
    lane.push(due(2))
    lane.drop((1, 0))
    assert ids(lane.ready(0, 9)) == [2]
    assert len(lane) == 1


def test_a_delivery_in_flight_is_not_taken_again() -> None:
    lane = Lane()
    lane.push(due(1))
    assert ids(lane.ready(0, 9)) == [1]
    lane.push(due(1))
    assert ids(lane.ready(0, 9)) == []
    assert (len(lane), lane.flying) == (1, 1)


def test_memory_is_bounded_and_the_rest_is_refilled_in_order() -> None:
    lane = Lane(active=4)
    assert [lane.push(due(m)) for m in range(1, 8)] == [True] * 4 + [False] * 3
    assert ids(lane.ready(9, 9)) == [1, 2, 3, 4]
    assert (lane.more, lane.wants_refill, lane.last) == (True, False, (4, 0))
    for message in (1, 2, 3):
        lane.drop((message, 0))
    assert lane.wants_refill
    lane.refill([due(5), due(6), due(7)], asked=10)
    assert not lane.more
    assert ids(lane.ready(9, 9)) == [5, 6, 7]


KEYS = st.lists(st.sampled_from("abcd"), unique=True, max_size=3)
STEPS = st.lists(st.tuples(st.sampled_from(["drop", "defer"]), st.integers(0, 99)), max_size=60)


@given(st.lists(KEYS, max_size=20), STEPS)
def test_nothing_is_lost_and_keys_never_overtake(keys: list[list[str]], steps: list[tuple[str, int]]) -> None:
    lane, now = Lane(), 0
    for message, names in enumerate(keys):
        lane.push(due(message, 0, *names))
    flying: list[Delivery] = []
    gone: list[Delivery] = []
    for verb, choice in [*steps, *[("drop", 0)] * 200]:
        flying += lane.ready(now, 3)
        for name in "abcd":
            assert sum(name in d.keys for d in flying) <= 1
        if not flying:
            now += 1
            continue
        delivery = flying.pop(choice % len(flying))
        if verb == "drop":
            lane.drop(delivery.id)
            gone.append(delivery)
        else:
            lane.defer(evolve(delivery, due_at=now + 1 + choice % 3))
    assert sorted(ids(gone)) == list(range(len(keys)))
    for name in "abcd":
        assert [d.message for d in gone if name in d.keys] == [m for m, names in enumerate(keys) if name in names]
