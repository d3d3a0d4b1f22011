"""Official schemas go into a site's folder whole and checked, or not at all; ours are never touched."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from exchange import checking, installing, unpacking
from exchange.catalogue import SCHEMAS, load
from exchange.errors import ConfigurationError, NotFound, Refused
from exchange.installing import WORKSHOP, Site, add_edition, add_family, retire

BASE = Path(__file__).parent.parent / "bad_schemas" / "base"  # here: what comes with the switch
PICKUP = BASE / "port" / "pickup"
MAIN = "PickupRequest-1.xsd"
ROW: dict[str, Any] = {"name": "2027", "valid_from": date(2027, 1, 1)}
ON = date(2026, 1, 1)


@pytest.fixture(autouse=True)
def few_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few types come with the switch: reading all of them is what takes time here."""
    for room in (installing, checking):
        monkeypatch.setattr(room, "SCHEMAS", BASE)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A set as an authority publishes it."""
    folder = tmp_path / "official"
    folder.mkdir()
    for name in (MAIN, "common.xsd"):
        shutil.copy(PICKUP / name, folder)
    (folder / "readme.txt").write_text("not part of the set")
    return folder


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """A family of other types, with samples."""
    for file in sorted(BASE.rglob("*")):
        if file.is_file():
            path = tmp_path / "family" / str(file.relative_to(BASE)).replace("Pickup", "Gate").replace("pickup", "gate")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.read_text("utf-8").replace("Pickup", "Gate").replace("pickup", "gate"), "utf-8")
    return tmp_path / "family"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "types").mkdir()
    return Site([tmp_path / "types"], tmp_path / "types")


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file that the switch could read."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and WORKSHOP not in path.parts
    }


def zipped(folder: Path, *more: tuple[str, bytes]) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
        for name, body in more:
            archive.writestr(name, body)
    return path


def refused(what: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigurationError) as why:
        what()
    return list(why.value.problems)


# -- an edition --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "folder", "zip"])
def test_a_set_becomes_an_edition_with_all_it_refers_to_and_nothing_else(official: Path, site: Site, form: str) -> None:
    source, main = {
        "file": (official / MAIN, ""),
        "folder": (official, MAIN),
        "zip": (zipped(official), f"official/{MAIN}"),
    }[form]
    before = tree(BASE)
    type = add_edition(site, source, main, "PickupRequest", ROW | {"certainty": "official", "source": "notice 1"})
    found = load(BASE, *site.folders)
    assert found.edition(type, date(2027, 1, 1)).name == "2027"
    assert found.edition(type, date(2026, 12, 31)).name == "1"
    names = [Path(name).name for name in tree(site.into)]
    assert sorted(names) == sorted(["PickupRequest.editions.yaml", MAIN, "common.xsd"])
    assert (found.edition(type, date(2027, 1, 1)).certainty, type.certainty) == ("official", "own")
    assert tree(BASE) == before


def test_editions_follow_each_other_and_each_keeps_its_own_files(official: Path, site: Site) -> None:
    add_edition(site, official / MAIN, "", "PickupRequest", ROW)
    type = add_edition(site, official / MAIN, "", "PickupRequest", {"name": "2028", "valid_from": date(2028, 1, 1)})
    assert [one.name for one in type.spec.editions] == ["1", "2027", "2028"]
    assert len({one.file for one in type.spec.editions}) == 3


def test_every_mistake_of_a_set_is_told_and_nothing_is_changed(official: Path, site: Site) -> None:
    main, text = official / MAIN, (official / MAIN).read_text("utf-8")
    main.write_text(text.replace('"common.xsd"', '"http://example.org/common.xsd"'), "utf-8")
    (told,) = refused(lambda: add_edition(site, official, MAIN, "PickupRequest", ROW))
    assert told.startswith(f"{official}/{MAIN}:3:")
    assert "nothing is fetched: put common.xsd beside this file" in told
    main.write_text(text.replace('name="container"', 'name="box"'), "utf-8")
    shutil.copy(PICKUP / "common.xsd", official)
    (told,) = refused(lambda: add_edition(site, official, MAIN, "PickupRequest", ROW))
    assert "has no place for 'container', where PickupRequest is read" in told
    main.write_text(text.replace("p:Container", "p:Contaner"), "utf-8")
    assert "Contaner' does not resolve" in "\n".join(
        refused(lambda: add_edition(site, official, MAIN, "PickupRequest", ROW))
    )
    (told,) = refused(lambda: add_edition(site, official, "comon.xsd", "PickupRequest", ROW))
    assert told.endswith("has no 'comon.xsd', did you mean 'common.xsd'?")
    assert "say which with --file" in refused(lambda: add_edition(site, official, "", "PickupRequest", ROW))[0]
    assert tree(site.into) == {}


def test_a_set_of_another_type_is_refused(site: Site) -> None:
    (told,) = refused(lambda: add_edition(site, PICKUP / "PickupAnswer-1.xsd", "", "PickupRequest", ROW))
    assert "declares no element {urn:example:pickup}PickupRequest" in told


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "1"}, "'1' is the name of an edition already"),
        ({"valid_from": date(2024, 1, 1)}, "edition '1' is valid from the same day"),
        ({"versions": ["3"]}, "version '3' is not accepted"),
        ({"name": "../2027"}, "must be letters, digits"),
    ],
)
def test_a_row_that_cannot_be_is_refused_in_words_of_who_adds(
    official: Path, site: Site, row: dict[str, Any], words: str
) -> None:
    (told,) = refused(lambda: add_edition(site, official, MAIN, "PickupRequest", ROW | row))
    assert words in told
    assert WORKSHOP not in told
    assert tree(site.into) == {}


def test_what_is_installed_by_whom(official: Path, site: Site) -> None:
    with pytest.raises(NotFound, match="no message type 'PickupReqest', did you mean"):
        add_edition(site, official, MAIN, "PickupReqest", ROW)
    with pytest.raises(Refused, match="comes with the switch"):
        Site([BASE], BASE)


# -- archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out.xsd", "a/../../out.xsd", "/etc/out.xsd", "a\\..\\out.xsd", "C:/out.xsd"])
def test_an_archive_whose_names_lead_out_of_it_is_not_unpacked(official: Path, site: Site, name: str) -> None:
    archive = zipped(official, (name, b"<x/>"))
    assert "leads out of the archive" in refused(lambda: add_edition(site, archive, MAIN, "PickupRequest", ROW))[0]
    assert tree(site.into) == {}


def test_links_and_bombs_are_refused(official: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    link = zipfile.ZipInfo("official/link.xsd")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zipped(official)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    assert "is a link" in refused(lambda: add_edition(site, archive, MAIN, "PickupRequest", ROW))[0]
    (official / "out.xsd").symlink_to("/etc/passwd")
    assert "a link that leads out" in refused(lambda: add_edition(site, official, MAIN, "PickupRequest", ROW))[0]
    monkeypatch.setattr(unpacking, "BYTES", 500)
    (official / "out.xsd").unlink()
    assert "unpacks to more than" in refused(lambda: add_edition(site, zipped(official), MAIN, "PickupRequest", ROW))[0]
    archive.write_bytes(archive.read_bytes()[:-40])
    assert refused(lambda: add_edition(site, archive, MAIN, "PickupRequest", ROW))


# -- the end of one ----------------------------------------------------------------------------------------------


def test_an_edition_that_is_retired_leaves_the_word_to_the_one_before(official: Path, site: Site) -> None:
    add_edition(site, official / MAIN, "", "PickupRequest", ROW)
    retire(site.folders, "PickupRequest", "2027", date(2027, 6, 1))
    found = load(BASE, *site.folders)
    type = found.types["PickupRequest"]
    days = [date(2027, 5, 31), date(2027, 6, 1)]
    assert [found.edition(type, day).name for day in days] == ["2027", "1"]
    retire(site.folders, "PickupRequest", "2027", date(2026, 1, 1))
    found = load(BASE, *site.folders)
    assert found.edition(found.types["PickupRequest"], date(2027, 2, 1)).name == "1"


def test_ours_and_the_last_one_cannot_be_retired(family: Path, site: Site) -> None:
    add_family(site, family, ON)
    before = tree(site.into)
    with pytest.raises(Refused, match="comes with the switch"):
        retire(site.folders, "PickupRequest", "1", ON)
    with pytest.raises(Refused, match="nothing would decide about GateRequest of version '1' from 2026-01-01 on"):
        retire(site.folders, "GateRequest", "1", ON)
    with pytest.raises(NotFound):
        retire(site.folders, "GateRequest", "9", ON)
    assert tree(site.into) == before
    add_edition(site, family / "port" / "gate" / "GateRequest-1.xsd", "", "GateRequest", ROW)
    type = retire(site.folders, "GateRequest", "1", date(2027, 1, 1))
    assert [one.name for one in type.spec.editions if one.valid_until is None] == ["2027"]


# -- a family ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_family_is_installed_whole(family: Path, site: Site, form: str) -> None:
    source = family if form == "folder" else zipped(family)
    assert add_family(site, source, ON) == site.into / "port" / "gate"
    assert tree(site.into) == tree(family)
    assert {"GateRequest", "GateAnswer"} <= set(load(BASE, *site.folders).types)
    with pytest.raises(Refused, match="is there already"):
        add_family(site, source, ON)


def test_a_family_with_mistakes_is_refused_with_all_of_them(family: Path, site: Site) -> None:
    samples = family / "port" / "gate" / "samples"
    shutil.copy(samples / "valid" / "GateAnswer.xml", samples / "valid" / "GateRequest--really.xml")
    (samples / "invalid" / "GateRequest.xml").write_text("<GateRequest/>")
    told = refused(lambda: add_family(site, family, ON))
    assert [line.removeprefix(f"{samples}/").partition(":")[0] for line in told] == [
        "invalid/GateRequest.xml",
        "valid/GateRequest--really.xml",
    ]
    shutil.copytree(family / "port", family / "air")
    assert "must hold one family" in refused(lambda: add_family(site, family, ON))[0]
    assert tree(site.into) == {}


# -- interrupted -------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from exchange import checking, installing

source, home, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
installing.SCHEMAS = Path(sys.argv[4])
ours = installing.load(installing.SCHEMAS)
installing.load = lambda *folders: ours  # what reads only is done once; here it is about what is written
installing.check = lambda *arguments: checking.Report()

def add(into):
    site = installing.Site([into], into)
    if name:
        installing.add_edition(site, source, "", name, {"name": "2027", "valid_from": date(2027, 1, 1)})
    else:
        installing.add_family(site, source, date(2026, 1, 1))

def deadly(verb, at, calls=[]):
    real = getattr(os, verb)
    def call(*arguments, **more):
        calls.append(verb)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)
    setattr(os, verb, call)

add(home.with_name("warm"))
for step in range(1, 1000):
    into = home / str(step)
    into.mkdir(parents=True)
    child = os.fork()
    if not child:
        for verb in ("fsync", "rename", "replace", "mkdir"):
            deadly(verb, step)
        add(into)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status != signal.SIGKILL:
        sys.exit(status)
"""


@pytest.mark.parametrize("name", ["PickupRequest", ""], ids=["edition", "family"])
def test_kill_9_at_any_step_leaves_the_old_or_the_new(tmp_path: Path, official: Path, family: Path, name: str) -> None:
    source, home = official / MAIN if name else family, tmp_path / "killed"
    script = [sys.executable, "-c", KILLED, str(source), str(home), name, str(BASE)]
    done = subprocess.run(script, capture_output=True, text=True, cwd=SCHEMAS.parent)
    assert done.returncode == 0, done.stderr
    steps = [tree(home / str(step)) for step in range(1, len(list(home.iterdir())) + 1)]
    whole = steps[-1]
    there = [any(path.endswith(".yaml") for path in step) for step in steps]
    assert there == sorted(there)  # old, old, ..., new
    assert all(step == whole for step, new in zip(steps, there, strict=True) if new)  # and what is new is complete
    assert there.count(False) > 15
    left = home / str(there.count(False))  # by the last one who didn't make it
    site = Site([left], left)
    (add_edition(site, source, "", name, ROW) if name else add_family(site, source, ON))
    assert tree(left) == whole
    assert [path.name for path in (left / WORKSHOP).iterdir()] == ["lock"]
    assert len(load(BASE, left).types) == (2 if name else 4)
