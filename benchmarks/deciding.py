"""What a large routing table costs one message: 10 and 10 000 routes, 10 and 70 000 parties."""

from __future__ import annotations

import gc
import time

from benchmarks.machine import median, microseconds
from benchmarks.messages import Declarations
from exchange import catalogue, intake
from exchange.model import Arrival, Context, Endpoint, Parcel, Party, Route
from exchange.routing import RoutingTable


def table(routes: int, parties: int) -> RoutingTable:
    """Return a table in which the benchmark's declaration matches the last of *routes*."""
    people = [Party(f"P{i}", "enterprise", ids=(f"DXPENT{i + 10:010d}",)) for i in range(parties - 2)]
    people += [Party("ENT1", "enterprise", ids=("DXPENT0000000001",)), Party("CUSTOMS", "customs")]
    endpoints = [Endpoint(f"e{i}", f"P{i}", "memory") for i in range(parties - 2)]
    endpoints += [Endpoint("in", "ENT1", "memory"), Endpoint("customs-queue", "CUSTOMS", "memory")]
    rows = [
        Route(f"r{i}", ("customs-queue",), match={"type": ("CEB311Message",), "sender": (f"P{i % parties}",)})
        for i in range(routes - 1)
    ]
    rows.append(Route("last", ("customs-queue",), match={"type": ("CEB311Message",), "role": ("enterprise",)}))
    return RoutingTable(people, endpoints, rows)


def measure() -> dict[str, float]:
    """Return microseconds to examine and decide one declaration under a small and a large table, interleaved."""
    types, body = catalogue.load(), Declarations().one()
    arrival = Arrival(1 << 40, time.time_ns() // 1000, "in", "ENT1", Parcel("a.xml", body))
    tables = {"small": table(10, 10), "large": table(10_000, 70_000)}
    gc.collect()
    gc.freeze()  # as the daemon does: the collector must not walk through 70 000 parties
    spent: dict[str, list[float]] = {name: [] for name in tables}
    for _ in range(7):
        for name, one in tables.items():

            def decide(one: RoutingTable = one) -> None:
                examined = intake.examine(arrival, types, one, arrival.at)
                decision = intake.decide(examined, Context(), types, one, arrival.at)
                if decision.route != "last":
                    raise ValueError(decision)

            spent[name].append(microseconds(decide, 500))
    return {name: median(values) for name, values in spent.items()}
