"""How long signatures take: the figures that people compare."""

from __future__ import annotations

import math
from collections.abc import Iterable


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """Return p50, p95 and p99 (nearest rank) in milliseconds; nothing of nothing.

    >>> percentiles(n / 1000 for n in range(1, 101))
    {'p50_ms': 50.0, 'p95_ms': 95.0, 'p99_ms': 99.0}
    >>> percentiles([])
    {}
    """
    ranked = sorted(seconds)
    return {f"p{p}_ms": round(ranked[math.ceil(p * len(ranked) / 100) - 1] * 1e3, 3) for p in (50, 95, 99) if ranked}
