"""When to try again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exchange.retry import Policy, delay, exhausted

seconds = st.floats(0.01, 1e6)
policies = st.builds(
    lambda first, times, give_up: Policy(first, first * times, give_up),
    seconds, st.floats(1, 1e4), st.none() | seconds,
)  # fmt: skip
attempts = st.integers(1, 100_000)
jitters = st.floats(0, 1)


@given(policies, attempts, jitters)
def test_the_wait_is_between_first_and_longest_and_a_fifth(policy: Policy, count: int, jitter: float) -> None:
    assert policy.first <= delay(policy, count, jitter) <= policy.longest * 1.2 * (1 + 1e-9)


@given(policies, attempts, jitters)
def test_no_wait_is_shorter_than_the_one_before(policy: Policy, count: int, jitter: float) -> None:
    assert delay(policy, count, jitter) <= delay(policy, count + 1, jitter)


@given(policies, attempts, jitters, jitters)
def test_more_jitter_never_shortens_a_wait(policy: Policy, count: int, one: float, other: float) -> None:
    assert delay(policy, count, min(one, other)) <= delay(policy, count, max(one, other))


@given(policies, attempts, jitters, st.floats(0, 1e7))
def test_a_peer_may_ask_for_more_patience_and_never_for_less(
    policy: Policy, count: int, jitter: float, retry_after: float
) -> None:
    ours = delay(policy, count, jitter)
    assert delay(policy, count, jitter, retry_after) == max(ours, retry_after)


@given(policies, jitters)
def test_attempts_that_were_never_counted_wait_like_the_first(policy: Policy, jitter: float) -> None:
    assert delay(policy, 0, jitter) == delay(policy, 1, jitter)


def test_a_thousand_attempts_are_no_overflow() -> None:
    assert delay(Policy(first=0.001, longest=float("inf")), 10_000) == 0.001 * 2.0**40


def test_deliveries_deferred_together_come_back_spread_over_a_fifth() -> None:
    waits = [delay(Policy(first=10), 1, i / 100) for i in range(101)]
    assert (waits[0], waits[-1]) == (10.0, 12.0)
    assert len(set(waits)) == 101


@given(policies, st.floats(0, 1e7))
def test_time_is_up_exactly_from_give_up_on_and_never_without_it(policy: Policy, queued: float) -> None:
    assert exhausted(policy, queued) == (policy.give_up is not None and queued >= policy.give_up)
