"""Receipts that come in envelopes, and DxpRep about what was sent in them: each goes home in the form agreed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon import ROUTES, answer, order, running
from tests.envelopes import DXP, IMPORT, dxp, node, zip_element, zipped

AGREED = """    ids: [DXPENT0000000001]
    agreement: {{receipts: {}}}
"""


def agreed(receipts: str) -> str:
    """Return the table where the first enterprise gets receipts in a form; customs is called by its DXP id."""
    table = ROUTES.replace("    ids: [DXPENT0000000001]\n", AGREED.format(receipts))
    return table.replace(
        "  - code: CUSTOMS\n    role: customs\n", f"  - code: CUSTOMS\n    role: customs\n    ids: [{IMPORT}]\n"
    )


def enveloped(body: bytes, id: str = "R-1") -> bytes:
    return dxp(
        body,
        id=id,
        sender=IMPORT,
        receivers=["DXPENT0000000001"],
        type="CEB312Message",
        name="CEB312_1.xml",
        prefix="dxp",
    )


def rep(id: str, code: str = "2001", more: str = "") -> bytes:
    head = (
        f"<CopMsgId>{id}</CopMsgId><SenderId>DXPENT0000000001</SenderId><ReceiverIds><ReceiverId>{IMPORT}</ReceiverId>"
    )
    head += "</ReceiverIds><CreatTime>2026-11-22T12:00:00</CreatTime><MsgType>CEB311Message</MsgType>"
    return (
        f'<DxpRep xmlns="{DXP}" ver="1.0"><RecevierId>DXPENT0000000001</RecevierId><Response>'
        f"<ResponseCode>{code}</ResponseCode><NoticeTime>2026-11-22</NoticeTime><OriHead>{head}</OriHead></Response>"
        f"{more}</DxpRep>"
    ).encode()


FORMS = {"as-sent": node(enveloped(answer(1))), "without-node": enveloped(answer(1)), "unwrapped": answer(1)}


KINDS = {"as-sent": ["dxp-node", "dxp"], "without-node": ["dxp"], "unwrapped": []}
SIGNATURE = (
    b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignatureValue>AA==</ds:SignatureValue>'
    b"</ds:Signature>"
)


@pytest.mark.parametrize("form", FORMS)
async def test_a_receipt_goes_home_in_the_form_agreed_on(tmp_path: Path, form: str) -> None:
    async with running(tmp_path, agreed(form)) as house:
        await house.orders(1)
        await house.give("customs-queue", node(enveloped(answer(1))), "r.xml")
        await house.settle()
        (sent,) = [parcel for parcel in house.sent("ent1-box") if parcel.headers["disposition"] == "receipt"]
        assert house.daemon.catalogue.open(sent.read()).payload == answer(1)
        if form != "without-node":  # whose namespace stands on the DxpMsg then
            assert sent.read() == FORMS[form]
        assert sent.name == ("r.xml" if form != "unwrapped" else "CEB312_1.xml")
        assert (await house.delivery((await house.life("20261122-1"))["id"]))["state"] == "ANSWERED"


@pytest.mark.parametrize("form", FORMS)
async def test_a_receipt_in_an_envelope_for_two_senders_is_cut_and_each_part_has_one_of_its_own(
    tmp_path: Path, form: str
) -> None:
    signed = enveloped(answer(1, 2)).replace(b"</dxp:DxpMsg>", SIGNATURE + b"</dxp:DxpMsg>")
    async with running(tmp_path, agreed(form)) as house:
        await house.give("ent1-box", order(1))
        await house.give("ent2-box", order(2, sender=2))
        await house.decided()
        id = await house.give("customs-queue", node(signed))
        await house.settle()
        assert await house.state(id) == "COMPLETED"
        ids = set()
        for box, to, mine, other in (
            ("ent1-box", "DXPENT0000000001", b"ORDER-1<", b"ORDER-2<"),
            ("ent2-box", "DXPENT0000000002", b"ORDER-2<", b"ORDER-1<"),
        ):
            (sent,) = [parcel for parcel in house.sent(box) if parcel.headers["disposition"] == "receipt"]
            opened = house.daemon.catalogue.open(sent.read())
            assert mine in opened.payload
            assert other not in opened.payload
            kinds = [one.kind for one in opened.wrappers]
            assert kinds == (KINDS[form] if box == "ent1-box" else KINDS["as-sent"])
            assert sent.name == ("a.xml" if kinds else "CEB312_1.xml")
            assert not any(one.findings or one.signed for one in opened.wrappers)
            for one in opened.wrappers:
                assert (one.receivers or (to,), one.sender or IMPORT) == ((to,), IMPORT)
                ids.add(one.node.id if one.node else one.own_id)
        assert len(ids) == len(KINDS[form]) + len(KINDS["as-sent"])
        assert "R-1" not in ids


async def test_a_part_of_what_came_in_a_package_comes_in_a_package(tmp_path: Path) -> None:
    package = zipped(("CEB312_1.xml", answer(1, 2)))
    async with running(tmp_path, agreed("as-sent")) as house:
        await house.give("ent1-box", order(1))
        await house.give("ent2-box", order(2, sender=2))
        await house.decided()
        for body in (package, enveloped(zip_element(zipped(("CEB312_1.xml", answer(1, 2, own=1)))))):
            await house.give("customs-queue", body, "r.zip")
        await house.settle()
        bare, inside = [parcel for parcel in house.sent("ent1-box") if parcel.headers["disposition"] == "receipt"]
        assert bare.read().startswith(b"PK")
        opened = [house.daemon.catalogue.open(one.read()) for one in (bare, inside)]
        assert [[one.kind for one in found.wrappers] for found in opened] == [["zip"], ["dxp", "zip"]]
        assert all(b"ORDER-1<" in one.payload and b"ORDER-2<" not in one.payload for one in opened)


async def test_a_part_that_comes_later_has_an_envelope_with_another_id(tmp_path: Path) -> None:
    async with running(tmp_path, agreed("without-node")) as house:
        await house.orders(1)
        await house.give("ent2-box", order(9, sender=2))
        await house.decided()
        await house.give("customs-queue", node(enveloped(answer(1, 2, 9))))
        await house.settle()
        await house.orders(2)
        await house.settle()
        sent = [parcel.read() for parcel in house.sent("ent1-box") if parcel.headers["disposition"] == "receipt"]
        opened = [house.daemon.catalogue.open(body) for body in sent]
        assert [b"ORDER-1<" in one.payload for one in opened] == [True, False]
        assert len({one.wrappers[0].own_id for one in opened}) == 2


async def test_where_no_envelope_like_it_can_be_written_a_part_goes_without(tmp_path: Path) -> None:
    async with running(tmp_path, agreed("as-sent")) as house:
        await house.give("ent1-box", order(1))
        await house.give("ent2-box", order(2, sender=2))
        await house.decided()
        await house.give("customs-queue", node(enveloped(answer(1, 2)), start="no node at all"))
        await house.settle()
        (sent,) = [parcel for parcel in house.sent("ent1-box") if parcel.headers["disposition"] == "receipt"]
        assert b"ORDER-1<" in sent.read()


async def test_an_answer_to_an_envelope_finds_its_message_early_late_and_repeated(tmp_path: Path) -> None:
    async with running(tmp_path, agreed("as-sent")) as house:
        early = await house.give("customs-queue", rep("COP-1"))
        await house.decided()
        assert await house.state(early) == "RECEIVED"
        id = await house.give("ent1-box", dxp(order(1), id="COP-1"))
        await house.settle()
        assert await house.states(id, early) == ["COMPLETED", "COMPLETED"]
        again = await house.give("customs-queue", rep("COP-1"))
        other = await house.give("customs-queue", rep("COP-1", "1001"))
        nobody = await house.give("customs-queue", rep("COP-9"))
        await house.settle()
        assert await house.states(again, other, nobody) == ["DUPLICATE", "COMPLETED", "RECEIVED"]
        assert [p.headers["type"] for p in house.sent("ent1-box")] == ["DxpRep", "DxpRep", "DxpRep"]


async def test_an_answer_of_an_enterprise_settles_nothing_that_was_not_sent_to_it(tmp_path: Path) -> None:
    async with running(tmp_path, agreed("as-sent")) as house:
        id = await house.give("ent1-box", dxp(order(1), id="COP-1"))
        await house.settle()
        forged = await house.give("ent2-box", rep("COP-1"))
        await house.settle()
        assert await house.states(id, forged) == ["ACCEPTED", "RECEIVED"]
