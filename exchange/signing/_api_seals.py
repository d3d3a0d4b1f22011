"""What the remote signing API asks of profiles, keys and certificates; the one room of it that knows how they work."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Sequence
from typing import Any, Final

from exchange.errors import ExchangeError, TokenError
from exchange.instants import Instant, show_instant
from exchange.ports import SM2_ID
from exchange.signing import certificates, formats
from exchange.signing._api_clients import Caller
from exchange.signing._api_requests import Doubt, Item
from exchange.signing.profiles import Profile, Profiles
from exchange.signing.sealing import Seal, Sealed
from exchange.signing.service import SigningService
from exchange.signing.trust import Terms

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


def unfit(
    service: SigningService, profiles: Profiles, caller: Caller, items: Sequence[Item], at: Instant
) -> list[dict[str, str]]:
    """Return what of a request can't be signed, whoever asks: profiles and keys that aren't there, or don't fit."""
    errors = []
    for number, item in enumerate(items):
        place = "profile" if item.profile else "algorithm"
        try:
            algorithm = _profile(item, profiles).algorithm
            place = "key"
            der = service.token.certificate(service.choose(key_of(item, caller), at))
            if not certificates.fits(certificates.read(der), algorithm):
                raise TokenError(f"the key can't sign {algorithm}", f"该密钥不能用于 {algorithm} 签名", code="SWX-5020")
        except ExchangeError as why:
            errors.append(_error(number, place, why.en, why.zh) | {"code": why.code})
    return errors


def _error(number: int, member: str, en: str, zh: str) -> dict[str, str]:
    return {"pointer": f"/items/{number}/{member}", "detail": en, "zh": zh}


def seal_of(item: Item, profiles: Profiles, caller: Caller) -> Seal:
    """Return the work of an item. Raises ConfigurationError where its profile is no more."""
    return Seal(item.content or item.data, None, _profile(item, profiles), key_of(item, caller), item.behind)


def _profile(item: Item, profiles: Profiles) -> Profile:
    """Return the profile of an item; data has one that only says how the algorithm is used, under a name of its own."""
    if not item.algorithm:
        return profiles.named(item.profile)
    name, sm2_id = f"data:{item.algorithm}", item.sm2_id or SM2_ID
    return Profile(name, 1, "raw", item.algorithm, "", detached=True, encoding="raw", sm2_id=sm2_id)


def waits(one: Sealed) -> bool:
    """Tell whether a failure is the token's, and may be mended by waiting."""
    return isinstance(one.error, TokenError) and one.error.code not in FINAL


def told(item: Item, profiles: Profiles, one: Sealed) -> dict[str, Any]:
    """Return what became of an item, as its client is told."""
    if one.error is not None:
        return {"id": item.id, "error": {"code": one.error.code, "detail": one.error.en, "zh": one.error.zh}}
    assert one.operation is not None  # noqa: S101
    made = "signature" if _profile(item, profiles).detached else "content"
    written = one.body if item.algorithm else b64encode(one.body)  # the raw format writes base64 by itself
    return {"id": item.id, made: written.decode(), "serial": one.operation.serial}


# -- verifying ---------------------------------------------------------------------------------------------------


def verdict(
    doubt: Doubt, profiles: Profiles, registered: Collection[bytes], trust: Terms | None, at: Instant
) -> dict[str, Any]:
    """Return whether the signature in an item stands, and whose it is.

    *registered* are its party's certificates, *trust* is what its agreement asks of them.
    """
    try:
        given = [der for one in doubt.certificates for der in certificates.from_file(one)]
        verified = formats.verify(
            doubt.signature or doubt.content,
            profiles=profiles.accepted(doubt.profiles),
            certificates=given or registered,
            at=at,
            behind=doubt.behind,
            content=doubt.content if doubt.signature else None,
            trust=trust,
        )
    except ExchangeError as why:
        return {"id": doubt.id, "valid": False, "code": why.code, "detail": why.en, "zh": why.zh}
    signer = verified.signer
    return {
        "id": doubt.id,
        "valid": True,
        "profile": verified.profile.id,
        "signer": signer.subject,
        "serial": signer.serial,
        "not_before": show_instant(signer.not_before),
        "not_after": show_instant(signer.not_after),
        "warnings": [why.code for why in verified.warnings],
    }
