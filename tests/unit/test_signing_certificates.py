"""Certificates: what is read of them, RSA, P-256 and SM2 alike."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree

from exchange.errors import ConfigurationError
from exchange.instants import SECOND
from exchange.signing import certificates
from exchange.tokens import sm2
from tests import pki
from tests.sealing import DS, now

DAY = 86_400 * SECOND


@pytest.mark.parametrize(
    ("name", "serial", "kind", "algorithm"),
    [
        ("rsa", "01691fe9", rsa.RSAPublicKey, "rsa-sha256"),
        ("p256", "03000000000cde6f", ec.EllipticCurvePublicKey, "ecdsa-sha256"),
        ("sm2", "03000000000cde70", sm2.PublicKey, "sm2-sm3"),
    ],
)
def test_subject_serial_validity_and_key_are_read(name: str, serial: str, kind: type, algorithm: str) -> None:
    found = certificates.read(pki.der(name))
    assert found.subject == f"CN={pki.ENTERPRISE},C=CN"
    assert found.serial == serial
    assert found.not_before <= now() <= found.not_after
    assert found.not_after - found.not_before > 3000 * DAY
    assert isinstance(found.key, kind)
    assert certificates.fits(found, algorithm)
    assert [other for other in certificates.ALGORITHMS if certificates.fits(found, other)] == [
        other for other in certificates.ALGORITHMS if other.split("-")[0] == algorithm.split("-")[0]
    ]


def test_a_certificate_stands_from_its_first_to_its_last_second() -> None:
    found = certificates.read(pki.der("expired"))
    assert found.stands(found.not_before)
    assert found.stands(found.not_after)
    assert not found.stands(found.not_before - 1)
    assert not found.stands(found.not_after + 1)
    assert not found.stands(now())


def test_a_file_may_hold_one_certificate_in_der_or_several_in_pem() -> None:
    folder = pki.shared()
    both = (folder / "rsa.crt").read_bytes() + (folder / "sm2.crt").read_bytes()
    assert certificates.from_file(both) == (pki.der("rsa"), pki.der("sm2"))
    assert certificates.from_file(pki.der("sm2")) == (pki.der("sm2"),)


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n", pki.PASSWORD.encode()]
)
def test_what_is_no_certificate_is_the_administrators_fault(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match="SWX-4060"):
        certificates.from_file(content)
    with pytest.raises(ConfigurationError, match="SWX-4060"):
        certificates.read(content)


def test_a_key_on_a_curve_that_no_profile_uses_signs_nothing() -> None:
    odd = certificates.read(pki.der("p384"))
    assert not certificates.signed_by(odd, "ecdsa-sha256", bytes(64), b"data")


def test_certificates_of_the_field_can_be_read(official_samples: Path) -> None:
    texts = {
        text
        for file in official_samples.glob("*.xml")
        if (text := etree.parse(file).getroot().findtext(f".//{DS}X509Certificate"))
    }
    assert texts
    for text in texts:
        assert certificates.read(base64.b64decode(text)).serial
