"""What the demonstration's enterprises send, and what must become of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from simulators._demo_site import AGENT_KEY, ROOT, Door

TEMPLATES: Final = ROOT / "schemas" / "customs" / "ceb" / "samples" / "valid"
ANNOUNCEMENT: Final = ROOT / "schemas" / "smdg" / "containers" / "samples" / "valid" / "COPINO.edi"
DANGEROUS: Final = ROOT / "schemas" / "un" / "border" / "samples" / "valid" / "IFTDGN.edi"
SIGNATURE: Final = re.compile(rb"\s*<ds:Signature.*</ds:Signature>", re.DOTALL)
GUID: Final = re.compile(rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
NUMBER: Final = re.compile(rb"TEST-(ORDER|PAY|WAYBILL|COP)-(\d{4})")


@frozen
class Sample:
    """One message to send."""

    name: str
    endpoint: str
    body: bytes
    ends: str  # the state it must reach
    box: str  # where the sender must find the proof ...
    proof: re.Pattern[bytes]  # ... and what it looks like
    after: str = ""  # the sample that must be through before


def samples(doors: Mapping[str, Door], signers: tuple[str, ...]) -> list[Sample]:
    """Write all samples; those whose key this system can't make are left out."""
    make = partial(_answered, doors)
    shop, agent, pay, carrier, haulier = "shop-sftp", "agent-sftp", "pay-https", "carrier-https", "haulier-sftp"
    order = make("order.xml", shop, "CEB311Message", "120")
    signed_with_sm2 = [make("inventory-sm2.xml", agent, "CEB621Message", "800")] if AGENT_KEY in signers else []
    return [
        order,
        make("payment.xml", pay, "CEB411Message", "120"),
        make("waybill.xml", carrier, "CEB511Message", "120"),
        make("inventory.xml", shop, "CEB621Message", "800"),
        *signed_with_sm2,
        make("inventory-disorder.xml", shop, "CEB621Message--several", "800", b"-ORDER"),
        make("orders-in-one.xml", shop, "CEB311Message--several", "120"),
        make("order-gb18030.xml", shop, "CEB311Message--gb18030", "120"),
        _refused(doors, "order-invalid.xml", shop, "CEB311Message", ORDER_MISTAKES),
        _refused(doors, "payment-invalid.xml", pay, "CEB411Message", PAYMENT_MISTAKES),
        _cut_off(doors, "order-cut-off.xml", shop),
        _again("order-again.xml", order),
        make("order-sent-back.xml", shop, "CEB311Message", "100", b"-REJ"),
        make("payment-failed.xml", pay, "CEB411Message", "-401009", b"-ERR"),
        make("waybill-twice.xml", carrier, "CEB511Message", "120", b"-DUP"),
        _reported("container.edi", haulier, ANNOUNCEMENT, rb"CODECO:D:95B:UN'\nBGM\+34\+"),
        _reported("container-refused.edi", haulier, ANNOUNCEMENT, rb"\+9\+RE'", b"-REJ"),
        _reported("dangerous-goods.edi", carrier, DANGEROUS, rb"\+9\+AP'"),
    ]


def _fresh(door: Door, template: str, suffix: bytes = b"") -> bytes:
    """Write a message of the door's party after a template: fresh ids, numbers that end in *suffix*, no signature."""
    body = SIGNATURE.sub(b"", (TEMPLATES / f"{template}.xml").read_bytes())
    for guid in set(GUID.findall(body)):
        body = body.replace(guid, str(uuid.uuid4()).upper().encode())
    mark = uuid.uuid4().hex[:4].upper().encode()
    body = NUMBER.sub(lambda found: b"%s-%s%s%s" % (found[1], mark, found[2], suffix), body)
    return body.replace(b"DXPENT0000000001", door.dxp_id.encode())


def _answered(
    doors: Mapping[str, Door], name: str, endpoint: str, template: str, status: str, suffix: bytes = b""
) -> Sample:
    """Return a sample that customs answers with *status*, about its first document, as the last word."""
    body = _fresh(doors[endpoint], template, suffix)
    guid = GUID.findall(body)[1]  # after the message's own
    proof = rb"<guid>%s</guid>(?:(?!</\w+Return>).)*<returnStatus>%s<" % (guid, status.encode())
    return Sample(name, endpoint, body, "COMPLETED", "InBox", re.compile(proof, re.DOTALL | re.IGNORECASE))


ORDER_MISTAKES: Final = {
    rb"<ceb:ebcCode>.*?</ceb:ebcCode>\s*": b"",
    rb"(?<=<ceb:appTime>)\d{14}": b"2024-01-02",
    rb"(?<=<ceb:currency>)142": b"840",
}
PAYMENT_MISTAKES: Final = {rb"(?<=<ceb:payerIdType>)1": b"01", rb"(?<=<ceb:amountPaid>)[\d.]+": b""}


def _refused(
    doors: Mapping[str, Door], name: str, endpoint: str, template: str, mistakes: Mapping[bytes, bytes]
) -> Sample:
    """Return a sample with mistakes, each of which must be told."""
    body = _fresh(doors[endpoint], template)
    for pattern, replacement in mistakes.items():
        body = re.sub(pattern, replacement, body, count=1)
    fields = re.findall(rb"<ceb:(\w+)>", b" ".join(mistakes))
    told = b"".join(rb"(?=.*/%s\b)" % field for field in fields)
    return Sample(name, endpoint, body, "REJECTED", "FailBox", re.compile(told, re.DOTALL))


def _cut_off(doors: Mapping[str, Door], name: str, endpoint: str) -> Sample:
    body = _fresh(doors[endpoint], "CEB311Message")
    return Sample(name, endpoint, body[: len(body) // 2], "REJECTED", "FailBox", re.compile(b"SWX-1011"))


def _reported(name: str, endpoint: str, template: Path, says: bytes, suffix: bytes = b"") -> Sample:
    """Return an EDIFACT message, under fresh references, that asks for CONTRL; its last answer says *says* about it."""
    mark = uuid.uuid4().hex[:6].upper().encode()
    body = re.sub(rb"TEST0000\d\d\+*[^']*'", rb"T%s++++1'" % mark, template.read_bytes(), count=1)
    body = re.sub(rb"TEST0000\d\d", rb"T%s" % mark, body).replace(b"CUSTOMS:ZZ", b"TESTMSA:ZZ")
    body = re.sub(rb"(BGM\+\d+\+)[^+']+", rb"\g<1>%s%s" % (mark, suffix), body)
    proof = re.compile(rb"%s.*RFF\+ACW:%s%s'" % (says, mark, suffix), re.DOTALL)
    return Sample(name, endpoint, body, "COMPLETED", "InBox", proof)


def _again(name: str, first: Sample) -> Sample:
    proof = re.compile(rb'"name":"%s".*"duplicate_of"' % name.encode())
    return Sample(name, first.endpoint, first.body, "DUPLICATE", "InBox", proof, after=first.name)
