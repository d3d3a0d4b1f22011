"""The HTTP API with real clients on real sockets: curl and httpx, in plain and over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from twisted.internet import reactor

from exchange.errors import Busy, ConfigurationError
from exchange.model import Parcel, Spool
from tests.http_bench import BEARER, DECLARATION, ENT1, ENT2, KEY, LIMIT_BYTES, OTHER_KEY, Bench, assert_problem

pytestmark = pytest.mark.live


@asynccontextmanager
async def running(tmp_path: Path, **settings: Any) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, reactor, **settings)
    await bench.api.serve({ENT1.name: ENT1, ENT2.name: ENT2})
    try:
        yield bench
    finally:
        bench.may_take.set()
        await bench.api.stop()


def url(bench: Bench, path: str = "/v1/messages", scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{bench.api.port}{path}"


@asynccontextmanager
async def dial(bench: Bench) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.api.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def post(body: bytes, declared: int | None = None) -> bytes:
    head = f"POST /v1/messages HTTP/1.1\r\nHost: switch\r\nAuthorization: Bearer {KEY}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % (len(body) if declared is None else declared) + body


async def curl(*arguments: str) -> tuple[int, str, str]:
    """Return (exit status, output, errors) of curl."""
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def tls(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with a certificate for the loopback address, and the path of its CA under ``ca``."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "server.pem", append=number > 0)
    issued.private_key_pem.write_to_path(folder / "server.key")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return {name: str(folder / file) for name, file in
            (("certificate", "server.pem"), ("key", "server.key"), ("ca", "ca.pem"))}  # fmt: skip


# -- curl, the way a partner tries it first ----------------------------------------------------------------------


async def test_curl_sends_a_declaration_and_follows_it_over_tls(tmp_path: Path, tls: dict[str, str]) -> None:
    (tmp_path / "declaration.xml").write_bytes(DECLARATION)
    safely = ("--cacert", tls["ca"], "--header", f"Authorization: Bearer {KEY}")
    async with running(tmp_path, certificate=tls["certificate"], key=tls["key"]) as bench:
        status, out, err = await curl(
            *safely, "--data-binary", f"@{tmp_path / 'declaration.xml'}", "--header", "X-File-Name: CEB311_1.xml",
            "--include", url(bench, scheme="https"),
        )  # fmt: skip
        assert (status, err) == (0, "")
        head, _, answer = out.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 202 Accepted\r\n")
        assert "location: /v1/messages/20261122-1" in head
        assert json.loads(answer) == {"id": "20261122-1", "state": "RECEIVED"}
        assert bench.taken == [(Parcel("CEB311_1.xml", DECLARATION), ENT1)]

        id = bench.archive.add_message(20779 << 40, "ENT1", bench.taken[0][0])
        status, out, _ = await curl(*safely, url(bench, f"/v1/messages/{id}", "https"))
        assert json.loads(out)["state"] == "RECEIVED"
        status, out, _ = await curl(*safely, url(bench, f"/v1/messages/{id}/payload", "https"))
        assert out.encode() == DECLARATION


async def test_curl_is_refused_a_body_over_the_limit_before_it_sends_it(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * (3 * 1024 * 1024))  # curl waits for 100 Continue from 1 MiB on
    async with running(tmp_path) as bench:
        status, out, _ = await curl(
            "--data-binary", f"@{large}", "--header", f"Authorization: Bearer {KEY}", "--write-out",
            "\n%{http_code} %{size_upload}", url(bench),
        )  # fmt: skip
        problem, _, line = out.rpartition("\n")
        assert status == 0
        assert line == "413 0"
        assert str(LIMIT_BYTES) in json.loads(problem)["detail"]
        assert not bench.taken


@pytest.mark.parametrize("way", ["tls1.1", "plain", "unknown CA"])
async def test_a_client_that_is_not_safe_gets_no_connection(tmp_path: Path, tls: dict[str, str], way: str) -> None:
    arguments = {
        "tls1.1": ("--cacert", tls["ca"], "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"),
        "plain": (),
        "unknown CA": (),
    }[way]
    async with running(tmp_path, certificate=tls["certificate"], key=tls["key"]) as bench:
        status, _, err = await curl(*arguments, url(bench, scheme="http" if way == "plain" else "https"))
        assert status != 0, err
        assert not bench.taken


# -- bodies ------------------------------------------------------------------------------------------------------


async def test_a_large_body_is_streamed_to_a_file_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.http_bench.LIMIT_BYTES", 64 * 1024 * 1024)
    body = bytes(range(256)) * (32 * 1024)  # 8 MiB
    async with running(tmp_path) as bench, httpx.AsyncClient() as client:
        answer = await client.post(url(bench), content=body, headers=BEARER)
        assert answer.status_code == 202
        spool = bench.taken[0][0].body
        assert isinstance(spool, Spool)
        assert (spool.size, spool.digest) == (len(body), hashlib.sha256(body).digest())
        assert Parcel("", spool).read() == body


async def test_a_body_that_grows_over_the_limit_is_refused_while_it_arrives(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    async with running(tmp_path) as bench, dial(bench) as (reader, writer):
        head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        writer.write(head)
        answer = b""
        async for piece in endless():
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            with contextlib.suppress(TimeoutError):
                answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 0.02)
                break
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert not bench.taken


async def test_a_body_that_stops_half_way_is_never_taken(tmp_path: Path) -> None:
    async with running(tmp_path, stall_seconds=0.5) as bench, dial(bench) as (reader, writer):
        writer.write(post(b"<half", declared=3000))
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert not bench.taken


async def test_a_cut_connection_never_commits(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        async with dial(bench) as (_, writer):
            writer.write(post(b"x" * 2000, declared=3000))
            await writer.drain()
        async with httpx.AsyncClient() as client:  # the cut has been seen once the next one is answered
            assert (await client.post(url(bench), content=DECLARATION, headers=BEARER)).status_code == 202
        assert [parcel.body for parcel, _ in bench.taken] == [DECLARATION]


# -- keys, problems ----------------------------------------------------------------------------------------------


async def test_a_wrong_key_is_answered_before_the_body(tmp_path: Path) -> None:
    async with running(tmp_path) as bench, httpx.AsyncClient() as client:
        answer = await client.post(url(bench), content=b"x" * 3000, headers={"Authorization": "Bearer swx_wrong"})
        assert_problem(answer, 401, "SWX-8010")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert [event["source"] for event in bench.events if event["event"] == "http_request.refused"] == ["127.0.0.1"]


async def test_parties_see_only_their_own(tmp_path: Path) -> None:
    async with running(tmp_path) as bench, httpx.AsyncClient() as client:
        id = bench.archive.add_message(20779 << 40, "ENT2", Parcel("b.xml", b"<b/>"))
        bench.archive.add_mail("ent2-http", 1, Parcel("r.xml", b"<r/>"))
        other = {"Authorization": f"Bearer {OTHER_KEY}"}
        assert_problem(await client.get(url(bench, f"/v1/messages/{id}"), headers=BEARER), 404, "SWX-8040")
        assert (await client.get(url(bench, f"/v1/messages/{id}"), headers=other)).status_code == 200
        assert (await client.get(url(bench, "/v1/receipts"), headers=BEARER)).json()["receipts"] == []
        assert len((await client.get(url(bench, "/v1/receipts"), headers=other)).json()["receipts"]) == 1


async def test_a_busy_switch_says_when_to_come_back(tmp_path: Path) -> None:
    async with running(tmp_path) as bench, httpx.AsyncClient() as client:
        bench.failure = Busy("too much at once", "积压过多", retry_after=7)
        answer = await client.post(url(bench), content=DECLARATION, headers=BEARER)
        assert_problem(answer, 503, "SWX-6040")
        assert answer.headers["retry-after"] == "7"
        bench.failure = None
        assert (await client.post(url(bench), content=DECLARATION, headers=BEARER)).status_code == 202


# -- waiting -----------------------------------------------------------------------------------------------------


async def test_a_waiting_client_has_its_receipt_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as bench, httpx.AsyncClient(timeout=20) as client:
        waiting = asyncio.ensure_future(client.get(url(bench, "/v1/receipts?wait=15"), headers=BEARER))
        await bench.archive.was_read.wait()
        began = time.perf_counter()
        receipt = Parcel("r.xml", b"<CEB312Message/>", {"id": "20261122-2.1"})
        await bench.api.send(ENT1, receipt)
        bench.archive.add_mail("ent1-http", 1, receipt)
        answer = await waiting
        assert time.perf_counter() - began < 1
        assert answer.json()["receipts"][0]["body"] == "<CEB312Message/>"


async def test_a_client_that_waits_in_vain_gets_an_empty_page(tmp_path: Path) -> None:
    async with running(tmp_path) as bench, httpx.AsyncClient() as client:
        began = time.perf_counter()
        answer = await client.get(url(bench, "/v1/receipts?after=7&wait=1"), headers=BEARER)
        assert answer.json() == {"receipts": [], "next": "7"}
        assert time.perf_counter() - began > 0.9
        assert bench.archive.reads == 2


async def test_nobody_waits_on_for_a_client_that_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        async with dial(bench) as (_, writer):
            head = f"GET /v1/receipts?wait=30 HTTP/1.1\r\nHost: switch\r\nAuthorization: Bearer {KEY}\r\n\r\n"
            writer.write(head.encode())
            await bench.archive.was_read.wait()
        listener = bench.api._listener
        assert listener
        await asyncio.wait_for(asyncio.gather(*listener._state.tasks), 5)


# -- stopping, starting ------------------------------------------------------------------------------------------


async def test_a_stop_finishes_what_is_being_taken_and_refuses_what_is_new(tmp_path: Path) -> None:
    async with running(tmp_path) as bench, dial(bench) as (reader, writer), dial(bench) as (late, late_writer):
        bench.may_take.clear()
        writer.write(post(DECLARATION))
        while not bench.taken:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stopping = asyncio.ensure_future(bench.api.stop())
        await asyncio.sleep(0)
        late_writer.write(post(DECLARATION))
        refused = await asyncio.wait_for(late.read(), 5)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in refused
        assert b"retry-after: 5" in refused
        assert not stopping.done()
        bench.may_take.set()
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 202 ")
        await asyncio.wait_for(stopping, 5)
        assert len(bench.taken) == 1


async def test_a_take_that_outlasts_the_grace_is_not_confirmed(tmp_path: Path) -> None:
    async with running(tmp_path, grace_seconds=0.2) as bench, dial(bench) as (reader, writer):
        bench.may_take.clear()
        writer.write(post(DECLARATION))
        while not bench.taken:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stopping = asyncio.ensure_future(bench.api.stop())
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 503 ")
        await asyncio.wait_for(stopping, 5)


async def test_a_stop_does_not_wait_for_a_tls_client_that_keeps_its_connection(
    tmp_path: Path, tls: dict[str, str]
) -> None:
    context = ssl.create_default_context(cafile=tls["ca"])
    async with (
        running(tmp_path, certificate=tls["certificate"], key=tls["key"]) as bench,
        httpx.AsyncClient(verify=context) as client,
    ):
        assert (await client.get(url(bench, "/v1/openapi.json", "https"))).status_code == 200
        began = time.perf_counter()
        await bench.api.stop()
        assert time.perf_counter() - began < 3


async def test_connections_stay_when_another_table_is_published(tmp_path: Path) -> None:
    async with running(tmp_path) as bench, dial(bench) as (reader, writer):
        for _ in range(2):
            writer.write(post(b"<a/>"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
            await reader.readuntil(b"}")
            await bench.api.serve({ENT1.name: ENT1})
        writer.write(post(b"<a/>").replace(KEY.encode(), OTHER_KEY.encode()))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")


async def test_an_address_or_certificate_that_cannot_be_had_is_the_administrators_fault(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        second = Bench(tmp_path, reactor)
        second.api._settings = second.api._settings.model_copy(update={"port": bench.api.port})
        with pytest.raises(ConfigurationError, match="in use"):
            await second.api.serve({ENT1.name: ENT1})
    missing = Bench(tmp_path, reactor, certificate=str(tmp_path / "missing.pem"))
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        await missing.api.serve({ENT1.name: ENT1})
