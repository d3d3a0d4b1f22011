"""The least that HTTP intake can cost: uvicorn and httptools read a body and answer 202."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop

from exchange import asgi

ANSWER = b'{"id":"20261122-1","state":"RECEIVED"}'


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the whole body; say 202."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


async def main() -> None:
    """Serve until killed."""
    await asgi.listen(app, port=int(sys.argv[1]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
