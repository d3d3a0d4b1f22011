"""``switchctl hsm``: the devices that sign."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from exchange.commands._command import Noun, pick, reason
from exchange.commands._daemon import ask
from exchange.commands._output import Column, facts, finish, put, say, table

STATUS: Final[tuple[Column, ...]] = (
    ("device", "device", "设备"),
    ("state", "state", "状态"),
    ("priority", "priority", "优先级"),
    ("in_flight", "in flight", "处理中"),
    ("signed", "signed", "已签名"),
    ("per_second", "a second", "每秒"),
    ("p50_ms", "p50 ms", "p50 毫秒"),
    ("p95_ms", "p95 ms", "p95 毫秒"),
    ("p99_ms", "p99 ms", "p99 毫秒"),
    ("refused_keys", "refused keys", "不可用密钥"),
    ("why", "why", "原因"),
)
TESTED: Final[tuple[Column, ...]] = (
    ("device", "device", "设备"),
    ("key", "key", "密钥"),
    ("stands", "stands", "通过"),
    ("milliseconds", "ms", "毫秒"),
    ("why", "why", "原因"),
)
SLOT: Final = {  # what a library shows, in words
    "slot": ("slot", "槽位"),
    "token": ("token", "令牌"),
    "manufacturer": ("manufacturer", "厂商"),
    "model": ("model", "型号"),
    "serial": ("serial number", "序列号"),
    "flags": ("flags", "标志"),
    "sessions": ("sessions open", "已开会话"),
    "free_sessions": ("sessions free", "可用会话"),
    "mechanisms": ("mechanisms", "机制"),
}
VENDOR: Final = 0x80000000  # mechanisms from here on are vendors' own, as those for SM2 are
CERTIFIED: Final[tuple[Column, ...]] = (
    ("check", "check", "检查项"),
    ("key", "key", "密钥"),
    ("result", "result", "结果"),
    ("seen", "seen", "实测"),
)
RESULTS: Final = {"passed": "通过", "failed": "不通过", "not applicable": "不适用"}
OUT: Final[tuple[Column, ...]] = (
    ("device", "out", "停用"),
    ("stands", "stands", "通过"),
    ("others", "signing meanwhile", "其间签名"),
    ("signed", "signed", "已签名"),
    ("failed", "failed", "失败"),
    ("milliseconds", "ms", "毫秒"),
    ("back_milliseconds", "back after ms", "恢复毫秒"),
    ("errors", "errors", "错误"),
    ("why", "why", "原因"),
)


@click.group(
    "hsm",
    cls=Noun,
    zh="查看、自检、认证、重新启用密码设备。",
    examples=(
        "switchctl hsm status",
        "switchctl hsm slots /usr/lib/softhsm/libsofthsm2.so",
        "switchctl hsm open hsm-a --reason 'the PIN is corrected'",
    ),
)
def command() -> None:
    """Look at the devices that sign, test and certify them, and open them anew."""


@command.command(
    "status",
    zh="列出密码设备：状态、处理中的签名、原因。",
    examples=("switchctl hsm status", "switchctl hsm status --json"),
)
def status() -> None:
    """List the devices: which are up, what they have signed since, how fast, why one isn't."""
    rows = ask("hsm.status")
    put(rows, lambda: table(rows, STATUS))


@command.command(
    "selftest",
    zh="在每台可用设备上用每个密钥签名并验证；有不通过的则退出码为 1。",
    examples=("switchctl hsm selftest",),
)
def selftest() -> None:
    """Sign with every key on every device that is up, and verify; exit status 1 if one doesn't stand."""
    rows = ask("hsm.selftest")
    put(rows, lambda: table(rows, TESTED))
    finish(0 if all(row["stands"] for row in rows) else 1)


@command.command(
    "open",
    zh="重新打开设备，例如更正 PIN 之后；被停用的设备只能这样启用。",
    examples=("switchctl hsm open hsm-a --reason 'the PIN is corrected'",),
)
@click.argument("device", help="its name in switchd.yaml · switchd.yaml 中的设备名称")
@reason
def open_(device: str, reason: str) -> None:
    """Open a device anew, such as one that was disabled for a wrong PIN: it isn't tried again by itself."""
    rows = ask("hsm.open", device=device, reason=reason)
    put(rows, lambda: table(rows, STATUS))
    finish(0 if all(row["state"] == "UP" for row in rows) else 1)


@command.command(
    "failover-test",
    zh="在运行的交换机上依次停用每台设备，由其余设备用每个密钥签名，然后恢复；有不通过的则退出码为 1。",
    examples=("switchctl hsm failover-test --reason 'quarterly exercise'",),
)
@reason
def failover_test(reason: str) -> None:
    """Take each device out of the running switch in turn, and sign with its keys on the others.

    It is brought back whatever happens. Exit status 1 if one doesn't stand; refused while fewer than two are up.
    """
    rows = ask("hsm.failover_test", reason=reason)
    put(rows, lambda: table(rows, OUT))
    finish(0 if all(row["stands"] for row in rows) else 1)


# -- without the switch ------------------------------------------------------------------------------------------

_module = click.argument(
    "module",
    type=click.Path(dir_okay=False, path_type=Path),
    help="the vendor's library · 厂商接口库",
)
_kind = click.option("--kind", default="pkcs11", show_default=True, help="pkcs11, sdf, or a registered one · 接口种类")
_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="where its process works, with the library's settings · 工作目录（接口库配置文件所在）",
)
_more = click.option(
    "--set",
    "more",
    metavar="NAME=VALUE",
    multiple=True,
    help="any setting of the device: ecc_bytes=32, sm2.mechanism=0x80000001 · 设备的其他设置项",
)


def _settings(kind: str, module: Path, folder: Path | None, more: Sequence[str], **named: Any) -> Any:
    """Return the settings of a device as ``switchd.yaml`` would have them. Raises UsageError with every mistake."""
    from pydantic import ValidationError

    from exchange import plugins

    if folder and not folder.is_dir():
        raise click.UsageError(pick(f"there is no folder {folder}", f"没有目录 {folder}"))
    row: dict[str, Any] = {"kind": kind, "module": module.resolve()} | ({"folder": folder.resolve()} if folder else {})
    for pair in more:
        name, _, value = pair.partition("=")
        *path, last = name.split(".")
        place = row
        for part in path:
            place = place.setdefault(part, {})
        place[last] = _read(value)
    row |= {name: value for name, value in named.items() if value}
    try:
        return plugins.load("devices", kind).Settings.model_validate(row, context={"home": Path.cwd()})
    except ValidationError as why:
        told = (f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in why.errors())
        raise click.UsageError("; ".join(told)) from None


def _read(text: str) -> int | str:
    """Read a number, written as one or in hex; all else is a text.

    >>> _read("32"), _read("0x80000001"), _read("der")
    (32, 2147483649, 'der')
    """
    try:
        return int(text, 0)
    except ValueError:
        return text


@command.command(
    "slots",
    zh="在独立进程中加载接口库，列出槽位、令牌、标志、机制和会话（SDF：设备信息）；无需交换机运行，不使用 PIN。",
    examples=(
        "switchctl hsm slots /usr/lib/softhsm/libsofthsm2.so",
        "switchctl hsm slots --kind sdf --folder /etc/vendor /usr/lib/vendor/libsdf.so",
    ),
)
@_module
@_kind
@_folder
@_more
def slots(module: Path, kind: str, folder: Path | None, more: Sequence[str]) -> None:
    """List what a library shows without a PIN; it needs no switch.

    PKCS#11: slots, tokens, flags, sessions, mechanisms. SDF: what the device says of itself. The library is loaded in
    a process of its own.
    """
    import asyncio

    from exchange.errors import TokenError
    from exchange.signing.certify import look
    from exchange.tokens.device import DeviceFault

    try:
        rows = asyncio.run(look(_settings(kind, module, folder, more)))
    except DeviceFault as why:
        raise TokenError(
            f"the library shows nothing: {why.code}: {why.text}",
            f"接口库未能列出设备：{why.code}：{why.text}",
            code="SWX-5051",
        ) from None
    put(rows, lambda: _show(rows))


def _show(rows: Sequence[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        if number:
            click.echo()
        facts((*SLOT.get(name, (name, name)), _short(name, value)) for name, value in row.items())
    if not rows:
        say("no token is in any slot", "槽位中没有令牌")


def _short(name: str, value: Any) -> Any:
    """Leave out the mechanisms that have nothing to do with signing here."""
    if name != "mechanisms":
        return value
    shown = [each for each in value if not each.startswith("0x") or int(each, 16) >= VENDOR]
    return [*shown, pick(f"{len(value) - len(shown)} others", f"其他 {len(value) - len(shown)} 种")]


@command.command(
    "certify",
    zh="上线前对厂商接口库逐项检查并给出报告；全部适用项通过时退出码为 0。",
    examples=(
        "switchctl hsm certify /usr/lib/softhsm/libsofthsm2.so --token hsm-a --pin-file pin --key 'pkcs11:id=%01'",
        "switchctl hsm certify --kind sdf --pin-file pin --key sdf:3 --folder /etc/vendor /usr/lib/vendor/libsdf.so",
    ),
)
@_module
@_kind
@_folder
@_more
@click.option("--token", help="label of the token (PKCS#11) · 令牌名称（PKCS#11）")
@click.option(
    "--pin-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="file that holds the PIN · 存放 PIN 的文件",
)
@click.option("--key", "keys", metavar="LOCATION", multiple=True, required=True, help="pkcs11:id=%01, sdf:3 · 密钥位置")
@click.option("--signatures", default=1000, show_default=True, help="in a row, of each key · 每个密钥连续签名次数")
@click.option("--timeout", default=5.0, show_default=True, help="seconds for one signature · 单次签名超时秒数")
@click.option(
    "--slowest", default=100.0, show_default=True, help="milliseconds that p95 may take · p95 时延上限（毫秒）"
)
@click.option(
    "--try-wrong-pin",
    is_flag=True,
    help="show a wrong PIN once, which some devices count · 试一次错误 PIN（部分设备会计数）",
)
def certify(
    module: Path,
    kind: str,
    folder: Path | None,
    more: Sequence[str],
    token: str | None,
    pin_file: Path | None,
    keys: Sequence[str],
    signatures: int,
    timeout: float,
    slowest: float,
    try_wrong_pin: bool,
) -> None:
    """Check a vendor's library before going live, and report; it needs no switch.

    Exit status 0 only if every check that applies has passed. What failed is told with what to tell the vendor.
    """
    import asyncio

    from exchange.signing import certify as certifying
    from exchange.signing._certify_checks import SCRIPT

    pin = {"file": pin_file.resolve()} if pin_file else None
    settings = _settings(kind, module, folder, more, token=token, pin=pin, timeout_seconds=timeout)
    plan = certifying.Plan(settings, keys, signatures, slowest, try_wrong_pin)
    results = asyncio.run(certifying.certify(plan, SCRIPT))
    rows, good = [result.told() for result in results], certifying.stands(results)
    put({"module": str(module), "kind": kind, "passed": good, "checks": rows}, lambda: _report(rows))
    finish(0 if good else 1)


def _report(rows: Sequence[dict[str, Any]]) -> None:
    shown = [row | {"result": pick(row["result"], RESULTS[row["result"]])} for row in rows]
    table(shown, CERTIFIED)
    for row in rows:
        if "vendor" in row:
            click.echo(f"\n{row['check']} {row['key']}".rstrip() + f": {pick(row['en'], row['zh'])}")
            click.echo(f"  {row['seen']}\n  " + pick(row["vendor"]["en"], row["vendor"]["zh"]))
