"""The remote signing API: who may have what signed, how much of it, and always the same."""

from __future__ import annotations

import asyncio
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import ConfigurationError, StoreError, TokenError
from exchange.instants import SECOND
from exchange.signing import _api_jobs, certificates, service
from exchange.signing._api_clients import DAY, Quota
from exchange.signing._api_openapi import DOCUMENT
from exchange.signing._api_problems import KINDS, Problem
from exchange.signing._api_requests import Item, SignRequest, parsed
from exchange.signing._api_settings import Allowance
from tests import pki, sealing
from tests.signing_bench import CERTIFICATES, CLIENTS, b64, content, data, result, running, signed, table

LOCKED = TokenError("the device is locked", "密码设备已锁定")
NOON = 1_795_320_000 * SECOND


SEALED = sealing.sealed()  # before the loop runs


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(_api_jobs, "PAUSE_SECONDS", 0.02)


# -- signing -----------------------------------------------------------------------------------------------------


async def test_a_batch_comes_back_signed_by_profile_and_as_bare_signatures(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        items = content("x", profile="ceb-sm2", key="sm2"), data("d"), data("s", algorithm="sm2-sm3", key="sm2")
        answer = await bench.sign(*items)
        assert [one["id"] for one in answer.json()["results"]] == ["x", "d", "s"]
        assert sealing.verified(signed(answer), "sm2").profile.name == "ceb-sm2"
        for number, (key, algorithm) in enumerate((("p256", "ecdsa-sha256"), ("sm2", "sm2-sm3")), 1):
            certificate = certificates.read(pki.der(key))
            assert certificates.signed_by(certificate, algorithm, signed(answer, number), b"SignedInfo")
            assert result(answer, number)["serial"] == certificate.serial


async def test_a_signature_may_come_beside_the_content_and_is_verified_with_it(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        content_of_any_kind = b64(b"%PDF-1.7 and so on")
        for profile, key in (("cms-ecdsa-sha256-detached", "p256"), ("raw-sm2", "sm2")):
            item = {"id": "1", "profile": profile, "key": key, "content": content_of_any_kind}
            made = result(await bench.sign(item))
            assert "content" not in made
            certificate = b64(pki.der(key))
            doubt = {"id": "1", "signature": made["signature"], "certificates": [certificate], "profiles": [profile]}
            for body, valid in ((content_of_any_kind, True), (b64(b"other"), False)):
                answer = await bench.ask("/v1/verifications", {"items": [doubt | {"content": body}]})
                assert result(answer)["valid"] is valid
            assert result(answer)["code"] in ("SWX-1032", "SWX-1033")
        enclosed = result(await bench.sign(content(profile="gmt0010-sm2", key="sm2", content=content_of_any_kind)))
        doubt = {"id": "1", "content": enclosed["content"], "certificates": [b64(pki.der("sm2"))]}
        assert result(await bench.ask("/v1/verifications", {"items": [doubt]}))["profile"] == "gmt0010-sm2@1"


async def test_every_signature_has_its_row_under_the_jobs_number(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        answer = await bench.sign(content("x"), data("d"))
        rows = [row.operation for row in await bench.store.operations(after=0)]
        assert {row.job for row in rows} == {answer.json()["job"]}
        assert [(row.party, row.profile, row.key, row.code) for row in rows] == [
            ("ENT1", "ecdsa-sha256@1", "p256", ""),
            ("ENT1", "data:ecdsa-sha256@1", "p256", ""),
        ]


async def test_what_can_not_be_signed_fails_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        answer = await bench.sign(
            content("bad", content=b64(b"<a>")), content("good"), content("twice", content=b64(SEALED))
        )
        codes = [one.get("error", {}).get("code") for one in answer.json()["results"]]
        assert codes == ["SWX-1010", None, "SWX-1038"]


async def test_a_party_signs_with_its_own_key_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        answer = await bench.sign(content(key=""), who="ENT1")
        assert sealing.verified(signed(answer), "p256")
        for item in (content(key="rsa", profile="rsa-sha256"), data()):
            assert (await bench.sign(item, who="ENT1")).status_code == 403


# -- who, and what -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["", "expired"])
async def test_who_is_not_known_gets_no_further(tmp_path: Path, who: str) -> None:
    async with running(tmp_path) as bench:
        for path, body in (("/v1/signatures", {"items": [content()]}), ("/v1/openapi.json", None), ("/", None)):
            answer = await bench.ask(path, body, who=who)
            assert (answer.status_code, answer.json()["code"]) == (401, "SWX-7061")
        assert await bench.jobs() == []
        assert bench.answered == {(401, ""): 3}


async def test_a_clients_renewed_certificate_is_known_once_it_is_read_anew_and_a_broken_one_changes_nothing(
    tmp_path: Path,
) -> None:
    mine = tmp_path / "desk.crt"
    shutil.copy(pki.shared() / "rsa.crt", mine)
    async with running(tmp_path, clients={"desk": CLIENTS["desk"] | {"certificate": mine}}) as bench:

        async def status(who: str) -> int:
            return (await bench.ask("/v1/openapi.json", who=who)).status_code

        shutil.copy(pki.shared() / "foreign.crt", mine)
        assert [await status("rsa"), await status("foreign")] == [200, 401]
        bench.api.renew()
        assert [await status("rsa"), await status("foreign")] == [401, 200]
        mine.write_text("half")
        with pytest.raises(ConfigurationError, match=r"clients\.desk\.certificate"):
            bench.api.renew()
        assert await status("foreign") == 200


async def test_everything_that_is_not_permitted_is_told_at_once_and_nothing_is_signed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        items = (
            content("1", key="sm2", profile="ceb-sm2"),
            data("2", key="rsa"),
            content("3", key="rsa", profile="rsa-sha256"),
        )
        answer = await bench.sign(*items, who="desk")
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (403, "SWX-7062")
        assert answer.headers["content-type"] == "application/problem+json"
        assert [one["pointer"] for one in problem["errors"]] == [
            "/items/0/key",
            "/items/0/profile",
            "/items/1/algorithm",
        ]
        assert all(one["zh"] != one["detail"] for one in problem["errors"])
        assert bench.token.asked == []


async def test_a_party_on_hold_has_nothing_signed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.held.add("party:ENT1")
        for who in ("switch", "ENT1"):
            answer = await bench.sign(content(), who=who)
            assert (answer.status_code, answer.json()["code"]) == (403, "SWX-2060")
        bench.held.clear()
        assert (await bench.sign(content())).status_code == 200


async def test_a_certificate_of_two_parties_is_neithers(tmp_path: Path) -> None:
    from attrs import evolve

    from exchange.routing import RoutingTable

    async with running(tmp_path) as bench:
        parties = [evolve(party, certificates=(pki.der("p256"),)) for party in table().parties.values()]
        bench.table = RoutingTable(parties)
        assert (await bench.sign(content(), who="ENT1")).status_code == 401


@pytest.mark.parametrize(
    ("item", "code", "place"),
    [
        (content(profile="ceb-sm3"), "SWX-4050", "profile"),
        (content(profile="ceb-sm2"), "SWX-5020", "key"),
        (data(algorithm="rsa-sha256"), "SWX-5020", "key"),
    ],
)
async def test_keys_and_profiles_that_do_not_fit_are_told_before_anything_is_signed(
    tmp_path: Path, item: dict[str, Any], code: str, place: str
) -> None:
    async with running(tmp_path) as bench:
        answer = await bench.sign(content("0"), item)
        [error] = answer.json()["errors"]
        assert (answer.status_code, error["code"], error["pointer"]) == (400, code, f"/items/1/{place}")
        assert bench.token.asked == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"{", [""]),
        ({"items": []}, ["/items"]),
        ({"items": [content(str(n)) for n in range(101)]}, ["/items"]),
        ({"items": [content(), content()]}, [""]),
        (
            {"items": [content(content="not base64!"), data(**{"sur/prise": 1})]},
            ["/items/0/content", "/items/1/sur~1prise"],
        ),
        ({"items": [content(algorithm="sm2-sm3"), {"id": "2"}]}, ["/items/0", "/items/1"]),
        ({"items": [data(algorithm="md5")], "mode": "later"}, ["/mode", "/items/0/algorithm"]),
    ],
)
async def test_every_mistake_of_a_request_is_told_with_its_place(
    tmp_path: Path, body: Any, pointers: list[str]
) -> None:
    async with running(tmp_path) as bench:
        answer = await bench.ask("/v1/signatures", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "SWX-7065")
        assert [one["pointer"] for one in answer.json()["errors"]] == pointers


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.text(max_size=8)
    | st.sampled_from([b64(b"<a/>"), "ceb-sm2", "sm2-sm3"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Item.model_fields, "x"]), inner, max_size=6)
    ),
    max_leaves=6,
)


@given(
    st.binary(max_size=64)
    | st.fixed_dictionaries({"items": ANYTHING | st.lists(ANYTHING, max_size=3)}).map(orjson.dumps)
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_asked_is_a_request_or_a_list_of_mistakes(body: bytes) -> None:
    errors = []
    try:
        assert parsed(SignRequest, body).items
    except Problem as why:
        errors = why.more["errors"] or [{}]
    assert all(one["pointer"][:1] in ("", "/") and one["detail"] and one["zh"] for one in errors)


async def test_a_request_that_is_too_large_is_refused_whether_it_says_so_or_not(tmp_path: Path) -> None:
    async with running(tmp_path, body_bytes=2048) as bench:
        assert (await bench.ask("/v1/signatures", b"x" * 2049)).status_code == 413
        assert (await bench.ask("/v1/signatures", b"x" * 2048)).status_code == 400
        packed = await bench.ask("/v1/signatures", b"x", content_encoding="gzip")
        assert (packed.status_code, packed.json()["code"]) == (415, "SWX-8060")


# -- how much ----------------------------------------------------------------------------------------------------


def test_a_minutes_worth_comes_back_evenly() -> None:
    quota = Quota(Allowance(per_minute=60, per_day=1000), NOON)
    assert quota.charge(60, NOON) == 0
    assert quota.charge(1, NOON) == 1.0
    assert quota.charge(1, NOON + SECOND) == 0
    assert quota.charge(30, NOON + SECOND) == 30.0
    assert quota.charge(60, NOON + 3600 * SECOND) == 0


def test_a_request_beyond_a_minutes_worth_leaves_a_debt() -> None:
    quota = Quota(Allowance(per_minute=60, per_day=1000), NOON)
    assert quota.charge(90, NOON) == 0
    assert quota.charge(1, NOON) == 31.0


def test_a_days_worth_comes_back_at_midnight_in_beijing() -> None:
    quota = Quota(Allowance(per_minute=60, per_day=100), NOON, today=90)
    assert quota.charge(11, NOON) == 12 * 3600
    assert quota.charge(10, NOON) == 0
    assert quota.charge(1, NOON + 1 * SECOND) == 12 * 3600 - 1
    assert quota.charge(10, NOON + DAY // 2) == 0


@pytest.mark.parametrize(
    ("certificate", "told"),
    [("missing.crt", "signing.api.clients.desk.certificate: "), ("foreign.crt", "it is switch's, too")],
)
async def test_a_clients_certificate_must_be_there_and_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: str, told: str
) -> None:
    monkeypatch.setitem(CERTIFICATES, "desk", certificate.removesuffix(".crt"))
    with pytest.raises(ConfigurationError, match=told) as wrong:
        async with running(tmp_path):
            pass
    assert wrong.value.code == "SWX-4130"


async def test_an_address_that_can_not_be_had_is_the_administrators_fault(tmp_path: Path) -> None:
    async with running(tmp_path, listen=True) as bench:
        with pytest.raises(ConfigurationError, match=r"can't listen on 127\.0\.0\.1") as wrong:
            async with running(tmp_path, listen=True, port=bench.api.port):
                pass
        assert wrong.value.code == "SWX-4131"


async def test_who_has_had_enough_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        items = [content(str(n), key="rsa", profile="rsa-sha256") for n in range(4)]
        assert (await bench.sign(*items, who="desk")).status_code == 200
        answer = await bench.sign(*items, who="desk")
        assert (answer.status_code, answer.json()["code"]) == (429, "SWX-7064")
        assert int(answer.headers["retry-after"]) == 36
        bench.clock.move(36)
        assert (await bench.sign(*items, who="desk")).status_code == 200
        assert (await bench.sign(content(), who="switch")).status_code == 200, "it is nobody else's quota"


async def test_a_days_quota_outlives_the_process(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        items = [content(str(n), key="rsa", profile="rsa-sha256") for n in range(5)]
        assert (await bench.sign(*items, who="desk")).status_code == 200
        async with running(tmp_path, store=bench.store) as later:
            answer = await later.sign(*items[:4], who="desk")
            assert (answer.status_code, int(answer.headers["retry-after"]) > 60) == (429, True)


async def test_a_party_with_too_much_inside_is_asked_to_wait_alone(tmp_path: Path) -> None:
    async with running(tmp_path, waiting=3) as bench:
        bench.token.why = LOCKED
        await bench.sign(content("1"), content("2"), mode="async")
        answer = await bench.sign(content("1"), content("2"))
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "SWX-6040", "5")
        bench.token.locked = {"p256"}
        other = content(key="rsa", profile="rsa-sha256")
        assert (await bench.sign(other, who="desk")).status_code == 200


# -- always the same ---------------------------------------------------------------------------------------------


async def test_a_request_that_is_repeated_gets_the_answer_that_it_had_byte_for_byte(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        first = await bench.sign(data(), key="order-7")
        again = await bench.sign(data(), key="order-7")
        assert (first.status_code, again.content) == (200, first.content)
        assert len(bench.token.asked) == 1
        other = await bench.sign(data(), key="order-8")
        assert signed(other) != signed(first), "ECDSA is never twice the same"


async def test_repetitions_that_come_meanwhile_share_the_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        answers = await asyncio.gather(*(bench.sign(data(), key="order-7") for _ in range(10)))
        assert len({answer.content for answer in answers}) == 1
        assert len(bench.token.asked) == 1


async def test_another_request_under_the_same_key_is_refused_and_another_clients_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.sign(content(key=""), key="order-7", who="ENT1")
        answer = await bench.sign(content("2", key=""), key="order-7", who="ENT1")
        assert (answer.status_code, answer.json()["code"]) == (409, "SWX-7063")
        assert (await bench.sign(content("2"), key="order-7")).status_code == 200


async def test_an_answer_is_repeated_after_a_restart_until_it_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        first = await bench.sign(data(), key="order-7")
        async with running(tmp_path, store=bench.store) as later:
            assert (await later.sign(data(), key="order-7")).content == first.content
            later.clock.move(48 * 3600 + 1)
            assert await later.api.forget() == 1
            assert (await later.sign(data(), key="order-7")).content != first.content


async def test_what_no_device_could_sign_is_not_kept_and_may_be_asked_again(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.token.why = LOCKED
        answer = await bench.sign(content(), key="order-7")
        assert (answer.status_code, answer.json()["code"]) == (503, "SWX-5000")
        assert answer.headers["retry-after"] == "5"
        [row] = [row.operation for row in await bench.store.operations(after=0)]
        assert (row.code, row.signature) == ("SWX-5000", b"")
        bench.token.why = None
        assert (await bench.sign(content(), key="order-7")).status_code == 200


async def test_where_one_key_is_locked_the_others_items_are_signed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.token.why, bench.token.locked = LOCKED, {"rsa"}
        answer = await bench.sign(data("1"), data("2", key="rsa", algorithm="rsa-sha256"))
        assert "signature" in result(answer, 0)
        assert result(answer, 1)["error"]["code"] == "SWX-5000"


async def test_nothing_is_shown_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as bench:
        finish = bench.store.finish_job

        async def fails(*values: Any) -> Any:
            raise StoreError("the disk is full", "存储磁盘已满", code="SWX-6010")

        monkeypatch.setattr(bench.store, "finish_job", fails)
        answer = await bench.sign(data(), key="order-7")
        assert (answer.status_code, answer.json()["code"]) == (503, "SWX-6010")
        monkeypatch.setattr(bench.store, "finish_job", finish)
        assert (await bench.sign(data(), key="order-7")).status_code == 200


async def test_while_nothing_can_be_taken_nothing_is_signed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.refusing = StoreError("the disk is nearly full", "存储磁盘空间不足", code="SWX-6010")
        assert (await bench.sign(content())).status_code == 503
        assert bench.token.asked == []


# -- come back for it --------------------------------------------------------------------------------------------


async def finished(bench: Any, place: str) -> Any:
    async with asyncio.timeout(5):
        while (answer := await bench.ask(place)).json()["state"] == "waiting":  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0.005)
        return answer


@pytest.mark.parametrize("how", [{"mode": "async"}, {"prefer": "respond-async"}])
async def test_who_comes_back_finds_the_job(tmp_path: Path, how: dict[str, str]) -> None:
    async with running(tmp_path) as bench:
        answer = await bench.sign(content(), **how)
        assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
        done = await finished(bench, answer.headers["location"])
        assert sealing.verified(signed(done), "p256")
        assert done.json()["job"] == answer.json()["job"]
        stranger = await bench.ask(answer.headers["location"], who="ENT1")
        assert stranger.status_code == 404
        assert (await bench.ask("/v1/signatures/S1")).status_code == 404
        assert (await bench.ask("/v1/signatures/" + "9" * 400)).status_code == 404


async def test_work_that_was_confirmed_waits_for_the_token_and_is_done_once(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.token.why, bench.token.locked = LOCKED, {"rsa"}
        items = data("1"), data("2", key="rsa", algorithm="rsa-sha256")
        answer = await bench.sign(*items, mode="async", key="order-7")
        repeated = await bench.sign(*items, mode="async", key="order-7")
        assert (repeated.status_code, repeated.json()) == (202, answer.json())
        await asyncio.sleep(0.1)
        bench.token.why = None
        done = await finished(bench, answer.headers["location"])
        assert all("signature" in one for one in done.json()["results"])
        assert len([job for job in bench.token.asked if job.key == "p256"]) == 1, "not again with the other"
        assert (await bench.sign(*items, mode="async", key="order-7")).content == done.content


async def test_work_that_was_confirmed_is_done_after_a_crash(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.token.why = LOCKED
        answer = await bench.sign(content(), mode="async")
        await bench.api._jobs.stop()
        async with running(tmp_path, store=bench.store) as later:
            done = await finished(later, answer.headers["location"])
            assert sealing.verified(signed(done), "p256")
            assert (await later.jobs())[-1] == answer.json()["job"]


async def test_a_signature_that_was_made_before_a_crash_and_not_written_is_used_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as bench:
        finish, reached = bench.store.finish_job, asyncio.Event()

        async def dies(*values: Any) -> Any:
            reached.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(bench.store, "finish_job", dies)
        answer = await bench.sign(data(), mode="async", key="order-7")
        await reached.wait()
        assert (await bench.ask(answer.headers["location"])).json()["state"] == "waiting"
        await bench.api._jobs.stop()
        monkeypatch.setattr(bench.store, "finish_job", finish)
        async with running(tmp_path, store=bench.store) as later:
            done = await finished(later, answer.headers["location"])
            assert (await later.sign(data(), mode="async", key="order-7")).content == done.content
            [row] = [row.operation for row in await bench.store.operations(after=0)]
            assert row.signature == sha256(signed(done)).digest(), "the log knows the one that was shown"


async def test_a_full_disk_delays_what_was_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as bench:
        finish, failures = bench.store.finish_job, [1, 2, 3]

        async def fails(*values: Any) -> Any:
            if failures:
                failures.pop()
                raise StoreError("the disk is full", "存储磁盘已满", code="SWX-6010")
            return await finish(*values)

        monkeypatch.setattr(bench.store, "finish_job", fails)
        answer = await bench.sign(content(), mode="async")
        assert sealing.verified(signed(await finished(bench, answer.headers["location"])), "p256")
        assert len(bench.token.asked) == 1


async def test_who_has_waited_long_enough_may_ask_again_for_what_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, timeout_seconds=0.02) as bench:
        gate, sign = asyncio.Event(), bench.token.sign

        async def slow(jobs: Any) -> Any:
            await gate.wait()
            return await sign(jobs)

        bench.token.sign = slow
        for _ in range(2):
            answer = await bench.sign(data(), key="order-7")
            assert (answer.status_code, answer.json()["code"]) == (503, "SWX-7066")
        gate.set()
        await asyncio.sleep(0.02)
        assert (await bench.sign(data(), key="order-7")).status_code == 200
        assert len(bench.token.asked) == 1


# -- verdicts ----------------------------------------------------------------------------------------------------


async def test_verdicts_tell_whose_signature_it_is_or_why_it_does_not_stand(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        good, changed = SEALED, SEALED.replace(b"SKU-0001", b"SKU-9999")
        pem = (pki.shared() / "p256.crt").read_bytes()
        items: list[dict[str, Any]] = [
            {"id": "party", "content": b64(good), "party": "ENT1"},
            {"id": "given", "content": b64(good), "certificates": [b64(pki.der("rsa")), b64(pem)]},
            {"id": "changed", "content": b64(changed), "party": "ENT1"},
            {"id": "stranger", "content": b64(good), "party": "NOBODY"},
            {"id": "other", "content": b64(good), "party": "ENT1", "profiles": ["ceb-sm2"]},
            {"id": "none", "content": b64(sealing.MESSAGE), "party": "ENT1"},
            {"id": "no XML", "content": b64(b"<a"), "party": "ENT1"},
            {"id": "no certificate", "content": b64(good), "certificates": [b64(b"-----BEGIN")]},
        ]
        for status in (200, 429):  # verdicts cost, too
            assert (await bench.ask("/v1/verifications", {"items": items}, who="desk")).status_code == status
        answer = await bench.ask("/v1/verifications", {"items": items})
        results = answer.json()["results"]
        assert [one["valid"] for one in results] == [True, True] + [False] * 6
        assert results[0]["serial"] == certificates.read(pki.der("p256")).serial
        assert pki.ENTERPRISE in results[0]["signer"]
        codes = [one["code"] for one in results[2:]]
        assert codes == ["SWX-1032", "SWX-1034", "SWX-1037", "SWX-1031", "SWX-1010", "SWX-4060"]
        assert await bench.jobs() == [], "nothing was signed"


# -- the description ---------------------------------------------------------------------------------------------


async def test_the_description_is_served_and_names_every_route_and_problem(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        assert (await bench.ask("/v1/openapi.json")).json() == DOCUMENT
        assert {route.path for route in bench.api._router.routes} == set(DOCUMENT["paths"])  # type: ignore[attr-defined]
        assert set(DOCUMENT["components"]["responses"]) == set(KINDS)


async def test_an_unknown_address_and_a_wrong_method_are_problems_too(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        assert (await bench.ask("/v2/signatures")).json()["code"] == "SWX-8040"
        answer = await bench.ask("/v1/signatures")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
