"""The diagrams of both lives, from the tables in ``exchange.lifecycle``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from exchange.lifecycle import DELIVERY, MESSAGE, Table


def message() -> str:
    """Draw the life of a message."""
    return _diagram(MESSAGE)


def delivery() -> str:
    """Draw the life of a delivery."""
    return _diagram(DELIVERY)


def _diagram(table: Table) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *_arrows(table), "```"])


def _arrows(table: Table) -> Iterator[str]:
    """Yield one arrow for each pair of states, with the events that lead from one to the other."""
    for state, steps in table.items():
        events: defaultdict[str, list[str]] = defaultdict(list)
        for event, following in steps.items():
            events[following].append(event)
        for following, names in events.items():
            yield f"    {state or '[*]'} --> {following}: {', '.join(names)}"
        if not steps:
            yield f"    {state} --> [*]"
