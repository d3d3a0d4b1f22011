"""A connection to one broker that is opened again for ever; endpoints share it."""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from pika.connection import ConnectionParameters
from pika.credentials import PlainCredentials
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from adapters._amqp_options import Options, read_url
from adapters._amqp_wire import Wire
from exchange.ports import World

OPEN_SECONDS: Final = 15.0  # for TCP, TLS and the handshake
LONGEST_SECONDS: Final = 30.0  # between two attempts


def backoff(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: 1, 2, 4 ... 30, and up to a fifth more."""
    return min(LONGEST_SECONDS, 2.0 ** min(failures - 1, 10)) * (1 + random.random() / 5)  # noqa: S311


def tls_options(options: Options, host: str) -> Any:
    """Return how to speak TLS (1.2 or later) with *host*, whose certificate and name are always verified.

    Raises OSError and ValueError where a file can't be read.
    """
    trust, own = None, {}
    if options.ca:
        trusted = load_pem_x509_certificates(options.ca.read_bytes())
        roots = [Certificate.load(each.public_bytes(Encoding.DER)) for each in trusted]
        trust = trustRootFromCertificates(roots)  # type: ignore[no-untyped-call]
    if options.certificate and options.key:
        first, *chain = load_pem_x509_certificates(options.certificate.read_bytes())
        key = load_pem_private_key(options.key.read_bytes(), None)
        own = {"certificate": first, "extraCertChain": chain, "privateKey": key}
    return optionsForClientTLS(host, trust, extraCertificateOptions=own)


class Outage:
    """Tells the log once when something breaks, for each reason it gives, and once when it works again."""

    def __init__(self, log: Any) -> None:
        self.failures = 0  # in a row: what works for less than the longest wait has failed again
        self._log = log
        self._told: set[str] = set()
        self._over_at = -math.inf

    @property
    def is_on(self) -> bool:
        """Tell whether it is broken now."""
        return bool(self._told)

    def failed(self, event: str, reason: str) -> None:
        """Count a failure; tell it unless this outage told the same before."""
        if not self._told and time.monotonic() - self._over_at > LONGEST_SECONDS:
            self.failures = 0
        self.failures += 1
        if reason not in self._told:
            self._told.add(reason)
            self._log.warning(event, reason=reason)

    def over(self, event: str) -> None:
        """Tell that it works."""
        self._told.clear()
        self._over_at = time.monotonic()
        self._log.info(event)


class Link:
    """A connection to where *options* point; ``wire`` is None while there is none, and ``why`` says the reason."""

    def __init__(self, options: Options, world: World) -> None:
        self.place = read_url(options.url)
        self.wire: Wire | None = None
        self.why = "it was not reached yet"
        self._options = options
        self._world = world
        self._log = world.log.bind(broker=str(self.place), user=options.user)
        self._outage = Outage(self._log)
        self._up = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    async def connected(self) -> Wire:
        """Return the connection as soon as there is one."""
        while self.wire is None:
            await self._up.wait()
        return self.wire

    async def close(self) -> None:
        """Close for good."""
        self._task.cancel()
        await asyncio.wait({self._task})
        wire, self.wire = self.wire, None
        if wire:
            await wire.shut()

    async def _run(self) -> None:
        while True:
            try:
                self.wire = await self._connect()
                self._up.set()
                self._outage.over("amqp.connected")
                self.why = await self._live(self.wire)
            except Exception as error:  # whatever it is, the next attempt may go better
                self.why = str(error) or type(error).__name__
            self.wire = None
            self._up.clear()
            self._outage.failed("amqp.lost", self.why)
            await asyncio.sleep(backoff(self._outage.failures))

    async def _connect(self) -> Wire:
        options, place = self._options, self.place
        password = options.password.read() if options.password else ""  # each time: it may have been changed
        parameters = ConnectionParameters(
            virtual_host=place.virtual_host,
            credentials=PlainCredentials(options.user, password),
            heartbeat=options.heartbeat_seconds,
            client_properties={"connection_name": "switchd"},
        )
        wire = Wire(parameters, self._world, self._log)
        endpoint: Any = HostnameEndpoint(self._world.reactor, place.host, place.port, timeout=OPEN_SECONDS)
        if place.tls:
            endpoint = wrapClientTLS(tls_options(options, place.host), endpoint)
        made = connectProtocol(endpoint, wire)  # type: ignore[no-untyped-call]
        await made.asFuture(asyncio.get_running_loop())
        either: tuple[asyncio.Future[Any], ...] = (wire.opened, wire.gone)
        try:
            await asyncio.wait(either, timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not wire.opened.done():
                wire.abort(f"no answer to the handshake for {OPEN_SECONDS:.0f} seconds")
        if not wire.opened.done():
            raise ConnectionError(await wire.gone)
        return wire

    async def _live(self, wire: Wire) -> str:
        """Return why the connection ended; end it when nothing, not even a heartbeat, comes any more."""
        loop = asyncio.get_running_loop()
        patience = self._options.heartbeat_seconds * 2
        while not wire.gone.done():
            await asyncio.wait({wire.gone}, timeout=patience / 4)
            if loop.time() - wire.heard_at > patience:
                wire.abort(f"no sign of life for {patience} seconds")
        return wire.gone.result()
