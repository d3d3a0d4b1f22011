"""``switchctl change``: changes that one person submits and another approves."""

from __future__ import annotations

from typing import Any, Final

import click

from exchange.commands._command import Noun, limit, reason
from exchange.commands._daemon import ask
from exchange.commands._output import Column, document, facts, put, say, table

COLUMNS: Final[tuple[Column, ...]] = (
    ("number", "change", "变更"),
    ("state", "state", "状态"),
    ("kind", "kind", "类型"),
    ("subject", "subject", "对象"),
    ("submitted_by", "submitted by", "提交人"),
    ("at", "at", "时间"),
    ("reason", "reason", "理由"),
    ("decided_by", "decided by", "处理人"),
)
FACTS: Final = (
    *COLUMNS,
    ("decided_at", "decided at", "处理时间"),
    ("remark", "because", "处理理由"),
    ("single_handed", "single-handed", "单人完成"),
    ("digest", "digest", "摘要"),
)
KINDS: Final = ("software-keys", "profiles", "key-activate", "key-retire", "key-revoke")
STATES: Final = ("submitted", "approved", "rejected")


@click.group(
    "change",
    cls=Noun,
    zh="两人控制的变更：一人提交，另一人批准。",
    examples=("switchctl change list --state submitted", "switchctl change approve 7 --reason 'checked the serial'"),
)
def command() -> None:
    """Submit what takes two persons, and approve or reject what another has submitted."""


@command.command(
    "submit",
    zh="提交变更：允许文件密钥（software-keys）、签名规格（profiles，按 switchd.yaml 现有内容）、密钥状态。",
    examples=(
        "switchctl change submit software-keys --reason 'demonstration of March'",
        "switchctl change submit key-activate demo-shop/2 --reason 'certificate of 2027'",
    ),
)
@click.argument("kind", type=click.Choice(KINDS), help="what is to change · 变更类型")
@click.argument("subject", required=False, default="", help="the key version, NAME/NUMBER · 密钥版本")
@reason
def submit(kind: str, subject: str, reason: str) -> None:
    """Ask for a change; sections of switchd.yaml are taken as the running switch has read them."""
    told(ask("change.submit", kind=kind, subject=subject, reason=reason))


@command.command(
    "list",
    zh="列出变更，新的在前。",
    examples=("switchctl change list", "switchctl change list --state submitted --json"),
)
@click.option("--state", type=click.Choice(STATES), default=None, help="in this state · 处于该状态")
@limit
def list_(state: str | None, limit: int) -> None:
    """List changes, newest first: who asked for what, and who decided."""
    rows = ask("change.list", state=state or "", limit=limit)
    put(rows, lambda: table(rows, COLUMNS))


@command.command("show", zh="查看一项变更及其内容；批准前应先查看。", examples=("switchctl change show 7",))
@click.argument("number", type=int, help="of the change · 变更编号")
def show(number: int) -> None:
    """Show a change and what it is about, as whoever approves it should know."""
    known = ask("change.show", number=number)

    def text() -> None:
        facts((en, zh, known[key]) for key, en, zh in FACTS)
        click.echo()
        document(known["what"])

    put(known, text)


@command.command(
    "approve",
    zh="批准另一人提交的变更，立即生效。",
    examples=("switchctl change approve 7 --reason 'checked the serial'",),
)
@click.argument("number", type=int, help="of the change · 变更编号")
@reason
def approve(number: int, reason: str) -> None:
    """Approve a change that another person submitted; it is done at once."""
    told(ask("change.approve", number=number, reason=reason))


@command.command(
    "reject",
    zh="驳回变更，或撤回自己提交的变更。",
    examples=("switchctl change reject 7 --reason 'wrong certificate'",),
)
@click.argument("number", type=int, help="of the change · 变更编号")
@reason
def reject(number: int, reason: str) -> None:
    """Reject a change, or withdraw your own."""
    told(ask("change.reject", number=number, reason=reason))


def told(done: dict[str, Any]) -> None:
    """Print what became of a change, and what the second person has to type."""
    number, what = done["number"], f"{done['kind']} {done['subject']}"
    texts = {
        "submitted": (
            f"change {number} is submitted: {what}\n"
            f"a second person approves it with: switchctl change approve {number} --reason ...",
            f"变更 {number} 已提交：{what}\n请另一人批准：switchctl change approve {number} --reason ...",
        ),
        "approved": (f"change {number} is done: {what}", f"变更 {number} 已完成：{what}"),
        "rejected": (f"change {number} is rejected: {what}", f"变更 {number} 已驳回：{what}"),
    }
    put(done, lambda: say(*texts[done["state"]]))
