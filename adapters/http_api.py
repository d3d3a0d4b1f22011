"""Takes messages over HTTPS and keeps a mailbox of receipts for each party (kind ``http_api``).

``POST /v1/messages`` is the hot road: a plain ASGI callable that reads the raw body and asks the switch, past any
framework. Everything else is a Starlette route (``_http_pages``). 202 means on disk; what is wrong with a message is
no HTTP error but a receipt.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from datetime import date
from ssl import SSLError
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, model_validator
from starlette.routing import Route, Router

from adapters._http_intake import Intake
from adapters._http_keys import Gate, new_key
from adapters._http_mailbox import Mailbox
from adapters._http_pages import Pages
from adapters._http_problems import Problem
from exchange.asgi import Bounds, Listener, listen
from exchange.errors import ConfigurationError
from exchange.model import Endpoint, Parcel
from exchange.options import Location, Strict
from exchange.ports import World
from exchange.tls import Files

__all__ = ["HttpApi", "new_key"]

MESSAGES: Final = "/v1/messages"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Options(Strict):
    """What an endpoint of this kind says: who may come in."""

    keys: tuple[Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")], ...] = Field(
        min_length=1, description="hashes of the bearer keys; several while one is replaced · 密钥哈希, 轮换时可并存"
    )
    expires: date | None = Field(default=None, description="last day (Beijing) on which they are good · 密钥最后有效日")


class Settings(Strict):
    """Where this kind listens, and what it puts up with."""

    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=0, le=65535, description="0 takes a free one · 0 表示任选空闲端口")
    certificate: Location | None = Field(
        default=None, description="PEM file with the chain; turns TLS on; read anew at SIGHUP · 证书链文件"
    )
    key: Location | None = Field(
        default=None, description="PEM file with the key, unless it is in the other; read anew at SIGHUP · 私钥文件"
    )
    allow_plain: bool = Field(default=False, description="serve other hosts without TLS, behind a proxy · 允许明文")
    connections: int = Field(default=800, ge=1, description="at once; mind the limit of open files · 最大并发连接数")
    header_seconds: float = Field(default=10.0, gt=0, description="for a request's header · 请求头时限")
    stall_seconds: float = Field(default=30.0, gt=0, description="a body may pause this long · 请求体停顿时限")
    grace_seconds: float = Field(default=10.0, ge=0, description="for requests at work when we stop · 停止时的宽限")

    @model_validator(mode="after")
    def _guard(self) -> Settings:
        if not (self.certificate or self.allow_plain or _is_loopback(self.host)):
            raise ValueError(
                f"host {self.host} is reachable from outside: give certificate and key, or set allow_plain: true"
                f" behind a proxy that ends TLS · {self.host} 可被外部访问: 请配置 certificate 和 key,"
                " 若由代理终结 TLS 则设 allow_plain: true"
            )
        return self


class HttpApi:
    """The adapter; called as an ASGI app, it is the door."""

    Options: ClassVar[type[Strict]] = Options
    Settings: ClassVar[type[Strict]] = Settings
    sends: ClassVar[bool] = True
    window: ClassVar[int] = 256
    mailbox: ClassVar[bool] = True
    receipts: ClassVar[str] = "json"

    def __init__(self, world: World) -> None:
        self._world = world
        self._settings = world.settings or Settings()
        self._gate = Gate(world)
        self._mailbox = Mailbox(world.archive)
        self._intake = Intake(world, self._gate)
        routes = [Route(MESSAGES, self._intake, methods=["POST"]), *Pages(world, self._mailbox, self._gate).routes()]
        self._router = Router(routes, redirect_slashes=False)
        self._stopping = False
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port that is bound; 0 before the first endpoint is served."""
        return self._listener.port if self._listener else 0

    # -- the adapter's verbs -------------------------------------------------------------------------------------

    async def serve(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Know exactly the keys of these endpoints; listen from the first one on.

        Raises ConfigurationError where the address or the certificate can't be had.
        """
        for names in await self._gate.keys.replace(endpoints.values()):
            self._world.log.error("http_key.shared", endpoints=names, code="SWX-8090")
        if endpoints and self._listener is None:
            await asyncio.to_thread(self._intake.sweep)
            self._listener = await self._listen()
            self._world.log.info("http_listener.opened", host=self._settings.host, port=self.port)

    async def _listen(self) -> Listener:
        s = self._settings
        bounds = Bounds(connections=s.connections, header_seconds=s.header_seconds, stall_seconds=s.stall_seconds)
        try:
            files = Files(s.certificate, s.key) if s.certificate else None
            return await listen(self, host=s.host, port=s.port, files=files, bounds=bounds)
        except SSLError as error:
            what = f"{s.certificate} and {s.key} are not, in PEM, a certificate and its own key: {error}"
        except OSError as error:
            using = f" with {s.certificate} and {s.key}" if s.certificate else ""
            what = f"can't listen on {s.host}:{s.port}{using}: {error.strerror}"
        raise ConfigurationError([f"switchd.yaml: http_api: {what}"])

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        """Wake who waits for it: the store has the parcel, and shows it in the mailbox once this is settled."""
        self.ring(endpoint.name)

    def ring(self, endpoint: str) -> None:
        """Wake who waits at this endpoint's mailbox."""
        self._mailbox.ring(endpoint)

    def renew(self) -> Mapping[str, str]:
        """See ``tls.Renewing``."""
        return self._listener.renew() if self._listener else {}

    async def stop(self) -> None:
        """Refuse what is new, finish what is being taken, close."""
        self._stopping = True
        self._mailbox.close()
        if self._listener:
            await self._listener.stop(self._settings.grace_seconds)

    # -- the door ------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        try:
            if self._stopping:
                raise Problem.stopping()
            if scope["path"] == MESSAGES and scope["method"] == "POST":
                await self._intake(scope, receive, send)
            else:
                await self._router(scope | {"app": self}, receive, send)
        except asyncio.CancelledError:  # only at the end of the grace
            await Problem.stopping()(scope, receive, send)
        except Exception as error:
            problem = Problem.of(error)
            if problem.status == 500:
                self._world.log.error("http_request.failed", method=scope["method"], exc_info=error)
            await problem(scope, receive, send)
