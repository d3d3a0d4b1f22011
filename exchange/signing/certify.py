"""Certifying a vendor's library before a site goes live: a script of checks, and a report of them.

Every check uses the library just as the switch does, in worker processes of its own, so that one that crashes or hangs
is a result like any other. A check that needs what an earlier one found wrong isn't made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from attrs import define, field, frozen

from exchange.errors import ConfigurationError
from exchange.signing import _certify_texts, certificates
from exchange.signing._device_link import Link
from exchange.tokens.device import DeviceFault, DeviceSettings

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"
KINDS: Final = {  # of a key: what it signs with
    "rsa": ("rsa-sha256", "rsa-sha1"),
    "p256": ("ecdsa-sha256",),
    "sm2": ("sm2-sm3",),
}
SAMPLE: Final = bytes(range(256)) * 3  # about as large as a SignedInfo


class Broken(Exception):
    """A check failed; the text says what was seen."""


class Needless(Exception):
    """A check has nothing to check here; the text says why."""


@frozen
class Plan:
    """What is to be certified."""

    settings: DeviceSettings
    keys: Sequence[str]  # where they are: pkcs11:id=%01, sdf:3
    signatures: int = 1000
    slowest_ms: float = 100.0  # that the 95th of a hundred signatures may take
    wrong_pin: bool = False  # whether a wrong PIN may be tried, once


@define
class Key:
    """A key under test, and what is known of it by now."""

    place: str
    kind: str = ""
    public: Any = None
    signs: bool = False
    seconds: list[float] = field(factory=list)  # that each signature took

    @property
    def algorithm(self) -> str:
        """What it is tried with, where one will do."""
        return KINDS[self.kind][0]


@frozen
class Result:
    """How one check went."""

    check: str
    key: str  # where it is; empty where a check is about the device
    result: str  # passed | failed | not applicable
    seen: str

    def told(self) -> dict[str, Any]:
        """Tell it with the words for it, and with what to tell the vendor where it failed."""
        text = _certify_texts.TEXTS[self.check]
        told: dict[str, Any] = {"check": self.check, "key": self.key, "result": self.result, "seen": self.seen}
        told |= {"en": text.en, "zh": text.zh}
        if self.result == FAILED:
            told["vendor"] = {"en": text.vendor_en, "zh": text.vendor_zh}
        return told


@define
class Bench:
    """What the checks work with."""

    plan: Plan
    connect: Callable[[str, DeviceSettings, Callable[[str], None]], Link] = Link
    seen: list[dict[str, Any]] = field(factory=list)  # what the library shows without a PIN
    keys: list[Key] = field(factory=list)
    _kept: Link | None = None

    def link(self, **other: Any) -> Link:
        """Return a worker process that isn't started, with some settings other than the plan's."""
        return self.connect("certify", self.plan.settings.model_copy(update=other), lambda reason: None)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Link]:
        """Open the device with one session, or use the one that the last check left in order. Raises DeviceFault."""
        if self._kept is None:
            self._kept = self.link(sessions=1)
            try:
                await self._kept.start()
            except DeviceFault:
                self._kept = None
                raise
        try:
            yield self._kept
        except BaseException:
            self.close()
            raise

    @asynccontextmanager
    async def opened(self, sessions: int, **other: Any) -> AsyncIterator[Link]:
        """Open the device in a fresh process, the only one, and end that. Raises DeviceFault."""
        self.close()
        link = self.link(sessions=sessions, **other)
        try:
            await link.start()
            yield link
        finally:
            link.kill("the check is over")

    def close(self) -> None:
        """End the process that was left in order."""
        if self._kept is not None:
            self._kept.kill("the check is over")
        self._kept = None

    def usable(self) -> Key:
        """Return a key that signs. Raises Needless where there is none."""
        for key in self.keys:
            if key.signs:
                return key
        raise Needless("no key signs")


async def signed(link: Link, key: Key, data: bytes = SAMPLE, algorithm: str = "") -> bytes:
    """Return a signature that verifies. Raises DeviceFault, Broken."""
    algorithm = algorithm or key.algorithm
    value = await link.ask("sign", key.place, algorithm, data)
    if not certificates.stands(key.public, algorithm, value, data):
        raise Broken(f"a signature ({algorithm}, {len(data)} bytes) doesn't verify with the key's own public half")
    return value


def kind_of(public: Any) -> str:
    """Tell of which kind a public key is. Raises Broken."""
    try:
        return certificates.kind(public)
    except ConfigurationError as why:
        raise Broken(why.problems[0]) from None


Check = Callable[[Bench, Key], Awaitable[str]]  # returns what was seen; raises Broken, Needless, DeviceFault


async def certify(plan: Plan, script: Sequence[tuple[str, bool, Check]], bench: Bench | None = None) -> list[Result]:
    """Make every check of a script: (name, whether it is made of every key, check)."""
    bench = bench or Bench(plan)
    bench.keys = [Key(place) for place in plan.keys]
    results: list[Result] = []
    stopped = ""
    for name, of_each, check in script:
        for key in bench.keys if of_each else [Key("")]:
            result = (
                Result(name, key.place, NOT_APPLICABLE, stopped) if stopped else await _made(name, check, bench, key)
            )
            results.append(result)
        if name in ("loads", "opens") and results[-1].result == FAILED:
            stopped = f"'{name}' failed"
    bench.close()
    return results


async def _made(name: str, check: Check, bench: Bench, key: Key) -> Result:
    try:
        return Result(name, key.place, PASSED, await check(bench, key))
    except Needless as why:
        return Result(name, key.place, NOT_APPLICABLE, str(why))
    except Broken as why:
        return Result(name, key.place, FAILED, str(why))
    except DeviceFault as fault:
        return Result(name, key.place, FAILED, f"{fault.code}: {fault.text}")
    except ConfigurationError as why:  # the PIN's file isn't there
        return Result(name, key.place, FAILED, str(why))


def stands(results: Sequence[Result]) -> bool:
    """Tell whether every check that applies has passed."""
    return all(result.result != FAILED for result in results)


async def look(settings: DeviceSettings) -> list[dict[str, Any]]:
    """Tell what a library shows without a PIN. Raises DeviceFault."""
    return await Link("look", settings, lambda reason: None).look()
