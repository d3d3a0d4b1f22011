"""What every store keeps of signing keys, and of the changes that two persons agree on: one suite over every kind."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from exchange.errors import NotFound, Refused, StoreError
from exchange.register import KeyVersion, Proposal
from exchange.stores.memory import MemoryStore
from exchange.stores.sqlite import SqliteStore
from tests.conftest import LOOP

NOON = 1_795_320_000_000_000


@pytest.fixture(params=[SqliteStore, MemoryStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    store = request.param(tmp_path)
    LOOP.run_until_complete(store.open())
    yield store
    LOOP.run_until_complete(store.close())


def version(name: str = "shop", number: int = 1, state: str = "pending") -> KeyVersion:
    return KeyVersion(name, number, "sm2", b"DER", {"hsm-a": "sdf:3"}, NOON, NOON + 9, state)


def asks_for(kind: str = "key-create", **more: Any) -> Proposal:
    return Proposal(kind, "shop", "00", "wang", "new year", NOON, **more)


def approved(proposal: Proposal, by: str = "li") -> Proposal:
    return evolve(proposal, state="approved", decided_by=by, remark="checked", decided_at=NOON + 1)


async def test_a_change_is_kept_with_both_persons_and_what_it_does(store: Any) -> None:
    first = await store.record(asks_for(what=b'{"a":1}'))
    second = await store.record(asks_for("key-revoke"))
    assert (first.number, second.number) == (1, 2)
    assert await store.signing_keys() == []
    await store.record(approved(first), [version(), version(number=2)])
    assert await store.proposal(1) == approved(first)
    assert await store.proposals() == [evolve(second, what=b""), evolve(approved(first), what=b"")]
    assert await store.proposals(1) == [evolve(second, what=b"")]
    assert await store.signing_keys() == [evolve(version(number=n), change=1) for n in (1, 2)]
    await store.record(approved(second), [version(state="revoked")])
    assert [(key.number, key.state, key.change) for key in await store.signing_keys()] == [
        (1, "revoked", 2), (2, "pending", 1),
    ]  # fmt: skip
    with pytest.raises(NotFound, match="change 3"):
        await store.proposal(3)


async def test_a_change_that_was_decided_is_not_decided_again(store: Any) -> None:
    proposal = await store.record(asks_for())
    both = [store.record(approved(proposal), [version()]), store.record(approved(proposal, "zhao"), [version()])]
    _, refused = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(refused, Refused)
    assert refused.code == "SWX-7042"
    assert (await store.proposal(1)).decided_by == "li"


async def test_a_revoked_key_never_comes_back_whoever_asks(store: Any) -> None:
    await store.record(approved(asks_for(), "wang"), [version(state="revoked")])
    with pytest.raises((StoreError, sqlite3.Error), match="a revoked key never comes back"):
        await store.record(approved(asks_for(), "wang"), [version("other"), version(state="active")])
    assert [(key.id, key.state) for key in await store.signing_keys()] == [("shop/1", "revoked")]
    assert len(await store.proposals()) == 1, "and nothing of that was kept"


async def test_nothing_that_was_decided_is_changed_or_removed_even_by_us(store: Any) -> None:
    await store.record(approved(asks_for()), [version()])
    for statement in (
        "UPDATE signing_change SET actor = 'li'",
        "DELETE FROM signing_change",
        "DELETE FROM signing_key",
    ):
        with pytest.raises(sqlite3.Error, match="ever"):
            store._db.connection.execute(statement)
