"""``switchctl schema``: what it prints, what it writes, and with which exit status it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS
from tests.sites import MAIN, order_set
from tests.switchctl import result_of, run

ADD = ("--type", "CEB311Message", "--edition", "2027", "--valid-from", "2027-01-01")
BASE = Path(__file__).parent.parent / "bad_schemas" / "base"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where a set is to be installed."""
    (tmp_path / "switchd.yaml").write_text("schemas: [other, types]\n")
    order_set(tmp_path / "official")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_edition_is_added_listed_and_retired(home: Path) -> None:
    done = result_of(
        "schema", "add", "official", "--file", MAIN, *ADD, "--certainty", "confirmed", "--source", "a note"
    )
    assert [row["edition"] for row in done["decides"]] == ["2018-113", "202205", "2027"]
    assert done["samples"] == {"valid": 4, "of": 4}
    assert (home / "types" / "customs" / "ceb" / "CEB311Message.editions.yaml").exists()  # the last folder: it wins
    rows = {row["edition"]: row for row in result_of("schema", "list", "--type", "CEB311Message", "--on", "2027-01-01")}
    assert [name for name, row in rows.items() if row["decides"]] == ["2027"]
    assert (rows["202205"]["origin"], rows["202205"]["valid_until"]) == ("switch", "2027-01-01")
    new = rows["2027"]
    assert (new["origin"], new["certainty"], new["source"]) == ("site", "confirmed", "a note")
    assert new["valid_until"] is None
    assert run("schema", "check", "types").stdout == "types: good (1 types, 1 editions, 0 samples)\n"
    done = result_of("schema", "retire", "CEB311Message", "2027", "--from", "2028-01-01")
    assert done["decides"][-2:] == [
        {"from": "2027-01-01", "until": "2028-01-01", "edition": "2027"},
        {"from": "2028-01-01", "until": None, "edition": "202205"},
    ]
    again = run("schema", "retire", "CEB311Message", "2027", "--from", "2028-01-01").stdout
    assert "2028-01-01  -           202205\n" in again


def test_every_type_is_listed_and_each_has_one_that_decides(home: Path) -> None:
    rows = result_of("schema", "list")
    names = {row["type"] for row in rows}
    assert len(names) > 100
    assert {row["type"] for row in rows if row["decides"]} == names
    assert {row["origin"] for row in rows} == {"switch"}


def test_a_json_schema_is_installed_like_an_xsd(home: Path) -> None:
    schema = SCHEMAS / "neutral" / "event" / "LogisticsEvent-1.0.json"
    add = ("schema", "add", "event.json", "--type", "LogisticsEvent", "--edition", "2", "--valid-from", "2027-01-01")
    (home / "event.json").write_text('{"type": "objekt"}')
    assert "objekt" in run(*add).stderr
    (home / "event.json").write_bytes(schema.read_bytes())
    assert result_of(*add)["samples"]["valid"] > 0


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (("official", "--type", "CEB311Message"), 2, "go together"),
        (("official", "--file", MAIN), 2, "go together"),
        (("official/gone.xsd", *ADD), 78, "there is no such file"),
        (("official", "--file", MAIN, *ADD, "--into", "elsewhere"), 4, "none of the folders"),
        (("official", "--file", MAIN, *ADD, "--version", "9"), 78, "version '9' is not accepted"),
        (("official", "--file", MAIN, *ADD[:-1], "1 January"), 2, "is no day"),
        (("official",), 78, "must hold one family"),
    ],
)
def test_what_cannot_be_added_is_told_with_a_status(home: Path, more: tuple[str, ...], status: int, words: str) -> None:
    result = run("schema", "add", *more)
    assert (result.exit_code, words in result.stderr) == (status, True), result.output
    assert not list((home / "types").glob("[!.]*"))


def test_without_a_folder_of_its_own_a_site_is_told_to_name_one(home: Path) -> None:
    (home / "switchd.yaml").write_text("log: {level: info}\n")
    result = run("schema", "add", "official", "--file", MAIN, *ADD)
    assert result.exit_code == 78
    assert "switchd.yaml:1:1: schemas: names no folder of your own: write schemas: [types] there" in result.stderr


def test_a_family_is_added_and_checked_whole(home: Path) -> None:
    assert result_of("schema", "add", str(BASE))["types"] == ["PickupAnswer", "PickupRequest"]
    assert result_of("schema", "check", "types")["samples"] == 3
    (home / "types" / "port" / "pickup" / "codes.yaml").write_text("status: []\n")
    told = result_of("schema", "check", "types", status=1)
    assert [problem.rpartition("/")[2] for problem in told["problems"]] == [
        "codes.yaml:1:1: status: must hold keys and their values"
    ]
    assert "1 mistakes" in run("schema", "check", "types").stdout
    assert json.loads(run("schema", "check", "other", "--json").stdout)["error"]["status"] == 78
