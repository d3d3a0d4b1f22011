"""50 MB of every format, and what was made to hurt, are checked or refused in bounded memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.bounds import CASES

ROOT = Path(__file__).parent.parent.parent
MEMORY = 100_000_000  # bytes over the size of a message
SECONDS = 20.0  # of a processor, for what takes ten at the most on an idle machine
FIFTY = "fifty megabytes"
CHECKED = {  # what 50 MB come to
    ("xml", FIFTY): "valid",
    ("edifact", FIFTY): "invalid 50",
    ("platform_file", FIFTY): "invalid 50",
    ("json", FIFTY): "valid",
    ("json", f"{FIFTY}, all wrong"): "invalid 50",
    ("table", FIFTY): "valid",
    ("table", "as many rows as may be"): "valid",
    ("table", f"{FIFTY}, a mistake at the end"): "invalid 8",
    ("table", f"{FIFTY}, all wrong"): "invalid 50",
    ("table", "long cells"): "invalid 50",
}
REFUSED = {"SWX-1011", "SWX-1013", "SWX-1015", "SWX-1016", "SWX-1018", "SWX-1021", "SWX-1023", "SWX-1025"}


@cache
def told(format: str) -> Mapping[str, Any]:
    """Return what became of every case of a format."""
    command = [sys.executable, "-m", "tests.bounds", format]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("format", "case"), [(format, case) for format, cases in CASES.items() for case in cases])
def test_a_message_is_checked_in_bounded_memory_and_time(format: str, case: str) -> None:
    line = told(format)[case]
    assert "broke" not in line, line["broke"]
    assert line["over"] < MEMORY, line
    assert line["seconds"] < SECONDS, line
    assert line["became"] in REFUSED or line["became"].startswith(("valid", "invalid ")), line
    assert line["became"] == CHECKED.get((format, case), line["became"])
