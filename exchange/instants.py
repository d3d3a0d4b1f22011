"""Instants and ids.

Instants (``*_at``) are whole microseconds since the Unix epoch, UTC: the unit the store keeps and the cheapest to
compare; ``show_instant`` writes them for people, with an offset. Days are those of Beijing.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import Final

Instant = int
SECOND: Final = 1_000_000

# A message id is (day << 40 | running number of the day): ordered by time, and it names its own partition.

ID_BITS: Final = 40  # of the running number in a message id
NUMBER_BITS: Final = 8  # of a delivery's number: a message has at most 255 deliveries in its life
_EPOCH: Final = date(1970, 1, 1)
_BEIJING: Final = timezone(timedelta(hours=8))


def day_number(at: Instant) -> int:
    """Return the day, in days since the epoch, that it is in Beijing at *at*.

    >>> day_number(0), day_number(16 * 3600 * SECOND)
    (0, 1)
    """
    return (at + 8 * 3600 * SECOND) // (86_400 * SECOND)


def date_at(at: Instant) -> date:
    """Return the date that it is in Beijing at *at*.

    >>> date_at(0)
    datetime.date(1970, 1, 1)
    """
    return _date(day_number(at))


@cache
def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def show_id(message: int) -> str:
    """Write a message id for people.

    >>> show_id((20779 << 40) + 42)
    '20261122-42'
    """
    return f"{_show_day(message >> ID_BITS)}-{message & ((1 << ID_BITS) - 1)}"


@cache
def _show_day(day: int) -> str:
    return f"{_date(day):%Y%m%d}"


def read_id(text: str) -> int:
    """Read a message id that ``show_id`` wrote; raise ValueError for anything else.

    >>> show_id(read_id("20261122-42"))
    '20261122-42'
    """
    day, _, number = text.partition("-")
    if not (len(day) == 8 and day.isascii() and day.isdigit() and number.isascii() and number.isdigit()):
        raise ValueError(f"{text!r} is no message id: expected YYYYMMDD-N")
    days = (date(int(day[:4]), int(day[4:6]), int(day[6:])) - _EPOCH).days
    if int(number) >> ID_BITS:
        raise ValueError(f"{text!r} is no message id: the number is too large")
    return (days << ID_BITS) + int(number)


def show_instant(at: Instant) -> str:
    """Write an instant in Beijing time with its offset, to the millisecond.

    >>> show_instant(0)
    '1970-01-01T08:00:00.000+08:00'
    """
    return f"{_show_second(at // SECOND)}.{at % SECOND // 1000:03}+08:00"


@lru_cache(64)
def _show_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, _BEIJING).strftime("%Y-%m-%dT%H:%M:%S")
