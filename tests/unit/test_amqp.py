"""The amqp adapter's bookkeeping: confirms, acknowledgements, parcels, options, outages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pika import spec
from pydantic import ValidationError
from structlog.testing import LogCapture

from adapters import _amqp_frames as frames
from adapters._amqp_confirms import Confirms
from adapters._amqp_consumer import Acks, read_parcel
from adapters._amqp_link import LONGEST_SECONDS, Outage, backoff
from adapters._amqp_options import Options, read_url
from exchange.errors import Permanent, Transient
from exchange.model import Parcel

WELL = "amqp://broker.example"

# -- confirms ----------------------------------------------------------------------------------------------------


def outcome(future: asyncio.Future[None]) -> str:
    if not future.done():
        return "open"
    error = future.exception()
    return error.en.split(":")[0] if isinstance(error, Transient) else "sent" if error is None else "failed"


async def test_a_multiple_confirm_decides_all_up_to_its_number_and_no_more() -> None:
    confirms = Confirms()
    sends = [confirms.add(str(number), 1) for number in range(6)]
    confirms.settle(2, False, True)
    confirms.settle(4, True, False)
    assert [outcome(each) for each in sends] == [
        "the broker failed to store it (nack)",
        "sent",
        "the broker failed to store it (nack)",
        "the broker failed to store it (nack)",
        "open",
        "open",
    ]
    assert confirms.oldest == 5
    confirms.settle(6, True, True)
    assert [outcome(each) for each in sends[4:]] == ["sent", "sent"]
    assert confirms.oldest == 0


async def test_returned_publishes_fail_when_they_are_confirmed_and_only_they() -> None:
    confirms = Confirms()
    sends = [confirms.add(id, 1) for id in ("a", "b", "same", "c", "same", "d")]
    for id in ("b", "same", "d"):
        confirms.returned(id, "312 NO_ROUTE")
    assert [outcome(each) for each in sends] == ["open"] * 6
    confirms.settle(6, True, True)
    refused = "the broker can't route it"
    assert [outcome(each) for each in sends] == ["sent", refused, refused, "sent", "sent", refused]


async def test_a_return_that_names_nobody_is_held_against_all_in_flight() -> None:
    confirms = Confirms()
    sends = [confirms.add(str(number), 1) for number in range(3)]
    confirms.settle(1, False, True)
    confirms.returned("stranger", "312 NO_ROUTE")
    confirms.settle(3, True, True)
    assert [outcome(each) for each in sends] == ["sent"] + ["the broker can't route it"] * 2


async def test_a_lost_channel_leaves_open_publishes_unknown_and_a_cancelled_send_alone() -> None:
    confirms = Confirms()
    sends = [confirms.add(str(number), 1) for number in range(3)]
    confirms.settle(1, False, True)
    sends[1].cancel()
    confirms.lose("the cable was cut")
    assert outcome(sends[0]) == "sent"
    with pytest.raises(Transient, match="outcome unknown: the cable was cut"):
        sends[2].result()


async def test_only_the_message_that_is_over_the_brokers_limit_fails_for_good() -> None:
    confirms = Confirms()
    small, large = confirms.add("a", 10), confirms.add("b", 2000)
    confirms.lose("406 PRECONDITION_FAILED - message size 2000 is larger than configured max size 1024")
    assert isinstance(small.exception(), Transient)
    assert isinstance(large.exception(), Permanent)


# -- acknowledgements --------------------------------------------------------------------------------------------


async def acknowledged(taken: list[int], pending: list[int]) -> bytes:
    written: list[bytes] = []
    acks = Acks(3, written.append)
    for tag in sorted(taken + pending):
        acks.add(tag)
    for tag in taken:
        acks.taken(tag)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert acks.idle is not pending
    return b"".join(written)


async def test_what_is_taken_together_is_acknowledged_together() -> None:
    assert await acknowledged([3, 1, 2], []) == frames.ack(3, 3, True)


async def test_what_is_still_being_taken_is_not_acknowledged_by_a_later_one() -> None:
    assert await acknowledged([1, 2, 4, 6], [3, 5]) == b"".join(
        (frames.ack(3, 2, True), frames.ack(3, 4, False), frames.ack(3, 6, False))
    )
    assert await acknowledged([2], [1]) == frames.ack(3, 2, False)


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)))
def test_every_taken_delivery_is_acknowledged_once_and_no_other(taken: set[int], pending: set[int]) -> None:
    written: list[bytes] = []
    acks = Acks(1, written.append)
    for tag in sorted(taken | pending):
        acks.add(tag)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_take(acks, taken))
    loop.close()
    unsettled = sorted(taken | pending)
    for _, _, payload in frames.Frames().feed(b"".join(written)):
        tag, multiple = frames.read_confirm(payload)
        covered = {each for each in unsettled if each <= tag} if multiple else {tag}
        assert covered <= taken
        unsettled = [each for each in unsettled if each not in covered]
    assert set(unsettled) == pending - taken


async def _take(acks: Acks, tags: set[int]) -> None:
    for tag in tags:
        acks.taken(tag)
    await asyncio.sleep(0)


async def test_nothing_is_acknowledged_on_a_channel_that_is_gone() -> None:
    written: list[bytes] = []
    acks = Acks(1, written.append)
    acks.add(1)
    acks.add(2)
    acks.taken(1)
    acks.is_open = False
    acks.refused(2, requeue=True)
    await asyncio.sleep(0)
    assert not written


# -- parcels -----------------------------------------------------------------------------------------------------


def test_a_delivery_becomes_a_parcel_with_what_its_publisher_said() -> None:
    properties = spec.BasicProperties(
        message_id="20261122-1",
        type="CEB312Message",
        correlation_id="20261121-7",
        headers={"file-name": "回执.xml", "disposition": "receipt", "x-death": [{"count": 1}]},
    )
    headers = {"id": "20261122-1", "type": "CEB312Message", "refers-to": "20261121-7", "disposition": "receipt"}
    assert read_parcel("q", 1, False, properties, b"x") == Parcel("回执.xml", b"x", headers)
    assert read_parcel("q", 1, True, properties, b"x").headers == {**headers, "redelivered": "true"}


def test_a_parcel_without_a_file_name_is_called_by_its_id_or_its_place() -> None:
    assert read_parcel("q", 1, False, spec.BasicProperties(message_id="20261122-1"), b"").name == "20261122-1"
    assert read_parcel("q", 7, False, spec.BasicProperties(), b"") == Parcel("q-7", b"")
    odd = spec.BasicProperties(message_id=b"\xb6\xa9", headers={"file-name": 5})
    assert read_parcel("q", 7, False, odd, b"").name == "��"


# -- options -----------------------------------------------------------------------------------------------------


def test_a_url_names_host_port_virtual_host_and_tls() -> None:
    place = read_url("amqps://broker.example:5999/customs%2Fgz")
    assert (place.host, place.port, place.virtual_host, place.tls) == ("broker.example", 5999, "customs/gz", True)
    assert str(read_url(WELL)) == "broker.example:5672"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "http://broker.example"}, "write amqp://"),
        ({"url": "amqp://"}, "write amqp://"),
        ({"url": "amqp://switch:x@broker.example"}, "no credentials in a url"),
        ({"url": "amqp://broker.example/a/b"}, "written as|as %2F"),
        ({"url": "amqp://broker.example:99999"}, "[Pp]ort"),
        ({"consume": None}, "give publish, consume or both"),
        ({"publish": {}}, "give either queue or exchange"),
        ({"publish": {"queue": "q", "exchange": "e"}}, "give either queue or exchange"),
        ({"publish": {"queue": "q", "routing_key": "k"}}, "routing_key goes with exchange"),
        ({"consume": {"queue": "q", "prefetch": 0}}, "greater than or equal to 1"),
        ({"certificate": "a.pem"}, "certificate and key go together"),
        ({"ca": "a.pem"}, "go with an amqps:// url"),
        ({"quorum": True}, "quorum goes with declare"),
        ({"password": "in the open"}, "a secret is written as a reference"),
        ({"queue": "q"}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Options.model_validate({"url": WELL, "user": "switch", "consume": {"queue": "q"}, **options})


# -- outages -----------------------------------------------------------------------------------------------------


def test_the_wait_between_attempts_grows_and_ends_at_the_longest() -> None:
    waits = [backoff(failures) for failures in range(1, 12)]
    assert 1 <= waits[0] <= 1.2
    assert 8 <= waits[3] <= 9.6
    assert all(LONGEST_SECONDS <= wait <= LONGEST_SECONDS * 1.2 for wait in waits[5:])


def test_an_outage_is_told_once_for_each_reason() -> None:
    capture = LogCapture()
    outage = Outage(structlog.wrap_logger(None, processors=[capture]))
    for reason in ("refused", "refused", "wrong password", "refused"):
        outage.failed("amqp.lost", reason)
    assert outage.is_on
    outage.over("amqp.connected")
    outage.failed("amqp.lost", "refused")
    told = [(entry["event"], entry.get("reason")) for entry in capture.entries]
    lost = [("amqp.lost", "refused"), ("amqp.lost", "wrong password")]
    assert told == [*lost, ("amqp.connected", None), ("amqp.lost", "refused")]
    assert outage.failures == 5  # it hadn't worked for long
