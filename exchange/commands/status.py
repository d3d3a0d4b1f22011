"""``switchctl status``."""

from __future__ import annotations

import click

from exchange.commands._command import Verb
from exchange.commands._daemon import ask
from exchange.commands._output import facts, put
from exchange.commands.party import why

LINES = (
    ("version", "version", "版本"),
    ("started_at", "running since", "启动时间"),
    ("generation", "routing table", "路由表代次"),
    ("intake", "intake", "接收"),
    ("ready", "ready", "就绪"),
    ("queued", "deliveries waiting", "待投递"),
    ("failed", "deliveries failed", "投递失败"),
    ("awaiting_receipt", "deliveries awaiting a receipt", "待回执"),
    ("receipts_missing", "receipts overdue", "回执超时"),
    ("certificates_expiring", "certificates and lists ending", "即将到期的证书与列表"),
    ("signing_keys", "signing keys", "签名密钥"),
    ("held_messages", "messages held", "挂起的报文"),
    ("held_subjects", "parties and endpoints on hold", "挂起的接入方与端点"),
)


@click.command(
    "status",
    cls=Verb,
    zh="查看交换机状态：待办、异常、挂起。",
    examples=("switchctl status", "switchctl status --json"),
)
def command() -> None:
    """Show how the switch is: what waits, what is wrong, what is on hold."""
    known = ask("status")
    held = [f"{subject} {why(hold)}" for subject, hold in known["held_subjects"].items()]
    shown = known | {"held_subjects": held}
    put(known, lambda: facts((en, zh, shown.get(key)) for key, en, zh in LINES))
