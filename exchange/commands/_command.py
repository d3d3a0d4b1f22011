"""What every command shares: help in two languages that ends with examples, and the options that stand anywhere.

A text for people is written ``English · 中文``; what the reader sees is decided when it is printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

LANGUAGES: Final = ("zh", "en")
SETTING: Final = "switchctl."
CLICKS_OWN: Final = {
    "Usage:": "用法:",
    "Options": "选项",
    "Commands": "命令",
    "Positional arguments": "参数",
    "Show this message and exit.": "显示帮助。",
}
_TWO: Final = re.compile(r"(?P<en>.*?) · (?P<zh>.*?)(?P<more>  \[[^\]]*\])?", re.DOTALL)  # Click adds [default: ...]


def setting(name: str) -> Any:
    """Return an option that stands anywhere (json, lang, socket, config), or None."""
    context = click.get_current_context(silent=True)
    return context.meta.get(SETTING + name) if context else None


def language() -> str:
    """Return ``zh`` or ``en``: as ``--lang`` says, else as the locale does."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return setting("lang") or ("zh" if locale.startswith("zh") else "en")


def pick(en: str, zh: str) -> str:
    """Return the text in the reader's language."""
    return zh if language() == "zh" else en


def one_language(text: str) -> str:
    """Return the reader's half of ``English · 中文``."""
    found = _TWO.fullmatch(text)
    if found:
        return pick(found["en"], found["zh"]) + (found["more"] or "")
    return pick(text, CLICKS_OWN.get(text, text))


class _Formatter(click.HelpFormatter):
    """Writes help in the reader's language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, f"{one_language('Usage:')} " if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        super().write_heading(one_language(heading))

    def write_text(self, text: str) -> None:
        super().write_text(one_language(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(first, one_language(second)) for first, second in rows], col_max, col_spacing)


class _Context(click.Context):
    formatter_class = _Formatter


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value not in (None, False):
        context.meta[SETTING + str(parameter.name)] = value


def _anywhere() -> list[click.Parameter]:
    path = click.Path(dir_okay=False, path_type=Path)
    said: Sequence[tuple[str, str, dict[str, Any]]] = (
        ("--json", "one JSON document for programs · 以 JSON 输出，供程序使用", {"is_flag": True}),
        (
            "--lang",
            "language of what is printed (default: the locale's) · 显示语言（默认：随系统区域设置）",
            {"type": click.Choice(LANGUAGES), "is_eager": True},
        ),
        ("--socket", "the switch's control socket · 交换机的控制套接字", {"type": path}),
        (
            "--config",
            "switchd.yaml of the switch (default: the one here) · 交换机的 switchd.yaml（默认：当前目录下的）",
            {"type": path},
        ),
    )
    return [
        click.Option([name], help=help, expose_value=False, callback=_remember, **more) for name, help, more in said
    ]


class Verb(click.Command):
    """One command. Its docstring is the English help, *zh* the Chinese one; *examples* are command lines."""

    context_class = _Context

    def __init__(self, *args: Any, zh: str = "", examples: Sequence[str] = (), **more: Any) -> None:
        more["help"] = more["short_help"] = f"{' '.join((more.get('help') or '').split())} · {zh}"
        more["params"] = [*(more.get("params") or ()), *_anywhere()]
        more["context_settings"] = {"help_option_names": ["-h", "--help"]} | (more.get("context_settings") or {})
        super().__init__(*args, **more)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples last."""
        with formatter.section("Examples · 示例"):
            formatter.write("".join(f"{'':>{formatter.current_indent}}{line}\n" for line in self.examples))


class Noun(Verb, click.Group):
    """A group of commands about one noun."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order they are written."""
        return list(self.commands)


def ids(what: str, zh: str) -> Callable[[Function], Function]:
    """Declare the argument for one or more ids, or ``-`` for one a line on standard input."""
    help = f"{what}; - reads them from standard input, one a line · {zh}；- 表示从标准输入逐行读取"
    return click.argument("ids", metavar="ID...", nargs=-1, required=True, help=help)


reason = click.option("--reason", required=True, help="why; the journal keeps it · 变更理由，记入日志账")
yes = click.option("--yes", is_flag=True, help="ask nothing, for scripts · 不再确认，供脚本使用")
limit = click.option(
    "--limit", default=50, type=click.IntRange(1, 10_000), show_default=True, help="at most · 最多条数"
)
