"""``switchctl sign``: what waits to be signed, what was signed, and whether signing works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from exchange.commands._command import Noun, language, limit, pick
from exchange.commands._daemon import ask
from exchange.commands._output import Column, cell, facts, finish, put, say, table

QUEUE: Final[tuple[Column, ...]] = (("party", "party", "接入方"), ("depth", "to be signed", "待签名"))
TEST: Final[tuple[Column, ...]] = (
    ("profile", "profile", "签名规格"),
    ("key", "key", "密钥"),
    ("device", "device", "设备"),
    ("serial", "certificate", "证书序列号"),
    ("attempts", "attempts", "次数"),
    ("milliseconds", "milliseconds", "毫秒"),
    ("stands", "stands", "验证通过"),
    ("code", "code", "代码"),
    ("what", "what", "说明"),
)
LOG: Final[tuple[Column, ...]] = (
    ("number", "number", "序号"),
    ("at", "at", "时间"),
    ("job", "job", "作业"),
    ("party", "party", "接入方"),
    ("profile", "profile", "签名规格"),
    ("key", "key", "密钥"),
    ("device", "device", "设备"),
    ("code", "code", "代码"),
    ("microseconds", "µs", "微秒"),
    ("attempts", "attempts", "次数"),
)


@click.group(
    "sign",
    cls=Noun,
    zh="查看签名队列和签名日志，试签。",
    examples=("switchctl sign status", "switchctl sign log --failed", "switchctl sign log verify"),
)
def command() -> None:
    """Look at what waits to be signed and at what was signed; try a signature."""


@command.command(
    "status",
    zh="密码设备能否签名、积压多少、近来快慢；不能签名时退出码为 1。",
    examples=("switchctl sign status", "switchctl sign status --json"),
)
def status() -> None:
    """Tell whether the token signs, how much waits, how fast it was lately; exit status 1 while it can't."""
    told = ask("sign.status")
    put(told, lambda: _print_status(told))
    finish(1 if told["trouble"] else 0)


def _print_status(told: Mapping[str, Any]) -> None:
    production = "" if told["production"] else pick(" (non-production)", "（非生产）")
    fast = " / ".join(cell(told[f"p{share}_ms"]) for share in (50, 95, 99))
    facts(
        (
            ("token", "密码设备", told["token"] + production),
            ("trouble", "故障", told["trouble"]),
            ("waiting", "待签名", told["waiting"]),
            ("parties waiting", "待签名接入方", told["parties_waiting"]),
            ("with the token", "签名中", f"{told['with_token']} / {told['window']}"),
            ("oldest (s)", "最久（秒）", told["oldest_seconds"]),
            ("last row of the log", "签名日志末行", f"{told['last_number']} {told['last_at']}"),
            ("lately", "近来", told["lately"]),
            ("of them failed", "其中失败", told["lately_failed"]),
            ("per second", "每秒", told["per_second"]),
            ("p50 / p95 / p99 (ms)", "p50 / p95 / p99（毫秒）", fast),
        )
    )


@command.command(
    "queue",
    zh="按接入方列出待签名数量，最多的在前。",
    examples=("switchctl sign queue", "switchctl sign queue --json"),
)
def queue() -> None:
    """List who waits for signatures, the most first; the parties take turns."""
    rows = ask("sign.queue")
    put(rows, lambda: table(rows, QUEUE))


@command.group(
    "log",
    cls=Noun,
    invoke_without_command=True,
    zh="列出签名日志，最新的在前；verify 检查其链。",
    examples=(
        "switchctl sign log --message 20261122-42",
        "switchctl sign log --device hsm-a --failed",
        "switchctl sign log verify",
    ),
)
@click.option("--message", default="", help="of this message · 该报文的")
@click.option("--party", default="", help="for this party (code) · 该接入方（代码）的")
@click.option("--key", default="", help="with this key · 用该密钥的")
@click.option("--device", default="", help="by this device · 该设备的")
@click.option("--failed", is_flag=True, help="only what couldn't be signed · 仅失败的")
@click.option("--before", default=0, type=click.IntRange(0), help="rows before this number · 该序号之前的")
@limit
@click.pass_context
def log(context: click.Context, /, **filters: Any) -> None:
    """List rows of the signing log, newest first."""
    if context.invoked_subcommand is None:
        rows = ask("sign.log", **filters)
        put(rows, lambda: table(rows, LOG))


@log.command(
    "verify",
    zh="逐行检查签名日志的链：是否有行被改动、删除或插入；链断则退出码为 1。",
    examples=("switchctl sign log verify", "switchctl sign log verify --json"),
)
def verify() -> None:
    """Follow the log's links from the oldest row to the newest; exit status 1 where a row was changed."""
    from exchange.commands import _signinglog

    told = _signinglog.verified()
    put(told, lambda: _print_verified(told))
    finish(1 if told["broken"] else 0)


def _print_verified(told: Mapping[str, Any]) -> None:
    facts(
        (
            ("rows", "行数", told["rows"]),
            ("numbers", "序号", f"{told['first']} - {told['last']}"),
            ("head", "链头", told["head"]),
            ("broken at", "断于", told["broken"] or ""),
            ("dropped by retention", "已按期清理", [f"{first} - {last}" for first, last in told["gaps"]]),
        )
    )
    if told["broken"]:
        en = f"Row {told['broken']} isn't what was written: compare it with a backup; find out who can write the store"
        say(en, f"第 {told['broken']} 行与写入时不符：请与备份比对，并查明谁能写入存储")


@command.command(
    "test",
    zh="用某个密钥按某种签名规格试签并验证；不通过则退出码为 1。",
    examples=("switchctl sign test --profile ceb-sm2 --key demo-shop",),
)
@click.option("--profile", required=True, help="signature profile · 签名规格")
@click.option("--key", required=True, help="its name, as routes and parties have it · 密钥名称")
def test(profile: str, key: str) -> None:
    """Sign a small document through the queue, and verify it; exit status 1 if that doesn't stand."""
    told = ask("sign.test", profile=profile, key=key)
    shown = {**told, "what": told.get(language())}
    put(told, lambda: facts((en, zh, shown[key]) for key, en, zh in TEST if shown.get(key) is not None))
    finish(0 if told["stands"] else 1)
