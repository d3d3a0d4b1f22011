"""Stored messages judged by a new edition, beside a switch that runs: who would be rejected, and nothing is changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from exchange.commands import _schemas
from exchange.installing import Site, add_edition
from exchange.replaying import Tally
from tests.daemon import House, order, running, switchd_yaml
from tests.sites import MAIN, order_set
from tests.switchctl import run

SWITCHD = switchd_yaml(more="schemas: [types]\n")
MANY = 1_000
ORDERS = ("schema", "replay", "--type", "CEB311Message")


async def replay(home: Path, *more: str) -> Result:
    """Run switchctl as another process would: beside the daemon, on the same store."""
    return await asyncio.to_thread(run, "--config", str(home / "switchd.yaml"), *ORDERS, *more)


async def told(home: Path, *more: str, status: int = 1) -> dict[str, Any]:
    result = await replay(home, *more, "--json")
    assert result.exit_code == status, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def install(home: Path, day: date = date(2027, 1, 1)) -> None:
    site = Site([home / "types"], home / "types")
    add_edition(site, order_set(home / "official"), "", "CEB311Message", {"name": "2027", "valid_from": day})


def kept(house: House) -> str:
    """Return what is in the store, in short."""
    lines = "\n".join(house.daemon.store._db.connection.iterdump())
    return hashlib.sha256(lines.encode()).hexdigest()


async def test_a_thousand_messages_are_judged_by_an_edition_to_come(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        for first in range(0, MANY, 250):
            for sender in (1, 2):
                numbers = range(first + sender, first + 250 + sender, 2)
                await house.together(*(order(n, sender) for n in numbers), endpoint=f"ent{sender}-box")
        await house.give("ent2-box", order(10, 2), "again.xml")  # a duplicate
        await house.give("ent1-box", order(9).replace(b">142<", b">999<"), "invalid-then.xml")
        await house.settle()
        install(tmp_path)
        house_kept = kept(house)
        document = await told(tmp_path, "--edition", "2027")
        assert (document["looked_at"], document["would_be_rejected"]) == (MANY + 2, MANY // 10)
        assert (document["left_out"], document["rejected_then_too"], document["would_be_accepted"]) == (1, 1, 0)
        assert document["parties"] == {"ENT2": MANY // 10}
        (rule,) = document["rules"]
        assert (rule["code"], rule["messages"]) == ("SWX-1414", MANY // 10)
        assert rule["pointer"].endswith("/OrderHead/orderNo")
        assert [one["party"] for one in document["rejected"]] == ["ENT2"] * (MANY // 10)
        assert document["rejected"][0]["findings"][0]["value"] == f"ORDER-{MANY}"  # the newest first
        assert kept(house) == house_kept
        (id,) = await house.orders(2 * MANY)
        assert await house.states(id) == ["ACCEPTED"]


async def test_a_folder_that_is_not_installed_can_be_tried(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        await house.orders(9, 10)
        await house.settle()
        place = tmp_path / "new" / "customs" / "ceb"
        order_set(place)
        row = f"{{name: try, valid_from: 2030-01-01, file: {MAIN}}}"
        (place / "CEB311Message.editions.yaml").write_text(f"type: CEB311Message\neditions: [{row}]\n", "utf-8")
        result = await replay(tmp_path, "--schemas", str(tmp_path / "new"))
        assert result.exit_code == 1
        assert "would be rejected        1\n" in result.stdout
        assert "SWX-1414 /CEB311Message/Order/OrderHead/orderNo" in result.stdout
        assert (await replay(tmp_path)).exit_code == 0  # by what is installed, nobody


async def test_what_is_looked_at_is_bounded_by_day_and_number(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        await house.orders(10, 20, 30)
        house.clock.move(24 * 3600)
        await house.orders(40, 50)
        await house.settle()
        install(tmp_path)
        assert (await told(tmp_path, "--since", "2026-11-23"))["would_be_rejected"] == 2
        assert (await told(tmp_path, "--limit", "4"))["would_be_rejected"] == 4
        assert (await told(tmp_path, "--since", "2026-11-24", status=0))["looked_at"] == 0
        assert "--limit asks for more" in (await replay(tmp_path, "--limit", "4")).stdout


async def test_what_would_pass_now_is_counted(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "types", ignore_errors=True)
    install(tmp_path, date(2026, 1, 1))
    async with running(tmp_path, switchd=SWITCHD) as house:
        (id,) = await house.orders(10)
        await house.settle()
        assert await house.states(id) == ["REJECTED"]
        document = await told(tmp_path, "--edition", "202205", status=0)
        assert (document["would_be_accepted"], document["would_be_rejected"]) == (1, 0)


def test_who_sits_at_a_terminal_is_told_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_schemas, "PATIENCE", 0.0)
    monkeypatch.setenv("LC_ALL", "C")
    progress = _schemas._Progress()
    progress.told(Tally(looked=100, rejected=3))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress.told(Tally(looked=200, rejected=3))
    assert capsys.readouterr().err == "200 looked at, 3 would be rejected\n"


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (("--edition", "2O27"), 3, "no edition '2O27'"),
        (("--schemas", "nowhere"), 0, "looked at"),
        (("--since", "yesterday"), 2, "is no day"),
    ],
)
async def test_what_is_not_there_is_told(tmp_path: Path, more: tuple[str, ...], status: int, words: str) -> None:
    async with running(tmp_path, switchd=SWITCHD) as house:
        await house.orders(1)
        await house.settle()
        result = await replay(tmp_path, *more)
        assert (result.exit_code, words in result.output) == (status, True), result.output


def test_without_a_store_there_is_nothing_to_replay(tmp_path: Path) -> None:
    (tmp_path / "switchd.yaml").write_text("store: {folder: none}\n")
    result = run("--config", str(tmp_path / "switchd.yaml"), *ORDERS)
    assert result.exit_code == 3
    assert "there is no store" in result.output
