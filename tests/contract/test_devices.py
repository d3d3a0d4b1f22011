"""Two devices for one key: whatever goes wrong with one, the other signs, and nothing that doesn't verify gets out."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exchange.errors import ConfigurationError, NotFound, TokenError
from exchange.ports import Job, Signature
from exchange.signing import certificates, devices, trials
from exchange.signing.devices import Devices
from tests import hsm, pki
from tests.contract.peers import until

RSA = Job("rsa", "rsa-sha256", b"canonical SignedInfo")
SM2 = Job("sm2", "sm2-sm3", b"canonical SignedInfo")


@asynccontextmanager
async def opened(token: Devices) -> AsyncIterator[Devices]:
    await token.open()
    try:
        yield token
    finally:
        await token.close()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[hsm.SdfDevice, hsm.SdfDevice]:
    return hsm.SdfDevice(tmp_path, "a"), hsm.SdfDevice(tmp_path, "b")


def token_of(pair: tuple[hsm.SdfDevice, hsm.SdfDevice], **more: Any) -> Devices:
    rows = {name: device.row(sessions=2, timeout_seconds=0.5) for name, device in zip("ab", pair, strict=True)}
    for name, row in more.items():
        rows[name] |= row
    return hsm.devices(rows, {"sm2": {"a": "sdf:3", "b": "sdf:3"}, "rsa": {"a": "sdf:1", "b": "sdf:1"}})


def stands(job: Job, value: Any) -> bool:
    assert isinstance(value, Signature), value
    return certificates.signed_by(certificates.read(pki.der(job.key)), job.algorithm, value.value, job.data)


@pytest.mark.parametrize(
    ("how", "state", "refused"),
    [
        ("comm", "DOWN", False),
        ("hang", "DOWN", False),
        ("crash", "DOWN", False),
        ("deny", "UP", True),
        ("wrong", "UP", True),
    ],
)
async def test_a_device_that_fails_is_passed_over(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice], how: str, state: str, refused: bool
) -> None:
    async with opened(token_of(pair)) as token:
        first, second = token.members["a"], token.members["b"]
        pid = second.link._process.pid  # type: ignore[union-attr]
        pair[0].misbehave(how)
        jobs = [SM2, SM2, RSA, RSA] * 2
        with capture_logs() as logs:
            values = await token.sign(jobs)
        assert all(stands(job, value) for job, value in zip(jobs, values, strict=True))
        assert first.state == state
        assert (first.without == {"sm2", "rsa"}) is refused
        assert second.link is not None
        assert second.link._process.pid == pid  # only the one that failed was ended
        told = Counter(line["event"] for line in logs)
        assert told == ({"device.refused_key": 2} if refused else {"device.lost": 1})
        pair[0].misbehave("")
        if not refused:
            await until(lambda: first.state == "UP")
            assert stands(SM2, (await token.sign([SM2]))[0])


async def test_a_worker_that_is_killed_under_load_costs_nothing(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice],
) -> None:
    async with opened(token_of(pair)) as token:
        jobs = [Job("sm2", "sm2-sm3", b"%d" % n) for n in range(300)]
        signing = asyncio.ensure_future(token.sign(jobs))
        await asyncio.sleep(0.05)
        token.members["a"].link._process.kill()  # type: ignore[union-attr]
        values = await signing
        assert all(stands(job, value) for job, value in zip(jobs, values, strict=True))
        await until(lambda: token.members["a"].state == "UP")


async def test_both_devices_work_at_once_and_the_second_rank_only_when_the_first_is_down(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice],
) -> None:
    async with opened(token_of(pair)) as token:
        await token.sign([SM2] * 40)
        assert min(member.signed["sm2"] for member in token.members.values()) > 10
    async with opened(token_of(pair, b={"priority": 2})) as token:
        before = token.members["b"].signed["sm2"]
        await token.sign([SM2] * 40)
        assert token.members["b"].signed["sm2"] == before
        pair[0].misbehave("comm")
        assert stands(SM2, (await token.sign([SM2]))[0])
        assert token.members["b"].signed["sm2"] > before


async def test_a_wrong_pin_is_tried_once_and_never_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hsm.SoftHsm(tmp_path, monkeypatch, "hsm-a")
    monkeypatch.setenv("WRONG_PIN", "1111")
    rows = {"hsm-a": hsm.SoftHsm.row("hsm-a", pin={"env": "WRONG_PIN"}), "sdf": hsm.SdfDevice(tmp_path).row()}
    both = {"hsm-a": "pkcs11:id=%01", "sdf": "sdf:1"}
    token = hsm.devices(rows, {"rsa": both, "p256": {"hsm-a": "pkcs11:id=%02"}})
    with capture_logs() as logs:
        async with opened(token):
            assert stands(RSA, (await token.sign([RSA]))[0])
            [value] = await token.sign([Job("p256", "ecdsa-sha256", b"data")])
            assert isinstance(value, TokenError)
            assert "PIN_INCORRECT" in value.en
    assert token.members["hsm-a"].state == "DISABLED"
    assert [line["code"] for line in logs if line["event"] == "device.disabled"] == ["CKR_PIN_INCORRECT"]
    assert token.members["hsm-a"].attempts == 1


async def test_the_pin_is_in_no_argument_and_no_environment(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text(hsm.PIN + "\n")
    token = hsm.devices({"sdf": hsm.SdfDevice(tmp_path).row(pin={"file": pin})}, {"rsa": {"sdf": "sdf:1"}})
    os.environ.pop("HSM_PIN")
    async with opened(token):
        assert stands(RSA, (await token.sign([RSA]))[0])
        process = Path("/proc") / str(token.members["sdf"].link._process.pid)  # type: ignore[union-attr]
        assert hsm.PIN.encode() not in (process / "cmdline").read_bytes()
        assert hsm.PIN.encode() not in (process / "environ").read_bytes()


async def test_a_certificate_of_another_key_never_lets_a_signature_out(tmp_path: Path) -> None:
    token = hsm.devices({"sdf": hsm.SdfDevice(tmp_path).row()}, {"sm2-foreign": {"sdf": "sdf:3"}})
    async with opened(token):
        [value] = await token.sign([Job("sm2-foreign", "sm2-sm3", b"data")])
        assert isinstance(value, TokenError)
        assert token.members["sdf"].without == {"sm2-foreign"}


async def test_with_all_devices_down_jobs_wait_a_while_and_go_on_when_one_is_back(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in pair:
        device.misbehave("sessions")
    async with opened(token_of(pair)) as token:
        assert {member.state for member in token.members.values()} == {"DOWN"}
        monkeypatch.setattr(devices, "PATIENCE", 0.2)
        [refused] = await token.sign([SM2])
        assert isinstance(refused, TokenError)
        assert "OPENSESSION" in refused.en
        monkeypatch.setattr(devices, "PATIENCE", 20.0)
        waiting: Awaitable[Any] = asyncio.ensure_future(token.sign([SM2]))
        pair[1].misbehave("")
        assert stands(SM2, (await waiting)[0])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"kind": "pkcs12"}, "no device is called 'pkcs12', did you mean 'pkcs11'?"),
        ({"module": "/x"}, "must say of which kind it is"),
        ({"kind": "sdf"}, "module"),
        ({"kind": "sdf", "module": "/x", "pin": "1234"}, "written as a reference"),
    ],
)
def test_settings_that_are_wrong_say_so(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?")):
        hsm.devices({"it": row}, {})


def test_a_key_on_a_device_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        hsm.devices({}, {"rsa": {"nowhere": "sdf:1"}})


async def test_a_library_that_is_none_disables_its_device(tmp_path: Path) -> None:
    (tmp_path / "vendor.so").write_text("nothing to load")
    row = {"kind": "sdf", "module": tmp_path / "vendor.so"}
    async with opened(hsm.devices({"it": row}, {"rsa": {"it": "sdf:1"}})) as token:
        assert token.members["it"].state == "DISABLED"
        assert "vendor.so" in token.members["it"].why


async def test_a_device_that_was_disabled_is_opened_by_a_person_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = tmp_path / "pin"
    pin.write_text("1111")
    device = hsm.SdfDevice(tmp_path)
    async with opened(hsm.devices({"sdf": device.row(pin={"file": pin})}, {"sm2": {"sdf": "sdf:3"}})) as token:
        assert token.status()[0]["refused_keys"] == ["sm2"], "SDF asks for the PIN key by key"
        pin.write_text(hsm.PIN)
        await token.reopen("sdf")
        [told] = token.status()
        assert (told["state"], told["refused_keys"], told["about"]["model"]) == ("UP", [], "test device")
        assert stands(SM2, (await token.sign([SM2]))[0])
        with pytest.raises(NotFound):
            await token.reopen("nobody")


async def test_a_self_test_tries_every_key_on_every_device(pair: tuple[hsm.SdfDevice, hsm.SdfDevice]) -> None:
    async with opened(token_of(pair)) as token:
        (pair[1].folder / "sm2-3.pem").write_bytes((pki.shared() / "sm2-foreign.key").read_bytes())
        await token.reopen("b")
        told = {(row["device"], row["key"]): row["stands"] for row in await trials.selftest(token)}
        assert told == {("a", "sm2"): True, ("a", "rsa"): True, ("b", "sm2"): False, ("b", "rsa"): True}
        assert all(stands(SM2, value) for value in await token.sign([SM2] * 8)), "the other device has the right one"
