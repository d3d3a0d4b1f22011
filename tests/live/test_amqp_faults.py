"""The amqp adapter when the broker, the disk or the administrator fails it: nothing that was answered for is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import trustme

from exchange.errors import Busy, TooLarge, Transient
from tests.live.amqp import at, channel_of, declare, drain, in_window, parcel, sent, switch, until
from tests.live.rabbitmq import PASSWORD, Broker

pytestmark = [pytest.mark.live, pytest.mark.slow]


async def test_a_broker_killed_under_load_loses_nothing_it_confirmed(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    endpoint = at(rabbitmq, publish={"queue": queue})
    done = 0
    async with switch(tmp_path, endpoint) as running:

        async def one(number: int) -> int:
            nonlocal done
            attempts = await sent(running, endpoint, parcel(number))
            done += 1
            return attempts

        await sent(running, endpoint, parcel(0))
        load = asyncio.ensure_future(in_window(6000, 200, one))
        await until(lambda: done > 1000)
        rabbitmq.kill()
        await asyncio.to_thread(rabbitmq.start)
        attempts = await asyncio.wait_for(load, 150)
    found = drain(rabbitmq, queue)
    print(
        f"\n6000 confirmed, {len(found)} distinct found, {found.total() - len(found)} twice, {max(attempts)} attempts"
    )
    assert set(found) == {f"20261122-{number}" for number in range(6000)}
    connected, lost = len(running.logged("amqp.connected")), len(running.logged("amqp.lost"))
    assert 2 <= connected <= 4  # a broker that is only just up may drop a connection again
    assert 1 <= lost <= 2 * (connected - 1)  # the loss, and that the broker is away: not one line per attempt
    assert sum(count > 1 for count in attempts) <= 200 * (connected - 1)  # only what was in flight


async def test_what_was_in_flight_when_the_connection_broke_is_transient(rabbitmq: Broker, tmp_path: Path) -> None:
    endpoint = at(rabbitmq, publish={"queue": declare(rabbitmq)})
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(0))
        os.kill(rabbitmq.pid, signal.SIGSTOP)
        sends = [asyncio.ensure_future(running.adapter.send(endpoint, parcel(each))) for each in range(1, 51)]
        await asyncio.sleep(0.1)
        rabbitmq.kill()
        results = await asyncio.gather(*sends, return_exceptions=True)
        with pytest.raises(Transient, match="no channel to the broker"):
            await running.adapter.send(endpoint, parcel(51))
        await asyncio.to_thread(rabbitmq.start)
        await sent(running, endpoint, parcel(51))
    assert [type(each) for each in results] == [Transient] * 50
    assert "outcome unknown" in str(results[0])


async def test_a_broker_killed_while_we_consume_loses_nothing_and_flags_what_comes_twice(
    rabbitmq: Broker, tmp_path: Path
) -> None:
    queue = declare(rabbitmq)
    publishing, consuming = at(rabbitmq, "out", publish={"queue": queue}), at(rabbitmq, "in", consume={"queue": queue})
    async with switch(tmp_path, publishing) as running:
        await sent(running, publishing, parcel(0))
        await in_window(5999, 200, lambda number: running.adapter.send(publishing, parcel(number + 1)))
    async with switch(tmp_path, consuming) as running:
        await until(lambda: len(running.intake.parcels) > 1000)
        rabbitmq.kill()
        await asyncio.to_thread(rabbitmq.start)
        await until(lambda: len(running.intake.ids) == 6000, 150)
    taken = running.intake.parcels
    twice = {id for id, count in running.intake.ids.items() if count > 1}
    flagged = {each.headers["id"] for each in taken if each.headers.get("redelivered") == "true"}
    print(f"\n6000 taken, {len(twice)} of them twice")
    assert rabbitmq.messages(queue) == 0
    assert twice <= flagged


async def test_a_broker_that_falls_silent_is_noticed_by_its_heartbeat(rabbitmq: Broker, tmp_path: Path) -> None:
    endpoint = at(rabbitmq, publish={"queue": declare(rabbitmq)}, heartbeat_seconds=2)
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(1))
        os.kill(rabbitmq.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Transient, match="outcome unknown"):
                await asyncio.wait_for(running.adapter.send(endpoint, parcel(2)), 30)
        finally:
            os.kill(rabbitmq.pid, signal.SIGCONT)
        await sent(running, endpoint, parcel(3))
    assert "no sign of life" in running.logged("amqp.lost")[0]["reason"]


async def test_takes_that_fail_are_held_and_tried_again_without_hurry(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    both = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue, "prefetch": 20})
    async with switch(tmp_path, both) as running:
        running.intake.failure = Busy("more has arrived than is sorted", retry_after=0.5)
        await sent(running, both, parcel(0))
        await in_window(99, 99, lambda number: running.adapter.send(both, parcel(number + 1)))
        await until(lambda: running.intake.tries >= 40)
        assert running.intake.tries <= 80  # 20 held, each tried once a second or less often
        running.intake.failure = None
        await until(lambda: len(running.intake.parcels) == 100)
    assert running.intake.ids == Counter(f"20261122-{number}" for number in range(100))
    assert not any("redelivered" in each.headers for each in running.intake.parcels)
    assert rabbitmq.messages(queue) == 0
    assert len(running.logged("intake.paused")) == 1
    assert len(running.logged("intake.resumed")) == 1


async def test_a_large_message_waits_until_the_disk_has_room(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    both = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    async with switch(tmp_path, both) as running:
        (tmp_path / "spool").write_text("not a directory: nothing can be written")
        await sent(running, both, parcel(1, bytes(1_000_000)))
        await sent(running, both, parcel(2))
        await until(lambda: running.logged("intake.paused"))
        await until(lambda: running.intake.ids == Counter(["20261122-2"]))
        (tmp_path / "spool").unlink()
        await until(lambda: len(running.intake.parcels) == 2)
    assert running.intake.parcels[1].body == bytes(1_000_000)
    assert running.intake.parcels[1].headers["redelivered"] == "true"


@pytest.mark.parametrize("by", ["size", "take"])
async def test_what_is_too_large_goes_to_the_dead_letters(rabbitmq: Broker, tmp_path: Path, by: str) -> None:
    dead = declare(rabbitmq)
    queue = declare(rabbitmq, **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    both = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    async with switch(tmp_path, both, limit_bytes=5000 if by == "size" else 64_000_000) as running:
        await sent(running, both, parcel(1))
        await until(lambda: len(running.intake.parcels) == 1)
        if by == "take":
            running.intake.failure = TooLarge("over the limit")
        await sent(running, both, parcel(2, bytes(400_000)))
        await until(lambda: running.logged("parcel.refused"))
    assert drain(rabbitmq, dead) == Counter(["20261122-2"])
    assert running.logged("parcel.refused")[0]["code"] == "SWX-1070"


async def test_a_missing_queue_is_reported_and_consumed_once_it_is_there(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = f"{declare(rabbitmq)}-later"
    endpoint = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await until(lambda: running.logged("amqp.refused"))
        await until(lambda: running.logged("amqp.publishing"))
        with pytest.raises(Transient, match="NO_ROUTE"):
            await running.adapter.send(endpoint, parcel(1))
        with channel_of(rabbitmq) as channel:
            channel.queue_declare(queue, durable=True)
        await sent(running, endpoint, parcel(1))
        await until(lambda: running.intake.parcels)
    assert running.logged("amqp.refused")[0]["reason"] == f"404 NOT_FOUND - no queue '{queue}' in vhost '/'"
    assert len(running.logged("amqp.refused")) == 1


async def test_a_missing_exchange_fails_what_is_sent_with_the_brokers_words(rabbitmq: Broker, tmp_path: Path) -> None:
    endpoint = at(rabbitmq, publish={"exchange": "nowhere", "routing_key": "customs"})
    async with switch(tmp_path, endpoint) as running:
        await until(lambda: running.logged("amqp.publishing"))
        with pytest.raises(Transient, match="no exchange 'nowhere'"):
            await running.adapter.send(endpoint, parcel(1))
        with channel_of(rabbitmq) as channel:
            channel.exchange_declare("nowhere", durable=True)
        await until(lambda: len(running.logged("amqp.publishing")) == 2)
        with pytest.raises(Transient, match="NO_ROUTE"):
            await running.adapter.send(endpoint, parcel(1))


async def test_a_consumer_whose_queue_was_deleted_comes_back_with_the_queue(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    endpoint = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await until(lambda: running.logged("amqp.consuming"))
        with channel_of(rabbitmq) as channel:
            channel.queue_delete(queue)
        await until(lambda: running.logged("amqp.refused"))
        with channel_of(rabbitmq) as channel:
            channel.queue_declare(queue, durable=True)
        await sent(running, endpoint, parcel(1))
        await until(lambda: running.intake.parcels)
    assert "was the queue deleted?" in running.logged("amqp.refused")[0]["reason"]


async def test_a_consumer_that_gets_nothing_though_messages_wait_is_set_up_anew(
    rabbitmq: Broker, tmp_path: Path
) -> None:
    queue = declare(rabbitmq, **{"x-single-active-consumer": True})
    endpoint = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    rival = rabbitmq.connect()
    channel = rival.channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None)
    async with switch(tmp_path, endpoint) as running:
        running.consumer("customs").watch_seconds = 0.2
        await sent(running, endpoint, parcel(1))
        await sent(running, endpoint, parcel(2))
        await until(lambda: running.logged("amqp.refused"))
        rival.close()
        await until(lambda: len(running.intake.ids) == 2)
    assert "but the broker delivers none" in running.logged("amqp.refused")[0]["reason"]


async def test_a_refused_login_is_told_once_and_tried_again(rabbitmq: Broker, tmp_path: Path) -> None:
    endpoint = at(rabbitmq, publish={"queue": declare(rabbitmq)}, user="newcomer")
    async with switch(tmp_path, endpoint) as running:
        await until(lambda: running.logged("amqp.lost"))
        with pytest.raises(Transient, match="ACCESS_REFUSED"):
            await running.adapter.send(endpoint, parcel(1))
        await asyncio.to_thread(rabbitmq.control, "add_user", "newcomer", PASSWORD)
        await asyncio.to_thread(rabbitmq.control, "set_permissions", "newcomer", ".*", ".*", ".*")
        await sent(running, endpoint, parcel(1))
    reasons = [entry["reason"].split(" -")[0] for entry in running.logged("amqp.lost")]
    assert reasons in (["403 ACCESS_REFUSED"], ["403 ACCESS_REFUSED", "530 NOT_ALLOWED"])  # known, not yet permitted
    assert PASSWORD not in str(running.capture.entries)


async def test_a_broker_with_a_certificate_of_our_authority_is_trusted_and_shown_ours(
    rabbitmq: Broker, tmp_path: Path
) -> None:
    queue = declare(rabbitmq)
    ours = {"certificate": rabbitmq.directory / "client.pem", "key": rabbitmq.directory / "client.key"}
    queues = {"publish": {"queue": queue}, "consume": {"queue": queue}}
    both = at(rabbitmq, url=rabbitmq.tls_url, ca=rabbitmq.ca, **ours, **queues)
    async with switch(tmp_path, both) as running:
        await sent(running, both, parcel(0))
        connections = await asyncio.to_thread(rabbitmq.control, "list_connections", "ssl_protocol", "peer_cert_subject")
        assert connections.count("CN=switch.example") == 2
        await in_window(300, 100, lambda number: running.adapter.send(both, parcel(number + 1)))
        await until(lambda: len(running.intake.parcels) == 301)


@pytest.mark.parametrize(
    ("host", "authority", "said"),
    [
        ("localhost", "stranger", "certificate verify failed"),
        ("127.0.0.1", "ours", "VerificationError"),
        ("localhost", "missing", "No such file"),
    ],
    ids=["a stranger's authority", "another name", "no authority file"],
)
async def test_a_broker_that_cannot_prove_who_it_is_gets_nothing(
    rabbitmq: Broker, tmp_path: Path, host: str, authority: str, said: str
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    ca = rabbitmq.ca if authority == "ours" else tmp_path / f"{authority}.pem"
    url = f"amqps://{host}:{rabbitmq.tls_port}"
    endpoint = at(rabbitmq, url=url, ca=ca, publish={"queue": declare(rabbitmq)})
    async with switch(tmp_path, endpoint) as running:
        await until(lambda: running.logged("amqp.lost"))
        with pytest.raises(Transient, match=said):
            await running.adapter.send(endpoint, parcel(1))
    assert not running.logged("amqp.connected")


async def test_a_broker_short_of_memory_is_not_sent_to_until_it_recovers(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    endpoint = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(0))
        await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            waiting = asyncio.ensure_future(running.adapter.send(endpoint, parcel(1)))
            await until(lambda: running.logged("amqp.blocked"))
            with pytest.raises(Transient, match="accepts nothing now: low on memory") as caught:
                await running.adapter.send(endpoint, parcel(2))
            assert caught.value.retry_after
            await until(lambda: len(running.intake.parcels) == 1)
            assert rabbitmq.messages(queue) == 0  # acknowledgements get through all the same
        finally:
            await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "absolute", "1GB")
        await asyncio.wait_for(waiting, 20)
        await sent(running, endpoint, parcel(2))
        await until(lambda: len(running.intake.ids) == 3)
    assert running.logged("amqp.unblocked")
