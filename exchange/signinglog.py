"""The signing log (签名日志): one row for each operation, each row linked to the one before.

A row's link is ``SHA-256(link of the row before || SHA-256(content))``, so nobody changes, removes or puts in a row
without changing every link after it. Whoever keeps one link from time to time, or has it in an evidence file, can
prove what the log said before. Content is a JSON list in the order of ``Operation``; the first row stands on 32 zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import takewhile
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


# -- proofs ------------------------------------------------------------------------------------------------------

CHECKPOINT: Final = 1_000  # rows; the links of rows whose number is a multiple are those that proofs lead to


@frozen
class Proof:
    """What leads from one link to a later one: the content of every row between them, and of no row its text.

    Whoever noted any of the links that come out of it knows that these rows stood in the log then as they do here.
    """

    first: int  # the number of the first row that it is about
    before: bytes = field(repr=False)  # the link of the row before that
    contents: Sequence[bytes] = field(repr=False)

    def links(self) -> dict[int, bytes]:
        """Return the link of every row that it is about, by number; the last one is the checkpoint, or the head."""
        link, links = self.before, {}
        for number, one in enumerate(self.contents, self.first):
            link = links[number] = linked(link, one)
        return links


def checkpoint(number: int) -> int:
    """Return the number of the first checkpoint that isn't before the row of that *number*.

    >>> checkpoint(1), checkpoint(1000), checkpoint(1001)
    (1000, 1000, 2000)
    """
    return -(-number // CHECKPOINT) * CHECKPOINT


def prove(numbers: Iterable[int], rows: Callable[[int, int], Sequence[Row]]) -> list[Proof]:
    """Return proofs for the rows of these *numbers*; *rows* reads so many at most behind a number.

    Each leads from a row to the next checkpoint, or as far as the log goes without a gap. One serves all rows up to its
    checkpoint. Of a row that isn't there any more there is none, and of one that stands behind a gap the proof begins
    with its link.
    """
    proofs: list[Proof] = []
    proved = 0
    for number in sorted(numbers):
        if number > proved:
            proved, after = checkpoint(number), max(0, number - 2)
            proofs += _proof(number, rows(after, proved - after))
    return proofs


def _proof(number: int, rows: Sequence[Row]) -> list[Proof]:
    """Return the proof that begins with row *number*; *rows* begin with the row before it, where that is there."""
    if number not in (row.number for row in rows):
        return []
    before, first = NOTHING, number
    if number > 1:
        before, first, rows = rows[0].link, rows[0].number + 1, rows[1:]
    unbroken = takewhile(lambda place: place[1].number == first + place[0], enumerate(rows))
    return [Proof(first, before, [content(row.number, row.operation) for _, row in unbroken])]
