"""The store by itself: what a message costs it, and a store with a past.

``python -m benchmarks.history FOLDER COUNT`` makes a store with *COUNT* declarations, decided and delivered.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from benchmarks.messages import Declarations
from exchange import catalogue
from exchange.model import (
    Arrival,
    Conclusion,
    Context,
    Decision,
    Document,
    Endpoint,
    Envelope,
    Outcome,
    Parcel,
    Planned,
    Question,
)
from exchange.stores.sqlite import SqliteStore

FROM, TO = Endpoint("ent1-http", "ENT1", "http_api"), Endpoint("customs-queue", "CUSTOMS", "amqp")
OWN = Parcel("Successed_a.json", b'{"state":"ACCEPTED"}' * 11, {"type": "receipt"})


class Lives:
    """Walks declarations through the store's own verbs, batch by batch, without its threads.

    Half of the deliveries go on waiting for their receipts, so the table of open deliveries grows, too.
    """

    def __init__(self, folder: Path) -> None:
        samples = b"".join(s.path.read_bytes() for s in catalogue.load().samples() if not s.code)
        self._store = SqliteStore(folder, sample=samples)
        self._store._open()
        self._declarations = Declarations()
        self._count = 0

    def batch(self, size: int) -> float:
        """Take, decide and deliver *size* declarations; return the CPU microseconds of each."""
        at = time.time_ns() // 1000
        bodies = [self._declarations.one() for _ in range(size)]
        names = [str(uuid.uuid4()).upper() for _ in range(size)]
        began = time.thread_time()
        ask = self._store._apply
        arrivals: Sequence[Arrival] = ask([("receive", (Parcel("a.xml", body), FROM, at)) for body in bodies])
        envelopes = [self._envelope(name) for name in names]
        questions = [
            Question(a.id, "ENT1", e.type, e.own_id, a.parcel.digest, e.documents)
            for a, e in zip(arrivals, envelopes, strict=True)
        ]
        contexts: Sequence[Context] = ask([("context", questions)])[0]
        if any(context.prior for context in contexts):
            raise ValueError("the benchmark's declarations repeat themselves")
        decided = [self._decided(a, e, at) for a, e in zip(arrivals, envelopes, strict=True)]
        (concluded,) = ask([("conclude", decided)])
        ask([("settle", [Outcome(d, "deliver", at) for c in concluded for d in c.deliveries])])
        return (time.thread_time() - began) / size * 1e6

    def _envelope(self, name: str) -> Envelope:
        keys = {"guid": name, "order": f"TESTEBP001/{name[::-1]}"}
        fields = {"appType": ("1",), "appStatus": ("2",)}
        return Envelope("CEB311Message", "1.0", name, documents=(Document(keys),), fields=fields)

    def _decided(self, arrival: Arrival, envelope: Envelope, at: int) -> Conclusion:
        self._count += 1
        keys = (f"order:{envelope.documents[0].keys['order']}",)
        sent = Planned(
            TO.name, TO.party, expects_receipt=bool(self._count % 2), deadline_seconds=1800, keys=keys
        )  # fmt: skip
        told = Planned(FROM.name, FROM.party, parcel=OWN, disposition="accepted", refers_to=arrival.id, mailbox=True)
        return Conclusion(
            arrival, Decision("accept", (sent, told), route="orders"), envelope, "ENT1", 1, at, started=(0,)
        )

    def close(self) -> None:
        """Close the database."""
        self._store._db.close()


def fill(folder: Path, count: int) -> None:
    """Make a store with *count* declarations."""
    lives, began = Lives(folder), time.time()
    for done in range(0, count, 500):
        lives.batch(500)
        if sys.stderr.isatty() and done % 50_000 == 0:
            print(f"\r  {done:,} of {count:,} ({time.time() - began:.0f} s)", end="", file=sys.stderr)
    lives.close()


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
