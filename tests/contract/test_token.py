"""What every kind of token keeps to. A new kind joins by adding a line to TOKENS."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exchange.errors import ConfigurationError, NotFound, Refused, TokenError
from exchange.options import Secret
from exchange.ports import SM2_ID, Job, Signature, Token
from exchange.register import KeyVersion
from exchange.signing import certificates
from exchange.signing.remote import Remote
from exchange.tokens.software import KeyFile, KeyFiles, Software
from tests import hsm, pki
from tests.conftest import LOOP
from tests.signing_bench import Served


def from_folder() -> Token:
    return Software(KeyFiles.model_validate({"folder": pki.shared().name}, context={"home": pki.shared().parent}))


def from_named_files() -> Token:
    folder = pki.shared()
    keys = {name: KeyFile(key=folder / f"{name}.key", certificate=folder / f"{name}.crt") for name in ("p256", "sm2")}
    p12 = KeyFile(key=folder / "rsa.p12", password=Secret(file=str(folder / "rsa.password")))
    return Software(KeyFiles(keys={**keys, "rsa": p12}))


def on_devices(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    hsm.SoftHsm(folder, monkeypatch, "hsm-a")
    rows = {"hsm-a": hsm.SoftHsm.row("hsm-a"), "sdf": hsm.SdfDevice(folder).row()}
    both = {"hsm-a": "pkcs11:id=%01", "sdf": "sdf:1"}
    return hsm.devices(rows, {"rsa": both, "p256": {"hsm-a": "pkcs11:object=p256"}, "sm2": {"sdf": "sdf:3"}})


TOKENS: dict[str, Callable[[Path, pytest.MonkeyPatch], Token]] = {
    "software, from a folder": lambda folder, monkeypatch: from_folder(),
    "software, from named files and PKCS#12": lambda folder, monkeypatch: from_named_files(),
    "devices, PKCS#11 and SDF": on_devices,
    "remote, over HTTPS with mutual TLS": lambda folder, monkeypatch: Served(folder),
}
KEYS = {"rsa-sha1": "rsa", "rsa-sha256": "rsa", "ecdsa-sha256": "p256", "sm2-sm3": "sm2"}


@pytest.fixture(params=TOKENS)
def token(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    token = TOKENS[request.param](tmp_path, monkeypatch)
    LOOP.run_until_complete(token.open())
    yield token
    LOOP.run_until_complete(token.close())


def signed(job: Job, value: Signature | Exception) -> bool:
    assert isinstance(value, Signature), value
    return certificates.signed_by(certificates.read(pki.der(job.key)), job.algorithm, value.value, job.data)


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_signature_is_the_keys_own_in_the_encoding_of_the_port(token: Token, algorithm: str) -> None:
    job = Job(KEYS[algorithm], algorithm, b"canonical SignedInfo")
    [value] = await token.sign([job])
    assert signed(job, value)
    assert isinstance(value, Signature)
    assert len(value.value) == (256 if algorithm.startswith("rsa") else 64)


async def test_the_signers_id_of_a_job_is_part_of_what_is_signed(token: Token) -> None:
    certificate = certificates.read(pki.der("sm2"))
    for sm2_id in (b"ALICE123@YAHOO.COM", SM2_ID, b"ALICE123@YAHOO.COM"):
        [value] = await token.sign([Job("sm2", "sm2-sm3", b"data", sm2_id)])
        assert isinstance(value, Signature), value
        assert certificates.signed_by(certificate, "sm2-sm3", value.value, b"data", sm2_id)
        other = SM2_ID if sm2_id != SM2_ID else b"BOB"
        assert not certificates.signed_by(certificate, "sm2-sm3", value.value, b"data", other)


def test_the_certificate_of_a_key_is_known(token: Token) -> None:
    for key in KEYS.values():
        assert token.certificate(key) == pki.der(key)


async def test_answers_come_in_the_order_of_the_jobs_whatever_their_mix(token: Token) -> None:
    jobs = [Job(key, algorithm, b"%d" % n) for n in range(8) for algorithm, key in KEYS.items()]
    values = await token.sign(jobs)
    assert len(values) == len(jobs)
    assert all(signed(job, value) for job, value in zip(jobs, values, strict=True))


async def test_a_job_that_fails_fails_alone(token: Token) -> None:
    good = Job("p256", "ecdsa-sha256", b"data")
    values = await token.sign([good, Job("nobody", "ecdsa-sha256", b"data"), Job("p256", "rsa-sha256", b"data"),
                               Job("rsa", "sm2-sm3", b"data"), Job("rsa", "rsa-md5", b"data"), good])  # fmt: skip
    assert signed(good, values[0])
    assert signed(good, values[5])
    codes = [value.code for value in values if isinstance(value, TokenError)]
    assert codes == ["SWX-5010", "SWX-5020", "SWX-5020", "SWX-5020"]


@pytest.mark.parametrize("name", ["nobody", "", ".", "..", "../p256", "/etc/hostname", "a\0b"])
def test_an_unknown_key_is_the_devices_fault_and_no_path(token: Token, name: str) -> None:
    with pytest.raises(TokenError, match="SWX-5010") as missing:
        token.certificate(name)
    assert missing.value.zh != missing.value.en


async def test_nothing_to_sign_is_no_error(token: Token) -> None:
    assert list(await token.sign([])) == []


async def test_several_batches_may_be_asked_for_at_once(token: Token) -> None:
    batches = [[Job(key, algorithm, b"%d" % n) for algorithm, key in KEYS.items()] for n in range(10)]
    for jobs, values in zip(batches, await asyncio.gather(*map(token.sign, batches)), strict=True):
        assert all(signed(job, value) for job, value in zip(jobs, values, strict=True))


async def test_the_event_loop_gets_its_turn_during_a_long_batch(token: Token) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    await token.sign([Job("sm2", "sm2-sm3", b"read the key first")])
    counting = asyncio.create_task(count())
    await token.sign([Job("sm2", "sm2-sm3", b"data")] * 40)
    counting.cancel()
    assert turns >= 10


async def test_a_closed_token_has_let_go(token: Token) -> None:
    await token.sign([Job("p256", "ecdsa-sha256", b"data")])
    await token.close()
    await token.close()


# -- keys of the register ----------------------------------------------------------------------------------------

PLACES = {"hsm-a": "pkcs11:id=%01", "sdf": "sdf:1", "file": "rsa.key"}  # where the same RSA key is


def registered(token: Token, state: str, number: int = 1, key: str = "rsa") -> KeyVersion:
    places = {device: place for device, place in PLACES.items() if (device == "file") is isinstance(token, Software)}
    if isinstance(token, Software):  # which may have no folder
        places = {"file": str(pki.shared() / "rsa.key")}
    if isinstance(token, Remote):  # there, it is called otherwise
        places = {"remote": "rsa"}
    return KeyVersion("shop", number, "rsa", pki.der(key), places, 0, 1 << 60, state)


@pytest.mark.parametrize("state", ["active", "retiring"])
async def test_a_version_of_the_register_is_learned_without_opening_anything(token: Token, state: str) -> None:
    with pytest.raises(TokenError, match="SWX-5010"):
        token.certificate("shop/1")
    token.learn([registered(token, state)])
    assert token.certificate("shop/1") == pki.der("rsa")
    [answer] = await token.sign([Job("shop/1", "rsa-sha256", b"data")])
    assert signed(Job("rsa", "rsa-sha256", b"data"), answer)
    assert not {"shop", "shop/1"} & set(token.names())


@pytest.mark.parametrize("state", ["pending", "revoked"])
async def test_what_may_not_sign_any_more_is_forgotten_at_once(token: Token, state: str) -> None:
    token.learn([registered(token, "active"), registered(token, "active", 2)])
    await token.sign([Job("shop/1", "rsa-sha256", b"data")])
    token.learn([registered(token, state)])
    gone, stays = await token.sign([Job("shop/1", "rsa-sha256", b"data"), Job("shop/2", "rsa-sha256", b"data")])
    assert isinstance(gone, TokenError)
    assert signed(Job("rsa", "rsa-sha256", b"data"), stays)


async def test_a_version_whose_certificate_is_another_keys_never_signs(token: Token) -> None:
    token.learn([registered(token, "active", key="p256")])
    [answer] = await token.sign([Job("shop/1", "ecdsa-sha256", b"data")])
    assert isinstance(answer, Exception)


def test_the_keys_of_the_settings_are_listed(token: Token) -> None:
    assert {"rsa", "p256", "sm2"} <= set(token.names())


async def test_a_key_that_nobody_registered_can_be_asked_for_by_its_place(token: Any) -> None:
    if isinstance(token, Remote):
        pytest.skip("its keys are another switch's: they are looked at there")
    for device, place in registered(token, "active").places.items():
        found = certificates.public_key(await token.public_key(device, place))
        assert certificates.same(found, certificates.read(pki.der("rsa")).key)
        assert certificates.stands(found, "rsa-sha256", await token.sign_at(device, place, "rsa-sha256", b"x"), b"x")
        with pytest.raises(Refused):
            await token.public_key(device, place.replace("1", "9").replace("rsa", "nobody"))
    with pytest.raises(NotFound):
        await token.public_key("nowhere", "sdf:1")


# -- keys in files -----------------------------------------------------------------------------------------------


def holding(folder: Path, key: str, certificate: str = "", password: str = "") -> Software:
    os.environ["PASSWORD_OF_A_TEST"] = password
    file = KeyFile(
        key=folder / key,
        certificate=folder / certificate if certificate else None,
        password=Secret(env="PASSWORD_OF_A_TEST") if password else None,
    )
    return Software(KeyFiles(keys={"it": file}))


@pytest.mark.parametrize(
    ("key", "certificate"),
    [("p256.key", "foreign.crt"), ("sm2.key", "sm2-foreign.crt"), ("sm2.key", "rsa.crt"), ("rsa.key", "sm2.crt")],
)
async def test_a_key_with_the_certificate_of_another_is_refused_and_both_files_named(
    key: str, certificate: str
) -> None:
    token = holding(pki.shared(), key, certificate)
    with pytest.raises(ConfigurationError, match=rf"{key}: .*{certificate} is another key's") as refused:
        token.certificate("it")
    [answer] = await token.sign([Job("it", "sm2-sm3", b"data")])
    assert str(answer) == str(refused.value)


@pytest.mark.parametrize(
    ("key", "certificate", "password"),
    [
        ("missing.key", "rsa.crt", ""),
        ("rsa.key", "missing.crt", ""),
        ("rsa.key", "", ""),
        ("rsa.crt", "rsa.crt", ""),
        ("rsa.key", "rsa.crt", "it has none"),
        ("rsa.p12", "", "wrong"),
        ("rsa.p12", "", ""),
        ("p384.key", "p384.crt", ""),
    ],
)
def test_files_that_can_not_be_used_are_the_administrators_fault(key: str, certificate: str, password: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        holding(pki.shared(), key, certificate, password).certificate("it")


def test_key_and_certificate_may_share_a_file(tmp_path: Path) -> None:
    for name in ("rsa", "sm2"):
        both = (pki.shared() / f"{name}.key").read_bytes() + (pki.shared() / f"{name}.crt").read_bytes()
        (tmp_path / f"{name}.pem").write_bytes(both)
        assert holding(tmp_path, f"{name}.pem").certificate("it") == pki.der(name)


def test_a_key_put_into_the_folder_later_is_found(tmp_path: Path) -> None:
    token = Software(KeyFiles(folder=tmp_path))
    with pytest.raises(TokenError):
        token.certificate("p256")
    for suffix in ("key", "crt"):
        (tmp_path / f"p256.{suffix}").write_bytes((pki.shared() / f"p256.{suffix}").read_bytes())
    assert token.certificate("p256") == pki.der("p256")


def test_a_password_is_a_reference_and_what_it_refers_to_must_be_there() -> None:
    with pytest.raises(ValidationError, match="written as a reference"):
        KeyFile(key=Path("rsa.p12"), password="literal")
    file = KeyFile(key=pki.shared() / "rsa.p12", password=Secret(file=Path("/nowhere/password")))
    with pytest.raises(ConfigurationError, match="/nowhere/password"):
        Software(KeyFiles(keys={"it": file})).certificate("it")
