"""``hsm ...``: the signing devices, how they are, and whether they can be done without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exchange.errors import Refused
from exchange.signing import trials
from exchange.verbs import Verb

if TYPE_CHECKING:
    from exchange.service import Daemon


class Devices:
    """The verbs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def verbs(self) -> dict[str, Verb]:
        """Return the verbs by name."""
        return {
            "hsm.status": self.status,
            "hsm.selftest": self.selftest,
            "hsm.open": self.open,
            "hsm.failover_test": self.failover_test,
        }

    async def status(self) -> list[dict[str, Any]]:
        """List the signing devices."""
        status: list[dict[str, Any]] = self._devices().status()
        return status

    async def selftest(self) -> list[dict[str, Any]]:
        """Sign with every key on every device that is up."""
        return await trials.selftest(self._devices())

    async def open(self, device: str, reason: str, actor: str) -> list[dict[str, Any]]:
        """Open a device anew, such as one that was disabled; tell how it is now."""
        self._daemon.log.info("device.reopened", device=device, actor=actor, reason=reason)
        await self._devices().reopen(device)
        return [row for row in await self.status() if row["device"] == device]

    async def failover_test(self, reason: str, actor: str) -> list[dict[str, Any]]:
        """Do without one device after the other, and tell whether the others sign with its keys."""
        token = self._devices()
        self._daemon.log.warning("device.test_begun", actor=actor, reason=reason)
        told = await trials.failover(token)
        stands = all(row["stands"] for row in told)
        self._daemon.log.warning("device.test_ended", actor=actor, stands=stands)
        return told

    def _devices(self) -> Any:
        token = self._daemon.token
        if not hasattr(token, "members"):
            en = "this switch signs without devices: switchctl sign status tells about its token"
            raise Refused(en, "本交换机未使用密码设备签名：其密钥情况见 switchctl sign status")
        return token
