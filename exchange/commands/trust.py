"""``switchctl trust``: the authorities that stand behind certificates, and their revocation lists."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any, Final

import click

from exchange.commands._command import Noun, language, reason
from exchange.commands._daemon import ask
from exchange.commands._output import Column, finish, put, table

KNOWN: Final[tuple[Column, ...]] = (
    ("authority", "authority", "签发机构"),
    ("kind", "kind", "种类"),
    ("name", "subject or issuer", "主体或签发者"),
    ("number", "serial or number", "序列号或编号"),
    ("until", "until, or next update", "到期或下次更新"),
    ("days", "days left", "剩余天数"),
    ("age_days", "age in days", "已发布天数"),
    ("revoked", "revoked", "吊销数"),
    ("state", "state", "状态"),
)
CHECKED: Final[tuple[Column, ...]] = (
    ("authority", "authority", "签发机构"),
    ("serial", "serial", "序列号"),
    ("stands", "stands", "成立"),
    ("chain", "chain", "证书链"),
    ("code", "code", "代码"),
    ("why", "why", "原因"),
)
FETCHED: Final[tuple[Column, ...]] = (
    ("authority", "authority", "签发机构"),
    ("url", "address", "地址"),
    ("fetched", "fetched", "已获取"),
    ("why", "why not", "原因"),
)
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_authority = click.option("--authority", default="", help="only this one of switchd.yaml · 仅限该签发机构")


@click.group(
    "trust",
    cls=Noun,
    zh="查看签发机构、检查证书、导入吊销列表。",
    examples=("switchctl trust list", "switchctl trust check new.crt"),
)
def command() -> None:
    """Look at the authorities that stand behind certificates, check one, import revocation lists."""


@command.command(
    "list",
    zh="列出签发机构的证书与吊销列表：期限、编号、吊销数、状态。",
    examples=("switchctl trust list", "switchctl trust list --json"),
)
def list_() -> None:
    """List the authorities' certificates and revocation lists: until when, how old, how many are revoked."""
    rows = ask("trust.list")
    put(rows, lambda: table(rows, KNOWN))


@command.command(
    "check",
    zh="检查证书文件：证书链是否成立、是否被吊销；没有一个机构承认则退出码为 1。",
    examples=("switchctl trust check new.crt", "switchctl trust check new.crt --authority e-port"),
)
@click.argument("file", type=FILE)
@_authority
def check(file: Path, authority: str) -> None:
    """Tell whether the chain of each certificate in FILE stands, and why not; exit status 1 if one has none."""
    rows = ask("trust.check", certificate=_text(file), authority=authority)
    put(rows, lambda: table([row | {"why": row[language()]} for row in rows], CHECKED))
    good = {row["serial"] for row in rows if row["stands"]}
    finish(0 if rows and all(row["serial"] in good for row in rows) else 1)


@command.group(
    "crl",
    cls=Noun,
    zh="导入或立即获取吊销列表。",
    examples=("switchctl trust crl import e-port.crl --reason 'the list of today'",),
)
def crl() -> None:
    """Import revocation lists, or fetch them now."""


@crl.command(
    "import",
    zh="导入吊销列表文件（DER 或 PEM），立即生效。",
    examples=("switchctl trust crl import e-port.crl --reason 'the list of today'",),
)
@click.argument("file", type=FILE)
@_authority
@reason
def import_(file: Path, authority: str, reason: str) -> None:
    """Put the revocation lists in FILE in force at once; one that is older than the switch's is refused."""
    rows = ask("trust.import", content=_text(file), authority=authority, reason=reason)
    put(rows, lambda: table(rows, KNOWN))


@crl.command(
    "fetch",
    zh="立即从 switchd.yaml 中的地址获取吊销列表；有失败则退出码为 1。",
    examples=("switchctl trust crl fetch --reason 'the authority has published a new one'",),
)
@reason
def fetch(reason: str) -> None:
    """Fetch the revocation lists from the addresses in switchd.yaml now; exit status 1 if one fails."""
    rows: list[dict[str, Any]] = ask("trust.fetch", reason=reason)
    put(rows, lambda: table(rows, FETCHED))
    finish(0 if all(row["fetched"] for row in rows) else 1)


def _text(file: Path) -> str:
    return b64encode(file.read_bytes()).decode()
