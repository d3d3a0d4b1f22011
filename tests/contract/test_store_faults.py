"""The SQLite store on disks that are full, read-only, damaged or dead: nothing is acknowledged that isn't kept.

Each fault is made by ``tests.sick_disk`` wherever SQLite runs, and again on real file systems where the tests run as
root: a small tmpfs that is filled up, and an ext4 that gives up writing as it does after an I/O error.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exchange.errors import NotFound, StoreError
from exchange.instants import SECOND
from exchange.model import (
    Arrival,
    Conclusion,
    Decision,
    Delivery,
    Document,
    Endpoint,
    Envelope,
    Outcome,
    Parcel,
    Planned,
    Spool,
)
from exchange.ports import Change
from exchange.stores.sqlite import SqliteStore
from tests.sick_disk import DEAD, FULL, READ_ONLY, UNSYNCED, Disk, failing, sick, small

NOON = 1_795_320_000 * SECOND  # 2026-11-22T12:00:00+08:00
DAY = 86_400 * SECOND
OUTBOX = Endpoint("ent1-sftp", "ENT1", "sftp_server")
LARGE = 300 * 1024  # bytes: a body that becomes a file
FAULTS = pytest.mark.parametrize(
    ("faults", "code"),
    [(FULL, "SWX-6010"), (READ_ONLY, "SWX-6030"), (UNSYNCED, "SWX-6030"), (DEAD, "SWX-6030")],
    ids=["full", "read-only", "unsynced", "dead"],
)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with sick() as disk:
        yield disk


@asynccontextmanager
async def opened(folder: Path, days_later: int = 0) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder, now=lambda: NOON + days_later * DAY)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def receive(store: SqliteStore, text: str, size: int = 0, endpoint: Endpoint = OUTBOX, at: int = NOON) -> Arrival:
    return await store.receive(Parcel(text, text.encode().ljust(size, b".")), endpoint, at)


async def refused(asked: Any) -> str:
    """Return the code that the store refuses with; it must say so in two languages."""
    with pytest.raises(StoreError) as raised:
        await asked
    assert raised.value.en
    assert raised.value.zh != raised.value.en
    return raised.value.code


async def names(store: SqliteStore) -> list[str]:
    return [head["name"] for head in reversed(await store.messages(limit=10_000))]


# -- a disk that refuses -----------------------------------------------------------------------------------------


@FAULTS
async def test_what_the_disk_refuses_was_never_there_and_the_rest_is(
    tmp_path: Path, disk: Disk, faults: dict[str, int], code: str
) -> None:
    async with opened(tmp_path / "store") as store:
        await receive(store, "before")
        disk.falls_ill(faults)
        for size in (0, 5_000, LARGE):
            asked = [receive(store, "refused", size), receive(store, "refused too", size), store.probe()]
            assert [await refused(one) for one in asked] == [code] * 3
        disk.heals()
        await store.probe()
        await receive(store, "after")
        assert await names(store) == ["before", "after"]
        shutil.copytree(tmp_path / "store", tmp_path / "as a kill would leave it")
    for folder in ("store", "as a kill would leave it"):
        async with opened(tmp_path / folder) as store:
            assert await names(store) == ["before", "after"]


@FAULTS
async def test_a_name_first_used_by_what_was_refused_is_still_known_after_a_restart(
    tmp_path: Path, disk: Disk, faults: dict[str, int], code: str
) -> None:
    """Names are numbered in memory, too: a number of a transaction that never was must not be used again."""
    stranger = Endpoint("stranger-sftp", "STRANGER", "sftp_server")
    async with opened(tmp_path) as store:
        disk.falls_ill(faults)
        assert await refused(receive(store, "refused", endpoint=stranger)) == code
        disk.heals()
        arrival = await receive(store, "taken", endpoint=stranger)
    async with opened(tmp_path) as store:
        (found,) = await store.arrivals([arrival.id])
        assert (found.endpoint, found.party) == ("stranger-sftp", "STRANGER")


class Work(NamedTuple):
    """One message in each state that a verb begins with, and what it asks."""

    asked: dict[str, Callable[[], Any]]
    state: Callable[[], Any]


async def work(store: SqliteStore) -> Work:
    waiting, queued, claimed = [await accepted(store, name) for name in ("waiting", "queued", "claimed")]
    arrival = await receive(store, "undecided")
    (sending,) = await store.claim(claimed, NOON)
    await store.publish("routes: []", "zhang", "first", NOON)
    envelope = Envelope("CEB311Message", "1.0", "G-9", documents=(Document({"guid": "G-9"}),))
    conclusion = Conclusion(arrival, Decision("accept", (Planned("customs-queue", "CUSTOMS"),)), envelope, "ENT1")
    asked = {
        "conclude": lambda: store.conclude([conclusion]),
        "claim": lambda: store.claim(queued, NOON),
        "settle": lambda: store.settle([Outcome(sending, "deliver", NOON)]),
        "change": lambda: store.change([Change(waiting[0].message, "hold", "zhang", "asked", NOON)]),
        "publish": lambda: store.publish("routes: [ ]", "zhang", "again", NOON),
        "holds": lambda: store.holds({"party:ENT1": "held"}, "zhang", "unpaid", NOON),
        "import_parties": lambda: store.import_parties([{"code": "NEW"}], "zhang", "new", NOON),
        "arrivals": lambda: store.arrivals([arrival.id], count_try=True),
    }

    async def state() -> Any:
        ids = [arrival.id, *(d.message for d in (*waiting, *queued, *claimed))]
        lives = [await store.life(id) for id in ids]
        return lives, await store.generations(), await store.parties(), await store.holds()

    return Work(asked, state)


async def accepted(store: SqliteStore, name: str) -> list[Delivery]:
    arrival = await receive(store, name)
    envelope = Envelope("CEB311Message", "1.0", name, documents=(Document({"guid": name}),))
    decision = Decision("accept", (Planned("customs-queue", "CUSTOMS"),))
    (concluded,) = await store.conclude([Conclusion(arrival, decision, envelope, "ENT1", at=NOON)])
    return list(concluded.deliveries)


@FAULTS
async def test_every_verb_that_is_refused_has_changed_nothing_and_works_once_the_disk_does(
    tmp_path: Path, disk: Disk, faults: dict[str, int], code: str
) -> None:
    async with opened(tmp_path) as store:
        asked, state = await work(store)
        before = await state()
        disk.falls_ill(faults)
        assert {verb: await refused(ask()) for verb, ask in asked.items()} == dict.fromkeys(asked, code)
        disk.heals()
        assert await state() == before
        for ask in asked.values():
            await ask()
        after = [life["state"] for life in (await state())[0]]
        assert after == ["ACCEPTED", "ACCEPTED", "ACCEPTED", "COMPLETED"]


async def test_a_database_that_may_not_grow_is_a_full_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await receive(store, "before")
        pages = store._db.connection.execute("PRAGMA page_count").fetchone()[0]
        store._db.connection.execute(f"PRAGMA max_page_count = {pages}")
        assert await refused(receive(store, os.urandom(40_000).hex())) == "SWX-6010"
        store._db.connection.execute("PRAGMA max_page_count = 100000")
        await receive(store, "after")
        assert await names(store) == ["before", "after"]


async def test_a_database_that_turns_read_only_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store._db.connection.execute("PRAGMA query_only = ON")
        assert await refused(receive(store, "refused")) == "SWX-6020"
        assert await refused(store.probe()) == "SWX-6020"
        store._db.connection.execute("PRAGMA query_only = OFF")
        await receive(store, "after")


# -- the same on real disks --------------------------------------------------------------------------------------


async def until_it_is_full(store: SqliteStore, kept: list[str]) -> None:
    for i in range(1000):
        kept.append((await receive(store, f"{i:04}", 9_000 + i)).parcel.name)


async def test_on_a_disk_filled_to_the_brim_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    with small(tmp_path / "disk") as mount:
        kept: list[str] = []
        async with opened(mount.path / "store") as store:
            mount.fill(leave=400_000)
            with pytest.raises(StoreError, match="SWX-6010"):
                await until_it_is_full(store, kept)
            mount.fill()
            assert await refused(receive(store, "large", LARGE)) == "SWX-6010"
            assert await names(store) == kept, "what is there can be read all the while"
            mount.free()
            await asyncio.gather(*(receive(store, f"after-{i}", size) for i, size in enumerate((10, 9_000, LARGE))))
            shutil.copytree(mount.path / "store", tmp_path / "copy")
        async with opened(tmp_path / "copy") as store:
            assert await names(store) == [*kept, "after-0", "after-1", "after-2"]


async def test_a_file_system_that_gave_up_writing_refuses_and_has_everything_once_it_is_repaired(
    tmp_path: Path,
) -> None:
    with failing(tmp_path / "disk") as mount:
        async with opened(mount.path / "store") as store:
            await receive(store, "before")
            await receive(store, "large", LARGE)
            mount.abort()
            for size in (0, LARGE):
                assert await refused(receive(store, "refused", size)) in ("SWX-6020", "SWX-6030")
            assert await refused(store.probe()) in ("SWX-6020", "SWX-6030")
        mount.repair()
        async with opened(mount.path / "store") as store:
            assert await names(store) == ["before", "large"]
            await receive(store, "after")


async def test_a_read_only_mount_is_refused_at_the_start_with_what_to_do(tmp_path: Path) -> None:
    with small(tmp_path / "disk") as mount:
        async with opened(mount.path / "store") as store:
            await receive(store, "before")
        mount.seal()
        for folder in ("store", "another"):
            with pytest.raises(StoreError, match=r"SWX-6020 .* check the mount and the owner"):
                async with opened(mount.path / folder):
                    pass


# -- payloads that are files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "SWX-6010"), (errno.EROFS, "SWX-6020"), (errno.EIO, "SWX-6030")]
)
async def test_a_large_payload_whose_file_is_not_on_disk_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    async with opened(tmp_path) as store:
        monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
        assert await refused(receive(store, "refused", LARGE)) == code
        monkeypatch.undo()
        assert (await receive(store, "after", LARGE)).parcel.name == "after"
        assert await names(store) == ["after"]


def spooled(folder: Path, body: bytes) -> Parcel:
    folder.mkdir(exist_ok=True)
    path = folder / hashlib.sha256(body).hexdigest()[:8]
    path.write_bytes(body)
    return Parcel("spooled", Spool(path, len(body), hashlib.sha256(body).digest()))


async def test_a_spool_on_another_disk_is_copied(tmp_path: Path) -> None:
    with small(tmp_path / "disk") as mount:
        parcel = spooled(mount.path / "spool", b"x" * LARGE)
        async with opened(tmp_path / "store") as store:
            arrival = await store.receive(parcel, OUTBOX, NOON)
            assert list((mount.path / "spool").iterdir()) == []
            assert (await store.payload(arrival.id)).read() == b"x" * LARGE


async def test_a_spool_that_the_system_will_not_link_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(path: Path, to: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.link", elsewhere)
    async with opened(tmp_path / "store") as store:
        arrival = await store.receive(spooled(tmp_path / "spool", b"x" * LARGE), OUTBOX, NOON)
        assert list((tmp_path / "spool").iterdir()) == []
        assert (await store.payload(arrival.id)).read() == b"x" * LARGE


async def test_a_spool_that_vanished_is_refused_and_not_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "store") as store:
        parcel = spooled(tmp_path / "spool", b"x" * LARGE)
        shutil.rmtree(tmp_path / "spool")
        assert await refused(store.receive(parcel, OUTBOX, NOON)) == "SWX-6030"
        await receive(store, "after")
        assert await names(store) == ["after"]


async def test_an_undecided_message_whose_file_vanished_is_held_until_somebody_brings_it_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        arrival, other = await receive(store, "large", LARGE), await receive(store, "other", LARGE)
    file = tmp_path / "payloads" / str(arrival.id >> 40) / str(arrival.id)
    away = file.rename(tmp_path / "away")
    async with opened(tmp_path) as store:
        assert [found.id for found in await store.arrivals([arrival.id, other.id])] == [other.id]
        life = await store.life(arrival.id)
        assert (life["state"], life["code"], life["journal"][-1]["code"]) == ("HELD", "SWX-2080", "SWX-2080")
        with pytest.raises(NotFound, match="is gone"):
            await store.payload(arrival.id)
        away.rename(file)
        await store.change([Change(arrival.id, "release", "zhang", "restored", NOON)])
        (found,) = await store.arrivals([arrival.id])
        assert found.parcel.read() == b"large".ljust(LARGE, b".")


async def test_retention_takes_the_files_of_dropped_days_along(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        old = await receive(store, "old", LARGE)
        await store.conclude([Conclusion(old, Decision("reject", code="SWX-1010"), at=NOON)])
    async with opened(tmp_path, days_later=3) as store:
        kept = await receive(store, "kept", LARGE, at=NOON + 3 * DAY)
        assert await store.retain(kept.id >> 40) == 1
        assert await store.retain(kept.id >> 40) == 0
        assert [name for name in contents(tmp_path) if name.isdecimal()] == [str(kept.id)]


# -- a start that must not be --------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, str]:
    """Return what lies in a folder and isn't empty or memory: names and digests."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith("-shm")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.stat().st_size}


def overwrite(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xde\xad\xbe\xef" * ((path.stat().st_size - offset) // 4))


@pytest.mark.parametrize("offset", [0, 8192], ids=["the first page", "every page but the first"])
async def test_a_damaged_file_is_refused_with_a_cure_and_left_as_it_is(tmp_path: Path, offset: int) -> None:
    async with opened(tmp_path) as store:
        await receive(store, "before")
    overwrite(tmp_path / "switch.db", offset)
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"SWX-6050 .* restore the last backup"):
            async with opened(tmp_path):
                pass
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "statement", ["PRAGMA user_version = 99", "UPDATE partition SET version = 99 WHERE kind = 'day'"]
)
async def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path, statement: str) -> None:
    async with opened(tmp_path) as store:
        await receive(store, "before")
    with sqlite3.connect(tmp_path / "switch.db") as newer:
        newer.execute(statement)
        newer.commit()
        newer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    newer.close()
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"SWX-6070 .* newer switch .* 99, this one knows \d+.* backup"):
        async with opened(tmp_path):
            pass
    assert contents(tmp_path) == before


async def test_a_second_store_in_the_same_folder_is_refused_while_the_first_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        for _ in range(2):
            with pytest.raises(StoreError, match="SWX-6080 another switch works on the store"):
                async with opened(tmp_path):
                    pass
        await receive(first, "goes on")
    async with opened(tmp_path) as second:
        assert await names(second) == ["goes on"]
