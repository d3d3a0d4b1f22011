"""``switchctl evidence``: beside a running switch, without one, and on another machine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from exchange import settings
from exchange.errors import ConfigurationError
from exchange.stores.sqlite import SqliteStore
from tests import evidence, pki, sealing
from tests.daemon import Clock, answer, inventory, running, switchd_yaml
from tests.switchctl import result_of, run


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")


async def sealed(home: Path, *arguments: str) -> tuple[str, Any]:
    """Run a command about an inventory that was signed, beside the switch that signed it."""
    async with running(home, switchd=evidence.SIGNING, clock=Clock(sealing.now())) as house:
        id = await house.give("ent1-box", inventory(1))
        await house.settle()
        asked = ["evidence", "export", id, "--config", str(home / "switchd.yaml"), *arguments]
        return id, await asyncio.to_thread(result_of, *asked)


async def test_beside_a_running_switch_the_manifest_is_signed_by_its_key(tmp_path: Path) -> None:
    id, told = await sealed(tmp_path)
    file = f"evidence-{id}.zip"
    assert (told["message"], told["file"], told["signed"], told["stamped"]) == (id, file, True, False)
    assert os.listdir() == [file]
    assert told["bytes"] == os.stat(file).st_size
    trust = ("--trust", str(pki.shared() / "ca.crt"))
    verdict = result_of("evidence", "verify", file, *trust)
    assert verdict["passed"]
    assert {one["check"]: one["outcome"] for one in verdict["checks"]}["manifest-signature"] == "passed"


async def test_without_a_running_switch_it_is_exported_all_the_same_and_says_why_it_is_not_signed(
    tmp_path: Path,
) -> None:
    id, _ = await sealed(tmp_path)
    asked = ("evidence", "export", id, "--config", str(tmp_path / "switchd.yaml"), "--out", "b.zip")
    said = run(*asked)
    assert said.exit_code == 0, said.output
    assert "manifest signed  no" in said.output
    assert "The manifest isn't signed: no switch answers at" in said.output
    chinese = run(*asked, "--lang", "zh")
    assert "清单未签名：" in chinese.output
    assert run("evidence", "verify", "b.zip").output.endswith("b.zip: nothing failed\n")


async def test_a_switch_that_has_no_key_for_it_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        (id,) = await house.orders(1)
        await house.give("customs-queue", answer(1))
        await house.settle()
    told = result_of("evidence", "export", id, "--config", str(tmp_path / "switchd.yaml"))
    assert told["unsigned_because"]["en"] == "evidence.key in switchd.yaml names no key"


def forge(path: Path) -> None:
    """Put a blank into the original, and write the manifest anew."""
    path.write_bytes(evidence.forged(path.read_bytes(), evidence.replaced("original", b"</", b" </")))


async def test_what_fails_is_told_in_both_languages_with_a_code_and_status_one(tmp_path: Path) -> None:
    id, _ = await sealed(tmp_path)
    path = f"evidence-{id}.zip"
    forge(Path(path))
    verdict = result_of("evidence", "verify", path, status=1)
    assert not verdict["passed"]
    wrong = [one for one in verdict["checks"] if one["outcome"] == "failed"]
    assert {(one["check"], one["code"]) for one in wrong} == {("sent", "SWX-7074"), ("facts", "SWX-7077")}
    said = run("evidence", "verify", path, "--lang", "zh")
    assert said.exit_code == 1
    assert "不通过" in said.output
    assert "SWX-7077" in said.output
    assert said.output.rstrip().endswith("2 项不通过")
    assert run("evidence", "verify", path).output.rstrip().endswith("2 checks failed")


async def test_a_link_that_was_noted_is_given_with_head(tmp_path: Path) -> None:
    id, _ = await sealed(tmp_path)
    with SqliteStore.past(tmp_path / "var/store") as past:
        (row,) = past.operations(0, 0, 0, 1)
    for head, status in ((row.link.hex(), 0), ("1234", 1)):
        assert run("evidence", "verify", f"evidence-{id}.zip", "--head", head).exit_code == status


async def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        (id,) = await house.orders(1)
    config = ("--config", str(tmp_path / "switchd.yaml"))
    for asked, status in (
        (("nonsense",), 3),
        (("20200101-1",), 3),
        ((id, "--out", "none/such.zip"), 4),
        ((id, "--timestamp", "http://127.0.0.1:9/"), 75),
        ((id, "--timestamp", "file:///etc/passwd"), 78),
    ):
        assert run("evidence", "export", *asked, *config).exit_code == status, asked
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("{key: rsa}", "key and profile go together"),
        ("{key: rsa, profile: rsa-sha257}", "did you mean rsa-sha256?"),
        ("{key: rsa, profile: raw-sm2}", "doesn't sign XML"),
        ("{timestamp: {url: 'ftp://x'}}", "evidence.timestamp.url"),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_its_place(said: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "switchd.yaml").write_text(switchd_yaml(more=f"evidence: {said}\n"))
    with pytest.raises(ConfigurationError) as refused:
        settings.load(tmp_path / "switchd.yaml")
    (line,) = refused.value.problems
    assert line.startswith("switchd.yaml:6:")
    assert problem in line
