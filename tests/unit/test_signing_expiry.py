"""Warnings of what ends: when they come, and that they come once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.signing import expiry
from exchange.signing.expiry import DAY, THRESHOLDS, Expiring
from tests import pki

YEAR = 365 * DAY


def lasting(days: float, kind: str = "party") -> Expiring:
    return Expiring(kind, "ENT1", "01", 0, int(days * DAY))


@pytest.mark.parametrize(
    ("left", "threshold"),
    [(61, None), (60, 60), (31, 60), (30, 30), (14.5, 30), (14, 14), (7, 7), (2, 7), (1, 1), (0.01, 1), (0, 0)],
)
def test_the_nearest_threshold_that_was_crossed_counts(left: float, threshold: int | None) -> None:
    assert lasting(365).threshold(int((365 - left) * DAY)) == threshold


def test_what_is_issued_for_a_short_time_is_told_of_in_its_second_half_only() -> None:
    assert [lasting(7).threshold(int(day * DAY)) for day in (0, 3, 5.9, 6, 7)] == [None, None, None, 1, 0]
    assert [lasting(1).threshold(int(day * DAY)) for day in (0, 0.9, 1)] == [None, None, 0]


@given(st.integers(1, 800), st.lists(st.integers(0, 900), max_size=60))
def test_each_threshold_is_told_once_however_often_one_looks(length: int, looks: list[int]) -> None:
    one, told = lasting(length), set[tuple[Expiring, int]]()
    days: list[int] = []
    for at in sorted(looks):
        for due in expiry.due([one], at * DAY, told):
            told.add(due)
            days.append(due[1])
    assert days == sorted(set(days), reverse=True)
    assert set(days) <= set(THRESHOLDS)
    assert (0 in days) == any(at >= length for at in looks)


@pytest.mark.parametrize("kind", ["party", "trust", "key", "crl"])
def test_a_warning_says_who_must_do_what_in_two_languages(kind: str) -> None:
    told = expiry.warning(lasting(10, kind), 3 * DAY)
    assert (told["days"], told["owner"], "ENT1" in told["en"], "ENT1" in told["zh"]) == (7.0, "ENT1", True, True)
    assert told["until"].startswith("1970-01-11T08:00:00")


def test_certificates_of_an_owner_are_named_by_serial_number_never_by_subject() -> None:
    (one,) = expiry.of_certificates("party", "ENT1", [pki.der("rsa"), b"no certificate"])
    assert (one.name, one.owner) == ("01691fe9", "ENT1")
    assert pki.ENTERPRISE not in str(expiry.warning(one, one.until))


def test_those_that_end_are_counted_by_kind() -> None:
    every = [lasting(100), lasting(130, "key"), lasting(131, "key"), lasting(500)]
    assert expiry.count(every, 80 * DAY) == {"party": 1, "key": 2}
