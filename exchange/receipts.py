"""Receipts: which message one answers, how it goes home, and the receipts that we write ourselves.

A receipt's route is its cause's return address. One file may answer many messages of many senders: each sender gets
his own part, or the whole file where all of it is his (or its type says so). Receipts never beget receipts.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson

from exchange.errors import Rejected
from exchange.formats import platform_file
from exchange.formats.edifact import Verdict, acknowledge
from exchange.instants import Instant, show_id, show_instant
from exchange.model import Answered, Arrival, Cause, Context, Decision, Envelope, Finding, Message, Parcel, Planned
from exchange.routing import RoutingTable
from exchange.wrappers.dxp_answer import Said, answer

WAIT_SECONDS: Final = 3600.0  # how long an early receipt waits for its cause before a person must look
CEB: Final = "http://www.chinaport.gov.cn/ceb"
RETURN_INFO: Final = 5000  # characters that CEB900 allows for it
ORIGINAL: Final = 64 * 1024  # bytes of the original that a rejection repeats; more helps nobody
EDIFACT: Final = "edifact"  # the shape of CONTRL; what follows it is the version
DXP: Final = "dxprep"  # the shape of DxpRep
SYNTAX_ERRORS: Final = {  # our codes -> data element 0085, for what is wrong with an interchange as a whole
    "SWX-1016": "13", "SWX-1021": "17", "SWX-1023": "17", "SWX-1025": "32", "SWX-1051": "23", "SWX-1052": "17",
    "SWX-1053": "7", "SWX-1060": "26",
}  # fmt: skip
Form = Callable[[str, Sequence[int] | None], Parcel | None]  # how it goes to a party: these of its records, or all


# -- correlation -------------------------------------------------------------------------------------------------


def decide(
    message: Message, context: Context, table: RoutingTable, form: Form, whole: bool, every: bool = False
) -> Decision:
    """Send each record of a receipt home to the sender of what it answers; park what answers nothing yet.

    *form* writes it for one party (None: the bytes as they came); *whole* says that every sender gets all of it,
    *every* that a record answers every document of what it answers.
    """
    if context.prior is not None:
        return Decision("recognise", twin=context.prior.id)
    records = message.arrival.only or range(len(message.envelope.documents))
    sender = table.parties.get(message.sender)
    trusted = sender is not None and sender.is_authority
    found = {i: _choose(context.causes[i], message.sender, trusted) for i in records}
    waits = tuple(i for i, causes in found.items() if not causes)
    known = {i: causes[0] for i, causes in found.items() if causes}
    homes = {cause.party: table.reply_endpoint(cause.party, cause.endpoint) for cause in known.values()}
    if homeless := [party for party, endpoint in homes.items() if endpoint is None]:
        return Decision(
            "hold",
            code="SWX-2011",
            en=f"no endpoint of {', '.join(homeless)} can take receipts: add one, then release this message",
            zh=f"接入方 {'、'.join(homeless)} 没有可接收回执的端点：请先配置端点，再恢复本报文",
        )
    planned = []
    for party, endpoint in homes.items():
        mine = {i: cause for i, cause in known.items() if cause.party == party}
        alone = whole or len(mine) == len(message.envelope.documents)
        planned.append(
            Planned(
                endpoint.name if endpoint else "",
                party,
                parcel=form(party, None if alone else sorted(mine)),
                disposition="receipt",
                refers_to=next(iter(mine.values())).id,
                keys=tuple(dict.fromkeys(f"answers:{cause.id}" for cause in mine.values())),
                mailbox=endpoint is not None and table.has_mailbox(endpoint.name),
            )
        )
    answered = tuple(
        Answered(i, causes[0].id, document, causes[0].documents, message.sender, message.envelope.answers[i])
        for i, causes in found.items()
        if causes
        for document in _answered(causes, every, message.envelope.answers[i].terminal)
    )
    event = "park" if waits and not known else "accept"
    odd = message.warnings
    return Decision(event, tuple(planned), answered, findings=odd, waits=waits, wait_seconds=WAIT_SECONDS)


def _answered(causes: Sequence[Cause], every: bool, terminal: bool) -> Sequence[int]:
    """Return the documents that a record answers: those it means, or *every* one; what ends nothing is told once."""
    if not every:
        return [cause.document for cause in causes]
    return range(causes[0].documents) if terminal else [causes[0].document]


def _choose(causes: Sequence[Cause], sender: str, trusted: bool) -> Sequence[Cause]:
    """Return what a record answers: awaited from this sender if any is, the newest; never a guess.

    Of the newest message, that is every document which the record means: one, or all where it speaks of them together.
    Keys that lead to several parties lead to nobody: a receipt must not reach a stranger. Only who is *trusted*
    (authorities) may answer what isn't awaited from him: others could write receipts for their competitors.
    """
    awaited = [cause for cause in causes if sender in cause.awaits] or (causes if trusted else [])
    return [one for one in awaited if one.id == awaited[0].id] if len({one.party for one in awaited}) == 1 else []


# -- the receipts that we write ----------------------------------------------------------------------------------


def accepted(
    arrival: Arrival,
    envelope: Envelope,
    at: Instant,
    shape: str,
    *,
    twin: int = 0,
    warnings: Sequence[Finding] = (),
    contrl: str = "as-asked",
) -> Parcel | None:
    """Write that a message was accepted (again, where *twin* is the earlier one); nothing where none is asked for.

    *shape* and *contrl* as in ``rejected``.
    """
    if shape.startswith(EDIFACT):
        verdict = Verdict(_reference(arrival, "A"), *_moment(at), version=shape[8:], wanted=contrl)
        written = _contrl("Successed", arrival, verdict)
        return written if written is not None and written.size else None
    if shape == "platform_file":
        told = f"same file as {show_id(twin)}" if twin else ""
        outcome = ["DUPLICATE" if twin else "ACCEPTED", "", "", told]
        return _platform_file("Successed", arrival, envelope, at, outcome, warnings)
    if shape == DXP:
        said = Said("已接收，此前已收到，不再转发" if twin else "已接收", duplicate=bool(twin), findings=warnings)
        return _dxprep("Successed", arrival, said, at)
    facts: dict[str, Any] = _head(arrival, envelope, at) | {"state": "ACCEPTED"}
    if twin:
        facts["duplicate_of"] = show_id(twin)
    if warnings:
        facts["findings"] = [_shown(f) for f in warnings]
    return _json("Successed", arrival, facts)


def rejected(
    arrival: Arrival, envelope: Envelope | None, why: Rejected, at: Instant, shape: str, *, contrl: str = "as-asked"
) -> Parcel | None:
    """Write that a message was rejected or discarded, with every finding; nothing about an acknowledgement.

    *shape* is ``json``, ``ceb900``, ``platform_file``, ``dxprep`` or ``edifact``, which may name the version of CONTRL:
    ``edifact D:96A:UN``; *contrl* says when CONTRL is wanted, as agreements do.
    """
    if shape == "ceb900":
        return _ceb900(arrival, envelope, why, at)
    if shape.startswith(EDIFACT):
        code = SYNTAX_ERRORS.get(why.code, "" if why.findings else "18")
        verdict = Verdict(_reference(arrival, "R"), *_moment(at), code, why.findings, shape[8:], contrl)
        written = _contrl("Failed", arrival, verdict)
        if written is not None:
            return written if written.size else None
    if shape == DXP:
        return _dxprep("Failed", arrival, Said(why.zh, why.code, findings=why.findings), at)
    if shape == "platform_file":
        outcome = [why.state, why.code, why.zh, why.en]
        return _platform_file("Failed", arrival, envelope, at, outcome, why.findings)
    told = {"state": why.state, "code": why.code, "en": why.en, "zh": why.zh}
    return _json(
        "Failed", arrival, _head(arrival, envelope, at) | told | {"findings": [_shown(f) for f in why.findings]}
    )


def _dxprep(prefix: str, arrival: Arrival, said: Said, at: Instant) -> Parcel:
    return Parcel(_name(prefix, arrival, ".xml"), answer(arrival.parcel.read(), said, at), {"type": "DxpRep"})


def _contrl(prefix: str, arrival: Arrival, verdict: Verdict) -> Parcel | None:
    """Write the receipt of EDIFACT; empty where none is due, None where the interchange can't even be named."""
    body = acknowledge(arrival.parcel.read(), verdict)
    return Parcel(_name(prefix, arrival, ".edi"), body, {"type": "CONTRL"}) if body is not None else None


def _reference(arrival: Arrival, kind: str) -> str:
    """Make a control reference (0020, 14 characters) from the id of what is answered: it needs no counter.

    Six digits of the day, seven of the running number in base 36 (78 thousand million a day), and what it says: A
    (accepted) or R (rejected). No other arrival has the id, so no other interchange of ours has the reference, after
    a restart neither; later ones are greater.
    """
    day, _, number = show_id(arrival.id).partition("-")
    rest, digits = int(number), ""
    for _ in range(7):
        rest, digit = divmod(rest, 36)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + digits
    return f"{day[2:]}{digits}{kind}"


def _moment(at: Instant) -> tuple[str, str]:
    """Return day and time as EDIFACT writes them: YYYYMMDD, HHMM."""
    moment = show_instant(at)
    return moment[:10].replace("-", ""), moment[11:16].replace(":", "")


def _head(arrival: Arrival, envelope: Envelope | None, at: Instant) -> dict[str, Any]:
    return {
        "id": show_id(arrival.id),
        "name": arrival.parcel.name,
        "type": envelope.type if envelope else "",
        "own_id": envelope.own_id if envelope else "",
        "received_at": show_instant(arrival.at),
        "at": show_instant(at),
    }


def _shown(finding: Finding) -> dict[str, Any]:
    shown = {
        name: getattr(finding, name) for name in ("code", "severity", "pointer", "line", "rule", "value", "en", "zh")
    }
    return {name: value for name, value in shown.items() if value not in ("", None)}


def _json(prefix: str, arrival: Arrival, facts: Mapping[str, Any]) -> Parcel:
    return Parcel(_name(prefix, arrival, ".json"), orjson.dumps(facts), {"type": "receipt"})


def _name(prefix: str, arrival: Arrival, suffix: str) -> str:
    """Name a receipt as the single window's client does: prefix, the sender's file name, our unique mark."""
    stem = arrival.parcel.name.rpartition(".")[0] or arrival.parcel.name
    return f"{prefix}_{stem}_{show_id(arrival.id)}{suffix}"


def _platform_file(
    prefix: str,
    arrival: Arrival,
    envelope: Envelope | None,
    at: Instant,
    outcome: Sequence[str],
    findings: Sequence[Finding] = (),
) -> Parcel:
    """Write a receipt as a platform file, in the charset of what it answers: a profile of our own (MOT-RECEIPT)."""
    head = _head(arrival, envelope, at)
    to = envelope.sender if envelope else ""
    by = envelope.receivers[0] if envelope and envelope.receivers else ""
    records = [
        ["00", "SWXRCT", "RECEIPT", "9", by, to, _digits(at)[:12]],
        ["10", head["type"], arrival.parcel.name, head["own_id"], head["id"], _digits(arrival.at)[:14]],
        ["20", *outcome],
    ]
    for number, f in enumerate(findings, 1):
        records.append(["30", str(number), f.severity, f.code, f.pointer, str(f.line or ""), f.value, f.zh, f.en])
    records.append(["99", str(len(records) + 1)])
    body = platform_file.write(records, like=arrival.parcel.read())
    return Parcel(_name(prefix, arrival, ".txt"), body, {"type": "MOT-RECEIPT"})


def _digits(at: Instant) -> str:
    """Write an instant as yyyyMMddHHmmssSSS, Beijing time."""
    return "".join(c for c in show_instant(at)[:23] if c.isdigit())  # 2026-11-22T12:00:00.000+08:00


def _ceb900(arrival: Arrival, envelope: Envelope | None, why: Rejected, at: Instant) -> Parcel:
    """Write the platform's format receipt (CEB900Message, specification 202205): every finding in returnInfo.

    Its returnStatus is below zero for every format error; ours is always -1, the code stands in returnInfo.
    """
    lines = [f"[Code:{why.code};Desc:{why.zh}]"]
    lines += [f"{f.pointer}{f'（第{f.line}行）' if f.line else ''}：{f.zh}" for f in why.findings]
    info = "\n".join(lines)
    guid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{show_id(arrival.id)}.rejected")).upper()
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<CEB900Message xmlns="{CEB}" guid="{guid}" version="1.0">\n'
        "    <MessageReturn>\n"
        f"        <guid>{guid}</guid>\n"
        "        <returnStatus>-1</returnStatus>\n"
        f"        <returnInfo>{escape(_fit(info))}</returnInfo>\n"
        f"        <returnTime>{_digits(at)}</returnTime>\n"
        f"        <oriCopMsgId>{escape(_clean(arrival.parcel.name)[:255])}</oriCopMsgId>\n"
        f"        <oriMessageType>{escape((envelope.type if envelope else 'Unknown')[:15])}</oriMessageType>\n"
        f"        <oriBizMessage>{_enclosed(arrival.parcel)}</oriBizMessage>\n"
        "    </MessageReturn>\n"
        "</CEB900Message>\n"
    )
    return Parcel(_name("Failed", arrival, ".xml"), body.encode(), {"type": "CEB900Message"})


def _fit(info: str) -> str:
    """Keep within what returnInfo may hold, whole lines first, saying how many don't fit."""
    info = _clean(info)
    if len(info) <= RETURN_INFO:
        return info
    kept = info[: RETURN_INFO - 40]
    kept = kept.rpartition("\n")[0] or kept
    return f"{kept}\n另有 {info.count(chr(10)) - kept.count(chr(10))} 条错误未列出"


def _enclosed(parcel: Parcel) -> str:
    """Return the original as character data, where it is text of a bearable size."""
    if parcel.size > ORIGINAL:
        return ""
    try:
        text = parcel.read().decode()
    except UnicodeDecodeError:
        return ""
    return f"<![CDATA[{_clean(text).replace(']]>', ']]]]><![CDATA[>')}]]>"


def _clean(text: str) -> str:
    """Drop what XML can't hold."""
    return "".join(
        c for c in text if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff")
    )
