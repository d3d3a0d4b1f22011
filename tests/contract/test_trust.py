"""Trust against the openssl program: both find the same chains, and both refuse whatever was changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.errors import BadSignature, ConfigurationError
from exchange.signing import certificates, revocation
from exchange.signing.trust import Authority, Pool, Terms, subject
from tests import chains
from tests.sealing import now, require

SM2_ID = ("-vfyopt", "distid:1234567812345678")
SUBJECT = subject(f"CN={chains.SIGNER},C=CN")
PART = ("-partial_chain",)
MORE = {"rsa": PART, "p256": PART, "sm2": (*PART, *SM2_ID)}  # the program takes the id for nothing else
pytestmark = pytest.mark.slow


def openssl_verifies(folder: Path, der: bytes, *authorities: bytes, more: tuple[str, ...] = ()) -> bool:
    """Tell whether the program finds a chain of a certificate, which may be no certificate at all."""
    (folder / "one.der").write_bytes(der)
    (folder / "known.pem").write_bytes(
        b"".join(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in authorities)
    )
    command = [require("openssl"), "verify", *more, "-CAfile", folder / "known.pem"]
    return subprocess.run([*command, folder / "one.der"], capture_output=True, check=False).returncode == 0


def we_verify(der: bytes, *authorities: bytes) -> bool:
    """Tell whether we do, the certificate's own time included."""
    try:
        Authority("tests", Pool(authorities)).check(der, now())
        return certificates.read(der).stands(now())
    except (BadSignature, ConfigurationError):
        return False


@pytest.mark.parametrize("world", chains.WORLDS)
def test_both_find_the_same_chains(world: str, tmp_path: Path) -> None:
    root, middle = chains.der(world, "root"), chains.der(world, "middle")
    for name in ("leaf", "revoked"):
        assert we_verify(chains.der(world, name), root, middle)
        assert openssl_verifies(tmp_path, chains.der(world, name), middle, more=MORE[world]), (
            "the program knows the SM2 id of one link"
        )
    assert openssl_verifies(tmp_path, middle, root, more=MORE[world])
    for other in {*chains.WORLDS} - {world}:
        assert not openssl_verifies(tmp_path, chains.der(other, "leaf"), middle, more=MORE[other])


@pytest.mark.filterwarnings("ignore:.*serial number:Warning")  # below zero: cryptography will refuse it one day
@pytest.mark.parametrize("world", chains.WORLDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_certificate_is_refused_by_both(world: str, data: st.DataObject, tmp_path: Path) -> None:
    changed = bytearray(chains.der(world, "leaf"))
    bit = data.draw(st.integers(0, len(changed) * 8 - 1))
    changed[bit // 8] ^= 1 << bit % 8
    root, middle = chains.der(world, "root"), chains.der(world, "middle")
    assert not we_verify(bytes(changed), root, middle)
    assert Terms([], [SUBJECT]).registers(bytes(changed)) in (True, False), "whatever is wrong with it"
    assert not openssl_verifies(tmp_path, bytes(changed), middle, more=MORE[world])


@pytest.mark.filterwarnings("ignore:.*serial number:Warning")
@pytest.mark.parametrize("world", chains.WORLDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_list_is_refused(world: str, data: st.DataObject) -> None:
    changed = bytearray(chains.crl(world, "second"))
    bit = data.draw(st.integers(0, len(changed) * 8 - 1))
    changed[bit // 8] ^= 1 << bit % 8
    known = Authority("tests", Pool([chains.der(world, "root"), chains.der(world, "middle")]))
    with pytest.raises(ConfigurationError, match=r"SWX-410[123]"):
        [known.with_list(one, now()) for one in revocation.from_file(bytes(changed))]


def test_both_refuse_the_revoked_and_those_whose_list_is_missing(tmp_path: Path) -> None:
    for world in ("p256", "rsa"):  # the program can't be told the SM2 id for lists
        folder, root, middle = chains.shared() / world, chains.der(world, "root"), chains.der(world, "middle")
        more = ("-crl_check_all", "-CRLfile", str(folder / "second.crl"), "-CRLfile", str(folder / "root.crl"))
        known = Authority("tests", Pool([root, middle]), require_crl=True)
        with pytest.raises(BadSignature, match="SWX-1105"):
            known.check(chains.der(world, "leaf"), now())
        assert not openssl_verifies(tmp_path, chains.der(world, "leaf"), root, middle, more=more[:1])
        for name in ("second", "root"):
            known = known.with_list(revocation.from_file(chains.crl(world, name))[0], now())
        assert known.check(chains.der(world, "leaf"), now()) == []
        assert openssl_verifies(tmp_path, chains.der(world, "leaf"), root, middle, more=more)
        with pytest.raises(BadSignature, match="SWX-1100"):
            known.check(chains.der(world, "revoked"), now())
        assert not openssl_verifies(tmp_path, chains.der(world, "revoked"), root, middle, more=more)


def test_the_signature_of_an_sm2_list_verifies_with_the_program_too(tmp_path: Path) -> None:
    (one,) = revocation.from_file(chains.crl("sm2", "second"))
    (tmp_path / "signed").write_bytes(one.signed.inner)
    (tmp_path / "value").write_bytes(one.signed.value)
    key = subprocess.run(["openssl", "x509", "-in", chains.shared() / "sm2" / "middle.crt", "-noout", "-pubkey"],
                         check=True, capture_output=True).stdout  # fmt: skip
    (tmp_path / "key").write_bytes(key)
    command = "openssl pkeyutl -verify -pubin -inkey key -in signed -sigfile value -rawin -digest sm3 -pkeyopt"
    subprocess.run([*command.split(), SM2_ID[1]], cwd=tmp_path, check=True, capture_output=True)
