"""Problems as our HTTP interfaces tell them (RFC 9457): a table of kinds, one exception, one answer.

Each interface has a table of its own (``Problem.kinds``) on top of ``KINDS``, which any of them may need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

import orjson
from attrs import frozen
from starlette.exceptions import HTTPException

from exchange.errors import Busy, ExchangeError, NotFound, StoreError, TooLarge

MEDIA_TYPE: Final = b"application/problem+json"
AGAIN_SECONDS: Final = 5  # when to come back, where the error doesn't say


@frozen
class Kind:
    """A row of the table: what a code means over HTTP."""

    status: int
    title: str
    zh: str


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "SWX-8030": Kind(400, "A parameter or header can't be read", "参数或请求头无法识别"),
        "SWX-8040": Kind(404, "There is nothing here", "所请求的内容不存在"),
        "SWX-8050": Kind(405, "This method isn't offered here", "此处不支持该请求方法"),
        "SWX-8060": Kind(415, "Encoded bodies aren't taken", "不接受经过编码(压缩)的请求体"),
        "SWX-8070": Kind(503, "The switch is stopping", "交换服务正在停止"),
        "SWX-1070": Kind(413, "The message is too large", "报文超过大小限制"),
        "SWX-6000": Kind(503, "The switch can't take messages now", "交换服务暂时无法接收报文"),
        "SWX-9000": Kind(500, "The switch failed", "交换服务内部错误"),
    }
)


class Problem(Exception):
    """A request that is answered with one of ``kinds``; *en* and *zh* say what to do about it, *more* is told as is."""

    kinds: ClassVar[Mapping[str, Kind]] = KINDS

    def __init__(
        self, kind: str, en: str, zh: str, *, code: str = "", headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(f"{code or kind} {en}")
        self.kind, self.en, self.zh, self.code = kind, en, zh, code or kind
        self.headers, self.more = dict(headers or {}), more

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self.kinds[self.kind].status

    def document(self) -> dict[str, Any]:
        """Return the body: the five members of RFC 9457 that fit, our code, and the same again in Chinese."""
        kind = self.kinds[self.kind]
        return {
            "type": f"/v1/openapi.json#/components/x-problems/{self.kind}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.en,
            "code": self.code,
            "zh": f"{kind.zh}：{self.zh}",
            **self.more,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer an ASGI request with this problem."""
        body = orjson.dumps(self.document())
        headers = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode(), value.encode()) for name, value in self.headers.items()),
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # -- problems that every interface has -----------------------------------------------------------------------

    @classmethod
    def again(cls, kind: str, seconds: float, code: str = "", **headers: str) -> Self:
        """Return the answer that nothing was done, and when to come again."""
        whole = max(1, math.ceil(seconds))
        en = f"nothing is confirmed; ask or send again in {whole} seconds"
        zh = f"本次请求未被确认，请 {whole} 秒后重试"
        return cls(kind, en, zh, code=code, headers={"Retry-After": str(whole), **headers})

    @classmethod
    def stopping(cls) -> Self:
        """Return the answer of a switch that shuts down."""
        return cls.again("SWX-8070", AGAIN_SECONDS, Connection="close")

    @classmethod
    def nothing_here(cls) -> Self:
        """Return the one answer to what doesn't exist and to what is somebody else's."""
        return cls("SWX-8040", "check the address and the id", "请检查地址和编号")

    @classmethod
    def unreadable(cls, name: str, en: str, zh: str) -> Self:
        """Return the answer to a parameter or header that makes no sense."""
        return cls("SWX-8030", f"{name}: {en}", f"{name}：{zh}")

    @classmethod
    def of(cls, error: Exception) -> Problem:
        """Return how *error* is told; one of our own making tells nothing of our insides."""
        match error:
            case Problem():
                return error
            case TooLarge():
                return cls("SWX-1070", error.en, error.zh, code=error.code)
            case StoreError():
                seconds = error.retry_after if isinstance(error, Busy) else AGAIN_SECONDS
                return cls.again("SWX-6000", seconds, error.code)
            case NotFound() | HTTPException(status_code=404):
                return cls.nothing_here()
            case HTTPException(status_code=405, headers=headers):
                allowed = ", ".join(sorted((headers or {}).get("Allow", "").split(", ")))
                return cls("SWX-8050", f"use {allowed}", f"请使用 {allowed}", headers={"Allow": allowed})
            case _:
                code = error.code if isinstance(error, ExchangeError) else ""
                en = "tell the operator when this happened; sending again does no harm"
                return cls("SWX-9000", en, "请将发生时间告知平台运营方；可放心重新发送", code=code)
