"""What a route may do to a payload on its way, step by step; the original is kept.

A step is made once, when the table of routes is read, and applied to parcels. It knows the bytes and what ``About``
says, nothing else. Its row in ``routes.yaml`` has ``name``, ``kind``, ``version`` and what ``Options`` of its kind
asks for. A step that is *slow* runs in a worker process with a deadline, which makes it there again from its kind,
its options and its folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Protocol

from attrs import frozen

from exchange.instants import Instant
from exchange.model import Envelope, MessageType, Parcel, Party
from exchange.ports import Strict


@frozen
class About:
    """What a step may know besides the bytes."""

    envelope: Envelope
    type: MessageType
    receiver: Party | None
    at: Instant
    message: int = 0


class Step(Protocol):
    """One transformation; a value that doesn't change once it is made."""

    Options: ClassVar[type[Strict]]

    def __init__(self, options: Any, folder: Path) -> None:
        """Read and compile what the options name, relative to *folder*. Raises ValueError with what is wrong."""

    @property
    def slow(self) -> bool:
        """Tell whether to run it in the worker process with a deadline, not on the reactor."""

    def apply(self, parcel: Parcel, about: About) -> Parcel:
        """Return another parcel. Raises Rejected or Held, in two languages."""
