"""``switchctl endpoint``: stop and start what is sent to one endpoint."""

from __future__ import annotations

import click

from exchange.commands._command import Noun, reason
from exchange.commands._daemon import ask
from exchange.commands._output import put, table
from exchange.commands.party import HELD


@click.group(
    "endpoint",
    cls=Noun,
    zh="挂起、恢复端点。",
    examples=("switchctl endpoint hold customs-queue --reason 'customs works on its broker'",),
)
def command() -> None:
    """Hold and resume endpoints."""


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
