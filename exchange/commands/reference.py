"""``python -m exchange.commands.reference``: every command as Markdown, in the locale's language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from exchange.commands import __doc__ as summary
from exchange.commands import switchctl
from exchange.commands._command import Verb, one_language, pick


def lines() -> Iterator[str]:
    """Yield the page, line by line."""
    context = switchctl.context_class(switchctl, info_name="switchctl")
    yield "# switchctl\n"
    yield f"{(summary or '').rpartition(chr(10) * 2)[2].strip()}\n"
    with context:
        yield from _rows(switchctl.params, context)
        yield from _commands(switchctl, context)


def _commands(group: click.Group, parent: click.Context) -> Iterator[str]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if not isinstance(command, Verb):
            continue
        context = command.context_class(command, info_name=name, parent=parent)
        if isinstance(command, click.Group):
            yield from _commands(command, context)
            continue
        yield f"\n## {context.command_path}\n"
        yield f"{one_language(command.help or '')}\n"
        yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
        yield from _rows((one for one in command.params if one.expose_value), context)
        yield pick("\nExamples:\n", "\n示例：\n")
        yield from (f"    {line}" for line in command.examples)


def _rows(parameters: Iterable[click.Parameter], context: click.Context) -> Iterator[str]:
    for parameter in parameters:
        name, help = parameter.get_help_record(context) or ("", "")
        yield f"* `{name}`: {one_language(help)}"


if __name__ == "__main__":
    click.echo("\n".join(lines()))
