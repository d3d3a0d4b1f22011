"""What EDIFACT costs: ``python -m benchmarks.edifact`` prints messages per second and core, step by step.

The message is a CODECO with one container (13 segments, some 500 bytes), in an interchange of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

from exchange.catalogue import SCHEMAS, load
from exchange.formats._edifact_envelope import parse
from exchange.formats.edifact import Edifact

SAMPLE = SCHEMAS / "smdg" / "containers" / "samples" / "valid" / "CODECO.edi"
SECONDS = 1.0


def rate(step: Callable[[], object]) -> float:
    """Return how often *step* runs in a second of CPU."""
    count, started = 0, time.process_time()
    while (spent := time.process_time() - started) < SECONDS:
        for _ in range(100):
            step()
        count += 100
    return count / spent


def measure() -> dict[str, float]:
    """Measure tokenizing, reading and judging."""
    payload, catalogue, edifact = SAMPLE.read_bytes(), load(), Edifact()
    type = catalogue.identify(catalogue.open(payload))
    day, opened = date(2026, 1, 1), edifact.open(payload)
    return {
        "open": rate(lambda: edifact.open(payload)),
        "tokenize": rate(lambda: [list(message.segments()) for message in parse(payload).messages]),
        "open, read": rate(lambda: catalogue.read(edifact.open(payload), type)),
        "open, read, judge": rate(lambda: _whole(payload)),
        "judge": rate(lambda: catalogue.valid(opened, type, on=day)),
    }


_CATALOGUE = load()


def _whole(payload: bytes) -> bool:
    opened = _CATALOGUE.open(payload)
    type = _CATALOGUE.identify(opened)
    _CATALOGUE.read(opened, type)
    return _CATALOGUE.valid(opened, type, on=date(2026, 1, 1))


if __name__ == "__main__":
    print(f"{SAMPLE.name}, {SAMPLE.stat().st_size} bytes; messages per second of CPU:")
    for name, value in measure().items():
        print(f"  {name:<20}{value:>10,.0f}")
