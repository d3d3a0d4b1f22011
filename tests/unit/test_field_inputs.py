"""Inputs as the field sends them, good and bad, each with what must become of it: one row for each kind.

What concerns files and names on the way in is in test_folder, test_bad_input and the scenarios; signatures in
test_signing_*; receipts that come early, late or twice in the scenarios.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve, frozen

from exchange import catalogue
from exchange.errors import Invalid
from exchange.intake import Examined, decide, examine
from exchange.model import Arrival, Context, Decision, Endpoint, Parcel, Party, Route
from exchange.routing import RoutingTable
from tests.daemon import NOON, ROUTES, inventory, order, running

TYPES = catalogue.load()
SCHEMAS = catalogue.SCHEMAS
PARTIES = (
    Party("ENT1", "enterprise", ids=("DXPENT0000000001", "TESTLINE", "TESTTERM", "AGENT01"), signing_key="p256"),
    Party("CUSTOMS", "customs", ids=("CUSTOMS", "PORT01", "MSA01", "TERM01", "TALLY01")),
)
TABLE = RoutingTable(
    PARTIES,
    [Endpoint("ent1-box", "ENT1", "memory"), Endpoint("customs-queue", "CUSTOMS", "memory")],
    [
        Route("inventories", ("customs-queue",), sign="ecdsa-sha256", match={"type": ("CEB621Message",)}),
        Route("all", ("customs-queue",)),
    ],
)


def sample(name: str) -> bytes:
    (path,) = SCHEMAS.glob(f"*/*/samples/*/{name}")
    return path.read_bytes()


def examined(body: bytes, name: str = "a", party: str = "ENT1", table: RoutingTable = TABLE) -> Examined:
    """Examine what a party gave, and find everything that is wrong with it, as the switch does."""
    endpoint = "ent1-box" if party == "ENT1" else "customs-queue"
    found = examine(Arrival(1 << 40, NOON, endpoint, party, Parcel(name, body)), TYPES, table, NOON)
    if isinstance(found.error, Invalid) and found.error.question:
        found = evolve(found, error=Invalid(findings=catalogue.explain((), body, *found.error.question)))
    return found


def decided(found: Examined, table: RoutingTable = TABLE) -> Decision:
    records = len(found.envelope.documents) if found.envelope else 0
    return decide(found, Context(causes=((),) * records), TYPES, table, NOON)


@frozen
class Row:
    """What comes in, and what becomes of it: the event, and the codes of what is found."""

    body: Callable[[], bytes]
    event: str = "accept"
    codes: tuple[str, ...] = ()
    party: str = "ENT1"


def twice(element: str, name: str) -> Callable[[], bytes]:
    """Return a sample in which an element stands two times."""

    def make() -> bytes:
        body = sample(f"{name}Message--minimal.xml")
        found = re.search(rb"<ceb:%s>.*?</ceb:%s>" % (element.encode(), element.encode()), body, re.DOTALL)
        assert found
        return body[: found.end()] + found[0] + body[found.end() :]

    return make


def repeated(element: bytes, times: int, name: str = "CEB311Message--minimal.xml") -> Callable[[], bytes]:
    """Return a sample in which an element stands so often, each time under ids of its own."""

    def make() -> bytes:
        body = sample(name)
        found = re.search(rb"<ceb:%s>.*?</ceb:%s>" % (element, element), body, re.DOTALL)
        assert found
        return body[: found.start()] + found[0] * times + body[found.end() :]

    return make


def changed(name: str, *pairs: tuple[bytes, bytes]) -> Callable[[], bytes]:
    def make() -> bytes:
        body = sample(name)
        for old, new in pairs:
            assert old in body, old
            body = body.replace(old, new)
        return body

    return make


def address(text: str) -> Callable[[], bytes]:
    body = order(1)
    assert b"<ceb:note>" not in body
    made = body.replace(b"</ceb:OrderHead>", f"<ceb:note>{text}</ceb:note></ceb:OrderHead>".encode())
    return lambda: made


def key_info_only() -> bytes:
    shape = b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:KeyInfo><ds:KeyName>01</ds:KeyName>'
    return inventory(1).replace(b"</ceb:CEB621Message>", shape + b"</ds:KeyInfo></ds:Signature></ceb:CEB621Message>")


DOUBLE = ("303", "403", "505", "507", "509", "603", "605", "607")
TIME = b"<SendTime>20260101120000000<"
ROWS: dict[str, Row] = {
    # documents and lists, at their limits and one above
    "100 orders": Row(repeated(b"Order", 100)),
    "101 orders": Row(repeated(b"Order", 101), "reject", ("SWX-1404",)),
    "99 lines in an import order": Row(repeated(b"OrderList", 99)),
    "100 lines in an import order": Row(repeated(b"OrderList", 100), "reject", ("SWX-1404",)),
    "two delivery notes in one CEB711": Row(
        repeated(b"Delivery", 2, "CEB711Message--minimal.xml"), "reject", ("SWX-1404",)
    ),
    # mistakes of published samples
    **{
        f"CEB{number} with BaseTransfer twice": Row(
            twice("BaseTransfer", f"CEB{number}"), "reject", ("SWX-1404",)
        )
        for number in DOUBLE
    },
    "CEB214 under another root": Row(
        changed("CEB214Message.xml", (b"CEB214Message", b"CEB214Massage")), "hold", ("SWX-1021",), "CUSTOMS"
    ),
    "CEB792 without gseqno": Row(
        lambda: sample("CEB792Message--SWX-1401--gseqno-missing.xml"), "park", ("SWX-1040",), "CUSTOMS"
    ),
    # charsets and spellings
    "BOM": Row(lambda: b"\xef\xbb\xbf" + order(1)),
    "GB2312 declared": Row(
        lambda: order(1).decode().replace('encoding="UTF-8"', 'encoding="GB2312"').encode("gb18030")
    ),
    "GB18030 declared": Row(
        lambda: order(1).decode().replace('encoding="UTF-8"', 'encoding="GB18030"').encode("gb18030")
    ),
    "default namespace": Row(lambda: order(1).replace(b"xmlns:ceb=", b"xmlns=").replace(b"ceb:", b"")),
    "manifest without namespace": Row(lambda: sample("MT2101--without-namespace.xml")),
    "manifest whose namespace is in an attribute of another name": Row(
        changed("MT2101.xml", (b'xmlns="urn:', b'xmlnsbak="urn:')), "reject", ("SWX-1407",)
    ),
    # texts
    "ideographic space and a character of four bytes": Row(address("虚构省\u3000虚构市 𠮷 号")),
    "escaped ampersand": Row(address("A &amp; B")),
    "CDATA whose end is split": Row(address("<![CDATA[a]]]]><![CDATA[>b]]>")),
    # times
    "17 digits in a manifest": Row(lambda: sample("MT2101.xml")),
    "14 digits in a manifest": Row(
        changed("MT2101.xml", (TIME, b"<SendTime>20260101120000<")), "reject", ("SWX-1414",)
    ),
    "hundredths behind a T in a manifest": Row(
        changed("MT2101.xml", (TIME, b"<SendTime>20180208T15032200<")), "reject", ("SWX-1414",)
    ),
    "hundredths behind a T in a receipt": Row(
        changed("MTReceipt.xml", (TIME, b"<SendTime>20180208T15032200<")), "park", ("SWX-1040",), "CUSTOMS"
    ),
    # receipts of other codes, longer, with more
    **{
        f"returnStatus {code}": Row(
            changed("CEB622Message.xml", (b"<returnStatus>800<", f"<returnStatus>{code}<".encode())),
            "park", warned, "CUSTOMS",
        )
        for code, warned in {
            "18": ("SWX-1041",), "23": ("SWX-1041",), "-999999": ("SWX-1041",), "-451": (), "-301020": (),
        }.items()
    },
    "returnInfo with line feeds and 1000 characters": Row(
        changed("CEB900Message.xml", ("报文校验失败：".encode(), "第一行\n第二行\n".encode() + b"x" * 990)),
        "park", (), "CUSTOMS",
    ),
    "returnInfo of 5000 characters": Row(
        changed("CEB900Message.xml", ("报文校验失败：".encode(), "错".encode() * 4980)), "park", (), "CUSTOMS"
    ),
    # signatures that are none
    "signature that holds only KeyInfo": Row(key_info_only, "reject", ("SWX-1401",)),
    # what isn't for us to read
    "dangerous goods as a flat file": Row(lambda: sample("MOT-IFTIAG--full.txt"), "accept", ("SWX-1452",)),
    "border control's text": Row(
        lambda: "总申报单|示例之星|20260101\r\n".encode("gb18030"), "reject", ("SWX-1010",)
    ),
    "PDF": Row(lambda: b"%PDF-1.7\n1 0 obj\n", "reject", ("SWX-1010",)),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_an_input_of_the_field_comes_to_the_end_it_must(what: str) -> None:
    row = ROWS[what]
    body = row.body()
    found = examined(body, party=row.party)
    decision = decided(found)
    assert decision.event == row.event, decision.en
    told = [finding.code for finding in decision.findings] or [decision.code] * bool(decision.code)
    assert tuple(dict.fromkeys(told)) == row.codes
    if row.event == "accept":
        assert [p.parcel for p in decision.planned if p.disposition == "message"] == [None], (
            "the bytes go on as they are"
        )


def test_a_repeated_element_is_told_by_its_name_and_place() -> None:
    for number in DOUBLE:
        (finding,) = decided(examined(ROWS[f"CEB{number} with BaseTransfer twice"].body())).findings
        assert "BaseTransfer" in finding.pointer


@pytest.mark.parametrize("what", ["returnInfo with line feeds and 1000 characters", "returnInfo of 5000 characters"])
def test_what_a_receipt_says_is_kept_completely(what: str) -> None:
    body = ROWS[what].body()
    envelope = examined(body, party="CUSTOMS").envelope
    assert envelope is not None
    said = re.search(rb"<ceb:returnInfo>(.*?)<", body, re.DOTALL)
    assert said
    assert [answer.text for answer in envelope.answers] == [said[1].decode().strip()]


@pytest.mark.parametrize(
    ("one", "other"),
    [("A", "a"), ("B", "b"), ("C", "c"), ("D", "d"), ("3", "C"), ("#", "3")],
)
def test_codes_of_channels_differ_by_case_and_may_be_signs(one: str, other: str) -> None:
    type = TYPES.types["DEC_RESULT"]
    first, second = (
        TYPES.read(opened, type).answers[0]
        for code in (one, other)
        for opened in [TYPES.open(changed("DEC_RESULT.xml", (b">P<", f">{code}<".encode()))())]
    )
    assert (first.code, second.code) == (one, other)
    meant = [TYPES.code(type, code).zh for code in (one, other)]
    assert meant[0] != meant[1]
    assert "未知状态" not in meant


def test_a_signature_without_a_value_counts_as_none_and_is_not_signed_over() -> None:
    free = RoutingTable(PARTIES, TABLE.endpoints.values(), [Route("all", ("customs-queue",))])
    found = examined(key_info_only(), table=free)
    assert found.envelope is not None
    assert not found.envelope.signed
    assert decided(found, free).event == "reject"


async def test_an_older_time_for_the_same_order_is_for_customs_to_refuse(tmp_path: Path) -> None:
    newer, older = order(1), order(1, mark="777").replace(b"<ceb:appTime>2024", b"<ceb:appTime>2023")
    assert newer != older
    async with running(tmp_path, ROUTES) as house:
        ids = [await house.give("ent1-box", body) for body in (newer, older)]
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED", "ACCEPTED"]
        assert [parcel.read() for parcel in house.sent("customs-queue")] == [newer, older], "in the order they came"


@pytest.mark.parametrize(
    "name", ["进口订单（测试）.xml", "浙B5Z502 $1.xml", "a b.XML", "Failed$20260101$1.xml", "x" * 251 + ".xml"]
)
async def test_a_name_of_the_field_is_kept_and_travels_with_the_message(name: str, tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES) as house:
        id = await house.give("ent1-box", order(1), name)
        await house.settle()
        assert await house.state(id) == "ACCEPTED"
        assert house.names("customs-queue") == [name]
        assert (await house.ask("message.show", id=id))["name"] == name
