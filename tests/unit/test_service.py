"""The daemon: how it starts, tells what is late, goes on after a crash, and stops."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from exchange.errors import ConfigurationError, NotFound, StoreError
from exchange.instants import SECOND
from simulators._authority_engine import Authority
from simulators.authority import rules_of
from tests.daemon import NOON, ROUTES, Clock, Gate, Stuck, answer, inventory, order, running, switchd_yaml

BROKEN = ROUTES.replace("to: [customs-queue]}\n  - {name: inv", "too: [customs-quue]}\n  - {name: inv")


async def refuses_to_start(home: Path, routes: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        async with running(home, routes):
            pass
    return list(refused.value.problems)


# -- start -------------------------------------------------------------------------------------------------------


async def test_the_first_table_is_the_file_and_later_starts_take_the_one_in_force(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        (first,) = await house.ask("routes.history")
        assert (first["generation"], first["actor"], first["reason"]) == (1, "switchd", "first start")
        assert house.daemon.readiness() == {
            "started": (True, "all adapters listen"),
            "intake": (True, "open"),
            "routes": (True, "generation 1"),
        }
    async with running(tmp_path, BROKEN) as house:
        assert house.switch.table.generation == 1
        await house.give("ent1-box", order(1))
        await house.settle()
        assert len(house.sent("customs-queue")) == 1


async def test_a_first_table_with_mistakes_is_told_with_their_places_and_nothing_listens(tmp_path: Path) -> None:
    problems = await refuses_to_start(tmp_path, BROKEN)
    assert [problem.partition(": ")[0] for problem in problems] == ["routes.yaml:16:5", "routes.yaml:16:50"]
    assert "unknown key 'too', did you mean 'to'?" in problems[1]
    assert not await asyncio.to_thread((tmp_path / "var/switchctl.sock").exists)
    async with running(tmp_path) as house:
        assert house.switch.table.generation == 1, "once it is mended it starts"


async def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    (problem,) = await refuses_to_start(tmp_path, "include: [none-*.yaml]")
    assert "no file matches 'none-*.yaml'" in problem


async def test_the_control_socket_is_there_while_it_runs_and_is_nobody_elses(tmp_path: Path) -> None:
    socket = tmp_path / "var/switchctl.sock"
    async with running(tmp_path):
        assert socket.stat().st_mode & 0o777 == 0o600
    assert not socket.exists()


# -- what is late ------------------------------------------------------------------------------------------------


async def test_a_customs_that_is_silent_raises_an_alarm_once_and_settles_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", order(1))
        await house.settle()
        await house.pass_time(1799)
        assert house.logged("receipt.missed") == []
        for _ in range(3):
            await house.pass_time(2)
        (alarm,) = house.logged("receipt.missed")
        assert (alarm["id"], alarm["party"], alarm["stage"], alarm["level"]) == (id, "CUSTOMS", "last", "warning")
        assert alarm["code"] == "SWX-3040"
        (line,) = await house.told(id, "overdue")
        assert (line["en"], line["zh"]) == ("the receipt is overdue", "回执超时未到")
        assert (await house.ask("status"))["receipts_missing"] == {"CUSTOMS": {"last": 1}}
        assert await house.state(id) == "ACCEPTED"
        await house.give("customs-queue", answer(1), "r.xml")
        await house.settle()
        await house.pass_time(1)
        assert await house.state(id) == "COMPLETED"
        assert (await house.ask("status"))["receipts_missing"] == {}


async def test_each_stage_that_is_silent_raises_an_alarm_of_its_own_until_it_speaks(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", inventory(1))
        await house.settle()
        await house.pass_time(301)
        await house.pass_time(1500)
        alarms = [(line["id"], line["stage"], line["code"]) for line in house.logged("receipt.missed")]
        assert alarms == [(id, "port", "SWX-3041"), (id, "customs", "SWX-3041")]
        assert (await house.ask("status"))["receipts_missing"] == {"CUSTOMS": {"port": 1, "customs": 1}}
        told = [line["stage"] for line in await house.told(id, "overdue")]
        assert told == ["port", "customs"]
        shown = house.daemon.metrics.text().decode()
        assert 'switch_receipts_missing{party="CUSTOMS",stage="port"} 1.0' in shown
        sent = house.sent("customs-queue")[0].read()
        for receipt in Authority(rules=rules_of("customs.yaml"), types=house.daemon.catalogue).answer(sent, NOON)[:3]:
            await house.give("customs-queue", receipt.body, receipt.name)
        await house.settle()
        await house.pass_time(1)
        assert (await house.ask("status"))["receipts_missing"] == {}
        assert await house.state(id) == "ACCEPTED", "it isn't released yet"


async def test_an_alarm_that_was_raised_is_not_raised_again_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as house:
        await house.give("ent1-box", order(1))
        await house.settle()
        await house.pass_time(1801)
    async with running(tmp_path, clock=clock) as house:
        await house.pass_time(1)
        assert house.logged("receipt.missed") == []
        assert (await house.ask("status"))["receipts_missing"] == {"CUSTOMS": {"last": 1}}


async def test_a_receipt_whose_cause_never_comes_is_held_and_still_joins(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        receipt = await house.give("customs-queue", answer(1), "r.xml")
        await house.decided()
        assert await house.state(receipt) == "RECEIVED"
        await house.pass_time(3601)
        (alarm,) = house.logged("receipt.unmatched")
        assert (alarm["id"], alarm["code"], await house.state(receipt)) == (receipt, "SWX-2020", "HELD")
        cause = await house.give("ent1-box", order(1))
        await house.until(lambda: "r.xml" in house.names("ent1-box"))
        await house.settle()
        assert await house.states(cause, receipt) == ["COMPLETED", "COMPLETED"]


async def test_a_clock_that_is_set_back_loses_nothing_and_repeats_no_id(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        before = await house.give("ent1-box", order(1))
        await house.settle()
        await house.pass_time(-3 * 86_400)
        after = await house.give("ent1-box", order(2))
        again = await house.give("ent1-box", order(1))
        await house.give("customs-queue", answer(1, 2), "r.xml")
        await house.settle()
        assert before < after
        assert await house.states(before, after, again) == ["COMPLETED", "COMPLETED", "DUPLICATE"]
        (line,) = house.logged("clock.set_back")
        assert (line["level"], line["seconds"]) == ("warning", 3 * 86_400)


# -- chores ------------------------------------------------------------------------------------------------------


async def test_intake_closes_before_the_disk_is_full_and_opens_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10_000

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    stuck = Stuck()
    async with running(tmp_path, switchd=switchd_yaml("reserve_bytes: 5000"), far={"customs-queue": stuck}) as house:
        house.daemon.chores.tasks.pop(0).cancel()
        id = await house.give("ent1-box", order(1))
        free = 4_999
        await house.daemon.chores.watch_disk()
        await house.daemon.chores.watch_disk()
        with pytest.raises(StoreError) as refused:
            await house.give("ent1-box", order(2))
        assert (refused.value.code, bool(refused.value.zh)) == ("SWX-6010", True)
        (alarm,) = house.logged("intake.closed")
        assert (alarm["level"], alarm["code"], alarm["free_bytes"]) == ("error", "SWX-6010", 4_999)
        assert not house.daemon.readiness()["intake"][0]
        assert (await house.ask("status"))["intake"].startswith("SWX-6010 ")
        stuck.let_go()
        await house.settle()
        assert len(house.sent("customs-queue")) == 1, "what was taken is decided and sent with what is left"
        free = 5_001
        await house.daemon.chores.watch_disk()
        assert len(house.logged("intake.opened")) == 1
        await house.give("ent1-box", order(2))
        assert await house.state(id) == "ACCEPTED"


async def test_a_chore_that_fails_is_told_and_comes_again(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        asked = []

        async def chore() -> None:
            asked.append(1)
            raise OSError("no such disk")

        task = asyncio.create_task(house.daemon.chores.repeat(chore, 0.001))
        await house.until(lambda: len(asked) > 2)
        task.cancel()
        assert house.logged("chore.failed")[0]["error"] == "no such disk"


async def test_days_that_are_over_go_and_what_is_open_stays(tmp_path: Path) -> None:
    async with running(tmp_path, switchd=switchd_yaml("reserve_bytes: 0, retention_days: 2")) as house:
        settled, held = await house.give("ent1-box", order(1)), await house.give("ent1-box", order(2))
        await house.give("customs-queue", answer(1), "r.xml")
        await house.settle()
        assert await house.state(settled) == "COMPLETED"
        await house.pass_time(86_400)
        held = await house.give("customs-queue", b"garbage")
        await house.settle()
        for _ in range(4):
            await house.pass_time(86_400)
            await house.give("ent1-box", order(house.clock.at // SECOND))
            await house.settle()
        await house.daemon.chores.retain()
        assert house.logged("store.retained")[-1]["days_dropped"] == 2
        with pytest.raises(NotFound):
            await house.state(settled)
        assert await house.state(held) == "HELD"


# -- after a crash -----------------------------------------------------------------------------------------------

CUT: dict[str, tuple[str, int, int, list[str]]] = {
    # the verb that was done, but nobody knew: state then, sent before and after, what the journal says of it
    "receive": ("RECEIVED", 0, 1, []),
    "context": ("RECEIVED", 0, 1, []),
    "conclude": ("ACCEPTED", 0, 1, ["SWX-3030"]),
    "claim": ("ACCEPTED", 0, 1, ["SWX-3030"]),
    "settle": ("ACCEPTED", 1, 0, []),
}


async def killed_at(verb: str, home: Path) -> tuple[str, int]:
    """Kill a daemon once a verb of its store is done and nobody knows it yet; tell the state and what was sent."""
    async with running(home) as house:
        if verb == "claim":
            await house.ask("endpoint.hold", name="customs-queue", state="held", reason="so that it must be claimed")
        gate: Gate = house.gate(verb)
        giving = asyncio.create_task(house.give("ent1-box", order(1)))
        if verb == "claim":
            await house.until(lambda: house.logged("message.accepted"))
            await house.ask("endpoint.hold", name="customs-queue", state="", reason="now")
        await house.until(lambda: gate.waiting)
        (head,) = await house.ask("message.list")
        house.kill()
        giving.cancel()
        return head["state"], len(house.sent("customs-queue"))


@pytest.mark.parametrize("verb", CUT)
async def test_a_daemon_killed_between_two_steps_goes_on_where_it_was(tmp_path: Path, verb: str) -> None:
    state, before, after, told = CUT[verb]
    assert await killed_at(verb, tmp_path) == (state, before)
    async with running(tmp_path) as house:
        await house.settle()
        (head,) = await house.ask("message.list")
        assert head["state"] == "ACCEPTED"
        assert [parcel.read() for parcel in house.sent("customs-queue")] == [order(1)] * after
        assert [line["code"] for line in await house.told(head["id"], "defer") if line["delivery"] == 0] == told
        again = await house.give("ent1-box", order(1))
        await house.settle()
        assert await house.state(again) == "DUPLICATE", "a peer that never heard yes sends again"


async def test_what_kills_the_daemon_while_it_is_sent_is_held_after_three_times(tmp_path: Path) -> None:
    for _ in range(3):
        stuck = Stuck()
        async with running(tmp_path, far={"customs-queue": stuck}) as house:
            if not await house.ask("message.list"):
                id = await house.give("ent1-box", order(1))
            await house.until(partial(len, stuck.waiting))
            house.kill()
    async with running(tmp_path) as house:
        await house.settle()
        assert house.sent("customs-queue") == []
        assert [line["code"] for line in await house.told(id, "hold")] == ["SWX-2030"]
        await house.change("release", id)
        await house.settle()
        assert len(house.sent("customs-queue")) == 1


async def test_what_waits_is_still_there_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        receipt = await house.give("customs-queue", answer(7), "r.xml")
        held = await house.give("customs-queue", b"garbage")
        delivered = await house.give("ent1-box", order(1))
        await house.settle()
        house.kill()
    async with running(tmp_path) as house:
        await house.settle()
        assert await house.states(receipt, held, delivered) == ["RECEIVED", "HELD", "ACCEPTED"]
        assert house.memory.sent == [], "what was delivered is not sent again"
        cause = await house.give("ent1-box", order(7))
        await house.until(lambda: "r.xml" in house.names("ent1-box"))
        await house.settle()
        assert await house.states(cause, receipt) == ["COMPLETED", "COMPLETED"]


# -- stop --------------------------------------------------------------------------------------------------------


async def test_a_stop_takes_nothing_more_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.gate("conclude")
        taken = await house.give("ent1-box", order(1))
        endpoint, take = house.switch.table.endpoints["ent1-box"], house.switch.take
    with pytest.raises(StoreError) as refused:
        await take(SimpleNamespace(size=1, name="a.xml"), endpoint)
    assert (refused.value.code, bool(refused.value.zh)) == ("SWX-6060", True)
    assert house.logged("switch.stopped")
    async with running(tmp_path) as house:
        await house.settle()
        assert await house.state(taken) == "ACCEPTED"
