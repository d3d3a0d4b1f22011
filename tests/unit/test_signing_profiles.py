"""Profiles as configuration: names and versions, what a site may add, and every mistake at once with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from lxml import etree

from docs._profiles import SAMPLE
from exchange import settings
from exchange.errors import BadSignature, ConfigurationError
from exchange.signing import formats, xmldsig
from exchange.signing.profiles import PROFILES, Profile, Profiles
from tests import pki
from tests.contract.test_signatures import value_of
from tests.sealing import DS, edited, now, part

MISTAKES = """\
profiles:
  - {name: ceb-sm2, version: 2, format: raw, algorithm: sm2-sm3}
  - {name: ours, version: 1, format: xmldsig-enveloped, algorithm: rsa-sha256, digest: sha256, detached: true}
  - {name: ours, version: 1, format: cms, algorithm: rsa-sha1, digest: sha1, method: sha1, key_name: none}
  - {name: plain, version: 1, format: raw, algorithm: rsa-sha256, sm2_id: ALICE, encoding: der}
  - {name: file, version: 1, format: gmt0010, algorithm: ecdsa-sha256, sm2_id: ALICE}
  - name: dialect
    version: 1
    format: xmldsig-enveloped
    algorithm: sm2-sm3
    digest: sm3
    method: "urn:<a>"
    digest_method: digest
"""


def load(folder: Path, text: str) -> settings.Installation:
    (folder / "switchd.yaml").write_text(text, "utf-8")
    return settings.load(folder / "switchd.yaml")


def test_every_mistake_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, MISTAKES)
    assert [problem.removeprefix("switchd.yaml:") for problem in raised.value.problems] == [
        "2:6: profiles[0].name: 'ceb-sm2' comes with the switch: give yours a name of its own",
        "3:5: profiles[1].digest_method: xmldsig-enveloped needs it",
        "3:5: profiles[1].method: xmldsig-enveloped needs it",
        "3:96: profiles[1].detached: xmldsig-enveloped has no use for it",
        "4:18: profiles[2].version: ours@1 stands here twice",
        "4:43: profiles[2].algorithm: cms takes rsa-sha256 or ecdsa-sha256",
        "4:64: profiles[2].digest: cms has no use for it",
        "4:78: profiles[2].method: 'sha1' isn't an object identifier, such as 1.2.156.10197.1.501",
        "4:92: profiles[2].key_name: cms has no use for it",
        "5:67: profiles[3].sm2_id: rsa-sha256 has no use for it",
        "5:82: profiles[3].encoding: rsa-sha256 has no use for it",
        "6:47: profiles[4].algorithm: gmt0010 takes sm2-sm3",
        "6:72: profiles[4].sm2_id: ecdsa-sha256 has no use for it",
        "12:5: profiles[5].method: 'urn:<a>' isn't a URI",
        "13:5: profiles[5].digest_method: 'digest' isn't a URI",
    ]


def test_what_is_wrong_in_itself_is_told_with_its_place(tmp_path: Path) -> None:
    text = "profiles:\n  - {name: a@1, version: 0, format: pdf, algoritm: rsa-sha256}\n"
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, text)
    places = [problem.split(": ")[1] for problem in raised.value.problems]
    assert {place.removeprefix("profiles[0]") for place in places} >= {".name", ".version", ".format"}
    assert any("did you mean 'algorithm'?" in problem for problem in raised.value.problems)


def test_a_sites_profile_says_only_what_its_format_leaves_open(tmp_path: Path) -> None:
    row = "{name: file-p7s, version: 3, format: gmt0010, algorithm: sm2-sm3, detached: true, sm2_id: 单一窗口}"
    found = load(tmp_path, f"profiles: [{row}]\n").profiles["file-p7s"]
    built_in = PROFILES["gmt0010-sm2-detached"]
    assert found == evolve(built_in, name="file-p7s", version=3, sm2_id="单一窗口".encode())
    assert (found.id, found.suffix) == ("file-p7s@3", ".p7s")


def test_the_sample_in_the_documentation_is_right(tmp_path: Path) -> None:
    known = load(tmp_path, SAMPLE).profiles
    assert [one.id for one in known.all[len(PROFILES.all) :]] == ["file-p7s@1", "gmt0010-sm2-key@1", "port-sm2@2"]


def test_a_name_means_its_newest_version_wherever_that_stands() -> None:
    one = PROFILES["raw-sm2"]
    known = Profiles([evolve(one, name="a", version=10), evolve(one, name="a", version=9)])
    assert (known["a"].version, known["a@9"].version, len(known.all)) == (10, 9, 2)
    assert known.accepted(()) == known.all
    assert [profile.id for profile in known.accepted(("a@9", "a"))] == ["a@9", "a@10"]


def test_an_unknown_name_suggests_what_may_have_been_meant() -> None:
    with pytest.raises(ConfigurationError, match="'ceb-rsa', did you mean ceb-rsa-sha1"):
        PROFILES.named("ceb-rsa")
    with pytest.raises(ConfigurationError, match="known: ceb-sm2@1, "):
        PROFILES.named("§")


def test_what_is_published_of_the_built_in_profiles_does_not_change() -> None:
    """A change is a new version: signatures and logs name the old one."""
    w3c, china = "http://www.w3.org/2000/09/xmldsig#", "http://www.chinaport.gov.cn/2022/04/xmldsig#"
    found = {
        one.id: (one.algorithm, one.method, one.hash, one.digest_method, one.encoding, one.sm2_id, one.key_name)
        for one in PROFILES.all
        if one.algorithm in ("sm2-sm3", "rsa-sha1") and one.format != "raw"
    }
    customary = b"1234567812345678", "serial"
    assert found == {
        "ceb-sm2@1": ("sm2-sm3", w3c + "sm2-sm3", "sha1", w3c + "sha1", "raw", *customary),
        "ceb-rsa-sha1@1": ("rsa-sha1", w3c + "rsa-sha1", "sha1", w3c + "sha1", "", *customary),
        "chinaport-2022-sm2@1": ("sm2-sm3", china + "sm2-sm3", "sm3", china + "sm3", "raw", *customary),
        "gmt0010-sm2@1": ("sm2-sm3", "1.2.156.10197.1.501", "sm3", "1.2.156.10197.1.401", "der", *customary),
        "gmt0010-sm2-detached@1": ("sm2-sm3", "1.2.156.10197.1.501", "sm3", "1.2.156.10197.1.401", "der", *customary),
    }


# -- what a profile of a site changes in XML ---------------------------------------------------------------------

SERIAL = "03000000000cde70"
CHINESE = '<?xml version="1.0" encoding="GB18030"?><报文><编号>1</编号></报文>'.encode("gb18030")


def sealed_by(profile: Profile, document: bytes = CHINESE) -> bytes:
    prepared = formats.prepare(document, profile, pki.der("sm2"), at=now())
    return formats.assemble(document, prepared, value_of(prepared.job("sm2")))


def verified_by(profile: Profile, document: bytes, *keys: str) -> str:
    certificates = [pki.der(key) for key in keys or ("rsa", "sm2")]
    return formats.verify(document, profiles=[profile], certificates=certificates, at=now()).signer.serial


@pytest.mark.parametrize(
    ("rule", "names"), [("serial", [SERIAL]), ("subject", [f"CN={pki.ENTERPRISE},C=CN"]), ("none", [])]
)
def test_the_key_name_is_what_the_profile_says_in_any_charset(rule: str, names: list[str]) -> None:
    profile = evolve(PROFILES["ceb-sm2"], name="site", key_name=rule)
    document = sealed_by(profile)
    assert [node.text for node in etree.fromstring(document).iter(f"{DS}KeyName")] == names
    assert verified_by(profile, document) == SERIAL
    if names:  # it may be all that there is
        bare = edited(document, lambda root: part(root, "KeyInfo").remove(part(root, "X509Data")))
        assert verified_by(profile, bare) == SERIAL
        with pytest.raises(BadSignature, match="SWX-1034"):
            verified_by(profile, bare, "rsa" if rule == "serial" else "foreign")


def test_values_are_written_as_the_profile_says_and_both_spellings_of_sm2_are_read() -> None:
    der = evolve(PROFILES["ceb-sm2"], name="site", encoding="der")
    assert b">ME" in sealed_by(der), "a SEQUENCE of 68 to 72 bytes, in base64"
    assert verified_by(der, sealed_by(der)) == verified_by(PROFILES["ceb-sm2"], sealed_by(der))
    with pytest.raises(BadSignature, match="SWX-1033"):
        verified_by(der, sealed_by(PROFILES["ceb-sm2"]))


def test_a_profile_of_another_format_never_stands_for_xml() -> None:
    with pytest.raises(BadSignature, match="SWX-1037"):
        xmldsig.verify(
            sealed_by(PROFILES["ceb-sm2"]).replace(PROFILES["ceb-sm2"].method.encode(), b""),
            profiles=PROFILES.all, certificates=[pki.der("sm2")], at=now(),
        )  # fmt: skip
