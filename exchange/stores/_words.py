"""The numbers that states and events are stored as. Only ever append: they are in every database."""

from __future__ import annotations

from typing import Final

STATES: Final = (
    "RECEIVED", "HELD", "ACCEPTED", "FAILED", "COMPLETED", "REJECTED", "DUPLICATE", "DISCARDED",
    "QUEUED", "SENDING", "DELIVERED", "ANSWERED", "CANCELLED",
)  # fmt: skip
EVENTS: Final = (
    # of a message
    "receive", "accept", "reject", "hold", "recognise", "park", "release", "discard", "complete", "fail", "reopen",
    "requeue",
    # of a delivery
    "queue", "claim", "deliver", "defer", "confirm", "answer", "resend", "retry", "cancel",
    # without consequence
    "overdue", "expire", "try", "note",
)  # fmt: skip

STATE: Final = {word: number for number, word in enumerate(STATES)}
EVENT: Final = {word: number for number, word in enumerate(EVENTS)}
