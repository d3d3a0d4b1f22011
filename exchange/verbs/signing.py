"""``sign ...``: the signing queue, the signing log, and a signature to see whether it works."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from exchange.errors import BadSignature, ExchangeError
from exchange.instants import show_instant
from exchange.signing import formats
from exchange.signing.latency import percentiles
from exchange.signing.sealing import Seal, Sealed
from exchange.signing.service import Work
from exchange.signinglog import Row
from exchange.verbs import Verb, message_id

if TYPE_CHECKING:
    from exchange.service import Daemon

TEST: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n<SigningTest>switchctl sign test</SigningTest>\n'
NOBODY: Final = "switchctl"  # who such a signature is for, in the queue and in the log
PAGE: Final = 1000  # rows looked at together
SCAN: Final = 50_000  # rows looked at for one page of a list
NEWEST: Final = 1 << 62


class Signing:
    """The verbs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def verbs(self) -> dict[str, Verb]:
        """Return the verbs by name."""
        return {"sign.status": self.status, "sign.queue": self.queue, "sign.log": self.log, "sign.test": self.test}

    async def status(self) -> dict[str, Any]:
        """Tell with which keys the token can't sign, how much waits for it, and what it did lately."""
        daemon = self._daemon
        told = daemon.signing.status()
        parties = told.pop("parties")
        rows = await daemon.store.operations(before=NEWEST, limit=PAGE)
        asked = daemon.installation.settings.token
        return {
            "token": asked.kind,
            "production": asked.kind != "software",
            **told,
            "parties_waiting": len(parties),
            "last_number": rows[0].number if rows else 0,
            "last_at": show_instant(rows[0].operation.at) if rows else "",
            **_lately(rows),
        }

    async def queue(self) -> list[dict[str, Any]]:
        """List who waits for signatures, the most first."""
        parties: list[dict[str, Any]] = self._daemon.signing.status()["parties"]
        return parties

    async def log(
        self,
        message: str = "",
        party: str = "",
        key: str = "",
        device: str = "",
        failed: bool = False,
        before: int = 0,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """List rows of the signing log, newest first: of a message, or those that fit the filters."""
        store = self._daemon.store
        if message:
            return [shown(row) for row in reversed(await store.operations(message=message_id(message)))]
        found: list[Row] = []
        before, seen = before or NEWEST, 0
        while len(found) < limit and seen < SCAN and (rows := await store.operations(before=before, limit=PAGE)):
            wanted = {"party": party, "key": key, "device": device}
            found += [row for row in rows if _fits(row, wanted, failed)]
            before, seen = rows[-1].number, seen + len(rows)
        return [shown(row) for row in found[:limit]]

    async def test(self, profile: str, key: str) -> dict[str, Any]:
        """Sign a small document with a key, through the queue, and verify it."""
        known = self._daemon.profiles.named(profile)
        began = perf_counter()
        result = await sealed(self._daemon, "test", Seal(TEST, None, known, key))
        took = perf_counter() - began
        told: dict[str, Any] = {"profile": profile, "key": key, "milliseconds": round(took * 1000, 1)}
        if result.error is not None or result.operation is None:
            why = result.error or ExchangeError("the token wasn't asked")
            return told | {"stands": False, "code": why.code, "en": why.en, "zh": why.zh}
        operation = result.operation
        told |= {"device": operation.device, "serial": operation.serial, "attempts": operation.attempts}
        certificate = self._daemon.token.certificate(operation.key)
        try:
            formats.verify(
                result.body,
                profiles=[known],
                certificates=[certificate],
                at=self._daemon.now(),
                content=TEST if known.detached else None,
            )
        except BadSignature as why:
            return told | {"stands": False, "code": why.code, "en": why.en, "zh": why.zh}
        return told | {"stands": True}


async def sealed(daemon: Daemon, job: str, asked: Seal) -> Sealed:
    """Sign what no party asked for, through the queue, and write it into the log."""
    done: asyncio.Future[Sealed] = asyncio.get_running_loop().create_future()

    def finished(work: Work) -> None:
        if not done.done():
            done.set_result(work.results[0])

    daemon.signing.submit(Work(job, NOBODY, [asked], finished, express=True, patient=False))
    result = await done
    if result.operation is not None:
        await daemon.store.log([result.operation])
    return result


def shown(row: Row) -> dict[str, Any]:
    """Write a row for people and programs."""
    one = row.operation
    return {
        "number": row.number,
        "at": show_instant(one.at),
        "job": one.job,
        "party": one.party,
        "profile": one.profile,
        "key": one.key,
        "serial": one.serial,
        "device": one.device,
        "code": one.code,
        "microseconds": one.microseconds,
        "attempts": one.attempts,
        "digest": one.digest.hex(),
        "signature": one.signature.hex(),
        "link": row.link.hex(),
    }


def _fits(row: Row, wanted: Mapping[str, str], failed: bool) -> bool:
    one = row.operation
    return all(value in ("", getattr(one, name)) for name, value in wanted.items()) and (not failed or bool(one.code))


def _lately(rows: list[Row]) -> dict[str, Any]:
    """Tell of the newest rows how fast and how well they were signed."""
    good = [row.operation.microseconds / 1e6 for row in rows if not row.operation.code]
    span = (rows[0].operation.at - rows[-1].operation.at) / 1e6 if rows else 0.0
    return {
        "lately": len(rows),
        "lately_failed": len(rows) - len(good),
        "per_second": round(len(rows) / span, 1) if span else 0.0,
        **(percentiles(good) or dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"))),
    }
