"""``switchctl``, the administrator's tool: ``switchctl NOUN VERB``.

A command's module is imported when it is used, and what is heavy (schemas, YAML, Twisted) only inside the verb that
needs it: ``--help`` costs no more than Click does.

Exit status: 0 done, 1 a check found a problem, 2 usage, 3 not found, 4 refused, 5 the generation changed,
69 no switch answers, 75 try again, 78 configuration error, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, Never

import click

from exchange.commands import _output, _usage
from exchange.commands._command import Noun, Verb
from exchange.errors import ExchangeError

COMMANDS: Final = (
    "status", "message", "queue", "party", "endpoint", "receipt", "routes", "schema", "hsm", "sign", "key", "change",
    "trust", "evidence", "validate", "transform", "explain", "credential",
)  # fmt: skip


class _Root(Noun):
    """Imports commands by name, and turns what went wrong into an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: Verb = import_module(f"exchange.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as why:
            raise click.NoSuchCommand(why.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; tell what went wrong in the language, and in the form, that was asked for."""
        try:
            return super().invoke(ctx)
        except click.UsageError as why:
            why.ctx = why.ctx or ctx
            raise
        except _output.Failure as why:
            ctx.exit(_output.tell(why.told))
        except ExchangeError as why:
            ctx.exit(_output.tell(_output.told(why)))

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **more: Any) -> Never:  # type: ignore[override]
        """Run and exit with the status that is promised above."""
        try:
            status = super().main(args, prog_name, **more | {"standalone_mode": False})
        except click.ClickException as why:
            _usage.show(why)
            status = why.exit_code
        except click.Abort:
            status = 130
        sys.exit(status)


@click.group(
    "switchctl",
    cls=_Root,
    zh="查看并操作交换机。",
    context_settings={"auto_envvar_prefix": "SWITCHCTL"},
    examples=(
        "switchctl status",
        "switchctl message search ORDER-20261122-0001",
        "switchctl --lang zh explain SWX-2010",
        "switchctl routes check routes.yaml",
    ),
)
@click.version_option(package_name="single-window-switch", help="Show the version and exit. · 显示版本。")
def switchctl() -> None:
    """Look at the switch, and change what needs changing."""


main = switchctl
