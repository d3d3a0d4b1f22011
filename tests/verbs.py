"""What tests of switchctl's verbs share: a message in every state, and a refusal in two languages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from exchange.errors import ConfigurationError, ExchangeError, Permanent
from tests.daemon import House, answer, order

CHINESE = re.compile("[\u4e00-\u9fff]")


async def refused(house: House, verb: str, /, **arguments: Any) -> ExchangeError:
    with pytest.raises(ExchangeError) as why:
        await house.ask(verb, **arguments)
    assert why.value.en.isascii()
    assert isinstance(why.value, ConfigurationError) or CHINESE.search(why.value.zh)
    return why.value


async def one_of_each(house: House) -> dict[str, str]:
    """Bring a message into each state; return state -> id."""
    house.far["customs-queue"] = Permanent("the queue refuses it", "队列拒收")
    failed = await house.give("ent1-box", order(1))
    await house.settle()
    house.far.clear()
    completed = await house.give("ent1-box", order(2))
    await house.give("customs-queue", answer(2), "r.xml")
    rejected, held = await house.give("ent1-box", b"garbage"), await house.give("customs-queue", b"garbage")
    accepted = await house.give("ent1-box", order(3))
    duplicate = await house.give("ent1-box", order(3))
    discarded = await house.give("customs-queue", b"more garbage")
    parked = await house.give("customs-queue", answer(99), "early.xml")
    await house.settle()
    await house.change("discard", discarded)
    ids = dict(zip(STATES, (parked, held, accepted, failed, completed, rejected, duplicate, discarded), strict=True))
    assert await house.states(*ids.values()) == list(STATES)
    return ids


STATES = ("RECEIVED", "HELD", "ACCEPTED", "FAILED", "COMPLETED", "REJECTED", "DUPLICATE", "DISCARDED")
