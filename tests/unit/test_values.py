"""Values of tables and platform files: the one look that passes what is right agrees with the list of what is wrong."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.formats._values import Value

KINDS: list[Value] = [
    *(Value(kind) for kind in ("text", "digits", "number", "integer")),
    *(Value(kind, shortest=3, longest=8) for kind in ("text", "digits", "number", "integer")),
    *(Value(kind, whole=2, decimals=1) for kind in ("number", "integer")),
]
LEAN = "0123456789-+.eE/: x\u3000箱"


def test_an_end_of_february_is_one_in_leap_years_only() -> None:
    shape, time_shape = re.compile(Value("date").shape), re.compile(Value("time").shape)
    for year in (1, 4, 100, 400, 1900, 2000, 2023, 2024, 9996, 9999):
        for month, day in product(range(14), range(33)):
            for text in (
                f"{year:04}{month:02}{day:02}",
                f"{year:04}-{month}-{day}",
                f"{year % 100:02}{month:02}{day:02}",
            ):
                assert bool(shape.fullmatch(text)) == (not any(Value("date").faults(text))), text
            for text in (f"{year:04}/{month:02}/{day:02} 9:05:07", f"{year % 100:02}{month:02}{day:02}2359"):
                assert bool(time_shape.fullmatch(text)) == (not any(Value("time").faults(text))), text


@pytest.mark.parametrize("value", KINDS, ids=repr)
@settings(max_examples=150, deadline=None)
@given(text=st.text(LEAN, min_size=1, max_size=10))
def test_a_look_passes_what_has_no_fault_and_nothing_else(value: Value, text: str) -> None:
    assert bool(re.fullmatch(value.shape, text)) == (not any(value.faults(text)))
