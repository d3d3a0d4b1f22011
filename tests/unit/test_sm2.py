"""SM2 by libcrypto: the standard's example, strangers' implementations, threads, memory, and a library without it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import MagicMock

import gmalg
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import TokenError
from exchange.tokens import pkcs11, sm2
from exchange.tokens.device import REQUEST, DeviceFault
from tests import pki
from tests.sealing import MESSAGE, code_of, require, sealed, verified

# GB/T 32918.5-2017, A.2
D = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
POINT = bytes.fromhex(
    "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
R = bytes.fromhex("f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3")
S = bytes.fromhex("b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa")
SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200") + POINT
OTHER_ID = b"ALICE123@YAHOO.COM"


def private_key() -> sm2.PrivateKey:
    return sm2.PrivateKey.from_pem((pki.shared() / "sm2.key").read_bytes())


def public_key() -> sm2.PublicKey:
    return sm2.PublicKey.from_certificate(pki.der("sm2"))


def point(certificate: str) -> bytes:
    """Return the public point of an SM2 certificate, uncompressed."""
    spki = subprocess.run(
        f"openssl x509 -in {pki.shared()}/{certificate}.crt -noout -pubkey | openssl pkey -pubin -outform DER",
        shell=True, check=True, capture_output=True,
    ).stdout  # fmt: skip
    return spki[-65:]


def test_the_example_of_the_standard_verifies_and_nothing_near_it() -> None:
    key = sm2.PublicKey.from_der(SPKI)
    assert key.verify(R + S, b"message digest")
    assert key.verify(sm2.der_signature(R + S), b"message digest")
    assert not key.verify(R + S, b"message digesT")
    assert not key.verify(S + R, b"message digest")
    assert not key.verify(R + S, b"message digest", OTHER_ID)
    assert not key.verify(bytes(64), b"message digest")
    assert not key.verify(b"", b"message digest")
    assert not key.verify(R, b"message digest")


def test_what_we_sign_is_accepted_by_an_independent_implementation() -> None:
    key, stranger = private_key(), gmalg.SM2(pk=point("sm2"), uid=sm2.USER_ID)
    for n in range(20):
        value = key.sign(b"%d" % n)
        assert stranger.verify(b"%d" % n, value[:32], value[32:])
        assert not stranger.verify(b"%d!" % n, value[:32], value[32:])


def test_we_accept_what_an_independent_implementation_signs() -> None:
    stranger, key = gmalg.SM2(sk=D, pk=POINT, uid=sm2.USER_ID), sm2.PublicKey.from_der(SPKI)
    for n in range(20):
        r, s = stranger.sign(b"%d" % n)
        assert key.verify(r.rjust(32, b"\0") + s.rjust(32, b"\0"), b"%d" % n)


def test_the_signers_id_is_part_of_what_is_signed() -> None:
    value = private_key().sign(b"data", OTHER_ID)
    assert public_key().verify(value, b"data", OTHER_ID)
    assert not public_key().verify(value, b"data")
    assert gmalg.SM2(pk=point("sm2"), uid=OTHER_ID).verify(b"data", value[:32], value[32:])


def test_the_openssl_program_accepts_what_we_sign(tmp_path: Path) -> None:
    program = require("openssl")
    (tmp_path / "data").write_bytes(MESSAGE)
    (tmp_path / "value").write_bytes(sm2.der_signature(private_key().sign(MESSAGE)))
    command = [program, "pkeyutl", "-verify", "-certin", "-inkey", str(pki.shared() / "sm2.crt"), "-in", "data",
               "-sigfile", "value", "-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=30)
    (tmp_path / "data").write_bytes(MESSAGE + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize("form", ["ecparam -name SM2 -genkey", "pkcs8 -topk8 -nocrypt", "pkcs8 -topk8 -passout pass:x"])
def test_a_key_is_read_in_every_form_that_openssl_writes(form: str, tmp_path: Path) -> None:
    if form.startswith("ecparam"):
        pem = subprocess.run(["openssl", "ecparam", "-name", "SM2", "-genkey"], check=True, capture_output=True).stdout
        assert pem.startswith(b"-----BEGIN SM2 PARAMETERS") or pem.startswith(b"-----BEGIN EC PARAMETERS")
    else:
        command = ["openssl", *form.split(), "-in", str(pki.shared() / "sm2.key")]
        pem = subprocess.run(command, check=True, capture_output=True).stdout
    key = sm2.PrivateKey.from_pem(pem, b"x" if "passout" in form else b"")
    assert len(key.sign(b"data")) == 64


def test_what_is_no_sm2_key_is_refused() -> None:
    folder = pki.shared()
    for pem in (b"", b"no key", (folder / "p256.key").read_bytes(), (folder / "sm2.crt").read_bytes()):
        with pytest.raises(ValueError, match="SM2"):
            sm2.PrivateKey.from_pem(pem)
    for der in (b"", b"no certificate", pki.der("rsa"), pki.der("p256")):
        with pytest.raises(ValueError, match="SM2"):
            sm2.PublicKey.from_certificate(der)


def test_a_key_matches_its_own_certificate_only() -> None:
    assert private_key().matches(public_key())
    assert not private_key().matches(sm2.PublicKey.from_certificate(pki.der("sm2-foreign")))


INTEGERS = st.one_of(st.integers(1, 2**256 - 1), st.integers(1, 2**240), st.integers(1, 255))


@given(INTEGERS, INTEGERS)
def test_a_raw_value_has_64_bytes_however_small_its_halves_are(r: int, s: int) -> None:
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert decode_dss_signature(sm2.der_signature(raw)) == (r, s)
    assert sm2.raw_signature(sm2.der_signature(raw)) == raw


@given(st.binary(max_size=130).filter(lambda raw: len(raw) != 64))
def test_a_raw_value_of_another_length_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        sm2.der_signature(raw)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=5000))
def test_whatever_is_signed_verifies(data: bytes) -> None:
    assert public_key().verify(private_key().sign(data), data)


def test_one_key_serves_several_threads_at_once() -> None:
    private, public = private_key(), public_key()
    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(private.sign, [b"%d" % n for n in range(200)]))
        assert all(threads.map(public.verify, values, [b"%d" % n for n in range(200)]))


@pytest.mark.slow
def test_twenty_thousand_signatures_leak_nothing() -> None:
    private, public = private_key(), public_key()

    def work(rounds: int) -> None:
        for n in range(rounds):
            value = private.sign(b"data")
            if n % 10 == 0:
                assert public.verify(value, b"data")
                assert not public.verify(bytes(64), b"data")
                private_key()
                public_key()

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    work(1000)
    before = resident_bytes()
    work(20_000)
    assert resident_bytes() - before < 5_000_000


@pytest.fixture(params=["no function", "wrong answer"])
def without_sm2(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take SM2 away, as some distributions do."""
    if request.param == "no function":
        monkeypatch.setitem(sm2._PROTOTYPES, "EVP_sm3_of_nobody", (None,))
    else:
        monkeypatch.setattr(sm2, "_EXAMPLE_SIGNATURE", S + R)
    sm2._libcrypto.cache_clear()
    yield
    monkeypatch.undo()
    sm2._libcrypto.cache_clear()


@pytest.mark.usefixtures("without_sm2")
def test_without_sm2_its_profiles_are_refused_clearly_and_the_others_work() -> None:
    for use in (lambda: private_key(), lambda: public_key(), lambda: sm2.PublicKey.from_der(SPKI)):
        with pytest.raises(TokenError, match=r"SWX-5040 .*can't do SM2") as refused:
            use()
        assert "不支持 SM2" in refused.value.zh
    assert code_of(MESSAGE) == "SWX-1031"
    assert verified(sealed("ecdsa-sha256"))


def test_a_device_that_hashes_by_itself_is_not_given_another_id() -> None:
    how = pkcs11.Sm2(mechanism=0x80000001, hashes=True)
    session = pkcs11.Signing(MagicMock(), MagicMock(), how, "")
    with pytest.raises(DeviceFault, match="customary signer's id") as refused:
        session.sign("pkcs11:id=%01", "sm2-sm3", b"data", OTHER_ID)
    assert refused.value.kind == REQUEST
