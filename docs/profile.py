"""Where the time of a message goes: ``python -m docs.profile``.

A switch of the benchmark (HTTP in, validated, durable, AMQP out; unsigned) is kept under load while py-spy looks at it
a hundred times a second. Every look counts for the innermost frame that is the switch's own or one of the libraries
named below; the table is shares of the looks at threads that were running. py-spy must be on the PATH: it is no
dependency of the project.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks import peers
from tests.live.rabbitmq import Broker

RATE: Final = 100  # looks a second
ROOMS: Final = (  # the first that fits a frame's path
    (r"exchange/stores/", "store (one thread of its own)"),
    (r"adapters/_?amqp|/pika/", "AMQP: publish, confirms"),
    (r"adapters/_?http|exchange/asgi|/uvicorn/|/starlette/", "HTTP: read, ask, answer"),
    (r"exchange/(catalogue|formats/)", "XML: parse, identify, read, validate"),
    (r"exchange/(intake|routing|receipts|model|instants|lifecycle)", "decide: sender, route, our own receipt"),
    (r"exchange/(sending|lanes)", "send: lanes, attempts, outcomes"),
    (r"exchange/switch", "take and sort: batches, futures"),
    (r"exchange/observability|/structlog/", "log lines and metrics"),
    (r"/asyncio/|/twisted/|/threading|exchange/service", "event loop, between threads"),
)


def main() -> None:
    """Measure, and print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        looks = _looks(Path(name), count)
    total = looks.total()
    print(f"{count} declarations, {total} looks\n\n| where | share |\n|---|---|")
    for room, seen in looks.most_common():
        print(f"| {room} | {seen / total:.0%} |")


def _looks(folder: Path, count: int) -> Counter[str]:
    broker = Broker(peers.scratch(folder, "broker"))
    broker.start()
    try:
        switch = peers.Switch(folder / "switch", broker, peers.Queue(broker))
        try:
            switch.run(500, 16)
            stacks = folder / "stacks"
            command = ["py-spy", "record", "--pid", str(switch._process.pid), "--format", "raw", "--full-filenames"]
            spy = subprocess.Popen([*command, "--rate", str(RATE), "--output", str(stacks)], stdout=subprocess.DEVNULL)
            told = switch.run(count)
            print(f"with py-spy looking: {told['messages_per_second']:.0f} messages/s, {told['cpu_us']:.0f} us of CPU")
            spy.send_signal(2)
            spy.wait(60)
            return _counted(stacks.read_text())
        finally:
            switch.stop()
    finally:
        broker.stop()


def _counted(stacks: str) -> Counter[str]:
    looks: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, seen = line.rpartition(" ")
        looks[_room(frames.split(";"))] += int(seen)
    return looks


def _room(frames: list[str]) -> str:
    for frame in reversed(frames):
        for pattern, room in ROOMS:
            if re.search(pattern, frame):
                return room
    return "the rest"


if __name__ == "__main__":
    main()
