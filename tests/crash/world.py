"""A small world around a real store, switch and signing, that can be killed (-9) at any of its steps.

Enterprises hand in parcels, customs takes and answers them. ``python -m tests.crash.world FOLDER`` lets that happen
once for every step there is (a statement or commit of the store, or a verb of an adapter): at that step the process is
killed, and another goes on with the same folder to the end. What the peers know lies in files beside the store, synced
before they answer. One line of JSON tells how each ended.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from exchange import catalogue, routesfile
from exchange.model import Endpoint, Finding, Parcel
from exchange.observability import recorded
from exchange.ports import microseconds
from exchange.sending import Sending
from exchange.signing.service import SigningService
from exchange.signinglog import check
from exchange.stores import _sqlite_base
from exchange.stores.sqlite import SqliteStore
from exchange.switch import Switch
from exchange.tokens.software import KeyFiles, Software
from tests import pki
from tests.crash.parcels import GIVEN, ROUTES, receipt_for

TYPES = catalogue.load()
KEYS = pki.shared()


class Points:
    """Counts the steps of this life, and ends it at one of them."""

    def __init__(self, last: int) -> None:
        self.count, self._last = 0, last

    def step(self, _: object = None) -> None:
        """Take one step, maybe the last."""
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


class Paper:
    """What one peer has written down: lines of JSON, on disk before anybody hears of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **fact: Any) -> None:
        """Add a line."""
        with self._path.open("ab") as file:
            file.write(json.dumps(fact).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Return every whole line."""
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]


class Peers:
    """The adapter of every endpoint: peers that keep what they are sent."""

    sends, window, mailbox, receipts = True, 4, False, "native"

    def __init__(self, folder: Path, points: Points) -> None:
        self._folder, self._points = folder, points

    def paper(self, endpoint: str) -> Paper:
        return Paper(self._folder / f"{endpoint}.jsonl")

    async def serve(self, endpoints: Mapping[str, Endpoint]) -> None: ...

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        self._points.step()
        digest = hashlib.sha256(parcel.read()).hexdigest()
        fact = {"id": parcel.headers["id"], "name": parcel.name, "digest": digest, "body": parcel.read().decode()}
        self.paper(endpoint.name).write(**fact, type=parcel.headers["type"])
        self._points.step()

    async def stop(self) -> None: ...


class Silent:
    """A meter that doesn't count."""

    def received(self, kind: str, role: str, n: int = 1) -> None: ...
    def finished(self, state: str, n: int = 1) -> None: ...
    def stage(self, name: str, seconds: float, n: int = 1) -> None: ...


async def explain(parcel: Parcel, question: tuple[str, str, bool, str]) -> list[Finding]:
    """Find what is wrong, in this process."""
    return TYPES.explain(parcel.read(), question[0], question[1], unsigned=question[2])


async def live(folder: Path, points: Points) -> dict[str, Any]:
    """Give every parcel until it is acknowledged, answer as customs, and wait until nothing moves."""
    store = SqliteStore(folder / "store", connect=lambda path: _watched(path, points))
    peers = Peers(folder, points)
    log, events = recorded()
    sending = Sending(store, {"memory": peers}, now=microseconds, log=log, meter=Silent())
    signing = SigningService(Software(KeyFiles(folder=KEYS)), microseconds, log, store.log)
    switch = Switch(
        store, TYPES, signing, sending, explain, now=microseconds, log=log, meter=Silent()
    )  # fmt: skip
    backlog = await store.open()
    known = routesfile.Known(TYPES.types, {})
    table, _ = routesfile.load(f"{routesfile.MARK}routes.yaml\n{ROUTES}", folder, known=known)
    table.generation = 1
    table.kinds["memory"] = Peers  # type: ignore[index]
    switch.table = sending.table = table
    switch.start(backlog.arrivals)
    await sending.load()
    acknowledged = Paper(folder / "acknowledged.jsonl")
    for name, endpoint, body in GIVEN:
        await _give(switch, points, acknowledged, name, endpoint, body)
        await _quiet(switch)
    for sent in _distinct(peers.paper("customs-queue").read()):
        name = f"answer-{sent['name']}"
        await _give(switch, points, acknowledged, name, "customs-queue", receipt_for(sent["body"]))
        await _quiet(switch)
    result = await _verdict(store, peers, acknowledged, events)
    await switch.stop()
    await sending.stop()
    await store.close()
    return result | {"points": points.count}


def _watched(path: str, points: Points) -> sqlite3.Connection:
    connection = _sqlite_base.connect(path)
    connection.set_trace_callback(points.step)
    return connection


async def _give(switch: Switch, points: Points, acknowledged: Paper, name: str, endpoint: str, body: str) -> None:
    """Give a parcel as a peer that tries again until it hears yes, and remembers that it did."""
    if name in [fact["name"] for fact in acknowledged.read()]:
        return
    points.step()
    id = await switch.take(Parcel(name, body.encode()), switch.table.endpoints[endpoint])
    points.step()
    acknowledged.write(name=name, id=id)
    points.step()


async def _quiet(switch: Switch) -> None:
    async with asyncio.timeout(20):
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0.001)
            busy = switch.undecided or any(count for count, _ in switch.sending.waiting().values())
            quiet = 0 if busy else quiet + 1


def _distinct(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({fact["id"]: fact for fact in sent}.values())


async def _verdict(store: Any, peers: Peers, acknowledged: Paper, events: list[dict[str, Any]]) -> dict[str, Any]:
    messages = {head["id"]: head for head in await store.messages(limit=1000)}
    lives = {fact["name"]: messages[fact["id"]]["state"] for fact in acknowledged.read()}
    sent = {e: peers.paper(e).read() for e in ("customs-queue", "ent1-box", "ent2-box")}
    log = await store.operations(after=0, limit=1000)
    return {
        "signed": [row.operation.job for row in log],
        "chain_broken": check(log).broken,
        "lives": lives,
        "states": sorted(head["state"] for head in messages.values()),
        "sent": {e: [(f["id"], f["name"], f["digest"]) for f in facts] for e, facts in sent.items()},
        "open": await store.queues(),
        "broke": [e for e in events if e["event"].endswith("broke")],
    }


def _in_child(folder: Path, point: int) -> dict[str, Any] | None:
    """Live once in a process of its own; None when it was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        result = asyncio.run(live(folder, Points(point)))
        os.write(writing, json.dumps(result).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return None
    return json.loads(told) if told else {"failed": status}


def _two_lives(folder: Path, point: int) -> dict[str, Any]:
    """Live, be killed at *point*, live again on the same folder to the end; return what became of it all."""
    home = folder / str(point)
    home.mkdir()
    killed = _in_child(home, point) is None
    told = _in_child(home, 0) or {"failed": "killed without being asked to"}
    shutil.rmtree(home)
    return {"point": point, "killed": killed} | told


def main() -> None:
    """Try every point that is left when *start* and *step* (third and fourth argument) say which."""
    folder = Path(sys.argv[1])
    start, step = map(int, sys.argv[2:4]) if len(sys.argv) > 3 else (1, 1)
    TYPES.warm(date.today())  # once, for all the lives that are forked from here
    TYPES.explain(GIVEN[4][2].encode(), "CEB311Message", "202205")
    gc.collect()
    gc.freeze()  # or each life would look through, and so copy, all that this process holds: half of what a life costs
    (folder / f"whole-{start}").mkdir(parents=True)
    whole = _in_child(folder / f"whole-{start}", 0)
    if whole is None or "failed" in whole:
        raise SystemExit(f"the world doesn't work even without a crash: {whole}")
    print(json.dumps({"point": 0, "killed": False} | whole), flush=True)
    for point in range(start, whole["points"] + 1, step):
        print(json.dumps(_two_lives(folder, point)), flush=True)


if __name__ == "__main__":
    main()
