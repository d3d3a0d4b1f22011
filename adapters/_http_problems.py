"""Problems as the HTTP API tells them: one table, one exception, one answer (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

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


KINDS: Final[Mapping[str, Kind]] = {
    "SWX-8010": Kind(401, "The key is missing, unknown or expired", "密钥缺失、未知或已过期"),
    "SWX-8020": Kind(429, "Too many failed attempts from this address", "该地址的失败尝试次数过多"),
    "SWX-8030": Kind(400, "A parameter or header can't be read", "参数或请求头无法识别"),
    "SWX-8040": Kind(404, "There is nothing here", "所请求的内容不存在"),
    "SWX-8050": Kind(405, "This method isn't offered here", "此处不支持该请求方法"),
    "SWX-8060": Kind(415, "Encoded bodies aren't taken", "不接受经过编码（压缩）的请求体"),
    "SWX-8070": Kind(503, "The switch is stopping", "交换机正在停止"),
    "SWX-1070": Kind(413, "The message is too large", "报文超过大小限制"),
    "SWX-6000": Kind(503, "The switch can't take messages now", "交换机暂时无法接收报文"),
    "SWX-9000": Kind(500, "The switch failed", "交换机内部错误"),
}


class Problem(Exception):
    """A request that is answered with one of ``KINDS``; *en* and *zh* say what to do about it."""

    def __init__(
        self, kind: str, en: str, zh: str, *, code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{code or kind} {en}")
        self.kind, self.en, self.zh, self.code = kind, en, zh, code or kind
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return KINDS[self.kind].status

    def document(self) -> dict[str, Any]:
        """Return the body: the five members of RFC 9457 that fit, our code, and the same again in Chinese."""
        kind = KINDS[self.kind]
        return {
            "type": f"/v1/openapi.json#/components/x-problems/{self.kind}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.en,
            "code": self.code,
            "zh": f"{kind.zh}：{self.zh}",
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


def _again(kind: str, seconds: float, code: str = "", **headers: str) -> Problem:
    whole = max(1, math.ceil(seconds))
    en = f"nothing is confirmed; ask or send again in {whole} seconds"
    zh = f"本次请求未被确认，请 {whole} 秒后重试"
    return Problem(kind, en, zh, code=code, headers={"Retry-After": str(whole), **headers})


def stopping() -> Problem:
    """Return the answer of a switch that shuts down."""
    return _again("SWX-8070", AGAIN_SECONDS, Connection="close")


def unauthorized() -> Problem:
    """Return the one answer to every key that isn't good, so that it tells nothing about any."""
    return Problem(
        "SWX-8010",
        "send 'Authorization: Bearer <key>' with a key that is in force, or ask the operator for one",
        "请用有效的密钥发送 'Authorization: Bearer <密钥>'，或向平台运营方申请",
        headers={"WWW-Authenticate": "Bearer"},
    )


def throttled(seconds: float) -> Problem:
    """Return the answer to a source that has shown too many wrong keys."""
    whole = max(1, math.ceil(seconds))
    return Problem(
        "SWX-8020",
        f"check the key, and try again in {whole} seconds",
        f"请检查密钥，并在 {whole} 秒后重试",
        headers={"Retry-After": str(whole)},
    )


def nothing_here() -> Problem:
    """Return the one answer to what doesn't exist and to what is somebody else's."""
    return Problem(
        "SWX-8040",
        "check the address and the id; /v1/openapi.json lists the addresses",
        "请检查地址和编号；全部地址见 /v1/openapi.json",
    )


def unreadable(name: str, en: str, zh: str) -> Problem:
    """Return the answer to a parameter or header that makes no sense."""
    return Problem("SWX-8030", f"{name}: {en}", f"{name}：{zh}")


def problem_of(error: Exception) -> Problem:
    """Return how *error* is told; one of our own making tells nothing of our insides."""
    match error:
        case Problem():
            return error
        case TooLarge():
            return Problem("SWX-1070", error.en, error.zh, code=error.code)
        case StoreError():
            seconds = error.retry_after if isinstance(error, Busy) else AGAIN_SECONDS
            return _again("SWX-6000", seconds, error.code)
        case NotFound() | HTTPException(status_code=404):
            return nothing_here()
        case HTTPException(status_code=405, headers=headers):
            allowed = ", ".join(sorted((headers or {}).get("Allow", "").split(", ")))
            return Problem("SWX-8050", f"use {allowed}", f"请使用 {allowed}", headers={"Allow": allowed})
        case _:
            code = error.code if isinstance(error, ExchangeError) else ""
            en = "tell the operator when this happened; sending again does no harm"
            return Problem("SWX-9000", en, "请将发生时间告知平台运营方；可放心重新发送", code=code)
