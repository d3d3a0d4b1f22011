"""Bearer keys: made, kept as hashes only, found by hash; and the patience with those who show wrong ones."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Final

from attrs import frozen

from adapters._http_problems import throttled, unauthorized
from exchange.instants import SECOND, Instant
from exchange.model import Endpoint
from exchange.ports import World

_BEIJING: Final = timezone(timedelta(hours=8))
_SLICE: Final = 2_000  # endpoints indexed before others get a turn
_SCHEME: Final = b"bearer "


def new_key() -> tuple[str, str]:
    """Make a key: return its text, to be shown once, and the hash that goes into the endpoint's options."""
    key = "swx_" + secrets.token_urlsafe(32)
    return key, "sha256:" + hashlib.sha256(key.encode()).hexdigest()


@frozen
class Access:
    """What a key opens."""

    endpoint: Endpoint
    expires_at: Instant | None


def _end_of(day: date | None) -> Instant | None:
    """Return the end of the last day (in Beijing) that a key is good."""
    if day is None:
        return None
    return int(datetime.combine(day + timedelta(days=1), time(), _BEIJING).timestamp()) * SECOND


class Keys:
    """The hashes of all keys in force; one look-up whatever their number."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        self._now = now
        self._known: dict[bytes, Access] = {}

    async def replace(self, endpoints: Iterable[Endpoint]) -> list[tuple[str, str]]:
        """Know exactly the keys of *endpoints* from now on.

        Returns pairs of endpoints that share a key: such a key opens neither.
        """
        known: dict[bytes, Access] = {}
        shared: dict[bytes, tuple[str, str]] = {}
        for number, endpoint in enumerate(endpoints, 1):
            expires_at = _end_of(endpoint.options.expires)
            for text in endpoint.options.keys:
                digest = bytes.fromhex(text[7:])
                other = known.setdefault(digest, Access(endpoint, expires_at))
                if other.endpoint is not endpoint:
                    shared[digest] = (other.endpoint.name, endpoint.name)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        for digest in shared:
            del known[digest]
        self._known = known
        return list(shared.values())

    def find(self, authorization: bytes) -> Endpoint | None:
        """Return the endpoint that an Authorization header opens, if any."""
        if authorization[:7].lower() != _SCHEME:
            return None
        access = self._known.get(hashlib.sha256(authorization[7:].strip()).digest())
        if access is None or (access.expires_at is not None and self._now() >= access.expires_at):
            return None
        return access.endpoint


class Patience:
    """Counts failures by source: *limit* in *seconds*, then none is heard until the time is up."""

    def __init__(self, clock: Callable[[], float], limit: int = 20, seconds: float = 60.0) -> None:
        self._clock, self._limit, self._seconds = clock, limit, seconds
        self._failures: dict[str, int] = {}
        self._until = 0.0

    def fail(self, source: str) -> float:
        """Count a failure; return 0 while it is borne, else the seconds to wait."""
        now = self._clock()
        if now >= self._until:
            self._failures.clear()
            self._until = now + self._seconds
        if source not in self._failures and len(self._failures) >= 10_000:
            source = ""  # so many sources are one: somebody is trying
        self._failures[source] = count = self._failures.get(source, 0) + 1
        return 0.0 if count <= self._limit else self._until - now


class Gate:
    """Lets in who shows a good key."""

    def __init__(self, world: World) -> None:
        self.keys = Keys(world.now)
        self._patience = Patience(world.reactor.seconds)
        self._log = world.log

    def admit(self, scope: Any, headers: Mapping[bytes, bytes] | None = None) -> Endpoint:
        """Return the endpoint that the key of an ASGI request opens.

        Raises Problem: 401, or 429 for a source with too many of them. A good key is heard whatever else comes from
        its source, which may be a proxy that many share.
        """
        headers = dict(scope["headers"]) if headers is None else headers
        endpoint = self.keys.find(headers.get(b"authorization", b""))
        if endpoint is not None:
            return endpoint
        source = scope["client"][0] if scope["client"] else ""
        if seconds := self._patience.fail(source):
            raise throttled(seconds)
        self._log.warning("http_request.refused", source=source, code="SWX-8010")
        raise unauthorized()
