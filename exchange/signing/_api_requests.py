"""What clients of the remote signing API ask for: bytes into values, with every mistake told at once. Pure."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from exchange.options import Strict
from exchange.signing._api_problems import mistaken
from exchange.signing._api_settings import Algorithm

MOST: Final = 100  # items of one request


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be text in base64 · 应为 base64 文本")
    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise ValueError("is no base64 (RFC 4648, section 4) · 不是有效的 base64") from None


Bytes = Annotated[bytes, BeforeValidator(_decoded)]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Behind = Annotated[tuple[str, ...], Field(max_length=20)]


class Item(Strict):
    """One thing to sign: *content* by a profile, or *data* under an algorithm, as it is."""

    id: Id
    key: str = Field("", max_length=128)
    profile: str = Field("", max_length=128)
    content: Bytes = b""
    behind: Behind = ()
    algorithm: Algorithm | None = None
    data: Bytes = b""
    sm2_id: Bytes = b""

    @model_validator(mode="after")
    def _one_of_two(self) -> Item:
        said = bool(self.profile), bool(self.content), bool(self.algorithm), bool(self.data)
        if said not in ((True, True, False, False), (False, False, True, True)):
            raise ValueError(
                "must have profile and content, or algorithm and data · 应填写 profile 和 content, 或 algorithm 和 data"
            )
        return self


class Doubt(Strict):
    """One thing to verify, against certificates, a party's or those given; *signature* is what came beside it."""

    id: Id
    content: Bytes = Field(min_length=1)
    signature: Bytes = b""
    profiles: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    behind: Behind = ()
    party: str = Field("", max_length=128)
    certificates: Annotated[tuple[Bytes, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> Doubt:
        if bool(self.party) == bool(self.certificates):
            raise ValueError("must have party or certificates · 应填写 party 或 certificates 之一")
        return self


def _distinct(items: Sequence[Any]) -> Sequence[Any]:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise ValueError(f"{item.id!r} stands here twice · {item.id!r} 重复")
        seen.add(item.id)
    return items


class SignRequest(Strict):
    """The body of ``POST /v1/signatures``."""

    mode: Literal["sync", "async"] = "sync"
    items: list[Item] = Field(min_length=1, max_length=MOST)

    @model_validator(mode="after")
    def _ids(self) -> SignRequest:
        _distinct(self.items)
        return self


class VerifyRequest(Strict):
    """The body of ``POST /v1/verifications``."""

    items: list[Doubt] = Field(min_length=1, max_length=MOST)

    @model_validator(mode="after")
    def _ids(self) -> VerifyRequest:
        _distinct(self.items)
        return self


Request = TypeVar("Request", SignRequest, VerifyRequest)


def parsed(model: type[Request], body: bytes) -> Request:
    """Read a body. Raises Problem with every mistake and where it is (a JSON pointer)."""
    try:
        return model.model_validate_json(body)
    except ValidationError as why:
        raise mistaken([_error(one) for one in why.errors(include_input=False, include_url=False)]) from None


def _error(one: Any) -> dict[str, str]:
    said = one["msg"].removeprefix("Value error, ")
    en, _, zh = said.partition(" · ")
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in one["loc"])  # RFC 6901, section 3
    return {"pointer": "".join(f"/{part}" for part in parts), "detail": en, "zh": zh or en}
