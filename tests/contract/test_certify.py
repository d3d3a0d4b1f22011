"""Certifying a device finds what is wrong with it: every check has a device that fails it.

Good devices pass in tests/live/test_hsm_commands.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from exchange.options import Secret
from exchange.ports import Job, Signature
from exchange.signing import _certify_texts, certify
from exchange.signing._certify_checks import SCRIPT
from exchange.signing._device_link import Link
from exchange.signing.certify import FAILED, NOT_APPLICABLE, PASSED, Bench, Plan, Result
from exchange.tokens.device import REQUEST, DeviceFault, DeviceSettings
from exchange.tokens.pkcs11 import Pkcs11Settings
from exchange.tokens.sdf import SdfSettings
from exchange.tokens.sm2 import der_signature
from exchange.tokens.software import KeyFiles, Software
from tests import hsm, pki

FIRST = ("opens", "public", "signs")  # what other checks need


def only(*names: str) -> Any:
    return [row for row in SCRIPT if row[0] in {*FIRST, *names}]


@pytest.fixture
def pin(tmp_path: Path) -> Secret:
    (tmp_path / "pin").write_text(hsm.PIN)
    return Secret(file=tmp_path / "pin")


def sdf(device: hsm.SdfDevice, pin: Secret | None, **more: Any) -> SdfSettings:
    return SdfSettings(
        kind="sdf", module=device.module, folder=device.folder, pin=pin, **{"timeout_seconds": 2.0} | more
    )


def failed(results: Sequence[Result]) -> list[str]:
    return [result.check for result in results if result.result == FAILED]


def of(results: Sequence[Result], check: str) -> Result:
    return next(result for result in results if result.check == check)


# -- faults ------------------------------------------------------------------------------------------------------

FAULTS: Mapping[str, tuple[str, str]] = {  # fault of the device -> (check that finds it, what it sees)
    "comm": ("signs", "SDR_COMMFAIL"),
    "hang": ("signs", "no answer for"),
    "deny": ("signs", "SDR_PARDENY"),
    "wrong": ("signs", "doesn't verify"),
    "crash": ("signs", "died"),
    "sessions": ("opens", "SDR_OPENSESSION"),
    "noexport": ("public", "SDR_NOTSUPPORT"),
    "left": ("encoding", "filled from the left"),
    "slow": ("latency", "p95 2"),
    "repeat": ("distinct", "signature 2 has the r"),
    "race": ("parallel", "don't verify"),
    "few": ("parallel", "SDR_OPENSESSION"),
    "burst": ("limit", "died"),
    "once": ("relogin", "SDR_PARDENY"),
    "anypin": ("wrong-pin", "a wrong PIN signs"),
    "clingy": ("restart", "SDR_OPENDEVICE"),
    "leak": ("deadline", "SDR_OPENSESSION"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found_and_told(tmp_path: Path, pin: Secret, fault: str) -> None:
    check, seen = FAULTS[fault]
    device = hsm.SdfDevice(tmp_path)
    device.misbehave(fault)
    plan = Plan(sdf(device, pin, timeout_seconds=0.5), ["sdf:3"], 5, wrong_pin=fault == "anypin")
    names = (check, "distinct") if check == "latency" else (check,)
    results = await certify.certify(plan, only(*names))
    found = of(results, check)
    assert found.result == FAILED
    assert seen in found.seen
    assert failed(results)[0] == check, "nothing else is blamed before it"
    assert not certify.stands(results)
    vendor = found.told()["vendor"]
    assert vendor["en"].isascii()
    assert vendor["zh"] != vendor["en"]


async def test_a_width_that_is_set_wrong_is_told_with_the_right_one(tmp_path: Path, pin: Secret) -> None:
    narrow = hsm.SdfDevice(tmp_path, wide=32)
    results = await certify.certify(Plan(sdf(narrow, pin), ["sdf:3"]), only("fields"))
    assert of(results, "fields").seen == "it is a key with ecc_bytes: 32, not with 64"
    assert of(results, "signs").result == NOT_APPLICABLE
    results = await certify.certify(Plan(sdf(narrow, pin, ecc_bytes=32), ["sdf:3"]), only("fields"))
    assert failed(results) == []


async def test_a_library_that_is_none_stops_everything_else(tmp_path: Path) -> None:
    (tmp_path / "vendor.so").write_text("nothing to load")
    results = await certify.certify(Plan(SdfSettings(kind="sdf", module=tmp_path / "vendor.so"), ["sdf:3"]), SCRIPT)
    assert failed(results) == ["loads"]
    assert all(result.seen == "'loads' failed" for result in results[1:])


async def test_a_pin_that_is_wrong_is_shown_once_and_nothing_else_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: Secret
) -> None:
    hsm.SoftHsm(tmp_path, monkeypatch, "hsm-a")
    (tmp_path / "pin").write_text("1111")
    started: list[DeviceSettings] = []

    def connect(name: str, settings: DeviceSettings, lost: Callable[[str], None]) -> Link:
        started.append(settings)
        return Link(name, settings, lost)

    plan = Plan(Pkcs11Settings(kind="pkcs11", module=hsm.MODULE, token="hsm-a", pin=pin), ["pkcs11:id=%01"])
    results = await certify.certify(plan, SCRIPT, Bench(plan, connect))
    assert failed(results) == ["opens"]
    assert len(started) == 2, "one to look, which shows no PIN, and one to log in"


async def test_a_key_that_is_not_there_is_told_and_the_others_go_on(tmp_path: Path, pin: Secret) -> None:
    plan = Plan(sdf(hsm.SdfDevice(tmp_path), pin), ["sdf:9", "pkcs11:id=%01", "sdf:3", "sdf:1"])
    results = await certify.certify(plan, only("encoding", "relogin"))
    told = {result.key: result.seen for result in results if result.check == "public"}
    assert "SDR_KEYNOTEXIST" in told["sdf:9"]
    assert "LOCATION" in told["pkcs11:id=%01"]
    assert [r.result for r in results if r.check == "signs"] == [NOT_APPLICABLE, NOT_APPLICABLE, PASSED, PASSED]
    assert [r.seen for r in results if r.check == "encoding"][2:] == ["64 bytes", "256 bytes"]
    assert of(results, "relogin").result == PASSED, "with a key that signs"


# -- what our devices can't be made to do ------------------------------------------------------------------------


class Made:
    """Stands for a worker process: a library as some vendor may have made it, with keys in software."""

    mechanisms: Sequence[str] = ("RSA_PKCS", "ECDSA", "0x80000001")
    flags: Sequence[str] = ("initialized",)
    most_bytes = 1 << 20
    pid = 0

    def __init__(self, name: str, settings: DeviceSettings, lost: Callable[[str], None]) -> None:
        self._keys = Software(KeyFiles(folder=pki.shared()))

    async def look(self) -> list[dict[str, Any]]:
        return [{"token": "hsm-a", "flags": list(self.flags), "mechanisms": list(self.mechanisms)}]

    async def start(self) -> dict[str, str]:
        return {}

    def kill(self, reason: str) -> None:
        pass

    async def ask(self, do: str, at: str, algorithm: str = "", data: bytes = b"") -> bytes:
        if do == "public_key":
            return await self.public(at)
        if len(data) > self.most_bytes:
            raise DeviceFault(REQUEST, "CKR_DATA_LEN_RANGE", "C_Sign: CKR_DATA_LEN_RANGE (0x21)")
        return await self.signed(at, algorithm, data)

    async def public(self, at: str) -> bytes:
        done = await asyncio.create_subprocess_exec(
            "openssl", "pkey", "-in", str(pki.shared() / f"{at}.key"), "-pubout", "-outform", "DER",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return (await done.communicate())[0]

    async def signed(self, at: str, algorithm: str, data: bytes) -> bytes:
        [value] = await self._keys.sign([Job(at, algorithm, data)])
        assert isinstance(value, Signature), value
        return value.value


class WithoutEcdsa(Made):
    mechanisms = ("RSA_PKCS",)


class LittleOnly(Made):
    most_bytes = 64 * 1024


class LastTry(Made):
    flags = ("initialized", "pin-final-try")


class Der(Made):
    async def signed(self, at: str, algorithm: str, data: bytes) -> bytes:
        return der_signature(await super().signed(at, algorithm, data))


class Short(Made):
    async def signed(self, at: str, algorithm: str, data: bytes) -> bytes:
        return (await super().signed(at, algorithm, data)).lstrip(b"\0")[:63]


class SometimesWrong(Made):
    count = 0

    async def signed(self, at: str, algorithm: str, data: bytes) -> bytes:
        type(self).count += 1
        value = await super().signed(at, algorithm, data)
        return value if self.count < 20 else value[:-1] + bytes([value[-1] ^ 1])


MADE: Mapping[str, tuple[type[Made], str, str, str]] = {
    "a mechanism that isn't listed": (WithoutEcdsa, "p256", "mechanisms", "ECDSA isn't among 1"),
    "SM2 that isn't set": (Made, "sm2", "mechanisms", "sm2 isn't set"),
    "a limit of size": (LittleOnly, "rsa", "sizes", "CKR_DATA_LEN_RANGE"),
    "a PIN that would be the last": (LastTry, "rsa", "opens", "pin-final-try"),
    "DER": (Der, "p256", "encoding", "(DER) instead of 64"),
    "no zeros on the left": (Short, "p256", "encoding", "63 bytes (another shape) instead of 64"),
    "one in many": (SometimesWrong, "p256", "distinct", "doesn't verify"),
    "a curve that nobody asked for": (Made, "p384", "public", "neither RSA, P-256 nor SM2"),
}


@pytest.mark.parametrize("name", MADE)
async def test_what_a_vendor_may_have_made_is_found(name: str, pin: Secret) -> None:
    kind, key, check, seen = MADE[name]
    settings = Pkcs11Settings(kind="pkcs11", module=hsm.MODULE, token="hsm-a", pin=pin)
    plan = Plan(settings, [key], signatures=30)
    results = await certify.certify(plan, only("loads", check), Bench(plan, kind))  # type: ignore[arg-type]
    found = of(results, check)
    assert found.result == FAILED
    assert seen in found.seen


async def test_no_wrong_pin_is_shown_to_a_device_that_asks_for_none(pin: Secret) -> None:
    plan = Plan(SdfSettings(kind="sdf", module=hsm.MODULE, access="none", pin=pin), ["sm2"], wrong_pin=True)
    results = await certify.certify(plan, only("wrong-pin"), Bench(plan, Made))  # type: ignore[arg-type]
    assert (of(results, "signs").result, of(results, "wrong-pin").result) == (PASSED, NOT_APPLICABLE)


def test_every_check_has_a_device_that_fails_it() -> None:
    found = {check for check, _ in FAULTS.values()} | {check for _, _, check, _ in MADE.values()} | {"fields", "loads"}
    assert found == {name for name, _, _ in SCRIPT} == set(_certify_texts.TEXTS)
