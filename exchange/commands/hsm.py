"""``switchctl hsm``: the devices that sign."""

from __future__ import annotations

from typing import Final

import click

from exchange.commands._command import Noun, reason
from exchange.commands._daemon import ask
from exchange.commands._output import Column, finish, put, table

STATUS: Final[tuple[Column, ...]] = (
    ("device", "device", "设备"),
    ("state", "state", "状态"),
    ("priority", "priority", "优先级"),
    ("in_flight", "in flight", "处理中"),
    ("signed", "signed", "已签名"),
    ("refused_keys", "refused keys", "不可用密钥"),
    ("why", "why", "原因"),
)
TESTED: Final[tuple[Column, ...]] = (
    ("device", "device", "设备"),
    ("key", "key", "密钥"),
    ("stands", "stands", "通过"),
    ("milliseconds", "ms", "毫秒"),
    ("why", "why", "原因"),
)


@click.group(
    "hsm",
    cls=Noun,
    zh="查看、自检、重新启用密码设备。",
    examples=("switchctl hsm status", "switchctl hsm open hsm-a --reason 'the PIN is corrected'"),
)
def command() -> None:
    """Look at the devices that sign, test them, and open them anew."""


@command.command(
    "status",
    zh="列出密码设备：状态、处理中的签名、原因。",
    examples=("switchctl hsm status", "switchctl hsm status --json"),
)
def status() -> None:
    """List the devices: which are up, what they have signed since, why one isn't."""
    rows = ask("hsm.status")
    put(rows, lambda: table(rows, STATUS))


@command.command(
    "selftest",
    zh="在每台可用设备上用每个密钥签名并验证；有不通过的则退出码为 1。",
    examples=("switchctl hsm selftest",),
)
def selftest() -> None:
    """Sign with every key on every device that is up, and verify; exit status 1 if one doesn't stand."""
    rows = ask("hsm.selftest")
    put(rows, lambda: table(rows, TESTED))
    finish(0 if all(row["stands"] for row in rows) else 1)


@command.command(
    "open",
    zh="重新打开设备，例如更正 PIN 之后；被停用的设备只能这样启用。",
    examples=("switchctl hsm open hsm-a --reason 'the PIN is corrected'",),
)
@click.argument("device", help="its name in switchd.yaml · switchd.yaml 中的设备名称")
@reason
def open_(device: str, reason: str) -> None:
    """Open a device anew, such as one that was disabled for a wrong PIN: it isn't tried again by itself."""
    rows = ask("hsm.open", device=device, reason=reason)
    put(rows, lambda: table(rows, STATUS))
    finish(0 if all(row["state"] == "UP" for row in rows) else 1)
