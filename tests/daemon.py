"""A whole daemon inside the test: real store, catalogue and signing, a home of its own, a clock that can be moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from exchange import settings
from exchange.control import Control
from exchange.model import SECOND, Instant, Parcel
from exchange.observability import recorded
from exchange.service import Daemon
from tests import pki

NOON = 1_795_320_000 * SECOND  # 2026-11-22T12:00:00+08:00


@define
class House:
    """A running daemon and short ways to use it."""

    daemon: Daemon
    control: Control
    events: list[dict[str, Any]]
    clock: Clock

    @property
    def memory(self) -> Any:
        """The adapter of endpoints in memory."""
        return self.daemon.adapters["memory"]

    async def give(self, endpoint: str, body: bytes, name: str = "a.xml") -> str:
        """Hand a parcel in as the peer of an endpoint in memory; return its id."""
        return await self.memory.give(endpoint, Parcel(name, body))  # type: ignore[no-any-return]

    async def settle(self, seconds: float = 20.0) -> None:
        """Wait until everything taken is decided and everything due is sent."""
        switch = self.daemon.switch
        async with asyncio.timeout(seconds):
            quiet = 0
            while quiet < 3:
                await asyncio.sleep(0.004)
                waiting = switch.sending.waiting()
                quiet = quiet + 1 if not switch.undecided and not any(n for n, _ in waiting.values()) else 0

    async def ask(self, verb: str, actor: str = "zhang", **arguments: Any) -> Any:
        """Do what switchctl would."""
        return await self.control(verb, arguments, actor)

    async def state(self, id: str) -> str:
        """Return the state of a message."""
        return (await self.ask("message.show", id=id))["state"]  # type: ignore[no-any-return]

    def sent(self, endpoint: str) -> list[Parcel]:
        """Return what was sent to an endpoint in memory."""
        return [parcel for name, parcel in self.memory.sent if name == endpoint]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [line for line in self.events if line["event"] == event]


@define
class Clock:
    """Real time moved by an offset, or standing still."""

    at: Instant = NOON
    step: int = field(default=0)  # added at every look

    def __call__(self) -> Instant:
        self.at += self.step
        return self.at

    def move(self, seconds: float) -> None:
        """Move on, or back."""
        self.at += int(seconds * SECOND)


def write_home(home: Path, routes: str, switchd: Mapping[str, Any] | str = "") -> Path:
    """Write the two files of an installation with the test keys beside them; return the path of switchd.yaml."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "routes.yaml").write_text(routes, "utf-8")
    keys = pki.shared()
    text = switchd or (
        f"monitor: {{port: 0}}\nstore: {{reserve_bytes: 0}}\n"
        f"token: {{allow_software_keys: true, options: {{folder: {keys}}}}}\n"
    )
    (home / "switchd.yaml").write_text(str(text), "utf-8")
    return home / "switchd.yaml"


@asynccontextmanager
async def running(home: Path, routes: str, switchd: str = "", clock: Clock | None = None) -> AsyncIterator[House]:
    """Run a daemon at *home*; the same home is the same store."""
    from twisted.internet import reactor

    installation = settings.load(write_home(home, routes, switchd))
    log, events = recorded()
    clock = clock or Clock()
    daemon = Daemon(installation, reactor, clock, log)
    try:
        await daemon.start()
        yield House(daemon, Control(daemon), events, clock)
    finally:
        await daemon.stop()
