"""What an operator discards, its sender is told: in his own shape, with the reason, and true whatever was delivered."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import evolve

from adapters.http_api import HttpApi
from exchange.errors import ExchangeError, Permanent, Poisonous
from exchange.intake import Examined, discarded, examine
from exchange.model import Agreement, Arrival, Endpoint, Parcel, Party, Planned
from exchange.routing import RoutingTable
from tests.daemon import NOON, ROUTES, House, answer, order, running
from tests.envelopes import dxp
from tests.unit.test_intake import CUSTOMS, ENDPOINTS, ENT1, TYPES, agreeing, arrived, table

REASON = "customs doesn't take this port"
CHINESE = re.compile("[\u4e00-\u9fff]")


def sample(type: str) -> bytes:
    """Return a valid message of a type."""
    return next(one.path for one in TYPES.samples() if one.type == type and not one.code).read_bytes()


def planned(body: bytes, known: RoutingTable | None = None, endpoint: Endpoint = ENDPOINTS[0]) -> tuple[Planned, ...]:
    known = known or table()
    return discarded(examine(arrived(body, endpoint), TYPES, known, NOON), REASON, TYPES, known, NOON)


def told(*arguments: Any) -> Parcel:
    (one,) = planned(*arguments)
    assert (one.disposition, one.refers_to, one.endpoint) == ("rejected", 1 << 40, "ent1-box")
    assert one.parcel is not None
    return one.parcel


# -- pure: what is written -------------------------------------------------------------------------------------------


def test_an_order_is_told_in_ceb900_with_code_reason_and_what_to_do_in_chinese() -> None:
    parcel = told(order(1))
    tree = TYPES.open(parcel.read()).tree
    info = tree.findtext("{*}MessageReturn/{*}returnInfo")
    assert info.startswith("[Code:SWX-1120;Desc:")
    assert REASON in info
    assert "重新发送" in info
    assert (parcel.name, parcel.headers["type"]) == ("Failed_a_19700102-0.xml", "CEB900Message")


def test_over_https_it_is_json_with_the_state_and_both_languages() -> None:
    known = table(endpoints=(Endpoint("ent1-box", "ENT1", "k"),), kinds={"k": HttpApi})
    facts = orjson.loads(told(order(1), known).read())
    assert (facts["state"], facts["code"], facts["type"]) == ("DISCARDED", "SWX-1120", "CEB311Message")
    assert REASON in facts["en"]
    assert "send it again under a new id" in facts["en"]
    assert REASON in facts["zh"]
    assert CHINESE.search(facts["zh"])


def test_an_interchange_is_told_by_contrl_unless_its_party_wants_none() -> None:
    assert b"+4+18'" in told(sample("CODECO")).read()
    assert planned(sample("CODECO"), table(agreeing(contrl="never"))) == ()


def test_what_came_in_an_envelope_is_told_by_dxprep() -> None:
    body = told(dxp(order(1))).read()
    assert b"<dxp:ResponseCode>2999<" in body
    assert f"SWX-1120 已由交换机值班员作废，理由：{REASON}".encode() in body


def test_a_platform_file_is_told_by_a_platform_file_that_obeys_its_own_profile() -> None:
    written = told(
        sample(next(name for name, type in TYPES.types.items() if type.receipt_shape == "platform_file"))
    ).read()
    assert b":DISCARDED:SWX-1120:" in written
    opened = TYPES.open(written)
    assert TYPES.valid(opened, TYPES.identify(opened), on=date(2026, 11, 22))


def test_nobody_is_told_of_a_receipt_nor_an_authority_nor_who_has_no_place_or_wants_none() -> None:
    platform = Party("ENT1", "platform", ids=("DXPENT0000000001",), agreement=Agreement(sends_for=("*",)))
    assert planned(answer(1), table(platform)) == ()
    assert planned(b"garbage", table(), ENDPOINTS[2]) == ()
    assert planned(order(1), table(endpoints=ENDPOINTS[1:])) == ()
    assert planned(order(1), table(agreeing(acknowledge="none"))) == ()
    assert planned(order(1), table(evolve(ENT1, code="ENT9"), evolve(CUSTOMS, code="ENT1"))) == ()
    assert len(planned(order(1), table(agreeing(acknowledge="rejected")))) == 1


# -- in a running switch ---------------------------------------------------------------------------------------------

NO_ROUTE = ROUTES.partition("routes:")[0] + "routes: []\n"
TWO = ROUTES.replace("to: [customs-queue]}", "to: [customs-queue, ent2-box]}")


def receipts(house: House, box: str = "ent1-box") -> list[Parcel]:
    return [parcel for parcel in house.sent(box) if parcel.headers["disposition"] == "rejected"]


async def test_a_held_message_that_is_discarded_is_told_to_its_sender_and_to_nobody_else(tmp_path: Path) -> None:
    async with running(tmp_path, NO_ROUTE) as house:
        (id,) = await house.orders(1)
        assert await house.change("discard", id) == [{"id": id, "state": "DISCARDED", "told": "ent1-box"}]
        await house.settle()
        (sent,) = receipts(house)
        assert (sent.headers["refers-to"], sent.headers["type"]) == (id, "CEB900Message")
        assert "理由：asked by phone" in sent.read().decode()
        assert (await house.delivery(id, "ent1-box"))["state"] == "DELIVERED"
        assert len(house.memory.sent) == 1


async def test_a_message_that_half_of_its_receivers_have_is_told_that_this_stays_so(tmp_path: Path) -> None:
    async with running(tmp_path, TWO, far={"ent2-box": Permanent("no", "拒收")}) as house:
        (id,) = await house.orders(1)
        await house.give("customs-queue", answer(1), "r.xml")
        await house.settle()
        assert (await house.state(id), house.numbers()) == ("FAILED", [1])
        await house.change("discard", id)
        await house.settle()
        assert "此前已送达的部分不撤回" in receipts(house)[0].read().decode()


async def test_what_customs_says_of_a_message_that_was_given_up_still_comes_home(tmp_path: Path) -> None:
    async with running(
        tmp_path, far={"customs-queue": Permanent("no answer that anybody could read", "应答无法识别")}
    ) as house:
        (id,) = await house.orders(1)
        await house.settle()
        await house.change("discard", id)
        receipt = await house.give("customs-queue", answer(1), "r.xml")  # it had taken the order after all
        await house.settle()
        assert await house.states(id, receipt) == ["DISCARDED", "COMPLETED"]
        (home,) = [parcel for parcel in house.sent("ent1-box") if parcel.headers["disposition"] == "receipt"]
        assert home.headers["refers-to"] == id


async def test_what_was_never_sent_is_answered_by_nobody(tmp_path: Path) -> None:
    async with running(tmp_path, NO_ROUTE) as house:
        (id,) = await house.orders(1)
        await house.change("discard", id)
        receipt = await house.give("customs-queue", answer(1), "r.xml")
        await house.settle()
        assert await house.state(receipt) == "RECEIVED"


async def test_silently_nobody_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, NO_ROUTE) as house:
        (id,) = await house.orders(1)
        assert await house.change("discard", id, silent=True) == [{"id": id, "state": "DISCARDED", "told": ""}]
        await house.settle()
        assert house.memory.sent == []


async def test_garbage_of_an_authority_is_discarded_and_nobody_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("customs-queue", b"garbage")
        await house.decided()
        assert (await house.change("discard", id))[0]["told"] == ""


async def test_who_is_on_hold_is_told_when_he_is_back(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.ask("party.hold", code="ENT1", state="held", reason="unpaid")
        (id,) = await house.orders(1)
        await house.change("discard", id)
        await house.pass_time(1)
        assert receipts(house) == []
        await house.ask("party.hold", code="ENT1", state="", reason="paid")
        await house.settle()
        assert receipts(house)[0].headers["type"] == "CEB900Message"


async def test_after_a_kill_the_receipt_about_what_was_discarded_still_goes_out(tmp_path: Path) -> None:
    async with running(tmp_path, NO_ROUTE) as house:
        (id,) = await house.orders(1)
        await house.hold_endpoint("ent1-box")
        await house.change("discard", id)
        house.kill()
    async with running(tmp_path, NO_ROUTE) as house:
        await house.hold_endpoint("ent1-box", "")
        await house.settle()
        assert await house.state(id) == "DISCARDED"
        assert [parcel.headers["refers-to"] for parcel in receipts(house)] == [id]


async def test_what_kills_the_switch_is_not_looked_at_again_and_its_sender_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        with monkeypatch.context() as patch:
            patch.setattr("exchange.switch.examine", failing(Poisonous("it died", "异常退出")))
            (id,) = await house.orders(1)
        seen: list[Arrival] = []
        monkeypatch.setattr("exchange.switch.examine", looked_at(seen))
        assert (await house.change("discard", id))[0]["told"] == "ent1-box"
        assert [arrival.parcel.size for arrival in seen] == [0]


def failing(why: ExchangeError) -> Any:
    return lambda arrival, *_, **__: Examined(arrival, error=why)


def looked_at(seen: list[Arrival]) -> Any:
    def look(arrival: Arrival, *values: Any, **more: Any) -> Any:
        seen.append(arrival)
        return examine(arrival, *values, **more)

    return look
