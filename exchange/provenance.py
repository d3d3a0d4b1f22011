"""Who a message is from: who handed it in, the sender that it names, and who signed it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from exchange.errors import BadSignature, Held, UnknownParty
from exchange.formats import Opened
from exchange.instants import Instant
from exchange.model import Arrival, Envelope, Finding, MessageType, Party
from exchange.planning import SIGNED
from exchange.routing import RoutingTable
from exchange.signing.faults import OVERDUE, UNLISTED
from exchange.signing.xmldsig import verify

OURS: Final = (OVERDUE, UNLISTED)  # what is wrong with a signature that isn't its sender's fault: our list is missing
LARGEST: Final = 8 * 1024 * 1024  # bytes of an envelope whose signature is checked: libxml2 reads 10 MB in one text


def sender_of(arrival: Arrival, name: str, table: RoutingTable) -> Party:
    """Return who the message is from: as it says itself, if the endpoint's owner may send for him."""
    owner = table.parties.get(arrival.party)
    if owner is None:
        raise UnknownParty(
            f"party {arrival.party!r} is no longer in the routing table",
            f"接入方 {arrival.party!r} 已不在路由表中",
            code="SWX-1051",
        )
    if not name:
        return owner
    sender = table.party(name)
    if sender is None:
        raise UnknownParty(
            f"the sender {name!r} is not known here: check the identifier, or apply for access",
            f"未知的发送方 {name!r}：请核对标识，或申请接入",
            code="SWX-1051",
        )
    if sender.code != owner.code and not {sender.code, "*"} & set(owner.agreement.sends_for):
        raise UnknownParty(
            f"{owner.code} may not send for {sender.code}: the message names {name!r} as its sender",
            f"{owner.code} 无权代 {sender.code} 发送：报文中的发送方为 {name!r}",
            code="SWX-1052",
        )
    return sender


def require_receivers(envelope: Envelope, table: RoutingTable) -> None:
    """Raise UnknownParty (SWX-1053) with everybody whom a message is for and nobody knows here."""
    unknown = [name for name in envelope.receivers if table.party(name) is None]
    if unknown:
        raise UnknownParty(
            f"unknown receiver: {', '.join(unknown)}", f"未知的接收方：{'、'.join(unknown)}", code="SWX-1053"
        )


def verified(
    opened: Opened, type: MessageType, envelope: Envelope, sender: Party, table: RoutingTable, at: Instant
) -> tuple[str, list[Finding]]:
    """Check the signature as the sender's agreement asks; return the signer and warnings."""
    wanted = sender.agreement.verify
    if wanted == "off":
        return "", []
    try:
        document, behind = _signed(opened, type, envelope, sender)
        profiles = table.profiles.accepted(sender.agreement.profiles)
        found = verify(
            document,
            profiles=profiles,
            certificates=sender.certificates,
            at=at,
            behind=behind,
            trust=table.terms(sender.agreement),
        )
    except BadSignature as why:
        if wanted == "require":
            raise Held(why.en, why.zh, code=why.code) if why.code in OURS else why  # noqa: B904 - it is the same
        return "", [_odd_signature(why)]
    return found.signer.serial, [_odd_signature(why) for why in found.warnings]


def _signed(opened: Opened, type: MessageType, envelope: Envelope, sender: Party) -> tuple[Any, Sequence[str]]:
    """Return what carries the sender's signature, and what may stand behind it: the message, else the nearest envelope.

    Clients that send goods declarations sign the DxpMsg around them. Raises BadSignature where nothing can carry one.
    """
    around = next((one.whole for one in reversed(opened.wrappers) if one.signed), b"")
    if around and not envelope.signed:
        if len(around) > LARGEST:
            raise BadSignature(
                f"an envelope of {len(around)} bytes is too large for its signature to be checked: sign what is inside",
                f"信封 {len(around)} 字节过大，无法验证其签名：请对信封内的报文签名",
                code="SWX-1036",
            )
        return around, ()
    if type.format != SIGNED:
        raise BadSignature(
            f"{sender.code} must sign, and {type.name} can't carry a signature: sign an envelope around it, send XML, "
            "or change the agreement",
            f"{sender.code} 的报文须签名，而 {type.name} 无法携带签名：请对其信封签名、改用 XML，或申请变更接入协议",
            code="SWX-1031",
        )
    return opened.document, type.spec.file.behind_signature


def _odd_signature(why: BadSignature) -> Finding:
    return Finding(why.code, "signature", "/Signature", why.en, why.zh, severity="warning")
