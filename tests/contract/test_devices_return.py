"""What devices do to their sessions, logins and keys, each is cured by itself; and no key is taken for another."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from twisted.internet.task import Clock

from exchange.errors import Refused, TokenError
from exchange.observability import Metrics, Probes, Pulse
from exchange.observability_signing import watch
from exchange.ports import Job
from exchange.signing import devices, trials
from exchange.signing.devices import Devices
from tests import hsm, pki
from tests.contract.peers import until
from tests.contract.test_devices import RSA, SM2, opened, stands, token_of
from tests.sealing import require

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def pair(tmp_path: Path) -> tuple[hsm.SdfDevice, hsm.SdfDevice]:
    return hsm.SdfDevice(tmp_path, "a"), hsm.SdfDevice(tmp_path, "b")


# -- it comes back by itself -------------------------------------------------------------------------------------


@pytest.fixture
def soft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hsm.SoftHsm:
    return hsm.SoftHsm(tmp_path, monkeypatch, "hsm-a")


def beside(soft: hsm.SoftHsm, tmp_path: Path) -> Devices:
    """Return a token whose keys are in SoftHSM first, and in an SDF device, too."""
    rows = {"soft": soft.row("hsm-a", sessions=2), "sdf": hsm.SdfDevice(tmp_path).row(priority=2)}
    return hsm.devices(rows, {"rsa": {"soft": "pkcs11:id=%01", "sdf": "sdf:1"}})


async def test_token_files_that_are_gone_and_back_cost_nothing(soft: hsm.SoftHsm, tmp_path: Path) -> None:
    async with opened(beside(soft, tmp_path)) as token:
        member = token.members["soft"]
        [folder] = [path for path in (soft.folder / "tokens").iterdir() if path.is_dir()]
        shutil.move(folder, tmp_path / "away")
        assert all(stands(RSA, value) for value in await token.sign([RSA] * 4))
        assert (member.state, member.without) == ("DOWN", set()), "the device is at fault, and no key"
        shutil.move(tmp_path / "away", folder)
        await until(lambda: member.state == "UP")
        before = member.signed["rsa"]
        assert stands(RSA, (await token.sign([RSA]))[0])
        assert member.signed["rsa"] == before + 1


async def test_a_login_that_somebody_ended_is_made_again(soft: hsm.SoftHsm, tmp_path: Path) -> None:
    async with opened(beside(soft, tmp_path)) as token:
        member = token.members["soft"]
        assert member.link
        await member.link.ask("logout", "")
        assert all(stands(RSA, value) for value in await token.sign([RSA] * 4))
        assert member.without == set(), "no key is blamed for it"
        await until(lambda: member.state == "UP" and member.opened == 2)
        assert stands(RSA, (await token.sign([RSA]))[0])


DEAD = """
import sys
from exchange.tokens.device import DeviceFault
from exchange.tokens.pkcs11 import Pkcs11, Pkcs11Settings
device = Pkcs11(Pkcs11Settings(kind="pkcs11", module=sys.argv[1], token="hsm-a"), sys.argv[2])
device.open()
session, other = device.session(), device.session()
session.sign("pkcs11:id=%01", "rsa-sha256", b"")
def fault(session):
    try: session.sign("pkcs11:id=%01", "rsa-sha256", b"")
    except DeviceFault as why: print(why.kind, why.code)
other.logout()
fault(session)  # the handle that it knows is dead
fault(other)    # the key was never looked for, and isn't to be seen
other.login(); session.login()
session.sign("pkcs11:id=%01", "rsa-sha256", b"")
session._session.close()
fault(session)
"""


def test_dead_handles_lost_logins_and_closed_sessions_are_the_devices_fault_not_the_keys(soft: hsm.SoftHsm) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEAD, str(hsm.MODULE), hsm.PIN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:-1] == [
        "retry_other CKR_OBJECT_HANDLE_INVALID",
        "retry_other CKR_USER_NOT_LOGGED_IN",
        "retry_other CKR_SESSION_HANDLE_INVALID",
    ]


async def test_a_device_that_never_stays_up_is_opened_ever_more_rarely(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(token_of(pair)) as token:
        member = token.members["a"]
        assert member.patience() == 1.0, "it has just come up: that may not last"
        for attempts, seconds in ((0, 0.0), (1, 1.0), (2, 2.0), (5, 16.0), (9, 30.0)):
            member.attempts = attempts
            assert member.patience() == seconds
        member.went_down("flapping")
        assert member.attempts == 9
        monkeypatch.setattr("exchange.signing._members.STEADY", -1.0)
        member.went_down("after a long time")
        assert member.patience() == 0.0


async def test_a_wrong_pin_is_not_shown_again_by_an_attempt_that_was_due(tmp_path: Path) -> None:
    """A device is down and to be tried again soon; somebody opens it, and the PIN is wrong."""
    soft = pytest.MonkeyPatch()
    try:
        hsm.SoftHsm(tmp_path, soft, "hsm-a")
        pin = tmp_path / "pin"
        pin.write_text(hsm.PIN)
        row = hsm.SoftHsm.row("elsewhere", pin={"file": pin})
        async with opened(hsm.devices({"it": row}, {"rsa": {"it": "pkcs11:id=%01"}})) as token:
            member = token.members["it"]
            assert member.state == "DOWN"
            member.settings = member.settings.model_copy(update={"token": "hsm-a"})
            pin.write_text("1111")
            await token.reopen("it")
            assert (member.state, member.attempts) == ("DISABLED", 2)
            await asyncio.gather(*token._tasks)  # the attempt that was due
            assert (member.state, member.attempts) == ("DISABLED", 2)
    finally:
        soft.undo()


# -- whose key it is ---------------------------------------------------------------------------------------------


async def test_a_key_that_is_another_on_one_device_is_set_aside_at_the_start(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice],
) -> None:
    shutil.copy(pki.shared() / "sm2-foreign.key", pair[1].folder / "sm2-3.pem")
    token = token_of(pair)
    with capture_logs() as logs:
        async with opened(token):
            assert token.members["b"].without == {"sm2"}
            assert token.members["b"].state == "UP", "its other keys go on"
            assert all(stands(SM2, value) for value in await token.sign([SM2] * 8))
    [told] = [line for line in logs if line["event"] == "device.refused_key"]
    assert (told["device"], told["key"], told["code"]) == ("b", "sm2", "OTHER_KEY")
    assert "another one than that of certificate" in told["text"]


async def test_of_very_many_keys_each_is_compared_at_first_use(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "COMPARED", 1)
    shutil.copy(pki.shared() / "sm2-foreign.key", pair[0].folder / "sm2-3.pem")
    token = hsm.devices({"a": pair[0].row()}, {"rsa": {"a": "sdf:1"}, "sm2": {"a": "sdf:3"}}, check_sm2_every=100)
    async with opened(token):
        assert token.members["a"].without == set()
        [value] = await token.sign([SM2])
        assert isinstance(value, TokenError)
        assert token.members["a"].without == {"sm2"}


async def test_keys_of_both_kinds_may_have_one_index(tmp_path: Path) -> None:
    device = hsm.SdfDevice(tmp_path)
    shutil.copy(device.folder / "rsa-1.pem", device.folder / "rsa-3.pem")
    async with opened(hsm.devices({"a": device.row()}, {"rsa": {"a": "sdf:3"}, "sm2": {"a": "sdf:3"}})) as token:
        assert token.members["a"].without == set()
        values = await token.sign([RSA, SM2])
        assert stands(RSA, values[0])
        assert stands(SM2, values[1])


@pytest.fixture
def without_public(soft: hsm.SoftHsm) -> hsm.SoftHsm:
    tool = require("pkcs11-tool")
    place = ("--module", str(hsm.MODULE), "--token-label", "hsm-a", "--login", "--pin", hsm.PIN)
    subprocess.run([tool, *place, "--delete-object", "--type", "pubkey", "--id", "01"], check=True, capture_output=True)
    return soft


async def test_a_device_that_keeps_no_public_halves_is_tried_by_signing(without_public: hsm.SoftHsm) -> None:
    soft = without_public
    async with opened(hsm.devices({"soft": soft.row("hsm-a")}, {"rsa": {"soft": "pkcs11:id=%01"}})) as token:
        assert token.members["soft"].without == set()
        assert stands(RSA, (await token.sign([RSA]))[0])


# -- a test of the fail-over -------------------------------------------------------------------------------------


async def test_each_device_is_taken_out_in_turn_and_brought_back(pair: tuple[hsm.SdfDevice, hsm.SdfDevice]) -> None:
    async with opened(token_of(pair)) as token:
        jobs = [Job("sm2", "sm2-sm3", b"%d" % n) for n in range(200)]
        with capture_logs() as logs:
            under_load = asyncio.ensure_future(token.sign(jobs))
            told = await trials.failover(token)
            values = await under_load
        assert all(stands(job, value) for job, value in zip(jobs, values, strict=True)), "nothing is lost"
        assert {member.state for member in token.members.values()} == {"UP"}
        assert {member.opened for member in token.members.values()} == {2}
        for row, (out, other) in zip(told, (("a", "b"), ("b", "a")), strict=True):
            assert (row["device"], row["others"], row["signed"], row["stands"]) == (out, [other], 2, True)
            assert row["milliseconds"] > 0
            assert row["back_milliseconds"] > 0
        assert [line["event"] for line in logs] == ["device.opened", "device.opened"], "no alarm"


async def test_with_one_device_up_none_is_taken_out(pair: tuple[hsm.SdfDevice, hsm.SdfDevice]) -> None:
    pair[1].misbehave("sessions")
    async with opened(token_of(pair)) as token:
        with pytest.raises(Refused, match="only 1 is up") as refused:
            await trials.failover(token)
        assert refused.value.code == "SWX-7051"
        assert token.members["a"].state == "UP"


async def test_a_key_on_one_device_only_and_a_device_that_fails_meanwhile_are_told(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice],
) -> None:
    rows = {name: device.row(timeout_seconds=1) for name, device in zip("ab", pair, strict=True)}
    keys = {"sm2": {"a": "sdf:3"}, "rsa": dict.fromkeys(rows, "sdf:1")}
    async with opened(hsm.devices(rows, keys)) as token:
        first, second = await trials.failover(token)
        assert (first["stands"], first["errors"], first["signed"]) == (False, ["sm2: no other device has it"], 1)
        assert (second["stands"], second["signed"]) == (True, 1)
        pair[1].misbehave("deny")  # the one that is to sign while the first is out
        first, _ = await trials.failover(token)
        assert not first["stands"]
        assert any("PARDENY" in error for error in first["errors"])
        assert token.members["a"].state == "UP", "it is brought back all the same"


async def test_a_test_that_is_broken_off_brings_the_device_back(pair: tuple[hsm.SdfDevice, hsm.SdfDevice]) -> None:
    async with opened(token_of(pair)) as token:
        pair[1].misbehave("slow")
        testing = asyncio.ensure_future(trials.failover(token))
        await until(lambda: token.members["a"].state == "DOWN")
        testing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await testing
        await until(lambda: token.members["a"].state == "UP")


# -- what people see ---------------------------------------------------------------------------------------------


async def test_the_status_tells_how_fast_and_the_metrics_how_signatures_ended(
    pair: tuple[hsm.SdfDevice, hsm.SdfDevice],
) -> None:

    async with opened(token_of(pair, b={"priority": 2})) as token:
        metrics = Metrics(Probes(), Pulse(Clock()))
        watch(token, metrics)
        await token.sign([SM2] * 20)
        first, second = token.status()
        assert first["p50_ms"] <= first["p95_ms"] <= first["p99_ms"]
        assert first["per_second"] > second["per_second"] > 0
        pair[0].misbehave("deny")
        await token.sign([SM2])
        text = metrics.text().decode()
    assert 'switch_device_signatures_total{algorithm="sm2-sm3",code="OK",device="a"} 20.0' in text
    assert 'switch_device_signatures_total{algorithm="sm2-sm3",code="SDR_PARDENY",device="a"} 1.0' in text
    assert 'switch_device_signature_seconds_count{algorithm="sm2-sm3",device="a"} 21.0' in text
    assert 'switch_device_state{device="a",state="up"} 1.0' in text
    assert 'switch_device_refused_keys{device="a"} 1.0' in text
    assert 'switch_device_sessions{device="b"} 2.0' in text
    assert 'switch_device_opened_total{device="b"} 1.0' in text


def test_a_token_without_devices_shows_none() -> None:
    shown: list[Any] = []
    watch(object(), shown)  # type: ignore[arg-type]
    assert shown == []
