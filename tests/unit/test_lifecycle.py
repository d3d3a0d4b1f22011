"""The life of a message and of a delivery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.errors import InvalidTransition
from exchange.lifecycle import DELIVERY, MESSAGE, Table, replay, step

EVENTS = sorted({event for table in (MESSAGE, DELIVERY) for row in table.values() for event in row})


@pytest.mark.parametrize("table", [MESSAGE, DELIVERY])
def test_every_step_leads_to_a_state_that_the_table_knows(table: Table) -> None:
    assert {state for row in table.values() for state in row.values()} <= set(table)


@pytest.mark.parametrize("table", [MESSAGE, DELIVERY])
def test_every_state_can_be_reached_from_the_beginning(table: Table) -> None:
    seen, todo = {""}, [""]
    while todo:
        new = set(table[todo.pop()].values()) - seen
        seen |= new
        todo += new
    assert seen == set(table)


@given(st.sampled_from([MESSAGE, DELIVERY]), st.data())
def test_an_illegal_step_raises_and_a_legal_one_never_does(table: Table, data: st.DataObject) -> None:
    state = data.draw(st.sampled_from(sorted(table)))
    event = data.draw(st.sampled_from(EVENTS))
    if event in table[state]:
        assert step(table, state, event) in table
    else:
        with pytest.raises(InvalidTransition):
            step(table, state, event)


def test_a_receipt_proves_delivery_whatever_we_believed() -> None:
    assert {state for state, row in DELIVERY.items() if row.get("answer") == "ANSWERED"} == {
        "QUEUED", "HELD", "SENDING", "DELIVERED", "FAILED", "ANSWERED",
    }  # fmt: skip


def test_an_answered_delivery_is_never_sent_again() -> None:
    assert "QUEUED" not in DELIVERY["ANSWERED"].values()


def test_a_rejected_message_stays_rejected() -> None:
    assert replay(MESSAGE, ["receive", "reject"]) == "REJECTED"
    assert MESSAGE["REJECTED"] == {}
