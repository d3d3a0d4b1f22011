"""Whatever comes can be sealed by a profile that needs no XML: around the file, or beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from asn1crypto import cms

from exchange import catalogue, routesfile
from exchange.catalogue import SCHEMAS
from exchange.commands import _rehearsal
from exchange.commands._offline import Routes
from exchange.errors import ConfigurationError, Transient
from exchange.model import Decision, Planned
from exchange.signing import formats
from exchange.signing.profiles import PROFILES
from tests import pki
from tests.daemon import Clock, inventory, running, switchd_yaml
from tests.sealing import now

GATE = (SCHEMAS / "smdg/containers/samples/valid/CODECO.edi").read_bytes()
ROUTES = """
parties:
  - code: DEPOT
    role: platform
    ids: [TESTTERM, DXPENT0000000001]
    endpoints: [{name: depot-box, kind: memory}]
  - code: LINE
    role: enterprise
    endpoints: [{name: line-box, kind: memory, retry: {first: 1}}]
routes:
  - {name: all, to: [line-box], sign: PROFILE, key: KEY}
"""
KEYS = {"rsa-sha1": "rsa", "rsa-sha256": "rsa", "ecdsa-sha256": "p256", "sm2-sm3": "sm2"}
BESIDE = [one.id for one in PROFILES.all if one.detached]
AROUND = [one.id for one in PROFILES.all if not one.detached and not one.enveloped]


def routes(profile: str, key: str = "") -> str:
    return ROUTES.replace("PROFILE", profile).replace("KEY", key or KEYS[PROFILES[profile].algorithm])


def verified(name: str, signature: bytes, content: bytes | None) -> bytes:
    profile = PROFILES[name]
    certificates = [pki.der(KEYS[profile.algorithm])]
    found = formats.verify(signature, profiles=[profile], certificates=certificates, at=now(), content=content)
    return found.signed


@pytest.mark.parametrize("profile", BESIDE)
async def test_a_detached_signature_goes_first_and_then_the_file_as_it_came(profile: str, tmp_path: Path) -> None:
    async with running(tmp_path, routes(profile)) as house:
        id = await house.give("depot-box", GATE, "gate.edi")
        await house.settle()
        assert house.names("line-box") == [f"gate.edi{PROFILES[profile].suffix}", "gate.edi"]
        signature, file = house.sent("line-box")
        assert file.read() == GATE
        assert verified(profile, signature.read(), GATE) == GATE
        assert [parcel.headers["disposition"] for parcel in (signature, file)] == ["signature", "message"]
        assert (await house.life(id))["state"] == "COMPLETED"


@pytest.mark.parametrize("profile", AROUND)
async def test_an_attached_signature_holds_the_file_as_it_came(profile: str, tmp_path: Path) -> None:
    async with running(tmp_path, routes(profile)) as house:
        await house.give("depot-box", GATE, "gate.edi")
        await house.settle()
        assert house.names("line-box") == ["gate.edi.p7m"]
        assert verified(profile, house.sent("line-box")[0].read(), None) == GATE


async def test_the_file_waits_until_its_signature_is_there(tmp_path: Path) -> None:
    far = {"line-box": Transient("not yet", "稍后")}
    async with running(tmp_path, routes("cms-rsa-sha256-detached"), far=far) as house:
        id = await house.give("depot-box", GATE, "gate.edi")
        await house.decided()
        await house.until_logged("delivery.deferred")
        states = [one["attempts"] for one in (await house.life(id))["deliveries"]]
        assert states == [1, 0]
        far.clear()
        await house.pass_time(5)
        await house.settle()
        assert house.names("line-box") == ["gate.edi.p7s", "gate.edi"]


async def test_what_xml_has_signed_itself_can_be_sealed_around(tmp_path: Path) -> None:
    async with running(tmp_path, routes("ceb-sm2")) as house:
        await house.give("depot-box", inventory(1), "a.xml")
        await house.settle()
        (signed,) = [parcel.read() for parcel in house.sent("line-box")]
    async with running(tmp_path / "again", routes("gmt0010-sm2")) as house:
        await house.give("depot-box", signed, "a.xml")
        await house.settle()
        assert house.names("line-box") == ["a.xml.p7m"]
        assert verified("gmt0010-sm2", house.sent("line-box")[0].read(), None) == signed


async def test_a_signature_around_does_not_replace_the_one_that_the_type_requires(tmp_path: Path) -> None:
    async with running(tmp_path, routes("gmt0010-sm2")) as house:
        id = await house.give("depot-box", inventory(1), "a.xml")
        await house.settle()
        assert (await house.life(id))["state"] == "REJECTED"


async def test_a_route_may_ask_for_a_version_and_for_a_profile_of_the_site(tmp_path: Path) -> None:
    more = """profiles:
  - {name: file-p7s, version: 1, format: cms, algorithm: rsa-sha256, detached: true}
  - {name: file-p7s, version: 2, format: cms, algorithm: rsa-sha256, detached: true, method: 1.2.840.113549.1.1.11}
"""
    for asked, method in (("file-p7s", "sha256_rsa"), ("file-p7s@1", "rsassa_pkcs1v15"), ("file-p7s@2", "sha256_rsa")):
        home = tmp_path / asked
        async with running(home, routes(asked, "rsa"), switchd_yaml(more=more)) as house:
            await house.give("depot-box", GATE, "gate.edi")
            await house.settle()
            signature = house.sent("line-box")[0].read()
            assert _method(signature) == method


def _method(signature: bytes) -> str:
    [signer] = cms.ContentInfo.load(signature)["content"]["signer_infos"]
    return str(signer["signature_algorithm"]["algorithm"].native)


def test_no_step_may_change_what_was_signed() -> None:
    step = "steps:\n  - {name: bare, kind: unwrap, version: '1'}\n"
    text = step + routes("cms-rsa-sha256-detached").replace("key: rsa", "key: rsa, steps: [bare]")
    with pytest.raises(ConfigurationError, match="none may change what 'cms-rsa-sha256-detached' has signed"):
        routesfile.load(text, Path())


def test_a_profile_or_version_that_is_not_there_is_a_mistake() -> None:
    for name, meant in (("ceb-sm3", "ceb-sm2"), ("ceb-sm2@7", "ceb-sm2@1")):
        with pytest.raises(ConfigurationError, match=f"unknown signature profile '{name}', did you mean '{meant}'"):
            routesfile.load(routes("ceb-sm2").replace("sign: ceb-sm2", f"sign: {name}"), Path())


def test_a_rehearsal_tells_of_the_file_and_how_it_is_signed() -> None:
    planned = Planned("line-box", "LINE", sign="a", key="k", disposition="signature"), Planned("line-box", "LINE")
    told = _rehearsal.outcome_of(Decision("accept", planned))
    assert (told["to"], told["sign"], told["key"]) == (["line-box"], "a", "k")


@pytest.mark.parametrize(("profile", "name"), [("raw-sm2", "gate.edi"), ("gmt0010-sm2", "gate.edi.p7m")])
def test_what_goes_out_can_be_looked_at_unsealed(profile: str, name: str) -> None:
    table, tests = routesfile.load(routes(profile), Path())
    known = Routes(Path(), "", catalogue.load(SCHEMAS), table, tests)
    (made,) = _rehearsal.transform(known, "gate.edi", GATE, "DEPOT", "all")
    assert (made["name"], made["body"]) == (name, GATE)


@pytest.mark.parametrize("profile", [one.name for one in PROFILES.all])
async def test_every_profile_can_be_tried_and_the_log_names_its_version(profile: str, tmp_path: Path) -> None:
    clock = Clock(now())  # the certificates of SM2 are valid from now on
    async with running(tmp_path, routes("raw-sm2"), clock=clock) as house:
        told = await house.ask("sign.test", profile=profile, key=KEYS[PROFILES[profile].algorithm])
        assert told["stands"] is True, told
        (row,) = await house.ask("sign.log")
        assert row["profile"] == f"{profile}@1"
