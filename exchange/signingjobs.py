"""Jobs of the remote signing API (签名任务): what a store keeps of them."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from attrs import Factory, field, frozen

from exchange.instants import Instant
from exchange.signinglog import Operation


@frozen
class SigningJob:
    """What a client wants signed, and what came of it."""

    number: Instant  # when it came, and nobody else's
    client: str
    party: str  # for whom
    key: str  # the client's own name for the request, which it may repeat; empty: none
    digest: bytes = field(repr=False)  # SHA-256 of the request
    items: int
    request: bytes = field(default=b"", repr=False)  # as it came; empty once it is finished
    answer: bytes = field(default=b"", repr=False)  # as it is told; empty: not finished


@frozen
class Waiting:
    """The work that a store holds when it is opened."""

    jobs: Sequence[SigningJob] = ()  # not finished, oldest first
    newest: Instant = 0  # the highest number of a job
    signed: Mapping[str, int] = Factory(dict)  # client -> what it had signed since a given instant


class Jobs(Protocol):
    """The verbs; each that writes resolves after its transaction is on disk."""

    def open_job(self, job: SigningJob) -> Awaitable[SigningJob]:
        """Keep a job that is to be done. Raises Refused where its client has another one under the same key."""

    def finish_job(self, job: SigningJob, operations: Sequence[Operation]) -> Awaitable[SigningJob]:
        """Write a job's answer and its rows of the log; return the job as it stands: an answer is never changed.

        Raises Refused as ``open_job`` does, of a job that wasn't kept before.
        """

    def forget_jobs(self, before: Instant) -> Awaitable[int]:
        """Remove finished jobs that came before an instant, a few hundred at a time; return how many that were."""

    def job(self, number: Instant) -> Awaitable[SigningJob | None]:
        """Read a job."""

    def keyed_job(self, client: str, key: str) -> Awaitable[SigningJob | None]:
        """Read the job that a client asked for under a key of its own."""

    def waiting_jobs(self, since: Instant) -> Awaitable[Waiting]:
        """Read what isn't finished, and how much each client had signed since an instant."""
