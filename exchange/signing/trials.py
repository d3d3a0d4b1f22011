"""Trying the devices of a running switch: every key on every device, and doing without one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from exchange.errors import ExchangeError, Refused
from exchange.signing._members import Member
from exchange.signing.devices import Devices
from exchange.tokens.device import DeviceFault

AT_ONCE: Final = 64  # keys signed with at once
TRIED: Final = 1000  # keys of a device that a fail-over test tries
TOLD: Final = 5  # errors of a device that are told


async def selftest(token: Devices) -> list[dict[str, Any]]:
    """Sign with every key on every device that is up, and verify; keys that stand are used again."""
    return [await _tested(token, member, key) for member in _up(token) for key in token.keys_on(member)]


async def _tested(token: Devices, member: Member, key: str) -> dict[str, Any]:
    began = time.monotonic()
    told = {"device": member.name, "key": key}
    try:
        await token.prove(member, key)
    except (DeviceFault, ExchangeError) as why:
        return told | {"stands": False, "why": str(why)}
    member.without.discard(key)
    return told | {"stands": True, "milliseconds": _since(began)}


async def failover(token: Devices) -> list[dict[str, Any]]:
    """End one device's process after the other, sign with its keys on the others, and open it again.

    Raises Refused while fewer than two are up: then nobody could sign meanwhile.
    """
    up = _up(token)
    if len(up) < 2:
        raise Refused(
            f"a fail-over test takes devices out, and only {len(up)} is up: bring up another one first",
            f"切换测试需要依次停用设备，而目前只有 {len(up)} 台可用：请先恢复其他设备",
            code="SWX-7051",
        )
    return [await _done_without(token, member) for member in up]


async def _done_without(token: Devices, member: Member) -> dict[str, Any]:
    """Take one device out and bring it back; tell how the others did."""
    others = [other for other in _up(token) if other is not member]
    told: dict[str, Any] = {"device": member.name, "signed": 0, "errors": [], "others": [o.name for o in others]}
    if not others:
        return told | {"stands": False, "why": "no other device is up any more: it was left alone"}
    keys = token.keys_on(member)[:TRIED]
    able = [key for key in keys if any(key in token.keys_on(o) and key not in o.without for o in others)]
    errors = [f"{key}: no other device has it" for key in keys if key not in set(able)]
    began = time.monotonic()
    try:
        async with token.without(member):
            for batch in _batches(able):
                values = await token.sign([token.probe(key) for key in batch])
                failed = [f"{key}: {v}" for key, v in zip(batch, values, strict=True) if isinstance(v, Exception)]
                told["signed"] += len(batch) - len(failed)
                errors += failed
            told["milliseconds"] = _since(began)
            back = time.monotonic()
    except ExchangeError as why:
        return told | {"stands": False, "why": str(why)}
    told |= {"errors": errors[:TOLD], "failed": len(errors), "back_milliseconds": _since(back)}
    told["why"] = "" if member.state == "UP" else f"it is not back: {member.why}"
    return told | {"stands": not errors and not told["why"]}


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from (keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE))


def _up(token: Devices) -> list[Member]:
    return [member for member in token.members.values() if member.state == "UP"]


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1e3, 1)
