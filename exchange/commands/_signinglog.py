"""Checking the signing log, read beside a running switch or without one."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import click

from exchange.commands._command import pick
from exchange.commands._offline import installed, past_of
from exchange.signinglog import Checked, check

PAGE: Final = 2000  # rows read at once
PATIENCE: Final = 2.0  # seconds between two words about how far it is


def verified() -> dict[str, Any]:
    """Follow the links of the whole log. Raises NotFound, Refused, StoreError."""
    told, due = Checked(), time.monotonic() + PATIENCE
    with past_of(installed()) as past:
        while not told.broken and (rows := past.operations(0, told.last, 0, PAGE)):
            told = check(rows, told)
            if sys.stderr.isatty() and time.monotonic() >= due:
                due = time.monotonic() + PATIENCE
                click.echo(pick(f"{told.rows} rows stand", f"已检查 {told.rows} 行"), err=True)
    return {
        "rows": told.rows,
        "first": told.first,
        "last": told.last,
        "head": told.head.hex(),
        "broken": told.broken,
        "gaps": [list(gap) for gap in told.gaps],
    }
