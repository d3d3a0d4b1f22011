"""Whose turn it is: fairness between parties, order inside a lane, what can't be signed now."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exchange.signing.queue import FIFTH, Item, Queue


def queue(*work: tuple[str, int], express: bool = False) -> Queue[str]:
    """Return a queue with so many pieces of work of each party: ``A-0``, ``A-1`` and so on."""
    filled: Queue[str] = Queue()
    for party, count in work:
        put(filled, party, count, express=express)
    return filled


def put(filled: Queue[str], party: str, count: int, *, express: bool = False, key: str = "key") -> None:
    for number in range(count):
        filled.put(party, key, f"{party}-{number}", since=float(number), express=express)


def whats(items: list[Item[str]]) -> list[str]:
    return [item.what for item in items]


def test_parties_take_turns_however_much_one_of_them_brings() -> None:
    filled = queue(("FLOOD", 1000), ("SMALL", 2))
    assert whats(filled.take(4)) == ["FLOOD-0", "SMALL-0", "FLOOD-1", "SMALL-1"]
    assert (filled.waiting, filled.taken) == (998, 4)
    assert filled.parties() == {"FLOOD": 1000, "SMALL": 2}


def test_whoever_waits_at_the_other_end_comes_first_and_the_others_have_every_fifth_turn() -> None:
    filled = queue(("SHOP", 100))
    put(filled, "API", 100, express=True)
    turns = Counter(what.partition("-")[0] for what in whats(filled.take(50)))
    assert turns == {"API": 50 - 50 // FIFTH, "SHOP": 50 // FIFTH}


def test_what_is_ready_early_waits_for_what_is_in_front_of_it() -> None:
    filled = queue(("A", 3), ("B", 1))
    a0, b0, a1, a2 = filled.take(9)
    assert list(filled.finish(a2)) == []
    assert list(filled.finish(b0)) == ["B-0"]
    assert list(filled.finish(a0)) == ["A-0"]
    assert filled.inside("A") == 2
    assert list(filled.finish(a1)) == ["A-1", "A-2"]
    assert (filled.inside("A"), filled.taken, filled.parties()) == (0, 0, {})


def test_what_cannot_be_signed_now_keeps_its_place_and_its_lane_rests() -> None:
    filled = queue(("A", 4), ("B", 2))
    a0, b0, a1 = filled.take(3)
    lane = filled.retry(a0)
    filled.retry(a1)
    assert list(filled.finish(b0)) == ["B-0"]
    (b1,) = filled.take(9)
    assert b1.what == "B-1", "the other party goes on, the lane of A rests"
    filled.wake(lane)
    assert whats(again := filled.take(9)) == ["A-0"], "one at a time, until one can be signed"
    assert list(filled.finish(again[0])) == ["A-0"]
    assert whats(rest := filled.take(9)) == ["A-1", "A-2", "A-3"]
    assert [what for item in rest for what in filled.finish(item)] == ["A-1", "A-2", "A-3"]


def test_a_key_that_fails_holds_up_nobody_who_signs_with_another() -> None:
    filled = queue(("A", 1))
    put(filled, "A", 1, key="other")
    broken, other = filled.take(2)
    filled.retry(broken)
    assert list(filled.finish(other)) == ["A-0"]


def test_the_oldest_is_known() -> None:
    filled: Queue[str] = Queue()
    assert filled.oldest() is None
    filled.put("A", "key", "late", since=7.0)
    filled.put("B", "key", "early", since=3.0)
    assert filled.oldest() == 3.0
    first, second = filled.take(2)
    list(filled.finish(second))
    assert (first.what, filled.oldest()) == ("late", 7.0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("ABC"), st.sampled_from(("k1", "k2")), st.booleans()),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.sampled_from(("finish", "retry", "wake")), st.integers(0, 5)),
    ),
    max_size=80,
)


@given(STEPS)
def test_nothing_is_lost_or_doubled_and_every_lane_keeps_its_order(steps: list[tuple[Any, ...]]) -> None:
    filled: Queue[tuple[Any, int]] = Queue()
    given_, came = 0, []
    taken: list[Item[tuple[Any, int]]] = []
    resting = []
    for step, *values in steps:
        if step == "put":
            party, key, express = values
            filled.put(party, key, ((party, key, express), given_), since=float(given_), express=express)
            given_ += 1
        elif step == "take":
            taken += filled.take(values[0])
        elif step == "wake" and resting:
            filled.wake(resting.pop())
        elif taken and step != "wake":
            item = taken.pop(values[0] % len(taken))
            if step == "retry":
                resting.append(filled.retry(item))
            else:
                came += list(filled.finish(item))
    for lane in resting:
        filled.wake(lane)
    while taken := taken + filled.take(3):
        came += list(filled.finish(taken.pop()))
    assert sorted(number for _, number in came) == list(range(given_))
    for lane_name in {name for name, _ in came}:
        numbers = [number for name, number in came if name == lane_name]
        assert numbers == sorted(numbers)
    assert (filled.waiting, filled.taken, filled.parties(), filled.oldest()) == (0, 0, {}, None)
