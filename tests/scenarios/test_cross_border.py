"""Every cross-border declaration through a whole daemon to the simulated customs, and every receipt home again.

Which types there are, which receipts answer them and what they mean is the catalogue's and the simulator's data; the
routes are an example of how to route them, by type and by trade mode.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from exchange import catalogue
from simulators._authority_engine import Authority
from simulators.authority import rules_of
from tests import pki
from tests.daemon import NOON, SAMPLES, House, running

TYPES = catalogue.load()
FAMILY = [type for type in TYPES.types.values() if type.spec.folder == SAMPLES.parent.parent]
ROUTES = (Path(__file__).parent / "cross-border" / "routes.yaml").read_text("utf-8")
DESK = rules_of("customs.yaml").desks[0]
RULES = {name: DESK.filled(rules) for rules in DESK.types for name in rules.takes}
QUEUES = ("customs-queue", "bonded-queue", "b2b-queue")


def unsigned(name: str) -> bytes:
    return re.sub(rb"\s*<ds:Signature .*</ds:Signature>", b"", (SAMPLES / f"{name}.xml").read_bytes(), flags=re.DOTALL)


def customs() -> Authority:
    certificate = load_pem_x509_certificate((pki.shared() / "rsa.crt").read_bytes())
    signer = certificate.public_bytes(Encoding.DER)
    return Authority(rules=rules_of("customs.yaml"), types=TYPES, certificates=[signer], later=True)


def sent(house: House) -> list[tuple[str, Any]]:
    return [(queue, parcel) for queue in QUEUES for parcel in house.sent(queue)]


@pytest.mark.parametrize("name", sorted(type.name for type in FAMILY if type.kind == "declaration"))
async def test_a_declaration_goes_to_customs_and_every_receipt_comes_home(name: str, tmp_path: Path) -> None:
    rules = RULES[name]
    async with running(tmp_path, ROUTES) as house:
        id = await house.give("ent1-box", unsigned(f"{name}--minimal"), f"{name}.xml")
        await house.settle()
        ((queue, parcel),) = sent(house)
        receipts = customs().answer(parcel.read(), NOON)
        for receipt in receipts:
            await house.give(queue, receipt.body, receipt.name)
            await house.settle()
        own, *home = house.sent("ent1-box")
        life = await house.ask("message.show", id=id)
    assert own.name.startswith(f"Successed_{name}")
    assert [parcel.read() for parcel in home] == [receipt.body for receipt in receipts]
    assert [receipt.type for receipt in receipts] == [
        *[rules.receipt] * len(DESK.courses[rules.course]),
        *[later.form for later in rules.later],
    ]
    assert life["state"] == "COMPLETED"
    assert {d["state"] for d in life["deliveries"] if d["disposition"] == "message"} == {"ANSWERED"}
    told = [line["meaning"]["zh"] for line in life["journal"] if line.get("receipt")]
    assert told[: len(DESK.courses[rules.course])] == [
        TYPES.code(TYPES.types[rules.receipt], step.status).zh for step in DESK.courses[rules.course]
    ]
    assert "未知状态" not in told or name == "CEB701Message", "no list of decState is published"
    if name == "CEB621Message":
        assert told[-2:] == ["电子税单已生成", "电子税单已汇总"]


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("CEB621Message", "customs-queue"),  # 9610
        ("CEB621Message--1210", "bonded-queue"),
        ("CEB603Message--several", "customs-queue"),  # 9610
        ("CEB603Message--1210", "bonded-queue"),
        ("CEB603Message--9710", "b2b-queue"),
        ("CEB603Message--9810", "b2b-queue"),
        ("CEB303Message--several", "customs-queue"),
        ("CEB303Message--9710", "b2b-queue"),
        ("CEB303Message--9810", "b2b-queue"),
    ],
)
async def test_each_mode_of_trade_may_go_its_own_way(name: str, queue: str, tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES) as house:
        await house.give("ent1-box", unsigned(name))
        await house.settle()
        assert [where for where, _ in sent(house)] == [queue]


async def test_a_receipt_that_breaks_its_schema_and_lists_comes_home_with_a_warning(tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES) as house:
        id = await house.give("ent1-box", unsigned("CEB621Message--minimal"))
        await house.settle()
        (sent_there,) = house.sent("customs-queue")
        *_, stored, released, tax, _ = customs().answer(sent_there.read(), NOON)
        odd = stored.body.replace(b">120<", b">23<").replace(b"</InventoryReturn>", b"<new>1</new></InventoryReturn>")
        tax_body = tax.body.replace(b"</TaxHeadRd>", b"<orderNo>1</orderNo><logisticsNo>1</logisticsNo></TaxHeadRd>")
        ids = []
        for body in (odd, released.body, tax_body):
            ids.append(await house.give("customs-queue", body))
            await house.settle()
        home = [parcel.read() for parcel in house.sent("ent1-box")[1:]]
        warned = [[f["code"] for f in line.get("findings", ())] for r in ids for line in await house.told(r, "accept")]
        life = await house.ask("message.show", id=id)
    assert home == [odd, released.body, tax_body]
    assert warned == [["SWX-1040", "SWX-1041"], [], ["SWX-1040"]]
    assert life["state"] == "COMPLETED"
    told = [line["meaning"]["zh"] for line in life["journal"] if line.get("receipt")]
    assert told == ["未知状态", "放行", "电子税单已生成"]
