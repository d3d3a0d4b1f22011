"""The remote signing API over a store in memory and keys in files; asked without a socket, or over TLS."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from typing import Any

import httpx
import trustme

from exchange.errors import ExchangeError
from exchange.instants import SECOND
from exchange.model import Party
from exchange.observability import recorded
from exchange.ports import Job, Signature, Token, microseconds
from exchange.routing import RoutingTable
from exchange.signing._api_settings import ApiSettings
from exchange.signing.api import SigningApi
from exchange.signing.remote import Remote, RemoteSettings
from exchange.signing.service import SigningService
from exchange.stores.memory import MemoryStore
from exchange.tokens.software import KeyFiles, Software
from tests import pki
from tests.daemon import Clock
from tests.sealing import MESSAGE

CLIENTS: dict[str, dict[str, Any]] = {
    "switch": {
        "party": "ENT1",
        "keys": ["p256", "rsa", "sm2"],
        "algorithms": ["ecdsa-sha256", "rsa-sha1", "rsa-sha256", "sm2-sm3"],
    },
    "desk": {"party": "ENT2", "keys": ["rs*"], "profiles": ["rsa-sha256"], "per_minute": 5, "per_day": 8},
}
CERTIFICATES = {"switch": "foreign", "desk": "rsa", "ENT1": "p256"}  # who shows which of tests.pki's


def table() -> RoutingTable:
    """Return a table in which ENT1 has a key here, and a certificate of its own."""
    return RoutingTable(
        [
            Party("ENT1", "enterprise", certificates=(pki.der("p256"),), signing_key="p256"),
            Party("ENT2", "enterprise", signing_key="rsa"),
        ]
    )


def settings(folder: Path, **more: Any) -> ApiSettings:
    """Return settings of the listener: its certificate is in *folder*."""
    clients = {name: {"certificate": f"{CERTIFICATES[name]}.crt", **row} for name, row in CLIENTS.items()}
    tls = {"certificate": folder / "server.pem", "key": folder / "server.key", "client_ca": "clients.pem"}
    return ApiSettings.model_validate(
        {"port": 0, **tls, "client_ca": "ca.crt", "clients": clients, **more}, context={"home": pki.shared()}
    )


def make_tls(folder: Path) -> Path:
    """Make the listener's certificate and its authority's in *folder*; return the latter."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    issued.private_key_pem.write_to_path(folder / "server.key")
    authority.cert_pem.write_to_path(folder / "server-ca.pem")
    return folder / "server-ca.pem"


class Lockable:
    """A token that can be locked, and tells what it was asked for."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self.window, self.batch, self.ahead = token.window, token.batch, token.ahead
        self.open, self.close, self.certificate = token.open, token.close, token.certificate
        self.why: ExchangeError | None = None
        self.locked: set[str] = set()  # keys
        self.asked: list[Job] = []

    async def sign(self, jobs: Sequence[Job]) -> Sequence[Signature | Exception]:
        """Sign, or say why not."""
        self.asked += jobs
        answers = await self._token.sign(jobs)
        return [
            self.why if self.why and (not self.locked or job.key in self.locked) else answer
            for job, answer in zip(jobs, answers, strict=True)
        ]


class Bench:
    """An API that runs, and short ways to ask it as somebody."""

    def __init__(self, store: Any, token: Any, folder: Path, clock: Clock, **more: Any) -> None:
        self.store, self.token, self.clock = store, token, clock
        self.log, self.events = recorded()
        self.answered: Counter[tuple[int, str]] = Counter()
        self.held: set[str] = set()
        self.table = table()
        self.refusing: ExchangeError | None = None
        self.service = SigningService(token, clock, self.log, store.log)
        self.api = SigningApi(
            settings(folder, **more), self.service, store, clock, self.log, self._count,
            table=lambda: self.table, held=lambda: self.held, refusing=lambda: self.refusing,
        )  # fmt: skip

    def _count(self, status: int, party: str) -> None:
        self.answered[status, party] += 1

    async def ask(
        self, path: str, body: Any = None, *, who: str = "switch", key: str = "", **headers: str
    ) -> httpx.Response:
        """Ask as somebody, without a socket."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            name = CERTIFICATES.get(who, who)
            chain = [DER_cert_to_PEM_cert(pki.der(name))] if name else []
            await self.api(scope | {"extensions": {"tls": {"client_cert_chain": chain}}}, receive, send)

        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Idempotency-Key": key} if key else {}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://switch", headers=sent) as client:
            if body is None:
                return await client.get(path)
            content = {"content": body} if isinstance(body, bytes) else {"json": body}
            return await client.post(path, **content)  # type: ignore[arg-type]

    async def sign(self, *items: dict[str, Any], mode: str = "sync", **more: Any) -> httpx.Response:
        """Have items signed."""
        return await self.ask("/v1/signatures", {"mode": mode, "items": list(items)}, **more)

    async def jobs(self) -> list[str]:
        """Return the jobs in the signing log."""
        return [row.operation.job for row in await self.store.operations(after=0, limit=1000)]


@asynccontextmanager
async def running(folder: Path, *, store: Any = None, listen: bool = False, **more: Any) -> AsyncIterator[Bench]:
    """Run the API; on a store that is given, it is one that was killed."""
    clock = Clock(microseconds() // SECOND * SECOND)
    if listen:
        make_tls(folder)
    given = store
    if given is None:
        store = MemoryStore(folder / "store", now=clock)
        await store.open()
    token = Lockable(Software(KeyFiles(folder=pki.shared())))
    bench = Bench(store, token, folder, clock, **more)
    if listen:
        await bench.api.start()
    else:
        bench.api._signed = await bench.api._jobs.start(0, lambda job: bench.api._clients.named(job.client, job.party))
    try:
        yield bench
    finally:
        await bench.api.stop()
        await bench.service.stop()
        if given is None:
            await store.close()


def b64(data: bytes) -> str:
    """Return *data* as it travels."""
    return b64encode(data).decode()


def content(id: str = "1", **more: Any) -> dict[str, Any]:
    """Return an item by profile."""
    return {"id": id, "profile": "ecdsa-sha256", "key": "p256", "content": b64(MESSAGE)} | more


def data(id: str = "1", **more: Any) -> dict[str, Any]:
    """Return an item of given data."""
    return {"id": id, "algorithm": "ecdsa-sha256", "key": "p256", "data": b64(b"SignedInfo")} | more


def result(answer: httpx.Response, number: int = 0) -> dict[str, Any]:
    """Return one result of an answer."""
    assert answer.status_code == 200, answer.text
    one: dict[str, Any] = answer.json()["results"][number]
    return one


def signed(answer: httpx.Response, number: int = 0) -> bytes:
    """Return what was signed, or the bare signature."""
    one = result(answer, number)
    return b64decode(one.get("content") or one["signature"])


# -- another switch's ----------------------------------------------------------------------------------------------


def remote_settings(folder: Path, *ports: int, **more: Any) -> RemoteSettings:
    """Return settings of a token over services on these ports, whose authority is in *folder*."""
    keys = {key: {"certificate": pki.shared() / f"{key}.crt"} for key in ("p256", "rsa", "sm2")}
    mine = {
        name: pki.shared() / f"{CERTIFICATES['switch']}.{suffix}"
        for name, suffix in (("certificate", "crt"), ("key", "key"))
    }
    urls = [f"https://127.0.0.1:{port}" for port in ports or (1,)]
    return RemoteSettings.model_validate({"urls": urls, **mine, "ca": folder / "server-ca.pem", "keys": keys, **more})


class Served(Remote):
    """A token over a service that begins and ends with it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(remote_settings(folder))
        self._folder, self._stack = folder, AsyncExitStack()

    async def open(self) -> None:
        """Start the service."""
        bench = await self._stack.enter_async_context(running(self._folder, listen=True))
        self._settings = remote_settings(self._folder, bench.api.port)
        await super().open()

    async def close(self) -> None:
        """End the service, too."""
        await super().close()
        await self._stack.aclose()
