"""Asking the running switch, over its control socket."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from exchange.commands import _output
from exchange.commands._command import pick, setting
from exchange.errors import Refused

PATIENCE_SECONDS: Final = 300.0  # for one answer: importing a province's enterprises takes a while
MANY: Final = 20  # objects that may change without a second question


def ask(verb: str, /, **arguments: Any) -> Any:
    """Return the switch's answer. Raises Failure with its error, or with why it can't be reached; Refused."""
    from exchange.controlclient import ControlClient

    path = _socket()
    try:
        client = ControlClient(path, PATIENCE_SECONDS)
    except PermissionError:
        raise _not_yours(path) from None
    except OSError as why:
        raise _absent(path, why) from None
    with contextlib.closing(client):
        try:
            answer = client.call(verb, **arguments)
        except OSError:
            raise _unanswered() from None
    if "error" in answer:
        raise _output.Failure(answer["error"])
    return answer["result"]


def _socket() -> Path:
    if setting("socket"):
        return Path(setting("socket"))
    from exchange import settings

    installation = settings.load(setting("config"))
    return installation.path(installation.settings.control)


def _not_yours(path: Path) -> Refused:
    en = f"{path} is the switch's own: run this as the user that runs it, as root, or as a member of control_group"
    zh = f"{path} 仅限交换机的运行用户：请以该用户、root 或 control_group 成员的身份执行"
    return Refused(en, zh, code="SWX-7050")


def _absent(path: Path, why: OSError) -> _output.Failure:
    told = {
        "kind": "Unavailable",
        "code": "SWX-7040",
        "en": f"no switch answers at {path} ({why.strerror or why}): start it, or use --socket or --config",
        "zh": f"{path} 处没有交换机应答（{why.strerror or why}）：请启动交换机，或用 --socket、--config 指明",
    }
    return _output.Failure(told)


def _unanswered() -> _output.Failure:
    en = "the switch has not answered, and may still do it: look at the result before you ask again"
    zh = "交换机没有应答，操作可能仍在执行：请先查看结果，再决定是否重试"
    return _output.Failure({"kind": "Unavailable", "code": "SWX-7060", "en": en, "zh": zh})


# -- many objects ------------------------------------------------------------------------------------------------


def read_ids(given: Sequence[str]) -> list[str]:
    """Return the ids that were given, each once; a single ``-`` reads them from standard input, one a line."""
    lines = sys.stdin.read().split() if list(given) == ["-"] else given
    known = list(dict.fromkeys(lines))
    if not known:
        raise click.UsageError(pick("standard input holds no ids", "标准输入中没有编号"))
    return known


def confirm(count: int, *, sure: bool) -> None:
    """Have the number typed where more than 20 objects are about to change. Raises Refused."""
    if sure or count <= MANY:
        return
    question = pick(
        f"{count} objects will change. Type {count} to go on", f"将变更 {count} 个对象。输入 {count} 以继续"
    )
    try:
        typed = click.prompt(question, default="", show_default=False, err=True)
    except click.Abort as why:
        if not isinstance(why.__context__, EOFError):
            raise
        typed = ""  # nobody is there to ask
        click.echo(err=True)
    if typed != str(count):
        en = f"{count} objects would change and nobody confirmed it: nothing was changed; --yes confirms beforehand"
        raise Refused(en, f"将变更 {count} 个对象，但未经确认：未作任何变更；可用 --yes 预先确认", code="SWX-7022")
