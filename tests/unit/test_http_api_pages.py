"""What a party sees over the HTTP API: lives, payloads, receipts, and the description of it all."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.routing import Match

from adapters._http_openapi import DOCUMENT
from adapters._http_problems import KINDS
from exchange.model import Parcel, Spool
from tests.fake_archive import NOON
from tests.http_bench import (
    BEARER,
    ENT1,
    ENT2,
    Bench,
    assert_problem,
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# -- looking -----------------------------------------------------------------------------------------------------


async def test_a_party_sees_the_whole_life_of_its_message(bench: Bench) -> None:
    await bench.know(ENT1)
    delivery = {"number": 1, "endpoint": "customs", "party": "CUSTOMS", "state": "ANSWERED", "due_at": NOON}
    journal = [
        {"at": NOON, "event": "receive", "delivery": None, "actor": ""},
        {"at": NOON, "event": "defer", "delivery": 1, "actor": "", "code": "SWX-3010", "en": "mq-1.internal refused"},
        {"at": NOON, "event": "answer", "delivery": 1, "actor": "", "receipt": "20261122-9", "outcome": "accepted"},
        {"at": NOON, "event": "discard", "delivery": None, "actor": "operator-1", "reason": "asked by the sender"},
    ]
    id = bench.archive.add_message(
        20779 << 40, "ENT1", Parcel("a.xml", b"<a/>"), deliveries=[delivery], journal=journal
    )
    answer = await bench.ask("GET", f"/v1/messages/{id}", headers=BEARER)
    life = answer.json()
    assert answer.status_code == 200
    assert (life["id"], life["at"], life["state"]) == (id, "2026-11-22T12:00:00.000+08:00", "RECEIVED")
    assert life["deliveries"][0]["due_at"] == "2026-11-22T12:00:00.000+08:00"
    assert [line["event"] for line in life["journal"]] == ["receive", "defer", "answer", "discard"]
    assert [(one["receipt"], one["outcome"]) for one in life["receipts"]] == [("20261122-9", "accepted")]
    assert life["journal"][3]["reason"] == "asked by the sender"
    assert "internal" not in answer.text
    assert "operator-1" not in answer.text


async def test_a_reject_is_told_with_all_of_its_findings(bench: Bench) -> None:
    await bench.know(ENT1)
    findings = [{"code": "SWX-1041", "pointer": "/CEB311Message/Order[1]/OrderHead/ebcCode", "en": "x", "zh": "y"}]
    journal = [{"at": NOON, "event": "reject", "delivery": None, "actor": "", "code": "SWX-1040", "en": "1 error",
                "zh": "1 处错误", "findings": findings}]  # fmt: skip
    id = bench.archive.add_message(20779 << 40, "ENT1", Parcel("a.xml", b"<a/>"), state="REJECTED", journal=journal)
    life = (await bench.ask("GET", f"/v1/messages/{id}", headers=BEARER)).json()
    assert life["state"] == "REJECTED"
    assert life["journal"][0]["findings"] == findings
    assert life["journal"][0]["zh"] == "1 处错误"


@pytest.mark.parametrize("tail", ["", "/payload"])
async def test_a_strangers_message_is_as_good_as_none(bench: Bench, tail: str) -> None:
    await bench.know(ENT1, ENT2)
    id = bench.archive.add_message(20779 << 40, "ENT2", Parcel("b.xml", b"<b/>"))
    strange = await bench.ask("GET", f"/v1/messages/{id}{tail}", headers=BEARER)
    unknown = await bench.ask("GET", f"/v1/messages/20261122-77{tail}", headers=BEARER)
    nonsense = await bench.ask("GET", f"/v1/messages/nonsense{tail}", headers=BEARER)
    assert_problem(strange, 404, "SWX-8040")
    assert strange.content == unknown.content == nonsense.content


async def test_a_message_that_another_sent_for_a_party_is_its_own_too(bench: Bench) -> None:
    await bench.know(ENT1)
    id = bench.archive.add_message(20779 << 40, "PLATFORM", Parcel("a.xml", b"<a/>"), sender="ENT1")
    assert (await bench.ask("GET", f"/v1/messages/{id}", headers=BEARER)).status_code == 200


@pytest.mark.parametrize("spooled", [False, True])
async def test_a_payload_comes_back_byte_for_byte(bench: Bench, tmp_path: Path, spooled: bool) -> None:
    await bench.know(ENT1)
    body = "<订单/>".encode("gb18030") * 400
    path = tmp_path / "spooled"
    path.write_bytes(body)
    parcel = Parcel("订单.xml", Spool(path, len(body), b"") if spooled else body)
    id = bench.archive.add_message(20779 << 40, "ENT1", parcel)
    answer = await bench.ask("GET", f"/v1/messages/{id}/payload", headers=BEARER)
    assert answer.content == body
    assert answer.headers["content-type"] == "application/octet-stream"
    assert quote("订单.xml") in answer.headers["content-disposition"]


# -- receipts ----------------------------------------------------------------------------------------------------


def receipt(text: bytes, name: str = "r.xml") -> Parcel:
    headers = {"id": "20261122-5.1", "type": "CEB312Message", "refers-to": "20261122-4", "disposition": "receipt"}
    return Parcel(name, text, headers)


async def test_receipts_are_listed_after_a_cursor(bench: Bench) -> None:
    await bench.know(ENT1, ENT2)
    for position in (3, 5, 8):
        bench.archive.add_mail("ent1-http", position, receipt(b"<CEB312Message/>"))
    bench.archive.add_mail("ent2-http", 4, receipt(b"<secret/>"))
    first = (await bench.ask("GET", "/v1/receipts?limit=2", headers=BEARER)).json()
    assert [one["cursor"] for one in first["receipts"]] == ["3", "5"]
    assert first["receipts"][0] == {
        "cursor": "3", "id": "20261122-5.1", "refers_to": "20261122-4", "type": "CEB312Message",
        "disposition": "receipt", "at": "2026-11-22T12:00:00.000+08:00", "name": "r.xml", "size": 16,
        "payload": "/v1/receipts/3/payload", "encoding": "utf-8", "body": "<CEB312Message/>",
    }  # fmt: skip
    second = (await bench.ask("GET", f"/v1/receipts?after={first['next']}", headers=BEARER)).json()
    assert [one["cursor"] for one in second["receipts"]] == ["8"]
    third = (await bench.ask("GET", f"/v1/receipts?after={second['next']}", headers=BEARER)).json()
    assert third == {"receipts": [], "next": "8"}


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ('{"state": "受理"}'.encode(), "utf-8"),
        (b"\xef\xbb\xbf <a/>", "utf-8"),
        ("<回执/>".encode("gb18030"), "base64"),
        (b"UNA:+.? '", "base64"),
        (b"", "base64"),
    ],
)
async def test_a_receipt_travels_in_json_byte_for_byte(bench: Bench, body: bytes, encoding: str) -> None:
    await bench.know(ENT1)
    bench.archive.add_mail("ent1-http", 1, receipt(body))
    shown = (await bench.ask("GET", "/v1/receipts", headers=BEARER)).json()["receipts"][0]
    assert shown["encoding"] == encoding
    assert (shown["body"].encode() if encoding == "utf-8" else base64.b64decode(shown["body"])) == body
    assert (await bench.ask("GET", "/v1/receipts/1/payload", headers=BEARER)).content == body


async def test_a_large_receipt_is_fetched_by_itself_and_a_page_stays_small(bench: Bench) -> None:
    await bench.know(ENT1)
    bench.archive.add_mail("ent1-http", 1, receipt(b"<" + b"x" * 2**20))
    for position in range(2, 8):
        bench.archive.add_mail("ent1-http", position, receipt(b"<" + b"x" * (2**20 - 1)))
    page = (await bench.ask("GET", "/v1/receipts", headers=BEARER)).json()
    assert [one["cursor"] for one in page["receipts"]] == ["1", "2", "3", "4", "5"]
    assert page["receipts"][0]["body"] is None
    assert page["next"] == "5"
    assert len((await bench.ask("GET", "/v1/receipts/1/payload", headers=BEARER)).content) == 2**20 + 1


@pytest.mark.parametrize("cursor", ["4", "0", "x", "9" * 19, "9" * 30])
async def test_a_receipt_of_another_party_is_as_good_as_none(bench: Bench, cursor: str) -> None:
    await bench.know(ENT1, ENT2)
    bench.archive.add_mail("ent2-http", 4, receipt(b"<secret/>"))
    assert_problem(await bench.ask("GET", f"/v1/receipts/{cursor}/payload", headers=BEARER), 404, "SWX-8040")


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=" + "9" * 30, "limit=101", "wait=31", "wait=1.5"])
async def test_a_parameter_that_makes_no_sense_is_named(bench: Bench, query: str) -> None:
    await bench.know(ENT1)
    problem = assert_problem(await bench.ask("GET", f"/v1/receipts?{query}", headers=BEARER), 400, "SWX-8030")
    assert problem["detail"].startswith(query.partition("=")[0])


async def test_a_waiting_client_is_woken_by_what_is_sent_to_it_alone(bench: Bench) -> None:
    await bench.know(ENT1, ENT2)
    waiting = asyncio.ensure_future(bench.ask("GET", "/v1/receipts?wait=30", headers=BEARER))
    await bench.archive.was_read.wait()
    await bench.api.send(ENT2, receipt(b"<other/>"))
    await asyncio.sleep(0)
    assert bench.archive.reads == 1, "mail of another party costs the waiting one nothing"
    await bench.api.send(ENT1, receipt(b"<a/>"))
    bench.archive.add_mail("ent1-http", 1, receipt(b"<a/>"))  # the store shows it a moment after it was sent
    answer = await asyncio.wait_for(waiting, 5)
    assert [one["body"] for one in answer.json()["receipts"]] == ["<a/>"]
    assert bench.archive.reads < 10


async def test_a_stop_sends_waiting_clients_home(bench: Bench) -> None:
    await bench.know(ENT1)
    waiting = asyncio.ensure_future(bench.ask("GET", "/v1/receipts?wait=30", headers=BEARER))
    await bench.archive.was_read.wait()
    await bench.api.stop()
    assert (await asyncio.wait_for(waiting, 5)).json() == {"receipts": [], "next": "0"}


# -- the document ------------------------------------------------------------------------------------------------


async def test_the_description_is_open_and_valid_openapi(bench: Bench) -> None:
    answer = await bench.ask("GET", "/v1/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    assert list(unresolved(document, document)) == []
    operations = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(operations) == len(set(operations))


def unresolved(document: Any, part: Any) -> Any:
    """Yield every ``$ref`` that points nowhere."""
    if isinstance(part, dict):
        if "$ref" in part:
            place = document
            for step in part["$ref"].removeprefix("#/").split("/"):
                place = place.get(step, {})
            if not place:
                yield part["$ref"]
        for value in part.values():
            yield from unresolved(document, value)
    elif isinstance(part, list):
        for value in part:
            yield from unresolved(document, value)


def test_the_description_lists_exactly_the_routes_there_are(bench: Bench) -> None:
    routes = {(route.path, method.lower()) for route in bench.api._router.routes for method in route.methods}
    described = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == {route for route in routes if route[1] != "head"}


def test_every_problem_that_can_be_told_is_described_in_two_languages() -> None:
    for code, kind in KINDS.items():
        assert DOCUMENT["components"]["responses"][code]["description"] == f"{kind.title}\n\n{kind.zh}"
        assert DOCUMENT["components"]["x-problems"][code]["status"] == kind.status


async def test_the_type_of_a_problem_points_to_its_description(bench: Bench) -> None:
    problem = (await bench.ask("GET", "/v1/receipts")).json()
    path, _, pointer = problem["type"].partition("#/")
    place = (await bench.ask("GET", path)).json()
    for step in pointer.split("/"):
        place = place[step]
    assert place["status"] == 401


async def test_the_life_that_is_shown_has_what_the_description_requires(bench: Bench) -> None:
    await bench.know(ENT1)
    id = bench.archive.add_message(20779 << 40, "ENT1", Parcel("a.xml", b"<a/>"))
    life = (await bench.ask("GET", f"/v1/messages/{id}", headers=BEARER)).json()
    assert set(DOCUMENT["components"]["schemas"]["Life"]["required"]) <= set(life)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/messages/", "/v1/nothing", "/docs"])
async def test_an_unknown_address_is_a_problem_too(bench: Bench, path: str) -> None:
    assert_problem(await bench.ask("GET", path), 404, "SWX-8040")


async def test_a_method_that_is_not_offered_is_told_with_those_that_are(bench: Bench) -> None:
    answer = await bench.ask("GET", "/v1/messages", headers=BEARER)
    assert_problem(answer, 405, "SWX-8050")
    assert answer.headers["allow"] == "POST"
    assert (await bench.ask("DELETE", "/v1/receipts", headers=BEARER)).headers["allow"] == "GET, HEAD"


def test_no_route_is_shadowed_by_an_earlier_one(bench: Bench) -> None:
    for route in bench.api._router.routes:
        scope = {"type": "http", "method": "GET", "path": route.path, "headers": []}
        assert [other.path for other in bench.api._router.routes if other.matches(scope)[0] is not Match.NONE] == [
            route.path
        ]
