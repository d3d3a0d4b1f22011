"""``switchctl schema``: install official schemas, see which decides when, and what they would do to real messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import click

from exchange.commands._command import Noun, language, pick, reason
from exchange.commands._daemon import ask
from exchange.commands._output import Column, cell, facts, finish, put, say, table

EDITIONS: Final[tuple[Column, ...]] = (
    ("type", "type", "类型"),
    ("edition", "edition", "版本"),
    ("valid_from", "valid from", "生效日"),
    ("valid_until", "until", "截止日"),
    ("certainty", "certainty", "可靠程度"),
    ("origin", "from", "来源"),
    ("decides", "decides", "现行"),
)
DECIDES: Final[tuple[Column, ...]] = (
    ("from", "from", "自"),
    ("until", "until", "至"),
    ("edition", "decides", "适用版本"),
)
REJECTED: Final[tuple[Column, ...]] = (
    ("id", "id", "编号"),
    ("at", "received at", "接收时间"),
    ("party", "sender", "发送方"),
    ("name", "name", "文件名"),
    ("what", "what is wrong", "问题"),
)
RULES: Final[tuple[Column, ...]] = (
    ("messages", "messages", "报文数"),
    ("code", "code", "代码"),
    ("pointer", "where", "位置"),
)
CERTAINTY: Final = click.Choice(("official", "confirmed", "own"))


class _Day(click.ParamType[date]):
    """A day, written YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else datetime.strptime(value, "%Y-%m-%d").date()
        except ValueError:
            return self.fail(pick(f"{value!r} is no day (YYYY-MM-DD)", f"{value!r} 不是日期（YYYY-MM-DD）"), param, ctx)


DAY: Final = _Day()
folder = click.Path(file_okay=False, path_type=Path)


@click.group(
    "schema",
    cls=Noun,
    zh="安装、检查、停用报文规范；用新版本重放已有报文。",
    examples=("switchctl schema list --type CEB311Message", "switchctl schema check types"),
)
def command() -> None:
    """Install, check and retire schemas; try them on messages that are here."""


# -- looking -----------------------------------------------------------------------------------------------------


@command.command(
    "list",
    zh="列出各类型的版本：何时生效、来自何处、可靠程度、当日由哪个版本裁决。",
    examples=(
        "switchctl schema list --type CEB311Message",
        "switchctl schema list --on 2027-01-01 --json",
    ),
)
@click.option("--type", default="", help="of this type · 该类型的")
@click.option("--on", type=DAY, help="the day that is asked about (default: today) · 所问的日期（默认为今天）")
def list_(type: str, on: date | None) -> None:
    """List the editions of every type: when they are valid, where they are from, which decides on a day."""
    from exchange.commands import _schemas

    rows = _schemas.listed(type, on or _schemas.today())
    put(rows, lambda: table(rows, EDITIONS))


@command.command(
    "check",
    zh="检查报文类型目录：一次列出全部错误、位置和处理办法；有错误时退出码为 1。",
    examples=("switchctl schema check types", "switchctl schema check types --json"),
)
@click.argument("folder", type=folder, help="holds AUTHORITY/FAMILY/TYPE.yaml · 目录，内含 机构/类别/类型.yaml")
@click.option("--on", type=DAY, help="the day samples are judged on (default: today) · 按该日校验样例（默认为今天）")
def check(folder: Path, on: date | None) -> None:
    """Check a folder of types: YAML, schemas, paths, samples; every mistake, exit status 1 if there is one."""
    from exchange.commands import _schemas

    told = _schemas.checked(folder, on or _schemas.today())
    put(told, lambda: _print_checked(told))
    finish(1 if told["problems"] else 0)


def _print_checked(told: Mapping[str, Any]) -> None:
    for line in told["problems"]:
        click.echo(line)
    for line in told["remarks"]:
        click.echo(pick("note: ", "提示：") + line)
    counts = {name: told[name] for name in ("types", "editions", "samples")}
    en = ", ".join(f"{number} {noun}" for noun, number in counts.items())
    zh = "类型 {types}，版本 {editions}，样例 {samples}".format_map(counts)
    wrong = len(told["problems"])
    said = ("good", "无误") if not wrong else (f"{wrong} mistakes", f"错误 {wrong} 处")
    say(f"{told['folder']}: {said[0]} ({en})", f"{told['folder']}：{said[1]}（{zh}）")


# -- changing ----------------------------------------------------------------------------------------------------


@command.command(
    "add",
    zh="安装官方规范：作为某类型的新版本（--type），或整个类别的目录或 zip；先检查，要么全部装入，要么不变。",
    examples=(
        "switchctl schema add order.xsd --type CEB311Message --edition 2027 --valid-from 2027-01-01",
        "switchctl schema add set.zip --file order.xsd --type CEB311Message --edition 2027 --valid-from 2027-01-01",
        "switchctl schema add family.zip --into types",
    ),
)
@click.argument("source", type=click.Path(path_type=Path), help="file, folder or zip · 文件、目录或 zip")
@click.option("--type", default="", help="the type that gets an edition · 增加版本的类型")
@click.option("--edition", default="", help="its name, such as 2027 · 版本名称，如 2027")
@click.option("--valid-from", type=DAY, help="the first day that it decides · 生效日")
@click.option("--file", "main", default="", help="the main schema among several · 多个文件中的主规范")
@click.option("--version", "versions", multiple=True, help="only for this version of messages · 仅用于该报文版本")
@click.option("--certainty", type=CERTAINTY, help="how sure it is (default: as the type) · 可靠程度（默认同类型）")
@click.option("--source", "origin", default="", help="who published it where · 规范的出处")
@click.option("--into", type=folder, help="one of schemas in switchd.yaml (default: the last) · 安装到的目录")
def add(
    source: Path,
    type: str,
    edition: str,
    valid_from: date | None,
    main: str,
    versions: Sequence[str],
    certainty: str | None,
    origin: str,
    into: Path | None,
) -> None:
    """Install an official schema as an edition of a type, or a whole family; checked first, all of it or nothing."""
    from exchange.commands import _schemas

    row = {"name": edition, "valid_from": valid_from, "versions": list(versions)}
    row |= {"certainty": certainty, "source": origin}
    given = {name: value for name, value in row.items() if value}
    if type and edition and valid_from:
        done = _schemas.added(source, into, main, type, given)
        put(done, lambda: _print_added(done))
    elif type or given or main:
        raise click.UsageError(
            pick("--type, --edition and --valid-from go together", "--type、--edition、--valid-from 须同时给出")
        )
    else:
        done = _schemas.added_family(source, into)
        put(done, lambda: _print_family(done))


def _print_added(done: Mapping[str, Any]) -> None:
    say(
        f"{done['type']}: edition {done['edition']} added as {done['file']}",
        f"{done['type']}：已安装版本 {done['edition']}（{done['file']}）",
    )
    samples = done["samples"]
    say(
        f"{samples['valid']} of the type's {samples['of']} valid samples are valid under it",
        f"该类型的 {samples['of']} 个有效样例中，{samples['valid']} 个符合新版本",
    )
    _print_decides(done)


def _print_decides(done: Mapping[str, Any]) -> None:
    table(done["decides"], DECIDES)
    _hint()


def _hint() -> None:
    say(
        "A running switch takes it over with: switchctl schema reload --reason ...",
        "运行中的交换机用以下命令启用：switchctl schema reload --reason ...",
    )


def _print_family(done: Mapping[str, Any]) -> None:
    names = ", ".join(done["types"])
    say(f"added as {done['folder']}: {names}", f"已安装到 {done['folder']}：{names}")
    _hint()


@command.command(
    "retire",
    zh="停用本单位安装的版本：自某日起不再裁决；此后没有可用版本的不允许停用。",
    examples=("switchctl schema retire CEB311Message 2027 --from 2027-06-01",),
)
@click.argument("type", help="the type · 类型")
@click.argument("edition", help="one that this site added · 本单位安装的版本")
@click.option("--from", "day", type=DAY, help="the first day without it (default: today) · 停用日（默认为今天）")
def retire(type: str, edition: str, day: date | None) -> None:
    """Let an edition of this site decide no more, from a day on; something must be left that does."""
    from exchange.commands import _schemas

    done = _schemas.retired(type, edition, day or _schemas.today())
    put(done, lambda: _print_decides(done))


@command.command(
    "reload",
    zh="让运行中的交换机重新读取全部报文类型；有错误时沿用原来的。",
    examples=("switchctl schema reload --reason 'orders of 2027'",),
)
@reason
def reload(reason: str) -> None:
    """Have the running switch read all message types anew; with a mistake in them it goes on with the old ones."""
    done = ask("schema.reload", reason=reason)
    put(done, lambda: _print_reloaded(done))


def _print_reloaded(done: Mapping[str, Any]) -> None:
    say(f"{done['types']} types are in force", f"现行报文类型 {done['types']} 个")
    for name, editions in done["changed"].items():
        say(f"changed: {name} ({cell(editions)})", f"有变化：{name}（{cell(editions)}）")


# -- replay ------------------------------------------------------------------------------------------------------


@command.command(
    "replay",
    zh="用某个版本重新校验已收到的报文：列出将被拒绝的；只读，不影响运行。有将被拒绝的则退出码为 1。",
    examples=(
        "switchctl schema replay --type CEB311Message --edition 2027",
        "switchctl schema replay --type CEB311Message --schemas new-types --since 2026-11-01 --json",
    ),
)
@click.option("--type", required=True, help="messages of this type · 该类型的报文")
@click.option("--edition", default="", help="judge by this one (default: the latest) · 所用版本（默认为最新）")
@click.option("--schemas", type=folder, help="with this folder of types, too · 另加该报文类型目录")
@click.option("--since", type=DAY, help="received on this day or later · 该日起收到的")
@click.option("--limit", default=10_000, type=click.IntRange(1), show_default=True, help="at most · 最多条数")
def replay(type: str, edition: str, schemas: Path | None, since: date | None, limit: int) -> None:
    """Judge messages that are here by another edition: who would be rejected, and for what. Changes nothing."""
    from exchange.commands import _schemas

    told = _schemas.replayed(type, edition, schemas, since, limit)
    put(told, lambda: _print_replayed(told))
    finish(1 if told["would_be_rejected"] else 0)


def _print_replayed(told: Mapping[str, Any]) -> None:
    facts(
        (
            ("looked at", "已检查", told["looked_at"]),
            ("would be rejected", "将被拒绝", told["would_be_rejected"]),
            ("were rejected then, too", "当时已被拒绝", told["rejected_then_too"]),
            ("would be accepted now", "现在可通过", told["would_be_accepted"]),
            ("left out", "未计入", told["left_out"]),
            ("senders", "发送方", told["parties"]),
        )
    )
    if told["rejected"]:
        click.echo()
        table(told["rules"], RULES)
        click.echo()
        table([{**one, "what": _first(one)} for one in told["rejected"]], REJECTED)
    if told["looked_at"] == told["limit"]:
        say("Older messages weren't looked at: --limit asks for more", "更早的报文未检查：可用 --limit 增加条数")


def _first(one: Mapping[str, Any]) -> str:
    finding = one["findings"][0] if one["findings"] else {}
    more = len(one["findings"]) - 1 + one["more"]
    text = f"{finding.get('code', '')} {finding.get('pointer', '')}: {finding.get(language(), '')}"
    return text + (f" (+{more})" if more > 0 else "")
