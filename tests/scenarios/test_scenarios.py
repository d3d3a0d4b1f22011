"""Golden scenarios: what goes in, what must come out, byte for byte.

A scenario is a folder ``s-NN-name``: ``routes.yaml``, ``in/<endpoint>/<NN>-<file>`` (given in the order of NN, one
after the other), ``out/<endpoint>/<NN>-<file>`` (what was sent there), and ``lives.txt`` (what became of every
message). Values that differ with every key are blanked. After a wanted change, write them anew with
``UPDATE=1 pytest tests/scenarios`` and read the diff.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests import evidence
from tests.daemon import House, running

HERE = Path(__file__).parent
BLANKED = re.compile(
    rb"(<ds:(?:SignatureValue|X509Certificate|KeyName)>)[^<]+"  # random keys, fresh for each run
)


@pytest.mark.parametrize("folder", sorted(HERE.glob("s-*")), ids=lambda path: path.name)
async def test_a_scenario_ends_as_it_is_written(folder: Path, tmp_path: Path) -> None:
    async with running(tmp_path, (folder / "routes.yaml").read_text("utf-8")) as house:
        names = []
        for path in sorted((folder / "in").glob("*/*"), key=lambda path: path.name):
            name = path.name.partition("-")[2]
            names.append((await house.give(path.parent.name, path.read_bytes(), name), path.parent.name, name))
            await house.settle()
        told = await _told(house, names)
        out = {
            f"{endpoint}/{number:02}-{parcel.name}": BLANKED.sub(rb"\1...", parcel.read())
            for endpoint in {name for name, _ in house.memory.sent}
            for number, parcel in enumerate(house.sent(endpoint), 1)
        }
    for id, _, _ in names:
        checks = evidence.checked(evidence.export(tmp_path, id), tmp_path)
        assert evidence.failures(checks) == [], "whatever becomes of a message, its evidence stands"
    if os.environ.get("UPDATE"):
        _write(folder, out, told)
    expected = {str(p.relative_to(folder / "out")): p.read_bytes() for p in (folder / "out").glob("*/*")}
    assert sorted(out) == sorted(expected)
    for name, body in out.items():
        assert body == expected[name], name
    assert told == (folder / "lives.txt").read_text("utf-8")


async def _told(house: House, names: list[tuple[str, str, str]]) -> str:
    """Tell the life of every message in a few lines."""
    lines = []
    for id, endpoint, name in names:
        life = await house.ask("message.show", id=id)
        lines.append(f"{id} {life['type'] or 'unknown'} ({name} from {endpoint}): {life['state']}")
        for line in life["journal"]:
            parts = [line["event"]]
            parts += [f"delivery {line['delivery']}"] if line["delivery"] is not None else []
            parts += [f"{key} {line[key]}" for key in ("route", "code", "outcome", "receipt", "twin") if line.get(key)]
            lines.append("    " + ", ".join(parts))
        lines += [
            f"    -> {d['number']} {d['endpoint']} {d['disposition']} {d['type']}: {d['state']}"
            for d in life["deliveries"]
        ]
    return "\n".join(lines) + "\n"


def _write(folder: Path, out: dict[str, bytes], told: str) -> None:
    shutil.rmtree(folder / "out", ignore_errors=True)
    for name, body in out.items():
        (folder / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "out" / name).write_bytes(body)
    (folder / "lives.txt").write_text(told, "utf-8")
