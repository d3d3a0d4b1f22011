"""Sealing a batch with whatever token there is: prepare all, sign all, assemble all; and what the log says of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from attrs import field, frozen

from exchange.errors import ExchangeError
from exchange.instants import Instant
from exchange.ports import Job, Signature, Token
from exchange.signing import certificates
from exchange.signing.profiles import named
from exchange.signing.xmldsig import Prepared, assemble, prepare
from exchange.signinglog import Operation

Choose = Callable[[str, Instant], str]  # (key as routes and parties name it, when) -> the token's name of it


@frozen
class Seal:
    """What is to be sealed: the original bytes, their parsed root, and with which profile and key."""

    original: bytes = field(repr=False)
    root: Any = field(repr=False)  # None: the bytes are parsed when their turn comes
    profile: str
    key: str
    behind: Sequence[str] = ()  # the children of the root that stand behind a signature
    algorithm: str = ""  # where it is said, *original* is signed as it is, and what comes of it is the value alone


@frozen
class Sealed:
    """What became of a seal: the sealed bytes, or the *error* that stands in the way."""

    body: bytes = field(default=b"", repr=False)
    error: ExchangeError | None = None
    operation: Operation | None = None  # for the signing log; none: the token wasn't asked


@frozen
class Bare:
    """Data that is signed as it is: somebody else has prepared it."""

    algorithm: str
    signed_info: bytes = field(repr=False)

    def job(self, key: str) -> Job:
        """Return what a token is asked to do."""
        return Job(key, self.algorithm, self.signed_info)


@frozen
class _Ready:
    """A seal that waits for its signature value."""

    place: int
    key: str  # the token's name of it
    prepared: Prepared | Bare


async def seal(token: Token, wanted: Sequence[tuple[str, str, Seal]], at: Instant, choose: Choose) -> list[Sealed]:
    """Seal each of (job, party, seal); one failure is no failure of the batch."""
    ready: list[_Ready] = []
    results: list[Any] = [None] * len(wanted)
    for place, (_, _, one) in enumerate(wanted):
        try:
            key = choose(one.key, at)
            ready.append(_Ready(place, key, _prepared(one, token.certificate(key))))
        except ExchangeError as why:
            results[place] = Sealed(error=why)
    answers = await token.sign([one.prepared.job(one.key) for one in ready]) if ready else ()
    for asked, answer in zip(ready, answers, strict=True):
        results[asked.place] = _sealed(token, *wanted[asked.place], asked, answer, at)
    return results


def _prepared(one: Seal, certificate: bytes) -> Prepared | Bare:
    if one.algorithm:
        return Bare(one.algorithm, one.original)
    return prepare(one.original if one.root is None else one.root, named(one.profile), certificate, one.behind)


def _sealed(
    token: Token, job: str, party: str, asked: Seal, ready: _Ready, answer: Signature | Exception, at: Instant
) -> Sealed:
    prepared = ready.prepared
    serial = certificates.read(token.certificate(ready.key)).serial
    digest = sha256(prepared.signed_info).digest()
    if isinstance(answer, Exception):
        why = answer if isinstance(answer, ExchangeError) else ExchangeError(repr(answer))
        operation = Operation(at, job, party, asked.profile, ready.key, serial, "", digest, b"", why.code)
        return Sealed(error=why, operation=operation)
    operation = Operation(
        at, job, party, asked.profile, ready.key, serial, answer.device, digest, sha256(answer.value).digest(), "",
        answer.microseconds, answer.attempts,
    )  # fmt: skip
    if isinstance(prepared, Bare):
        return Sealed(answer.value, operation=operation)
    try:
        return Sealed(assemble(asked.original, prepared, answer.value), operation=operation)
    except ExchangeError as why:
        return Sealed(error=why, operation=operation)
