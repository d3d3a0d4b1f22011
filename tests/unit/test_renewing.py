"""A running switch takes over what was installed, between two messages; with a mistake it goes on with what it had."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import ConfigurationError
from exchange.installing import Site, add_edition, retire
from tests.daemon import House, order, running, switchd_yaml
from tests.sites import order_set
from tests.verbs import refused

TODAY = date(2026, 11, 22)  # on the daemon's clock
SWITCHD = switchd_yaml(more="schemas: [types]\n")
TEN, ELEVEN, TWENTY, THIRTY = 10, 11, 20, 30


def install(home: Path, day: date = TODAY) -> None:
    site = Site([home / "types"], home / "types")
    add_edition(site, order_set(home / "official"), "", "CEB311Message", {"name": "2027", "valid_from": day})


async def renew(house: House) -> Any:
    return await house.ask("schema.reload", reason="orders of 2027")


async def test_the_next_message_is_judged_and_explained_by_the_new_edition(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        (before,) = await house.orders(TEN)
        install(tmp_path)
        (still,) = await house.orders(TWENTY)
        told = await renew(house)
        assert told["changed"] == {"CEB311Message": ["2018-113", "202205", "2027"]}
        bad, good = await house.orders(THIRTY, ELEVEN)
        await house.settle()
        assert await house.states(before, still, bad, good) == ["ACCEPTED", "ACCEPTED", "REJECTED", "ACCEPTED"]
        (line,) = await house.told(bad, "reject")
        assert [(one["code"], one["pointer"].rpartition("/")[2]) for one in line["findings"]] == [
            ("SWX-1414", "orderNo")
        ]
        (line,) = house.logged("schemas.renewed")
        assert (line["actor"], line["reason"], line["changed"]) == ("zhang", "orders of 2027", ["CEB311Message"])


async def test_an_edition_decides_from_its_day_on(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        install(tmp_path, date(2026, 11, 23))
        await renew(house)
        (before,) = await house.orders(TEN)
        house.clock.move(24 * 3600)
        (after,) = await house.orders(TWENTY)
        await house.settle()
        assert await house.states(before, after) == ["ACCEPTED", "REJECTED"]
        retire([tmp_path / "types"], "CEB311Message", "2027", date(2026, 11, 23))
        await renew(house)
        (again,) = await house.orders(THIRTY)
        assert await house.states(again) == ["ACCEPTED"]


async def test_a_message_that_is_being_explained_meanwhile_is_told_everything(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        install(tmp_path)
        await renew(house)
        ids = [await house.give("ent1-box", order(number)) for number in range(10, 60, 10)]
        renewing = [asyncio.create_task(renew(house)) for _ in range(2)]
        await asyncio.gather(*renewing)
        await house.decided()
        for id in ids:
            (line,) = await house.told(id, "reject")
            assert line["findings"], house.logged("message.unexplained")


@pytest.mark.parametrize("how", ["verb", "SIGHUP"])
async def test_a_broken_set_leaves_the_old_one_in_force_and_is_told(tmp_path: Path, how: str) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        install(tmp_path)
        await renew(house)
        path = tmp_path / "types" / "customs" / "ceb" / "CEB311Message.editions.yaml"
        path.write_text(path.read_text("utf-8").replace("valid_from", "valid"), "utf-8")
        if how == "verb":
            why = await refused(house, "schema.reload", reason="orders of 2027")
            assert isinstance(why, ConfigurationError)
            problems = list(why.problems)
        else:
            await house.daemon.reload()
            (line,) = house.logged("reload.refused")
            problems = line["problems"]
        assert any("editions[0]: unknown key 'valid', did you mean 'valid_from'?" in one for one in problems)
        (id,) = await house.orders(TEN)
        assert await house.states(id) == ["REJECTED"]


async def test_types_that_the_table_in_force_needs_cannot_go(tmp_path: Path) -> None:
    family = Path(__file__).parent.parent / "bad_schemas" / "base" / "port"
    routes = """
parties:
  - {code: ENT1, role: enterprise, endpoints: [{name: ent1-box, kind: memory}]}
routes:
  - {name: pickups, match: {type: PickupRequest}, to: [ent1-box]}
"""
    (tmp_path / "types").mkdir()
    (tmp_path / "types" / "port").symlink_to(family)
    async with running(tmp_path, routes, switchd=SWITCHD) as house:
        (tmp_path / "types" / "port").unlink()
        why = await refused(house, "schema.reload", reason="tidy up")
        assert "unknown message type 'PickupRequest'" in str(why)
        assert "PickupRequest" in house.switch.catalogue.types
        assert house.daemon.catalogue is house.switch.catalogue


# -- with the table that names them --------------------------------------------------------------------------------

FAMILY = Path(__file__).parent.parent / "bad_schemas" / "base" / "port"
PARTIES = """
parties:
  - {code: ENT1, role: enterprise, ids: [DXPENT0000000001], endpoints: [{name: ent1-box, kind: memory}]}
  - {code: CUSTOMS, role: customs, endpoints: [{name: customs-queue, kind: memory}]}
"""
WITHOUT = PARTIES + "routes:\n  - {name: orders, match: {type: CEB311Message}, to: [customs-queue]}\n"
WITH = WITHOUT + "  - {name: pickups, match: {type: PickupRequest}, to: [ent1-box]}\n"


def laid_out(home: Path, *, type: bool, routes: str) -> None:
    """Write the files of a site, with a type of its own or without."""
    (home / "types").mkdir(exist_ok=True)
    (home / "types" / "port").unlink(missing_ok=True)
    if type:
        (home / "types" / "port").symlink_to(FAMILY)
    (home / "routes.yaml").write_text(routes, "utf-8")


def in_force(house: House) -> tuple[bool, list[str]]:
    """Tell whether there is the site's type, and which routes there are; all rooms must agree."""
    assert house.daemon.catalogue is house.switch.catalogue
    assert house.switch.table is house.switch.sending.table
    return "PickupRequest" in house.switch.catalogue.types, [route.name for route in house.switch.table.routes]


async def test_a_type_and_its_route_come_and_go_by_one_reload_each(tmp_path: Path) -> None:
    laid_out(tmp_path, type=False, routes=WITHOUT)
    async with running(tmp_path, WITHOUT, switchd=SWITCHD) as house:
        laid_out(tmp_path, type=True, routes=WITH)
        await house.daemon.reload()
        assert in_force(house) == (True, ["orders", "pickups"])
        laid_out(tmp_path, type=False, routes=WITHOUT)
        await house.daemon.reload()
        assert in_force(house) == (False, ["orders"])
        assert house.logged("reload.refused") == []
        assert [line["changed"] for line in house.logged("schemas.renewed")] == [["PickupAnswer", "PickupRequest"]] * 2
        (id,) = await house.orders(TEN)
        assert await house.state(id) == "ACCEPTED"


MISTAKES = {
    "the route stays, and its type goes": (False, WITH, "unknown message type 'PickupRequest'"),
    "the type comes, and the table is broken": (True, WITH.replace("to: [ent1", "too: [ent1"), "unknown key 'too'"),
}


@pytest.mark.parametrize("what", MISTAKES)
async def test_a_mistake_in_either_leaves_both_as_they_were_and_is_told_once(tmp_path: Path, what: str) -> None:
    type, routes, told = MISTAKES[what]
    before = (WITHOUT, False, ["orders"]) if type else (WITH, True, ["orders", "pickups"])
    laid_out(tmp_path, type=not type, routes=before[0])
    async with running(tmp_path, before[0], switchd=SWITCHD) as house:
        laid_out(tmp_path, type=type, routes=routes)
        await house.daemon.reload()
        assert in_force(house) == before[1:]
        (line,) = house.logged("reload.refused")
        assert any(told in problem for problem in line["problems"])
        assert line["generation"] == house.switch.table.generation == 1
        assert "SIGHUP" in line["en"]
        assert "SIGHUP" in line["zh"]
        assert house.logged("schemas.renewed") == []


async def test_a_table_that_cannot_be_served_takes_its_types_back_with_it(tmp_path: Path) -> None:
    laid_out(tmp_path, type=False, routes=WITHOUT)
    async with running(tmp_path, WITHOUT, switchd=SWITCHD) as house:
        laid_out(tmp_path, type=True, routes=WITH)
        memory = house.memory
        serving, asked = memory.serve, []

        async def serve(endpoints: Any) -> None:
            asked.append(in_force(house))
            if len(asked) == 1:
                raise ConfigurationError(["the port is taken"])
            await serving(endpoints)

        memory.serve = serve  # type: ignore[method-assign]
        await house.daemon.reload()
        assert asked == [(True, ["orders", "pickups"]), (False, ["orders"])]
        assert in_force(house) == (False, ["orders"])
        assert house.logged("reload.refused")[0]["problems"] == ["the port is taken"]
        assert (await house.daemon.store.generations(1))[0].reason.startswith("taken back: ")


async def test_a_batch_that_is_being_decided_sees_the_types_and_the_table_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out(tmp_path, type=True, routes=WITH)
    async with running(tmp_path, WITH, switchd=SWITCHD) as house:
        pickup = (FAMILY / "pickup/samples/valid/PickupRequest.xml").read_bytes()
        await house.give("ent1-box", pickup.replace(b"R-0001", b"R-0000"))
        await house.decided()
        examine, began, go_on = house.switch._examine_apart, asyncio.Event(), asyncio.Event()

        async def slowly(*values: Any) -> Any:
            began.set()
            await go_on.wait()
            return await examine(*values)

        monkeypatch.setattr("exchange.switch.LARGE", 0)
        monkeypatch.setattr(house.switch, "_examine_apart", slowly)
        id = await house.give("ent1-box", pickup)
        await began.wait()
        laid_out(tmp_path, type=False, routes=WITHOUT)
        await house.daemon.reload()
        go_on.set()
        await house.decided()
        (event,) = [line for line in (await house.life(id))["journal"] if line["event"] in ("accept", "hold", "reject")]
        assert (event["event"], event.get("route")) == ("accept", "pickups"), str(event)
