"""The life of a message as its own party sees it: all of its facts, none of the operators' affairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from exchange.instants import show_instant

_LINE: Final = ("event", "delivery", "attempt", "code", "receipt", "document", "stage", "outcome", "text", "twin")
_VERDICT: Final = ("en", "zh", "findings", "reason")  # about the message itself
_OUTSPOKEN: Final = frozenset(("reject", "recognise", "park", "expire", "discard"))  # a hold may be our own trouble
_ANSWER: Final = ("at", "receipt", "document", "delivery", "code", "stage", "outcome", "text")


def told(life: Mapping[str, Any]) -> dict[str, Any]:
    """Return *life* (of ``Archive.life``) with instants written for people and the receipts picked out.

    A journal line keeps what concerns the sender. Who did it, and what a peer of somebody else's said when it
    couldn't be reached, stays inside.
    """
    journal = [_line(line) for line in life["journal"]]
    answers = [{name: line.get(name) for name in _ANSWER} for line in journal if "receipt" in line]
    deliveries = [{name: _instant(name, value) for name, value in one.items()} for one in life["deliveries"]]
    head = {name: _instant(name, value) for name, value in life.items()}
    return head | {"deliveries": deliveries, "receipts": answers, "journal": journal}


def _instant(name: str, value: Any) -> Any:
    return show_instant(value) if isinstance(value, int) and (name == "at" or name.endswith("_at")) else value


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    verdict = _VERDICT if line["event"] in _OUTSPOKEN else ()
    return {"at": show_instant(line["at"])} | {name: line[name] for name in (*_LINE, *verdict) if name in line}
