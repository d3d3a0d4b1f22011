"""An archive that a test fills by hand, for what only reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from exchange.errors import NotFound
from exchange.instants import SECOND, show_id
from exchange.model import Parcel
from exchange.ports import Mail

NOON = 1_795_320_000 * SECOND  # 2026-11-22T12:00:00+08:00


class FakeArchive:
    """Lives, payloads and mailboxes in dicts."""

    def __init__(self) -> None:
        self.lives: dict[int, dict[str, Any]] = {}
        self.payloads: dict[int, Parcel] = {}
        self.mail: dict[str, list[Mail]] = {}
        self.reads = 0
        self.was_read = asyncio.Event()

    def add_message(self, message: int, party: str, parcel: Parcel, **more: Any) -> str:
        """Keep a message of *party* and return its id as people write it."""
        self.payloads[message] = parcel
        self.lives[message] = {
            "id": show_id(message), "at": NOON, "state": "RECEIVED", "type": "", "sender": "", "party": party,
            "facts": {}, "deliveries": [], "journal": [{"at": NOON, "event": "receive", "delivery": None, "actor": ""}],
        } | more  # fmt: skip
        return show_id(message)

    def add_mail(self, endpoint: str, position: int, parcel: Parcel) -> None:
        """Deliver *parcel* to *endpoint*."""
        self.mail.setdefault(endpoint, []).append(Mail(position, position, NOON, parcel))

    async def life(self, message: int) -> dict[str, Any]:
        """See ``ports.Archive``."""
        if message not in self.lives:
            raise NotFound("no such message", "没有该报文")
        return self.lives[message]

    async def payload(self, message: int, delivery: int | None = None) -> Parcel:
        """See ``ports.Archive``."""
        return self.payloads[message]

    async def mailbox(self, endpoint: str, after: int, limit: int) -> Sequence[Mail]:
        """See ``ports.Archive``."""
        assert -1 <= after < 2**63, "a store can't hold such a position"
        self.reads += 1
        self.was_read.set()
        return [mail for mail in self.mail.get(endpoint, ()) if mail.position > after][:limit]
