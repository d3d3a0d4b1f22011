"""Keys that another switch holds: its signing service is asked over HTTPS, with certificates on both sides.

In ``switchd.yaml``::

    token:
      kind: remote
      options:
        urls: ["https://sign-1.example:8444", "https://sign-2.example:8444"]
        certificate: keys/this-switch.crt
        key: keys/this-switch.key
        ca: keys/sign-ca.crt
        keys:
          demo-shop: {certificate: keys/demo-shop.crt}

What travels is the canonical SignedInfo, up to a hundred in one request and several requests at once; the other switch
must permit this one to have data signed unseen (``algorithms``). The services are asked in order: who doesn't answer
rests, and the next one is asked with what is left. Every signature is verified with the key's certificate before
anybody sees it.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import orjson
from attrs import define, field
from pydantic import AfterValidator, BeforeValidator, Field

from exchange.errors import ConfigurationError, ExchangeError, TokenError
from exchange.options import Location, Strict
from exchange.ports import SM2_ID, Job, Signature
from exchange.register import KeyVersion
from exchange.signing import certificates
from exchange.signing._api_requests import MOST
from exchange.signing._remote_link import FAULTS, Link
from exchange.signing._token_keys import KeyPlaces, Keys
from exchange.signing.certificates import Certificate
from exchange.signing.soon import Soon

PATH: Final = "/v1/signatures"
THERE: Final = "remote"  # the place of every key
FINAL: Final = frozenset(("SWX-5010", "SWX-5020"))  # what the other switch says that no third one would mend


def _https(url: str) -> str:
    place = urlsplit(url)
    if place.scheme != "https" or not place.hostname or place.path.strip("/") or place.query:
        raise ValueError(f"{url!r} must be https://HOST or https://HOST:PORT")
    return url


class RemoteKey(Strict):
    """One key that another switch holds."""

    certificate: Location = Field(description="its certificate, PEM or DER")
    name: str = Field("", description="what it is called there; as here, unless said")


class RemoteSettings(Strict):
    """Which signing services are asked, who we are to them, and which keys they have."""

    urls: Annotated[
        tuple[Annotated[str, AfterValidator(_https)], ...],
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    ] = Field(
        min_length=1, description="the signing services, in the order in which they are asked: `https://HOST:8444`"
    )
    certificate: Location = Field(description="PEM file with our certificate, which they know us by")
    key: Location | None = Field(None, description="PEM file with its key, unless it is in the other")
    ca: Location = Field(description="PEM file with the authorities of the services' certificates")
    keys: Mapping[str, RemoteKey] = Field({}, description="the keys by name, as parties and routes call them")
    timeout_seconds: float = Field(10.0, gt=0, description="for one request, after which the next service is asked")
    window: int = Field(800, ge=1, description="jobs that are there at once")
    requests: int = Field(8, ge=1, le=64, description="requests that are under way at once; each has 100 jobs at most")


@define(eq=False)
class _Asked:
    """A job that waits for its signature."""

    job: Job
    certificate: Certificate
    answer: asyncio.Future[Signature | Exception]
    began: float = field(factory=perf_counter)
    attempts: int = 0
    why: TokenError | None = None  # what the service that was asked last said of it

    def settle(self, answer: Signature | Exception) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Remote:
    """Signs through other switches."""

    Settings = RemoteSettings

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        self.window, self.batch, self.ahead = settings.window, MOST, 2_000
        self._links: list[Link] = []
        self._waiting: deque[_Asked] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump_soon = Soon(self._pump)  # gathers what is asked for in one turn of the loop
        rows = settings.keys.items()
        places = {key: KeyPlaces(certificate=row.certificate, at={THERE: row.name or key}) for key, row in rows}
        self._keys = Keys(places, (THERE,))

    async def open(self) -> None:
        """Read the files that TLS needs; connections are made when they are needed. Raises ConfigurationError."""
        s = self._settings
        try:
            tls = ssl.create_default_context(cafile=s.ca)
            tls.load_cert_chain(s.certificate, s.key)
        except OSError as why:
            files = ", ".join(str(path) for path in (s.ca, s.certificate, s.key) if path)
            raise ConfigurationError([f"token: no TLS with {files}: {why}"], code="SWX-4132") from why
        self._links = [Link(url, tls, s.timeout_seconds) for url in s.urls]

    async def close(self) -> None:
        """Ask nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._links:
            link.close()

    def certificate(self, key: str) -> bytes:
        """Return the DER certificate of *key*. Raises TokenError, ConfigurationError."""
        return self._keys.certificate(key).der

    def learn(self, keys: Iterable[KeyVersion]) -> None:
        """See ``register.Learner``; a version's place, ``remote``, is its name there, which is its id unless said."""
        self._keys.learn(keys)

    def names(self) -> Sequence[str]:
        """See ``register.Learner``."""
        return self._keys.names()

    # -- signing -------------------------------------------------------------------------------------------------

    async def sign(self, jobs: Sequence[Job]) -> Sequence[Signature | Exception]:
        """Sign every job; the answers are in the order of the jobs."""
        return await asyncio.gather(*(self._sign(job) for job in jobs))

    async def _sign(self, job: Job) -> Signature | Exception:
        try:
            certificate = self._keys.fitting(job)
        except ExchangeError as why:  # one job's failure is no failure of the batch
            return why
        asked = _Asked(job, certificate, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._pump_soon()
        return await asked.answer

    def _pump(self) -> None:
        while self._waiting and len(self._tasks) < self._settings.requests:
            batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            task = asyncio.get_running_loop().create_task(self._send(batch))
            self._tasks.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pump_soon()

    async def _send(self, batch: Sequence[_Asked]) -> None:
        """Ask one service after the other for what isn't signed yet."""
        faults: list[str] = []
        try:
            for link in sorted(self._links, key=lambda link: link.rests):
                left: Sequence[_Asked] = [one for one in batch if not one.answer.done()]
                while left:
                    left = await self._ask(link, left, faults)
        finally:
            for one in batch:
                one.settle(one.why or _unreachable(faults))

    async def _ask(self, link: Link, batch: Sequence[_Asked], faults: list[str]) -> list[_Asked]:
        """Ask for a batch; return what to ask the same service for again: what it found nothing wrong with."""
        for one in batch:
            one.attempts, one.why = one.attempts + 1, None
        items = [self._item(number, one.job) for number, one in enumerate(batch)]
        try:
            status, body = await link.post(PATH, orjson.dumps({"items": items}), secrets.token_hex(16))
            told = orjson.loads(body)
            if status == 200:
                self._settle(link, batch, {one["id"]: one for one in told["results"]})
                return []
            return _blamed(link, batch, status, told, faults)
        except FAULTS as why:
            faults.append(f"{link.name}: {why or type(why).__name__}")
        except (ValueError, LookupError, TypeError, AttributeError) as why:
            faults.append(f"{link.name}: its answer can't be read: {why!r}")
        return []

    def _item(self, number: int, job: Job) -> dict[str, str]:
        name = self._keys.at(job.key).get(THERE, job.key)
        more = {"sm2_id": b64encode(job.sm2_id).decode()} if job.sm2_id != SM2_ID else {}
        data = b64encode(job.data).decode()
        return {"id": str(number), "key": name, "algorithm": job.algorithm, "data": data, **more}

    def _settle(self, link: Link, batch: Sequence[_Asked], results: Mapping[str, Any]) -> None:
        """Hand out what came; what is wrong with one is kept with it, for the next service to do better."""
        for number, one in enumerate(batch):
            result = results[str(number)]
            if "error" in result:
                error = result["error"]
                one.why = _said(link, error["code"], error["detail"], error["zh"])
                if one.why.code in FINAL:
                    one.settle(one.why)
                continue
            value = b64decode(result["signature"])
            if certificates.signed_by(one.certificate, one.job.algorithm, value, one.job.data, one.job.sm2_id):
                took = int((perf_counter() - one.began) * 1e6)
                one.settle(Signature(value, link.name, one.attempts, took, verified=True))
            else:
                one.why = _false(link, one)


def _blamed(link: Link, batch: Sequence[_Asked], status: int, told: Any, faults: list[str]) -> list[_Asked]:
    """Note what a service refused, and for which jobs; return the others, if it named some."""
    code, en, zh = told["code"], told["detail"], told["zh"]
    errors = {
        int(one["pointer"].split("/")[2]): one for one in told.get("errors", ()) if one["pointer"][:7] == "/items/"
    }
    for number, error in errors.items():
        batch[number].why = why = _said(link, error.get("code", code), error["detail"], error["zh"])
        if why.code in FINAL:
            batch[number].settle(why)
    if not errors:
        faults.append(f"{link.name}: {status} {code} {en}")
        for one in batch:
            one.why = _said(link, code, en, zh) if status in (401, 403) else None
    return [one for number, one in enumerate(batch) if number not in errors] if errors else []


def _said(link: Link, code: str, en: str, zh: str) -> TokenError:
    if code in FINAL:
        return TokenError(f"{link.name}: {en}", f"{link.name}：{zh}", code=code)
    refused = code in ("SWX-7061", "SWX-7062", "SWX-2060")
    return TokenError(
        f"the signing service {link.name} {'refuses' if refused else 'can not do'} this: {code} {en}",
        f"签名服务 {link.name} {'拒绝' if refused else '未能'}签名：{code} {zh}",
        code="SWX-5061" if refused else "SWX-5060",
    )


def _false(link: Link, one: _Asked) -> TokenError:
    serial = one.certificate.serial
    return TokenError(
        f"the signature from {link.name} doesn't verify with certificate {serial}: it has another key by this name",
        f"签名服务 {link.name} 返回的签名用证书 {serial} 验证不通过：对方同名密钥与本地证书不符",
        code="SWX-5030",
    )


def _unreachable(faults: Sequence[str]) -> TokenError:
    text = "; ".join(faults) or "we are stopping"
    return TokenError(f"no signing service answers: {text}", f"没有签名服务应答：{text}", code="SWX-5060")
