"""What one value of a platform file or a table may look like, where no schema language says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

from attrs import field, frozen

from exchange.formats._faults import Limit

Kind = Literal["text", "digits", "number", "integer", "date", "time"]

# Dates and times are written with or without what separates their parts; platform files leave out the century.
_SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "date": ("%Y%m%d", "%y%m%d", "%Y-%m-%d", "%Y/%m/%d"),
    "time": ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%y%m%d%H%M", "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S"),
}
_LENGTHS: Final = {  # what strptime must not be asked: it takes 2026111 for a date
    "%Y%m%d": 8, "%y%m%d": 6, "%Y%m%d%H%M%S": 14, "%Y%m%d%H%M": 12, "%y%m%d%H%M": 10,
}  # fmt: skip
_NUMBER: Final = re.compile(r"[-+]?(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))")
_NAMES: Final[dict[str, Limit]] = {
    "digits": ("digits only", "纯数字"),
    "number": ("a number", "数字"),
    "integer": ("a whole number", "整数"),
    "date": ("a date, YYYYMMDD", "日期（YYYYMMDD）"),
    "time": ("an instant, YYYYMMDDhhmm or YYYYMMDDhhmmss", "时间（YYYYMMDDhhmm 或 YYYYMMDDhhmmss）"),
}
SHOWN: Final = 20  # codes of a list that a finding repeats


@frozen
class Value:
    """The rules for one value; lengths are characters, for we aren't told what the authors counted."""

    kind: Kind = "text"
    shortest: int = 0
    longest: int | None = None
    whole: int | None = None  # digits before the point
    decimals: int | None = None
    codes: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = field(default=None, eq=False)

    def faults(self, value: str) -> Iterator[tuple[str, Limit]]:
        """Yield the rules that a value (never an empty one) breaks, and what they demand."""
        if self.longest is not None and len(value) > self.longest:
            yield "maxLength", str(self.longest)
            return  # what is said of the rest of it would only confuse
        if len(value) < self.shortest:
            yield "minLength", str(self.shortest)
        if self.codes and value not in self.codes:
            yield "enumeration", ", ".join(self.codes[:SHOWN])
        if self.pattern and not self.pattern.fullmatch(value):
            yield "pattern", self.pattern.pattern
        if self.kind != "text":
            yield from self._typed(value)

    def _typed(self, value: str) -> Iterator[tuple[str, Limit]]:
        if self.kind in _SHAPES:
            fits = any(_is_instant(value, shape) for shape in _SHAPES[self.kind])
        elif self.kind == "digits":
            fits = value.isascii() and value.isdigit()
        else:
            found = _NUMBER.fullmatch(value)
            fits = found is not None and (self.kind == "number" or not (found[2] or found[3]))
            if found is not None:
                yield from self._sized(found)
        if not fits:
            yield "type", _NAMES[self.kind]

    def _sized(self, found: re.Match[str]) -> Iterator[tuple[str, Limit]]:
        if self.whole is not None and len((found[1] or "").lstrip("0")) > self.whole:
            yield "totalDigits", str(self.whole)
        if self.decimals is not None and len((found[2] or found[3] or "").rstrip("0")) > self.decimals:
            yield "fractionDigits", str(self.decimals)


def _is_instant(value: str, shape: str) -> bool:
    if len(value) != _LENGTHS.get(shape, len(value)) or not value.isascii():
        return False
    try:
        datetime.strptime(value, shape)
    except ValueError:
        return False
    return True
