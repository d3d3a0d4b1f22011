"""One device as its token sees it: how it is, what it has signed, and how fast."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from attrs import define, field

from exchange.signing._device_link import Link
from exchange.signing.latency import percentiles
from exchange.tokens.device import DeviceFault, DeviceSettings

DEEP: Final = 4  # jobs in flight for each session: one at work, the others ready when the switch is busy elsewhere
LONGEST: Final = 30.0  # seconds between attempts to open a device
STEADY: Final = 30.0  # seconds that a device must stay up to be opened again at once
REMEMBERED: Final = 1000  # signatures whose times are shown to people
RECENT: Final = 10.0  # seconds over which a rate is told

Observe = Callable[[str, str, str, float], None]  # device, algorithm, result code, seconds


@define(eq=False)
class Member:
    """One device as the token sees it."""

    name: str
    settings: DeviceSettings
    state: str = "DOWN"  # UP | DOWN | DISABLED
    why: str = ""
    about: Mapping[str, str] = field(factory=dict)
    link: Link | None = None
    without: set[str] = field(factory=set)  # keys that it can't sign with
    signed: Counter[str] = field(factory=Counter)  # with each key, since it was opened
    attempts: int = 0  # to open it, since it last stayed up
    opened: int = 0  # how often it came up
    opening: asyncio.Lock = field(factory=asyncio.Lock)
    observe: Observe | None = None
    _up_since: float = 0.0
    _recent: deque[tuple[float, float]] = field(factory=lambda: deque(maxlen=REMEMBERED))  # when, seconds

    @property
    def in_flight(self) -> int:
        """Jobs that it has."""
        return self.link.in_flight if self.link else 0

    @property
    def load(self) -> float:
        """Jobs in flight, for each session."""
        return self.in_flight / self.settings.sessions

    @property
    def has_room(self) -> bool:
        """Tell whether it may be given another job."""
        return self.load < DEEP

    # -- coming and going ----------------------------------------------------------------------------------------

    def came_up(self) -> None:
        """Note that it is open and has proved itself."""
        self.state, self.why = "UP", ""
        self.opened += 1
        self._up_since = time.monotonic()

    def went_down(self, reason: str) -> None:
        """Note that it is lost; one that stayed up for a while begins its attempts anew."""
        self.state, self.why = "DOWN", reason
        if time.monotonic() - self._up_since > STEADY:
            self.attempts = 0

    def patience(self) -> float:
        """Return the seconds before the next attempt to open it: 0, 1, 2, 4 .. 30."""
        return min(LONGEST, 2.0 ** (self.attempts - 1)) if self.attempts else 0.0

    # -- signing -------------------------------------------------------------------------------------------------

    @contextmanager
    def timed(self, algorithm: str) -> Iterator[None]:
        """Note how long one signature takes, and how it ends."""
        began, code = time.monotonic(), "OK"
        try:
            yield
        except DeviceFault as fault:
            code = fault.code
            raise
        except BaseException:
            code = "NONE"  # nobody waited for it
            raise
        finally:
            seconds = time.monotonic() - began
            if code == "OK":
                self._recent.append((began + seconds, seconds))
            if self.observe:
                self.observe(self.name, algorithm, code, seconds)

    def told(self) -> dict[str, Any]:
        """Tell how it is."""
        return {
            "device": self.name,
            "state": self.state,
            "why": self.why,
            "priority": self.settings.priority,
            "sessions": self.settings.sessions,
            "in_flight": self.in_flight,
            "signed": self.signed.total(),
            "opened": self.opened,
            "per_second": self._rate(),
            **percentiles(seconds for _, seconds in self._recent),
            "refused_keys": sorted(self.without),
            "about": dict(self.about),
        }

    def _rate(self) -> float:
        """Return the signatures a second of late."""
        now = time.monotonic()
        lately = [at for at, _ in self._recent if now - at < RECENT]
        span = now - lately[0] if len(lately) == REMEMBERED else RECENT
        return round(len(lately) / max(span, 1e-3), 1)
