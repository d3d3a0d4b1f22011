"""Problems of the open API, beside those that every interface of ours has (``exchange.problems``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

from exchange import problems
from exchange.problems import Kind

KINDS: Final[Mapping[str, Kind]] = {
    "SWX-8010": Kind(401, "The key is missing, unknown or expired", "密钥缺失、未知或已过期"),
    "SWX-8020": Kind(429, "Too many failed attempts from this address", "该地址的失败尝试次数过多"),
    **problems.KINDS,
}


class Problem(problems.Problem):
    """A request that is answered with one of ``KINDS``."""

    kinds: ClassVar[Mapping[str, Kind]] = KINDS


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
