"""Every mistake in a folder of types is told at once, with its place and what to do.

Each c-* folder is laid over ``base``, which is without mistakes; c-*.txt holds the exact lines. After a wanted change
of wording, write them anew with ``UPDATE=1 pytest tests/bad_schemas`` and read the diff.
"""

from __future__ import annotations

import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS
from exchange.checking import Report, check
from exchange.errors import ConfigurationError

HERE = Path(__file__).parent
ON = date(2026, 1, 1)


def checked(case: Path, types: Path) -> Report:
    shutil.copytree(HERE / "base", types)
    shutil.copytree(case, types, dirs_exist_ok=True)
    return check(types, [], ON)


@pytest.mark.parametrize("case", sorted(path for path in HERE.glob("c-*") if path.is_dir()), ids=lambda path: path.name)
def test_the_mistakes_are_told_with_their_places(case: Path, tmp_path: Path) -> None:
    report = checked(case, tmp_path / "types")
    lines = [*report.problems, *(f"note: {remark}" for remark in report.remarks)]
    told = "".join(f"{line}\n" for line in lines).replace(f"{tmp_path / 'types'}/", "")
    told = told.replace(f"{SCHEMAS}/", "schemas/")
    expected = case.with_suffix(".txt")
    if os.environ.get("UPDATE"):
        expected.write_text(told, "utf-8")
    assert told == expected.read_text("utf-8")
    assert report.problems


def test_what_they_are_laid_over_is_without_mistakes(tmp_path: Path) -> None:
    assert checked(HERE / "base", tmp_path / "types") == Report([], [], 2, 2, 3)


def test_a_folder_without_types_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name the folder above the authorities"):
        check(tmp_path, [], ON)
