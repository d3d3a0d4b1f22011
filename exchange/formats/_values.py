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
_LEAP: Final = "[02468][048]|[13579][26]"  # two digits that four divides
_PARTS: Final = {  # of dates and times; strptime takes twenty times as long. ~: a zero may be left out, with separators
    "%Y": f"(?=[0-9]{{2}}(?!00)(?:{_LEAP})|(?:{_LEAP})00|[0-9]{{4}}[-/]?+(?!0?2[-/]?29))(?!0000)[0-9]{{4}}",
    "%y": f"(?={_LEAP}|[0-9]{{2}}(?!0229))[0-9]{{2}}",
    "%m": "(?!0?2[-/]?3[01]|(?:0?[469]|11)[-/]?31)(?:0~[1-9]|1[0-2])",
    "%d": "(?:0~[1-9]|[12][0-9]|3[01])",
    "%H": "(?:[01]~[0-9]|2[0-3])",
    "%M": "[0-5]~[0-9]",
    "%S": "[0-5]~[0-9]",
}
END: Final = r"(?:\0|\Z)"  # behind a value in a shape
_MOST: Final = 65_535  # what a regular expression is asked to count


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

    @property
    def shape(self) -> str:
        """Return a regular expression that only values without faults match, and nearly all of them.

        A value ends before a character 0, or with the text. Codes and a pattern aren't in it: who has any looks there.
        """
        length = f"[^\\0]{{{max(self.shortest, 1)},{_most(self.longest)}}}"
        if self.kind == "text":
            return length
        if self.kind in _SHAPES:
            shape = "|".join(map(_instant, _SHAPES[self.kind]))
        else:
            shape = "[0-9]+" if self.kind == "digits" else self._number()
        return f"(?={length}{END})(?:{shape})"

    def _number(self) -> str:
        whole = f"0*+[0-9]{{0,{_most(self.whole)}}}"
        if self.kind == "integer":
            return rf"[-+]?(?=[0-9]){whole}\.?"
        behind = f"[0-9]{{0,{_most(self.decimals)}}}0*"
        return rf"[-+]?(?:(?=[0-9]){whole}(?:\.{behind})?|\.(?=[0-9]){behind})"

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


def _instant(shape: str) -> str:
    found = re.sub("%.", lambda part: _PARTS[part[0]], shape)
    return found.replace("~", "" if shape in _LENGTHS else "?")


def _most(count: int | None) -> int:
    return _MOST if count is None else min(count, _MOST)
