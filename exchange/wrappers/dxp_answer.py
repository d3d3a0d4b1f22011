"""DxpRep (交换平台响应报文): what we answer to a message that came in a DXP envelope.

It repeats the head of what it answers, as far as that could be read: of a message that breaks off, too. Which of the
platform's codes stands for which of ours is told in ``dxp_answers.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from attrs import frozen

from exchange.instants import Instant, show_instant
from exchange.model import Finding
from exchange.wrappers._dxp_rules import BLOBS, DXP, ID_LENGTH, RECEIVERS
from exchange.wrappers._parts import read
from exchange.yamlfile import read as read_yaml

INFO: Final = 300  # characters of ResponseInfo
NOTE: Final = 500
FAR: Final = timedelta(hours=14, minutes=1)  # from Greenwich
UNKNOWN: Final = "-"  # where what is answered says nothing, and something must stand
_FILE: Final = Path(__file__).with_name("dxp_answers.yaml")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")


@frozen
class Said:
    """What an answer says, in our own words and under our own code; no code: accepted."""

    zh: str
    code: str = ""
    duplicate: bool = False
    findings: Sequence[Finding] = ()


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = read_yaml(_FILE.read_text("utf-8"), _FILE.name).data
    return table


def response_code(said: Said) -> str:
    """Return the platform's code.

    >>> response_code(Said("", "SWX-1053")), response_code(Said("")), response_code(Said("", "SWX-1413"))
    ('2001', '4000', '0002')
    """
    if not said.code:
        return str(_table()["duplicate" if said.duplicate else "accepted"])
    known = _table()["codes"]
    return str(known[max((begin for begin in known if said.code.startswith(begin)), key=len)])


def answer(original: bytes, said: Said, at: Instant) -> bytes:
    """Write a DxpRep about *original*, a DxpMsg or DxpMsgSv as it came."""
    root = read(original, BLOBS).root
    info = (root.find("TransInfo") or root.find("DxpMsg", "TransInfo")) if root is not None else None
    say = info.say if info is not None else lambda *names: ""
    receivers = info.find("ReceiverIds") if info is not None else None
    named = [part.text.strip()[:ID_LENGTH] for part in receivers.parts] if receivers is not None else []
    sender = say("SenderId")[:ID_LENGTH] or UNKNOWN
    created = say("CreatTime")
    told = f"{said.code} {said.zh}".strip()
    note = "\n".join(f"{f.pointer}：{f.zh}" for f in said.findings)
    ids = "".join(_element("ReceiverId", one or UNKNOWN) for one in (named or [UNKNOWN])[:RECEIVERS])
    head = (
        _element("CopMsgId", say("CopMsgId")[:255] or UNKNOWN)
        + _element("SenderId", sender)
        + f"<dxp:ReceiverIds>{ids}</dxp:ReceiverIds>"
        + _element("CreatTime", created if _is_time(created) else show_instant(at)[:19])
        + _element("MsgType", say("MsgType")[:30])
    )
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<dxp:DxpRep xmlns:dxp="{DXP}" ver="1.0">{_element("RecevierId", sender)}<dxp:Response>'
        f"{_element('ResponseCode', response_code(said))}{_element('ResponseInfo', told[:INFO])}"
        f"{_element('NoticeTime', show_instant(at)[:10])}{_element('Note', note[:NOTE]) if note else ''}"
        f"<dxp:OriHead>{head}</dxp:OriHead></dxp:Response></dxp:DxpRep>\n"
    )
    return body.encode()


def _is_time(text: str) -> bool:
    """Tell whether a time is written as the schema of the answer asks (xs:dateTime)."""
    try:
        offset = datetime.fromisoformat(text).utcoffset() if _TIME.fullmatch(text) else FAR
    except ValueError:
        return False
    return offset is None or abs(offset) < FAR


def _element(name: str, text: str) -> str:
    return f"<dxp:{name}>{escape(_clean(text))}</dxp:{name}>"


def _clean(text: str) -> str:
    """Drop what XML can't hold."""
    return "".join(
        c for c in text if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff")
    )
