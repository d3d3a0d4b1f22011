"""Container numbers (ISO 6346): whether their last digit fits the rest. A wrong one is a warning, never a reject."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

from exchange.formats import Place
from exchange.model import Finding

MOST: Final = 50  # findings about one message
_SHAPE: Final = re.compile(r"[A-Z]{3}[UJZ][0-9]{7}")
_VALUES: Final = {letter: number for number, letter in zip(
    (n for n in range(10, 39) if n % 11), "ABCDEFGHIJKLMNOPQRSTUVWXYZ", strict=False
)} | {str(digit): digit for digit in range(10)}  # fmt: skip


def check_digit(number: str) -> str:
    """Return the digit that belongs behind four letters and six digits (ISO 6346, annex A).

    >>> check_digit("CSQU305438")
    '3'
    """
    return str(sum(_VALUES[character] << place for place, character in enumerate(number)) % 11 % 10)


def remarks(places: Iterable[Place]) -> list[Finding]:
    """Warn of what has the shape of a container number, and a check digit that doesn't fit."""
    found = (_remark(place, number) for place in places if (number := place.text.replace(" ", "").replace("-", "")))
    return list(islice(filter(None, found), MOST))


def _remark(place: Place, number: str) -> Finding | None:
    if not _SHAPE.fullmatch(number) or number[-1] == (digit := check_digit(number[:-1])):
        return None
    pointer, line = place.where()
    return Finding(
        "SWX-1471", "iso6346", pointer,
        f"the check digit of container {number} should be {digit}: compare the number with what is on the container",
        f"箱号 {number} 的校验位应为 {digit}：请与箱体上的号码核对",
        line, number, "warning",
    )  # fmt: skip
