# mypy: disallow-untyped-calls=False
"""The SFTP server: enterprises upload into their OutBox, and fetch receipts from their InBox and FailBox.

One listener serves every endpoint; the user name tells whose session it is. Conch does SSH (``_sftp_transport``,
``_sftp_login``); SFTP itself, which must answer CLOSE only after take and mind what it keeps in memory, is ours
(``_sftp_wire``, ``_sftp_session``, ``_sftp_tree``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.tcp import makeBinding

from adapters._folder import Writer, make_directory
from adapters._sftp_delivered import Delivered
from adapters._sftp_keys import host_keys, key_blob
from adapters._sftp_login import Door
from adapters._sftp_session import Session
from adapters._sftp_transport import Channel, Factory, Transport
from adapters._sftp_tree import FAIL, IN, Desk, Tree, prune
from adapters._spool import Spooler
from exchange.errors import Busy, ConfigurationError
from exchange.model import Endpoint, Parcel
from exchange.options import Location, Strict
from exchange.ports import World

LOOK_SECONDS = 5.0  # how often idle connections are looked for
PRUNE_SECONDS = 6 * 3600.0
QUIET_SECONDS = 0.2  # without a word from a client when we stop ...
PARTING_SECONDS = 2.0  # ... but no longer than this


def _key_line(line: str) -> str:
    key_blob(line)
    return line


class Password(Strict):
    """A password as its Argon2id hash in the usual ``$argon2id$...`` form."""

    argon2: str = Field(pattern=r"^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$")


class SftpServer:
    """The adapter of kind ``sftp_server``."""

    class Options(Strict):
        """One user."""

        user: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="the name to log in with")
        keys: tuple[Annotated[str, AfterValidator(_key_line)], ...] = Field((), description="OpenSSH public key lines")
        password: Password | None = Field(None, description="allows a password, too")
        directory: Location | None = Field(
            None, description="where the boxes lie, if not below the switch's own directory"
        )
        names: Literal["utf-8", "gb18030"] = Field("utf-8", description="charset of file names in the user's client")

        @model_validator(mode="after")
        def _some_way_in(self) -> Self:
            if not (self.keys or self.password):
                raise ValueError("give keys, password or both (请给出 keys、password 或两者)")
            return self

    class Settings(Strict):
        """The listener."""

        host: str = Field("", description="address to listen on; empty: all")
        port: int = Field(2222, ge=0, le=65535, description="0: any free port")
        reuse_port: bool = Field(False, description="share the port with other workers (SO_REUSEPORT)")
        host_keys: tuple[Location, ...] = Field((), description="files of private host keys; none: one is made")
        banner: str = Field("", description="shown before login")
        max_sessions: int = Field(1000, ge=1, description="connections at once")
        sessions_per_user: int = Field(20, ge=1)
        login_seconds: float = Field(60.0, gt=0, description="time to log in")
        idle_seconds: float = Field(900.0, gt=0, description="time without a word before a session is ended")
        sent_days: int = Field(7, ge=0, description="how long files stay in SentBox; 0: they never go there")
        inbox_days: int = Field(
            90,
            ge=0,
            description="how long what the switch has put into InBox and FailBox stays there, fetched or not; never "
            "shorter than `store.retention_days`; 0: until its user removes it",
        )

    sends: ClassVar[bool] = True
    window: ClassVar[int] = 32
    mailbox: ClassVar[bool] = False
    receipts: ClassVar[str] = "native"

    def __init__(self, world: World) -> None:
        self.log = world.log
        self._world = world
        self._settings: SftpServer.Settings = world.settings or self.Settings()
        self._directory = Path(world.directory)
        self._door = Door(self.clock, world.log)
        self._desk = Desk(self._take, Spooler.of(world), world.log, self._settings.sent_days > 0)
        days = self._settings.inbox_days and max(self._settings.inbox_days, world.retention_days)
        self._delivered = Delivered(self._directory / "delivered", days, world.now, world.log)
        self._writer = Writer(make_directory, laid=self._delivered.note)
        self._connections: set[Transport] = set()
        self._working: set[asyncio.Task[None]] = set()
        self._listener: Any = None
        self._house: asyncio.Task[None] | None = None
        self._stopping = False
        self._empty = asyncio.Event()

    # -- the adapter ---------------------------------------------------------------------------------------------

    async def serve(self, endpoints: Mapping[str, Endpoint]) -> None:
        """See ``ports.Adapter``. Raises ConfigurationError where it can't listen."""
        users: dict[bytes, Endpoint] = {}
        for endpoint in endpoints.values():
            first = users.setdefault(endpoint.options.user.encode(), endpoint)
            if first is not endpoint:
                self.log.error("sftp.user_claimed_twice", endpoint=endpoint.name, served=first.name)
        self._door.users = users
        for transport in list(self._connections):
            if transport.endpoint and endpoints.get(transport.endpoint.name) != transport.endpoint:
                transport.hang_up()
        if endpoints and self._listener is None:
            self._listen()
            self._house = asyncio.create_task(self._keep_house())

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        """See ``ports.Adapter``: rejections go to the FailBox, everything else to the InBox."""
        box = FAIL if parcel.headers.get("disposition") == "rejected" else IN
        await self._writer.put(self._root(endpoint) / box, parcel)

    async def stop(self) -> None:
        """See ``ports.Adapter``."""
        self._stopping = True
        if self._listener is not None:
            await maybeDeferred(self._listener.stopListening).asFuture(asyncio.get_running_loop())
        if self._house is not None:
            self._house.cancel()
        while self._working:
            await asyncio.wait(self._working)
        await self._part(self.clock())
        self._door.close()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._listener.getHost().port)

    # -- what connections ask ------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Return monotonic seconds."""
        return float(self._world.reactor.seconds())

    def call_later(self, seconds: float, work: Callable[[], None]) -> Any:
        """Do something after a while."""
        return self._world.reactor.callLater(seconds, work)

    def connected(self, transport: Transport) -> bool:
        """Count a connection in, if there is room."""
        if self._stopping or len(self._connections) >= self._settings.max_sessions:
            self.log.warning("sftp.connection_refused", source=transport.source, open=len(self._connections))
            return False
        self._connections.add(transport)
        self._empty.clear()
        return True

    def lost(self, transport: Transport) -> None:
        """Count a connection out."""
        self._connections.discard(transport)
        if transport.endpoint is not None:
            seconds = round(self.clock() - transport.opened_at, 1)
            name = transport.endpoint.name
            self.log.info("sftp.session_closed", endpoint=name, source=transport.source, seconds=seconds)
        if not self._connections:
            self._empty.set()

    async def admit(self, transport: Transport, user: bytes) -> Callable[[Channel], Session]:
        """Let a user in whose key or password was right. Raises UnauthorizedLogin where there is no room."""
        endpoint = self._door.users.get(user)
        if endpoint is None:
            raise UnauthorizedLogin("no such user any more")
        tree = Tree(self._root(endpoint), endpoint, self._desk)
        await asyncio.to_thread(tree.prepare)
        if self._door.users.get(user) != endpoint or transport not in self._connections:
            raise UnauthorizedLogin("held, or gone, in the meantime")
        names = [each.endpoint.name for each in self._connections if each.endpoint]
        if names.count(endpoint.name) >= self._settings.sessions_per_user:
            self._door.refused(user, transport.source, "any", "too many sessions of this user")
            raise UnauthorizedLogin("too many sessions")
        transport.endpoint = endpoint
        self.log.info("sftp.session_opened", endpoint=endpoint.name, user=user.decode(), source=transport.source)
        return lambda channel: Session(tree, channel.write, lambda: channel.clogged, self._working, self.log)

    # -- within --------------------------------------------------------------------------------------------------

    async def _take(self, parcel: Parcel, endpoint: Endpoint) -> str:
        if self._stopping:
            raise Busy("the switch is being stopped: try again soon", "系统正在停止，请稍后重试")
        return await self._world.take(parcel, endpoint)

    def _listen(self) -> None:
        settings = self._settings
        factory = Factory(self, self._door, host_keys(settings.host_keys, self._directory, self.log), settings.banner)
        binding = makeBinding(settings.host, settings.port, reuseAddress=True, reusePort=settings.reuse_port)
        try:
            self._listener = self._world.reactor.listenTCP(binding, factory)
        except CannotListenError as error:
            where = f"{settings.host or '*'}:{settings.port}"
            raise ConfigurationError(
                [f"switchd.yaml: sftp_server: can't listen on {where}: {error.socketError.strerror}"]
            ) from error
        self.log.info("sftp.listening", host=settings.host, port=self.port)

    async def _part(self, answered_at: float) -> None:
        """Hang up on everybody; who was just answered may have a last question: whether the file has arrived."""
        while self._connections:
            now = self.clock()
            for transport in list(self._connections):
                if now > answered_at + PARTING_SECONDS or now > max(transport.heard_at, answered_at) + QUIET_SECONDS:
                    transport.hang_up()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), QUIET_SECONDS)

    def _root(self, endpoint: Endpoint) -> Path:
        directory: Path | None = endpoint.options.directory
        return directory or self._directory / "users" / endpoint.options.user

    async def _keep_house(self) -> None:
        prune_at = self.clock()
        while True:
            self._hang_up_on_idle(self.clock())
            if self.clock() >= prune_at:
                prune_at = self.clock() + PRUNE_SECONDS
                await asyncio.to_thread(self._prune, self._door.users.values())
            await asyncio.sleep(LOOK_SECONDS)

    def _hang_up_on_idle(self, now: float) -> None:
        for transport in list(self._connections):
            idle = now - transport.heard_at > self._settings.idle_seconds
            if idle or (transport.endpoint is None and now - transport.opened_at > self._settings.login_seconds):
                transport.hang_up()

    def _prune(self, endpoints: Iterable[Endpoint]) -> None:
        self._desk.spooler.sweep()
        for endpoint in endpoints:
            self._pruned(endpoint.name, partial(prune, self._root(endpoint), self._settings.sent_days))
        self._pruned("*", self._delivered.forget)

    def _pruned(self, endpoint: str, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self.log.warning("sftp.prune_failed", endpoint=endpoint, reason=error.strerror)
