"""When to try again: one pure function."""

from __future__ import annotations

from attrs import frozen


@frozen
class Policy:
    """How patient one endpoint is; all times in seconds.

    The wait doubles from *first* up to *longest*. After *give_up* seconds since the delivery was queued the next
    failure is final; None never gives up. Time expires attempts, never facts.
    """

    first: float = 5.0
    longest: float = 900.0
    give_up: float | None = None


def delay(policy: Policy, attempts: int, jitter: float = 0.0, retry_after: float | None = None) -> float:
    """Return the seconds to wait after the *attempts*-th attempt (1 is the first) failed.

    *jitter* in 0..1 lengthens the wait by up to a fifth, so that a thousand deliveries deferred together don't come
    back together. A peer's own *retry_after* is honoured when it asks for more patience than ours.

    >>> [delay(Policy(first=5, longest=60), n) for n in (1, 2, 3, 4, 5)]
    [5.0, 10.0, 20.0, 40.0, 60.0]
    >>> delay(Policy(), 1, retry_after=30)
    30.0
    """
    grown = float(min(policy.longest, policy.first * 2.0 ** min(max(attempts - 1, 0), 40)))
    return max(grown * (1 + jitter / 5), float(retry_after or 0))


def exhausted(policy: Policy, queued_seconds: float) -> bool:
    """Tell whether a delivery queued *queued_seconds* ago has had its time.

    >>> exhausted(Policy(give_up=60), 61), exhausted(Policy(), 1e9)
    (True, False)
    """
    return policy.give_up is not None and queued_seconds >= policy.give_up
