"""Envelopes that messages come in: what a wrapper says, and what is inside, byte for byte.

A wrapper isn't a message of its own: it is opened, and what is inside is identified, checked and answered. Wrappers
are chosen by name through the entry points ``exchange.envelopes``. They stand between formats and the catalogue.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from attrs import frozen

from exchange.instants import Instant
from exchange.ports import Strict


@frozen
class Node:
    """The header of an exchange node, as DXP writes it between nodes (``SvNo``)."""

    id: str  # MsgId, with SubMsgId where the message was split
    start: str  # the node where it entered
    end: str  # the node it is for


@frozen
class Wrapped:
    """What one wrapper says, and what is inside."""

    kind: str  # the wrapper's name: dxp | dxp-node | zip ...
    payload: bytes  # what is inside, untouched
    own_id: str = ""
    sender: str = ""
    receivers: tuple[str, ...] = ()
    type: str = ""  # what it declares to be inside; not believed
    name: str = ""  # the name that what is inside goes by
    node: Node | None = None
    attachments: tuple[str, ...] = ()  # names of what lies beside the message
    head: bytes = b""  # what a receipt repeats of the wrapper
    signed: bool = False


@frozen
class Label:
    """What to write on a new wrapper."""

    own_id: str
    type: str
    name: str
    at: Instant
    sender: str = ""
    receivers: tuple[str, ...] = ()
    number: int = 0  # of the message here, for ids that must not come twice


class Wrapper(Protocol):
    """One kind of envelope; a value without state."""

    name: ClassVar[str]
    Options: ClassVar[type[Strict]]  # what a row in routes.yaml may say about writing one

    def sniff(self, payload: bytes) -> bool:
        """Tell by the first bytes whether the payload may be such a wrapper; costs next to nothing."""

    def open(self, payload: bytes) -> Wrapped:
        """Read a wrapper. Raises Unreadable or Invalid where it breaks its own rules."""

    def wrap(self, inner: bytes, label: Label, options: Any) -> bytes:
        """Write a new wrapper around bytes. Raises Held where the label lacks what it needs."""
