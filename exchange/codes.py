"""Every ``SWX-`` code in words: title, cause, cure and who must act, in English and Chinese (``codes.yaml``).

Read when somebody asks, not before: ``switchctl explain`` works without a switch, and a running switch needs none of
this.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter

from exchange.errors import NotFound
from exchange.options import Strict
from exchange.yamlfile import read, suggest

FILE: Final = Path(__file__).with_name("codes.yaml")


class Words(Strict):
    """One language."""

    title: str
    cause: str
    cure: str


class Explanation(Strict):
    """What a code means, and who does something about it."""

    who: Literal["sender", "partner", "operator", "administrator", "developer"]
    en: Words
    zh: Words


@cache
def known() -> dict[str, Explanation]:
    """Return every code that is explained."""
    document = read(FILE.read_text("utf-8"), FILE.name)
    return TypeAdapter(dict[str, Explanation]).validate_python(document.data)


def lookup(code: str) -> Explanation:
    """Return what *code* means. Raises NotFound."""
    try:
        return known()[code]
    except KeyError:
        raise NotFound(f"no code {code!r}{suggest(code, known())}", f"没有代码 {code!r}") from None
