"""What Click says about a command line that it can't read, in the reader's language."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Final

import click

from exchange.commands._command import pick

WORDS: Final = (
    (r"Missing option ('[^']*')\.", r"缺少选项 \1。"),
    (r"Missing argument ('[^']*')\.", r"缺少参数 \1。"),
    (r"No such option ('[^']*')\.", r"没有选项 \1。"),
    (r"No such command ('[^']*')\.", r"没有命令 \1。"),
    (r"Option ('[^']*') requires an argument\.", r"选项 \1 须带值。"),
    (r"Option ('[^']*') does not take a value\.", r"选项 \1 不带值。"),
    (r"Got unexpected extra arguments? \((.*)\)\.?", r"多余的参数：\1。"),
    (r"Invalid value for ('[^']*'): ", r"\1 的值有误："),
    (r"('[^']*') is not one of (.*?)\.", r"\1 不在可选值之内：\2。"),
    (r"('[^']*') is not a valid (?:integer|float)(?: range)?\.", r"\1 不是数字。"),
    (r"(\S+) is not in the range (\S+)\.", r"\1 不在范围 \2 之内。"),
    (r"(?:Could not open file: )?('[^']*'): No such file or directory", r"文件 \1 不存在"),
    (r"('[^']*'): Is a directory", r"\1 是目录，不是文件"),
    (r" ?\(?Did you mean (?:one of: )?(.*?)\?\)?", r"是否为 \1？"),
)


def show(why: click.ClickException) -> None:
    """Print what is wrong with a command line, how it is used, and where the help is."""
    if isinstance(why, click.exceptions.NoArgsIsHelpError):
        why.show()
        return
    context = why.ctx if isinstance(why, click.UsageError) else None
    with context.scope(cleanup=False) if context else nullcontext():
        if context:
            click.echo(context.get_usage(), err=True)
            asked = f"'{context.command_path} --help'"
            click.echo(pick(f"Try {asked} for help.\n", f"用 {asked} 查看帮助。\n"), err=True)
        said = why.format_message()
        click.echo(pick(f"Error: {said}", f"错误：{in_chinese(said)}"), err=True)


def in_chinese(said: str) -> str:
    """Return what Click says in Chinese; what isn't known here as it is.

    >>> in_chinese("No such command 'lst'. Did you mean 'list'?")
    "没有命令 'lst'。是否为 'list'？"
    >>> in_chinese("Invalid value for '--limit': 0 is not in the range 1<=x<=10000.")
    "'--limit' 的值有误：0 不在范围 1<=x<=10000 之内。"
    """
    for pattern, words in WORDS:
        said = re.sub(pattern, words, said)
    return said
