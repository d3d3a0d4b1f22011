"""What intake asks of the envelopes around a message: who may send in them, and for which node they are.

An exchange node that a message only passes (its EndNode is another one, known here as a party) looks neither for the
sender nor for the receivers: it sends it on. The end node must know them, or says so. Only other nodes are believed in
this, that is authorities and who may send for anybody: an enterprise could else go past every check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve

from exchange.errors import UnknownParty
from exchange.formats import Opened
from exchange.model import Envelope, Finding, MessageType, Party
from exchange.routing import RoutingTable
from exchange.wrappers import opening

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
    node = owner is not None and (owner.is_authority or "*" in owner.agreement.sends_for)
    ends = [one.node.end for one in opened.wrappers if one.node]
    end = ends[0] if ends and node else ""  # others have no say in where it goes
    if end and end != table.node:
        to = table.party(end)
        if to is not None and end in to.ids:  # in transit: nothing of it is ours to answer
            passed = evolve(type, kind=PASSING, answered_by=(), deadline_seconds=None)
            return passed, evolve(envelope, sender="", receivers=(to.code,), answers=()), odd
        if table.node:
            raise UnknownParty(
                f"the end node {end!r} is neither this node ({table.node}) nor known here: check the node's id",
                f"目的节点 {end!r} 既非本节点（{table.node}），也未登记：请核对节点编号",
                code="SWX-1054",
            )
    speaks = bool(end) and owner is not None and "*" in owner.agreement.sends_for  # for those whom only it knows
    for name in {one.sender for one in opened.wrappers if one.sender}:
        if not (speaks and table.party(name) is None):
            sender(name)
    if speaks and envelope.sender and table.party(envelope.sender) is None:
        envelope = evolve(envelope, sender="")
    return type, envelope, odd
