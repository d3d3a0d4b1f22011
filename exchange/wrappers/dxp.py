"""DxpMsg (终端节点报文): a message as terminals and enterprises send it to the exchange, base64 in ``Data``.

Source: 海关跨境电商统一版系统企业对接报文规范 (202205), chapters 1, 4 and 5, and its XSDs. ``Data`` may hold blanks
and line breaks; times are read in any form and nothing depends on them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from typing import Any, ClassVar, Final
from xml.sax.saxutils import escape

from attrs import evolve
from pydantic import Field

from exchange.errors import Held
from exchange.instants import show_instant
from exchange.options import Strict
from exchange.wrappers import Label, Wrapped
from exchange.wrappers import _codes as codes
from exchange.wrappers._dxp_rules import BLOBS, DXP, DXP_MSG, ID_LENGTH, NS, PERSONAL, RECEIVERS
from exchange.wrappers._parts import Part, Parts, read_whole
from exchange.wrappers._rules import judge

LONGEST: Final = {"own_id": 255, "type": 30, "name": 255}


class Options(Strict):
    """What a row that writes DxpMsg may say."""

    types: dict[str, str] = Field(default_factory=dict)  # what MsgType says for a message type; its own name otherwise
    sender: str = ""  # a DXP id; empty: the message's own sender
    receiver: str = ""  # a DXP id; empty: the receiver's


class Dxp:
    """The wrapper DxpMsg."""

    name: ClassVar[str] = "dxp"
    begins: ClassVar[Collection[bytes]] = (b"DxpMsg",)
    answers: ClassVar[str] = "dxprep"
    Options: ClassVar[type[Strict]] = Options

    def open(self, payload: bytes) -> Wrapped | None:
        """Read a DxpMsg. Raises Unreadable (SWX-1011 to SWX-1015, SWX-1080 to SWX-1082)."""
        parts, root = read_whole(payload, BLOBS)
        return opened(parts, root) if root.name == f"{NS}DxpMsg" else None

    def wrap(self, inner: bytes, label: Label, options: Any) -> bytes:
        """Write a DxpMsg. Raises Held (SWX-2074) where a sender or receiver is missing."""
        return b"".join((b'<?xml version="1.0" encoding="UTF-8"?>\n', written(inner, label, options), b"\n"))


def opened(parts: Parts, root: Part) -> Wrapped:
    """Return what a DxpMsg says and holds; rules that it breaks are told beside, where it can be opened at all."""
    findings = tuple(judge(root, DXP_MSG, PERSONAL))
    data, info = root.find("Data"), root.find("TransInfo")
    if data is None or info is None:
        raise codes.broken_rules("DxpMsg", findings)
    receivers = info.find("ReceiverIds")
    return Wrapped(
        kind="dxp",
        payload=codes.base64(parts.blob(data), "Data"),
        own_id=info.say("CopMsgId"),
        sender=info.say("SenderId"),
        receivers=tuple(filter(None, (part.text.strip() for part in receivers.parts))) if receivers else (),
        type=info.say("MsgType"),
        name=root.say("AddInfo", "FileName"),
        signed=bool(root.say("Signature", "SignatureValue")),
        findings=findings,
    )


def written(inner: bytes, label: Label, options: Options) -> bytes:
    """Write the element DxpMsg, without a declaration, in the order of the XSD."""
    label = evolve(
        label,
        sender=options.sender or label.sender,
        receivers=(options.receiver,) if options.receiver else label.receivers,
        type=options.types.get(label.type, label.type),
    )
    for what, value in (("sender", label.sender), *(("receiver", one) for one in label.receivers or ("",))):
        if not 1 <= len(value) <= ID_LENGTH:
            raise lacking(what, value)
    for what, longest in LONGEST.items():
        if not 1 <= len(getattr(label, what)) <= longest:
            raise lacking(what, getattr(label, what))
    if len(label.receivers) > RECEIVERS:
        raise lacking("receivers", str(len(label.receivers)))
    receivers = "".join(f"<dxp:ReceiverId>{escape(one)}</dxp:ReceiverId>" for one in label.receivers)
    head = (
        f'<dxp:DxpMsg xmlns:dxp="{DXP}" ver="1.0"><dxp:TransInfo>'
        f"<dxp:CopMsgId>{escape(label.own_id)}</dxp:CopMsgId><dxp:SenderId>{escape(label.sender)}</dxp:SenderId>"
        f"<dxp:ReceiverIds>{receivers}</dxp:ReceiverIds><dxp:CreatTime>{show_instant(label.at)[:19]}</dxp:CreatTime>"
        f"<dxp:MsgType>{escape(label.type)}</dxp:MsgType></dxp:TransInfo><dxp:Data>"
    )
    tail = f"</dxp:Data><dxp:AddInfo><dxp:FileName>{escape(label.name)}</dxp:FileName></dxp:AddInfo></dxp:DxpMsg>"
    return b"".join((head.encode(), b64encode(inner), tail.encode()))


def lacking(what: str, value: Any) -> Held:
    """Return the error for an envelope that can't be written for want of something."""
    return Held(
        f"the envelope can't be written: its {what} {str(value)[:32]!r} is missing or too long; "
        "give the party a DXP id, or say it in the step, then release this message",
        f"无法书写信封：{what} {str(value)[:32]!r} 缺失或过长；请为接入方登记 DXP 标识或在步骤中写明，再恢复本报文",
        code="SWX-2074",
    )
