"""``switchctl receipt``: what authorities answered."""

from __future__ import annotations

from typing import Final

import click

from exchange.commands._command import Noun, limit
from exchange.commands._daemon import ask
from exchange.commands._output import Column, cell, put, table
from exchange.commands.message import LIST

COLUMNS: Final[tuple[Column, ...]] = (
    *LIST[:6],
    ("said", "answers", "回执内容"),
    ("name", "name", "文件名"),
)


@click.group(
    "receipt",
    cls=Noun,
    zh="查看回执。",
    examples=("switchctl receipt list", "switchctl receipt list --unmatched"),
)
def command() -> None:
    """Look at receipts."""


@command.command(
    "list",
    zh="列出回执，最新的在前。",
    examples=("switchctl receipt list --party CUSTOMS", "switchctl receipt list --unmatched --json"),
)
@click.option("--unmatched", is_flag=True, help="only those whose cause hasn't come · 只列出找不到原报文的")
@click.option("--party", default="", help="from this party (code) · 该接入方（代码）的")
@limit
def list_(unmatched: bool, party: str, limit: int) -> None:
    """List receipts, newest first."""
    rows = ask("receipt.list", unmatched=unmatched, party=party, limit=limit)
    put(rows, lambda: table([{**row, "said": cell([one["code"] for one in row["answers"]])} for row in rows], COLUMNS))
