"""A whole daemon inside the test: real store, catalogue and signing, a home of its own, a clock that can be moved.

The parties of ``ROUTES`` have endpoints in memory; what the far side of one does is for the test to say (``far``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field

from adapters.memory import Memory
from exchange import settings
from exchange.control import Control
from exchange.instants import SECOND, Instant, read_id
from exchange.model import Endpoint, Parcel
from exchange.observability import recorded
from exchange.service import Daemon
from tests import pki
from tests.crash import parcels

__all__ = [
    "NOON",
    "ROUTES",
    "SAMPLES",
    "Clock",
    "House",
    "Stuck",
    "answer",
    "inventory",
    "order",
    "padded",
    "running",
    "switchd_yaml",
]

NOON = 1_795_320_000 * SECOND  # 2026-11-22T12:00:00+08:00
SAMPLES = parcels.SAMPLES
PERSONAL = ("测试甲", "110101190001010000", "测试省测试市", "TEST-BUYER")  # of the samples: no log may hold them
ROUTES = """
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001]
    signing_key: p256
    endpoints: [{name: ent1-box, kind: memory}]
  - code: ENT2
    role: enterprise
    ids: [DXPENT0000000002]
    endpoints: [{name: ent2-box, kind: memory}]
  - code: CUSTOMS
    role: customs
    endpoints: [{name: customs-queue, kind: memory}]
routes:
  - {name: orders, match: {type: CEB311Message}, to: [customs-queue]}
  - {name: inventories, match: {type: CEB621Message}, to: [customs-queue], sign: ecdsa-sha256}
"""

# -- what peers hand in ------------------------------------------------------------------------------------------


def order(number: int, sender: int = 1, mark: str = "") -> bytes:
    """Return an import order; *mark* (three digits) makes other GUIDs for the same order number."""
    text = parcels.order(number, sender)
    return (text.replace("4000-8000", f"4000-8{mark}").replace("4000-8001", f"4000-9{mark}") if mark else text).encode()


def inventory(number: int, sender: int = 1) -> bytes:
    """Return an import inventory that nobody has signed."""
    text = (SAMPLES / "CEB621Message--minimal.xml").read_text("utf-8")
    text = re.sub(r"\s*<ds:Signature .+</ds:Signature>", "", text, flags=re.DOTALL)
    text = re.sub(r'guid="[^"]+"', f'guid="00000000-0000-4000-8100-{number:012d}"', text, count=1)
    text = re.sub(r"<ceb:guid>[^<]+<", f"<ceb:guid>00000000-0000-4000-8101-{number:012d}<", text)
    return text.replace("DXPENT0000000001", f"DXPENT{sender:010d}").encode()


def answer(*numbers: int, code: str = "120", own: int = 0) -> bytes:
    """Return a receipt of customs with one record for each order; *own* makes another receipt of it."""
    text = parcels.receipt(*numbers).replace(">120<", f">{code}<")
    return text.replace("4000-8002-", f"4000-82{own:02d}-").encode()


def padded(body: bytes, size: int) -> bytes:
    """Return *body* with comments behind it: *size* bytes of XML that can be read."""
    comment = b"<!--" + b"." * (1024 * 1024 - 7) + b"-->"  # libxml2 refuses a text over 10 MB
    comments, rest = divmod(size - len(body), len(comment))
    return body + comment * comments + b" " * rest


# -- the house ---------------------------------------------------------------------------------------------------

Far = dict[str, Exception | Callable[[Parcel], Awaitable[None]]]  # endpoint -> what its peer does; else it takes all


@define
class House:
    """A running daemon and short ways to use it."""

    daemon: Daemon
    control: Control
    events: list[dict[str, Any]]
    clock: Clock
    far: Far

    @property
    def memory(self) -> Memory:
        """The adapter of endpoints in memory."""
        adapter: Any = self.daemon.adapters["memory"]
        return adapter  # type: ignore[no-any-return]

    @property
    def switch(self) -> Any:
        """The room that takes, sorts and sends."""
        return self.daemon.switch

    async def give(self, endpoint: str, body: bytes, name: str = "a.xml") -> str:
        """Hand a parcel in as the peer of an endpoint in memory; return its id."""
        return await self.memory.give(endpoint, Parcel(name, body))

    async def together(self, *bodies: bytes, endpoint: str = "ent1-box") -> list[str]:
        """Hand in parcels so that they are sorted in one batch; return their ids in the order of arrival."""
        return sorted(await asyncio.gather(*(self.give(endpoint, body) for body in bodies)), key=read_id)

    async def until(self, happened: Callable[[], Any], seconds: float = 20.0) -> None:
        """Wait until something has happened."""
        async with asyncio.timeout(seconds):
            while not happened():  # noqa: ASYNC110 - anything may be waited for
                await asyncio.sleep(0.002)

    async def until_logged(self, event: str, times: int = 1) -> None:
        """Wait until an event was logged so many times."""
        await self.until(lambda: len(self.logged(event)) >= times)

    async def settle(self, seconds: float = 20.0) -> None:
        """Wait until everything taken is decided and everything due is sent."""
        async with asyncio.timeout(seconds):
            quiet = 0
            while quiet < 3:
                await asyncio.sleep(0.004)
                waiting = self.switch.sending.waiting()
                quiet = quiet + 1 if not self.switch.undecided and not any(n for n, _ in waiting.values()) else 0

    async def decided(self) -> None:
        """Wait until everything taken is decided, whatever can't be sent."""
        await self.until(lambda: not self.switch.undecided)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and let happen what is due then."""
        self.clock.move(seconds)
        await self.daemon.chores.look_at_deadlines()
        self.switch.sending.resume()

    def kill(self) -> None:
        """Lose everything that is only in memory, as kill -9 does; then leave the block."""
        self.switch.sending._stopping = True
        for task in (*self.switch._tasks, *self.switch.signing._tasks, *self.switch.sending._tasks):
            task.cancel()

    async def ask(self, verb: str, /, actor: str = "zhang", **arguments: Any) -> Any:
        """Do what switchctl would."""
        return await self.control(verb, arguments, actor)

    async def change(self, verb: str, /, *ids: str, **more: Any) -> Any:
        """Hold, release, resend, requeue or discard messages."""
        return await self.ask("message.change", verb=verb, ids=ids, reason="asked by phone", **more)

    async def life(self, id: str) -> dict[str, Any]:
        """Return the life of a message, as the store tells it."""
        life: dict[str, Any] = await self.daemon.store.life(read_id(id))
        return life

    async def state(self, id: str) -> str:
        """Return the state of a message."""
        return (await self.life(id))["state"]  # type: ignore[no-any-return]

    async def states(self, *ids: str) -> list[str]:
        """Return the states of messages."""
        return [await self.state(id) for id in ids]

    async def told(self, id: str, event: str) -> list[dict[str, Any]]:
        """Return the journal lines of one event of a message."""
        return [line for line in (await self.life(id))["journal"] if line["event"] == event]

    def trip(self, verb: str, *errors: Exception | None) -> None:
        """Let the next calls of a verb of the store fail with these errors, before anything is done; None passes."""
        plan = list(errors)
        asked = getattr(self.daemon.store, verb)

        async def tripped(*values: Any, **more: Any) -> Any:
            if plan and (why := plan.pop(0)) is not None:
                raise why
            return await asked(*values, **more)

        setattr(self.daemon.store, verb, tripped)

    def gate(self, verb: str) -> Gate:
        """Keep what a verb of the store answers back until the gate is opened."""
        gate, asked = Gate(), getattr(self.daemon.store, verb)

        async def gated(*values: Any, **more: Any) -> Any:
            answer = await asked(*values, **more)
            gate.waiting += 1
            await gate.opened.wait()
            return answer

        setattr(self.daemon.store, verb, gated)
        return gate

    async def orders(self, *numbers: int) -> list[str]:
        """Hand in orders, one after the other; return their ids once they are decided."""
        ids = [await self.give("ent1-box", order(n)) for n in numbers]
        await self.decided()
        return ids

    async def hold_endpoint(self, endpoint: str, state: str = "held") -> None:
        """Hold an endpoint, or resume it where *state* is empty."""
        await self.ask("endpoint.hold", name=endpoint, state=state, reason="works on the line")

    async def delivery(self, id: str, endpoint: str = "customs-queue") -> dict[str, Any]:
        """Return what became of a message at an endpoint."""
        found: list[dict[str, Any]] = [d for d in (await self.life(id))["deliveries"] if d["endpoint"] == endpoint]
        return found[0]

    def numbers(self, endpoint: str = "customs-queue") -> list[int]:
        """Return the order numbers in what was sent to an endpoint, in the order of sending."""
        found = [re.search(rb"orderNo>ORDER-(\d+)<", parcel.read()) for parcel in self.sent(endpoint)]
        return [int(match[1]) for match in found if match]

    def sent(self, endpoint: str) -> list[Parcel]:
        """Return what was sent to an endpoint in memory."""
        return [parcel for name, parcel in self.memory.sent if name == endpoint]

    def names(self, endpoint: str) -> list[str]:
        """Return the names of what was sent to an endpoint in memory."""
        return [parcel.name for parcel in self.sent(endpoint)]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [line for line in self.events if line["event"] == event]


@define
class Clock:
    """A clock that stands until it is moved, or goes on by a step at every look."""

    at: Instant = NOON
    step: int = field(default=0)

    def __call__(self) -> Instant:
        self.at += self.step
        return self.at

    def move(self, seconds: float) -> None:
        """Move on, or back."""
        self.at += int(seconds * SECOND)


class Gate:
    """Where answers of the store wait; *waiting* counts those that came."""

    def __init__(self) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()


class Stuck:
    """A far side that takes nothing, and keeps everybody waiting until it is let go."""

    def __init__(self) -> None:
        self.waiting: list[Parcel] = []
        self._go = asyncio.Event()

    async def __call__(self, parcel: Parcel) -> None:
        self.waiting.append(parcel)
        await self._go.wait()

    def let_go(self) -> None:
        """Take what waits, and everything else at once."""
        self._go.set()


class _Adapters(dict[str, Any]):
    """The adapters of a daemon, where the far side of an endpoint in memory does as the test says."""

    def __init__(self, far: Far) -> None:
        super().__init__()
        self._far = far

    def __setitem__(self, kind: str, adapter: Any) -> None:
        if kind == "memory":
            taking = adapter.send

            async def send(endpoint: Endpoint, parcel: Parcel) -> None:
                does = self._far.get(endpoint.name)
                if isinstance(does, Exception):
                    raise does
                if does is not None:
                    await does(parcel)
                await taking(endpoint, parcel)

            adapter.send = send
        super().__setitem__(kind, adapter)


def switchd_yaml(
    store: str = "reserve_bytes: 0", limits: str = "", more: str = "", *, dual_control: bool = False
) -> str:
    """Return the text of switchd.yaml; *store* and *limits* are what stands in these sections."""
    return (
        f"monitor: {{port: 0}}\nstore: {{{store}}}\nlimits: {{{limits}}}\n"
        f"token: {{allow_software_keys: true, options: {{folder: {pki.shared()}}}}}\n"
        f"signing: {{dual_control: {'true' if dual_control else 'false'}}}\n{more}"
    )


def write_home(home: Path, routes: str, switchd: str = "") -> Path:
    """Write the two files of an installation; return the path of switchd.yaml."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "routes.yaml").write_text(routes, "utf-8")
    (home / "switchd.yaml").write_text(switchd or switchd_yaml(), "utf-8")
    return home / "switchd.yaml"


@asynccontextmanager
async def running(
    home: Path, routes: str = ROUTES, switchd: str = "", clock: Clock | None = None, far: Far | None = None
) -> AsyncIterator[House]:
    """Run a daemon at *home*; the same home is the same store. Its log must hold nothing personal."""
    from twisted.internet import reactor

    installation = settings.load(write_home(home, routes, switchd))
    log, events = recorded()
    clock, far = clock or Clock(), {} if far is None else far
    daemon = Daemon(installation, reactor, clock, log, adapters=_Adapters(far))
    try:
        await daemon.start()
        yield House(daemon, Control(daemon), events, clock, far)
    finally:
        await daemon.stop()
    text = orjson.dumps(events, default=str).decode()
    assert [word for word in PERSONAL if word in text] == []
