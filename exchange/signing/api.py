"""The remote signing API (远程签名接口): signatures and verdicts over HTTPS, for who shows a certificate we know.

``POST /v1/signatures`` answers with signatures, or, asked to ``respond-async``, with a job that is on disk. What is
signed goes through the queue and into the signing log like everything else. Verifications ask no key for anything, so
they leave no row there.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson
from attrs import define, field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from exchange.asgi import Bounds, Listener, listen
from exchange.errors import ConfigurationError, ExchangeError, TooLarge
from exchange.instants import Instant, day_number
from exchange.routing import RoutingTable
from exchange.signing._api_clients import BEIJING, DAY, Caller, Clients, Quota
from exchange.signing._api_jobs import Asked, Jobs, show_job, shown
from exchange.signing._api_openapi import DOCUMENT
from exchange.signing._api_problems import Problem, mistaken, on_hold, refused, stranger, used_up
from exchange.signing._api_requests import SignRequest, VerifyRequest, parsed
from exchange.signing._api_seals import denied, unfit, verdict
from exchange.signing._api_settings import ApiSettings
from exchange.signing.profiles import Profiles
from exchange.signing.service import SigningService
from exchange.signingjobs import Jobs as Store
from exchange.signingjobs import SigningJob
from exchange.tls import Files

GRACE_SECONDS: Final = 10.0  # for requests at work when we stop
Count = Callable[[int, str], None]  # (status, party) of an answer


@define(eq=False)
class SigningApi:
    """The interface; called as an ASGI app, it is the door.

    *table* returns the routing table in force, *held* what operators put on hold, *refusing* why nothing is taken on.
    """

    settings: ApiSettings
    service: SigningService
    store: Store
    now: Callable[[], Instant]
    log: Any
    count: Count
    table: Callable[[], RoutingTable]
    held: Callable[[], Collection[str]] = tuple
    refusing: Callable[[], ExchangeError | None] = lambda: None
    _clients: Clients = field(init=False)
    _jobs: Jobs = field(init=False)
    _router: Router = field(init=False)
    _quotas: dict[str, Quota] = field(factory=dict)
    _signed: dict[str, int] = field(factory=dict)  # by clients, today and before we began
    _listener: Listener | None = None

    def __attrs_post_init__(self) -> None:
        self._clients = Clients(self.settings, self.table)
        self._jobs = Jobs(self.service, self.store, self.settings, self.now, self.log, self._profiles, self._admit)
        self._router = Router(
            [
                Route("/v1/signatures", self._sign, methods=["POST"]),
                Route("/v1/signatures/{job}", self._job),
                Route("/v1/verifications", self._verify, methods=["POST"]),
                Route("/v1/openapi.json", self._describe),
            ],
            redirect_slashes=False,
        )

    def _profiles(self) -> Profiles:
        return self.table().profiles

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Go on with what was confirmed, and listen. Raises ConfigurationError where that can't be."""
        s = self.settings
        midnight = day_number(self.now()) * DAY - BEIJING
        self._signed = await self._jobs.start(midnight, lambda job: self._clients.named(job.client, job.party))
        files, bounds = Files(s.certificate, s.key, s.client_ca), Bounds(connections=s.connections)
        try:
            self._listener = await listen(self, host=s.host, port=s.port, files=files, bounds=bounds)
        except OSError as why:
            problem = f"signing.api: can't listen on {s.host}:{s.port} with {files}: {why}"
            raise ConfigurationError([problem], code="SWX-4131") from why
        self.log.info("signing_listener.opened", host=s.host, port=self.port)

    @property
    def port(self) -> int:
        """The port that is bound; 0 before that."""
        return self._listener.port if self._listener else 0

    def renew(self) -> Mapping[str, str]:
        """Read the files of TLS and the clients' certificates anew: see ``tls.Renewing``."""
        clients = Clients(self.settings, self.table)
        told = self._listener.renew() if self._listener else {}
        self._clients = clients
        return told

    async def stop(self) -> None:
        """Take nothing new, let who waits have a little time, close. What was confirmed goes on at the next start."""
        if self._listener:
            await self._listener.stop(GRACE_SECONDS)
        await self._jobs.stop()

    async def forget(self) -> int:
        """Remove answers that were kept long enough; return how many."""
        before = self.now() - self.settings.keep_hours * DAY // 24
        total = 0
        while count := await self.store.forget_jobs(before):
            total += count
        return total

    # -- the door ------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        told: dict[str, Any] = {"status": 500}

        async def sending(event: Any) -> None:
            told.update(event)
            await send(event)

        try:
            caller = self._caller(scope)
            scope["caller"] = caller
            await self._router(scope | {"app": self}, receive, sending)
        except ClientDisconnect:  # in the middle of its request: nobody is there to be told
            return
        except asyncio.CancelledError:  # only at the end of the grace
            await Problem.stopping()(scope, receive, sending)
        except Exception as error:
            problem = Problem.of(error)
            if problem.status == 500:
                self.log.error("signing_request.failed", method=scope["method"], exc_info=error)
            await problem(scope, receive, sending)
        caller = scope.get("caller")
        self.count(told["status"], caller.party if caller else "")

    def _caller(self, scope: Any) -> Caller:
        """Return who asks. Raises Problem: 401, or 403 where its party is on hold."""
        shown = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
        caller = self._clients.find(ssl.PEM_cert_to_DER_cert(shown[0])) if shown else None
        if caller is None:
            source = scope["client"][0] if scope["client"] else ""
            self.log.warning("signing_request.refused", source=source, code="SWX-7061")
            raise stranger()
        party = self.table().parties.get(caller.party)
        if f"party:{caller.party}" in self.held() or (party is not None and party.state == "held"):
            raise on_hold(caller.party)
        return caller

    async def _body(self, request: Request) -> bytes:
        """Return the body. Raises TooLarge as soon as that is known."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Problem("SWX-8060", "send the request without Content-Encoding", "请发送未压缩的请求")
        most = self.settings.body_bytes
        parts, size = [], int(request.headers.get("content-length", "0"))
        if size <= most:
            size = 0
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > most:
                    break
        if size > most:
            raise TooLarge(f"over the limit of {most} bytes: send fewer items", f"超过上限 {most} 字节：请减少条数")
        return b"".join(parts)

    # -- signing -------------------------------------------------------------------------------------------------

    async def _sign(self, request: Request) -> Response:
        """Have a batch signed."""
        if (why := self.refusing()) is not None:
            raise why.with_traceback(None)
        key = request.headers.get("idempotency-key", "")
        if len(key) > 255 or not key.isascii() or not (key.isprintable() or not key):
            raise Problem.unreadable(
                "Idempotency-Key", "expected 1 to 255 ASCII letters", "应为 1 至 255 个 ASCII 字符"
            )
        body = await self._body(request)
        read = parsed(SignRequest, body)
        if "respond-async" in request.headers.get("prefer", ""):
            read = read.model_copy(update={"mode": "async"})
        asked = Asked(request.scope["caller"], read, body, sha256(body).digest(), key)
        return _told(await self._jobs.take(asked), 202)

    def _admit(self, asked: Asked) -> None:
        """Raise Problem for what may not be signed, can't be signed, or is too much for today."""
        items = asked.request.items
        if errors := denied(asked.caller, items):
            self.log.warning("signing_request.denied", client=asked.caller.name, code="SWX-7062", items=len(errors))
            raise refused(errors)
        if errors := unfit(self.service, self._profiles(), asked.caller, items, self.now()):
            raise mistaken(errors)
        self._charge(asked.caller, len(items))

    def _charge(self, caller: Caller, count: int) -> None:
        now = self.now()
        quota = self._quotas.get(caller.name)
        if quota is None:
            quota = self._quotas[caller.name] = Quota(caller.allowance, now, today=self._signed.pop(caller.name, 0))
        if seconds := quota.charge(count, now):
            raise used_up(seconds)

    async def _job(self, request: Request) -> Response:
        """Show a job to who asked for it; a stranger's is as good as none."""
        text = request.path_params["job"]
        digits = text.removeprefix("S")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19 and text == f"S{digits}"):
            raise Problem.nothing_here()
        job = await self.store.job(int(digits))
        if job is None or job.client != request.scope["caller"].name:
            raise Problem.nothing_here()
        return _told(job, 200)

    # -- verifying -----------------------------------------------------------------------------------------------

    async def _verify(self, request: Request) -> Response:
        """Tell of each item of a batch whether its signature stands."""
        asked = parsed(VerifyRequest, await self._body(request))
        self._charge(request.scope["caller"], len(asked.items))
        results = []
        for item in asked.items:
            table = self.table()
            party = table.parties.get(item.party)
            registered, trust = (party.certificates, table.terms(party.agreement)) if party else ((), None)
            results.append(verdict(item, self._profiles(), registered, trust, self.now()))
            await asyncio.sleep(0)  # others get their turn
        return Response(orjson.dumps({"results": results}), media_type="application/json")

    async def _describe(self, request: Request) -> Response:
        """Describe the interface."""
        return Response(orjson.dumps(DOCUMENT), media_type="application/json")


def _told(job: SigningJob, waiting: int) -> Response:
    """Answer with a job: as it was written, or, with status *waiting*, that it isn't finished."""
    if job.answer:
        return Response(job.answer, media_type="application/json")
    headers = {"Location": f"/v1/signatures/{show_job(job.number)}", "Retry-After": "1"}
    return Response(orjson.dumps(shown(job)), waiting, headers, media_type="application/json")
