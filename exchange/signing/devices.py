"""Signing devices (密码机), several for each key: the token for production.

In ``switchd.yaml``::

    token:
      kind: devices
      options:
        devices:
          hsm-a: {kind: pkcs11, module: /usr/lib/vendor/libpkcs11.so, token: A, pin: {credential: hsm-a}, sessions: 16}
          hsm-b: {kind: pkcs11, module: /usr/lib/vendor/libpkcs11.so, token: B, pin: {credential: hsm-b}, sessions: 16}
        keys:
          demo-shop: {certificate: keys/demo-shop.crt, at: {hsm-a: "pkcs11:id=%01", hsm-b: "pkcs11:id=%01"}}

Each device works in a process of its own. A job goes to the device with the fewest in flight, of those that are up,
have the key, and have the lowest ``priority``; when it fails there through the device's fault, it goes to the next
at once. Every signature is verified with the key's certificate before anybody sees it. The life of a device::

    DOWN --opened, keys compared, probe signed--> UP --process died, hung, said no--> DOWN
                               (opened again at once; after 1, 2, 4 .. 30 s where that fails, or doesn't last)
    DOWN --wrong PIN, bad module--> DISABLED          (until somebody has looked: a PIN is never tried twice)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, Final

import structlog

from exchange.errors import ConfigurationError, ExchangeError, NotFound, Refused, TokenError
from exchange.ports import SM2_ID, Job, Signature
from exchange.register import KeyVersion
from exchange.signing import certificates
from exchange.signing._device_link import Link
from exchange.signing._members import DEEP, Member
from exchange.signing._token_keys import DevicesSettings, Keys, unfit
from exchange.signing.certificates import Certificate
from exchange.tokens.device import FATAL_CONFIG, FATAL_KEY, REQUEST, RETRY_OTHER, DeviceFault

PROBE: Final = b"probe"
PATIENCE: Final = 2.0  # seconds that a job waits for a device to come up, before its message waits in the store
COMPARED: Final = 1000  # keys of a device up to which all are compared when it is opened; of more, each at first use
PROBED: Final = 16  # keys that a device is tried with, until one signs
PROBES: Final = ("sm2-sm3", "rsa-sha256", "ecdsa-sha256")


class Devices:
    """Signs with whatever device is up."""

    Settings = DevicesSettings

    def __init__(self, settings: DevicesSettings) -> None:
        self._sm2_every = settings.check_sm2_every
        self.members = {name: Member(name, one) for name, one in settings.devices.items()}
        self._keys = Keys(settings.keys, self.members)
        self._waiting: deque[asyncio.Future[None]] = deque()  # jobs that wait for room, or for a device to come up
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()
        self._closed = False

    async def open(self) -> None:
        """Open every device; those that don't open are tried again. Returns when each was tried once."""
        await asyncio.gather(*(self._open(member) for member in self.members.values()))

    async def close(self) -> None:
        """End every device's process."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for member in self.members.values():
            if member.link:
                member.link.kill("the switch stops")

    # -- keys ----------------------------------------------------------------------------------------------------

    def certificate(self, key: str) -> bytes:
        """Return the DER certificate of *key*. Raises TokenError, ConfigurationError."""
        return self._keys.certificate(key).der

    def learn(self, keys: Iterable[KeyVersion]) -> None:
        """See ``register.Learner``."""
        self._keys.learn(keys)

    def names(self) -> Sequence[str]:
        """See ``register.Learner``."""
        return self._keys.names()

    async def public_key(self, device: str, location: str) -> bytes:
        """See ``register.Holder``."""
        return await self._asked(device, "public_key", location)

    async def sign_at(self, device: str, location: str, algorithm: str, data: bytes) -> bytes:
        """See ``register.Holder``."""
        return await self._asked(device, "sign", location, algorithm, data, SM2_ID)

    async def _asked(self, device: str, *what: Any) -> bytes:
        member = self._named(device)
        try:
            if member.link is None:
                raise DeviceFault(RETRY_OTHER, member.state, f"it is {member.state} {member.why}".rstrip())
            return await member.link.ask(*what)
        except DeviceFault as fault:
            wrong = fault.kind in (FATAL_KEY, REQUEST)
            raise (Refused if wrong else TokenError)(f"{device}: {fault.text}", f"{device}：{fault.text}") from fault

    def _named(self, device: str) -> Member:
        if device in self.members:
            return self.members[device]
        raise NotFound(f"there is no device {device!r}", f"没有设备 {device!r}")

    # -- signing -------------------------------------------------------------------------------------------------

    ahead = 2_000

    @property
    def window(self) -> int:
        """How many jobs the devices that are up can be given; one where none is: whoever asks hears so."""
        return max(1, DEEP * self._sessions)

    @property
    def batch(self) -> int:
        """Few: those that are answered together wait for the slowest of them."""
        return max(1, self._sessions // 2)

    @property
    def _sessions(self) -> int:
        return sum(m.settings.sessions for m in self.members.values() if m.state == "UP")

    async def sign(self, jobs: Sequence[Job]) -> Sequence[Signature | Exception]:
        """Sign every job; the answers are in the order of the jobs."""
        return await asyncio.gather(*(self._sign(job) for job in jobs))

    async def _sign(self, job: Job) -> Signature | Exception:
        try:
            return await self._signed(job, self._keys.fitting(job))
        except ExchangeError as why:  # one job's failure is no failure of the batch
            return why

    async def _signed(self, job: Job, certificate: Certificate) -> Signature:
        tried: list[Member] = []
        faults: list[str] = []
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            member = await self._member(job.key, tried, faults)
            try:
                value = await self._by(member, job, certificate)
                return Signature(value, member.name, len(tried) + 1, int((clock() - began) * 1e6), verified=True)
            except DeviceFault as fault:
                tried.append(member)
                faults.append(f"{member.name}: {fault.text}")
                self._blame(member, job.key, fault, job)
            finally:
                self._let_in()

    async def _by(self, member: Member, job: Job, certificate: Certificate) -> bytes:
        """Let one device sign; what it says is only believed when it verifies."""
        assert member.link is not None  # noqa: S101
        place, every = self._keys.at(job.key)[member.name], self._sm2_every if job.algorithm == "sm2-sm3" else 1
        with member.timed(job.algorithm):
            value = await member.link.ask("sign", place, job.algorithm, job.data, job.sm2_id)
            member.signed[job.key] += 1
            if (member.signed[job.key] - 1) % every == 0 and not certificates.signed_by(
                certificate, job.algorithm, value, job.data, job.sm2_id
            ):
                text = f"its signature doesn't verify with certificate {certificate.serial}"
                raise DeviceFault(FATAL_KEY, "VERIFY", text)
            return value

    def _blame(self, member: Member, key: str, fault: DeviceFault, job: Job) -> None:
        """Note what a fault means for others: nothing, for the key on this device, or for the device."""
        if fault.kind == REQUEST:
            raise unfit(job, fault.text)
        if fault.kind == FATAL_KEY:
            self._set_aside(member, key, fault)
        if fault.kind == FATAL_CONFIG:
            self._disable(member, fault)

    def _set_aside(self, member: Member, key: str, fault: DeviceFault) -> None:
        if key not in member.without:
            member.without.add(key)
            self._log.error("device.refused_key", device=member.name, key=key, code=fault.code, text=fault.text)

    async def _member(self, key: str, tried: Sequence[Member], faults: Sequence[str]) -> Member:
        """Return the device that signs with *key* now; wait for one where all are busy, or coming up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while True:
            able = [m for name in self._keys.at(key) if key not in (m := self.members[name]).without and m not in tried]
            up = [m for m in able if m.state == "UP"]
            if up:
                first = min(m.settings.priority for m in up)
                free = [m for m in up if m.has_room and m.settings.priority == first]
                if free:
                    return min(free, key=lambda m: m.load)
            elif tried or not any(m.state == "DOWN" for m in able) or loop.time() >= end:
                raise self._unable(key, faults)
            await self._room(max(0.0, end - loop.time()) if not up else None)

    async def _room(self, seconds: float | None) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if seconds is None:
            return await turn
        await asyncio.wait([turn], timeout=seconds)
        if not turn.done():
            turn.cancel()
        return None

    def _let_in(self, everybody: bool = False) -> None:
        """Wake whoever has waited longest; or all, when a device has come or gone."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                if not everybody:
                    return

    def _unable(self, key: str, faults: Sequence[str]) -> TokenError:
        states = [f"{m.name} {m.state}{f' ({m.why})' if m.why else ''}" for m in self.members.values()]
        text = "; ".join([*faults, *states])
        return TokenError(
            f"no device can sign with key {key!r} now: {text}", f"目前没有设备可用密钥 {key!r} 签名：{text}"
        )

    # -- for people ----------------------------------------------------------------------------------------------

    def status(self) -> list[dict[str, Any]]:
        """Tell how each device is."""
        return [member.told() for member in self.members.values()]

    async def reopen(self, device: str) -> None:
        """Open a device anew, be it up, down or disabled: somebody has looked. Raises NotFound."""
        member = self._named(device)
        member.state = "DISABLED"  # so that its end is no alarm
        if member.link:
            member.link.kill("it is opened anew")
        member.state = "DOWN"
        await self._open(member)

    async def prove(self, member: Member, key: str) -> None:
        """Sign something with a key on one device. Raises DeviceFault, ExchangeError."""
        await self._by(member, self.probe(key), self._keys.certificate(key))

    @asynccontextmanager
    async def without(self, member: Member) -> AsyncIterator[None]:
        """Do for a while as if a device had died; whatever happens meanwhile, it is opened again at the end."""
        member.state, member.why = "DOWN", "it is out for a test"  # so that its end is no alarm
        if member.link:
            member.link.kill(member.why)
        self._let_in(everybody=True)
        try:
            yield
        finally:
            member.attempts = 0
            if opening := self._again(member):
                await asyncio.shield(opening)

    def keys_on(self, member: Member) -> list[str]:
        """Return the keys that are on a device."""
        return list(self._keys.on(member.name))

    # -- devices -------------------------------------------------------------------------------------------------

    async def _open(self, member: Member) -> None:
        """Open a device and let it prove itself; else try again later, or never where that would do harm."""
        async with member.opening:
            if member.state != "DOWN" or self._closed:  # somebody else was faster, or found that a PIN is wrong
                return None
            link = Link(member.name, member.settings, partial(self._lost, member))
            member.attempts += 1
            try:
                member.about = await link.start()
                member.link = link
                await self._prove(member)
            except (DeviceFault, ConfigurationError) as why:
                fault = why if isinstance(why, DeviceFault) else DeviceFault(FATAL_CONFIG, "SETTINGS", str(why))
                link.kill(fault.text)
                return self._not_opened(member, fault)
            except BaseException:  # the switch stops meanwhile
                link.kill("the switch stops")
                raise
            member.came_up()
        self._log.info("device.opened", device=member.name, **member.about)
        self._let_in(everybody=True)
        return None

    async def _prove(self, member: Member) -> None:
        """Compare its keys with the certificates, and sign with one of them: that a session opens proves nothing."""
        member.without.clear()
        member.signed.clear()
        keys = self.keys_on(member)
        if len(keys) <= COMPARED:
            window = member.settings.sessions * DEEP
            for start in range(0, len(keys), window):
                await asyncio.gather(*(self._compare(member, key) for key in keys[start : start + window]))
        for key in islice((key for key in keys if key not in member.without), PROBED):
            try:
                await self.prove(member, key)
            except DeviceFault as fault:
                if fault.kind in (RETRY_OTHER, FATAL_CONFIG):
                    raise
                self._set_aside(member, key, fault)
            else:
                return

    async def _compare(self, member: Member, key: str) -> None:
        """Set a key aside whose public half isn't the certificate's: two devices may hold two keys under one name."""
        assert member.link is not None  # noqa: S101
        certificate, place = self._keys.certificate(key), self._keys.at(key)[member.name]
        try:
            public = certificates.public_key(await member.link.ask("public_key", place, self.probe(key).algorithm))
        except DeviceFault as fault:
            if fault.kind == RETRY_OTHER:
                raise
            return  # some devices keep no public half: the first signature shows whose it is
        if not certificates.same(certificate.key, public):
            text = (
                f"the key at {place} is another one than that of certificate {certificate.serial}: have the same key"
                " in every device, or correct its place or its certificate"
            )
            self._set_aside(member, key, DeviceFault(FATAL_KEY, "OTHER_KEY", text))

    def probe(self, key: str) -> Job:
        """Return a job that shows whether a key can be used."""
        certificate = self._keys.certificate(key)
        return Job(key, next(a for a in PROBES if certificates.fits(certificate, a)), PROBE)

    def _not_opened(self, member: Member, fault: DeviceFault) -> None:
        if fault.kind == FATAL_CONFIG:
            return self._disable(member, fault)
        member.why = fault.text
        wait = member.patience()
        self._log.warning("device.not_opened", device=member.name, code=fault.code, text=fault.text, again_in=wait)
        self._again(member)
        return None

    def _disable(self, member: Member, fault: DeviceFault) -> None:
        if member.state == "DISABLED":
            return
        member.state, member.why = "DISABLED", fault.text
        self._log.error("device.disabled", device=member.name, code=fault.code, text=fault.text)
        if member.link:
            member.link.kill(fault.text)
        self._let_in(everybody=True)

    def _lost(self, member: Member, reason: str) -> None:
        """Its process is gone: jobs go elsewhere, and it is opened anew."""
        member.link = None
        if member.state != "UP" or self._closed:
            return
        member.went_down(reason)
        self._log.error("device.lost", device=member.name, text=reason)
        self._again(member)
        self._let_in(everybody=True)

    def _again(self, member: Member) -> asyncio.Task[None] | None:
        """Open a device again, after what it needs of patience."""

        async def later() -> None:
            await asyncio.sleep(member.patience())
            await self._open(member)

        if self._closed:
            return None
        task = asyncio.get_running_loop().create_task(later())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
