"""Problems of the remote signing API, beside those that every interface of ours has (``exchange.problems``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from exchange import problems
from exchange.errors import TokenError
from exchange.problems import Kind

KINDS: Final[Mapping[str, Kind]] = {
    "SWX-7061": Kind(401, "This certificate isn't known here", "此证书未在本平台登记"),
    "SWX-7062": Kind(403, "This isn't permitted", "没有相应权限"),
    "SWX-7063": Kind(409, "Another request came under this key", "该幂等键已用于另一请求"),
    "SWX-7064": Kind(429, "The quota is used up", "配额已用完"),
    "SWX-7065": Kind(400, "The request can't be done as it stands", "请求内容有误"),
    "SWX-7066": Kind(503, "It isn't signed yet", "签名尚未完成"),
    "SWX-5000": Kind(503, "Nothing can be signed now", "目前无法签名"),
    **problems.KINDS,
}


class Problem(problems.Problem):
    """A request that is answered with one of ``KINDS``."""

    kinds: ClassVar[Mapping[str, Kind]] = KINDS


def stranger() -> Problem:
    """Return the answer to a certificate that is nobody's."""
    return Problem(
        "SWX-7061",
        "show a certificate that is registered for a party, or ask the operator to add you to signing.api.clients",
        "请使用已为接入方登记的证书, 或请平台运营方将其加入 signing.api.clients",
    )


def refused(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return the answer to a request that asks for what its client may not have; nothing of it was signed."""
    return _listed("SWX-7062", errors)


def mistaken(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return the answer to a request with mistakes; nothing of it was signed."""
    return _listed("SWX-7065", errors)


def _listed(kind: str, errors: Sequence[Mapping[str, Any]]) -> Problem:
    en = "nothing was signed; every mistake stands in 'errors'"
    return Problem(kind, en, "未做任何签名; 全部错误见 errors", errors=list(errors))


def on_hold(party: str) -> Problem:
    """Return the answer to a client whose party is on hold."""
    en, zh = f"party {party} is on hold; ask the operator", f"接入方 {party} 已挂起, 请联系平台运营方"
    return Problem("SWX-7062", en, zh, code="SWX-2060")


def conflicting() -> Problem:
    """Return the answer to a key that was used for another request."""
    return Problem(
        "SWX-7063", "send other requests under other Idempotency-Keys", "不同的请求请使用不同的 Idempotency-Key"
    )


def used_up(seconds: float) -> Problem:
    """Return the answer to a client that has had enough."""
    whole = max(1, math.ceil(seconds))
    en, zh = f"nothing was signed; ask again in {whole} seconds", f"未做任何签名, 请 {whole} 秒后重试"
    return Problem("SWX-7064", en, zh, headers={"Retry-After": str(whole)})


def not_yet() -> Problem:
    """Return the answer to somebody who has waited long enough; the work goes on."""
    return Problem(
        "SWX-7066",
        "ask again under the same Idempotency-Key, or send it with 'Prefer: respond-async'",
        "请用同一 Idempotency-Key 再次请求, 或改用 'Prefer: respond-async' 异步提交",
        headers={"Retry-After": str(problems.AGAIN_SECONDS)},
    )


def unable(why: TokenError) -> Problem:
    """Return the answer where nothing at all could be signed."""
    return Problem.again("SWX-5000", problems.AGAIN_SECONDS, why.code)
