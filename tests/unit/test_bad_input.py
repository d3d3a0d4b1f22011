"""Bad input, through a whole daemon: what becomes of it, under which code, and who is told in which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen
from lxml import etree

from exchange import codes
from exchange.errors import TooLarge
from exchange.instants import Instant
from tests import pki, sealing
from tests.daemon import ROUTES, Clock, House, inventory, order, padded, running, switchd_yaml
from tests.unit.test_intake import permits

CHINESE = re.compile("[\u4e00-\u9fff]")
MEBIBYTE = 1024 * 1024
DAY = 86_400 * 1_000_000
ORDER = order(1)
START = ORDER.index(b"<ceb:CEB311Message")


def pinned(certificate: str) -> str:
    """Return the table where the first enterprise's signature is asked for, with this certificate."""
    asked = f"    certificates: [{pki.shared() / f'{certificate}.crt'}]\n    agreement: {{verify: require}}\n"
    return ROUTES.replace("    signing_key: p256\n", asked)


def doctype(declarations: bytes, text: bytes = b"142") -> bytes:
    """Return the order behind a DOCTYPE, with *text* for its currency."""
    body = ORDER[:START] + b"<!DOCTYPE ceb:CEB311Message " + declarations + b">\n" + ORDER[START:]
    return body.replace(b">142<", b">" + text + b"<")


def laughs() -> bytes:
    entities = b'<!ENTITY e0 "ha">'
    entities += b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10))
    return doctype(b"[" + entities + b"]", b"&e9;")


def declared(charset: str, body: bytes = ORDER) -> bytes:
    return body.replace(b'encoding="UTF-8"', f'encoding="{charset}"'.encode())


def sealed(key: str) -> bytes:
    return sealing.seal(inventory(1), "ecdsa-sha256", key)


def wrapped() -> bytes:
    """Return another inventory around a genuine one, whose signature has come along."""
    genuine = sealed("p256")
    evil = inventory(2)
    inside = genuine[genuine.index(b"<ceb:CEB621Message") :].strip()
    return evil.replace(b"</ceb:CEB621Message>", b"<ceb:old>" + inside + b"</ceb:old></ceb:CEB621Message>")


@frozen
class Bad:
    """What is handed in, and the code under which it is rejected."""

    body: Callable[[], bytes]
    code: str
    pinned: str = ""  # certificate that the sender's signature is asked from; empty: none is asked for
    days: int = 0  # how far from today the switch's clock is


BAD: dict[str, Bad] = {
    "truncated XML": Bad(lambda: ORDER[: len(ORDER) // 2], "SWX-1011"),
    "XML without its last byte": Bad(lambda: ORDER.rstrip()[:-1], "SWX-1011"),
    "0 bytes": Bad(lambda: b"", "SWX-1012"),
    "wrong root": Bad(lambda: ORDER.replace(b"CEB311Message", b"CEB311Massage"), "SWX-1021"),
    "wrong namespace": Bad(lambda: ORDER.replace(b"chinaport.gov.cn/ceb", b"example.org/ceb"), "SWX-1022"),
    "wrong version": Bad(lambda: ORDER.replace(b' version="1.0" xmlns', b' version="2.0" xmlns'), "SWX-1023"),
    "internal entity": Bad(lambda: doctype(b'[<!ENTITY a "142">]', b"&a;"), "SWX-1013"),
    "external entity": Bad(lambda: doctype(b'[<!ENTITY a SYSTEM "file:///etc/hostname">]', b"&a;"), "SWX-1013"),
    "external DTD": Bad(lambda: doctype(b'SYSTEM "http://127.0.0.1:9/order.dtd"'), "SWX-1013"),
    "billion laughs": Bad(laughs, "SWX-1013"),
    "parameter entity": Bad(
        lambda: doctype(b'[<!ENTITY % p SYSTEM "file:///etc/hostname"><!ENTITY a "142"> %p;]', b"&a;"), "SWX-1013"
    ),
    "DOCTYPE in UTF-16": Bad(lambda: declared("UTF-16", laughs()).decode().encode("utf-16"), "SWX-1013"),
    "entity of nobody": Bad(lambda: ORDER.replace(b">142<", b">&nbsp;<"), "SWX-1013"),
    "300 levels deep": Bad(lambda: ORDER.replace(b">142<", b">" + b"<a>" * 300 + b"</a>" * 300 + b"<"), "SWX-1015"),
    "GBK declared as UTF-8": Bad(lambda: ORDER.decode().encode("gbk"), "SWX-1014"),
    "UTF-8 declared as GBK": Bad(lambda: declared("GBK"), "SWX-1014"),
    "UTF-8 declared as GB18030": Bad(lambda: declared("GB18030"), "SWX-1014"),
    "UTF-8 declared as UTF-16": Bad(lambda: declared("UTF-16"), "SWX-1014"),
    "UTF-16 declared as UTF-8": Bad(lambda: ORDER.decode().encode("utf-16"), "SWX-1014"),
    "UTF-16 declared as GBK": Bad(lambda: declared("GBK").decode().encode("utf-16"), "SWX-1014"),
    "UTF-16 cut in the middle of a character": Bad(
        lambda: declared("UTF-16").decode().rstrip().encode("utf-16")[:-1], "SWX-1011"
    ),
    "unknown sender": Bad(lambda: order(1, sender=9), "SWX-1051"),
    "sender is not the owner of the place": Bad(lambda: order(1, sender=2), "SWX-1052"),
    "signature missing": Bad(lambda: inventory(1), "SWX-1031", "p256"),
    "signature of another party": Bad(lambda: sealed("foreign"), "SWX-1034", "p256"),
    "expired certificate": Bad(lambda: sealed("expired"), "SWX-1035", "expired"),
    "certificate that is not valid yet": Bad(lambda: sealed("p256"), "SWX-1039", "p256", -30),
    "changed after signing": Bad(lambda: sealed("p256").replace(b">142<", b">502<"), "SWX-1032", "p256"),
    "genuine message wrapped in another": Bad(wrapped, "SWX-1103", "p256"),
}


@pytest.fixture
def bad(what: str) -> tuple[Bad, bytes]:
    """Make the body here: signing needs the loop for itself."""
    return BAD[what], BAD[what].body()


def clock(days: int = 0) -> Clock:
    at: Instant = sealing.now() + days * DAY
    return Clock(at)


async def end_of(house: House, id: str) -> tuple[str, str, str]:
    """Return state, code and the way it was told of a message that went no further, after looking at every place."""
    life = await house.ask("message.show", id=id)
    (line,) = [line for line in life["journal"] if line["event"] in ("reject", "hold")]
    explained = codes.lookup(line["code"])
    assert line["en"].isascii()
    assert CHINESE.search(line["zh"])
    assert explained.en.cure.isascii()
    assert CHINESE.search(explained.zh.cure)
    (logged,) = [e for e in house.events if e["event"] in ("message.rejected", "message.held")]
    assert (logged["id"], logged["code"], logged["state"]) == (id, line["code"], life["state"])
    assert house.sent("customs-queue") == [], "it went no further"
    return life["state"], line["code"], line["zh"]


@pytest.mark.parametrize("what", BAD)
async def test_bad_input_is_rejected_under_its_code_and_its_sender_is_told_why(
    tmp_path: Path, bad: tuple[Bad, bytes]
) -> None:
    asked, body = bad
    table = pinned(asked.pinned) if asked.pinned else ROUTES
    async with running(tmp_path, table, clock=clock(asked.days)) as house:
        id = await house.give("ent1-box", body, "order.xml")
        await house.settle()
        state, code, zh = await end_of(house, id)
        assert (state, code) == ("REJECTED", asked.code)
        (parcel,) = house.sent("ent1-box")
        assert (parcel.name, parcel.headers["disposition"]) == (f"Failed_order_{id}.xml", "rejected")
        told = etree.fromstring(parcel.read()).findtext("{*}MessageReturn/{*}returnInfo")
        assert told is not None
        assert f"[Code:{code};Desc:{zh}]" in told
        good = await house.give("ent2-box", order(2, sender=2))
        await house.settle()
        assert await house.state(good) == "ACCEPTED", "the next one passes"


@pytest.mark.parametrize("what", [what for what, bad in BAD.items() if not bad.pinned])
async def test_the_same_from_an_authority_is_held_and_nobody_is_told(tmp_path: Path, bad: tuple[Bad, bytes]) -> None:
    asked, body = bad
    if asked.code == "SWX-1051":
        body = body.replace(b"DXPENT0000000009", b"DXPENT0000000008")
    async with running(tmp_path, clock=clock()) as house:
        id = await house.give("customs-queue", body, "order.xml")
        await house.settle()
        state, code, _ = await end_of(house, id)
        assert (state, code) == ("HELD", asked.code)
        assert house.memory.sent == []


async def test_65_mebibytes_are_refused_before_anything_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        with pytest.raises(TooLarge) as refused:
            await house.give("ent1-box", padded(ORDER, 65 * MEBIBYTE))
        why = refused.value
        assert (why.code, why.en.isascii(), bool(CHINESE.search(why.zh))) == ("SWX-1070", True, True)
        assert str(64 * MEBIBYTE) in why.en
        assert str(64 * MEBIBYTE) in why.zh
        assert await house.ask("message.list") == []


async def test_a_message_in_utf_16_is_read_sent_on_as_it_came_and_cannot_be_signed_here(tmp_path: Path) -> None:
    text, unsigned = (declared("UTF-16", body).decode().encode("utf-16") for body in (ORDER, inventory(1)))
    assert text.startswith((b"\xff\xfe", b"\xfe\xff"))
    async with running(tmp_path) as house:
        good, bad = await house.give("ent1-box", text), await house.give("ent1-box", unsigned)
        await house.settle()
        assert await house.states(good, bad) == ["ACCEPTED", "REJECTED"]
        assert [parcel.read() for parcel in house.sent("customs-queue")] == [text]
        (line,) = await house.told(bad, "reject")
        assert line["code"] == "SWX-1038"
        assert CHINESE.search(line["zh"])


async def test_an_id_that_was_used_before_is_a_duplicate_or_a_conflict(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        first = await house.give("ent1-box", ORDER)
        await house.settle()
        same = await house.give("ent1-box", ORDER)
        other = await house.give("ent1-box", ORDER.replace(b">ORDER-1<", b">ORDER-X<"), "other.xml")
        await house.settle()
        assert await house.states(first, same, other) == ["ACCEPTED", "DUPLICATE", "REJECTED"]
        assert len(house.sent("customs-queue")) == 1, "it is not sent again"
        _, again, refused = house.sent("ent1-box")
        assert f'"duplicate_of":"{first}"'.encode() in again.read()
        (line,) = await house.told(other, "reject")
        assert (line["code"], line["en"].isascii(), bool(CHINESE.search(line["zh"]))) == ("SWX-1060", True, True)
        assert "[Code:SWX-1060;" in refused.read().decode()


async def test_an_unknown_receiver_is_told_by_name(tmp_path: Path) -> None:
    permits(tmp_path / "schemas")
    table = ROUTES[: ROUTES.index("routes:")]
    async with running(tmp_path, table, switchd_yaml(more="schemas: schemas\n")) as house:
        id = await house.give("ent1-box", b'<Permit id="1" v="1"><to>NOBODY</to><number>7</number></Permit>')
        await house.settle()
        assert (await end_of(house, id))[:2] == ("REJECTED", "SWX-1053")
        (line,) = await house.told(id, "reject")
        assert "NOBODY" in line["en"]
        assert "NOBODY" in line["zh"]


async def test_a_type_that_must_be_signed_is_rejected_where_nobody_signs(tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES.replace(", sign: ecdsa-sha256", "")) as house:
        id = await house.give("ent1-box", inventory(1))
        await house.settle()
        assert (await end_of(house, id))[:2] == ("REJECTED", "SWX-1031")


async def test_a_genuine_signature_passes_where_it_is_asked_for(tmp_path: Path, genuine: bytes) -> None:
    async with running(tmp_path, pinned("p256"), clock=clock()) as house:
        id = await house.give("ent1-box", genuine)
        await house.settle()
        assert await house.state(id) == "ACCEPTED"
        assert [parcel.read() for parcel in house.sent("customs-queue")] == [genuine]


@pytest.fixture
def genuine() -> bytes:
    """Return an inventory that its sender has signed."""
    return sealed("p256")
