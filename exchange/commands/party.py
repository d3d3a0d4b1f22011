"""``switchctl party``: who exchanges messages here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

import click

from exchange.commands._command import Noun, pick, reason, yes
from exchange.commands._daemon import ask, confirm
from exchange.commands._output import Column, put, say, table
from exchange.errors import ConfigurationError

COLUMNS: Final[tuple[Column, ...]] = (
    ("code", "code", "代码"),
    ("role", "role", "角色"),
    ("state", "state", "状态"),
    ("name", "name", "名称"),
    ("ids", "identifiers", "标识"),
    ("endpoints", "endpoints", "端点"),
    ("hold", "on hold", "挂起情况"),
)
HELD: Final[tuple[Column, ...]] = (("subject", "subject", "对象"), ("state", "state now", "当前状态"))


def explained(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rows with who put them on hold, when and why, as people read it."""
    return [{**row, "hold": why(row["hold"])} if row.get("hold") else row for row in rows]


def why(hold: Mapping[str, str]) -> str:
    """Write since when, by whom and why something is on hold."""
    since, by, reason = hold["since"], hold["by"], hold["reason"]
    return pick(f"since {since} by {by}: {reason}", f"{since} 由 {by} 挂起：{reason}")


@click.group(
    "party",
    cls=Noun,
    zh="查看、挂起、恢复、导入接入方。",
    examples=("switchctl party list --role enterprise", "switchctl party hold ENT1 --reason 'key lost'"),
)
def command() -> None:
    """Look at parties, hold and resume them, import them."""


@command.command(
    "list", zh="列出接入方及其端点。", examples=("switchctl party list", "switchctl party list --role customs --json")
)
@click.option("--role", default="", help="of this role, such as enterprise · 该角色的，如 enterprise")
def list_(role: str) -> None:
    """List parties, with their endpoints, and who put them on hold when and why."""
    rows = ask("party.list", role=role)
    put(rows, lambda: table(explained(rows), COLUMNS))


@command.command(
    "hold",
    zh="挂起接入方：照常接收，但其报文和发往它的投递都等待。",
    examples=("switchctl party hold ENT1 --reason 'certificate stolen'",),
)
@click.argument("code", help="the party's code · 接入方代码")
@reason
def hold(code: str, reason: str) -> None:
    """Hold a party: what it sends is still taken, but waits, and so does what is due to it."""
    done = ask("party.hold", code=code, state="held", reason=reason)
    put(done, lambda: table([done], HELD))


@command.command(
    "resume",
    zh="恢复接入方：因其挂起而等待的都继续。",
    examples=("switchctl party resume ENT1 --reason 'new certificate registered'",),
)
@click.argument("code", help="the party's code · 接入方代码")
@reason
def resume(code: str, reason: str) -> None:
    """Resume a party: all that waited for this goes on."""
    done = ask("party.hold", code=code, state="", reason=reason)
    put(done, lambda: table([done], HELD))


@command.command(
    "import",
    zh="从 NDJSON 文件导入接入方：每行一个 JSON 对象，字段与 routes.yaml 的 parties 相同；同代码的被替换。",
    examples=("switchctl party import parties.ndjson --reason 'monthly list'",),
)
@click.argument("file", type=click.File("rb"), help="NDJSON; - is standard input · NDJSON 文件；- 表示标准输入")
@reason
@yes
def import_(file: BinaryIO, reason: str, yes: bool) -> None:
    """Import parties: one JSON object a line, keys as under parties in routes.yaml; the same code is replaced."""
    rows = list(read_rows(file))
    confirm(len(rows), sure=yes)
    done = ask("party.import", rows=rows, reason=reason)
    put(done, lambda: say(f"{done['imported']} parties imported", f"已导入 {done['imported']} 个接入方"))


def read_rows(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the objects of an NDJSON file. Raises ConfigurationError with every line that is none."""
    import orjson

    problems = []
    for number, line in enumerate(file, 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as why:
            problems.append(f"{file.name}:{number}:{why.colno}: {why.msg}")
            continue
        if isinstance(row, dict):
            yield row
        else:
            problems.append(f"{file.name}:{number}:1: expected one JSON object")
    if problems:
        raise ConfigurationError(problems)
