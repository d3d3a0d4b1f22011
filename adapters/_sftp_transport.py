# mypy: disallow-untyped-calls=False
# ruff: noqa: N802, N803, N815, RUF012  # Twisted calls us in camelCase, and keeps lists in its classes
"""SSH below SFTP: Conch with its old algorithms taken away, its buffers bounded, and nothing but sftp behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.conch.error import ConchError
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import getNS
from twisted.conch.ssh.connection import OPEN_ADMINISTRATIVELY_PROHIBITED, SSHConnection
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.python.failure import Failure

from adapters._sftp_keys import ALGORITHMS
from adapters._sftp_login import Door, Login
from adapters._sftp_quiet import QUIET
from adapters._sftp_session import Session
from adapters._sftp_wire import Malformed
from exchange.model import Endpoint

KEY_EXCHANGES: Final = (
    b"mlkem768x25519-sha256",
    b"curve25519-sha256",
    b"curve25519-sha256@libssh.org",
    b"ecdh-sha2-nistp256",
    b"ecdh-sha2-nistp384",
    b"ecdh-sha2-nistp521",
)
CIPHERS: Final = (b"aes256-ctr", b"aes192-ctr", b"aes128-ctr")
MACS: Final = (b"hmac-sha2-512", b"hmac-sha2-256")

WINDOW_BYTES: Final = 512 * 1024  # what a client may send before we have dealt with it
# A usual WRITE (32 KiB and its header) should come in one SSH packet: the small rest of a split one waits for our TCP
# acknowledgement, 40 ms each time, where the client leaves Nagle's algorithm on.
PACKET_BYTES: Final = 64 * 1024
CHANNELS: Final = 4  # sessions in one connection
PATIENCE_SECONDS: Final = 5.0  # for a client to read our goodbye


class Host(Protocol):
    """What connections ask of the server they belong to."""

    log: Any

    def clock(self) -> float:
        """Return monotonic seconds."""

    def call_later(self, seconds: float, work: Callable[[], None]) -> Any:
        """Do something after a while; return what cancels it."""

    def connected(self, transport: Transport) -> bool:
        """Tell whether there is room for one more connection."""

    def lost(self, transport: Transport) -> None:
        """Forget a connection."""

    async def admit(self, transport: Transport, user: bytes) -> Callable[[Channel], Session]:
        """Let a user in; return what makes his sessions. Raises UnauthorizedLogin where there is no room."""


class Transport(SSHServerTransport):
    """One connection."""

    ourVersionString = b"SSH-2.0-SingleWindowSwitch"
    supportedKeyExchanges = [each for each in SSHServerTransport.supportedKeyExchanges if each in KEY_EXCHANGES]
    supportedCiphers = list(CIPHERS)
    supportedMACs = list(MACS)
    supportedCompressions = [b"none"]
    _log = QUIET

    factory: Factory
    transport: Any
    service: Any
    source = ""
    endpoint: Endpoint | None = None  # whose it is, once somebody has logged in
    clogged = False
    opened_at = 0.0
    heard_at = 0.0
    _aborting: Any = None

    def connectionMade(self) -> None:
        """See Conch."""
        self.source = str(self.transport.getPeer().host)
        self.opened_at = self.heard_at = self.factory.host.clock()
        if not self.factory.host.connected(self):
            self.transport.abortConnection()
            return
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        super().connectionMade()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """See Conch."""
        super().connectionLost(reason)
        self.factory.host.lost(self)
        if self._aborting is not None and self._aborting.active():
            self._aborting.cancel()

    def dataReceived(self, data: bytes) -> None:
        """Hand bytes to Conch; who sends what can't be understood is hung up on."""
        self.heard_at = self.factory.host.clock()
        try:
            super().dataReceived(data)
        except Exception as error:
            self.factory.host.log.warning("sftp.connection_broken", source=self.source, reason=repr(error))
            self.transport.abortConnection()

    def sendExtInfo(self, extensions: Any) -> None:
        """Tell which signatures of users we accept; Conch would tell those of our own host keys."""
        super().sendExtInfo([(b"server-sig-algs", b",".join(ALGORITHMS))])

    def hang_up(self) -> None:
        """Close the connection: politely, and soon anyhow."""
        if self._aborting is None:
            self._aborting = self.factory.host.call_later(PATIENCE_SECONDS, self.transport.abortConnection)
            self.loseConnection()

    # -- the socket asks us to pause -----------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Remember that the socket is full."""
        self.clogged = True

    def resumeProducing(self) -> None:
        """Go on."""
        self.clogged = False
        for channel in list(getattr(self.service, "channels", {}).values()):
            channel.go_on()

    def stopProducing(self) -> None:
        """Conch hears of it by ``connectionLost``."""


class Connection(SSHConnection):
    """The ssh-connection service: channels."""

    _log = QUIET

    def adjustWindow(self, channel: Channel, bytesToAdd: int) -> None:
        """Let the client send more, unless it asks faster than it listens; ``Channel.go_on`` makes up for it."""
        channel.owed = channel.congested
        if not channel.owed:
            super().adjustWindow(channel, bytesToAdd)


class Channel(SSHChannel):
    """One SSH session; the sftp subsystem is the one thing to be had in it."""

    name = b"session"
    conn: Any
    owed = False  # window that was withheld
    _log = QUIET

    def __init__(self, make_session: Callable[[Channel], Session], **kwargs: Any) -> None:
        super().__init__(localWindow=WINDOW_BYTES, localMaxPacket=PACKET_BYTES, **kwargs)
        self._make_session = make_session
        self._session: Session | None = None

    @property
    def congested(self) -> bool:
        """Whether the client should wait."""
        return self._session is not None and self._session.congested

    @property
    def clogged(self) -> bool:
        """Whether nothing more can be sent now."""
        return bool(self.buf) or self.conn.transport.clogged

    def requestReceived(self, requestType: bytes, data: bytes) -> bool:
        """Start sftp; refuse shells, commands, terminals, environments and forwarding without a word."""
        if requestType != b"subsystem" or getNS(data)[0] != b"sftp" or self._session is not None:
            return False
        self._session = self._make_session(self)
        return True

    def dataReceived(self, data: bytes) -> None:
        """Hand bytes to the session; before there is one, nobody has any business to send some."""
        if self._session is None:
            self.loseConnection()
            return
        try:
            self._session.receive(data)
        except Malformed:
            self.loseConnection()
        self._relieve()

    def extReceived(self, dataType: int, data: bytes) -> None:
        """Ignore what clients might write to a standard error of ours."""

    def addWindowBytes(self, data: int) -> None:
        """See Conch; there is room again."""
        super().addWindowBytes(data)
        self.go_on()

    def go_on(self) -> None:
        """Answer what waited for room."""
        if self._session is not None:
            self._session.pump()
            self._relieve()

    def _relieve(self) -> None:
        """Let the client send again."""
        if self.owed and not self.congested:
            self.conn.adjustWindow(self, self.localWindowSize - self.localWindowLeft)

    def eofReceived(self) -> None:
        """End the session when the client ends its side."""
        self.loseConnection()

    def closed(self) -> None:
        """Whatever wasn't closed by its client is incomplete."""
        if self._session is not None:
            self._session.cut()


class User:
    """What Conch calls an avatar."""

    def __init__(self, make_session: Callable[[Channel], Session]) -> None:
        self.conn: Any = None
        self._make_session = make_session

    def lookupChannel(self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes) -> Channel:
        """Open a session; nothing else, and not too many."""
        if channelType != b"session" or len(self.conn.channels) >= CHANNELS:
            raise ConchError(OPEN_ADMINISTRATIVELY_PROHIBITED, "only sftp is offered here")
        return Channel(self._make_session, remoteWindow=windowSize, remoteMaxPacket=maxPacket, data=data, avatar=self)

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> int:
        """Refuse: port forwarding and the like."""
        return 0


class Factory(SSHFactory):
    """Makes connections for one server."""

    protocol = Transport
    services = {b"ssh-userauth": Login, b"ssh-connection": Connection}
    _log = QUIET
    noisy = False

    def __init__(self, host: Host, door: Door, keys: dict[bytes, Key], banner: str) -> None:
        self.host = host
        self.door = door
        self.banner = banner
        self.privateKeys = keys
        self.publicKeys = {kind: key.public() for kind, key in keys.items()}

    def buildProtocol(self, addr: Any) -> Any:
        """See Conch; RSA host keys don't sign with SHA-1."""
        transport = super().buildProtocol(addr)
        transport.supportedPublicKeys = [each for each in transport.supportedPublicKeys if each in ALGORITHMS]
        return transport

    async def admit(self, transport: Transport, user: bytes) -> User:
        """Let a user in."""
        return User(await self.host.admit(transport, user))
