"""What a party may look at over HTTP: the life of its messages, their bytes, its receipts, and how all this works."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from adapters._http_keys import Gate
from adapters._http_life import told
from adapters._http_mailbox import Mailbox, page
from adapters._http_openapi import DOCUMENT
from adapters._http_problems import Problem
from exchange.instants import read_id
from exchange.model import Parcel, Spool
from exchange.ports import World

LIMIT: Final = 100  # receipts in a page, at most and where the client doesn't say
WAIT_SECONDS: Final = 30
_LAST: Final = 2**63 - 1  # position that a store can hold


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document, default=str), media_type="application/json")


def _bytes(parcel: Parcel) -> Response:
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(parcel.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    if isinstance(parcel.body, Spool):
        return FileResponse(parcel.body.path, headers=headers, media_type="application/octet-stream")
    return Response(parcel.body, headers=headers, media_type="application/octet-stream")


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise Problem.unreadable(name, f"expected a whole number from 0 to {most}", f"应为 0 至 {most} 的整数")
    return int(text)


def _position(request: Request) -> int:
    text: str = request.path_params["cursor"]
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _LAST):
        raise Problem.nothing_here()
    return int(text)


class Pages:
    """The reading side of the API; every answer is about the party that the key belongs to."""

    def __init__(self, world: World, mailbox: Mailbox, gate: Gate) -> None:
        self._archive, self._mailbox, self._admit = world.archive, mailbox, gate.admit

    def routes(self) -> list[Route]:
        """Return the table of addresses."""
        return [
            Route("/v1/messages/{id}", self.life),
            Route("/v1/messages/{id}/payload", self.payload),
            Route("/v1/receipts", self.receipts),
            Route("/v1/receipts/{cursor}/payload", self.receipt_payload),
            Route("/v1/openapi.json", self.openapi),
        ]

    async def openapi(self, request: Request) -> Response:
        """Describe the API; the one page that asks for no key."""
        return _json(DOCUMENT)

    async def life(self, request: Request) -> Response:
        """Show everything known of a message."""
        return _json(told((await self._own(request))[1]))

    async def payload(self, request: Request) -> Response:
        """Give back the bytes of a message as they came."""
        message, _ = await self._own(request)
        return _bytes(await self._archive.payload(message))

    async def _own(self, request: Request) -> tuple[int, dict[str, Any]]:
        """Return the message asked for; a stranger's is as good as none."""
        endpoint = self._admit(request.scope)
        try:
            message = read_id(request.path_params["id"])
        except ValueError:
            raise Problem.nothing_here() from None
        life = await self._archive.life(message)
        if endpoint.party not in (life.get("party"), life.get("sender")):
            raise Problem.nothing_here()
        return message, life

    async def receipts(self, request: Request) -> Response:
        """List what was delivered to the key's endpoint after a cursor; wait for it where asked to."""
        name = self._admit(request.scope).name
        after = _number(request, "after", 0, _LAST)
        limit = max(1, _number(request, "limit", LIMIT, LIMIT))
        seconds = _number(request, "wait", 0, WAIT_SECONDS)
        if not seconds:
            return _json(page(await self._mailbox.read(name, after, limit), after))
        gone = asyncio.ensure_future(_disconnect(request))
        try:
            return _json(page(await self._mailbox.wait(name, after, limit, seconds, gone), after))
        finally:
            gone.cancel()

    async def receipt_payload(self, request: Request) -> Response:
        """Give the bytes of one delivered parcel, whatever their size."""
        name, position = self._admit(request.scope).name, _position(request)
        for mail in await self._mailbox.read(name, position - 1, 1):
            if mail.position == position:
                return _bytes(mail.parcel)
        raise Problem.nothing_here()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
