"""The deliveries that a route asks for: where to, sealed how, changed by which steps, in what order."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from exchange.errors import BadSignature, Held
from exchange.model import Envelope, Message, Party, Planned, Route
from exchange.routing import RoutingTable
from exchange.signing.profiles import Profile

SIGNED: Final = "xml"  # the format that carries signatures inside
BESIDE: Final = "signature"  # the disposition of a signature that travels beside the message
UNORDERED: Final = "guid"  # a key of this name marks one transmission; every other one keeps its order


def plan(
    message: Message, sender: Party, receiver: str, route: Route, table: RoutingTable, keys: tuple[str, ...]
) -> list[Planned]:
    """Plan the deliveries of one copy by its route. Raises Held or Rejected where it can't be sealed."""
    profile = table.profiles.named(route.sign) if route.sign else None
    sign, key = _sealing(message, route, sender, profile)
    planned: list[Planned] = []
    for name in route.to:
        steps = route.steps.get(name, route.steps.get("", ())) if route.steps else ()
        if sign and profile and profile.enveloped and message.envelope.wrappers and not table.bares(steps):
            raise _sealed_in_vain(route)
        one = Planned(
            name,
            table.endpoints[name].party,
            sign=sign,
            key=key,
            expects_receipt=message.type.expects_receipt,
            deadline_seconds=message.type.deadline_seconds,
            deadlines=message.type.deadlines,
            keys=keys,
            mailbox=table.has_mailbox(name),
            steps=steps,
            receiver=receiver,
            on_failure=route.on_failure,
        )
        planned += _with_signature(one, message) if profile and profile.detached else [one]
    return planned


def _with_signature(planned: Planned, message: Message) -> list[Planned]:
    """Return a delivery of the signature, and one of the bytes as they came, which goes after it."""
    keys = planned.keys or (f"message:{message.arrival.id}",)
    signature = evolve(
        planned, keys=keys, disposition=BESIDE, expects_receipt=False, deadline_seconds=None, deadlines=()
    )
    return [signature, evolve(planned, keys=keys, sign="", key="")]


def _sealed_in_vain(route: Route) -> Held:
    return Held(
        f"route {route.name!r} signs, but the message came in an envelope, and a signature goes inside: let its steps "
        "begin with one that unwraps, then release this message",
        f"路由 {route.name!r} 要求签名，但报文装在信封中，签名须在信封之内：请让其步骤以拆封开始，再恢复本报文",
        code="SWX-2072",
    )


def _sealing(message: Message, route: Route, sender: Party, profile: Profile | None) -> tuple[str, str]:
    """Return the profile and key to seal with; nothing for what is signed already or needn't be."""
    signed, inside = message.envelope.signed, profile is not None and profile.enveloped
    if message.type.signature == "required" and not signed and not inside:
        raise BadSignature(
            f"{message.type.name} must be signed: sign it, or ask for signing by the platform",
            f"{message.type.name} 必须签名：请签名后重报，或申请由平台代签",
            code="SWX-1031",
        )
    if profile is None or (signed and inside):
        return "", ""
    if inside and message.type.format != SIGNED:
        raise Held(
            f"route {route.name!r} signs, but {message.type.name} can't carry a signature: correct the route, "
            "then release this message",
            f"路由 {route.name!r} 要求签名，但 {message.type.name} 无法携带签名：请更正路由，再恢复本报文",
            code="SWX-2071",
        )
    key = route.key or sender.signing_key
    if not key:
        raise Held(
            f"route {route.name!r} signs, but {sender.code} has no signing key: give it one, then release this message",
            f"路由 {route.name!r} 要求签名，但 {sender.code} 没有签名密钥：请配置密钥，再恢复本报文",
            code="SWX-2070",
        )
    return route.sign, key


def business_keys(envelope: Envelope) -> tuple[str, ...]:
    """Return what this message must not overtake, nor be overtaken by, on its way to one endpoint."""
    keys = (f"{name}:{value}" for document in envelope.documents for name, value in document.keys.items())
    return tuple(dict.fromkeys(key for key in keys if not key.startswith(f"{UNORDERED}:")))
