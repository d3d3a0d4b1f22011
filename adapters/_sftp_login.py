# mypy: disallow-untyped-calls=False
# ruff: noqa: N802, N815  # Twisted calls us in camelCase
"""Who may come in over SSH: public keys, and passwords where the endpoint has one.

A user that doesn't exist is treated as one whose key or password is wrong, and takes as long.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.conch.error import IgnoreAuthentication
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.keys import BadKeyError, Key
from twisted.conch.ssh.userauth import (
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_PK_OK,
    MSG_USERAUTH_REQUEST,
    SSHUserAuthServer,
)
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred

from adapters._sftp_keys import ALGORITHMS, SHORTEST_RSA, key_blob
from adapters._sftp_quiet import QUIET
from exchange.model import Endpoint

FAILURES: Final = 5  # wrong passwords from one source ...
WITHIN_SECONDS: Final = 60.0  # ... in this time, and it is refused for as long
SOURCES: Final = 10_000  # remembered before the old ones are forgotten
HASHING: Final = 2  # passwords checked at once; each takes memory by the tens of megabytes
DECOY: Final = f"$argon2id$v=19$m=65536,t=3,p=4${'A' * 22}${'A' * 43}"  # what nobody's password hashes to
WAITING: Final = 64  # passwords waiting to be checked, before more are refused unread


class Attempts:
    """Counts wrong passwords by where they come from; *clock* gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}

    def blocked(self, source: str) -> bool:
        """Tell whether a source must wait."""
        times = self._failed.get(source)
        if times is None or len(times) < FAILURES:
            return False
        return times[-1] - times[0] <= WITHIN_SECONDS and self._clock() - times[-1] < WITHIN_SECONDS

    def fail(self, source: str) -> None:
        """Count a wrong password."""
        now = self._clock()
        self._failed.setdefault(source, deque(maxlen=FAILURES)).append(now)
        if len(self._failed) > SOURCES:
            self._failed = {each: times for each, times in self._failed.items() if now - times[-1] < WITHIN_SECONDS}


class Door:
    """Knows who may come in: users, their keys, and how often somebody guessed."""

    def __init__(self, clock: Callable[[], float], log: Any) -> None:
        self.users: Mapping[bytes, Endpoint] = {}
        self._attempts = Attempts(clock)
        self._log = log
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(HASHING, "sftp-password")
        self._turn = asyncio.Semaphore(HASHING)
        self._waiting = 0

    def knows(self, user: bytes, algorithm: bytes, blob: bytes) -> bool:
        """Tell whether the key is one of the user's and may sign with the algorithm."""
        lines = self.users[user].options.keys if user in self.users else ()
        return algorithm in ALGORITHMS and blob in {key_blob(line) for line in lines}

    async def accepts(self, user: bytes, password: bytes, source: str) -> bool:
        """Tell whether the password is the user's; raises UnauthorizedLogin where it isn't even looked at."""
        if self._waiting >= WAITING:
            raise UnauthorizedLogin("too many passwords at once")
        self._waiting += 1
        try:
            async with self._turn:
                if self._attempts.blocked(source):
                    raise UnauthorizedLogin("too many wrong passwords from this address")
                known = self.users.get(user)
                secret = known.options.password.argon2 if known and known.options.password else ""
                loop = asyncio.get_running_loop()
                right = await loop.run_in_executor(self._threads, self._verify, secret or DECOY, password)
        finally:
            self._waiting -= 1
        if not (right and secret):
            self._attempts.fail(source)
        return bool(right and secret)

    def refused(self, user: bytes, source: str, method: str, reason: str) -> None:
        """Log that somebody didn't come in."""
        name = user.decode(errors="replace")[:64]
        self._log.warning("sftp.login_refused", user=name, source=source, method=method, reason=reason)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, secret: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(secret, password)
        except (VerificationError, InvalidHashError):
            return False


class Login(SSHUserAuthServer):
    """The ssh-userauth service of one connection."""

    _log = QUIET
    attemptsBeforeDisconnect = 10
    transport: Any
    _cancelLoginTimeout: Any

    def serviceStarted(self) -> None:
        """See Conch; there is no portal, and whoever takes too long is hung up on by the server."""
        self.authenticatedWith: list[bytes] = []
        self.loginAttempts = 0
        self.user = self.nextService = None
        self.supportedAuthentications = [b"publickey", b"password"]
        self._cancelLoginTimeout = None
        self._judging = False
        self._unknown_keys = 0
        self._door: Door = self.transport.factory.door
        if banner := self.transport.factory.banner:
            self.transport.sendPacket(MSG_USERAUTH_BANNER, NS(banner.encode()) + NS(b""))

    def serviceStopped(self) -> None:
        """See Conch. Agents offer many keys: only who had none that fits is told of, and once."""
        if self._unknown_keys and self.transport.endpoint is None:
            self._refused("publickey", "no such key")

    def ssh_USERAUTH_REQUEST(self, packet: bytes) -> Any:
        """See Conch; one request after the other."""
        if self._judging:
            raise ValueError("the client doesn't wait for an answer")
        return super().ssh_USERAUTH_REQUEST(packet)

    def auth_publickey(self, packet: bytes) -> Deferred[Any]:
        """Check a key, or tell whether it would do. RFC 4252, section 7."""
        return self._judge(self._check_key(packet))

    def auth_password(self, packet: bytes) -> Deferred[Any]:
        """Check a password. RFC 4252, section 8; changing it here isn't offered."""
        return self._judge(self._check_password(getNS(packet[1:])[0]))

    @property
    def _name(self) -> bytes:
        return bytes(self.user or b"")

    def _judge(self, check: Coroutine[Any, Any, None]) -> Deferred[Any]:
        self._judging = True
        return Deferred.fromFuture(asyncio.ensure_future(self._judged(check)))

    async def _judged(self, check: Coroutine[Any, Any, None]) -> tuple[Any, Any, Callable[[], None]]:
        try:
            await check
            if self.nextService != b"ssh-connection":
                raise UnauthorizedLogin("no such service")
            return IConchUser, await self.transport.factory.admit(self.transport, self._name), lambda: None
        except (struct.error, LookupError) as error:
            raise UnauthorizedLogin("malformed request") from error
        finally:
            self._judging = False

    async def _check_key(self, packet: bytes) -> None:
        signed, (algorithm, blob, rest) = packet[:1], getNS(packet[1:], 2)
        if not self._door.knows(self._name, algorithm, blob):
            self._unknown_keys += 1
            raise UnauthorizedLogin("no such key")
        if signed == b"\0":
            self.transport.sendPacket(MSG_USERAUTH_PK_OK, packet[1:])
            raise IgnoreAuthentication
        said = NS(self.transport.sessionID) + bytes((MSG_USERAUTH_REQUEST,))
        said += NS(self._name) + NS(self.nextService or b"") + NS(b"publickey") + signed + NS(algorithm) + NS(blob)
        if not verifies(algorithm, blob, getNS(rest)[0], said):
            self._refused("publickey", "the signature doesn't stand")
            raise UnauthorizedLogin("bad signature")

    async def _check_password(self, password: bytes) -> None:
        try:
            if not await self._door.accepts(self._name, password, self.transport.source):
                raise UnauthorizedLogin("wrong password")
        except UnauthorizedLogin as error:
            self._refused("password", str(error))
            raise

    def _refused(self, method: str, reason: str) -> None:
        self._door.refused(self._name, self.transport.source, method, reason)


def verifies(algorithm: bytes, blob: bytes, signature: bytes, said: bytes) -> bool:
    """Tell whether a signature stands, was made with the algorithm that was named, and with a long enough key."""
    try:
        key = Key.fromString(blob)
        strong = key.type() != "RSA" or key.size() >= SHORTEST_RSA
        return strong and getNS(signature)[0] == algorithm and bool(key.verify(signature, said))
    except (BadKeyError, ValueError, LookupError, struct.error):
        return False
