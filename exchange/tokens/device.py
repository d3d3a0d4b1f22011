"""What every kind of signing device is to the switch: settings, sessions, and faults that say who must act.

A device's library runs in a process of its own (``device_worker``), because such libraries crash, hang and hold on to
locks. There it is blocking code without an event loop: one ``Session`` for each thread. What goes wrong is a
``DeviceFault`` of one of four kinds, and what is doubtful ends the process: a fresh one starts from nothing, which
cures lost logins, dead handles and closed sessions alike.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Protocol

from pydantic import Field

from exchange.options import Location, Secret, Strict
from exchange.ports import SM2_ID

RETRY_OTHER: Final = "retry_other"  # the device: try another one, and this one later
FATAL_KEY: Final = "fatal_key"  # this key on this device: somebody must look; other keys go on
FATAL_CONFIG: Final = "fatal_config"  # the device's settings, its PIN: never tried again by itself
REQUEST: Final = "request"  # the job: it fails everywhere


class DeviceFault(Exception):
    """A device said no; *kind* is one of the four above, *code* the library's own, such as ``CKR_PIN_LOCKED``."""

    def __init__(self, kind: str, code: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.code, self.text = kind, code, text


class DeviceSettings(Strict):
    """What every kind of device is told; a kind adds its own."""

    kind: str = Field("", description="`pkcs11`, `sdf`, or one that a package of yours registers")
    sessions: int = Field(4, ge=1, le=256, description="jobs that it works on at once")
    priority: int = Field(1, description="the lowest number signs; others, when none of that can")
    timeout_seconds: float = Field(5.0, gt=0, description="for one job, after which its process is ended as hung")
    pin: Secret | None = Field(None, description="what it is opened with; a wrong one is tried once, never again")
    folder: Location | None = Field(None, description="where its process works: many a library has its settings there")


class Session(Protocol):
    """One thread's way to a device."""

    def sign(self, location: str, algorithm: str, data: bytes, sm2_id: bytes = SM2_ID) -> bytes:
        """Sign as ``ports.Token.sign`` has it. Raises DeviceFault."""

    def public_key(self, location: str, algorithm: str = "") -> bytes:
        """Return the public half, a DER SubjectPublicKeyInfo, of the key for *algorithm* there. Raises DeviceFault."""

    def logout(self) -> None:
        """Give up what a PIN gave: to see how the device bears it. Raises DeviceFault."""

    def login(self) -> None:
        """Show the PIN again after ``logout``. Raises DeviceFault."""


class Device(Protocol):
    """One kind of device; made, opened and used in its worker process alone."""

    Settings: ClassVar[type[DeviceSettings]]

    def __init__(self, settings: Any, pin: str) -> None: ...

    def look(self) -> list[dict[str, Any]]:
        """Load the library and tell what is there, without any PIN. Raises DeviceFault."""

    def open(self) -> dict[str, str]:
        """Load the library, find the device, log in; return what it says of itself. Raises DeviceFault, OSError."""

    def session(self) -> Session:
        """Open one more session. Raises DeviceFault."""
