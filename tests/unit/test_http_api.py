"""The HTTP API without sockets: who gets in, what is taken, how problems are told."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError
from twisted.internet.task import Clock

from adapters._http_keys import Keys, Patience
from adapters.http_api import Options, Settings, new_key
from exchange.errors import Busy, ConfigurationError, StoreError, TooLarge
from exchange.instants import SECOND
from exchange.model import Endpoint, Spool
from tests.fake_archive import NOON
from tests.http_bench import (
    BEARER,
    DECLARATION,
    ENT1,
    ENT2,
    HASH,
    KEY,
    OTHER_HASH,
    OTHER_KEY,
    Bench,
    assert_problem,
    files,
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# -- taking ------------------------------------------------------------------------------------------------------


async def test_a_message_is_answered_with_its_id_after_the_take(bench: Bench) -> None:
    await bench.know(ENT1)
    answer = await bench.ask("POST", "/v1/messages", content=DECLARATION, headers=BEARER)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/messages/20261122-1"
    assert answer.json() == {"id": "20261122-1", "state": "RECEIVED"}
    parcel, endpoint = bench.taken[0]
    assert parcel.body == DECLARATION
    assert endpoint is ENT1


async def test_a_message_carries_the_name_that_the_client_gave(bench: Bench) -> None:
    await bench.know(ENT1)
    name = "进口订单 CEB311.xml"
    await bench.ask("POST", "/v1/messages", content=b"<a/>", headers=BEARER | {"X-File-Name": quote(name)})
    assert bench.taken[0][0].name == name


async def test_messages_without_a_name_get_different_ones(bench: Bench) -> None:
    await bench.know(ENT1)
    for _ in range(2):
        await bench.ask("POST", "/v1/messages", content=b"<a/>", headers=BEARER)
    first, second = (parcel.name for parcel, _ in bench.taken)
    assert first != second


@pytest.mark.parametrize("name", ["../x.xml", "a%2Fb", "a%5Cb", "%00", "%0A", "..", "%ff%fe", "x" * 256])
async def test_a_name_that_could_leave_its_folder_is_refused(bench: Bench, name: str) -> None:
    await bench.know(ENT1)
    answer = await bench.ask("POST", "/v1/messages", content=b"<a/>", headers=BEARER | {"X-File-Name": name})
    assert "X-File-Name" in assert_problem(answer, 400, "SWX-8030")["detail"]
    assert not bench.taken


async def test_an_empty_body_is_taken_for_its_faults_are_told_by_receipt(bench: Bench) -> None:
    await bench.know(ENT1)
    assert (await bench.ask("POST", "/v1/messages", content=b"", headers=BEARER)).status_code == 202


async def test_a_large_body_is_spooled(bench: Bench, tmp_path: Path) -> None:
    await bench.know(ENT1)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 512

    assert (await bench.ask("POST", "/v1/messages", content=pieces(), headers=BEARER)).status_code == 202
    body = bench.taken[0][0].body
    assert isinstance(body, Spool)
    assert body.path.read_bytes() == b"x" * 2048
    assert body.path.is_relative_to(tmp_path)


async def test_a_spooled_body_that_is_not_taken_leaves_no_file(bench: Bench, tmp_path: Path) -> None:
    await bench.know(ENT1)
    bench.failure = StoreError("the disk is full", "磁盘已满")
    await bench.ask("POST", "/v1/messages", content=b"x" * 2048, headers=BEARER)
    assert files(tmp_path) == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused_with_the_limit_named(
    bench: Bench, tmp_path: Path, chunked: bool
) -> None:
    await bench.know(ENT1)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 500

    content = pieces() if chunked else b"x" * 5000
    answer = await bench.ask("POST", "/v1/messages", content=content, headers=BEARER)
    assert "4096" in assert_problem(answer, 413, "SWX-1070")["detail"]
    assert not bench.taken
    assert files(tmp_path) == []


async def test_a_body_over_the_limit_is_refused_before_it_is_sent(bench: Bench) -> None:
    await bench.know(ENT1)
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was asked for")

    async def send(event: Any) -> None:
        sent.append(event)

    headers = [(b"authorization", BEARER["Authorization"].encode()), (b"content-length", b"5000")]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers, "client": None}
    await bench.api(scope, receive, send)
    assert sent[0]["status"] == 413


async def test_an_encoded_body_is_refused(bench: Bench) -> None:
    await bench.know(ENT1)
    headers = BEARER | {"Content-Encoding": "gzip"}
    assert_problem(await bench.ask("POST", "/v1/messages", content=b"\x1f\x8b", headers=headers), 415, "SWX-8060")


async def test_a_client_that_is_gone_in_the_middle_of_a_body_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    await bench.know(ENT1)
    events: list[Any] = [{"type": "http.request", "body": b"x" * 2000, "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return events.pop(0)

    async def send(event: Any) -> None:
        raise AssertionError("nobody is there to be answered")

    headers = [(b"authorization", BEARER["Authorization"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers, "client": None}
    await bench.api(scope, receive, send)
    assert not bench.taken
    assert files(tmp_path) == []


# -- when it can't be taken --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "status", "code", "again"),
    [
        (StoreError("/var/lib/switch is full", "磁盘已满", code="SWX-6010"), 503, "SWX-6010", "5"),
        (Busy("too much at once", "积压过多", retry_after=17.2), 503, "SWX-6040", "18"),
        (TooLarge("over the limit of 9 bytes", "超过上限 9 字节"), 413, "SWX-1070", None),
        (ZeroDivisionError("/secret/path"), 500, "SWX-9000", None),
    ],
)
async def test_a_take_that_fails_is_told_politely_and_without_our_insides(
    bench: Bench, failure: Exception, status: int, code: str, again: str | None
) -> None:
    await bench.know(ENT1)
    bench.failure = failure
    answer = await bench.ask("POST", "/v1/messages", content=b"<a/>", headers=BEARER)
    assert_problem(answer, status, code)
    assert answer.headers.get("retry-after") == again
    assert "/" not in answer.json()["detail"]
    assert [event["event"] for event in bench.events] == (["http_request.failed"] if status == 500 else [])


async def test_a_stopping_switch_refuses_what_is_new_and_closes(bench: Bench) -> None:
    await bench.know(ENT1)
    await bench.api.stop()
    answer = await bench.ask("POST", "/v1/messages", content=b"<a/>", headers=BEARER)
    assert_problem(answer, 503, "SWX-8070")
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["connection"] == "close"


# -- keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer swx_wrong"}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}]
)
async def test_every_bad_key_gets_the_same_answer(bench: Bench, headers: dict[str, str]) -> None:
    await bench.know(ENT1)
    answer = await bench.ask("POST", "/v1/messages", content=b"<a/>", headers=headers)
    expected = await bench.ask("GET", "/v1/receipts", headers={"Authorization": "Bearer swx_other"})
    assert_problem(answer, 401, "SWX-8010")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.content == expected.content
    assert not bench.taken
    assert KEY not in str(bench.events)


async def test_the_scheme_is_read_in_any_case(bench: Bench) -> None:
    await bench.know(ENT1)
    headers = {"Authorization": f"bearer {KEY}"}
    assert (await bench.ask("POST", "/v1/messages", content=b"<a/>", headers=headers)).status_code == 202


async def test_two_keys_are_good_while_one_replaces_the_other(bench: Bench) -> None:
    await bench.know(Endpoint("ent1-http", "ENT1", "http_api", Options(keys=(HASH, OTHER_HASH))))
    for key in (KEY, OTHER_KEY):
        answer = await bench.ask("GET", "/v1/receipts", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200


async def test_a_key_that_is_no_longer_in_the_table_opens_nothing(bench: Bench) -> None:
    await bench.know(ENT1)
    await bench.know(ENT2)
    assert_problem(await bench.ask("GET", "/v1/receipts", headers=BEARER), 401, "SWX-8010")


async def test_a_key_is_good_through_its_last_day_in_beijing(bench: Bench) -> None:
    await bench.know(Endpoint("ent1-http", "ENT1", "http_api", Options(keys=(HASH,), expires=date(2026, 11, 22))))
    bench.now = NOON + 12 * 3600 * SECOND - 1
    assert (await bench.ask("GET", "/v1/receipts", headers=BEARER)).status_code == 200
    bench.now += 1
    assert_problem(await bench.ask("GET", "/v1/receipts", headers=BEARER), 401, "SWX-8010")


async def test_a_key_of_two_endpoints_opens_neither() -> None:
    keys = Keys(lambda: NOON)
    twin = Endpoint("twin-http", "TWIN", "http_api", Options(keys=(HASH,)))
    assert await keys.replace([ENT1, ENT2, twin]) == [("ent1-http", "twin-http")]
    assert keys.find(b"Bearer " + KEY.encode()) is None
    assert keys.find(b"Bearer " + OTHER_KEY.encode()) is ENT2


async def test_a_source_that_fails_too_often_must_wait(bench: Bench) -> None:
    await bench.know(ENT1)
    for _ in range(20):
        assert (await bench.ask("GET", "/v1/receipts")).status_code == 401
    bench.clock.advance(15)
    answer = await bench.ask("GET", "/v1/receipts")
    assert_problem(answer, 429, "SWX-8020")
    assert answer.headers["retry-after"] == "45"
    assert len(bench.events) == 20, "what is refused unheard isn't logged"
    bench.clock.advance(46)
    assert (await bench.ask("GET", "/v1/receipts")).status_code == 401


async def test_a_good_key_is_heard_whatever_else_comes_from_its_source(bench: Bench) -> None:
    await bench.know(ENT1)
    for _ in range(25):
        await bench.ask("GET", "/v1/receipts")
    assert (await bench.ask("GET", "/v1/receipts", headers=BEARER)).status_code == 200


def test_patience_keeps_count_of_a_bounded_number_of_sources() -> None:
    patience = Patience(Clock().seconds)
    for number in range(20_000):
        patience.fail(f"192.0.2.{number}")
    assert len(patience._failures) <= 10_001


def test_a_new_key_is_long_and_only_its_hash_is_configured() -> None:
    key, text = new_key()
    assert key.startswith("swx_")
    assert len(base64.urlsafe_b64decode(key[4:] + "=")) == 32
    assert key not in text
    assert Options(keys=(text,)).keys == (text,)


@pytest.mark.parametrize("keys", [(), ("swx_clear-text",), ("sha256:abc",), (HASH.upper(),)])
def test_options_without_a_hash_are_a_mistake(keys: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Options(keys=keys)


@pytest.mark.parametrize(("host", "ok"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)])
def test_only_a_loopback_address_is_served_in_plain(host: str, ok: bool) -> None:
    if ok:
        assert Settings(host=host).host == host
    else:
        with pytest.raises(ValidationError, match="certificate"):
            Settings(host=host)
        assert Settings(host=host, allow_plain=True)
        assert Settings(host=host, certificate="server.pem")


async def test_a_certificate_that_cannot_be_used_is_told_with_its_name(tmp_path: Path) -> None:
    """A key that isn't the certificate's was told in OpenSSL's words only."""
    (tmp_path / "server.crt").write_text("no PEM")
    for name, told in (("server.crt", "are not, in PEM, a certificate and its own key"), ("none.crt", "No such file")):
        bench = Bench(tmp_path, certificate=str(tmp_path / name), key=str(tmp_path / "server.crt"))
        with pytest.raises(ConfigurationError, match=f"switchd.yaml: http_api: .*{name}.*{told}"):
            await bench.api._listen()
