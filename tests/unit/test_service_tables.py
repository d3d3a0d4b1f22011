"""The daemon takes another table, and parties from a list; one with a mistake changes nothing."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import ConfigurationError, NotFound
from tests.daemon import ROUTES, House, order, running, switchd_yaml

OTHER = ROUTES.replace("name: orders", "name: orders-now")
BROKEN = ROUTES.replace("to: [customs-queue]}\n  - {name: inv", "too: [customs-quue]}\n  - {name: inv")
FOLDER = (
    "\n  - code: NEW\n    role: enterprise\n    endpoints: [{name: new-box, kind: folder, take_from: boxes}]\nroutes:"
)

KEY = "sha256:" + "0" * 64
HTTP = f"  - {{code: WEB, role: enterprise, endpoints: [{{name: web, kind: http_api, keys: ['{KEY}']}}]}}\n"


def write(home: Path, routes: str) -> None:
    (home / "routes.yaml").write_text(routes, "utf-8")


# -- another table -----------------------------------------------------------------------------------------------


async def test_a_reload_puts_the_file_in_force_and_the_history_tells_who(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        write(tmp_path, OTHER)
        await house.daemon.reload()
        (newest, _) = await house.ask("routes.history")
        assert (newest["generation"], newest["actor"], newest["reason"]) == (2, "SIGHUP", "reload")
        id = await house.give("ent1-box", order(1))
        await house.settle()
        (line,) = await house.told(id, "accept")
        assert (line["generation"], line["route"]) == (2, "orders-now")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (BROKEN, "unknown key 'too', did you mean 'to'?"),
        (
            ROUTES.replace("role: customs", "role: custom"),
            "routes.yaml:13:5: parties[2].role: should be 'enterprise', 'customs'",
        ),
        (ROUTES + "  - {name: orders", "routes.yaml:19:1: did not find expected ',' or '}'"),
        ("", "routes.yaml:1:1: the file is empty"),
        ("# all of it is a comment\n", "routes.yaml:1:1: the file is empty"),
        ("parties: []\nroutes: []\n\0", "routes.yaml"),
        (ROUTES.replace("name: inventories", "name: orders"), "route 'orders' stands here twice"),
        (ROUTES.replace("kind: memory", "kind: pigeon", 1), "pigeon"),
    ],
    ids=[
        "unknown key",
        "unknown role",
        "cut off",
        "empty",
        "nothing but a comment",
        "no YAML",
        "twice",
        "unknown kind",
    ],
)
async def test_a_bad_file_is_told_and_the_old_table_stays_in_force(tmp_path: Path, broken: str, told: str) -> None:
    async with running(tmp_path) as house:
        write(tmp_path, broken)
        await house.daemon.reload()
        (line,) = house.logged("reload.refused")
        assert line["generation"] == 1
        assert any(told in problem for problem in line["problems"]), line["problems"]
        assert house.switch.table.generation == 1
        id = await house.give("ent1-box", order(1))
        await house.settle()
        assert (await house.told(id, "accept"))[0]["route"] == "orders"


async def test_a_table_that_cannot_be_served_is_taken_back_and_the_history_says_why(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more = ROUTES.replace("routes:", f"{HTTP}routes:")
        adapters = f"adapters: {{http_api: {{port: {port}}}}}\n"
        async with running(tmp_path, switchd=switchd_yaml(more=adapters)) as house:
            write(tmp_path, more)
            await house.daemon.reload()
            (line,) = house.logged("reload.refused")
            assert f"can't listen on 127.0.0.1:{port}" in line["problems"][0]
            assert "web" not in house.switch.table.endpoints
            id = await house.give("ent1-box", order(1))
            await house.settle()
            assert await house.state(id) == "ACCEPTED"
            newest, refused, first = await house.ask("routes.history")
            assert (first["generation"], refused["generation"], newest["generation"]) == (1, 2, 3)
            assert newest["reason"].startswith("taken back: ")
    async with running(tmp_path, switchd=switchd_yaml(more=adapters)) as house:
        assert house.switch.table.generation == 3


async def test_a_file_that_has_gone_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        (tmp_path / "routes.yaml").unlink()
        await house.daemon.reload()
        (line,) = house.logged("reload.refused")
        assert "can't be read" in line["problems"][0]
        assert house.switch.table.generation == 1


async def test_endpoints_and_kinds_come_and_go_with_the_table(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.daemon.publish("#! file routes.yaml\n" + ROUTES.replace("\nroutes:", FOLDER), "zhang", "a partner")
        assert sorted(house.daemon.adapters) == ["folder", "memory"]
        assert "NEW" in {party["code"] for party in await house.ask("party.list")}
        without = ROUTES.replace("    endpoints: [{name: ent2-box, kind: memory}]\n", "")
        await house.daemon.publish(f"#! file routes.yaml\n{without}", "zhang", "both go")
        with pytest.raises(NotFound):
            await house.give("ent2-box", order(1, sender=2))
        assert await house.give("ent1-box", order(1))


# -- parties from a list -----------------------------------------------------------------------------------------

ENT9 = {
    "code": "ENT9",
    "role": "enterprise",
    "ids": ["DXPENT0000000009"],
    "endpoints": [{"name": "ent9-box", "kind": "memory"}],
}


NOTHING: dict[str, Any] = {"ids": [], "endpoints": []}


async def import_(house: House, *rows: dict[str, Any]) -> Any:
    return await house.ask("party.import", rows=rows, reason="monthly list")


async def test_imported_parties_are_served_at_once_and_after_a_restart_and_with_every_table(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        assert await import_(house, ENT9) == {"imported": 1}
        ids = [await house.give("ent9-box", order(1, sender=9))]
        await house.daemon.publish(f"#! file routes.yaml\n{OTHER}", "zhang", "another table")
        ids.append(await house.give("ent9-box", order(2, sender=9)))
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED"] * 2
    async with running(tmp_path) as house:
        await import_(house, ENT9 | {"name": "another name"})
        (party,) = [p for p in await house.ask("party.list") if p["code"] == "ENT9"]
        assert (party["name"], party["endpoints"]) == ("another name", ["ent9-box"])


async def test_a_table_and_a_list_that_come_at_once_are_taken_one_after_the_other(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        publishing = house.daemon.publish(f"#! file routes.yaml\n{OTHER}", "zhang", "another table")
        await asyncio.gather(import_(house, ENT9), publishing, import_(house, ENT9 | {"code": "ENT8", **NOTHING}))
        assert house.switch.table.generation == 2
        assert {"ENT8", "ENT9"} <= set(house.switch.table.parties)
        assert house.switch.table.routes[0].name == "orders-now"


BAD_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "a role of nobody": ({"code": "X", "role": "pirate"}, "imported:2:1: role: should be 'enterprise'"),
    "an unknown key": ({"code": "X", "role": "port", "colour": "red"}, "imported:2:1: unknown key 'colour'"),
    "an unknown kind": (
        {"code": "X", "role": "port", "endpoints": [{"name": "x", "kind": "pigeon"}]},
        "imported:2:1: endpoints[0].kind: no adapter is called 'pigeon'",
    ),
    "an option unknown to the kind": (
        {"code": "X", "role": "port", "endpoints": [{"name": "x", "kind": "memory", "cap": 1}]},
        "imported:2:1: endpoints[0]: unknown key 'cap'",
    ),
    "a party of the file": ({"code": "ENT1", "role": "enterprise"}, "'ENT1' stands here twice, or was imported"),
    "an id of another": ({"code": "X", "role": "port", "ids": ["DXPENT0000000001"]}, "'DXPENT0000000001' belongs to"),
    "an id of one beside it": ({"code": "X", "role": "port", "ids": ["DXPENT0000000009"]}, "belongs to party 'ENT9'"),
    "an endpoint of another": (
        {"code": "X", "role": "port", "endpoints": [{"name": "ent1-box", "kind": "memory"}]}, "'ent1-box' stands here",
    ),
    "an endpoint of one beside it": (
        {"code": "X", "role": "port", "endpoints": [{"name": "ent9-box", "kind": "memory"}]}, "'ent9-box' is there",
    ),
    "a certificate that is not there": (
        {"code": "X", "role": "port", "certificates": ["none.crt"]}, "certificate 'none.crt' can't be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_ROWS)
async def test_a_list_with_a_mistake_imports_nobody_and_the_switch_starts_again(tmp_path: Path, what: str) -> None:
    row, told = BAD_ROWS[what]
    async with running(tmp_path) as house:
        with pytest.raises(ConfigurationError) as refused:
            await import_(house, ENT9, row)
        assert any(told in problem for problem in refused.value.problems), refused.value.problems
        assert {p["code"] for p in await house.ask("party.list")} == {"ENT1", "ENT2", "CUSTOMS"}
        await house.daemon.reload()
        assert house.logged("reload.refused") == []
    async with running(tmp_path) as house:
        assert {p["code"] for p in await house.ask("party.list")} == {"ENT1", "ENT2", "CUSTOMS"}
