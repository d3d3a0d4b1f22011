"""``switchctl routes``: check, test and explain a table before it is in force; publish it, or an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from exchange.commands import _output
from exchange.commands._command import Noun, language, limit, pick, reason
from exchange.commands._daemon import ask
from exchange.commands._output import Column, cell, facts, finish, put, say, table
from exchange.commands.party import read_rows
from exchange.commands.validate import FINDINGS
from exchange.errors import ConfigurationError

GENERATIONS: Final[tuple[Column, ...]] = (
    ("generation", "generation", "代次"),
    ("at", "published at", "发布时间"),
    ("actor", "by", "操作人"),
    ("reason", "reason", "理由"),
    ("digest", "digest", "摘要"),
)
TRIED: Final[tuple[Column, ...]] = (
    ("route", "route", "路由"),
    ("matches", "matches", "匹配"),
    ("because", "because", "原因"),
)

path = click.argument(
    "file",
    required=False,
    type=click.Path(dir_okay=False, path_type=Path),
    help="the table (default: the one that switchd.yaml names) · 路由表文件（默认为 switchd.yaml 所指）",
)
imported = click.option(
    "--imported",
    type=click.File("rb"),
    help="NDJSON of parties that were imported and the table refers to · 已导入的接入方（NDJSON）",
)


@click.group(
    "routes",
    cls=Noun,
    zh="检查、测试、解释、发布、回退路由表。",
    examples=("switchctl routes check", "switchctl routes explain order.xml --from ENT1"),
)
def command() -> None:
    """Check, test, explain, publish and roll back the routing table."""


def read_parties(file: BinaryIO | None) -> Iterable[dict[str, Any]]:
    """Read the parties that ``--imported`` names."""
    return list(read_rows(file)) if file else ()


# -- offline -----------------------------------------------------------------------------------------------------


@command.command(
    "check",
    zh="离线检查路由表：一次列出所有错误及其位置；有错误时退出码为 78。",
    examples=("switchctl routes check", "switchctl routes check routes.yaml --json"),
)
@path
@imported
def check(file: Path | None, imported: BinaryIO | None) -> None:
    """List every mistake in a table, with its place; exit status 78 if there is one."""
    from exchange.commands._offline import read_routes

    routes = read_routes(file, read_parties(imported))
    known = routes.table
    counts = {"parties": len(known.parties), "endpoints": len(known.endpoints), "routes": len(known.routes)}
    counts["tests"] = len(routes.tests)
    en = ", ".join(f"{number} {noun}" for noun, number in counts.items())
    zh = "接入方 {parties}，端点 {endpoints}，路由 {routes}，测试 {tests}".format_map(counts)
    put(
        {"file": str(routes.path), **counts}, lambda: say(f"{routes.path}: good ({en})", f"{routes.path}：无误（{zh}）")
    )


@command.command(
    "test",
    zh="离线运行路由表自带的 tests：逐条说明不符之处；有不符时退出码为 1。",
    examples=("switchctl routes test", "switchctl routes test routes.yaml --json"),
)
@path
@imported
def test(file: Path | None, imported: BinaryIO | None) -> None:
    """Run the tests that a table carries; tell what happened instead, exit status 1 if one fails."""
    told = _run_tests(file, read_parties(imported))
    put(told, lambda: _print_tests(told))
    finish(0 if all(one["passed"] for one in told) else 1)


def _run_tests(file: Path | None, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    from exchange.commands._offline import read_routes
    from exchange.commands._rehearsal import run_test

    routes = read_routes(file, rows)
    return [run_test(routes, one) for one in routes.tests]


def _failures(told: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{one['place']}: {one['sample']} from {one['from']}: {problem[language()]}"
        for one in told
        for problem in one["problems"]
    ]


def _print_tests(told: Sequence[Mapping[str, Any]]) -> None:
    for line in _failures(told):
        click.echo(line)
    passed = sum(one["passed"] for one in told)
    say(f"{len(told)} tests, {len(told) - passed} failed", f"测试 {len(told)} 条，不符 {len(told) - passed} 条")


@command.command(
    "explain",
    zh="离线解释一份报文会去哪里：试过哪些路由、为何不匹配、匹配了哪条、如何签名。",
    examples=(
        "switchctl routes explain order.xml --from ENT1",
        "switchctl routes explain order.xml --from ENT1 --routes new.yaml --json",
    ),
)
@click.argument("file", type=click.File("rb"), help="the message; - is standard input · 报文文件；- 表示标准输入")
@click.option("--from", "party", required=True, metavar="PARTY", help="code or identifier · 接入方代码或标识")
@click.option("--routes", type=click.Path(dir_okay=False, path_type=Path), help="the table · 路由表文件")
@imported
def explain(file: BinaryIO, party: str, routes: Path | None, imported: BinaryIO | None) -> None:
    """Tell where a message would go: routes tried and why, the one that matches, schema, signature, endpoints."""
    from exchange.commands import _rehearsal
    from exchange.commands._offline import read_routes

    known = read_routes(routes, read_parties(imported))
    told = _rehearsal.explain(known, file.name, file.read(), _rehearsal.party_of(known, party))
    put(told, lambda: _print_explained(told))
    finish(0 if told["outcome"] in ("accept", "receipt") else 1)


def _print_explained(told: Mapping[str, Any]) -> None:
    facts(
        (
            ("type", "类型", f"{told['type']} {told['edition']}"),
            ("sender's id", "发送方报文编号", told["own_id"]),
            ("facts", "匹配要素", {name: cell(values) for name, values in told["facts"].items()}),
        )
    )
    click.echo()
    table(told["tried"], TRIED)
    click.echo()
    if told["findings"]:
        table([{**finding, "hint": finding[language()]} for finding in told["findings"]], FINDINGS)
        click.echo()
    facts(
        (
            ("outcome", "结果", f"{told['outcome']} {told['code']} {told[language()]}".strip()),
            ("route", "路由", told["route"]),
            ("goes to", "送往", told["to"]),
            ("signed as", "签名规格", f"{told['sign']} {told['key']}".strip()),
        )
    )


# -- through the switch ------------------------------------------------------------------------------------------


def _bundle(file: Path | None) -> str:
    from exchange.commands._offline import routes_path
    from exchange.routesfile import bundle

    return bundle(routes_path(file))


def _print_generations(rows: Sequence[Mapping[str, Any]]) -> None:
    table([{**row, "digest": row["digest"][:12]} for row in rows], GENERATIONS)


@command.command(
    "diff",
    zh="比较文件与现行路由表；有差异时退出码为 1。",
    examples=("switchctl routes diff", "switchctl routes diff new.yaml"),
)
@path
def diff(file: Path | None) -> None:
    """Compare a file with the table in force; exit status 1 if they differ."""
    told = ask("routes.current", text=_bundle(file))
    del told["text"]
    put(told, lambda: click.echo("\n".join(told["diff"]) or pick("no difference", "无差异")))
    finish(1 if told["diff"] else 0)


@command.command(
    "publish",
    zh="发布路由表：先检查、先运行其 tests，全部通过才生效。",
    examples=(
        "switchctl routes publish --reason 'new partner ENT2'",
        "switchctl routes publish new.yaml --expect 7 --reason 'new partner ENT2'",
    ),
)
@path
@reason
@click.option("--expect", type=int, metavar="GENERATION", help="only if this is in force · 仅当该代次现行有效时")
@click.option("--skip-tests", is_flag=True, help="publish although tests fail · 测试不符也发布")
@imported
def publish(file: Path | None, reason: str, expect: int | None, skip_tests: bool, imported: BinaryIO | None) -> None:
    """Put a table in force, if it is without mistakes and its own tests pass."""
    text = _bundle(file)
    if not skip_tests:
        _require_tests(file, read_parties(imported))
    done = ask("routes.publish", text=text, reason=reason, expect=expect)
    put(done, lambda: _print_generations([done]))


def _require_tests(file: Path | None, rows: Iterable[Mapping[str, Any]]) -> None:
    try:
        told = _run_tests(file, rows)
    except ConfigurationError:
        return  # the switch is the judge of that: it knows the parties that were imported
    failures = _failures(told)
    if failures:
        en = "the table's own tests fail, nothing was published: correct the table or the tests (or --skip-tests)"
        zh = "路由表自带的测试不符，未发布：请更正路由表或测试（或使用 --skip-tests）"
        raise _output.Failure({"kind": "Refused", "code": "SWX-7023", "en": en, "zh": zh, "problems": failures})


@command.command(
    "history", zh="列出已发布的代次，最新的（现行的）在前。", examples=("switchctl routes history --limit 5",)
)
@limit
def history(limit: int) -> None:
    """List published generations, the newest (the one in force) first."""
    rows = ask("routes.history", limit=limit)
    put(rows, lambda: _print_generations(rows))


@command.command(
    "rollback",
    zh="使先前的代次重新生效（成为新的一代）。",
    examples=("switchctl routes rollback 6 --reason 'generation 7 lost the port'",),
)
@click.argument("generation", type=click.IntRange(1), help="see switchctl routes history · 见 switchctl routes history")
@reason
def rollback(generation: int, reason: str) -> None:
    """Put an earlier generation in force again, as a new one."""
    done = ask("routes.rollback", number=generation, reason=reason)
    put(done, lambda: _print_generations([done]))
