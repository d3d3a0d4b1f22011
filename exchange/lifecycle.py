"""Two transition tables: the life of a message, and the life of one of its deliveries.

Everything that changes a persisted state goes through ``step``; the tables below are the whole policy, and the
diagrams in docs/explanation/guarantees.md are generated from them. Two steps may leave the state as it is and only
add a journal line: *park* (a receipt waits for its cause) and *confirm* (a receipt that isn't the last one).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from exchange.errors import InvalidTransition

Table = dict[str, dict[str, str]]  # state -> event -> next state; "" is before the beginning
MARKS: Final = frozenset(("overdue", "expire", "try", "note"))  # journal lines that are no step

MESSAGE: Final[Table] = {
    "": {"receive": "RECEIVED"},
    "RECEIVED": {
        "accept": "ACCEPTED",
        "reject": "REJECTED",
        "hold": "HELD",
        "recognise": "DUPLICATE",
        "park": "RECEIVED",
    },
    "HELD": {"release": "RECEIVED", "reject": "REJECTED", "discard": "DISCARDED"},
    "ACCEPTED": {"complete": "COMPLETED", "fail": "FAILED"},
    "FAILED": {"reopen": "ACCEPTED", "discard": "DISCARDED", "complete": "COMPLETED"},
    "COMPLETED": {"requeue": "RECEIVED", "reopen": "ACCEPTED"},
    "REJECTED": {},
    "DUPLICATE": {},
    "DISCARDED": {},
}

DELIVERY: Final[Table] = {
    "": {"queue": "QUEUED"},
    "QUEUED": {
        "claim": "SENDING",
        "hold": "HELD",
        "cancel": "CANCELLED",
        "confirm": "DELIVERED",
        "answer": "ANSWERED",
    },
    "HELD": {"release": "QUEUED", "cancel": "CANCELLED", "confirm": "DELIVERED", "answer": "ANSWERED"},
    "SENDING": {
        "deliver": "DELIVERED",
        "defer": "QUEUED",
        "fail": "FAILED",
        "hold": "HELD",
        "confirm": "DELIVERED",
        "answer": "ANSWERED",
    },
    "DELIVERED": {"confirm": "DELIVERED", "answer": "ANSWERED", "resend": "QUEUED"},
    "FAILED": {"retry": "QUEUED", "cancel": "CANCELLED", "confirm": "DELIVERED", "answer": "ANSWERED"},
    "ANSWERED": {"confirm": "ANSWERED", "answer": "ANSWERED"},
    "CANCELLED": {},
}


def step(table: Table, state: str, event: str) -> str:
    """Return the state that *event* leads to from *state*.

    Raises InvalidTransition where the table has no such step; nothing has happened then.
    """
    try:
        return table[state][event]
    except KeyError:
        raise InvalidTransition(f"{event!r} is no step from {state or 'nothing'!r}") from None


def replay(table: Table, events: Iterable[str]) -> str:
    """Return the state that *events*, oldest first, lead to from the beginning.

    >>> replay(MESSAGE, ["receive", "accept", "complete"])
    'COMPLETED'
    """
    state = ""
    for event in events:
        state = step(table, state, event)
    return state
