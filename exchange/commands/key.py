"""``switchctl key``: the keys that sign, version by version; whatever changes one, a second person approves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from exchange.commands._command import Noun, pick, reason, yes
from exchange.commands._daemon import ask, confirm
from exchange.commands._output import Column, facts, put, table
from exchange.commands.change import told
from exchange.commands.party import read_rows

COLUMNS: Final[tuple[Column, ...]] = (
    ("key", "key", "密钥"),
    ("state", "state", "状态"),
    ("kind", "kind", "种类"),
    ("not_before", "from", "起"),
    ("not_after", "until", "止"),
    ("places", "places", "位置"),
    ("subject", "certificate", "证书"),
)
STATES: Final = ("pending", "active", "retiring", "revoked", "configured")


@click.group(
    "key",
    cls=Noun,
    zh="查看签名密钥，提交密钥变更：登记、启用、退役、吊销。",
    examples=("switchctl key list", "switchctl key activate demo-shop/2 --reason 'certificate of 2027'"),
)
def command() -> None:
    """Look at the keys that sign; ask for them to be registered, activated, retired or revoked."""


@command.command(
    "list", zh="列出密钥的各个版本。", examples=("switchctl key list", "switchctl key list --state active --json")
)
@click.option("--state", type=click.Choice(STATES), default=None, help="in this state · 处于该状态")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="at most · 最多条数")
def list_(state: str | None, limit: int) -> None:
    """List keys: versions in the register, and those that only the token's settings name (configured)."""
    rows = ask("key.list", state=state or "", limit=limit)
    put(rows, lambda: table(rows, COLUMNS))


@command.command("show", zh="查看密钥的所有版本，以及当前用于签名的版本。", examples=("switchctl key show demo-shop",))
@click.argument("name", help="the key, or one of its versions · 密钥或其版本")
def show(name: str) -> None:
    """Show every version of a key, and which one signs now."""
    known = ask("key.show", name=name)

    def text() -> None:
        facts([("key", "密钥", known["name"]), ("signs now", "当前签名", known["signs"])])
        click.echo()
        table(known["versions"], COLUMNS)

    put(known, text)


@command.command(
    "certificate",
    zh="以 PEM 输出密钥某一版本的证书。",
    examples=("switchctl key certificate demo-shop/2",),
)
@click.argument("version", help="NAME/NUMBER, or a configured key · 名称/编号，或配置中的密钥")
def certificate(version: str) -> None:
    """Print the certificate of a version in PEM."""
    known = ask("key.show", name=version)["versions"]
    found = [one for one in known if one["key"] == version]
    if not found:
        raise click.UsageError(pick("name one version, as key list does", "请按 key list 所示写明版本"))
    put(found[0], lambda: click.echo(found[0]["pem"], nl=False))


@command.command(
    "csr",
    zh="由密码设备中的密钥签发证书请求（PKCS#10），以 PEM 输出；密钥先用厂商工具生成。",
    examples=(
        "switchctl key csr demo-shop --on hsm-a --at 'pkcs11:id=%02' --subject 'CN=Demo Shop,O=Demo Shop Ltd,C=CN'",
    ),
)
@click.argument("name", help="the key that it is to be · 密钥名称")
@click.option("--on", "device", required=True, help="the device; file for keys in files · 设备；文件密钥写 file")
@click.option("--at", "location", required=True, help="where the key is on it · 密钥在设备上的位置")
@click.option("--subject", required=True, help="as RFC 4514 writes it · 证书主题（RFC 4514 写法）")
def csr(name: str, device: str, location: str, subject: str) -> None:
    """Print a certification request (PKCS#10) that a key signs on its device; the vendor's tools make the key."""
    done = ask("key.csr", name=name, device=device, location=location, subject=subject)
    put(done, lambda: click.echo(done["pem"], nl=False))


# -- changes -----------------------------------------------------------------------------------------------------


def _places(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if wrong := [device + sign for device, sign, place in pairs if not place]:
        raise click.BadParameter(f"{wrong[0]!r}: DEVICE=LOCATION")
    return {device: place for device, _, place in pairs}


@command.command(
    "create",
    zh="登记密钥的新版本（待启用）：证书及其在各设备上的位置。",
    examples=(
        "switchctl key create demo-shop --certificate shop.crt --at 'hsm-a=pkcs11:id=%02' "
        "--at 'hsm-b=pkcs11:id=%02' --reason 'certificate of 2027'",
        "switchctl key create demo-shop --certificate renewed.crt --activate --reason 'renewed, same key'",
    ),
)
@click.argument("name", help="as parties and routes call it · 接入方和路由所用的名称")
@click.option("--certificate", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
              help="PEM or DER file · 证书文件（PEM 或 DER）")  # fmt: skip
@click.option("--at", "places", multiple=True, callback=_places, metavar="DEVICE=LOCATION",
              help="where it is on each device (default: as before) · 在各设备上的位置（默认同前一版本）")  # fmt: skip
@click.option("--not-before", help="when it may begin to sign (default: as its certificate) · 生效时间（默认同证书）")
@click.option("--not-after", help="when it must have ended (default: as its certificate) · 截止时间（默认同证书）")
@click.option("--activate", is_flag=True, help="activate it with that · 同时启用")
@reason
def create(name: str, file: Path, places: dict[str, str], reason: str, activate: bool, **window: str | None) -> None:
    """Ask for a new version of a key: its certificate, and where it is; it waits to be activated."""
    row: dict[str, Any] = {"name": name, "certificate": _pem(file), "at": places}
    row |= {"state": "active"} if activate else {}
    row |= {end: at for end, at in window.items() if at}
    told(ask("change.submit", kind="key-create", rows=[row], reason=reason))


def _pem(file: Path) -> str:
    import ssl

    content = file.read_bytes()
    return content.decode("ascii", "replace") if b"-----BEGIN" in content else ssl.DER_cert_to_PEM_cert(content)


@command.command(
    "import",
    zh="从 NDJSON 文件登记许多密钥：每行 name、certificate（PEM）、at，可有 state（active 即启用）等。",
    examples=("switchctl key import keys.ndjson --reason 'moved from the old machine'",),
)
@click.argument("file", type=click.File("rb"), help="NDJSON; - is standard input · NDJSON 文件；- 表示标准输入")
@reason
@yes
def import_(file: BinaryIO, reason: str, yes: bool) -> None:
    """Ask for many versions: one JSON object a line with name, certificate (PEM), at; state: active signs at once."""
    rows = list(read_rows(file))
    confirm(len(rows), sure=yes)
    told(ask("change.submit", kind="key-import", rows=rows, reason=reason))


def _step(verb: str, en: str, zh: str) -> None:
    @command.command(verb, help=en, zh=zh, examples=(f"switchctl key {verb} demo-shop/2 --reason 'as planned'",))
    @click.argument("version", help="NAME/NUMBER · 名称/编号")
    @reason
    def step(version: str, reason: str) -> None:
        told(ask("change.submit", kind=f"key-{verb}", subject=version, reason=reason))


_step(
    "activate", "Ask that a version signs from now on; its predecessor retires.", "启用一个版本：其前一版本随即退役。"
)
_step("retire", "Ask that a version signs no more; it is still verified with.", "退役一个版本：不再签名，仍可验签。")
_step("revoke", "Ask that a version is never used again.", "吊销一个版本：永不再用。")
