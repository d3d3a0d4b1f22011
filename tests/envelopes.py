"""Envelopes as peers write them, made by hand: nothing of what the switch writes itself is used."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence

DXP = "http://www.chinaport.gov.cn/dxp"
IMPORT, EXPORT = "DXPEDCCEB0000002", "DXPEDCCEB0000003"


def dxp(
    inner: bytes,
    *,
    id: str = "COP-1",
    sender: str = "DXPENT0000000001",
    receivers: Sequence[str] = (IMPORT,),
    created: str = "2026-11-22T12:00:00",
    type: str = "CEB311Message",
    name: str = "",
    data: bytes | None = None,
    more: str = "",
    prefix: str = "",
    declaration: bool = True,
) -> bytes:
    """Return a DxpMsg around *inner*; *data* is what stands in Data instead of its base64."""
    p, ns = (f"{prefix}:", f":{prefix}") if prefix else ("", "")
    ids = "".join(f"<{p}ReceiverId>{one}</{p}ReceiverId>" for one in receivers)
    add = f"<{p}AddInfo><{p}FileName>{name}</{p}FileName></{p}AddInfo>" if name else ""
    head = (
        f'<{p}DxpMsg xmlns{ns}="{DXP}" ver="1.0"><{p}TransInfo><{p}CopMsgId>{id}</{p}CopMsgId>'
        f"<{p}SenderId>{sender}</{p}SenderId><{p}ReceiverIds>{ids}</{p}ReceiverIds>"
        f"<{p}CreatTime>{created}</{p}CreatTime><{p}MsgType>{type}</{p}MsgType></{p}TransInfo><{p}Data>"
    )
    body = base64.b64encode(inner) if data is None else data
    written = head.encode() + body + f"</{p}Data>{add}{more}</{p}DxpMsg>".encode()
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' * declaration + written


def node(msg: bytes, *, start: str = "00000002", end: str = "51000001", sub: str = "", number: int = 1) -> bytes:
    """Return a DxpMsgSv around a DxpMsg without its declaration, which takes its namespace from around it."""
    inner = msg[msg.index(b"DxpMsg") :]
    inner = b"<dxp:" + inner if b"<dxp:DxpMsg" in msg else b"<" + inner
    inner = inner.replace(f' xmlns:dxp="{DXP}"'.encode(), b"", 1)
    part = f"<dxp:SubMsgId>{sub}</dxp:SubMsgId>" if sub else ""
    head = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<dxp:DxpMsgSv ver="1.0" xmlns:dxp="{DXP}">\n'
        f'  <dxp:SvNo Ver="1.0"><dxp:MsgId>{start}20261122120000{number:010d}</dxp:MsgId>{part}'
        f"<dxp:SendTime>2026-11-22T12:00:00Z</dxp:SendTime><dxp:EndNode>{end}</dxp:EndNode>"
        f"<dxp:StaNode>{start}</dxp:StaNode></dxp:SvNo>\n  "
    )
    return head.encode() + inner + b"\n</dxp:DxpMsgSv>\n"


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip package with these entries, dated 1980 so that it is always the same."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, body in entries:
            archive.writestr(zipfile.ZipInfo(name), body, method)
    return out.getvalue()


def zip_element(package: bytes) -> bytes:
    """Return a package as it stands in DXP's Data."""
    return b"<Zip>" + base64.b64encode(package) + b"</Zip>"
