"""The stages that answers to a delivery come in, each with a deadline of its own, and the last word of all.

Stages come one after the other: an answer of a later one stands for those before it. So *heard* and *told* (stages
whose alarm was raised) are counts, and what is missing now are those in between: told and not heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from exchange.instants import SECOND, Instant
from exchange.ports import LAST

Stages = tuple[tuple[str, int], ...]  # name, microseconds after delivery; the earliest first


@lru_cache(1000)
def written(deadlines: Sequence[tuple[str, float]]) -> str:
    """Write stages as the store keeps them.

    >>> written((("port", 60.0), ("customs", 1800.0)))
    'port=60.0 customs=1800.0'
    """
    return " ".join(f"{stage}={seconds}" for stage, seconds in deadlines)


@lru_cache(1000)
def read(text: str, patience: int | None) -> Stages:
    """Return stages as they are kept, then the last word where it has a deadline (*patience*, microseconds)."""
    pairs = (one.rpartition("=") for one in text.split())
    stages = [(stage, int(float(seconds) * SECOND)) for stage, _, seconds in pairs]
    return (*stages, *([(LAST, patience)] if patience else []))


def deadline(stages: Stages, number: int, since: Instant) -> Instant | None:
    """Return when a stage is overdue of what was delivered at *since*; None where nothing more is waited for."""
    return since + stages[number][1] if number < len(stages) else None


def place(stages: Stages, stage: str) -> int:
    """Return how many stages have come once this one has; 0 where nobody waits for it."""
    return next((number for number, (name, _) in enumerate(stages, 1) if name == stage), 0)
