"""Authorities in a running switch: lists take effect at once, stay over a restart, and what ends is told."""

from __future__ import annotations

import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import ConfigurationError
from exchange.instants import SECOND
from tests import chains
from tests.daemon import Clock, House, inventory, running, switchd_yaml
from tests.sealing import now
from tests.switchctl import run
from tests.unit.test_intake_trust import signed
from tests.verbs import refused

DAY = 86_400
ROUTES = f"""
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001]
    agreement: {{verify: require, trust: e-port, signers: ["CN={chains.SIGNER}, C=CN"]}}
    endpoints: [{{name: ent1-box, kind: memory}}]
  - code: CUSTOMS
    role: customs
    endpoints: [{{name: customs-queue, kind: memory}}]
routes:
  - {{name: inventories, match: {{type: CEB621Message}}, to: [customs-queue]}}
"""


def settings(home: Path, world: str = "p256", crl: str = "[]", more: str = "") -> str:
    """Return switchd.yaml with the authority of a world, whose files are copied to *home*."""
    shutil.copytree(chains.shared() / world, home / "ca", dirs_exist_ok=True)
    trust = f"trust:\n  e-port: {{certificates: [ca/root.crt, ca/middle.crt], crl: {crl}, {more}}}\n"
    return switchd_yaml(more=trust)


def content(world: str, name: str) -> str:
    return b64encode(chains.crl(world, name)).decode()


async def take(house: House, world: str, name: str) -> Any:
    return await house.ask("trust.import", content=content(world, name), reason="the list of today")


async def verdict(house: House, body: bytes) -> str:
    """Hand in a message; return what it was rejected for, or its state."""
    id = await house.give("ent1-box", body)
    await house.settle()
    life = await house.life(id)
    return next((line["code"] for line in life["journal"] if line["event"] == "reject"), life["state"])  # type: ignore[no-any-return]


# -- lists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", chains.WORLDS)
async def test_a_list_that_is_imported_changes_the_verdict_at_once_and_over_a_restart(
    world: str, tmp_path: Path
) -> None:
    clock, yaml, body = Clock(now()), settings(tmp_path, world), await signed(world, "revoked")
    async with running(tmp_path, ROUTES, yaml, clock) as house:
        assert await verdict(house, body) == "ACCEPTED", "nobody knows yet that its certificate is revoked"
        (row,) = await take(house, world, "second")
        assert (row["authority"], row["number"], row["revoked"], row["state"]) == ("e-port", "2", 1, "good")
        assert await verdict(house, body) == "SWX-1100"
        assert b"SWX-1100" in house.sent("ent1-box")[-1].read(), "and its sender is told"
        why = await refused(house, "trust.import", content=content(world, "first"), reason="by mistake")
        assert (why.code, "is older than the one here" in why.en) == ("SWX-4104", True)
        (taken,) = house.logged("crl.taken")
        assert (taken["actor"], taken["reason"], taken["revoked"]) == ("zhang", "the list of today", 1)
    async with running(tmp_path, ROUTES, yaml, clock) as house:
        assert await verdict(house, body) == "SWX-1100"


async def test_a_list_that_nobody_here_stands_behind_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES, settings(tmp_path), Clock(now())) as house:
        for wrong, code in (
            (content("rsa", "second"), "SWX-4103"),
            (b64encode(b"<html>").decode(), "SWX-4101"),
            ("no base64!", "SWX-7020"),
        ):
            why = await refused(house, "trust.import", content=wrong, reason="the list of today")
            assert why.code == code
        assert [row["kind"] for row in await house.ask("trust.list")] == ["root", "intermediate"]
    async with running(tmp_path, ROUTES, settings(tmp_path), Clock(now())) as house:
        assert len(await house.ask("trust.list")) == 2, "nor is anything kept"


async def test_files_are_read_anew_when_asked_and_bad_ones_change_nothing(tmp_path: Path) -> None:
    yaml, clock = settings(tmp_path, crl="[{file: ca/today.crl}]"), Clock(now())
    today = tmp_path / "ca/today.crl"
    shutil.copy(tmp_path / "ca/first.crl", today)
    async with running(tmp_path, ROUTES, yaml, clock) as house:
        shutil.copy(tmp_path / "ca/second.crl", today)
        await house.daemon.reload()
        assert [row["number"] for row in await house.ask("trust.list") if row["kind"] == "crl"] == ["2"]
        shutil.copy(tmp_path / "ca/first.crl", today)
        await house.daemon.reload()
        assert [row["number"] for row in await house.ask("trust.list") if row["kind"] == "crl"] == ["2"], "not backward"
        assert house.logged("trust.refused") == []
        today.write_text("nothing")
        await house.daemon.reload()
        (told,) = house.logged("trust.refused")
        assert told["problems"][0].startswith("switchd.yaml:7:62: trust.e-port.crl[0]: no revocation list can be read")
        assert len(await house.ask("trust.list")) == 3
    today.unlink()
    with pytest.raises(ConfigurationError, match=r"ca/today\.crl can't be read: No such file"):
        async with running(tmp_path, ROUTES, yaml, clock):
            pass


async def test_a_kept_list_whose_authority_is_gone_is_dropped_and_told(tmp_path: Path) -> None:
    clock = Clock(now())
    async with running(tmp_path, ROUTES, settings(tmp_path), clock) as house:
        await take(house, "p256", "second")
    async with running(tmp_path, ROUTES, settings(tmp_path, "rsa"), clock) as house:
        assert [line["authority"] for line in house.logged("crl.dropped")] == ["e-port"]
        assert {row["kind"] for row in await house.ask("trust.list")} == {"root", "intermediate"}


# -- mistakes ----------------------------------------------------------------------------------------------------


async def test_certificates_that_can_not_be_read_are_told_with_their_places_and_nothing_starts(tmp_path: Path) -> None:
    yaml = settings(tmp_path).replace("ca/root.crt, ca/middle.crt", "ca/none.crt, ca/first.crl")
    with pytest.raises(ConfigurationError) as why:
        async with running(tmp_path, ROUTES, yaml, Clock(now())):
            pass
    first, second = why.value.problems
    assert first.startswith("switchd.yaml:7:27: trust.e-port.certificates[0]: ")
    assert first.endswith("ca/none.crt can't be read: No such file or directory")
    assert second.startswith("switchd.yaml:7:40: trust.e-port.certificates[1]: no certificate can be read here")


async def test_an_agreement_can_only_name_an_authority_that_is_there(tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES, settings(tmp_path), Clock(now())) as house:
        for old, new, problem in (
            ("trust: e-port", "trust: [e-prot]", "routes.yaml:3:5: parties[0]: unknown authority 'e-prot' in trust, "
             "did you mean 'e-port'?"),
            ("trust: e-port, ", "", "routes.yaml:3:5: parties[0]: 'signers' needs 'trust'"),
            (f"CN={chains.SIGNER}, C=CN", "nobody", "routes.yaml:6:59: parties[0].agreement.signers[0]: "),
        ):  # fmt: skip
            why = await refused(house, "routes.publish", text=ROUTES.replace(old, new), reason="try")
            assert isinstance(why, ConfigurationError)
            assert why.problems[0].startswith(problem), why.problems
        row = {"code": "ENT9", "role": "enterprise", "agreement": {"trust": ["nobody"]}}
        why = await refused(house, "party.import", rows=[row], reason="try")
        assert "party 'ENT9': unknown authority 'nobody' in trust" in why.en


# -- what is shown -----------------------------------------------------------------------------------------------


async def test_check_tells_of_a_certificate_whether_its_chain_stands_and_why_not(tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES, settings(tmp_path), Clock(now())) as house:
        await take(house, "p256", "second")

        async def checked(world: str, name: str) -> tuple[Any, ...]:
            der = b64encode(chains.der(world, name)).decode()
            (row,) = await house.ask("trust.check", certificate=der, authority="e-port")
            return row["stands"], row["code"], len(row["chain"])

        assert await checked("p256", "leaf") == (True, "", 2)
        assert await checked("p256", "revoked") == (False, "SWX-1100", 2)
        assert await checked("rsa", "leaf") == (False, "SWX-1101", 0)
        house.clock.move(35 * DAY)
        assert await checked("p256", "leaf") == (True, "SWX-1102", 2)
        house.clock.move(6 * DAY)
        assert (await checked("p256", "leaf"))[:2] == (False, "SWX-1101"), "the authority's own time is over"
        why = await refused(house, "trust.check", certificate="", authority="nobody")
        assert why.code == "SWX-7010"


async def test_what_ends_is_told_ahead_once_for_each_threshold_and_shown(tmp_path: Path) -> None:
    clock = Clock(now())
    routes = ROUTES.replace("    agreement", "    certificates: [ca/leaf.crt]\n    agreement")
    async with running(tmp_path, routes, settings(tmp_path), clock) as house:
        await take(house, "p256", "second")

        async def told_after(days: float) -> list[tuple[str, str, int]]:
            clock.move(days * DAY)
            before = len(house.logged("certificate.expires"))
            for _ in range(2):
                await house.daemon.chores.look_at_certificates()
                await house.daemon.trusting.tend()
            lines = house.logged("certificate.expires")[before:]
            return sorted((line["kind"], line["owner"], line["threshold_days"]) for line in lines)

        certificates = [("party", "ENT1"), ("trust", "e-port"), ("trust", "e-port")]
        assert await told_after(0) == []
        assert (await house.ask("status"))["certificates_expiring"] == {}
        assert await told_after(26.5) == [("crl", "e-port", 7), *((*one, 14) for one in certificates)]
        assert (await house.ask("status"))["certificates_expiring"] == {"party": 1, "trust": 2, "crl": 1}
        assert await told_after(7) == [("crl", "e-port", 0), *((*one, 7) for one in certificates)]
        line = house.logged("certificate.expires")[-1]
        assert (line["level"], line["code"], "trust crl import" in line["en"]) == ("warning", "SWX-4107", True)
        shown = house.daemon.metrics.text().decode()
        assert 'switch_certificate_expires_days{kind="crl",owner="e-port",serial="2"} -3.5' in shown
        assert await told_after(6) == [(*one, 1) for one in certificates]
        assert await told_after(2) == [(*one, 0) for one in certificates]
        assert clock() < now() + 42 * DAY * SECOND
        assert await verdict(house, inventory(1)) == "SWX-1031"


def test_a_table_is_checked_against_the_authorities_without_a_running_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    routes = ROUTES.replace("kind: memory", "kind: folder, take_from: in, send_to: out")
    (tmp_path / "routes.yaml").write_text(routes, "utf-8")
    (tmp_path / "switchd.yaml").write_text("{}")
    result = run("routes", "check")
    assert (result.exit_code, "unknown authority 'e-port' in trust" in result.stderr) == (78, True)
    (tmp_path / "switchd.yaml").write_text(settings(tmp_path), "utf-8")
    assert run("routes", "check").exit_code == 0
