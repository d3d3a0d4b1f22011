"""``switchctl queue``: what waits at each endpoint."""

from __future__ import annotations

from typing import Final

import click

from exchange.commands._command import Noun
from exchange.commands._daemon import ask
from exchange.commands._output import Column, put, table

COLUMNS: Final[tuple[Column, ...]] = (
    ("endpoint", "endpoint", "端点"),
    ("state", "state", "状态"),
    ("depth", "deliveries", "投递数"),
    ("oldest_seconds", "oldest (s)", "最久（秒）"),
    ("bytes", "bytes", "字节数"),
    ("on_hold", "on hold", "挂起"),
)


@click.group("queue", cls=Noun, zh="查看各端点的积压。", examples=("switchctl queue list",))
def command() -> None:
    """Look at what waits at each endpoint."""


@command.command(
    "list",
    zh="按端点和状态列出未完成的投递，最久的在前。",
    examples=("switchctl queue list", "switchctl queue list --json"),
)
def list_() -> None:
    """List open deliveries by endpoint and state, the oldest first."""
    rows = ask("queue.list")
    put(rows, lambda: table(rows, COLUMNS))
