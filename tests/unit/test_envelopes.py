"""Envelopes: what is inside comes out byte for byte, what is wrong is said, and nothing hostile costs much."""

from __future__ import annotations

import base64
import io
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.agreement import Agreement
from exchange.catalogue import SCHEMAS
from exchange.errors import Unreadable
from exchange.model import Party, Prior, Route
from exchange.wrappers import Wrapped, opening
from exchange.wrappers._codes import base64 as decode
from exchange.wrappers.dxp import Dxp
from tests import sealing
from tests.daemon import answer as ceb312
from tests.daemon import inventory, order
from tests.envelopes import EXPORT, IMPORT, dxp, node, zip_element, zipped
from tests.unit.test_dxp import valid_answer
from tests.unit.test_intake import CUSTOMS, ENT1, TYPES, decided, looked_at, pinned, table

ORDER = order(1)
PDF = b"%PDF-1.4\n%fictitious"
HERE = table(evolve(CUSTOMS, ids=(IMPORT, EXPORT)), routes=(Route("orders", ("customs-queue",)),))
KEY_ONLY = (
    '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
    "<ds:KeyInfo><ds:KeyName>1</ds:KeyName></ds:KeyInfo></ds:Signature>"
)


def opened(payload: bytes) -> tuple[bytes, tuple[Wrapped, ...]]:
    return opening.opened(payload)


# -- what is inside ----------------------------------------------------------------------------------------------

LINES = base64.encodebytes(ORDER)
FORMS: dict[str, bytes] = {
    "DxpMsg": dxp(ORDER),
    "DxpMsg with a prefix": dxp(ORDER, prefix="dxp"),
    "DxpMsg behind a BOM and remarks": b"\xef\xbb\xbf" + dxp(ORDER).replace(b"?>\n", b"?>\n<!-- DxpMsgSv > -->\n", 1),
    "line breaks and blanks in Data": dxp(ORDER, data=b"\r\n\t " + LINES.replace(b"\n", b"\r\n   ")),
    "Data in CDATA": dxp(ORDER, data=b"<![CDATA[" + LINES + b"]]>"),
    "Data with references": dxp(ORDER, data=LINES.replace(b"\n", b"&#10;")),
    "a remark in Data": dxp(ORDER, data=LINES.replace(b"\n", b"<!-- no base64 -->\n", 1)),
    "in GB18030": dxp(ORDER, name="订单𠮷.xml").decode().replace("UTF-8", "GB18030", 1).encode("gb18030"),
    "in UTF-16": dxp(ORDER).decode().replace("UTF-8", "UTF-16", 1).encode("utf-16"),
    "DxpMsgSv": node(dxp(ORDER)),
    "DxpMsgSv in GBK": node(dxp(ORDER, name="订单.xml")).decode().replace("UTF-8", "GBK", 1).encode("gbk"),
    "DxpMsgSv whose DxpMsg takes its namespace from around it": node(dxp(ORDER, prefix="dxp"), sub="1"),
    "a package": zipped(("a.xml", ORDER), ("附件.pdf", PDF)),
    "a package in DxpMsg": dxp(zipped(("a.xml", ORDER))),
    "a package as an element in DxpMsgSv": node(dxp(zip_element(zipped(("dir/a.xml", ORDER), ("a.pdf", PDF))))),
    "base64 in ImportMessage": b"<ImportMessage><SWImpHead><CopMsgId>I-1</CopMsgId></SWImpHead><SWImpData>"
    + LINES + b"</SWImpData></ImportMessage>",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_is_inside_comes_out_byte_for_byte_and_is_the_message(form: str) -> None:
    if form == "in UTF-16":  # recognised by its bytes, which are others there
        assert decided(FORMS[form], HERE).code == "SWX-1021"
        return
    inside, around = opened(FORMS[form])
    assert inside == ORDER
    assert around
    assert {one.payload for one in around} == {b""}
    decision = decided(FORMS[form], HERE)
    assert (decision.event, decision.route) == ("accept", "orders")
    envelope = looked_at(FORMS[form], HERE).envelope
    assert envelope is not None
    assert envelope.own_id == "00000000-0000-4000-8000-000000000001", "the message's own"
    assert envelope.wrappers == tuple(one.kind for one in around)


def test_what_comes_without_an_envelope_is_none() -> None:
    for payload in (ORDER, b"", b"<DxpMsgs/>", b"<a><DxpMsg/></a>", b"DxpMsg", b"<!-- <DxpMsg> --><a/>"):
        assert opening.wrapper_of(payload) is None
    for payload in (
        b"<DxpMsg xmlns='urn:other'/>",
        b"<Zip.a/>",
        b"<ImportMessage><SWImpData><a/></SWImpData></ImportMessage>",
    ):
        assert opened(payload) == (payload, ())


def test_a_signature_inside_stands_and_that_of_the_envelope_stays_what_it_was() -> None:
    sealed = sealing.seal(inventory(1), "ecdsa-sha256", "p256")
    inner = dxp(sealed, type="CEB621Message", more=KEY_ONLY, declaration=False)
    examined = looked_at(node(inner), evolve_ids(pinned("p256")))
    assert examined.message is not None
    assert examined.message.signer
    wrapper = opening.wrapper_of(node(inner))
    assert wrapper is not None
    found = wrapper.open(node(inner))
    assert found is not None
    assert found.payload == inner, "whoever signed it can still be verified"


def evolve_ids(known: object) -> object:
    known.parties["CUSTOMS"] = customs = evolve(known.parties["CUSTOMS"], ids=(IMPORT,))  # type: ignore[attr-defined]
    known._by_id[IMPORT] = customs  # type: ignore[attr-defined]
    return known


def test_receivers_come_from_the_envelope_and_the_sender_from_the_message_that_he_signed() -> None:
    envelope = looked_at(dxp(ORDER, receivers=[IMPORT, EXPORT], id="COP-7"), HERE).envelope
    assert envelope is not None
    assert (envelope.sender, envelope.receivers) == ("DXPENT0000000001", (IMPORT, EXPORT))
    assert [document.keys["copMsgId"] for document in envelope.documents] == ["COP-7"]
    refused = decided(dxp(ORDER, sender="DXPENT0000000002"), HERE)
    assert (refused.event, refused.code) == ("reject", "SWX-1052"), "an envelope gives nobody another's name"
    assert decided(dxp(order(1, 2)), HERE).code == "SWX-1052"


def test_a_message_sent_again_in_a_fresh_envelope_is_a_duplicate_and_another_one_a_conflict() -> None:
    first = looked_at(dxp(ORDER, id="COP-1"), HERE).question
    plain = looked_at(ORDER, HERE).question
    assert first.digest == plain.digest
    prior = Prior(7, first.digest, "ACCEPTED")
    assert decided(node(dxp(ORDER, id="COP-2", created="2027-01-01T00:00:00")), HERE, prior).event == "recognise"
    other = ORDER.replace(b"20240102030405", b"20240102030406")
    assert decided(dxp(other, id="COP-1"), HERE, prior).code == "SWX-1060"


def test_only_a_node_may_send_through_a_node() -> None:
    other = Party("CENTRE", "platform", ids=("00000009",))
    known = evolve(CUSTOMS, ids=(IMPORT,)), other, evolve(ENT1, role="platform", agreement=Agreement(sends_for=("*",)))
    to_other = Route("on", ("customs-queue",), match={"receiver": ("CENTRE",)})
    wrong = node(dxp(ORDER.replace(b">142<", b">999<")), end="00000009")
    passed = decided(wrong, table(*known, routes=(to_other,)))
    assert (passed.event, passed.route) == ("accept", "on"), "what only passes isn't judged"
    assert {finding.severity for finding in passed.findings} == {"warning"}
    refused = decided(wrong, table(*known[:2], routes=(to_other,)))
    assert (refused.event, refused.code) == ("reject", "SWX-1040"), "an enterprise goes past no check that way"
    by_name = decided(node(dxp(ORDER), end="CENTRE"), table(*known, routes=(to_other,), node="51000001"))
    assert by_name.code == "SWX-1054", "the code of a party is no node"


# -- what is wrong -----------------------------------------------------------------------------------------------


def bomb(*, lies: bool = False) -> bytes:
    package = zipped(("a.xml", b"<a>" + b" " * 20_000_000 + b"</a>"))
    return package.replace(struct.pack("<I", 20_000_007), struct.pack("<I", 100)) if lies else package


def changed(flags: int) -> bytes:
    """Return a package whose entries claim something else in both headers."""
    package = bytearray(zipped(("a.xml", ORDER)))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        package[package.index(mark) + at] |= flags
    return bytes(package)


def twice() -> bytes:
    package = zipped(("a.pdf", PDF), ("b.pdf", PDF), ("c.xml", ORDER))
    return package.replace(b"b.pdf", b"A.pdf")


def nested(levels: int) -> bytes:
    body = ORDER
    for _ in range(levels):
        body = dxp(body)
    return body


SIX = [f"DXPEDCCEB000000{n}" for n in range(1, 7)]
BAD: dict[str, tuple[Callable[[], bytes], str, str]] = {  # -> our code, and the platform's in DxpRep
    "six receivers": (lambda: dxp(ORDER, receivers=SIX), "SWX-1080", "0002"),
    "no receiver": (lambda: dxp(ORDER, receivers=()), "SWX-1080", "0002"),
    "a receiver of 17 characters": (lambda: dxp(ORDER, receivers=[IMPORT + "9"]), "SWX-1080", "0002"),
    "a receiver that nobody knows": (lambda: dxp(ORDER, receivers=[IMPORT, "DXPEDC9999999999"]), "SWX-1053", "2001"),
    "no id": (lambda: dxp(ORDER, id=""), "SWX-1080", "0002"),
    "an id of 256 characters": (lambda: dxp(ORDER, id="C" * 256), "SWX-1080", "0002"),
    "no version": (lambda: dxp(ORDER).replace(b' ver="1.0"', b""), "SWX-1080", "0002"),
    "another version": (lambda: dxp(ORDER).replace(b'ver="1.0"', b'ver="2.0"'), "SWX-1080", "0002"),
    "a time that is none": (lambda: dxp(ORDER, created="yesterday"), "SWX-1080", "0002"),
    "elements in the wrong order": (
        lambda: re.sub(rb"(<CopM.*</CopMsgId>)(<Sen.*</SenderId>)", rb"\2\1", dxp(ORDER)), "SWX-1080", "0002",
    ),
    "no TransInfo": (lambda: re.sub(rb"<TransInfo>.*</TransInfo>", b"", dxp(ORDER)), "SWX-1080", "0002"),
    "no Data": (lambda: re.sub(rb"<Data>.*</Data>", b"", dxp(ORDER)), "SWX-1080", "0002"),
    "Data empty": (lambda: dxp(ORDER, data=b" \n "), "SWX-1081", "0001"),
    "Data without content": (lambda: dxp(ORDER).replace(b"<Data>", b"<Data/><Data>"), "SWX-1081", "0001"),
    "Data not base64": (lambda: dxp(ORDER, data="这不是".encode()), "SWX-1082", "0001"),
    "Data with the message as it is": (lambda: dxp(ORDER, data=ORDER[ORDER.index(b"<ceb") :]), "SWX-1082", "0001"),
    "elements in Data": (lambda: dxp(ORDER, data=b"<Data>" + base64.b64encode(ORDER) + b"</Data>"), "SWX-1082", "0001"),
    "Data without its padding": (lambda: dxp(b"<a/>" + ORDER[:1], data=b"PGE"), "SWX-1082", "0001"),
    "Data that breaks off": (lambda: dxp(ORDER, data=base64.b64encode(ORDER)[:-5]), "SWX-1082", "0001"),
    "DxpMsg cut off": (lambda: dxp(ORDER)[:-9], "SWX-1011", "0001"),
    "DxpMsgSv without DxpMsg": (
        lambda: re.sub(rb"<DxpMsg .*</DxpMsg>", b"", node(dxp(ORDER)), flags=re.DOTALL), "SWX-1080", "0002",
    ),
    "a node id of nine digits": (lambda: node(dxp(ORDER), start="000000002"), "SWX-1080", "0002"),
    "a DOCTYPE in the envelope": (lambda: dxp(ORDER).replace(b"<D", b"<!DOCTYPE a><D", 1), "SWX-1013", "0001"),
    "an entity in the envelope": (lambda: dxp(ORDER, id="&a;"), "SWX-1013", "0001"),
    "a DOCTYPE in the message inside": (
        lambda: dxp(ORDER.replace(b"<ceb:CEB311", b'<!DOCTYPE a [<!ENTITY a "b">]><ceb:CEB311', 1)), "SWX-1013", "0001",
    ),
    "an envelope that says UTF-8 and is GBK": (
        lambda: dxp(ORDER, name="订单").decode().encode("gbk"), "SWX-1014", "0001",
    ),
    "an envelope in a charset of nobody": (lambda: dxp(ORDER).replace(b"UTF-8", b"x-none", 1), "SWX-1014", "0001"),
    "a message inside of no known type": (lambda: dxp(b"<a/>"), "SWX-1021", "0999"),
    "an invalid message inside": (lambda: dxp(ORDER.replace(b">142<", b">999<")), "SWX-1040", "0002"),
    "envelopes in envelopes in envelopes": (lambda: nested(5), "SWX-1083", "0999"),
    "thousands of elements": (lambda: dxp(ORDER, more="<a/>" * 9000), "SWX-1015", "0001"),
    "elements without end": (lambda: dxp(ORDER, more="<a>" * 9000), "SWX-1015", "0001"),
    "a package that breaks off": (lambda: dxp(zipped(("a.xml", ORDER))[:-30]), "SWX-1084", "0001"),
    "a package of garbage": (lambda: dxp(b"PK\3\4" + b"x" * 999), "SWX-1084", "0001"),
    "an encrypted package": (lambda: dxp(changed(1)), "SWX-1084", "0001"),
    "a package with two messages": (
        lambda: dxp(zipped(("a.xml", ORDER), ("b.xml", ORDER), ("c.pdf", PDF))), "SWX-1086", "0999",
    ),
    "a package without a message": (lambda: dxp(zipped(("a.pdf", PDF))), "SWX-1086", "0999"),
    "a package with an empty message": (lambda: dxp(zipped(("a.xml", b""))), "SWX-1081", "0001"),
    "a package that leads elsewhere": (lambda: dxp(zipped(("../../a.xml", ORDER))), "SWX-1085", "1999"),
    "a package that leads to the root": (lambda: dxp(zipped(("a.xml", ORDER), ("/a.pdf", PDF))), "SWX-1085", "1999"),
    "a package that leads to a drive": (lambda: dxp(zipped(("a.xml", ORDER), ("C:\\a.pdf", PDF))), "SWX-1085", "1999"),
    "a package in a package": (lambda: dxp(zipped(("a.xml", ORDER), ("b.zip", zipped()))), "SWX-1085", "1999"),
    "a package with a program": (lambda: dxp(zipped(("a.xml", ORDER), ("a.pdf.exe", PDF))), "SWX-1085", "1999"),
    "two entries of one name": (lambda: dxp(twice()), "SWX-1085", "1999"),
    "a zip bomb": (lambda: dxp(bomb()), "SWX-1085", "1999"),
    "a zip bomb that lies about its size": (lambda: dxp(bomb(lies=True)), "SWX-1084", "0001"),
    "a package of 200 files": (
        lambda: dxp(zipped(("a.xml", ORDER), *((f"{n}.pdf", PDF) for n in range(200)))), "SWX-1085", "1999",
    ),
    "a byte of zero before the message": (lambda: b"\0" + ORDER, "SWX-1011", ""),
    "a byte of zero before the envelope": (lambda: b"\0" + dxp(ORDER), "SWX-1011", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_envelope_is_refused_under_its_code_and_answered_in_the_platforms_words(what: str) -> None:
    make, code, platform = BAD[what]
    decision = decided(make(), HERE)
    assert (decision.event, decision.code) == ("reject", code)
    assert decision.zh != decision.en
    (told,) = decision.planned
    assert told.parcel is not None
    if not platform:
        return
    assert told.parcel.headers["type"] == "DxpRep"
    valid_answer(told.parcel.read())
    assert f"<dxp:ResponseCode>{platform}<".encode() in told.parcel.read()


def test_everything_that_is_wrong_with_an_envelope_is_said_at_once_with_its_place() -> None:
    body = dxp(ORDER, id="", receivers=SIX, created="?", type="T" * 31).replace(b"<Data>", b"<Daten/><Data>")
    decision = decided(body, HERE)
    assert {(f.code, f.pointer) for f in decision.findings} == {
        ("SWX-1412", "/DxpMsg/TransInfo/CopMsgId"),
        ("SWX-1404", "/DxpMsg/TransInfo/ReceiverIds/ReceiverId"),
        ("SWX-1421", "/DxpMsg/TransInfo/CreatTime"),
        ("SWX-1413", "/DxpMsg/TransInfo/MsgType"),
        ("SWX-1403", "/DxpMsg/Data"),
        ("SWX-1402", "/DxpMsg/Daten"),
    }
    assert all(f.line for f in decision.findings)
    card = dxp(ORDER, more="<AddInfo><IcCard>12345678901234</IcCard></AddInfo>")
    (finding,) = decided(card, HERE).findings
    assert finding.value == "***", "who operated the client is nobody's business"


@pytest.mark.parametrize(
    "created",
    ["2026-11-22T12:00:00", "2026-11-22T12:00:00Z", "2018-02-26T09:52:14.670+08:00", "2026-11-22 12:00:00",
     "20261122120000", "20261122120000123"],
)  # fmt: skip
def test_times_are_read_in_every_form_that_is_met(created: str) -> None:
    assert decided(dxp(ORDER, created=created), HERE).event == "accept"


def test_a_signature_of_nothing_but_a_key_is_no_signature_and_no_crash() -> None:
    _, (around,) = opened(dxp(ORDER, more=KEY_ONLY))
    assert (around.signed, around.findings) == (False, ())
    assert decided(dxp(ORDER, more=KEY_ONLY), HERE).event == "accept"


def test_odd_envelopes_of_receipts_pass_with_a_warning() -> None:
    examined = looked_at(dxp(ceb312(1), sender="", receivers=SIX, type="CEB312Message"), HERE)
    assert examined.message is not None
    assert {f.code for f in examined.message.warnings} == {"SWX-1412", "SWX-1404"}
    assert {f.severity for f in examined.message.warnings} == {"warning"}


def test_a_large_message_is_opened_in_bounded_memory() -> None:
    large = dxp(ORDER + b" " * 20_000_000)
    tracemalloc.start()
    inside, _ = opened(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(inside) > 20_000_000
    assert peak < 1.8 * len(large)


# -- properties --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(
    payload=st.binary(min_size=1, max_size=200), width=st.integers(1, 90), prefix=st.sampled_from(["", "dxp", "d.x"])
)
def test_whatever_is_put_in_comes_out(payload: bytes, width: int, prefix: str) -> None:
    text = base64.b64encode(payload)
    lines = b"\n ".join(text[at : at + width] for at in range(0, len(text), width))
    wrapper = Dxp()
    found = wrapper.open(dxp(b"", data=lines, prefix=prefix))
    assert found is not None
    assert found.payload == payload


@settings(deadline=None, max_examples=300)
@given(
    text=st.binary(max_size=24).map(base64.b64encode) | st.text("AQ=\n /<", max_size=24).map(str.encode),
    cuts=st.lists(st.integers(0, 40)),
)
def test_base64_is_decoded_the_same_however_it_is_cut(text: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    packed = re.sub(rb"[ \n]", b"", text)
    try:
        expected = base64.b64decode(packed, validate=True) if len(packed) % 4 == 0 else b""
    except ValueError:
        expected = b""
    try:
        assert decode(pieces, "Data") == expected
    except Unreadable:
        assert not expected


@settings(deadline=None, max_examples=300)
@given(
    payload=st.binary(max_size=300),
    begin=st.sampled_from([b"PK\3\4", b"PK\5\6", b"<Zip>", b"<DxpMsg ", b"<DxpMsgSv>", b""]),
)
def test_arbitrary_bytes_are_opened_or_unreadable(payload: bytes, begin: bytes) -> None:
    try:
        opened(begin + payload)
    except Unreadable as error:
        why = error
    else:
        return
    assert why.code.startswith("SWX-10")
    assert why.zh != why.en


def test_a_workbook_is_no_package() -> None:
    book = next(sample.path for sample in TYPES.samples() if sample.path.suffix == ".xlsx")
    assert opened(book.read_bytes()) == (book.read_bytes(), ())
    broken = book.read_bytes()[:-40]
    assert opened(broken) == (broken, ())
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("a.xml", ORDER)
        archive.write(book, "list.xlsx")
    assert opened(inside.getvalue())[0] == ORDER, "one that is attached doesn't make the package a workbook"


# -- signed envelopes --------------------------------------------------------------------------------------------


def codeco() -> bytes:
    """Return an EDIFACT message in an envelope."""
    body = (SCHEMAS / "smdg/containers/samples/valid/CODECO--minimal.edi").read_bytes()
    return dxp(
        re.sub(rb"TEST[A-Z]+:ZZ\+TEST[A-Z]+:ZZ", f"DXPENT0000000001:ZZ+{IMPORT}:ZZ".encode(), body, count=1),
        type="CODECO",
    )


def by_rsa(envelope: bytes) -> bytes:
    return sealing.seal(envelope, "rsa-sha256", "rsa")


OTHER = base64.b64encode(ORDER.replace(b"20240102", b"20240103"))
SIGNED_ENVELOPES: dict[str, tuple[Callable[[], bytes], str]] = {
    "as it was signed": (lambda: by_rsa(dxp(ORDER)), ""),
    "in a node's envelope": (lambda: node(by_rsa(dxp(ORDER))), ""),
    "around EDIFACT": (lambda: by_rsa(codeco()), ""),
    "changed since": (lambda: by_rsa(dxp(ORDER)).replace(b"12:00:00", b"12:00:01"), "SWX-1032"),
    "with other contents": (lambda: by_rsa(dxp(ORDER)).replace(base64.b64encode(ORDER), OTHER), "SWX-1032"),
    "by a stranger": (lambda: sealing.seal(dxp(ORDER), "ecdsa-sha256", "foreign"), "SWX-1034"),
    "with a key's name and no signature": (lambda: dxp(ORDER, more=KEY_ONLY), "SWX-1031"),
    "unsigned": (lambda: dxp(ORDER), "SWX-1031"),
    "unsigned, around EDIFACT": (codeco, "SWX-1031"),
    "around what a stranger signed": (
        lambda: by_rsa(dxp(sealing.seal(inventory(1), "ecdsa-sha256", "foreign"), type="CEB621Message")), "SWX-1034",
    ),
    "too large": (lambda: by_rsa(dxp(ORDER, data=b" " * 9_000_000 + LINES)), "SWX-1036"),
}  # fmt: skip


@pytest.mark.parametrize("form", SIGNED_ENVELOPES)
def test_a_sender_may_sign_the_envelope_instead_of_what_is_inside(form: str) -> None:
    payload, code = SIGNED_ENVELOPES[form]
    examined = looked_at(payload(), evolve_ids(pinned("rsa")), at=sealing.now())
    assert getattr(examined.error, "code", "") == code, examined.error
    assert bool(examined.message and examined.message.signer) == (not code)
