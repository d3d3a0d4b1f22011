"""``switchctl transform FILE --route NAME``: what each delivery of a message would be, without sending anything."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import click

from exchange.commands import _output
from exchange.commands._command import Verb
from exchange.commands._output import facts, put
from exchange.commands.routes import imported, read_parties


@click.command(
    "transform",
    cls=Verb,
    zh="离线执行一条路由的步骤：逐个端点显示（或写出）将要投递的内容，不发送任何报文。",
    examples=(
        "switchctl transform order.xml --route orders-to-the-centre",
        "switchctl transform order.xml --route orders-to-the-centre --from ENT1 --diff",
        "switchctl transform order.xml --route orders-to-the-centre --out formed",
    ),
)
@click.argument("file", type=click.File("rb"), help="the message; - is standard input · 报文文件；- 表示标准输入")
@click.option("--route", required=True, metavar="NAME", help="the route whose steps are applied · 路由名称")
@click.option("--from", "party", default="", metavar="PARTY", help="who sends it, if not who it says · 发送方")
@click.option("--routes", type=click.Path(dir_okay=False, path_type=Path), help="the table · 路由表文件")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="write files into this folder · 写入目录")
@click.option("--diff", is_flag=True, help="show what differs from the message · 显示与原报文的差异")
@imported
def command(
    file: BinaryIO, route: str, party: str, routes: Path | None, out: Path | None, diff: bool, imported: BinaryIO | None
) -> None:
    """Apply the steps of a route: show or write what each delivery would be; nothing is sent and nothing signed."""
    from exchange.commands import _rehearsal
    from exchange.commands._offline import read_routes

    known, body = read_routes(routes, read_parties(imported)), file.read()
    made = _rehearsal.transform(known, file.name, body, party, route)
    told = [_told(one, body, diff) for one in made]
    for number, (one, row) in enumerate(zip(made, told, strict=True)):
        if out is not None:
            row["file"] = _write(out, number, one)
    put({"file": file.name, "route": route, "deliveries": told}, lambda: _print(told))


def _told(one: Mapping[str, Any], body: bytes, diff: bool) -> dict[str, Any]:
    made: bytes = one["body"]
    told = {name: value for name, value in one.items() if name != "body"} | {"size": len(made), "file": ""}
    told["text"] = "\n".join(_difference(body, made)) if diff else made.decode("utf-8", "backslashreplace")
    return told


def _difference(before: bytes, after: bytes) -> list[str]:
    old, new = (text.decode("utf-8", "backslashreplace").splitlines() for text in (before, after))
    return list(difflib.unified_diff(old, new, "message", "delivery", lineterm=""))


def _write(out: Path, number: int, one: Mapping[str, Any]) -> str:
    path = out / f"{number}-{one['endpoint']}-{Path(one['name']).name}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one["body"])
    except OSError as why:
        en, zh = f"{path} can't be written: {why.strerror}", f"{path} 无法写入：{why.strerror}"
        raise _output.Failure({"kind": "Refused", "code": "SWX-7020", "en": en, "zh": zh}) from None
    return str(path)


def _print(told: list[dict[str, Any]]) -> None:
    for number, row in enumerate(told):
        if number:
            click.echo()
        facts(
            (
                ("endpoint", "端点", row["endpoint"]),
                ("receiver", "接收方", row["receiver"]),
                ("steps", "步骤", row["steps"]),
                ("to be signed as", "将代签", row["sign"]),
                ("name", "名称", row["name"]),
                ("bytes", "字节", row["size"]),
                ("written to", "已写入", row["file"]),
            )
        )
        if not row["file"]:
            click.echo(row["text"])
