"""The amqp adapter against a real RabbitMQ: what goes through, and how it looks on the other side."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from exchange.errors import Permanent, Transient
from exchange.model import Parcel, Spool
from tests.live.amqp import BODY, at, channel_of, declare, drain, in_window, parcel, sent, switch, until
from tests.live.rabbitmq import Broker

pytestmark = pytest.mark.live

MEGABYTE = 1024 * 1024


async def test_what_is_published_in_a_window_is_confirmed_and_there_exactly_once(
    rabbitmq: Broker, tmp_path: Path
) -> None:
    queue = declare(rabbitmq)
    endpoint = at(rabbitmq, publish={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(0))
        cpu, wall = time.process_time(), time.monotonic()
        await in_window(5000, 200, lambda number: running.adapter.send(endpoint, parcel(number + 1)))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    print(f"\npublish+confirm: {5000 / wall:.0f} messages/s, {cpu / 5000 * 1e6:.1f} us of client CPU per message")
    assert drain(rabbitmq, queue) == Counter(f"20261122-{number}" for number in range(5001))
    assert cpu / 5000 < 200e-6


async def test_what_is_consumed_is_taken_once_and_acknowledged(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    endpoint = at(rabbitmq, publish={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(0))
        await in_window(4999, 200, lambda number: running.adapter.send(endpoint, parcel(number + 1)))
    consuming = at(rabbitmq, consume={"queue": queue})
    async with switch(tmp_path, consuming) as running:
        await until(lambda: running.intake.parcels)
        cpu, wall = time.process_time(), time.monotonic()
        await until(lambda: len(running.intake.parcels) == 5000)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    print(f"\nconsume+take+ack: {5000 / wall:.0f} messages/s, {cpu / 5000 * 1e6:.1f} us of client CPU per message")
    assert running.intake.ids == Counter(f"20261122-{number}" for number in range(5000))
    assert rabbitmq.messages(queue) == 0
    assert cpu / 5000 < 200e-6


async def test_the_properties_of_a_message_say_what_the_parcel_says(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    endpoint = at(rabbitmq, publish={"queue": queue})
    headers = {"type": "CEB312Message", "refers-to": "20261121-7", "disposition": "receipt"}
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, Parcel("回执.XML", b"<a/>", {"id": "20261122-1", **headers}))
        await sent(running, endpoint, Parcel("manifest.edi", b"", {}))
    with channel_of(rabbitmq) as channel:
        _, first, body = channel.basic_get(queue, auto_ack=True)
        _, second, nothing = channel.basic_get(queue, auto_ack=True)
    assert body == b"<a/>"
    assert first.delivery_mode == 2
    assert (first.message_id, first.type, first.correlation_id) == ("20261122-1", "CEB312Message", "20261121-7")
    assert first.content_type == "application/xml"
    assert first.headers == {"file-name": "回执.XML", "disposition": "receipt"}
    assert nothing == b""
    assert second.content_type == "application/octet-stream"
    assert second.headers == {"file-name": "manifest.edi"}


async def test_what_one_switch_publishes_another_takes_with_name_and_headers(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    both = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    given = parcel(1, b"\xff\xfe any bytes", type="CEB312Message", disposition="receipt", **{"refers-to": "20261121-7"})
    async with switch(tmp_path, both) as running:
        await sent(running, both, given)
        await until(lambda: running.intake.parcels)
    assert running.intake.parcels == [given]


@pytest.mark.parametrize("size", [9, 3 * MEGABYTE], ids=["in memory", "through a file"])
async def test_a_byte_of_zero_stands_before_payloads_only_on_the_wire(
    rabbitmq: Broker, tmp_path: Path, size: int
) -> None:
    queue = declare(rabbitmq)
    body = random.Random(7).randbytes(size)
    with_head = at(rabbitmq, publish={"queue": queue}, head="zero")
    async with switch(tmp_path, with_head) as running:
        await sent(running, with_head, parcel(1, body))
    with channel_of(rabbitmq) as channel:
        _, properties, there = channel.basic_get(queue, auto_ack=True)
        assert there == b"\0" + body
        for payload in (there, body, b"\0\0"):  # one that a peer forgot it on is taken as it is
            channel.basic_publish("", queue, payload, properties)
    consuming = at(rabbitmq, consume={"queue": queue}, head="zero")
    async with switch(tmp_path, consuming) as running:
        await until(lambda: len(running.intake.parcels) == 3)
        assert Counter(one.read() for one in running.intake.parcels) == Counter([body, body, b"\0"])
        assert all(one.digest == hashlib.sha256(one.read()).digest() for one in running.intake.parcels)
        await until(lambda: not rabbitmq.messages(queue))
    assert not list((tmp_path / "spool").glob("*")), "nothing is left behind"


@pytest.mark.parametrize("spooled", [False, True], ids=["in memory", "from a file"])
async def test_a_large_payload_goes_out_and_comes_in_through_a_file(
    rabbitmq: Broker, tmp_path: Path, spooled: bool
) -> None:
    queue = declare(rabbitmq)
    body = random.Random(7).randbytes(8 * MEGABYTE)
    (tmp_path / "payload").write_bytes(body)
    spool = Spool(tmp_path / "payload", len(body), hashlib.sha256(body).digest())
    both = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue})
    async with switch(tmp_path, both) as running:
        await sent(running, both, parcel(0))
        numbers = range(1, 4)
        await asyncio.gather(
            *(running.adapter.send(both, parcel(each, spool if spooled else body)) for each in numbers)
        )
        await asyncio.gather(*(running.adapter.send(both, parcel(each)) for each in range(4, 8)))
        await until(lambda: len(running.intake.parcels) == 8)
    assert sorted(len(each.body) for each in running.intake.parcels) == [len(BODY)] * 5 + [len(body)] * 3
    assert sum(each.body == body for each in running.intake.parcels) == 3
    assert running.intake.spools == 3
    assert list((tmp_path / "spool").iterdir()) == []
    assert (tmp_path / "payload").exists()


async def test_small_parcels_sent_beside_a_large_one_all_arrive(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    body = bytes(12 * MEGABYTE)
    (tmp_path / "payload").write_bytes(body)
    spool = Spool(tmp_path / "payload", len(body), hashlib.sha256(body).digest())
    endpoint = at(rabbitmq, publish={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(0))
        large = asyncio.ensure_future(running.adapter.send(endpoint, parcel(1, spool)))
        await asyncio.sleep(0)
        await in_window(98, 98, lambda number: running.adapter.send(endpoint, parcel(number + 2)))
        await large
    assert drain(rabbitmq, queue) == Counter(f"20261122-{number}" for number in range(100))


async def test_many_unroutable_in_flight_fail_and_the_others_do_not(rabbitmq: Broker, tmp_path: Path) -> None:
    queue, choice = declare(rabbitmq), random.Random(11)
    with channel_of(rabbitmq) as channel:
        channel.exchange_declare(queue, "headers", durable=True)
        channel.queue_bind(queue, queue, arguments={"x-match": "all", "disposition": "accepted"})
    endpoint = at(rabbitmq, publish={"exchange": queue})
    wanted = [choice.choice(["accepted", "rejected"]) for _ in range(1000)]
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(0, disposition="accepted"))

        async def one(number: int) -> tuple[int, Exception | None]:
            try:
                await running.adapter.send(endpoint, parcel(number + 1, disposition=wanted[number]))
            except Transient as error:
                return number, error
            return number, None

        results = dict(await in_window(1000, 200, one))
    refused = {number for number, error in results.items() if error}
    assert refused == {number for number, disposition in enumerate(wanted) if disposition == "rejected"}
    assert all("NO_ROUTE" in str(results[number]) for number in refused)
    assert len(drain(rabbitmq, queue)) == 1001 - len(refused)


async def test_a_queue_that_is_full_refuses_and_says_so(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq, **{"x-max-length": 1, "x-overflow": "reject-publish"})
    endpoint = at(rabbitmq, publish={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(1))
        with pytest.raises(Transient, match="nack"):
            await running.adapter.send(endpoint, parcel(2))
    assert drain(rabbitmq, queue) == Counter(["20261122-1"])


async def test_a_message_over_the_brokers_limit_fails_for_good_and_the_others_go(
    rabbitmq: Broker, tmp_path: Path
) -> None:
    queue = declare(rabbitmq)
    endpoint = at(rabbitmq, publish={"queue": queue})
    async with switch(tmp_path, endpoint) as running:
        await sent(running, endpoint, parcel(1))
        with pytest.raises(Permanent, match="more than the broker accepts: 16777216"):
            await running.adapter.send(endpoint, parcel(2, bytes(17 * MEGABYTE)))
        await sent(running, endpoint, parcel(3))
    assert drain(rabbitmq, queue) == Counter(["20261122-1", "20261122-3"])


async def test_a_missing_queue_is_made_where_the_administrator_asks_for_it(rabbitmq: Broker, tmp_path: Path) -> None:
    name = f"{declare(rabbitmq)}-replicated"
    options = {"consume": {"queue": name}, "publish": {"queue": name}, "declare": True, "quorum": True}
    both = at(rabbitmq, **options)
    async with switch(tmp_path, both) as running:
        await sent(running, both, parcel(0))
        await in_window(500, 200, lambda number: running.adapter.send(both, parcel(number + 1)))
        await until(lambda: len(running.intake.parcels) == 501)
    assert f"{name}\tquorum" in rabbitmq.control("list_queues", "name", "type")
    assert rabbitmq.messages(name) == 0


async def test_an_endpoint_that_did_not_change_keeps_its_connection(rabbitmq: Broker, tmp_path: Path) -> None:
    queue, other = declare(rabbitmq), declare(rabbitmq)
    kept = at(rabbitmq, "kept", publish={"queue": queue}, consume={"queue": queue})
    added = at(rabbitmq, "added", publish={"queue": other})
    async with switch(tmp_path, kept) as running:
        await sent(running, kept, parcel(1))
        await running.adapter.serve({"kept": kept, "added": added})
        await sent(running, added, parcel(2))
        await sent(running, kept, parcel(3))
        await running.adapter.serve({"kept": kept})
        await sent(running, kept, parcel(4))
        await until(lambda: len(running.intake.parcels) == 3)
        with pytest.raises(Transient, match="not served"):
            await running.adapter.send(added, parcel(5))
    assert len(running.logged("amqp.connected")) == 2  # one to publish, one to consume
    assert [entry["endpoint"] for entry in running.logged("amqp.consuming")] == ["kept"]
    assert drain(rabbitmq, other) == Counter(["20261122-2"])


async def test_an_endpoint_that_is_removed_finishes_what_it_takes(rabbitmq: Broker, tmp_path: Path) -> None:
    queue = declare(rabbitmq)
    both = at(rabbitmq, publish={"queue": queue}, consume={"queue": queue, "prefetch": 5})
    async with switch(tmp_path, both) as running:
        running.intake.gate.clear()
        await sent(running, both, parcel(0))
        await in_window(19, 19, lambda number: running.adapter.send(both, parcel(number + 1)))
        await until(lambda: running.intake.tries == 5)
        leaving = asyncio.ensure_future(running.adapter.serve({}))
        await asyncio.sleep(0.2)
        running.intake.gate.set()
        await leaving
    assert len(running.intake.parcels) == 5
    left = drain(rabbitmq, queue)
    assert len(left) == 15
    assert left + running.intake.ids == Counter(f"20261122-{number}" for number in range(20))


async def test_an_endpoint_that_only_consumes_refuses_to_send(rabbitmq: Broker, tmp_path: Path) -> None:
    endpoint = at(rabbitmq, consume={"queue": declare(rabbitmq)})
    async with switch(tmp_path, endpoint) as running:
        with pytest.raises(Permanent, match="only consumes"):
            await running.adapter.send(endpoint, parcel(1))
