"""Every other family through a whole daemon to its simulated authority, and every answer home again.

What is answered is the rules' data, what it means the catalogue's; the test only carries parcels. Misbehaviors are
asked for by the number in a document, as in the demonstration.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import define

from exchange import catalogue
from simulators._authority_engine import Authority
from simulators._authority_rules import Desk
from simulators._authority_writing import Receipt
from simulators.authority import rules_of
from tests.daemon import NOON, House, running

TYPES = catalogue.load()
AUTHORITIES = {name: Authority(rules=rules_of(f"{name}.yaml"), types=TYPES) for name in ("customs", "port", "maritime")}
DESKS = [
    pytest.param(name, desk, id=desk.title["en"].replace(" ", "-"))
    for name, authority in AUTHORITIES.items()
    for desk in authority.rules.desks
    if desk is not AUTHORITIES["customs"].rules.desks[0]  # test_cross_border
]
ROUTES = """
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001, TESTHAUL, TESTLINE, AGENT01, EXAMPLE AGENT 1]
    endpoints: [{name: ent1-box, kind: memory}]
  - code: OFFICE
    role: ROLE
    ids: [CUSTOMS, TESTTERM, TESTDEPOT, PORT01, MSA01, TALLY01, TERM01]
    endpoints: [{name: office, kind: memory}]
routes:
  - {name: to-the-office, match: {type: [TYPES], role: enterprise}, to: [office]}
EVENTS"""
EVENTS = """\
  - name: what-happened
    match: {type: [CODECO, COARRI, IFTSTA, LogisticsEvent], sender: OFFICE}
    to: [ent1-box]
"""


@define
class Office:
    """A daemon with an enterprise on one side, and an authority that the test speaks for on the other."""

    house: House
    authority: Authority

    async def declare(self, body: bytes) -> tuple[str, list[Receipt]]:
        """Hand a message in; return its id, and what the authority says to what it got."""
        before = len(self.house.sent("office"))
        id = await self.house.give("ent1-box", body)
        await self.house.settle()
        (came,) = self.house.sent("office")[before:]
        assert came.read() == body
        return id, self.authority.answer(came.read(), NOON)

    async def answer(self, receipts: Sequence[Receipt]) -> tuple[list[str], list[bytes]]:
        """Hand answers in, one after the other; return their ids, and what comes to the enterprise."""
        before, ids = len(self.house.sent("ent1-box")), []
        for receipt in receipts:
            ids.append(await self.house.give("office", receipt.body, receipt.name))
            await self.house.settle()
        return ids, [parcel.read() for parcel in self.house.sent("ent1-box")[before:]]

    async def outcomes(self, id: str) -> list[str]:
        """Return what was said about a message, in the order it was heard."""
        return [line["outcome"] for line in (await self.house.life(id))["journal"] if line.get("receipt")]


@asynccontextmanager
async def office(home: Path, name: str, types: Sequence[str]) -> AsyncIterator[Office]:
    routes = ROUTES.replace("ROLE", name).replace("TYPES", ", ".join(types))
    async with running(home, routes.replace("EVENTS", EVENTS if name == "port" else "")) as house:
        yield Office(house, AUTHORITIES[name])


def sample(type: str) -> bytes:
    """Return the plainest sample of a type, from the enterprise to the office."""
    folder: Path = TYPES.types[type].spec.folder / "samples" / "valid"
    body = (sorted(folder.glob(f"{type}.*")) or sorted(folder.glob(f"{type}--*")))[0].read_bytes()
    return body.replace(b"+TESTTERM:ZZ+TESTLINE:ZZ+", b"+TESTLINE:ZZ+TESTTERM:ZZ+")


@pytest.mark.parametrize(("name", "desk"), DESKS)
async def test_every_message_of_a_family_is_answered_and_every_answer_comes_home(
    name: str, desk: Desk, tmp_path: Path
) -> None:
    types = [type for rules in desk.types for type in rules.takes]
    async with office(tmp_path, name, types) as there:
        for type in types:
            id, receipts = await there.declare(sample(type))
            _, home = await there.answer(receipts)
            assert home == [receipt.body for receipt in receipts], type
            told = [TYPES.types[receipt.type].kind == "receipt" for receipt in receipts]
            heard = {line.get("receipt") for line in (await there.house.life(id))["journal"]} - {None}
            assert len(heard) == sum(told) > 0, type
            open_still = type == "BWS101"  # nothing that ends the waiting is public
            assert await there.house.state(id) == ("ACCEPTED" if open_still else "COMPLETED"), type


# -- misbehaving -------------------------------------------------------------------------------------------------


def declaration(number: str) -> bytes:
    body = sample("DecMessage")
    return re.sub(rb"TEST202601010001", number.encode(), body)


def manifest(number: str) -> bytes:
    body = re.sub(rb"TESTBILL\d{4}", number.encode(), sample("MT2101"))
    return re.sub(rb"(<MessageID>[^<]*)(<)", rb"\g<1>-%s\2" % number.encode(), body)


def bonded_list(number: str) -> bytes:
    return re.sub(rb"TEST-INV-0001|TEST-0001", number.encode(), sample("INV101"))


def announcement(number: str) -> bytes:
    reference = number.replace("-", "")[:14].encode()
    body = re.sub(rb"TEST000020'", reference + b"++++1'", sample("COPINO"), count=1)
    return body.replace(b"TEST000020", reference).replace(b"TRUCK-01", number.encode())


MAKERS = {"DecMessage": declaration, "MT2101": manifest, "INV101": bonded_list, "COPINO": announcement}
OFFICES = {"DecMessage": "customs", "MT2101": "customs", "INV101": "customs", "COPINO": "port"}
FAULTS = ("SILENT", "DUP", "ORDER", "REJ", "ERR", "UNKNOWN", "GARBAGE")


@pytest.mark.parametrize("type", MAKERS)
async def test_whatever_an_authority_does_no_answer_is_lost_or_told_twice(type: str, tmp_path: Path) -> None:
    said: dict[str, list[str]] = {}
    sent: dict[str, list[bytes]] = {}
    home: dict[str, list[bytes]] = {}
    last: dict[str, str] = {}
    async with office(tmp_path, OFFICES[type], [type]) as there:
        for number, fault in enumerate(FAULTS):
            id, receipts = await there.declare(MAKERS[type](f"T{number}-{fault}"))
            ids, home[fault] = await there.answer(receipts)
            sent[fault] = [receipt.body for receipt in receipts]
            said[fault] = await there.outcomes(id)
            last[fault] = await there.house.state(ids[-1] if ids else id)
            warned = [
                f["code"]
                for one in ids
                for line in await there.house.told(one, "accept")
                for f in line.get("findings", ())
            ]
            assert "SWX-1041" in warned or fault != "UNKNOWN"
    waits = TYPES.types[type].expects_receipt
    assert (said["SILENT"], last["SILENT"]) == ([], "ACCEPTED" if waits else "COMPLETED")
    assert len(sent["DUP"]) == 2 * len(home["DUP"]) > 0
    assert home["DUP"] == list(dict.fromkeys(sent["DUP"]))
    assert sorted(home["ORDER"]) == sorted(sent["ORDER"]), "early ones waited for the one that brings their number"
    assert (home["REJ"], said["REJ"][-1]) == (sent["REJ"], "rejected")
    assert home["ERR"] == sent["ERR"]
    assert set(said["ERR"]) <= {"error", "rejected"}
    assert home["UNKNOWN"] == sent["UNKNOWN"]
    assert home["GARBAGE"] == sent["GARBAGE"][:-1]
    assert last["GARBAGE"] == "HELD", "a person must look"


# -- other outcomes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "code", "outcome"), [("REVIEW", "19000", "accepted"), ("DENIED", "03", "rejected")])
async def test_a_manifest_that_a_person_reviews_waits_for_the_second_receipt(
    ending: str, code: str, outcome: str, tmp_path: Path
) -> None:
    async with office(tmp_path, "customs", ["MT2101"]) as there:
        id, receipts = await there.declare(manifest(f"T-{ending}"))
        assert [receipt.type for receipt in receipts] == ["MTResponse", "MTReceipt", "MT9999"]
        await there.answer(receipts[:2])
        assert (await there.outcomes(id), await there.house.state(id)) == (["pending", "pending"], "ACCEPTED")
        await there.answer(receipts[2:])
        assert ((await there.outcomes(id))[-1], await there.house.state(id)) == (outcome, "COMPLETED")
        said = [line["code"] for line in (await there.house.life(id))["journal"] if line.get("receipt")]
    assert said == ["0", "19010", code]


async def test_each_bill_of_a_manifest_has_its_own_outcome(tmp_path: Path) -> None:
    body = sample("MT2101")
    bill = re.search(rb"<Consignment>.*?</Consignment>", body, re.DOTALL)
    assert bill is not None
    bills = [
        re.sub(rb"TESTBILL\d{4}", b"BILL-%d%s" % (n, end), bill[0]) for n, end in enumerate((b"", b"-REJ", b"-REVIEW"))
    ]
    async with office(tmp_path, "customs", ["MT2101"]) as there:
        id, receipts = await there.declare(body.replace(bill[0], b"".join(bills)))
        assert [receipt.type for receipt in receipts] == ["MTResponse", "MTReceipt", "MT9999"]
        await there.answer(receipts[:2])
        assert sorted(await there.outcomes(id)) == ["accepted", "pending", "pending", "rejected"]
        assert await there.house.state(id) == "ACCEPTED"
        await there.answer(receipts[2:])
        assert await there.house.state(id) == "COMPLETED"


@pytest.mark.parametrize(
    ("ending", "types", "last"),
    [
        ("INSPECT", ["DecImportResponse", "DEC_RESULT", "DEC_RESULT", "DEC_RESULT"], "released"),
        ("BACK", ["DecImportResponse", "DEC_RESULT"], "rejected"),
        ("QP", ["DecImportResponse", "DEC_DATA", "DEC_DATA"], "released"),
    ],
)
async def test_a_goods_declaration_may_go_other_ways(ending: str, types: list[str], last: str, tmp_path: Path) -> None:
    async with office(tmp_path, "customs", ["DecMessage"]) as there:
        id, receipts = await there.declare(declaration(f"T-{ending}"))
        assert [receipt.type for receipt in receipts] == types
        _, home = await there.answer(receipts)
        assert home == [receipt.body for receipt in receipts]
        assert ((await there.outcomes(id))[-1], await there.house.state(id)) == (last, "COMPLETED")
    assert (b'encoding="GB2312"' in home[-1]) == (ending == "QP")


async def test_a_failure_of_the_client_that_names_no_declaration_is_held_until_somebody_routes_it(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, "customs", ["DecMessage"]) as there:
        id, receipts = await there.declare(declaration("T-CARD"))
        ((failure,), home) = await there.answer(receipts)
        assert (home, await there.house.state(failure), await there.house.state(id)) == ([], "HELD", "ACCEPTED")


async def test_what_breaks_its_schema_gets_the_refusal_of_its_family() -> None:
    for name, type, told in (
        ("customs", "DecMessage", b"<ResponseCode>1<"),
        ("customs", "MT2101", b"<StatementCode>1<"),
        ("customs", "INV101", b"<DealFlag>-1<"),
        ("port", "COPINO", b"TESTTERM:ZZ+4'"),
        ("maritime", "MOT-IFCSUM", b"20:REJECTED:"),
    ):
        folder = TYPES.types[type].spec.folder / "samples" / "invalid"
        invalid = sorted(path for path in folder.glob(f"{type}--*") if "SWX-14" in path.name)
        (receipt,) = AUTHORITIES[name].answer(invalid[0].read_bytes(), NOON)
        assert told in receipt.body, receipt.body.decode(errors="replace")
