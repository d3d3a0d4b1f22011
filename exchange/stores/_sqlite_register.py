"""The register of signing keys in SQLite: see ``register.Register``, and main-0003.sql for the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import orjson
import zstandard
from attrs import evolve

from exchange.errors import NotFound, Refused
from exchange.register import KeyVersion, Proposal
from exchange.stores._sqlite_insert import insert

KEY: Final = "name, number, kind, certificate, places, not_before, not_after, state, change"
HEAD: Final = "number, kind, subject, digest, actor, reason, at, state, decided_by, remark, decided_at"


class Keeping:
    """The writing side."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def record(self, asked: Sequence[tuple[Proposal, Sequence[KeyVersion]]]) -> list[Proposal]:
        """Keep proposals, what was decided of them, and the keys that they change."""
        return [self._record(proposal, keys) for proposal, keys in asked]

    def _record(self, proposal: Proposal, keys: Sequence[KeyVersion]) -> Proposal:
        kept = self._decided(proposal) if proposal.number else self._submitted(proposal)
        rows = [_row(key, kept.number) for key in keys]
        insert(self._connection, "INSERT OR REPLACE INTO signing_key", rows)
        return kept

    def _submitted(self, proposal: Proposal) -> Proposal:
        (last,) = self._connection.execute("SELECT coalesce(max(number), 0) FROM signing_change").fetchone()
        kept = evolve(proposal, number=last + 1)
        values = (*_head(kept), zstandard.ZstdCompressor().compress(kept.what))
        self._connection.execute(f"INSERT INTO signing_change VALUES ({','.join('?' * len(values))})", values)
        return kept

    def _decided(self, proposal: Proposal) -> Proposal:
        done = self._connection.execute(
            "UPDATE signing_change SET state = ?, decided_by = ?, remark = ?, decided_at = ?"
            " WHERE number = ? AND state = 'submitted'",
            (proposal.state, proposal.decided_by, proposal.remark, proposal.decided_at, proposal.number),
        )
        if done.rowcount != 1:
            raise Refused(
                f"change {proposal.number} was decided already",
                f"变更 {proposal.number} 已处理",
                code="SWX-7042",
            )
        return proposal


def _head(proposal: Proposal) -> tuple[Any, ...]:
    return tuple(getattr(proposal, name) for name in HEAD.split(", "))


def _row(key: KeyVersion, change: int) -> tuple[Any, ...]:
    return (
        key.name, key.number, key.kind, key.certificate, orjson.dumps(key.places).decode(), key.not_before,
        key.not_after, key.state, change,
    )  # fmt: skip


def keys(connection: sqlite3.Connection) -> list[KeyVersion]:
    """Read every version of every key."""
    rows = connection.execute(f"SELECT {KEY} FROM signing_key ORDER BY name, number")
    return [
        KeyVersion(name, number, kind, certificate, orjson.loads(places), *rest)
        for name, number, kind, certificate, places, *rest in rows
    ]


def proposals(connection: sqlite3.Connection, limit: int) -> list[Proposal]:
    """List proposals, newest first, without what they are about."""
    rows = connection.execute(f"SELECT {HEAD} FROM signing_change ORDER BY number DESC LIMIT ?", (limit,))
    return [_proposal(row) for row in rows]


def proposal(connection: sqlite3.Connection, number: int) -> Proposal:
    """Read one proposal, whole. Raises NotFound."""
    row = connection.execute(f"SELECT {HEAD}, what FROM signing_change WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise NotFound(f"there is no change {number}", f"没有变更 {number}")
    return evolve(_proposal(row[:-1]), what=zstandard.ZstdDecompressor().decompress(row[-1]))


def _proposal(row: Sequence[Any]) -> Proposal:
    return Proposal(**dict(zip(HEAD.split(", "), row, strict=True)))
