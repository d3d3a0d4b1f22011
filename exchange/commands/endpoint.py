"""``switchctl endpoint``: where messages come in and go out; stop and start what is sent to one of them."""

from __future__ import annotations

from typing import Final

import click

from exchange.commands._command import Noun, reason
from exchange.commands._daemon import ask
from exchange.commands._output import Column, put, table
from exchange.commands.party import HELD, explained

COLUMNS: Final[tuple[Column, ...]] = (
    ("name", "endpoint", "端点"),
    ("party", "party", "接入方"),
    ("kind", "kind", "类型"),
    ("state", "state", "状态"),
    ("waiting", "waiting", "等待"),
    ("oldest_seconds", "oldest (s)", "最久（秒）"),
    ("hold", "on hold", "挂起情况"),
)


@click.group(
    "endpoint",
    cls=Noun,
    zh="查看、挂起、恢复端点。",
    examples=(
        "switchctl endpoint list --party CUSTOMS",
        "switchctl endpoint hold customs-queue --reason 'customs works on its broker'",
    ),
)
def command() -> None:
    """Look at endpoints, hold and resume them."""


@command.command(
    "list",
    zh="列出端点、等待的投递，以及由谁因何挂起。",
    examples=("switchctl endpoint list", "switchctl endpoint list --party CUSTOMS --json"),
)
@click.option("--party", default="", help="of this party · 该接入方的")
def list_(party: str) -> None:
    """List endpoints, what waits for each, and who put them on hold when and why."""
    rows = ask("endpoint.list", party=party)
    put(rows, lambda: table(explained(rows), COLUMNS))


@command.command(
    "hold",
    zh="挂起端点：不再向其投递，投递保留排队。",
    examples=("switchctl endpoint hold customs-queue --reason 'customs works on its broker'",),
)
@click.argument("name", help="the endpoint's name · 端点名称")
@reason
def hold(name: str, reason: str) -> None:
    """Hold an endpoint: nothing is sent to it, deliveries wait in order."""
    done = ask("endpoint.hold", name=name, state="held", reason=reason)
    put(done, lambda: table([done], HELD))


@command.command(
    "resume",
    zh="恢复端点：等待的投递按序继续。",
    examples=("switchctl endpoint resume customs-queue --reason 'the broker is back'",),
)
@click.argument("name", help="the endpoint's name · 端点名称")
@reason
def resume(name: str, reason: str) -> None:
    """Resume an endpoint: the deliveries that wait go on, in order."""
    done = ask("endpoint.hold", name=name, state="", reason=reason)
    put(done, lambda: table([done], HELD))
