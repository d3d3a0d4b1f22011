"""``switchctl evidence``: one file that proves what happened to a message, and a check of such a file anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from exchange.commands._command import Noun, language
from exchange.commands._output import Column, facts, finish, put, say, table

CHECKS: Final[tuple[Column, ...]] = (
    ("outcome", "outcome", "结果"),
    ("check", "what", "检查项"),
    ("subject", "entry", "条目"),
    ("code", "code", "代码"),
    ("hint", "result", "说明"),
)


@click.group(
    "evidence",
    cls=Noun,
    zh="导出和核验一份报文的证据包。",
    examples=("switchctl evidence export 20261122-42", "switchctl evidence verify evidence-20261122-42.zip"),
)
def command() -> None:
    """Export the evidence of a message, and check such a file."""


@command.command(
    "export",
    zh="把一份报文的全部证据写入一个文件：原件、所发内容、证书、回执、日志账、签名日志的链。",
    examples=(
        "switchctl evidence export 20261122-42",
        "switchctl evidence export 20261122-42 --out claim-7.zip --timestamp none",
    ),
)
@click.argument("id", help="the message's id · 报文编号")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="the file to write · 输出文件")
@click.option(
    "--timestamp",
    default="",
    metavar="URL",
    help="time stamping authority (RFC 3161), or none; default as in switchd.yaml · 时间戳服务地址，none 表示不用",
)
def export(id: str, out: Path | None, timestamp: str) -> None:
    """Write all evidence of a message into one file: what came, what was sent, who signed, what was answered."""
    from exchange.commands import _evidence

    told = _evidence.exported(id, out or Path(f"evidence-{id}.zip"), timestamp)
    put(told, lambda: _print_exported(told))


def _print_exported(told: Mapping[str, Any]) -> None:
    facts(
        (
            ("written to", "输出文件", told["file"]),
            ("bytes", "字节数", told["bytes"]),
            ("entries", "条目数", told["entries"]),
            ("manifest signed", "清单签名", told["signed"]),
            ("time stamp", "时间戳", told["stamped"]),
        )
    )
    if told["unsigned_because"]:
        because: Mapping[str, str] = told["unsigned_because"]
        say(f"The manifest isn't signed: {because['en']}", f"清单未签名：{because['zh']}")


@command.command(
    "verify",
    zh="核验证据包：无需交换机、存储和网络。有任何一项不通过则退出码为 1。",
    examples=(
        "switchctl evidence verify evidence-20261122-42.zip",
        "switchctl evidence verify evidence-20261122-42.zip --trust ca.pem --json",
    ),
)
@click.argument("file", type=click.Path(path_type=Path), help="the file · 证据包")
@click.option(
    "--trust",
    multiple=True,
    type=click.Path(path_type=Path),
    help="certificates (PEM or DER) of signers, or of who issued theirs: no others pass · 受信任的证书",
)
@click.option("--head", default="", help="link of the signing log that was noted later · 事后记录的签名日志链值")
def verify(file: Path, trust: Sequence[Path], head: str) -> None:
    """Check an evidence file, with no switch, store or network; exit status 1 if anything in it fails."""
    from exchange.commands import _evidence

    told = _evidence.verified(file, trust, head)
    put(told, lambda: _print_verified(told))
    finish(0 if told["passed"] else 1)


def _print_verified(told: Mapping[str, Any]) -> None:
    rows = [
        {
            **one,
            "outcome": one["outcome_zh"] if language() == "zh" else one["outcome"],
            "check": one["check_zh"] if language() == "zh" else one["check_en"],
            "hint": one[language()],
        }
        for one in told["checks"]
    ]
    table(rows, CHECKS)
    count = sum(one["outcome"] == "failed" for one in told["checks"])
    if count:
        say(f"{told['file']}: {count} checks failed", f"{told['file']}：{count} 项不通过")
    else:
        say(f"{told['file']}: nothing failed", f"{told['file']}：没有不通过的项")
