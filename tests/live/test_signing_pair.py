"""Two switches with sockets between them: what one signs for the other, and what becomes of it when either dies."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests import sealing
from tests.daemon import inventory
from tests.live.signing_pair import Pair, paired, until
from tests.signing_bench import content, data, signed

pytestmark = pytest.mark.live
SEALED = sealing.sealed()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with TemporaryDirectory(prefix="sign-", ignore_cleanup_errors=True) as folder, paired(Path(folder)) as pair:
        yield pair


def test_who_shows_no_certificate_or_a_strangers_gets_nowhere(pair: Pair) -> None:
    with pair.client(pair.far, "") as nobody, pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, ssl.SSLError)):
        nobody.get("/v1/openapi.json")
    with pair.client(pair.far, "p256") as stranger:  # of the same authority, and not in the table
        answer = stranger.get("/v1/openapi.json")
        assert (answer.status_code, answer.json()["code"]) == (401, "SWX-7061")
    [line] = until(lambda: pair.far.logged("signing_request.refused"))
    assert (line["source"], line["code"]) == ("127.0.0.1", "SWX-7061")


def test_a_party_has_its_documents_signed_with_a_key_that_lies_elsewhere(pair: Pair) -> None:
    with pair.client(pair.near) as client:
        answer = client.post("/v1/signatures", json={"items": [content(str(n), key="") for n in range(100)]})
        assert all(sealing.verified(signed(answer, n), "p256") for n in (0, 99))
        verdict = client.post(
            "/v1/verifications",
            json={"items": [{"id": "1", "content": answer.json()["results"][7]["content"], "party": "ENT1"}]},
        )
        assert verdict.json()["results"][0]["valid"]
        refused = client.post("/v1/signatures", json={"items": [data(key="")]})
        assert (refused.status_code, refused.json()["code"]) == (403, "SWX-7062")
    rows = pair.near.ask("sign.log", limit=100)
    assert {row["party"] for row in rows} == {"ENT1"}
    far = pair.far.ask("sign.log", limit=100)
    assert {row["party"] for row in far} == {"PLATFORM"}
    assert {row["signature"] for row in far} == {row["signature"] for row in rows}, "one signature, in both logs"


def test_what_was_confirmed_is_signed_after_both_were_killed(pair: Pair) -> None:
    pair.far.kill()
    with pair.client(pair.near) as client:
        items = [content(str(n), key="") for n in range(3)]
        taken = client.post(
            "/v1/signatures", json={"items": items}, headers={"Prefer": "respond-async", "Idempotency-Key": "night"}
        )
        assert taken.status_code == 202
        assert client.get(taken.headers["location"]).json()["state"] == "waiting"
        later = client.post("/v1/signatures", json={"items": items})
        assert (later.status_code, later.json()["code"]) == (503, "SWX-5060")
    pair.near.kill()
    pair.start()
    with pair.client(pair.near) as client:
        done = until(lambda: _done(client, taken.headers["location"]))
        assert all(sealing.verified(signed(done, n), "p256") for n in range(3))
        again = client.post("/v1/signatures", json={"items": items}, headers={"Idempotency-Key": "night"})
        assert again.content == done.content
        other = client.post("/v1/signatures", json={"items": items[:1]}, headers={"Idempotency-Key": "night"})
        assert (other.status_code, other.json()["code"]) == (409, "SWX-7063")


def _done(client: httpx.Client, place: str) -> httpx.Response | None:
    answer = client.get(place)
    return answer if answer.json()["state"] == "done" else None


def test_declarations_wait_for_the_switch_that_has_the_keys_and_none_is_lost(pair: Pair) -> None:
    out = pair.near.home / "out"
    count = 60
    for number in range(count):
        part = pair.near.home / f"{number}.part"
        part.write_bytes(inventory(number))
        part.rename(pair.near.home / "in" / f"{number}.xml")
        if number == count // 2:
            until(lambda: len(list(out.glob("*.xml"))) >= 5)
            pair.far.kill()
    time.sleep(0.5)
    assert len(list(out.glob("*.xml"))) < count
    pair.start()
    until(lambda: len(list(out.glob("*.xml"))) == count)
    for path in out.glob("*.xml"):
        assert sealing.verified(path.read_bytes(), "p256", profiles=("ecdsa-sha256",))
    guids = {path.read_bytes().split(b'guid="')[1][:36] for path in out.glob("*.xml")}
    assert len(guids) == count
    assert pair.near.ask("sign.queue") == []
    for switch in (pair.far, pair.near):
        assert switch.ask("status")["ready"]


def test_requests_are_counted_by_status_and_party(pair: Pair) -> None:
    metrics = httpx.get(f"http://127.0.0.1:{_monitor(pair)}/metrics", trust_env=False).text
    assert 'switch_signing_requests_total{party="ENT1",status="200"}' in metrics


def _monitor(pair: Pair) -> int:
    text = (pair.near.home / "switchd.yaml").read_text()
    return int(text.partition("monitor: {port: ")[2].partition("}")[0])
