"""``switchctl message``: look at messages, and change what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from exchange.commands._command import Noun, ids, language, limit, pick, reason, yes
from exchange.commands._daemon import ask, confirm, read_ids
from exchange.commands._output import Column, cell, facts, put, say, table

LIST: Final[tuple[Column, ...]] = (
    ("id", "id", "编号"),
    ("at", "received at", "接收时间"),
    ("state", "state", "状态"),
    ("code", "code", "代码"),
    ("type", "type", "类型"),
    ("sender", "sender", "发送方"),
    ("business", "business keys", "业务主键"),
    ("name", "name", "文件名"),
)
HEAD: Final[tuple[Column, ...]] = (
    *LIST[:5],
    ("own_id", "sender's id", "发送方报文编号"),
    ("sender", "sender", "发送方"),
    ("party", "brought by", "接入方"),
    ("endpoint", "endpoint", "端点"),
    ("name", "name", "文件名"),
    ("size", "bytes", "字节数"),
    ("digest", "SHA-256", "SHA-256"),
)
DELIVERIES: Final[tuple[Column, ...]] = (
    ("number", "delivery", "投递"),
    ("endpoint", "endpoint", "端点"),
    ("state", "state", "状态"),
    ("attempts", "attempts", "次数"),
    ("due_at", "due at", "下次时间"),
    ("disposition", "what", "性质"),
    ("size", "bytes", "字节数"),
)
JOURNAL: Final[tuple[Column, ...]] = (
    ("at", "at", "时间"),
    ("event", "event", "事件"),
    ("delivery", "delivery", "投递"),
    ("actor", "by", "操作人"),
    ("what", "what", "说明"),
)
ids_only = click.option("--ids", "ids_only", is_flag=True, help="print ids only, one a line · 只输出编号，每行一个")


@click.group(
    "message",
    cls=Noun,
    zh="查看报文，决定报文的去向。",
    examples=("switchctl message list --state HELD", "switchctl message show 20261122-42"),
)
def command() -> None:
    """Look at messages, and change what becomes of them."""


# -- looking -----------------------------------------------------------------------------------------------------


@command.command(
    "list",
    zh="列出报文，最新的在前。",
    examples=(
        "switchctl message list --state FAILED --party ENT1",
        "switchctl message list --state HELD --ids | switchctl message release - --reason 'route added'",
        "switchctl message list --type CEB311Message --before 20261122-42 --json",
    ),
)
@click.option("--state", default="", help="in this state, such as HELD · 处于该状态的，如 HELD")
@click.option("--party", default="", help="from this party (code) · 该接入方（代码）的")
@click.option("--type", default="", help="of this type · 该类型的")
@click.option("--before", default="", metavar="ID", help="older than this message · 早于该报文的")
@limit
@ids_only
def list_(ids_only: bool, **filters: Any) -> None:
    """List messages, newest first."""
    _print_heads(ask("message.list", **filters | {"state": filters["state"].upper()}), ids_only)


@command.command(
    "search",
    zh="按任一业务主键查找报文：订单号、GUID、清单号。",
    examples=("switchctl message search ORDER-20261122-0001", "switchctl message search ORDER-20261122-0001 --ids"),
)
@click.argument("key", help="the whole value of a key · 主键的完整值")
@limit
@ids_only
def search(key: str, limit: int, ids_only: bool) -> None:
    """Find messages by any of their keys: an order number, a GUID, an inventory number."""
    _print_heads(ask("message.search", key=key, limit=limit), ids_only)


def _print_heads(heads: Sequence[Mapping[str, Any]], ids_only: bool) -> None:
    if ids_only:
        click.echo("".join(f"{head['id']}\n" for head in heads), nl=False)
        return
    put(heads, lambda: table([{**head, "business": _business(head.get("keys", ()))} for head in heads], LIST))


def _business(documents: Sequence[Mapping[str, str]]) -> str:
    """Return the keys of the first document, and how many more there are; a GUID says nothing to people."""
    first = {name: value for name, value in documents[0].items() if name != "guid"} if documents else {}
    return cell(first) + (f" (+{len(documents) - 1})" if len(documents) > 1 else "")


@command.command(
    "show",
    zh="查看一份报文的全过程：内容要素、投递、日志账。",
    examples=("switchctl message show 20261122-42", "switchctl message show 20261122-42 --json"),
)
@click.argument("id", help="the message's id · 报文编号")
def show(id: str) -> None:
    """Show the whole life of a message: what it says, its deliveries, its journal."""
    life = ask("message.show", id=id)
    put(life, lambda: _print_life(life))


def _print_life(life: Mapping[str, Any]) -> None:
    facts((en, zh, life.get(key)) for key, en, zh in HEAD)
    if around := life.get("facts", {}).get("wrappers"):
        facts((("came in", "信封", around),))
    for number, keys in enumerate(life.get("keys", ()), 1):
        say(f"document {number}: {cell(keys)}", f"单证 {number}：{cell(keys)}")
    say("\nDeliveries", "\n投递")
    table(life["deliveries"], DELIVERIES)
    say("\nJournal", "\n日志账")
    table([{**line, "what": _what(line)} for line in life["journal"]], JOURNAL)
    for finding in (one for line in life["journal"] for one in line.get("findings", ())):
        click.echo(f"  {finding.get('code')} {finding.get('pointer')}: {finding.get(language())}")


def _what(line: Mapping[str, Any]) -> str:
    """Return what a journal line adds to its event."""
    told = line.get("meaning", line).get(language()) or line.get("text")
    receipt = line.get("receipt") and pick(f"receipt {line['receipt']}", f"回执 {line['receipt']}")
    route = line.get("route") and pick(f"route {line['route']}", f"路由 {line['route']}")
    twin = line.get("twin") and pick(f"the same as {line['twin']}", f"与 {line['twin']} 相同")
    steps = line.get("steps") and pick(f"steps {'; '.join(line['steps'])}", f"步骤 {'；'.join(line['steps'])}")
    parts = (receipt, line.get("code"), told, route, steps, twin, line.get("reason"))
    return " ".join(str(part) for part in parts if part)


# -- changing ----------------------------------------------------------------------------------------------------


def _change(verb: str, given: Sequence[str], reason: str, sure: bool, delivery: int | None = None, **more: Any) -> None:
    known = read_ids(given)
    if delivery is not None and len(known) > 1:
        raise click.UsageError(pick("--delivery goes with one message only", "--delivery 只能用于一份报文"))
    confirm(len(known), sure=sure)
    done = ask("message.change", verb=verb, ids=known, reason=reason, delivery=delivery, **more)
    columns = (LIST[0], ("state", "state now", "当前状态"), ("told", "sender told at", "已告知发送方（端点）"))
    put(done, lambda: table(done, columns if verb == "discard" else columns[:2]))


delivery = click.option("--delivery", type=click.IntRange(0), help="this one only · 只对该投递")


@command.command(
    "hold",
    zh="挂起：尚未处理的报文或尚未发送的投递，等待人工。",
    examples=("switchctl message hold 20261122-42 --reason 'asked by the sender'",),
)
@ids("messages", "报文编号")
@reason
@delivery
@yes
def hold(ids: Sequence[str], reason: str, delivery: int | None, yes: bool) -> None:
    """Hold messages that aren't decided, or their deliveries that aren't sent, until a person releases them."""
    _change("hold", ids, reason, yes, delivery)


@command.command(
    "release",
    zh="恢复：让挂起的报文或投递继续。",
    examples=(
        "switchctl message release 20261122-42 --reason 'route added'",
        "switchctl message list --state HELD --ids | switchctl message release - --yes --reason 'route added'",
    ),
)
@ids("messages", "报文编号")
@reason
@delivery
@yes
def release(ids: Sequence[str], reason: str, delivery: int | None, yes: bool) -> None:
    """Let held messages or deliveries go on."""
    _change("release", ids, reason, yes, delivery)


@command.command(
    "resend",
    zh="重发：同样的字节再投递一次；已有回执证实的不重发。",
    examples=("switchctl message resend 20261122-42 --delivery 0 --reason 'customs lost it'",),
)
@ids("messages", "报文编号")
@reason
@delivery
@yes
def resend(ids: Sequence[str], reason: str, delivery: int | None, yes: bool) -> None:
    """Send the same bytes again: failed deliveries, else those that no receipt has proved."""
    _change("resend", ids, reason, yes, delivery)


@command.command(
    "requeue",
    zh="重新处理：已完成的报文按现行路由表再处理一遍。",
    examples=("switchctl message requeue 20261122-42 --reason 'was routed to the wrong port'",),
)
@ids("messages", "报文编号")
@reason
@yes
def requeue(ids: Sequence[str], reason: str, yes: bool) -> None:
    """Send completed messages through the pipeline again, under the routing table in force."""
    _change("requeue", ids, reason, yes)


@command.command(
    "discard",
    zh="作废：放弃挂起或失败的报文，未完成的投递一并取消；以回执告知发送方及理由。日志账保留全部记录。",
    examples=(
        "switchctl message discard 20261122-42 --reason 'customs does not take this port; send it to Nansha'",
        "switchctl message discard 20261122-42 20261122-43 --silent --reason 'load test'",
    ),
)
@ids("messages", "报文编号")
@reason
@click.option("--silent", is_flag=True, help="send the sender no receipt · 不以回执告知发送方")
@yes
def discard(ids: Sequence[str], reason: str, silent: bool, yes: bool) -> None:
    """Give up held or failed messages.

    What is open of them is cancelled; a receipt tells the sender, and why. The journal keeps everything.
    """
    _change("discard", ids, reason, yes, silent=silent)
