"""The least that publishing can cost: the AMQP adapter and nothing else, confirms in a window of 200.

``python -m benchmarks.bare_publish URL USER PASSWORD_FILE QUEUE COUNT`` prints CPU microseconds of one message.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, cast

import structlog
import uvloop
from twisted.internet import asyncioreactor

from benchmarks.messages import Declarations
from exchange.errors import Transient
from exchange.model import Endpoint, Parcel
from exchange.ports import World, microseconds

WINDOW = 200


async def main(loop: asyncio.AbstractEventLoop) -> None:
    """Publish, and print what it cost."""
    from twisted.internet import reactor

    from adapters.amqp import Amqp

    running: Any = reactor
    running.startRunning(installSignalHandlers=False)
    url, user, password, queue, count = *sys.argv[1:5], int(sys.argv[5])
    log = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
    world = World(take=cast(Any, None), archive=cast(Any, None), reactor=reactor, now=microseconds, log=log)
    adapter = Amqp(world)
    options = {"url": url, "user": user, "password": {"file": Path(password)}, "publish": {"queue": queue}}
    endpoint = Endpoint("queue", "CUSTOMS", "amqp", Amqp.Options.model_validate(options))
    await adapter.serve({endpoint.name: endpoint})
    declarations = Declarations()
    bodies = [declarations.one() for _ in range(count)]
    await _send(adapter, endpoint, bodies[:1])
    todo = iter(bodies)

    async def lane() -> None:
        for body in todo:
            await adapter.send(endpoint, Parcel("a.xml", body, {"id": str(id(body)), "type": "CEB311Message"}))

    began = time.process_time()
    await asyncio.gather(*(lane() for _ in range(WINDOW)))
    print((time.process_time() - began) / count * 1e6)
    await adapter.stop()
    running.fireSystemEvent("shutdown")  # ends the reactor's threads, and stops the loop


async def _send(adapter: Any, endpoint: Endpoint, bodies: list[bytes]) -> None:
    """Send as soon as the channel is open."""
    for body in bodies:
        while True:
            try:
                await adapter.send(endpoint, Parcel("a.xml", body, {"id": "first", "type": "CEB311Message"}))
                break
            except Transient:
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    install: Any = asyncioreactor.install
    install(loop)
    loop.create_task(main(loop))
    loop.run_forever()
