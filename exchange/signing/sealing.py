"""Sealing a batch with whatever token there is: prepare all, sign all, assemble all; and what the log says of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from attrs import evolve, field, frozen

from exchange.errors import ExchangeError, TokenError
from exchange.instants import Instant
from exchange.ports import Job, Signature, Token
from exchange.signing import certificates
from exchange.signing.contract import Prepared
from exchange.signing.formats import assemble, prepare
from exchange.signing.profiles import Profile
from exchange.signinglog import Operation

Choose = Callable[[str, Instant], str]  # (key as routes and parties name it, when) -> the token's name of it


@frozen
class Seal:
    """What is to be sealed: the original bytes, their parsed root where they are XML, by which profile and key."""

    original: bytes = field(repr=False)
    root: Any = field(repr=False)  # None: the bytes are parsed when their turn comes
    profile: Profile
    key: str
    behind: Sequence[str] = ()  # the children of the root that stand behind a signature


@frozen
class Sealed:
    """What became of a seal: the sealed bytes, or the *error* that stands in the way."""

    body: bytes = field(default=b"", repr=False)
    error: ExchangeError | None = None
    operation: Operation | None = None  # for the signing log; none: the token wasn't asked


@frozen
class _Ready:
    """A seal that waits for its signature value."""

    place: int
    certificate: bytes
    prepared: Prepared
    job: Job


async def seal(token: Token, wanted: Sequence[tuple[str, str, Seal]], at: Instant, choose: Choose) -> list[Sealed]:
    """Seal each of (job, party, seal); one failure is no failure of the batch."""
    ready: list[_Ready] = []
    results: list[Any] = [None] * len(wanted)
    for place, (_, _, one) in enumerate(wanted):
        try:
            key = choose(one.key, at)
            document = one.original if one.root is None else one.root
            certificate = token.certificate(key)
            prepared = prepare(document, one.profile, certificate, one.behind, at=at)
            ready.append(_Ready(place, certificate, prepared, prepared.job(key)))
        except ExchangeError as why:
            results[place] = Sealed(error=why)
    answers = await token.sign([one.job for one in ready]) if ready else ()
    for asked, answer in zip(ready, answers, strict=True):
        results[asked.place] = _sealed(*wanted[asked.place], asked, answer, at)
    return results


def _sealed(job: str, party: str, asked: Seal, ready: _Ready, answer: Signature | Exception, at: Instant) -> Sealed:
    key, profile = ready.job.key, asked.profile.id
    serial = certificates.read(ready.certificate).serial
    digest = sha256(ready.job.data).digest()
    if isinstance(answer, Exception):
        why = answer if isinstance(answer, ExchangeError) else ExchangeError(repr(answer))
        operation = Operation(at, job, party, profile, key, serial, "", digest, b"", why.code)
        return Sealed(error=why, operation=operation)
    operation = Operation(
        at, job, party, profile, key, serial, answer.device, digest, sha256(answer.value).digest(), "",
        answer.microseconds, answer.attempts,
    )  # fmt: skip
    try:
        if not answer.verified:
            check(ready.job, answer.value, ready.certificate)
        return Sealed(assemble(asked.original, ready.prepared, answer.value), operation=operation)
    except TokenError as why:
        return Sealed(error=why, operation=evolve(operation, signature=b"", code=why.code))
    except ExchangeError as why:
        return Sealed(error=why, operation=operation)


def check(job: Job, value: bytes, certificate: bytes) -> None:
    """Raise TokenError where *value* isn't the certificate's over what a job asked for: the token is at fault.

    This keeps faulty work from leaving the house, and a key from leaking through it (RSA with CRT).
    """
    signer = certificates.read(certificate)
    if not certificates.signed_by(signer, job.algorithm, value, job.data, job.sm2_id):
        raise TokenError(
            f"the token's {job.algorithm} signature doesn't verify with certificate {signer.serial}",
            f"密码设备给出的 {job.algorithm} 签名用证书 {signer.serial} 验证不通过",
            code="SWX-5030",
        )
