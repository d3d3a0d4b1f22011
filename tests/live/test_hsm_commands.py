"""``switchctl hsm slots`` and ``hsm certify`` with real libraries and no switch; OpenSC's tool agrees with us."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exchange.ports import Job, Signature
from exchange.signing import certificates
from tests import hsm, pki
from tests.contract.test_devices import opened
from tests.sealing import require
from tests.switchctl import run

pytestmark = pytest.mark.live
DATA = b"canonical SignedInfo"
WITH: dict[str, tuple[str, str, bytes]] = {  # algorithm -> (the key's id, mechanism, what OpenSC is to be given)
    "rsa-sha1": ("01", "SHA1-RSA-PKCS", DATA),
    "rsa-sha256": ("01", "SHA256-RSA-PKCS", DATA),
    "ecdsa-sha256": ("02", "ECDSA", hashlib.sha256(DATA).digest()),
}


@pytest.fixture
def soft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hsm.SoftHsm:
    (tmp_path / "pin").write_text(hsm.PIN)
    return hsm.SoftHsm(tmp_path, monkeypatch, "hsm-a")


async def hsm_command(*arguments: str | Path, status: int = 0) -> Any:
    """Run ``switchctl hsm``; return what it prints, read where it is JSON."""
    result = await asyncio.to_thread(run, "hsm", *map(str, arguments))
    assert result.exit_code == status, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


# -- slots -------------------------------------------------------------------------------------------------------


async def test_slots_show_tokens_flags_sessions_and_mechanisms(soft: hsm.SoftHsm) -> None:
    token, free = await hsm_command("slots", hsm.MODULE, "--json")
    assert (token["token"], token["flags"], token["sessions"]) == ("hsm-a", ["login", "pin-set", "initialized"], 0)
    assert {"RSA_PKCS", "ECDSA"} < set(token["mechanisms"])
    assert "initialized" not in free["flags"]
    for lang, words in (("en", "sessions free"), ("zh", "可用会话")):
        shown = await hsm_command("slots", hsm.MODULE, "--lang", lang)
        assert words in shown
        assert "RSA_PKCS, ECDSA, " in shown


async def test_slots_of_sdf_are_what_the_device_says_of_itself(tmp_path: Path) -> None:
    device = hsm.SdfDevice(tmp_path)
    [told] = await hsm_command("slots", "--kind", "sdf", "--folder", device.folder, device.module, "--json")
    assert (told["model"], told["standard"]) == ("test device", 1)
    device.misbehave("sessions")
    await hsm_command("slots", "--kind", "sdf", "--folder", device.folder, device.module, status=75)


async def test_a_library_that_is_none_costs_switchctl_nothing(tmp_path: Path) -> None:
    (tmp_path / "vendor.so").write_text("nothing to load")
    told = await hsm_command("slots", tmp_path / "vendor.so", "--json", status=75)
    assert told["error"]["code"] == "SWX-5051"
    assert "vendor.so" in told["error"]["zh"]


# -- certify -----------------------------------------------------------------------------------------------------


async def test_a_report_tells_every_check_and_the_exit_status_whether_all_passed(
    soft: hsm.SoftHsm, tmp_path: Path
) -> None:
    asked = ("certify", hsm.MODULE, "--token", "hsm-a", "--pin-file", tmp_path / "pin", "--signatures", "3")
    asked += ("--slowest", "5000")
    told = await hsm_command(*asked, "--key", "pkcs11:token=hsm-a;id=%02;type=private", "--try-wrong-pin", "--json")
    assert told["passed"]
    assert [row["check"] for row in told["checks"] if row["result"] != "passed"] == ["fields"]
    assert {row["check"]: row["seen"] for row in told["checks"]}["wrong-pin"] == "refused with CKR_PIN_INCORRECT"
    shown = await hsm_command(*asked, "--key", "pkcs11:id=%09", "--lang", "zh", status=1)
    assert "公钥" in shown
    assert "不通过" in shown


async def test_settings_of_a_kind_are_given_by_name_and_mistakes_are_told(tmp_path: Path) -> None:
    device = hsm.SdfDevice(tmp_path, wide=32)
    (tmp_path / "pin").write_text(hsm.PIN)
    asked = ("certify", "--kind", "sdf", "--folder", device.folder, "--pin-file", tmp_path / "pin", device.module)
    asked += ("--key", "sdf:3", "--signatures", "3", "--slowest", "5000")
    told = await hsm_command(*asked, "--json", status=1)
    assert [row["check"] for row in told["checks"] if row["result"] == "failed"] == ["fields"]
    told = await hsm_command(*asked, "--set", "ecc_bytes=32", "--try-wrong-pin", "--json")
    assert told["passed"]
    assert [row["check"] for row in told["checks"] if row["result"] != "passed"] == ["mechanisms"]
    result = await asyncio.to_thread(run, "hsm", *map(str, asked), "--set", "ecc_bytes=33", "--set", "color=red")
    assert result.exit_code == 2
    assert "ecc_bytes" in result.stderr
    assert "color" in result.stderr


# -- an independent checker --------------------------------------------------------------------------------------


def opensc(*arguments: str | Path) -> str:
    tool = require("pkcs11-tool")
    place = ("--module", hsm.MODULE, "--token-label", "hsm-a", "--login", "--pin", hsm.PIN)
    done = subprocess.run(
        [tool, *map(str, place), *map(str, arguments)], check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout


@pytest.mark.parametrize("algorithm", WITH)
async def test_opensc_verifies_what_we_sign_and_we_what_it_signs(
    soft: hsm.SoftHsm, tmp_path: Path, algorithm: str
) -> None:
    id, mechanism, given = WITH[algorithm]
    key = "p256" if id == "02" else "rsa"
    job = Job(key, algorithm, DATA)
    async with opened(hsm.devices({"a": soft.row("hsm-a")}, {key: {"a": f"pkcs11:id=%{id}"}})) as token:
        [signed] = await token.sign([job])
    assert isinstance(signed, Signature)
    ours = signed.value
    (tmp_path / "data").write_bytes(given)
    (tmp_path / "ours").write_bytes(ours)
    asked = ("--id", id, "--mechanism", mechanism, "--input-file", tmp_path / "data")
    told = await asyncio.to_thread(opensc, "--verify", *asked, "--signature-file", tmp_path / "ours")
    assert "Signature is valid" in told
    (tmp_path / "ours").write_bytes(ours[:-1] + bytes([ours[-1] ^ 1]))
    told = await asyncio.to_thread(opensc, "--verify", *asked, "--signature-file", tmp_path / "ours")
    assert "Invalid signature" in told
    await asyncio.to_thread(opensc, "--sign", *asked, "--output-file", tmp_path / "theirs")
    theirs = (tmp_path / "theirs").read_bytes()
    assert certificates.signed_by(certificates.read(pki.der(key)), algorithm, theirs, DATA)
