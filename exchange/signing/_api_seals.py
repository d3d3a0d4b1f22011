"""What the remote signing API asks of profiles, keys and certificates; the one room of it that knows how they work."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Sequence
from typing import Any, Final

from exchange.errors import ExchangeError, TokenError
from exchange.instants import Instant, show_instant
from exchange.signing import certificates, xmldsig
from exchange.signing._api_clients import Caller
from exchange.signing._api_requests import Doubt, Item
from exchange.signing.profiles import accepted, named
from exchange.signing.sealing import Seal, Sealed
from exchange.signing.service import SigningService

FINAL: Final = frozenset(("SWX-5010", "SWX-5020"))  # codes of a token that waiting doesn't mend


def key_of(item: Item, caller: Caller) -> str:
    """Return the key that an item means."""
    return item.key or caller.own_key


def denied(caller: Caller, items: Sequence[Item]) -> list[dict[str, str]]:
    """Return what of a request its client may not have."""
    errors = []
    for number, item in enumerate(items):
        key = key_of(item, caller)
        if not caller.may_use(key):
            errors.append(_error(number, "key", f"you may not sign with key {key!r}", f"无权使用密钥 {key!r}"))
        if item.profile and not caller.may_ask_for(item.profile):
            text = f"you may not use profile {item.profile!r}", f"无权使用签名规格 {item.profile!r}"
            errors.append(_error(number, "profile", *text))
        if item.algorithm and item.algorithm not in caller.algorithms:
            text = f"you may not have data signed {item.algorithm}", f"无权对数据直接做 {item.algorithm} 签名"
            errors.append(_error(number, "algorithm", *text))
    return errors


def unfit(service: SigningService, caller: Caller, items: Sequence[Item], at: Instant) -> list[dict[str, str]]:
    """Return what of a request can't be signed, whoever asks: profiles and keys that aren't there, or don't fit."""
    errors = []
    for number, item in enumerate(items):
        place = "profile" if item.profile else "algorithm"
        try:
            algorithm = item.algorithm or named(item.profile).algorithm
            place = "key"
            der = service.token.certificate(service.choose(key_of(item, caller), at))
            if not certificates.fits(certificates.read(der), algorithm):
                raise TokenError(f"the key can't sign {algorithm}", f"该密钥不能用于 {algorithm} 签名", code="SWX-5020")
        except ExchangeError as why:
            errors.append(_error(number, place, why.en, why.zh) | {"code": why.code})
    return errors


def _error(number: int, member: str, en: str, zh: str) -> dict[str, str]:
    return {"pointer": f"/items/{number}/{member}", "detail": en, "zh": zh}


def seal_of(item: Item, caller: Caller) -> Seal:
    """Return the work of an item."""
    if item.algorithm:
        return Seal(item.data, None, item.algorithm, key_of(item, caller), algorithm=item.algorithm)
    return Seal(item.content, None, item.profile, key_of(item, caller), item.behind)


def waits(one: Sealed) -> bool:
    """Tell whether a failure is the token's, and may be mended by waiting."""
    return isinstance(one.error, TokenError) and one.error.code not in FINAL


def told(item: Item, one: Sealed) -> dict[str, Any]:
    """Return what became of an item, as its client is told."""
    if one.error is not None:
        return {"id": item.id, "error": {"code": one.error.code, "detail": one.error.en, "zh": one.error.zh}}
    assert one.operation is not None  # noqa: S101
    made = "signature" if item.algorithm else "content"
    return {"id": item.id, made: b64encode(one.body).decode(), "serial": one.operation.serial}


# -- verifying ---------------------------------------------------------------------------------------------------


def verdict(doubt: Doubt, registered: Collection[bytes], at: Instant) -> dict[str, Any]:
    """Return whether the signature in an item stands, and whose it is; *registered* are its party's certificates."""
    try:
        given = [der for one in doubt.certificates for der in certificates.from_file(one)]
        verified = xmldsig.verify(
            doubt.content,
            profiles=accepted(doubt.profiles),
            certificates=given or registered,
            at=at,
            behind=doubt.behind,
        )
    except ExchangeError as why:
        return {"id": doubt.id, "valid": False, "code": why.code, "detail": why.en, "zh": why.zh}
    signer = verified.signer
    return {
        "id": doubt.id,
        "valid": True,
        "profile": verified.profile.name,
        "signer": signer.subject,
        "serial": signer.serial,
        "not_before": show_instant(signer.not_before),
        "not_after": show_instant(signer.not_after),
    }
