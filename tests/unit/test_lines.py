"""Who shares a mark waits for who came before; nobody waits for one that waits for him."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exchange.lines import Lines

MARKS = st.lists(st.sampled_from("ABCDE").map(lambda letter: (letter,)), min_size=1, max_size=4).map(tuple)


def test_those_that_share_a_mark_come_one_after_the_other_and_others_at_once() -> None:
    lines = Lines()
    lines.join(1, [("order", "7"), ("name", "a")])
    assert not lines.free(2, [("order", "7")])
    assert lines.free(3, [("order", "8")])
    lines.join(2, [("order", "7")])
    assert lines.leave(1) == [2]
    assert (len(lines), 2 in lines, lines.leave(2), len(lines)) == (1, True, [], 0)


def test_who_has_stood_there_keeps_his_places() -> None:
    lines = Lines()
    for one in (1, 2, 1):
        lines.join(one, [("x",)])
    assert lines.leave(1) == [2]


@given(st.lists(MARKS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_everybody_leaves_after_those_before_him_whoever_of_the_free_leaves_first(
    wanted: list[tuple[tuple[str, ...], ...]], chance: object
) -> None:
    lines = Lines()
    for one, marks in enumerate(wanted):
        lines.join(one, marks)
    free = {one for one, marks in enumerate(wanted) if lines.free(one, marks)}
    left: list[int] = []
    while free:
        one = chance.choice(sorted(free))  # type: ignore[attr-defined]
        free = free - {one} | set(lines.leave(one))
        left.append(one)
    assert sorted(left) == list(range(len(wanted)))
    for place, one in enumerate(left):
        for later in left[place:]:
            assert later >= one or not set(wanted[later]) & set(wanted[one])
    assert len(lines) == 0
