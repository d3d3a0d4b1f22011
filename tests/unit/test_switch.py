"""Take and sort, in a whole daemon: what is taken twice, too large, too much, or poisonous."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from exchange.chores import FULL
from exchange.errors import Busy, Permanent, StoreError, TooLarge
from exchange.model import Parcel, Spool
from tests.daemon import PERSONAL, ROUTES, order, padded, running, switchd_yaml

MEBIBYTE = 1024 * 1024


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# -- twice -------------------------------------------------------------------------------------------------------


async def test_two_copies_in_one_batch_are_a_message_and_a_duplicate_and_go_out_once(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        ids = await house.together(order(1), order(1), order(1))
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED", "DUPLICATE", "DUPLICATE"]
        assert len(house.sent("customs-queue")) == 1
        assert len(house.sent("ent1-box")) == 3, "each is answered"


async def test_two_contents_under_one_id_in_one_batch_are_in_conflict(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        other = order(1).replace(b"ORDER-1<", b"ORDER-X<")
        ids = await house.together(order(1), other, other)
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED", "REJECTED", "REJECTED"]
        assert [line["code"] for line in await house.told(ids[1], "reject")] == ["SWX-1060"]


async def test_the_same_id_from_another_sender_is_another_message(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        ids = [await house.give("ent1-box", order(1)), await house.give("ent2-box", order(1, sender=2))]
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED", "ACCEPTED"]


async def test_after_a_rejection_the_corrected_message_passes_under_the_same_id(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        first = await house.give("ent1-box", order(1).replace(b"DXPENT0000000001", b"DXPENT0000000009"))
        await house.settle()
        second = await house.give("ent1-box", order(1))
        await house.settle()
        assert await house.states(first, second) == ["REJECTED", "ACCEPTED"]


async def test_after_a_failure_the_same_bytes_pass_again(tmp_path: Path) -> None:
    async with running(tmp_path, far={"customs-queue": Permanent("no such queue")}) as house:
        first = await house.give("ent1-box", order(1))
        await house.settle()
        house.far.clear()
        second = await house.give("ent1-box", order(1))
        await house.settle()
        assert await house.states(first, second) == ["FAILED", "ACCEPTED"]
        assert len(house.sent("customs-queue")) == 1


async def test_copies_that_came_while_the_first_was_held_are_duplicates_once_it_is_released(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.ask("party.hold", code="ENT1", state="held", reason="unpaid")
        ids = [await house.give("ent1-box", order(1)) for _ in range(3)]
        await house.decided()
        assert await house.states(*ids) == ["HELD"] * 3
        await house.ask("party.hold", code="ENT1", state="", reason="paid")
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED", "DUPLICATE", "DUPLICATE"]
        assert len(house.sent("customs-queue")) == 1


async def test_a_party_that_is_resumed_takes_along_only_what_was_held_for_that(tmp_path: Path) -> None:
    async with running(tmp_path, ROUTES.replace("type: CEB311Message", "type: CEB411Message")) as house:
        unroutable = await house.give("ent1-box", order(1))
        await house.settle()
        await house.ask("party.hold", code="ENT1", state="held", reason="unpaid")
        late = await house.give("ent1-box", order(2))
        await house.decided()
        await house.ask("party.hold", code="ENT1", state="", reason="paid")
        await house.settle()
        assert [line["code"] for line in await house.told(unroutable, "hold")] == ["SWX-2010"]
        assert [line["code"] for line in await house.told(late, "hold")] == ["SWX-2060", "SWX-2010"]


async def test_all_that_a_party_has_waiting_goes_when_it_is_resumed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("exchange.service.RELEASED_AT_ONCE", 2)
    async with running(tmp_path) as house:
        await house.ask("party.hold", code="ENT1", state="held", reason="unpaid")
        ids = [await house.give("ent1-box", order(n)) for n in range(5)]
        await house.decided()
        await house.ask("party.hold", code="ENT1", state="", reason="paid")
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED"] * 5


async def test_a_duplicate_is_recognised_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.give("ent1-box", order(1))
        await house.settle()
    async with running(tmp_path) as house:
        again = await house.give("ent1-box", order(1))
        await house.settle()
        assert await house.state(again) == "DUPLICATE"


# -- too large, too much -----------------------------------------------------------------------------------------


async def test_what_is_over_the_limit_is_refused_with_the_limit_and_nothing_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        with pytest.raises(TooLarge) as refused:
            await house.give("ent1-box", b"<a/>" + b" " * (65 * MEBIBYTE))
        assert refused.value.code == "SWX-1070"
        for text in (refused.value.en, refused.value.zh):
            assert str(64 * MEBIBYTE) in text
        assert await house.ask("message.list") == []
        assert files(tmp_path / "var/spool") == []
        spool = Spool(tmp_path / "none", 65 * MEBIBYTE, b"")
        with pytest.raises(TooLarge, match=str(64 * MEBIBYTE)):
            await house.switch.take(Parcel("big.xml", spool), house.switch.table.endpoints["ent1-box"])


async def test_what_is_exactly_at_the_limit_is_streamed_through_files(tmp_path: Path) -> None:
    limit = 4 * MEBIBYTE
    body = padded(order(1), limit)
    async with running(tmp_path, switchd=switchd_yaml(limits=f"payload_bytes: {limit}")) as house:
        id = await house.give("ent1-box", body)
        with pytest.raises(TooLarge):
            await house.give("ent1-box", body + b" ")
        await house.settle()
        assert await house.state(id) == "ACCEPTED"
        (parcel,) = house.sent("customs-queue")
        assert isinstance(parcel.body, Spool)
        assert parcel.read() == body
        assert files(tmp_path / "var/spool") == [], "the store has it now"


async def test_64_mebibytes_are_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", padded(order(1), 64 * MEBIBYTE))
        await house.settle()
        assert await house.state(id) == "ACCEPTED"


async def test_more_than_is_sorted_is_refused_politely_until_it_is(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=switchd_yaml(limits="backlog: 3")) as house:
        gate = house.gate("conclude")
        ids = [await house.give("ent1-box", order(i)) for i in range(3)]
        with pytest.raises(Busy) as refused:
            await house.give("ent1-box", order(9))
        assert (refused.value.code, refused.value.retry_after) == ("SWX-6040", 5.0)
        gate.opened.set()
        await house.settle()
        assert await house.states(*ids) == ["ACCEPTED"] * 3
        await house.give("ent1-box", order(9))


async def test_too_many_bytes_are_too_much_as_well_wherever_they_wait(tmp_path: Path) -> None:
    fits = 5
    limits = f"backlog_bytes: {len(order(1)) * fits}"
    async with running(tmp_path, switchd=switchd_yaml(limits=limits)) as house:
        gate = house.gate("conclude")
        for i in range(fits):
            await house.give("ent1-box", order(i))
        await house.until(lambda: gate.waiting)
        with pytest.raises(Busy):
            await house.give("ent1-box", order(fits))
        gate.opened.set()
        await house.settle()
        for i in range(fits):
            await house.give("ent1-box", order(100 + i))


async def test_what_is_refused_is_not_kept_in_memory(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.switch.refusing = FULL
        kept = []
        for _ in range(20):
            parcel = Parcel("a.xml", b"x" * 1000)
            kept.append(weakref.ref(parcel))
            with pytest.raises(StoreError) as refused:
                await house.switch.take(parcel, house.switch.table.endpoints["ent1-box"])
            assert refused.value.code == FULL.code
            del parcel, refused
        gc.collect()
        assert sum(one() is not None for one in kept) <= 1


# -- poison ------------------------------------------------------------------------------------------------------


async def test_what_breaks_the_examination_is_held_with_its_traceback_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        identify = house.daemon.catalogue.identify

        def broken(opened: Any) -> Any:
            if b"ORDER-2<" in opened.payload:
                raise ZeroDivisionError(PERSONAL[0])
            return identify(opened)

        monkeypatch.setattr(house.daemon.catalogue, "identify", broken)
        ids = await house.together(order(1), order(2), order(3))
        await house.settle()
        by_state = {state: id for id, state in zip(ids, await house.states(*ids), strict=True)}
        assert sorted(await house.states(*ids)) == ["ACCEPTED", "ACCEPTED", "HELD"]
        (line,) = await house.told(by_state["HELD"], "hold")
        assert line["code"] == "SWX-2040"
        assert "in broken" in line["en"]
        assert line["en"].endswith("ZeroDivisionError")  # its text may repeat what the message says: see ``running``
        (logged,) = house.logged("message.broke")
        assert (logged["id"], logged["error"]) == (by_state["HELD"], "ZeroDivisionError")
        monkeypatch.undo()
        await house.change("release", by_state["HELD"])
        await house.settle()
        assert await house.state(by_state["HELD"]) == "ACCEPTED"


async def test_what_breaks_the_decision_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as house:
        monkeypatch.setattr(house.switch.table, "match", lambda facts: 1 / 0)
        id = await house.give("ent1-box", order(1))
        await house.settle()
        assert await house.state(id) == "HELD"
        assert (await house.told(id, "hold"))[0]["code"] == "SWX-2040"


async def test_what_the_store_cannot_hold_is_held_and_others_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        conclude = house.daemon.store.conclude

        async def choking(conclusions: Any) -> Any:
            if any(c.envelope and c.envelope.own_id.endswith("2") for c in conclusions):
                raise OverflowError("an integer that SQLite can't hold")
            return await conclude(conclusions)

        house.daemon.store.conclude = choking
        ids = await house.together(order(1), order(2), order(3))
        await house.settle()
        assert sorted(await house.states(*ids)) == ["ACCEPTED", "ACCEPTED", "HELD"]
        assert house.switch.undecided == 0
        assert len(house.sent("customs-queue")) == 2


DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from exchange.stores.sqlite import SqliteStore
async def die():
    store = SqliteStore(Path(sys.argv[1]))
    backlog = await store.open()
    await store.arrivals(backlog.arrivals[:1], count_try=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(die())
"""


async def test_what_kills_the_worker_three_times_is_held_and_what_came_with_it_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.gate("context")
        ids = [await house.give("ent1-box", order(i)) for i in (1, 2)]
    for _ in range(3):
        store = str(tmp_path / "var/store")
        died = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", DYING, store], env=os.environ | {"PYTHONPATH": os.getcwd()}
        )
        assert died.returncode == -9
    async with running(tmp_path) as house:
        await house.settle()
        assert await house.states(*ids) == ["HELD", "ACCEPTED"]
        assert [line["code"] for line in await house.told(ids[0], "hold")] == ["SWX-2030"]
        await house.change("release", ids[0])
        await house.settle()
        assert await house.state(ids[0]) == "ACCEPTED", "a person's word gives it new lives"
