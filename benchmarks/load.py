"""The load generator, in a process of its own: ``python -m benchmarks.load PORT COUNT CONNECTIONS KEY``.

Keep-alive connections, one request in flight on each. Prints one line of JSON: seconds, rate, refused, and the
percentiles of the time from the first byte sent to the whole answer read, in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from benchmarks.machine import percentile
from benchmarks.messages import Declarations

HEAD = (
    "POST /v1/messages HTTP/1.1\r\nHost: switch\r\nAuthorization: Bearer {key}\r\n"
    "Content-Type: application/xml\r\nContent-Length: "
)


async def load(port: int, count: int, connections: int, key: str) -> dict[str, float]:
    """Send *count* declarations and return what it took."""
    declarations = Declarations()
    head = HEAD.format(key=key).encode()
    todo = iter([declarations.one() for _ in range(count)])
    seconds: list[float] = []
    refused = 0

    async def connection() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in todo:
            began = time.perf_counter()
            writer.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            seconds.append(time.perf_counter() - began)
            refused += not answer.startswith(b"HTTP/1.1 202")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    took = time.perf_counter() - began
    return {
        "seconds": took,
        "accepted_per_second": count / took,
        "refused": refused,
        "p50_ms": percentile(seconds, 0.5) * 1e3,
        "p99_ms": percentile(seconds, 0.99) * 1e3,
    }


if __name__ == "__main__":
    port, count, connections = map(int, sys.argv[1:4])
    print(json.dumps(uvloop.run(load(port, count, connections, sys.argv[4]))))
