"""Keys in a running switch: what two persons agree on takes effect with the next message, and nothing else does."""

from __future__ import annotations

import asyncio
import re
import time
import timeit
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from lxml import etree

from exchange import settings
from exchange.errors import ConfigurationError, NotFound, Refused, Transient
from exchange.register import KeyVersion
from exchange.signing import certificates
from exchange.signing.changes import canonical, decided, proposed
from exchange.signing.custody import Custody
from exchange.signing.keyring import Keyring
from exchange.stores.sqlite import SqliteStore
from exchange.tokens.software import KeyFiles, Software
from tests import pki
from tests.daemon import NOON, ROUTES, House, inventory, order, running, switchd_yaml, write_home
from tests.verbs import refused

MANY = 70_000
DUAL = switchd_yaml(dual_control=True)


def pem(key: str = "p256") -> str:
    return load_der_x509_certificate(pki.der(key)).public_bytes(Encoding.PEM).decode()


def row(key: str = "foreign", name: str = "p256", **more: Any) -> dict[str, Any]:
    """Return a version of the key that ENT1 signs with; *foreign* is another P-256 key than the configured one."""
    return {"name": name, "certificate": pem(key), "at": {"file": f"{key}.key"}, **more}


async def submitted(house: House, kind: str, subject: str = "", *, by: str = "wang", **more: Any) -> dict[str, Any]:
    done: dict[str, Any] = await house.ask("change.submit", by, kind=kind, subject=subject, reason="new year", **more)
    return done


async def agreed(house: House, kind: str, subject: str = "", **more: Any) -> dict[str, Any]:
    asked = await submitted(house, kind, subject, **more)
    done: dict[str, Any] = await house.ask("change.approve", "li", number=asked["number"], reason="checked")
    return done


async def enabled(house: House) -> None:
    await agreed(house, "software-keys")


def signer(body: bytes) -> str:
    """Return the serial number of the certificate in a signed message."""
    tree: Any = etree.fromstring(body)
    return next(str(name.text) for name in tree.iter("{http://www.w3.org/2000/09/xmldsig#}KeyName"))


SERIALS = {key: certificates.read(pki.der(key)).serial for key in ("p256", "foreign")}


def signers(house: House) -> list[str]:
    return [next(k for k, s in SERIALS.items() if s == signer(p.read())) for p in house.sent("customs-queue")]


# -- keys in files -----------------------------------------------------------------------------------------------


async def test_keys_in_files_sign_only_after_a_second_person_agreed(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=DUAL) as house:
        assert (await house.ask("status"))["signing_keys"] == "in files: not enabled, SWX-5043"
        id = await house.give("ent1-box", inventory(1))
        await house.until_logged("token.refused")
        assert house.logged("token.refused")[0]["code"] == "SWX-5043"
        assert await house.state(id) == "RECEIVED", "it waits as it does when a token is down"
        asked = await submitted(house, "software-keys")
        assert (asked["state"], asked["subject"]) == ("submitted", "token")
        why = await refused(house, "change.approve", actor="wang", number=1, reason="me again")
        assert why.code == "SWX-7041"
        assert house.sent("customs-queue") == []
        await house.ask("change.approve", "li", number=1, reason="demonstration")
        await house.settle()
        assert signers(house) == ["p256"]
        assert (await house.ask("status"))["signing_keys"] == "in files: non-production"
    told = {line["event"]: line for line in house.events if line["event"].startswith("change.")}
    assert {"submitted_by": "wang", "decided_by": "li", "reason": "demonstration"}.items() <= told[
        "change.approved"
    ].items()
    assert {"submitted_by": "wang", "decided_by": ""}.items() <= told["change.submitted"].items()


async def test_what_was_agreed_lasts_but_not_for_another_section(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=DUAL) as house:
        await enabled(house)
    async with running(tmp_path, switchd=DUAL) as house:
        assert house.daemon.custody.enabled
    async with running(tmp_path, switchd=DUAL.replace("{folder:", "{keys: {}, folder:")) as house:
        assert not house.daemon.custody.enabled
        await agreed(house, "software-keys")
        assert house.daemon.custody.enabled


async def test_what_one_person_did_without_dual_control_counts_for_nothing_with_it(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        done = await submitted(house, "software-keys")
        assert (done["state"], done["single_handed"]) == ("approved", True)
    again = switchd_yaml(dual_control=True)
    async with running(tmp_path, switchd=again) as house:
        assert not house.daemon.custody.enabled


# -- rotation ----------------------------------------------------------------------------------------------------


async def test_a_key_is_rotated_under_traffic_without_a_stop(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=DUAL) as house:
        await enabled(house)
        given = 0
        stop = asyncio.Event()

        async def traffic() -> None:
            nonlocal given
            while not stop.is_set():
                given += 1
                await house.give("ent1-box", inventory(given))
                await asyncio.sleep(0.001)

        giving = asyncio.create_task(traffic())
        await house.until(lambda: len(house.sent("customs-queue")) > 20)
        await agreed(house, "key-create", rows=[row()])
        await house.until(lambda: len(house.sent("customs-queue")) > 40)
        assert set(signers(house)) == {"p256"}, "a version that nobody activated doesn't sign"
        await agreed(house, "key-activate", "p256/1")
        before = len(house.sent("customs-queue"))
        await house.until(lambda: len(house.sent("customs-queue")) > before + 40)
        stop.set()
        await giving
        await house.settle()
        assert house.logged("token.refused") == []
        done = signers(house)
        assert len(done) == given
        last, first = max(i for i, k in enumerate(done) if k == "p256"), done.index("foreign")
        assert last - first < 64, "what was being signed ended; nothing went back"


async def test_activating_retires_the_predecessor_in_the_same_change(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await submitted(house, "key-create", rows=[row("p256", state="active")])
        await submitted(house, "key-create", rows=[row()])
        await submitted(house, "key-activate", "p256/2")
        shown = await house.ask("key.show", name="p256")
        assert {one["key"]: (one["state"], one["change"]) for one in shown["versions"]} == {
            "p256/2": ("active", 3), "p256/1": ("retiring", 3),
        }  # fmt: skip
        assert shown["signs"] == "p256/2"
        await house.give("ent1-box", inventory(1))
        await house.settle()
        assert signers(house) == ["foreign"]


async def test_a_message_waits_for_a_key_that_is_revoked_and_no_configured_one_takes_its_place(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await submitted(house, "key-create", rows=[row(state="active")])
        await submitted(house, "key-revoke", "p256/1")
        await house.give("ent1-box", inventory(1))
        await house.until_logged("token.refused")
        assert house.logged("token.refused")[0]["code"] == "SWX-5042"
        await submitted(house, "key-create", rows=[row(state="active")])
        await house.settle()
        assert signers(house) == ["foreign"]


async def test_the_register_survives_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await submitted(house, "key-create", rows=[row(state="active")])
        house.kill()
    async with running(tmp_path) as house:
        await house.give("ent1-box", inventory(1))
        await house.settle()
        assert signers(house) == ["foreign"]


# -- what is refused ---------------------------------------------------------------------------------------------


async def test_a_certificate_of_another_key_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=DUAL) as house:
        wrong = row() | {"at": {"file": "p256.key"}}
        why = await refused(house, "change.submit", kind="key-create", rows=[wrong], reason="new year")
        assert (type(why), why.code) == (Refused, "SWX-7043")
        assert await house.ask("change.list") == []


async def test_what_can_not_be_done_is_not_submitted(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=DUAL) as house:
        for asked, kind in (
            ({"kind": "key-activate", "subject": "p256/1"}, NotFound),
            ({"kind": "key-export"}, NotFound),
            ({"kind": "profiles"}, Refused),  # there is no such section
            ({"kind": "key-create", "rows": [row() | {"at": {"hsm-a": "sdf:1"}}]}, NotFound),
            ({"kind": "key-create", "rows": [row() | {"at": {"file": "nobody.key"}}]}, Refused),
            ({"kind": "key-import", "rows": [row(), {}]}, ConfigurationError),
        ):
            assert isinstance(await refused(house, "change.submit", reason="new year", **asked), kind)
        await submitted(house, "key-create", rows=[row()])
        await house.ask("change.reject", "wang", number=1, reason="mistake")
        for number, code in ((1, "SWX-7042"), (2, "SWX-7010")):
            why = await refused(house, "change.approve", actor="li", number=number, reason="yes")
            assert why.code == code
        assert (await house.ask("change.show", number=1))["state"] == "rejected"


async def test_a_change_is_judged_again_when_it_is_approved(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=DUAL) as house:
        await agreed(house, "key-create", rows=[row()])
        one, other = [await submitted(house, kind, "p256/1") for kind in ("key-activate", "key-revoke")]
        await house.ask("change.approve", "li", number=other["number"], reason="it leaked")
        why = await refused(house, "change.approve", actor="li", number=one["number"], reason="late")
        assert why.code == "SWX-7020"
        assert house.daemon.custody.ring.version("p256/1").state == "revoked"


async def test_whoever_approves_sees_what_it_is_about(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=DUAL) as house:
        await submitted(house, "key-create", rows=[row()])
        (shown,) = (await house.ask("change.show", number=1))["what"]
        assert shown["certificate"]["serial"] == SERIALS["foreign"]
        await submitted(house, "key-import", rows=[row(name=f"shop-{n}") for n in range(30)])
        what = (await house.ask("change.show", number=2))["what"]
        assert (len(what), what[-1]) == (21, {"more": 10})
        await submitted(house, "software-keys")
        assert (await house.ask("change.show", number=3))["what"]["allow_software_keys"] is True
        assert [one["number"] for one in await house.ask("change.list", state="submitted", limit=2)] == [3, 2]


async def test_a_renewed_certificate_is_for_the_same_places(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await submitted(house, "key-create", rows=[row()])
        renewed = {"name": "p256", "certificate": pem("foreign"), "at": {}}
        await submitted(house, "key-create", rows=[renewed])
        assert house.daemon.custody.ring.version("p256/2").places == {"file": "foreign.key"}


# -- looking -----------------------------------------------------------------------------------------------------


async def test_keys_that_only_the_settings_name_are_listed_as_configured(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await submitted(house, "key-create", rows=[row()])
        states = {one["key"]: one["state"] for one in await house.ask("key.list")}
        assert (states["p256/1"], states["p256"], states["rsa"]) == ("pending", "configured", "configured")
        assert {one["key"] for one in await house.ask("key.list", state="pending")} == {"p256/1"}
        shown = await house.ask("key.show", name="rsa")
        assert shown["versions"][0]["pem"] == pem("rsa")
        assert (await house.ask("key.show", name="p256"))["signs"] == "p256", "until a version is activated"
        known = dict(house.daemon.custody.certificates(("rsa", "p256", "nobody")))
        assert known == {key: pki.der(key) for key in ("rsa", "p256")}
        await submitted(house, "key-activate", "p256/1")
        assert (await house.ask("key.show", name="p256"))["signs"] == "p256/1"
        assert "p256" not in {one["key"] for one in await house.ask("key.list")}, "the register's keys win"
        await submitted(house, "key-create", rows=[row(name="new")])
        assert "switchctl key activate new/1" in (await house.ask("key.show", name="new"))["signs"]


# -- sections ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def custody(folder: Path, sections: Mapping[str, Any], dual: bool = True) -> AsyncIterator[Custody]:
    from exchange.observability import recorded

    store = SqliteStore(folder)
    await store.open()
    log, _ = recorded()
    one = Custody(store, Software(KeyFiles()), now=lambda: NOON, log=log, dual_control=dual, sections=sections)
    await one.open()
    try:
        yield one
    finally:
        await store.close()


async def test_of_a_section_what_was_approved_last_stays_in_force(tmp_path: Path) -> None:
    first, second = {"a": {"digest": "sm3"}}, {"a": {"digest": "sha1"}}
    async with custody(tmp_path, {"profiles": first}) as kept:
        assert kept.section("profiles") is None, "nobody has approved it"
        await kept.submit("profiles", "", None, "wang", "why")
        assert kept.section("profiles") is None
        await kept.decide(1, "approved", "li", "checked")
        assert kept.section("profiles") == first
    async with custody(tmp_path, {"profiles": second}) as kept:
        assert kept.section("profiles") == first
        await kept.submit("profiles", "", None, "wang", "why")
        done = await kept.decide(2, "approved", "li", "checked")
        assert done.what == canonical(second)
        assert kept.section("profiles") == second
        with pytest.raises(Refused, match="nothing to approve"):
            await kept.submit("profiles", "", None, "wang", "why")
    async with custody(tmp_path, {}) as kept:
        assert kept.section("profiles") == second, "taking it out takes two persons, too"
        await kept.submit("profiles", "", None, "wang", "why")
        await kept.decide(3, "approved", "li", "checked")
        assert kept.section("profiles") is None
    async with custody(tmp_path, {"profiles": second}, dual=False) as kept:
        assert kept.section("profiles") == second


def test_the_sections_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = write_home(tmp_path, "", DUAL)
    assert settings.load(path).agreed["token"] == {
        "allow_software_keys": True,
        "options": {"folder": str(pki.shared())},
    }
    path.write_text("token: {kind: devices, options: {devices: {}}}\n")
    assert "token" not in settings.load(path).agreed
    assert settings.load(path).settings.signing.dual_control is True


SITE = "profiles:\n  - {{name: site-p7s, version: 1, format: cms, algorithm: {algorithm}, detached: true}}\n"


async def test_a_sites_profiles_are_known_once_a_second_person_approved_them(tmp_path: Path) -> None:
    written = switchd_yaml(dual_control=True, more=SITE.format(algorithm="rsa-sha256"))
    table = ROUTES.replace("sign: ecdsa-sha256", "sign: site-p7s")
    async with running(tmp_path, switchd=written) as house:
        why = await refused(house, "routes.publish", text=f"#! file routes.yaml\n{table}", reason="new profile")
        assert "unknown signature profile 'site-p7s'" in why.en
        assert house.logged("section.not_approved")[0]["code"] == "SWX-4121"
        await agreed(house, "profiles")
        await house.ask("routes.publish", text=f"#! file routes.yaml\n{table}", reason="new profile")
        assert house.switch.table.profiles["site-p7s"].algorithm == "rsa-sha256"
    changed = switchd_yaml(dual_control=True, more=SITE.format(algorithm="ecdsa-sha256"))
    async with running(tmp_path, switchd=changed) as house:
        assert house.switch.table.profiles["site-p7s"].algorithm == "rsa-sha256", "what was approved last"
        await agreed(house, "profiles")
        assert house.switch.table.profiles["site-p7s"].algorithm == "ecdsa-sha256"
    async with running(tmp_path, switchd=DUAL) as house:
        why = await refused(house, "change.submit", kind="profiles", reason="not needed any more")
        assert "unknown signature profile 'site-p7s'" in why.en, "the table in force refers to it"


# -- a table that names profiles which nobody has approved ----------------------------------------------------------

WRITTEN = switchd_yaml(dual_control=True, more=SITE.format(algorithm="ecdsa-sha256"))
NEEDS_IT = ROUTES.replace("sign: ecdsa-sha256", "sign: site-p7s")


async def test_a_first_start_waits_for_the_second_person_and_begins_when_it_approves(tmp_path: Path) -> None:
    async with running(tmp_path, NEEDS_IT, WRITTEN) as house:
        (told,) = house.logged("switch.waits")
        assert told["code"] == "SWX-4122"
        assert re.search(r"change submit profiles .+ change approve NUMBER", told["en"])
        assert re.search(r"change submit profiles .+ change approve 编号", told["zh"])
        status = await house.ask("status")
        assert (status["ready"], status["generation"], status["intake"][:8]) == (False, 0, "SWX-4122")
        assert (house.daemon.adapters, house.logged("switch.started")) == ({}, [])
        await house.daemon.chores.watch_disk()
        assert house.switch.refusing.code == "SWX-4122", "no chore opens the intake"
        for verb, more in (("schema.reload", {}), ("party.import", {"rows": []})):
            assert (await refused(house, verb, reason="early", **more)).code == "SWX-4122"
        await house.daemon.reload()
        assert house.logged("reload.refused")[-1]["generation"] == 0
        await submitted(house, "profiles")
        why = await refused(house, "change.approve", actor="wang", number=1, reason="me again")
        assert (why.code, house.daemon.adapters) == ("SWX-7041", {})
        await house.ask("change.approve", "li", number=1, reason="checked")
        status = await house.ask("status")
        assert (status["ready"], status["generation"], status["intake"]) == (True, 1, "open")
        id = await house.give("ent1-box", order(1))
        await house.settle()
        assert await house.state(id) == "ACCEPTED"
    async with running(tmp_path, NEEDS_IT, WRITTEN) as house:
        assert house.logged("switch.waits") == []
        assert house.switch.table.generation == 1


async def test_who_waits_may_be_killed_and_still_waits_or_is_given_a_table_without_the_profile(tmp_path: Path) -> None:
    for _ in range(2):
        async with running(tmp_path, NEEDS_IT, WRITTEN) as house:
            assert house.daemon.waiting
    async with running(tmp_path, NEEDS_IT, WRITTEN) as house:
        (tmp_path / "routes.yaml").write_text(ROUTES, "utf-8")
        await house.daemon.reload()
        assert (house.daemon.waiting, house.switch.table.generation) == (None, 1)
        await house.orders(1)


async def test_what_was_open_waits_untouched_where_dual_control_is_turned_on_later(tmp_path: Path) -> None:
    alone = WRITTEN.replace("dual_control: true", "dual_control: false")
    far: Any = {"customs-queue": Transient("down", "故障")}
    async with running(tmp_path, NEEDS_IT, alone, far=far) as house:
        (open,) = await house.orders(1)
        await house.until_logged("delivery.deferred")
    async with running(tmp_path, NEEDS_IT, WRITTEN) as house:
        assert house.daemon.waiting
        assert (await house.delivery(open))["state"] == "QUEUED"
        await agreed(house, "profiles")
        await house.pass_time(600)
        await house.until(lambda: house.numbers() == [1])


async def test_any_other_mistake_is_told_at_the_start_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as why:
        async with running(tmp_path, NEEDS_IT.replace("to: [customs-queue]", "to: [nowhere]", 1), WRITTEN):
            pass
    assert "nowhere" in why.value.en
    assert "site-p7s" not in why.value.en


# -- a province's keys -------------------------------------------------------------------------------------------


async def test_many_keys_are_imported_and_others_have_their_turns(tmp_path: Path) -> None:
    rows = [row("p256", f"shop-{n}", state="active") for n in range(3000)]
    async with custody(tmp_path, {}, dual=False) as kept:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.02)

        ticking = asyncio.create_task(tick())
        await kept.submit("key-import", "all", rows, "wang", "moved")
        ticking.cancel()
        assert ticks >= 3
        assert kept.choose("shop-2999", NOON) == "shop-2999/1"


async def test_seventy_thousand_keys_are_loaded_at_once_and_chosen_from_as_fast_as_one(tmp_path: Path) -> None:
    window = certificates.read(pki.der("rsa"))
    many = [
        KeyVersion(
            f"shop-{n}", 1, "rsa", window.der, {"hsm-a": f"sdf:{n}"}, window.not_before, window.not_after, "active"
        )
        for n in range(MANY)
    ]
    async with custody(tmp_path, {}, dual=False) as kept:
        proposal = proposed("key-import", "all", None, "wang", "moved", NOON)
        await kept._store.record(decided(proposal, "approved", "wang", "", NOON, dual=False), many)
    began = time.perf_counter()
    async with custody(tmp_path, {}) as kept:
        loaded = time.perf_counter() - began
        assert len(kept.ring) == MANY
        assert loaded < 5.0  # the promise is 2 on a machine at rest; CI is none
        alone = Keyring.of(many[:1])
        assert _seconds(lambda: kept.ring.current("shop-69999", NOON)) < 5 * _seconds(
            lambda: alone.current("shop-0", NOON)
        )


def _seconds(does: Callable[[], Any]) -> float:
    return min(timeit.repeat(does, number=1000, repeat=7))
