"""The parts of the work by themselves: what the switch can't go below.

*durable* is the store alone, walked through a message's life in batches of a hundred. *raw_sql* is shown beside it
and not part of the sum: the same rows without a line of the store's own code (hash, compress, three commits for each
hundred, synchronous=FULL), the floor under any store of this design.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any

import zstandard
from lxml import etree

from benchmarks.machine import microseconds
from benchmarks.messages import Declarations
from exchange import catalogue
from exchange.ports import Job
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import assemble, prepare
from exchange.stores import _sqlite_base
from exchange.tokens.software import KeyFiles, Software
from tests import pki

SCHEMA = Path(__file__).parent.parent / "schemas/customs/ceb/CEB311Message-202205.xsd"
SIGN = {"p256": ("ecdsa-sha256", "p256"), "sm2": ("ceb-sm2", "sm2"), "rsa2048": ("rsa-sha256", "rsa")}
TIMES = 2000


def parse_and_validate() -> float:
    """Return microseconds to parse a declaration and give libxml2's verdict, tree freed."""
    declarations, schema = Declarations(), etree.XMLSchema(etree.parse(SCHEMA))
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    bodies = iter([declarations.one() for _ in range(TIMES)])

    def work() -> None:
        if not schema.validate(etree.fromstring(next(bodies), parser)):
            raise ValueError("the benchmark's declaration breaks its schema")

    return microseconds(work, TIMES)


def sign(name: str) -> float:
    """Return microseconds to sign one declaration that is parsed already: digest, key operation, splice."""
    profile, key = SIGN[name]
    token = Software(KeyFiles(folder=pki.shared()))
    certificate, body = token.certificate(key), Declarations().one()
    root = etree.fromstring(body)

    async def work() -> None:
        prepared = prepare(root, PROFILES.named(profile), certificate)
        (value,) = await token.sign([Job(key, prepared.profile.algorithm, prepared.signed_info)])
        if isinstance(value, Exception):
            raise value
        assemble(body, prepared, value.value)

    times = TIMES // (10 if name != "p256" else 2)

    async def all_of_them() -> float:
        began = time.process_time()
        for _ in range(times):
            await work()
        return (time.process_time() - began) / times * 1e6

    return asyncio.run(all_of_them())


class RawSql:
    """The raw rows of declarations, written as the store lays them out."""

    def __init__(self, folder: Path) -> None:
        self._db = _sqlite_base.connect(str(folder / "raw.db"))
        for script in sorted(_sqlite_base.SQL.glob("*.sql")):
            for statement in script.read_text("utf-8").replace("$n", "1").split(";\n"):
                if statement.strip():
                    self._db.execute(statement)
        samples = [s.path.read_bytes() for s in catalogue.load().samples() if not s.code]
        dictionary = zstandard.ZstdCompressionDict(b"".join(samples)[:65_536], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        self._compress = zstandard.ZstdCompressor(level=3, dict_data=dictionary).compress
        self._next = 1 << 40
        self._seq = 1

    def measure(self, count: int) -> float:
        """Return microseconds for each of *count* declarations, in batches of a hundred."""
        declarations = Declarations()
        spent = 0.0
        for _ in range(count // 100):
            bodies = [declarations.one() for _ in range(100)]
            names = [str(uuid.uuid4()) for _ in bodies]
            began = time.thread_time()
            self._hundred(bodies, names)
            spent += time.thread_time() - began
        return spent / (count // 100 * 100) * 1e6

    def _hundred(self, bodies: list[bytes], names: list[str]) -> None:
        many, at = self._db.executemany, time.time_ns() // 1000
        ids = list(range(self._next, self._next + len(bodies)))
        self._next += len(bodies)
        with _Transaction(self._db):
            rows = [
                (id, at, 1, 2, "a.xml", None, len(b), hashlib.sha256(b).digest(), 1, self._compress(b))
                for id, b in zip(ids, bodies, strict=True)
            ]
            many("INSERT INTO message_1 VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
            many("INSERT INTO pending (message, state) VALUES (?, ?)", [(id, 0) for id in ids])
            self._events([(id, at, 0, None) for id in ids])
        with _Transaction(self._db):
            self._decided(ids, names, at)
        with _Transaction(self._db):
            moved = [(10, 0, at, id << 8) for id in ids]
            many("UPDATE delivery SET state = ?, due_at = ?, deadline = ? WHERE id = ?", moved)
            self._events([(id, at, 14, 0) for id in ids])
            many("INSERT INTO outgoing_1 VALUES (?,?,?)", [(5, self._seq + i, id << 8) for i, id in enumerate(ids)])
            self._seq += len(ids)

    def _decided(self, ids: list[int], names: list[str], at: int) -> None:
        many = self._db.executemany
        marks = ",".join("?" * len(ids))
        self._db.execute(f"SELECT message, state, code FROM pending WHERE message IN ({marks})", ids).fetchall()
        many("DELETE FROM pending WHERE message = ?", [(id,) for id in ids])
        facts = '{"version":"1.0","documents":[{"guid":"%s","order":"TESTEBP001/%s"}],"fields":{"appType":["1"]}}'
        envelopes = [(id, 3, 4, name, facts % (name, name)) for id, name in zip(ids, names, strict=True)]
        many("INSERT INTO envelope_1 VALUES (?,?,?,?,?)", envelopes)
        planned = "INSERT INTO planned_1 VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,NULL)"
        many(planned, [(id << 8, 5, 6, 3, "message", 0, "[]", 1, 1, 4000, None, None, None) for id in ids])
        own = b"{}" * 110
        many(planned, [((id << 8) + 1, 1, 2, 7, "accepted", id, None, 0, None, 220, "r", 0, own) for id in ids])
        opened = [(id << 8, 5, 6, 9, 1, 0, at, at, 4000, 1, 1, 1, None) for id in ids]
        many("INSERT INTO delivery VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,0,0)", opened)
        self._events([(id, at, 1, None) for id in ids])
        self._events([(id, at, 14, 1) for id in ids])
        many("INSERT INTO outgoing_1 VALUES (?,?,?)", [(1, self._seq + i, id << 8) for i, id in enumerate(ids)])
        keys = [(hash(name) >> 1, id, 0) for name in names for id in ids[:1]] * 3
        many("INSERT INTO fresh_key VALUES (?,?,?)", keys)

    def _events(self, lines: list[tuple[Any, ...]]) -> None:
        rows = [
            (id, self._seq + i, at, event, number, 1, '{"generation":1}')
            for i, (id, at, event, number) in enumerate(lines)
        ]
        self._seq += len(rows)
        self._db.executemany("INSERT INTO event_1 VALUES (?,?,?,?,?,?,?)", rows)


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *failed: object) -> None:
        self._connection.execute("ROLLBACK" if failed[0] else "COMMIT")
