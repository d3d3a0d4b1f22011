"""What a party and the switch agreed on: how its messages are checked, and how it hears of them."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Agreement:
    """What a party and the switch agreed on."""

    verify: str = "off"  # off | warn | require: signatures of what the party sends
    profiles: tuple[str, ...] = ()  # signature profiles accepted from it; empty = every known one
    sends_for: tuple[str, ...] = ()  # codes of other parties it may send for; "*" = anybody (platforms, authorities)
    acknowledge: str = "all"  # all | rejected | none: which receipts of our own it gets; authorities get none
    reply_to: str = ""  # endpoint for receipts; empty = where the message came in
    contrl: str = "as-asked"  # always | errors | never | as-asked (0031): when its EDIFACT is answered with CONTRL
    charset: str = ""  # that its EDIFACT is written in, whatever it declares; empty = as declared
    opaque: Mapping[str, str] = field(factory=dict, hash=False)  # ending of a file's name -> what it is, unread
    receipts: str = "as-sent"  # as-sent | without-node | unwrapped: how receipts that came in envelopes go to it
    trust: tuple[str, ...] = ()  # authorities that its certificates must chain to one of; empty = being registered does
    signers: tuple[str, ...] = ()  # subjects (RFC 4514) whose certificates by these count as registered
