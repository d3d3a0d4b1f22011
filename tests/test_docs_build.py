"""What is generated is as the code has it, and says everything; what is written by hand names what exists."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel
from twisted.internet.task import Clock

from docs import build
from exchange import catalogue, codes, plugins
from exchange.commands import switchctl
from exchange.lifecycle import DELIVERY, MESSAGE
from exchange.observability import Metrics, Probes, Pulse
from exchange.observability_signing import SigningMetrics
from exchange.settings import Settings

ROOT = Path(__file__).parent.parent
OWN = ("README.md", "README.zh.md", "docs/explanation/*.md", "docs/reference/*", "docs/decisions/*.md")
MACHINE = re.compile(r"(?<![\w.])/(?:work|home|root|Users|mnt)/")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_nothing_generated_is_stale() -> None:
    done = subprocess.run([sys.executable, "-m", "docs.build", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_stale_is_named(tmp_path: Path) -> None:
    for name in {place for place, _ in build.BLOCKS}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name, text in build.wanted(ROOT).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    assert build.stale(tmp_path) == []
    (tmp_path / "docs/reference/errors.md").write_text("old", "utf-8")
    (tmp_path / "README.md").write_text((tmp_path / "README.md").read_text("utf-8").replace("P-256", "P-255"), "utf-8")
    assert sorted(build.stale(tmp_path)) == ["README.md", "docs/reference/errors.md"]


def test_a_page_that_lost_its_marks_is_found() -> None:
    with pytest.raises(build.Unmarked, match="generated: figures"):
        build.filled("no marks here", "figures", "new")


# -- everything is there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", codes.known())
def test_every_code_is_told_with_its_cure_in_both_languages(code: str) -> None:
    told, text = codes.known()[code], page("reference/errors.md")
    section = text.partition(f"\n### {code}\n")[2].partition("\n### ")[0]
    for words in (told.en, told.zh):
        assert words.title in section
        assert words.cure in section


def test_every_metric_is_told() -> None:
    families = [*Metrics(Probes(), Pulse(Clock())).collect(), *SigningMetrics({}).collect()]
    assert [f.name for f in families if f"`{f.name}" not in page("reference/metrics.md")] == []


def settings(model: type[BaseModel], below: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings(inner, f"{below}{name}.")
        elif name != "adapters":
            yield f"{below}{name}"


def test_every_setting_is_told() -> None:
    names = list(settings(Settings))
    for kind in plugins.names("adapters"):
        names += settings(plugins.load("adapters", kind).Settings, f"adapters.{kind}.")
    names += settings(plugins.load("tokens", "software").Settings, "token.options.")
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| [^|]+ \|$", page("reference/settings.md"), re.MULTILINE)
    assert sorted(set(names) - set(rows)) == []


def test_every_option_of_an_endpoint_is_told() -> None:
    text = page("reference/routes.md")
    for kind in plugins.names("adapters"):
        section = text.partition(f"\n## Options of {kind}\n")[2].partition("\n## ")[0]
        assert [n for n in settings(plugins.load("adapters", kind).Options) if f"| `{n}` |" not in section] == []


def verbs(command: click.Command, name: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield name
        return
    context = click.Context(command)
    for each in command.list_commands(context):
        inner = command.get_command(context, each)
        assert inner
        yield from verbs(inner, f"{name} {each}")


def test_every_verb_of_switchctl_is_told() -> None:
    text = page("reference/switchctl.md")
    assert [name for name in verbs(switchctl, "switchctl") if f"\n## {name}\n" not in text] == []


def test_every_message_type_is_told() -> None:
    text = page("reference/messages.md")
    assert [name for name in catalogue.load().types if text.count(f"| `{name}` |") != 3] == []


def test_every_state_is_told_with_what_a_crash_costs_in_it() -> None:
    told = set(
        re.findall(r"\b[A-Z]{4,}\b", " ".join(re.findall(r"^\| ([^|]+) \|", page("explanation/guarantees.md"), re.M)))
    )
    assert {state for table in (MESSAGE, DELIVERY) for state in table if state} - told == set()


def test_every_dependency_has_its_reason_and_licence() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lists = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    names = {re.split(r"[\[>=<~]", line)[0].strip() for text in lists for line in text.splitlines()} - {""}
    rows = re.findall(r"^\| ([\w.-]+) \| .+ \| .+ \|$", page("decisions/0001-dependencies.md"), re.MULTILINE)
    assert sorted(set(rows) - {"package"}) == sorted(names)


# -- and it is true ----------------------------------------------------------------------------------------------


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


@pytest.mark.parametrize("name", ["routes", "switchd"])
def test_a_schema_for_editors_refers_to_nothing_that_is_missing(name: str) -> None:
    schema = json.loads(page(f"reference/{name}.schema.json"))
    assert {each.removeprefix("#/$defs/") for each in references(schema)} <= set(schema["$defs"])


def test_every_test_that_a_page_names_exists() -> None:
    defined = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    pages = [path for pattern in OWN for path in ROOT.glob(pattern) if path.suffix == ".md"]
    named = {(path.name, name) for path in pages for name in re.findall(r"`(test_\w+)`", path.read_text("utf-8"))}
    assert named
    assert sorted((path, name) for path, name in named if name not in defined) == []


def test_every_decision_is_in_the_index() -> None:
    index = page("decisions/README.md")
    pages = [path.name for path in (ROOT / "docs/decisions").glob("0*.md")]
    assert [name for name in pages if f"({name})" not in index] == []
    assert len(pages) == index.count(".md)")


def test_no_page_names_a_path_of_some_machine() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.json")]
    found = [
        (path.name, line) for path in pages for line in path.read_text("utf-8").splitlines() if MACHINE.search(line)
    ]
    assert found == []


def test_figures_name_the_command_that_measured_them() -> None:
    for name in ("README.md", "README.zh.md", "docs/explanation/performance.md"):
        block = re.search(
            r"<!-- generated: figures -->(.*?)<!-- /generated: figures -->", (ROOT / name).read_text(), re.S
        )
        assert block
        assert "`make bench`" in block[1]
        assert "P-256" in block[1]
