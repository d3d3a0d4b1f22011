"""Proofs out of the signing log: what leads from a row to a link that somebody noted later."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from exchange.signinglog import CHECKPOINT, NOTHING, Operation, Row, checkpoint, content, linked, prove


def log(count: int) -> list[Row]:
    """Return a log of so many rows."""
    rows, link = [], NOTHING
    for number in range(1, count + 1):
        one = Operation(number, f"20261122-{number}", "ENT1", "ceb-sm2@1", "shop", "01", "hsm-a", bytes(32))
        link = linked(link, content(number, one))
        rows.append(Row(number, one, link))
    return rows


LOG = log(2 * CHECKPOINT + 500)


def reads(rows: Sequence[Row]) -> Callable[[int, int], Sequence[Row]]:
    """Return what reads so many rows at most behind a number."""
    return lambda after, limit: [row for row in rows if row.number > after][:limit]


@given(st.sets(st.integers(1, len(LOG)), min_size=1, max_size=5))
def test_every_row_is_led_to_the_next_checkpoint_or_the_head(numbers: set[int]) -> None:
    proofs = prove(numbers, reads(LOG))
    links = {number: link for proof in proofs for number, link in proof.links().items()}
    for number in numbers:
        last = min(checkpoint(number), len(LOG))
        assert links[number] == LOG[number - 1].link
        assert links[last] == LOG[last - 1].link
    assert all(len(proof.contents) <= CHECKPOINT for proof in proofs)
    assert len(proofs) == len({checkpoint(number) for number in numbers}), "one is enough for a checkpoint"


@given(st.integers(1, CHECKPOINT), st.integers(0, CHECKPOINT - 1))
def test_whatever_is_changed_leads_to_another_link(number: int, place: int) -> None:
    (proof,) = prove([number], reads(LOG))
    contents = list(proof.contents)
    contents[place % len(contents)] = bytes(32)
    assert evolve(proof, contents=contents).links()[CHECKPOINT] != LOG[CHECKPOINT - 1].link
    assert evolve(proof, before=bytes([1]) * 32).links()[CHECKPOINT] != LOG[CHECKPOINT - 1].link
    assert evolve(proof, contents=contents[1:]).links().get(CHECKPOINT) is None


def test_a_proof_ends_where_rows_are_no_more() -> None:
    kept = [row for row in LOG if not 40 <= row.number <= 60]
    (proof,) = prove([30], reads(kept))
    assert (proof.first, len(proof.contents)) == (30, 10)
    assert proof.links()[39] == LOG[38].link


def test_behind_a_gap_a_proof_begins_with_the_link_of_its_row() -> None:
    (proof,) = prove([61], reads([row for row in LOG if row.number > 60]))
    assert (proof.first, proof.before) == (62, LOG[60].link)
    assert proof.links()[CHECKPOINT] == LOG[CHECKPOINT - 1].link


def test_of_a_row_that_is_no_more_there_is_no_proof() -> None:
    assert prove([50], reads([row for row in LOG if row.number > 60])) == []
    assert prove([50], reads([row for row in LOG if row.number != 50])) == []
    assert prove([], reads(LOG)) == []
