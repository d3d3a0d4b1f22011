"""SignedData: strangers' programs accept ours, we accept theirs, and what is in it is what the standards say."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import gmalg
import pytest
from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder
from hypothesis import given
from hypothesis import strategies as st

from exchange.errors import BadSignature
from exchange.instants import SECOND
from exchange.ports import SM2_ID
from exchange.signing import der, formats
from exchange.signing.profiles import PROFILES
from exchange.tokens import sm2
from tests import pki
from tests.contract.test_signatures import PLAIN, code_of, signed, value_of
from tests.sealing import now, require

KEYS = {"cms-rsa-sha256": "rsa", "cms-ecdsa-sha256": "p256"}
DETACHED = ["", "-detached"]


class _Inner(core.Sequence):
    _fields: ClassVar = [
        ("type", core.ObjectIdentifier),
        ("content", core.OctetString, {"explicit": 0, "optional": True}),
    ]


class _Data(core.Sequence):
    _fields: ClassVar = [
        ("version", cms.CMSVersion),
        ("digests", cms.DigestAlgorithms),
        ("inner", _Inner),
        ("certificates", cms.CertificateSet, {"implicit": 0}),
        ("signers", cms.SignerInfos),
    ]


class _Info(core.Sequence):
    """A ContentInfo of GM/T 0010, whose identifiers asn1crypto doesn't know."""

    _fields: ClassVar = [("type", core.ObjectIdentifier), ("content", _Data, {"explicit": 0})]


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    require("openssl")
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True)


# -- CMS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", DETACHED)
@pytest.mark.parametrize("name", KEYS)
def test_openssl_accepts_what_we_sign(name: str, detached: str, tmp_path: Path) -> None:
    file, content, out = tmp_path / "a.p7", tmp_path / "a.edi", tmp_path / "out"
    file.write_bytes(signed(PROFILES[name + detached]))
    content.write_bytes(PLAIN)
    beside = ["-content", content] if detached else []
    command = ["cms", "-verify", "-binary", "-inform", "DER", "-in", file, *beside, "-out", out]
    trust = ["-CAfile", pki.shared() / "ca.crt", "-purpose", "any"]
    told = openssl(*command, *trust)
    assert told.returncode == 0, told.stderr
    assert out.read_bytes() == PLAIN
    assert openssl(*command, *trust, "-cades").returncode == 0, "the signer's certificate is signed too (RFC 5035)"
    if detached:
        content.write_bytes(PLAIN + b"!")
        assert openssl(*command, *trust).returncode != 0


@pytest.mark.parametrize("more", [[], ["-cades"], ["-nocerts"], ["-nosmimecap"]], ids=" ".join)
@pytest.mark.parametrize("detached", DETACHED)
@pytest.mark.parametrize("name", KEYS)
def test_we_accept_what_openssl_signs(name: str, detached: str, more: list[str], tmp_path: Path) -> None:
    content, folder, key = tmp_path / "a.edi", pki.shared(), KEYS[name]
    content.write_bytes(PLAIN)
    attached = [] if detached else ["-nodetach"]
    told = openssl(
        "cms", "-sign", "-binary", "-md", "sha256", "-outform", "DER", *attached, *more, "-in", content,
        "-signer", folder / f"{key}.crt", "-inkey", folder / f"{key}.key",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    found = formats.verify(
        told.stdout, profiles=PROFILES.all, certificates=[pki.der(key)], at=now(), content=PLAIN if detached else None
    )
    assert (found.profile.name, found.signed) == (name + detached, PLAIN)
    assert code_of(PROFILES[name + detached], told.stdout, "foreign") == "SWX-1034"


@pytest.mark.parametrize("detached", DETACHED)
@pytest.mark.parametrize("name", KEYS)
def test_we_accept_what_cryptography_signs(name: str, detached: str) -> None:
    folder, key = pki.shared(), KEYS[name]
    certificate = x509.load_pem_x509_certificate((folder / f"{key}.crt").read_bytes())
    secret = load_pem_private_key((folder / f"{key}.key").read_bytes(), None)
    builder = PKCS7SignatureBuilder().set_data(PLAIN).add_signer(certificate, secret, SHA256())  # type: ignore[arg-type]
    options = [PKCS7Options.Binary, *([PKCS7Options.DetachedSignature] if detached else [])]
    made = builder.sign(Encoding.DER, options)
    found = formats.verify(
        made, profiles=PROFILES.all, certificates=[pki.der(key)], at=now(), content=PLAIN if detached else None
    )
    assert (found.profile.name, found.signed) == (name + detached, PLAIN)


@pytest.mark.parametrize("name", KEYS)
def test_the_attributes_are_those_of_the_standards(name: str) -> None:
    profile = PROFILES[name]
    at = 1_795_320_000 * SECOND
    prepared = formats.prepare(PLAIN, profile, pki.der(KEYS[name]), at=at)
    made = formats.assemble(PLAIN, prepared, value_of(prepared.job(KEYS[name])))
    whole = cms.ContentInfo.load(made, strict=True)
    assert whole.dump(force=True) == made, "it is DER already"
    [signer] = whole["content"]["signer_infos"]
    said = {one["type"].native: one["values"].native for one in signer["signed_attrs"]}
    assert said["content_type"] == ["data"]
    assert said["message_digest"] == [hashlib.sha256(PLAIN).digest()]
    assert said["signing_time"] == [datetime.fromtimestamp(at // SECOND, UTC)]
    [attested] = said[tsp.CMSAttributeType.map("1.2.840.113549.1.9.16.2.47")]
    assert attested["certs"][0]["cert_hash"] == hashlib.sha256(pki.der(KEYS[name])).digest()
    assert signer["signature_algorithm"]["algorithm"].native in ("rsassa_pkcs1v15", "sha256_ecdsa")
    assert prepared.job("").data == b"1" + signer["signed_attrs"].dump()[1:], "as a SET (RFC 5652, 5.4)"


def test_a_time_behind_2049_has_its_century() -> None:
    prepared = formats.prepare(PLAIN, PROFILES["cms-rsa-sha256"], pki.der("rsa"), at=2_524_608_000 * SECOND)
    assert der.tlv(der.TIME, b"20500101000000Z") in prepared.job("").data


def test_a_signature_without_signed_attributes_is_refused(tmp_path: Path) -> None:
    content, folder = tmp_path / "a.edi", pki.shared()
    content.write_bytes(PLAIN)
    told = openssl(
        "cms", "-sign", "-binary", "-noattr", "-outform", "DER", "-nodetach", "-in", content,
        "-signer", folder / "rsa.crt", "-inkey", folder / "rsa.key",
    )  # fmt: skip
    assert code_of(PROFILES["cms-rsa-sha256"], told.stdout) == "SWX-1036"


def test_a_digest_that_is_not_the_profiles_is_refused(tmp_path: Path) -> None:
    content, folder = tmp_path / "a.edi", pki.shared()
    content.write_bytes(PLAIN)
    told = openssl(
        "cms", "-sign", "-binary", "-md", "sha1", "-outform", "DER", "-nodetach", "-in", content,
        "-signer", folder / "rsa.crt", "-inkey", folder / "rsa.key",
    )  # fmt: skip
    assert code_of(PROFILES["cms-rsa-sha256"], told.stdout) == "SWX-1037"


def test_two_signers_are_one_too_many(tmp_path: Path) -> None:
    content, folder = tmp_path / "a.edi", pki.shared()
    content.write_bytes(PLAIN)
    signers = [
        part for key in ("rsa", "p256") for part in ("-signer", folder / f"{key}.crt", "-inkey", folder / f"{key}.key")
    ]
    told = openssl("cms", "-sign", "-binary", "-outform", "DER", "-nodetach", "-in", content, *signers)
    assert code_of(PROFILES["cms-rsa-sha256"], told.stdout) == "SWX-1036"


# -- GM/T 0010 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detached", DETACHED)
def test_a_stranger_finds_an_sm2_signature_over_the_attributes(detached: str) -> None:
    whole = _Info.load(signed(PROFILES["gmt0010-sm2" + detached]), strict=True)
    assert whole["type"].native == "1.2.156.10197.6.1.4.2.2"
    data = whole["content"]
    assert data["inner"]["type"].native == "1.2.156.10197.6.1.4.2.1"
    assert [one["algorithm"].native for one in data["digests"]] == ["1.2.156.10197.1.401"]
    [signer] = data["signers"]
    assert signer["digest_algorithm"]["algorithm"].native == "1.2.156.10197.1.401"
    assert signer["signature_algorithm"]["algorithm"].native == "1.2.156.10197.1.501"
    attributes = bytes([0x31]) + signer["signed_attrs"].dump()[1:]
    said = {one["type"].native: one["values"][0].native for one in signer["signed_attrs"]}
    assert said["message_digest"] == sm2.sm3(PLAIN)
    value = core.SequenceOf.load(signer["signature"].native, spec=core.Integer)
    r, s = (int(one).to_bytes(32, "big") for one in value)
    [certificate] = data["certificates"]
    point = certificate.chosen["tbs_certificate"]["subject_public_key_info"]["public_key"].native
    assert gmalg.SM2(pk=point, uid=SM2_ID).verify(attributes, r, s)
    content = data["inner"]["content"].native
    assert content == (None if detached else PLAIN)


# -- DER ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dotted", ["1.2.840.113549.1.1.1", "2.16.840.1.101.3.4.2.1", "1.2.156.10197.1.501", "2.999.0"])
def test_object_identifiers_are_written_as_others_write_them(dotted: str) -> None:
    assert der.oid(dotted) == core.ObjectIdentifier(dotted).dump()


@given(st.integers(0, 1 << 200))
def test_numbers_are_written_as_others_write_them(number: int) -> None:
    assert der.integer(number) == core.Integer(number).dump()


@given(st.lists(st.binary(max_size=70), max_size=5))
def test_what_is_written_is_read_again(parts: list[bytes]) -> None:
    node = der.parse(der.tlv(der.SEQUENCE, *(der.tlv(der.OCTETS, part) for part in parts)))
    assert [one.body for one in node.children()] == parts


@pytest.mark.parametrize(
    "text", ["", "30", "3001", "300100ff", "308100", "30800000", "3f810000", "30820001ff", "3085000000000100", "3084"]
)
def test_what_is_not_der_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=" "):
        der.parse(bytes.fromhex(text))


@given(st.binary(max_size=60))
def test_certificates_and_garbage_never_break_the_reader(garbage: bytes) -> None:
    with pytest.raises(BadSignature):
        formats.FORMATS["cms"].verify(garbage, profiles=PROFILES.all, certificates=[], at=0)
