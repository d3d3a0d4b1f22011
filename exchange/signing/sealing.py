"""Sealing a batch of messages with whatever token there is: prepare all, sign all, assemble all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from exchange.errors import ExchangeError
from exchange.instants import Instant
from exchange.ports import Token
from exchange.signing.contract import Prepared
from exchange.signing.formats import assemble, prepare
from exchange.signing.profiles import Profile


@frozen
class Seal:
    """What is to be sealed: the original bytes, their parsed root where they are XML, by which profile and key."""

    original: bytes
    root: Any
    profile: Profile
    key: str
    at: Instant
    behind: Sequence[str] = ()  # the children of the root that stand behind a signature


async def seal(token: Token, wanted: Sequence[Seal]) -> list[bytes | ExchangeError]:
    """Return the sealed bytes of each, or the error that stands in its way; one failure is no failure of the batch."""
    ready: list[tuple[int, Prepared]] = []
    results: list[Any] = [None] * len(wanted)
    for place, one in enumerate(wanted):
        try:
            document = one.original if one.root is None else one.root
            certificate = token.certificate(one.key)
            ready.append((place, prepare(document, one.profile, certificate, one.behind, at=one.at)))
        except ExchangeError as why:
            results[place] = why
    values = await token.sign([prepared.job(wanted[place].key) for place, prepared in ready]) if ready else ()
    for (place, prepared), value in zip(ready, values, strict=True):
        try:
            results[place] = (
                value if isinstance(value, Exception) else assemble(wanted[place].original, prepared, value)
            )
        except ExchangeError as why:
            results[place] = why
    return results
