"""Steps of routes: what they make is sent and kept, what can't be made is held or rejected, slow ones wait alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing.context import ForkContext
from pathlib import Path
from typing import Any, ClassVar

import pytest

from exchange import explaining, forms, plugins
from exchange.errors import Held, Rejected, StoreError
from exchange.formats._edifact_write import reference
from exchange.instants import read_id
from exchange.model import Parcel
from exchange.options import Strict
from exchange.steps import About, Step
from exchange.steps.map import SCHEMAS
from tests import sealing
from tests.daemon import ROUTES, inventory, order, running
from tests.envelopes import IMPORT, dxp, node
from tests.switchctl import result_of, run

ORDER = order(1)
CUSTOMS = "  - code: CUSTOMS\n    role: customs\n"
STEPS = """
steps:
  - {name: bare, kind: unwrap, version: "1"}
  - {name: stripped, kind: unwrap, version: "1", only: dxp-node}
  - {name: to-node, kind: wrap, version: "3", into: dxp-node, start: "51000001", end: "00000002"}
  - {name: odd, kind: odd, version: "1"}
"""
WRITTEN = """
steps:
  - {name: to-iftsta, kind: map, version: "1", map: LogisticsEvent-IFTSTA, with: {sender: SWITCH}}
routes:
  - {name: events, match: {type: LogisticsEvent}, to: [customs-queue, ent2-box], steps: [to-iftsta]}
"""
EVENTS = SCHEMAS / "neutral" / "event" / "samples" / "valid" / "LogisticsEvent--loaded-and-departed.json"


class OddOptions(Strict):
    """What the step of these tests may be told."""

    slow: bool = False


class Odd(Step):
    """Does what the order's number says."""

    Options: ClassVar[type[Strict]] = OddOptions

    def __init__(self, options: Any, folder: Path) -> None:
        self._slow = options.slow

    def slow(self, size: int) -> bool:
        return bool(self._slow)

    def apply(self, parcel: Parcel, about: About) -> Parcel:
        body = parcel.read()
        if b">ORDER-7<" in body:
            raise Held("seven is not for us", "七不办理", code="SWX-2050")
        if b">ORDER-8<" in body:
            raise Rejected("eight is wrong", "八有误", code="SWX-1000")
        if b">ORDER-9<" in body:
            raise RuntimeError("a mistake of ours")
        if b">ORDER-10<" in body:
            time.sleep(30)
        assert about.type.name == "CEB311Message"
        return Parcel("odd.txt", b"odd " + about.envelope.own_id.encode(), {"type": "Odd"})


@pytest.fixture(autouse=True)
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda group, name: Odd if name == "odd" else load(group, name))
    monkeypatch.setattr(explaining.multiprocessing, "get_context", _forked)  # so that the worker knows the step, too
    yield
    forms.made.cache_clear()


def _forked(method: str) -> Any:
    return ForkContext()


def routed(steps: str, more: str = "") -> str:
    """Return the table where orders and inventories take *steps* on their way."""
    table = ROUTES.replace(CUSTOMS, f"{CUSTOMS}    ids: [{IMPORT}]\n").replace("routes:", f"{STEPS}routes:")
    table = table.replace("to: [customs-queue]}", f"to: [customs-queue], steps: {steps}{more}}}")
    return table.replace("sign: ecdsa-sha256}", f"sign: ecdsa-sha256, steps: {steps}{more}}}")


async def test_what_steps_make_is_sent_and_kept_and_the_original_stays(tmp_path: Path) -> None:
    body = node(dxp(ORDER, name="CEB311_1.xml"))
    async with running(tmp_path, routed("[bare, odd]")) as house:
        id = await house.give("ent1-box", body)
        await house.settle()
        (sent,) = house.sent("customs-queue")
        assert (sent.name, sent.read()) == ("odd.txt", b"odd 00000000-0000-4000-8000-000000000001")
        assert sent.headers["type"] == "Odd"
        kept = await house.daemon.store.payload(read_id(id))
        assert kept.read() == body
        assert (await house.daemon.store.payload(read_id(id), 0)).read() == sent.read()
        assert (await house.ask("message.show", id=id))["facts"]["wrappers"] == ["dxp-node", "dxp"]
        (line,) = await house.told(id, "accept")
        assert line["steps"] == ["customs-queue: bare 1, odd 1"]


async def test_a_step_that_fails_holds_and_nothing_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path, routed("[bare, odd]")) as house:
        ids = await house.together(*(dxp(order(n), id=f"C-{n}") for n in (6, 7, 8, 9)))
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED", "HELD", "HELD", "HELD"]
        lines = [(await house.told(id, "hold"))[0] for id in ids[1:]]
        assert [line["code"] for line in lines] == ["SWX-2050", "SWX-1000", "SWX-2073"]
        assert lines[0]["en"] == "step odd: seven is not for us"
        assert lines[0]["zh"] == "步骤 odd：七不办理"
        assert "a mistake" not in lines[2]["en"], "the text of an error may repeat what a message says"
        assert len(house.sent("customs-queue")) == 1


async def test_a_step_that_fails_rejects_where_the_route_says_so_and_the_sender_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, routed("[bare, odd]", ", on_failure: reject")) as house:
        ids = await house.together(order(7), dxp(order(8)))
        await house.settle()
        assert await house.states(*ids) == ["REJECTED", "REJECTED"]
        told = sorted(house.sent("ent1-box"), key=lambda parcel: parcel.headers["type"])
        assert [parcel.headers["type"] for parcel in told] == ["CEB900Message", "DxpRep"]
        assert b"SWX-2050" in told[0].read()


async def test_a_message_in_an_envelope_is_signed_inside_and_wrapped_anew(tmp_path: Path) -> None:
    async with running(tmp_path, routed("[bare, to-node]")) as house:
        id = await house.give("ent1-box", dxp(inventory(1), type="CEB621Message", id="COP-9"))
        await house.settle()
        assert await house.state(id) == "ACCEPTED"
        (sent,) = house.sent("customs-queue")
        opened = house.daemon.catalogue.open(sent.read())
        assert sealing.verified(opened.payload, "p256")
        assert [one.kind for one in opened.wrappers] == ["dxp-node", "dxp"]
        assert opened.wrappers[1].own_id == "COP-9", "answers to the envelope find the message"


@pytest.mark.parametrize("steps", ["[]", "[to-node]", "[stripped]", "[stripped, bare]"])
async def test_signing_waits_where_the_envelope_stays_on(tmp_path: Path, steps: str) -> None:
    async with running(tmp_path, routed(steps)) as house:
        id = await house.give("ent1-box", node(dxp(inventory(1), type="CEB621Message")))
        await house.settle()
        assert [line["code"] for line in await house.told(id, "hold")] == ["SWX-2072"]
        assert not house.sent("customs-queue")


async def test_only_the_envelopes_that_are_named_come_off(tmp_path: Path) -> None:
    msg = dxp(ORDER, declaration=False)
    async with running(tmp_path, routed("[stripped]")) as house:
        await house.give("ent1-box", node(msg))
        await house.settle()
        assert [parcel.read() for parcel in house.sent("customs-queue")] == [msg]


async def test_a_party_without_an_identifier_of_fitting_length_holds_the_message(tmp_path: Path) -> None:
    table = routed("[to-node]").replace(f"ids: [{IMPORT}]", "ids: [CUSTOMS-OF-THE-FIFTH-DISTRICT]")
    async with running(tmp_path, table) as house:
        id = await house.give("ent1-box", ORDER)
        await house.settle()
        assert [line["code"] for line in await house.told(id, "hold")] == ["SWX-2074"]


async def test_slow_steps_keep_nobody_waiting_but_their_twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "SECONDS", 1.5)
    table = routed("[odd]").replace('kind: odd, version: "1"', 'kind: odd, version: "1", slow: true')
    async with running(tmp_path, table.replace(", sign: ecdsa-sha256, steps: [odd]", "")) as house:
        slow, twin, quick = await house.together(order(10), order(10), inventory(1))
        await house.until(lambda: house.switch.undecided <= 2)
        assert await house.state(quick) == "REJECTED", "unsigned; it needn't wait to be told"
        assert await house.states(slow, twin) == ["RECEIVED", "RECEIVED"]
        await house.decided()
        assert await house.states(slow, twin) == ["HELD", "HELD"]
        assert [line["code"] for line in await house.told(slow, "hold")] == ["SWX-2075"]
        done = [await house.give("ent1-box", order(n)) for n in (1, 1, 7)]
        await house.settle()
        assert await house.states(*done) == ["ACCEPTED", "DUPLICATE", "HELD"]
        assert [line["code"] for line in await house.told(done[2], "hold")] == ["SWX-2050"]
        assert [parcel.name for parcel in house.sent("customs-queue")] == ["odd.txt"]


def test_an_envelope_that_breaks_its_rules_is_told_offline_too(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(dxp(ORDER, receivers=[IMPORT] * 6))
    told = result_of("validate", str(tmp_path / "a.xml"), status=1)
    assert (told["code"], [finding["code"] for finding in told["findings"]]) == ("SWX-1080", ["SWX-1404"])
    (tmp_path / "a.xml").write_bytes(node(dxp(ORDER.replace(b">142<", b">999<"))))
    told = result_of("validate", str(tmp_path / "a.xml"), status=1)
    assert told["code"] == "SWX-1040", "what is wrong inside is found inside"
    assert told["findings"][0]["pointer"].startswith("/CEB311Message/Order")


def test_steps_are_tried_offline_and_slow_ones_in_the_same_process(tmp_path: Path) -> None:
    table = routed("[bare, odd]").replace('kind: odd, version: "1"', 'kind: odd, version: "1", slow: true')
    (tmp_path / "routes.yaml").write_text(table, "utf-8")
    (tmp_path / "a.xml").write_bytes(dxp(ORDER, receivers=[IMPORT]))
    asked = ("transform", str(tmp_path / "a.xml"), "--route", "orders", "--routes", str(tmp_path / "routes.yaml"))
    (told,) = result_of(*asked)["deliveries"]
    assert (told["endpoint"], told["receiver"], told["name"]) == ("customs-queue", "CUSTOMS", "odd.txt")
    assert (told["text"], told["steps"]) == ("odd 00000000-0000-4000-8000-000000000001", ["bare 1", "odd 1"])
    (told,) = result_of(*asked, "--out", str(tmp_path / "out"), "--diff")["deliveries"]
    assert Path(told["file"]).read_bytes() == b"odd 00000000-0000-4000-8000-000000000001"
    assert told["text"].startswith("--- message\n+++ delivery")
    assert "odd.txt" in run(*asked, "--from", "ENT1").output
    assert result_of(*asked, "--from", "ENT9", status=3)["error"]["code"] == "SWX-7010"
    assert result_of(*asked[:-3], "oders", *asked[-2:], status=3)["error"]["code"] == "SWX-7010"
    (tmp_path / "a.xml").write_bytes(order(7))
    assert result_of(*asked, status=1)["error"]["code"] == "SWX-2050"


async def test_a_disk_that_fails_while_a_slow_step_runs_loses_and_doubles_nothing(tmp_path: Path) -> None:
    table = routed("[odd]").replace('kind: odd, version: "1"', 'kind: odd, version: "1", slow: true')
    async with running(tmp_path, table) as house:
        house.trip("conclude", StoreError("full", "满"))
        ids = await house.together(order(1), order(2))
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED", "ACCEPTED"]
        assert len(house.sent("customs-queue")) == 2
        assert house.switch.undecided == 0


async def test_interchanges_for_two_endpoints_have_references_of_their_own_and_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange.switch.PAUSE_SECONDS", 0.01)
    async with running(tmp_path, ROUTES.partition("routes:")[0] + WRITTEN) as house:
        house.trip("conclude", StoreError("full", "满"))  # so that all of it is made twice
        id = await house.give("ent1-box", EVENTS.read_bytes().replace(b"TERM01", b"ENT1"), "e.json")
        await house.settle()
        sent = [house.sent(box)[0].read().split(b"'") for box in ("customs-queue", "ent2-box")]
        for number, written in enumerate(sent):
            own = reference(read_id(id), number).encode()
            assert written[0].endswith(b"+" + own)
            assert written[-2].endswith(b"+" + own)
        assert sent[0] != sent[1]
        await house.change("resend", id, delivery=1)
        await house.settle()
        assert house.sent("ent2-box")[1].read().split(b"'") == sent[1]
