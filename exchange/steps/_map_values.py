"""What becomes of one value on its way: instants, days and numbers in the shape that the target has them in.

Instants are told by their form: 6, 8, 10, 12, 14 or 17 digits (YYMMDD, YYYYMMDD, YYMMDDhhmm, YYYYMMDDhhmm,
YYYYMMDDhhmmss, with milliseconds; a colon between day and time is skipped, as in UNB), or as ISO 8601 and spreadsheets
write them. One without an offset is in the zone that the map names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Final
from uuid import UUID, uuid5

Value = str | int | float
Shape = Callable[[str, tzinfo], Value]  # raises ValueError with what the value must be

_DIGITS: Final[Mapping[int, str]] = {
    6: "%y%m%d", 8: "%Y%m%d", 10: "%y%m%d%H%M", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f",
}  # fmt: skip
_DAY: Final = (6, 8)
_WRITTEN: Final = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6})\d*)?)?(Z|[-+]\d{2}:?\d{2})?)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)")
NAMESPACE: Final = UUID("0c5a3d3e-6f0b-5d3c-9a55-4a1f2f6f8e01")  # of ids made here; any that stays the same would do
EXACT: Final = 15  # digits that every reader of JSON holds exactly
MOST: Final = 40  # characters of a number


def moment(text: str, zone: tzinfo) -> tuple[datetime, bool]:
    """Read an instant or a day; tell whether a time of day was given. Raises ValueError.

    >>> [moment(t, UTC)[0].isoformat() for t in ("261122:0900", "2026/11/22 9:00", "2026-11-22T09:00:00.5Z")]
    ['2026-11-22T09:00:00+00:00', '2026-11-22T09:00:00+00:00', '2026-11-22T09:00:00.500000+00:00']
    """
    digits = text.replace(":", "") if text.count(":") == 1 and "-" not in text and "/" not in text else text
    if digits.isascii() and digits.isdigit():
        shape = _DIGITS.get(len(digits))
        if shape is None:
            raise ValueError
        if len(digits) == 17:
            digits += "000"
        return datetime.strptime(digits, shape).replace(tzinfo=zone), len(digits) not in _DAY
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    told = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
        int((fraction or "").ljust(6, "0")), zone,
    )  # fmt: skip
    if offset:
        told = told.replace(tzinfo=datetime.strptime(offset, "%z").tzinfo)
    return told, hour is not None


def _instant(text: str, zone: tzinfo) -> str:
    told, timed = _read(text, zone, "an instant, with a time of day")
    if not timed:
        raise ValueError("an instant, with a time of day")
    return told.isoformat(timespec="milliseconds" if told.microsecond else "seconds")


def _local(form: str, timed: bool, text: str, zone: tzinfo) -> str:
    wanted = "an instant, with a time of day" if timed else "a day or an instant"
    told, has_time = _read(text, zone, wanted)
    if timed and not has_time:
        raise ValueError(wanted)
    return (told.astimezone(zone) if has_time else told).strftime(form)


def _read(text: str, zone: tzinfo, wanted: str) -> tuple[datetime, bool]:
    try:
        return moment(text, zone)
    except (ValueError, OverflowError):
        raise ValueError(wanted) from None


def _decimal(text: str) -> Decimal:
    if len(text) > MOST or not _NUMBER.fullmatch(text):
        raise ValueError("a number")
    try:
        return Decimal(text.replace(",", "."))
    except InvalidOperation:
        raise ValueError("a number") from None


def plain(number: Decimal) -> str:
    """Write a number without exponent and without zeros that say nothing.

    >>> plain(Decimal("0100.500")), plain(Decimal("-0.0")), plain(Decimal("7000"))
    ('100.5', '0', '7000')
    """
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if Decimal(text) else "0"


def _number(text: str, zone: tzinfo) -> Value:
    number = _decimal(text)
    if len(number.as_tuple().digits) > EXACT:
        raise ValueError(f"a number of at most {EXACT} digits")
    return int(number) if number == number.to_integral_value() else float(number)


def _integer(text: str, zone: tzinfo) -> Value:
    number = _number(text, zone)
    if isinstance(number, float):
        raise ValueError("a whole number")
    return number


def _amount(text: str, zone: tzinfo) -> str:
    return plain(_decimal(text))


def _guid(text: str, zone: tzinfo) -> str:
    return str(uuid5(NAMESPACE, text))


def _upper(text: str, zone: tzinfo) -> str:
    return text.upper()


SHAPES: Final[Mapping[str, Shape]] = {
    "instant": _instant,
    "day": partial(_local, "%Y-%m-%d", False),
    "YYYYMMDD": partial(_local, "%Y%m%d", False),
    "YYMMDD": partial(_local, "%y%m%d", False),
    "YYYYMMDDhhmm": partial(_local, "%Y%m%d%H%M", True),
    "YYYYMMDDhhmmss": partial(_local, "%Y%m%d%H%M%S", True),
    "number": _number,
    "integer": _integer,
    "decimal": _amount,
    "guid": _guid,
    "upper": _upper,
}


def zone_of(text: str) -> tzinfo:
    """Read an offset such as +08:00."""
    return datetime.strptime(text, "%z").tzinfo or UTC
