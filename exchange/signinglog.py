"""The signing log (签名日志): one row for each operation, each row linked to the one before.

A row's link is ``SHA-256(link of the row before || SHA-256(content))``, so nobody changes, removes or puts in a row
without changing every link after it. Whoever keeps one link from time to time, or has it in an evidence file, can
prove what the log said before. Content is a JSON list in the order of ``Operation``; the first row stands on 32 zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import orjson
from attrs import field, frozen

from exchange.instants import Instant

NOTHING: Final = bytes(32)  # what the first row stands on


@frozen
class Operation:
    """One thing that a token was asked to sign, and what came of it."""

    at: Instant
    job: str  # the message's id as it is shown, or the number of a job of the remote API
    party: str  # for whom
    profile: str  # name@version
    key: str
    serial: str  # of the certificate, hexadecimal
    device: str  # which of the token's devices signed; empty: it has none, or none signed
    digest: bytes = field(repr=False)  # SHA-256 of what was to be signed: for XML, the canonical SignedInfo
    signature: bytes = field(default=b"", repr=False)  # SHA-256 of the signature value; empty: there is none
    code: str = ""  # why it wasn't signed; empty: it was
    microseconds: int = 0
    attempts: int = 1  # devices asked


@frozen
class Row:
    """An operation in its place in the log."""

    number: int  # one more than the row before
    operation: Operation
    link: bytes = field(repr=False)


def content(number: int, one: Operation) -> bytes:
    """Return the SHA-256 of what row *number* says.

    >>> len(content(1, Operation(0, "20261122-1", "SHOP", "ceb-sm2@1", "shop", "01", "hsm-a", b"")))
    32
    """
    said = [
        number, one.at, one.job, one.party, one.profile, one.key, one.serial, one.device, one.digest.hex(),
        one.signature.hex(), one.code, one.microseconds, one.attempts,
    ]  # fmt: skip
    return sha256(orjson.dumps(said)).digest()


def linked(before: bytes, content: bytes) -> bytes:
    """Return the link of a row of that content behind a row with the link *before*."""
    return sha256(before + content).digest()


@frozen
class Checked:
    """What became known by following the links of rows in order."""

    rows: int = 0
    first: int = 0
    last: int = 0
    head: bytes = NOTHING  # the last link
    broken: int = 0  # the first row whose link isn't what it must be; 0: none
    gaps: Sequence[tuple[int, int]] = ()  # numbers of rows that are no more: retention drops whole days


def check(rows: Iterable[Row], before: Checked = Checked()) -> Checked:
    """Follow the links of *rows*, which go on after those that *before* is about; stop where one is broken.

    The oldest row there is, and the first one behind a gap, can't be checked itself; everything that follows it can.
    """
    count, first, last, head, gaps = before.rows, before.first, before.last, before.head, list(before.gaps)
    for row in rows:
        follows = row.number == last + 1
        if count and row.number > last + 1:
            gaps.append((last + 1, row.number - 1))
        if (follows and row.link != linked(head, content(row.number, row.operation))) or (count and row.number <= last):
            return Checked(count, first, last, head, row.number, gaps)
        count, first, last, head = count + 1, first or row.number, row.number, row.link
    return Checked(count, first, last, head, 0, gaps)
