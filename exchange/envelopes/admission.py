"""What intake asks of the envelopes around a message: who may send in them, and for which node they are.

An exchange node that a message only passes (its EndNode is another one, known here as a party) looks neither for the
sender nor for the receivers: it sends it on. The end node must know them, or says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve

from exchange.envelopes import opening
from exchange.errors import UnknownParty
from exchange.formats import Opened
from exchange.model import Envelope, Finding, MessageType, Party
from exchange.routing import RoutingTable

PASSING: Final = "passing"  # the kind of what is only in transit here: not judged strictly, not answered


def admitted(
    opened: Opened,
    type: MessageType,
    envelope: Envelope,
    table: RoutingTable,
    owner: Party | None,
    sender: Callable[[str], Party],
) -> tuple[MessageType, Envelope, list[Finding]]:
    """Return type and envelope as they count here, and what is odd about the wrappers.

    *owner* is who handed it in; *sender* checks that he may send for a name. Raises Unreadable (SWX-1080) where a
    wrapper breaks its rules, and UnknownParty (SWX-1051, SWX-1052, SWX-1054).
    """
    odd = opening.judge(opened.wrappers, lenient=type.kind == "receipt")
    end = "".join(envelope.fields.get("endNode", ()))
    node = table.party(end) if end and end != table.node else None
    if node is not None:  # in transit: nothing of it is ours to answer
        passed = evolve(type, kind=PASSING, answered_by=(), deadline_seconds=None)
        return passed, evolve(envelope, sender="", receivers=(node.code,), answers=()), odd
    if end and table.node and end != table.node:
        raise UnknownParty(
            f"the end node {end!r} is neither this node ({table.node}) nor known here: check the node's id",
            f"目的节点 {end!r} 既非本节点（{table.node}），也未登记：请核对节点编号",
            code="SWX-1054",
        )
    everybody = owner is not None and "*" in owner.agreement.sends_for
    for name in {one.sender for one in opened.wrappers if one.sender}:
        if not (end and everybody and table.party(name) is None):  # a node speaks for those whom only it knows
            sender(name)
    if end and everybody and envelope.sender and table.party(envelope.sender) is None:
        envelope = evolve(envelope, sender="")
    return type, envelope, odd
