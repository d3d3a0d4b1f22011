"""Envelopes that messages come in: what a wrapper says, and what is inside, byte for byte.

A wrapper isn't a message of its own: it is opened, and what is inside is identified, checked and answered. Wrappers
are chosen by name through the entry points ``exchange.wrappers``. They stand between formats and the catalogue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Protocol

from attrs import Factory, frozen

from exchange.instants import Instant
from exchange.model import Finding
from exchange.options import Strict


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
    signed: bool = False  # it carries a signature of its own, which isn't checked here
    whole: bytes = b""  # the wrapper as it came, where it is signed: what its signature is over
    findings: tuple[Finding, ...] = ()  # rules of its own that it breaks, although it can be opened
    options: Mapping[str, Any] = Factory(dict)  # what its wrapper writes another one like it by


@frozen
class Label:
    """What to write on a new wrapper."""

    own_id: str
    type: str
    name: str
    at: Instant
    sender: str = ""
    receivers: tuple[str, ...] = ()
    part: int = 0  # which of several copies this is, from 1; 0: there is only one
    number: int = 0  # of the message here, for ids that must not come twice


class Wrapper(Protocol):
    """One kind of envelope; a value without state."""

    name: ClassVar[str]
    begins: ClassVar[Collection[bytes]]  # local names of the roots that it may have, or the first four bytes
    answers: ClassVar[str]  # the shape of our own receipts about what comes in it; empty: as for what is inside
    Options: ClassVar[type[Strict]]  # what a row in routes.yaml may say about writing one

    def open(self, payload: bytes) -> Wrapped | None:
        """Read a wrapper; None where this only begins like one. Raises Unreadable where nothing can be got out."""

    def wrap(self, inner: bytes, label: Label, options: Any) -> bytes:
        """Write a new wrapper around bytes. Raises Held where the label lacks what it needs."""
