"""Instants and ids: days are those of Beijing, ids grow with time and read back as they were written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchange.instants import ID_BITS, SECOND, date_at, day_number, read_id, show_id, show_instant

BEIJING = timezone(timedelta(hours=8))
DAY = 86_400 * SECOND
MIDNIGHT = 20_779 * DAY - 8 * 3600 * SECOND  # 2026-11-22T00:00:00+08:00
LAST = (date(9999, 12, 31) - date(1970, 1, 1)).days
instants = st.integers(0, LAST * DAY)
days = st.integers(0, LAST)
numbers = st.integers(0, (1 << ID_BITS) - 1)


def in_beijing(at: int) -> datetime:
    """Return the same, by way of the standard library."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).astimezone(BEIJING)


@given(instants)
@example(MIDNIGHT)
@example(MIDNIGHT - 1)
def test_the_day_is_the_calendars_in_beijing(at: int) -> None:
    assert date_at(at) == in_beijing(at).date()
    assert day_number(at) == (in_beijing(at).date() - date(1970, 1, 1)).days


def test_the_day_begins_at_midnight_in_beijing_to_the_microsecond() -> None:
    assert [day_number(at) for at in (MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY - 1, MIDNIGHT + DAY)] == [
        20_778, 20_779, 20_779, 20_780,
    ]  # fmt: skip
    assert [str(date_at(at)) for at in (MIDNIGHT - 1, MIDNIGHT)] == ["2026-11-21", "2026-11-22"]
    assert day_number(-1) == 0, "before 1970 it still is a day"


@given(instants, instants)
def test_the_later_instant_has_no_earlier_day(one: int, other: int) -> None:
    assert day_number(min(one, other)) <= day_number(max(one, other))


@given(instants)
@example(MIDNIGHT - 1)
@example(999)
def test_an_instant_is_shown_in_beijing_time_cut_to_the_millisecond(at: int) -> None:
    shown = show_instant(at)
    assert shown == in_beijing(at).isoformat(timespec="milliseconds")
    assert 0 <= at - round(datetime.fromisoformat(shown).timestamp() * 1000) * 1000 < 1000


@given(instants, instants)
def test_shown_instants_sort_as_they_follow(one: int, other: int) -> None:
    assert (show_instant(one) <= show_instant(other)) or one > other


@given(days, numbers)
def test_an_id_reads_back_as_it_was_written(day: int, number: int) -> None:
    message = (day << ID_BITS) + number
    assert read_id(show_id(message)) == message
    assert show_id(message) == f"{date(1970, 1, 1) + timedelta(days=day):%Y%m%d}-{number}".rjust(8, "0")


@given(days, numbers, days, numbers)
def test_ids_order_by_day_and_then_by_number(day: int, number: int, other_day: int, other: int) -> None:
    one, two = (day << ID_BITS) + number, (other_day << ID_BITS) + other
    assert (one < two) == ((day, number) < (other_day, other))


@given(instants)
def test_an_id_names_the_day_it_was_given_on(at: int) -> None:
    assert show_id((day_number(at) << ID_BITS) + 1) == f"{in_beijing(at):%Y%m%d}-1".rjust(10, "0")


@pytest.mark.parametrize(
    "text",
    ["", "-", "20261122", "20261122-", "-42", "2026112-42", "202611220-42", "20261122-4x", "20261122--4", "20261122-4 ",
     " 20261122-4", "20261122-+4", "20261322-1", "20260230-1", "00000101-1", f"20261122-{1 << ID_BITS}",
     "２０２６１１２２-42", "20261122-４", "20261122_42", "20261122-1_000", "x" * 100_000],
)  # fmt: skip
def test_what_is_no_id_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no message id|month|day|year"):
        read_id(text)


@given(st.text(max_size=24))
def test_any_text_is_an_id_or_a_value_error(text: str) -> None:
    try:
        message = read_id(text)
    except ValueError:
        return
    assert read_id(show_id(message)) == message


def test_the_largest_number_of_a_day_is_an_id() -> None:
    assert read_id(f"20261122-{(1 << ID_BITS) - 1}") == (20_780 << ID_BITS) - 1
