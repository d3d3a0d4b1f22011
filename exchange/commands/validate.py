"""``switchctl validate FILE``: what the catalogue says about a message, without a switch."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

import click

from exchange.commands._command import Verb, language, pick
from exchange.commands._output import Column, finish, put, say, table

FINDINGS: Final[tuple[Column, ...]] = (
    ("line", "line", "行"),
    ("code", "code", "代码"),
    ("pointer", "where", "位置"),
    ("value", "value", "值"),
    ("hint", "what is wrong, what to do", "问题与处理"),
)


@click.command(
    "validate",
    cls=Verb,
    zh="离线校验一份报文：列出全部错误、位置和处理办法。通过则退出码为 0，否则为 1。",
    examples=(
        "switchctl validate order.xml",
        "switchctl validate --type CEB621Message --unsigned inventory.xml",
        "switchctl validate --json - < order.xml",
    ),
)
@click.argument("file", type=click.File("rb"), help="the message; - is standard input · 报文文件；- 表示标准输入")
@click.option("--type", default="", help="check as this type, whatever the message says · 按该类型校验")
@click.option("--unsigned", is_flag=True, help="a required signature may be missing: the switch signs · 允许缺少签名")
def command(file: BinaryIO, type: str, unsigned: bool) -> None:
    """Check a message offline: every error, where it is and what to do. Exit status 0 if valid, else 1."""
    from exchange.commands._offline import verdict

    given = verdict(file.read(), type, unsigned)
    put({"file": file.name, **given}, lambda: _print(file.name, given))
    finish(0 if given["valid"] else 1)


def _print(name: str, given: dict[str, Any]) -> None:
    what = f"{given['type']} {given['edition']}".strip() or pick("unknown type", "类型未知")
    if given["valid"]:
        say(f"{name}: valid ({what})", f"{name}：通过（{what}）")
        return
    say(
        f"{name}: not valid ({what}): {given['code']} {given['en']}",
        f"{name}：未通过（{what}）：{given['code']} {given['zh']}",
    )
    if given["findings"]:
        table([{**finding, "hint": finding[language()]} for finding in given["findings"]], FINDINGS)
