"""``switchctl explain CODE``: what a code means and what to do about it, without a switch."""

from __future__ import annotations

from typing import Any, Final

import click

from exchange.commands._command import Verb, language, pick
from exchange.commands._output import facts, put

WHO: Final = {
    "sender": ("the sender", "发送方"),
    "partner": ("the partner the message goes to", "接收方"),
    "operator": ("the operator on duty", "值班员"),
    "administrator": ("the administrator", "管理员"),
    "developer": ("the developers of the switch", "交换机开发者"),
}


@click.command(
    "explain",
    cls=Verb,
    zh="解释代码：含义、原因、处置、谁来处理。SWX-nnnn 为本交换机的代码，其余为各监管系统回执中的代码。",
    context_settings={"ignore_unknown_options": True},
    examples=(
        "switchctl explain SWX-2010",
        "switchctl explain 800",
        "switchctl explain -621029",
        "switchctl explain SWX-1413 --json",
    ),
)
@click.argument("code", help="SWX-nnnn, or the code of a receipt · SWX-nnnn，或回执中的代码")
def command(code: str) -> None:
    """Tell what a code means: cause, cure and who acts; of the switch (SWX-nnnn), or of a regime's receipts."""
    from exchange.commands._offline import meanings

    known = {"code": code.upper(), "meanings": meanings(code.upper())}
    put(known, lambda: _print(known))


def _print(known: dict[str, Any]) -> None:
    for number, meaning in enumerate(known["meanings"]):
        if number:
            click.echo()
        words = meaning[language()]
        facts(
            [
                ("code", "代码", known["code"]),
                ("of", "来源", meaning["family"] or pick("this switch", "本交换机")),
                ("meaning", "含义", words["title"]),
                *_more(meaning, words),
            ]
        )


def _more(meaning: dict[str, Any], words: dict[str, str]) -> list[tuple[str, str, Any]]:
    if not meaning["family"]:
        en, zh = WHO[meaning["who"]]
        return [
            ("cause", "原因", words["cause"]),
            ("cure", "处置", words["cure"]),
            ("who acts", "处理人", pick(en, zh)),
        ]
    return [
        ("stage", "环节", meaning["stage"]),
        ("outcome", "结果", meaning["outcome"]),
        ("occurs in", "出现于", meaning["types"]),
        ("ends the waiting in", "结束等待", meaning["ends"]),
    ]
