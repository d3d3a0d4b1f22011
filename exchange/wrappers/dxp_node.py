"""DxpMsgSv (传输节点报文): a DxpMsg between exchange nodes, behind a header (``SvNo``) that says from where to where.

Source: 海关跨境电商统一版系统企业对接报文规范 (202205), chapters 5 and 8.1. The DxpMsg inside comes out byte for byte,
so what was signed stays signed. An access node splits a message for several receivers: one copy for each, numbered
by SubMsgId; a transit node passes on what names another EndNode; the end node must know the receivers.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Final

from pydantic import Field

from exchange.errors import Held
from exchange.instants import show_instant
from exchange.options import Strict
from exchange.wrappers import Label, Node, Wrapped, dxp
from exchange.wrappers import _codes as codes
from exchange.wrappers._dxp_rules import BLOBS, DXP, DXP_MSG_SV, NS, PERSONAL
from exchange.wrappers._parts import read_whole
from exchange.wrappers._rules import judge

PARTS: Final = "0123456789"
SEQUENCE: Final = 10  # digits
NODE: Final = "^[0-9A-Za-z]{1,8}$"


class Options(dxp.Options):
    """What a row that writes DxpMsgSv may say."""

    start: str = Field(pattern=NODE)  # our own node: 8 digits
    end: str = Field(pattern=NODE)  # the node it is for


class DxpNode:
    """The wrapper DxpMsgSv."""

    name: ClassVar[str] = "dxp-node"
    begins: ClassVar[Collection[bytes]] = (b"DxpMsgSv",)
    answers: ClassVar[str] = "dxprep"
    Options: ClassVar[type[Strict]] = Options

    def open(self, payload: bytes) -> Wrapped | None:
        """Read a DxpMsgSv. Raises Unreadable (SWX-1011 to SWX-1015, SWX-1080)."""
        parts, root = read_whole(payload, BLOBS)
        if root.name != f"{NS}DxpMsgSv":
            return None
        findings = tuple(judge(root, DXP_MSG_SV, PERSONAL))
        inner, head = root.find("DxpMsg"), root.find("SvNo")
        if inner is None or head is None:
            raise codes.broken_rules("DxpMsgSv", findings)
        node = Node(head.say("MsgId") + head.say("SubMsgId"), head.say("StaNode"), head.say("EndNode"))
        return Wrapped(
            kind="dxp-node",
            payload=parts.cut(inner),
            node=node,
            signed=bool(root.say("Signature", "SignatureValue")),
            findings=findings,
            options={"start": node.start, "end": node.end},
        )

    def wrap(self, inner: bytes, label: Label, options: Any) -> bytes:
        """Write a DxpMsgSv: around a DxpMsg as it is, else around a new one. Raises Held (SWX-2074)."""
        number = f"{label.number:0{SEQUENCE}d}"[-SEQUENCE:]
        time = show_instant(label.at)[:19]
        if label.part >= len(PARTS):
            raise dxp.lacking("SubMsgId", label.part)
        sub = f"<dxp:SubMsgId>{PARTS[label.part]}</dxp:SubMsgId>" if label.part else ""
        head = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<dxp:DxpMsgSv xmlns:dxp="{DXP}" ver="1.0"><dxp:SvNo Ver="1.0">'
            f"<dxp:MsgId>{options.start}{''.join(c for c in time if c.isdigit())}{number}</dxp:MsgId>{sub}"
            f"<dxp:SendTime>{time}</dxp:SendTime><dxp:EndNode>{options.end}</dxp:EndNode>"
            f"<dxp:StaNode>{options.start}</dxp:StaNode></dxp:SvNo>"
        )
        return b"".join((head.encode(), _inner(inner, label, options), b"</dxp:DxpMsgSv>\n"))


def _inner(inner: bytes, label: Label, options: Options) -> bytes:
    """Return the DxpMsg to put in: the one that is there already, byte for byte, or a new one."""
    if b"DxpMsg" not in inner[:4096]:
        return dxp.written(inner, label, options)
    parts, root = read_whole(inner, BLOBS)
    if root.name != f"{NS}DxpMsg":
        return dxp.written(inner, label, options)
    if parts.charset:
        raise Held(
            f"a DxpMsg in {parts.charset} can't be put into a DxpMsgSv as it is: unwrap it first",
            f"{parts.charset} 编码的 DxpMsg 无法原样装入 DxpMsgSv：请先拆封",
            code="SWX-2074",
        )
    return parts.data[root.start : root.end]
