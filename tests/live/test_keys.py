"""Keys on devices: they sign their own certification requests, and a certificate must be that of the key in place."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import ConfigurationError, NotFound, Refused, TokenError
from exchange.observability import recorded
from exchange.ports import Job
from exchange.signing import certificates, pkcs10
from exchange.signing.custody import Custody
from exchange.signing.devices import Devices
from exchange.stores.memory import MemoryStore
from tests import hsm, pki
from tests.sealing import now, require

pytestmark = [pytest.mark.live]
SUBJECT = "CN=示例商店,O=Demo Shop Ltd,C=CN"
SM2 = ("-vfyopt", "distid:1234567812345678")


@asynccontextmanager
async def office(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Devices, Custody]]:
    """Open two SoftHSM tokens and an SDF device, and a register over them; no key is named in the settings."""
    hsm.SoftHsm(folder, monkeypatch, "hsm-a", "hsm-b")
    rows = {name: hsm.SoftHsm.row(name) for name in ("hsm-a", "hsm-b")} | {"sdf": hsm.SdfDevice(folder).row()}
    token = hsm.devices(rows, {})
    store, (log, _) = MemoryStore(folder), recorded()
    await store.open()
    await token.open()
    custody = Custody(store, token, now=now, log=log)
    await custody.open()
    try:
        yield token, custody
    finally:
        await token.close()
        await store.close()


def openssl(*words: str, input: str) -> str:
    done = subprocess.run([require("openssl"), *words], input=input, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


async def test_a_key_signs_its_own_request_in_the_device_and_openssl_accepts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"rsa": ("hsm-a", "pkcs11:id=%01"), "p256": ("hsm-b", "pkcs11:object=p256"), "sm2": ("sdf", "sdf:3")}
    async with office(tmp_path, monkeypatch) as (token, _):
        for key, (device, place) in places.items():
            pem = await pkcs10.request(token, device, place, SUBJECT)
            words = (
                "req",
                "-verify",
                "-noout",
                "-subject",
                "-nameopt",
                "RFC2253,utf8,-esc_msb",
                *(SM2 if key == "sm2" else ()),
            )
            told = openssl(*words, input=pem)
            assert "verify OK" in told
            assert f"subject={SUBJECT}" in told
            asked = openssl("req", "-pubkey", "-noout", input=pem)
            assert asked == openssl("pkey", "-pubout", input=(pki.shared() / f"{key}.key").read_text())
        for device, place, subject, kind in (
            ("hsm-a", "pkcs11:id=%09", SUBJECT, Refused),
            ("hsm-a", "sdf:1", SUBJECT, Refused),
            ("hsm-c", "pkcs11:id=%01", SUBJECT, NotFound),
            ("hsm-a", "pkcs11:id=%01", "a shop", ConfigurationError),
        ):
            with pytest.raises(kind):
                await pkcs10.request(token, device, place, subject)
        token.members["sdf"].link.kill("pulled out")  # type: ignore[union-attr]
        with pytest.raises(TokenError):
            await pkcs10.request(token, "sdf", "sdf:3", SUBJECT)


def row(certificate: str = "rsa", **at: str) -> list[dict[str, Any]]:
    text = (pki.shared() / f"{certificate}.crt").read_text()
    return [{"name": "shop", "certificate": text, "at": {name.replace("_", "-"): place for name, place in at.items()}}]


async def test_a_key_on_two_devices_is_registered_activated_and_signs_on_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path, monkeypatch) as (token, custody):
        workers = [member.link for member in token.members.values()]
        both = row(hsm_a="pkcs11:id=%01", hsm_b="pkcs11:id=%01")
        for number, (kind, subject, what) in enumerate(
            [("key-create", "shop", both), ("key-activate", "shop/1", None)], 1
        ):
            await custody.submit(kind, subject, what, "wang", "why")
            await custody.decide(number, "approved", "li", "checked")
        jobs = [Job(custody.choose("shop", now()), "rsa-sha256", b"data")] * 12
        answers: Any = await token.sign(jobs)
        certificate = certificates.read(pki.der("rsa"))
        assert all(certificates.signed_by(certificate, "rsa-sha256", one.value, b"data") for one in answers)
        assert {one.device for one in answers} == {"hsm-a", "hsm-b"}
        assert [member.link for member in token.members.values()] == workers, "no device was opened anew"


async def test_a_certificate_that_is_not_the_keys_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path, monkeypatch) as (_, custody):
        for what, kind, code in (
            (row("p256", hsm_a="pkcs11:id=%01"), Refused, "SWX-7043"),
            (row("rsa", hsm_a="pkcs11:id=%01", sdf="sdf:3"), Refused, "SWX-7043"),  # one of two devices has another key
            (row("sm2-foreign", sdf="sdf:3"), Refused, "SWX-7043"),
            (row("rsa", hsm_a="pkcs11:id=%07"), Refused, "SWX-7020"),  # no key is there
            (row("rsa", hsm_x="pkcs11:id=%01"), NotFound, "SWX-7010"),
        ):
            with pytest.raises(kind) as why:
                await custody.submit("key-create", "shop", what, "wang", "why")
            assert why.value.code == code


async def test_a_key_whose_devices_are_all_away_is_not_activated_and_with_one_of_two_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(tmp_path, monkeypatch) as (token, custody):
        await custody.submit("key-create", "shop", row(hsm_a="pkcs11:id=%01", sdf="sdf:1"), "wang", "why")
        await custody.decide(1, "approved", "li", "checked")
        for away in (["hsm-a", "sdf"], ["sdf"]):
            for name in away:
                token.members[name].state = "DISABLED"
                if (link := token.members[name].link) is not None:
                    link.kill("pulled out")
            if len(away) == 2:
                with pytest.raises(TokenError):
                    await custody.submit("key-activate", "shop/1", None, "wang", "why")
                await token.reopen("hsm-a")
        await custody.submit("key-activate", "shop/1", None, "wang", "why")
        await custody.decide(2, "approved", "li", "checked")
        [answer] = await token.sign([Job(custody.choose("shop", now()), "rsa-sha256", b"data")])
        assert getattr(answer, "device", "") == "hsm-a"
