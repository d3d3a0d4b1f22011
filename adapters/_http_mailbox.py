"""A party's receipts over HTTP: pages of what was delivered, and waiting for the next one without spinning."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Final

from exchange.instants import show_instant
from exchange.model import Parcel, Spool
from exchange.ports import Archive, Mail

PAGE_BYTES: Final = 4 * 1024 * 1024  # of bodies in one page; at least one entry is in it
INLINE_BYTES: Final = 1024 * 1024  # a larger body is fetched by itself


def written(parcel: Parcel) -> dict[str, str | None]:
    """Return the body as JSON can carry it, byte for byte: text where it is UTF-8 markup or JSON, else base64."""
    body = parcel.body
    if isinstance(body, Spool) or len(body) > INLINE_BYTES:
        return {"encoding": None, "body": None}
    if body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"<", b"{", b"["):
        try:
            return {"encoding": "utf-8", "body": body.decode()}
        except UnicodeDecodeError:
            pass
    return {"encoding": "base64", "body": base64.b64encode(body).decode()}


def entry(mail: Mail) -> dict[str, Any]:
    """Return one delivered parcel as the list shows it."""
    headers = mail.parcel.headers
    return {
        "cursor": str(mail.position),
        "id": headers.get("id"),
        "refers_to": headers.get("refers-to"),
        "type": headers.get("type"),
        "disposition": headers.get("disposition"),
        "at": show_instant(mail.at),
        "name": mail.parcel.name,
        "size": mail.parcel.size,
        "payload": f"/v1/receipts/{mail.position}/payload",
        **written(mail.parcel),
    }


def page(mails: Sequence[Mail], after: int) -> dict[str, Any]:
    """Return a list of receipts and the cursor to go on from."""
    shown: list[dict[str, Any]] = []
    room = PAGE_BYTES
    for mail in mails:
        room -= mail.parcel.size if mail.parcel.size <= INLINE_BYTES else 0
        if room < 0 and shown:
            break
        shown.append(entry(mail))
    return {"receipts": shown, "next": shown[-1]["cursor"] if shown else str(after)}


class Mailbox:
    """Reads mailboxes; who finds one empty may wait for the bell."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._bells: dict[str, asyncio.Event] = {}
        self._closed = False

    def ring(self, endpoint: str) -> None:
        """Wake those who wait for *endpoint*: something was just sent there."""
        if bell := self._bells.pop(endpoint, None):
            bell.set()

    def close(self) -> None:
        """Send everybody home: from now on nobody waits."""
        self._closed = True
        for endpoint in tuple(self._bells):
            self.ring(endpoint)

    async def read(self, endpoint: str, after: int, limit: int) -> Sequence[Mail]:
        """Return what is there now."""
        return await self._archive.mailbox(endpoint, after, limit)

    async def wait(self, endpoint: str, after: int, limit: int, seconds: float,
                   gone: asyncio.Future[Any]) -> Sequence[Mail]:  # fmt: skip
        """Return what is there, or comes within *seconds*; give up when the client is *gone*."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            bell = self._bells.setdefault(endpoint, asyncio.Event())
            mails = await self.read(endpoint, after, limit)
            left = deadline - loop.time()
            if mails or left <= 0 or self._closed or gone.done():
                return mails
            await _hear(bell, gone, left)


async def _hear(bell: asyncio.Event, gone: asyncio.Future[Any], seconds: float) -> None:
    """Wait for the bell, but not for ever."""
    ringing = asyncio.ensure_future(bell.wait())
    try:
        await asyncio.wait((ringing, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ringing.cancel()
