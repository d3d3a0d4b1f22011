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
            (line,) = house.logged("schemas.refused")
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
