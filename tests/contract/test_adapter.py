"""The adapter contract (``exchange.ports.Adapter``), run over every kind there is a peer for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from exchange.errors import Busy, DeliveryError, StoreError, TooLarge
from exchange.model import Parcel, Spool
from tests.contract.peers import Peer, bench, kinds, until

pytestmark = pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__module__.rpartition(".peer_")[2])

BODY = b'<?xml version="1.0" encoding="UTF-8"?><Order/>'


async def given(peer: Peer, name: str, body: bytes) -> bool:
    """Give a file; whatever the peer's client raises is a no."""
    try:
        return await peer.give(name, body)
    except Exception:
        return False


async def test_a_parcel_is_taken_with_its_bytes_and_its_endpoint(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        assert await b.peer.give("CEB311_1.xml", BODY)
        [(parcel, endpoint)] = b.taker.parcels
        assert (parcel.read(), endpoint) == (BODY, b.endpoint)


async def test_the_peer_is_told_yes_only_after_the_switch_took_it(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        b.taker.gate.clear()
        giving = asyncio.create_task(b.peer.give("a.xml", BODY))
        await until(lambda: b.taker.waiting == 1)
        done, _ = await asyncio.wait([giving], timeout=0.3)
        assert not done
        b.taker.gate.set()
        assert await giving
        assert len(b.taker.parcels) == 1


@pytest.mark.parametrize(
    "failure",
    [
        StoreError("the disk is full", "磁盘已满"),
        Busy("too much at once", "请求过多", retry_after=0.05),
        TooLarge("over the limit of 10 bytes", "超过上限 10 字节"),
        RuntimeError("a bug"),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("size", [100, 40_000], ids=["small", "spooled"])
async def test_a_refused_parcel_is_told_so_and_a_retry_works(
    kind: type[Peer], tmp_path: Path, failure: Exception, size: int
) -> None:
    body = b"x" * size
    async with bench(kind, tmp_path, spool_bytes=30_000) as b:
        b.taker.failure = failure
        assert not await given(b.peer, "a.xml", body)
        assert b.taker.refused
        assert not b.taker.parcels
        await until(lambda: not b.left_over())
        b.taker.failure = None
        assert await b.peer.give("a.xml", body)
        assert {parcel.read() for parcel, _ in b.taker.parcels} == {body}


async def test_a_large_body_comes_as_a_spool_file(kind: type[Peer], tmp_path: Path) -> None:
    body = bytes(range(256)) * 1200
    async with bench(kind, tmp_path, spool_bytes=100_000) as b:
        assert await b.peer.give("large.xml", body)
        [spool] = b.taker.spools
        assert spool.size == len(body)
        assert b.taker.parcels[0][0].read() == body
        assert not b.left_over()


async def test_a_body_over_the_limit_is_refused_and_the_next_one_taken(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path, spool_bytes=100_000, limit_bytes=300_000) as b:
        assert not await given(b.peer, "huge.xml", b"x" * 300_001)
        assert not b.left_over()
        assert await b.peer.give("largest.xml", b"x" * 300_000)
        assert [parcel.size for parcel, _ in b.taker.parcels] == [300_000]


async def test_an_empty_body_is_taken_like_any_other(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        assert await b.peer.give("empty.xml", b"")
        assert [parcel.size for parcel, _ in b.taker.parcels] == [0]


async def test_many_parcels_are_all_taken_once(kind: type[Peer], tmp_path: Path) -> None:
    bodies = [b"<Order>%d</Order>" % number for number in range(60)]
    async with bench(kind, tmp_path) as b:
        results = await asyncio.gather(*(b.peer.give(f"{n}.xml", body) for n, body in enumerate(bodies)))
        assert all(results)
        assert sorted(parcel.read() for parcel, _ in b.taker.parcels) == sorted(bodies)


async def test_unchanged_endpoints_are_served_on_while_others_come_and_go(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        b.taker.gate.clear()
        giving = asyncio.create_task(b.peer.give("a.xml", BODY))
        await until(lambda: b.taker.waiting == 1)
        await b.serve(b.endpoint)
        await b.serve(b.neighbour, b.endpoint)
        b.taker.gate.set()
        assert await giving
        assert await b.peer.give("b.xml", BODY)
        assert len(b.taker.parcels) == 2


async def test_an_endpoint_that_is_gone_takes_nothing_until_it_is_back(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        await b.serve(b.neighbour)
        with suppress(TimeoutError):
            assert not await asyncio.wait_for(given(b.peer, "a.xml", BODY), 0.5)
        assert not b.taker.parcels
        await b.serve(b.neighbour, b.endpoint)
        assert await b.peer.give("b.xml", BODY)
        assert b.taker.parcels


async def test_stopping_finishes_what_is_being_taken(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        b.taker.gate.clear()
        giving = asyncio.create_task(b.peer.give("a.xml", BODY))
        await until(lambda: b.taker.waiting == 1)
        stopping = asyncio.create_task(b.adapter.stop())
        await asyncio.wait([stopping], timeout=0.2)
        b.taker.gate.set()
        assert await giving
        await stopping
        assert len(b.taker.parcels) == 1


async def test_what_is_sent_reaches_the_peer_byte_for_byte(kind: type[Peer], tmp_path: Path) -> None:
    path = tmp_path / "frozen"
    path.write_bytes(large := bytes(range(256)) * 2000)
    async with bench(kind, tmp_path) as b:
        if not kind.adapter.sends:
            pytest.skip("nothing is sent to endpoints of this kind")
        await b.adapter.send(b.endpoint, Parcel("small.xml", BODY, {"id": "1", "disposition": "receipt"}))
        await b.adapter.send(b.endpoint, Parcel("large.xml", Spool(path, len(large), b""), {"id": "2"}))
        assert sorted(body for _, body in await b.peer.received()) == sorted([BODY, large])
        assert path.exists()


async def test_two_parcels_of_one_name_both_arrive(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        if not kind.adapter.sends:
            pytest.skip("nothing is sent to endpoints of this kind")
        await asyncio.gather(
            *(b.adapter.send(b.endpoint, Parcel("same.xml", b"%d" % n, {"id": str(n)})) for n in range(5))
        )
        assert sorted(body for _, body in await b.peer.received()) == [b"%d" % n for n in range(5)]


async def test_a_peer_that_is_away_gets_it_later(kind: type[Peer], tmp_path: Path) -> None:
    async with bench(kind, tmp_path) as b:
        if not kind.adapter.sends:
            pytest.skip("nothing is sent to endpoints of this kind")
        await b.peer.fail()
        with pytest.raises(DeliveryError):
            await b.adapter.send(b.endpoint, Parcel("a.xml", BODY, {"id": "1"}))
        await b.peer.recover()
        await b.adapter.send(b.endpoint, Parcel("a.xml", BODY, {"id": "1"}))
        assert [body for _, body in await b.peer.received()] == [BODY]
