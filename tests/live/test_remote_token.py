"""A token over other switches' signing services: who doesn't answer is passed over, and nothing is believed unseen."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exchange.errors import ConfigurationError, TokenError
from exchange.ports import Job, Signature
from exchange.signing import certificates
from exchange.signing.remote import Remote, RemoteSettings
from tests import pki
from tests.signing_bench import CLIENTS, Bench, remote_settings, running

pytestmark = pytest.mark.live
LOCKED = TokenError("the device is locked", "密码设备已锁定")


@asynccontextmanager
async def opened(folder: Path, *ports: int, **more: Any) -> AsyncIterator[Remote]:
    token = Remote(remote_settings(folder, *ports, **more))
    await token.open()
    try:
        yield token
    finally:
        await token.close()


def jobs(count: int, key: str = "p256", algorithm: str = "ecdsa-sha256") -> list[Job]:
    return [Job(key, algorithm, b"%d" % number) for number in range(count)]


def codes(answers: Sequence[Signature | Exception]) -> list[str]:
    return [getattr(answer, "code", "") for answer in answers]


def good(job: Job, answer: Signature | Exception) -> bool:
    assert isinstance(answer, Signature), answer
    return certificates.signed_by(certificates.read(pki.der(job.key)), job.algorithm, answer.value, job.data)


async def test_jobs_travel_a_hundred_at_a_time_over_connections_that_are_kept(tmp_path: Path) -> None:
    async with running(tmp_path, listen=True) as bench, opened(tmp_path, bench.api.port, requests=2) as token:
        asked = jobs(450)
        for _ in range(2):
            answers = await token.sign(asked)
            assert all(good(job, answer) for job, answer in zip(asked, answers, strict=True))
        assert bench.answered == {(200, "ENT1"): 10}
        assert len(bench.api._listener._state.connections) == 2  # type: ignore[union-attr]
        assert {answer.device for answer in answers if isinstance(answer, Signature)} == {f"127.0.0.1:{bench.api.port}"}


async def test_a_connection_that_was_closed_meanwhile_is_nobodys_fault(tmp_path: Path) -> None:
    async with running(tmp_path, listen=True) as bench, opened(tmp_path, bench.api.port) as token:
        for _ in range(2):
            [answer] = await token.sign(jobs(1))
            assert good(jobs(1)[0], answer)
            await bench.api._listener._hang_up()  # type: ignore[union-attr]
        assert not token._links[0].rests


async def test_who_does_not_answer_is_passed_over_and_rests(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls and says nothing
        ports = 1, silent.getsockname()[1]
        async with (
            running(tmp_path, listen=True) as bench,
            opened(tmp_path, *ports, bench.api.port, timeout_seconds=0.3) as token,
        ):
            [answer] = await token.sign(jobs(1))
            assert isinstance(answer, Signature)
            assert answer.attempts == 3
            assert [link.rests for link in token._links] == [True, True, False]
            [answer] = await token.sign(jobs(1))
            assert isinstance(answer, Signature)
            assert answer.attempts == 1


async def test_where_nobody_answers_each_is_told_with_its_reason(tmp_path: Path) -> None:
    async with running(tmp_path, listen=True):
        pass
    async with opened(tmp_path, 1, 2) as token:
        [answer] = await token.sign(jobs(1))
        assert isinstance(answer, TokenError)
        assert answer.code == "SWX-5060"
        assert "127.0.0.1:1: " in answer.en
        assert "127.0.0.1:2: " in answer.zh


async def test_what_one_service_can_not_sign_another_may(tmp_path: Path) -> None:
    async with two(tmp_path) as (first, second), opened(tmp_path, first.api.port, second.api.port) as token:
        first.token.why, first.token.locked = LOCKED, {"p256"}
        asked = [*jobs(3), *jobs(3, "rsa", "rsa-sha256")]
        answers = await token.sign(asked)
        assert all(good(job, answer) for job, answer in zip(asked, answers, strict=True))
        assert {job.key for job in second.token.asked} == {"p256"}
        second.token.why = LOCKED
        assert codes(await token.sign(jobs(2))) == ["SWX-5060"] * 2


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Bench, Bench]]:
    async with running(folder, listen=True) as first:
        (folder / "second").mkdir()
        async with running(folder / "second", listen=True) as second:
            both = (folder / "server-ca.pem").read_bytes() + (folder / "second" / "server-ca.pem").read_bytes()
            (folder / "server-ca.pem").write_bytes(both)
            yield first, second


async def test_a_signature_by_another_key_is_not_believed(tmp_path: Path) -> None:
    settings = remote_settings(tmp_path).model_dump()
    settings["keys"] = {"p256": {"certificate": pki.shared() / "foreign.crt", "name": "p256"}}
    async with running(tmp_path, listen=True) as bench:
        settings["urls"] = [f"https://127.0.0.1:{bench.api.port}"]
        token = Remote(RemoteSettings.model_validate(settings))
        await token.open()
        assert codes(await token.sign(jobs(2))) == ["SWX-5030"] * 2
        await token.close()


async def test_what_is_refused_of_a_batch_does_not_spoil_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIENTS["switch"], "keys", ["p256"])
    async with running(tmp_path, listen=True) as bench, opened(tmp_path, bench.api.port) as token:
        answers = await token.sign([*jobs(2), *jobs(1, "rsa", "rsa-sha256"), *jobs(1)])
        assert codes(answers) == ["", "", "SWX-5061", ""]
        bench.held.add("party:ENT1")
        assert codes(await token.sign(jobs(2))) == ["SWX-5061"] * 2


async def test_a_key_has_another_name_there_or_is_not_there(tmp_path: Path) -> None:
    keys = {
        name: {"certificate": pki.shared() / "p256.crt", "name": there}
        for name, there in (("shop", "p256"), ("x", "sm2"))
    }
    async with running(tmp_path, listen=True) as bench, opened(tmp_path, bench.api.port, keys=keys) as token:
        answers = await token.sign([*jobs(1, "shop"), *jobs(1, "x")])
        assert codes(answers) == ["", "SWX-5020"]


async def test_the_signers_id_of_sm2_travels_along(tmp_path: Path) -> None:
    async with running(tmp_path, listen=True) as bench, opened(tmp_path, bench.api.port) as token:
        [answer] = await token.sign([Job("sm2", "sm2-sm3", b"data", b"agreed@example")])
        assert isinstance(answer, Signature)
        certificate = certificates.read(pki.der("sm2"))
        assert certificates.signed_by(certificate, "sm2-sm3", answer.value, b"data", b"agreed@example")
        assert not certificates.signed_by(certificate, "sm2-sm3", answer.value, b"data")


async def test_files_that_can_not_be_used_are_the_administrators_fault(tmp_path: Path) -> None:
    token = Remote(remote_settings(tmp_path))
    with pytest.raises(ConfigurationError, match=r"no TLS with .*server-ca\.pem"):
        await token.open()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8444", "https://", "https://switch/v1/signatures", "switch:8444"])
def test_only_https_is_spoken(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValidationError, match="must be https://HOST"):
        RemoteSettings.model_validate(remote_settings(tmp_path).model_dump() | {"urls": url})
