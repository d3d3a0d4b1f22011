"""Picking up from folders and writing into them."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
from pydantic import ValidationError
from structlog.testing import LogCapture

from adapters import _pickup
from adapters._pickup import Claim, Pickup, Rules
from adapters._spool import Spooler
from adapters.folder import Folder
from exchange.errors import Permanent, StoreError, TooLarge
from exchange.instants import SECOND
from exchange.model import Endpoint, Parcel, Spool
from exchange.ports import World

NOON = 1_795_320_000 * SECOND  # 2026-11-22 12:00 in Beijing


class Desk:
    """A directory, a pickup, and a clock that stands still."""

    def __init__(self, directory: Path, *, keep: bool = True, limit: int = 1000) -> None:
        self.directory = directory / "take"
        self.directory.mkdir(exist_ok=True)
        self.now = 0.0
        self.logged = LogCapture()
        self.rules = Rules(self.directory, 2.0, keep, Spooler(directory / "spool", 100, limit))
        self.pickup = self.another()

    def another(self) -> Pickup:
        log = structlog.wrap_logger(structlog.PrintLogger(), processors=[self.logged])
        return Pickup(self.rules, lambda: NOON, log, lambda: self.now)

    def put(self, name: str, body: bytes = b"x", at: int = 1000) -> Path:
        path = self.directory / name
        path.write_bytes(body)
        os.utime(path, (at, at))
        return path

    def claims(self, pickup: Pickup | None = None) -> list[Claim]:
        """Look until there is nothing more to do at once."""
        found: list[Claim] = []
        more = True
        while more:
            claims, more = (pickup or self.pickup).round()
            found += claims
        return found

    def settled(self, pickup: Pickup | None = None) -> list[Claim]:
        """Look, wait for the settle time, look again."""
        found = self.claims(pickup)
        self.now += 2.0
        return found + self.claims(pickup)

    @property
    def lying(self) -> list[str]:
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file())

    def left(self) -> list[str]:
        return [entry["name"] for entry in self.logged.entries if entry["event"] == "folder.file_left"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def names(claims: Sequence[Claim]) -> list[str]:
    return [claim.parcel.name for claim in claims]


# -- what is complete ---------------------------------------------------------------------------------------------


def test_a_file_is_taken_once_it_has_stood_still(desk: Desk) -> None:
    desk.put("a.xml", b"body")
    assert not desk.claims()
    desk.now = 1.9
    assert not desk.claims()
    desk.now = 2.0
    [claim] = desk.claims()
    assert (claim.parcel.name, claim.parcel.body) == ("a.xml", b"body")


def test_two_looks_in_a_row_are_no_proof_of_stillness(desk: Desk) -> None:
    desk.put("a.xml")
    assert not desk.claims() + desk.claims() + desk.claims()


def test_a_file_that_still_grows_waits(desk: Desk) -> None:
    desk.put("a.xml", b"bo")
    desk.claims()
    desk.now = 2.0
    desk.put("a.xml", b"body")
    assert not desk.claims()
    desk.now = 3.9
    assert not desk.claims()
    desk.now = 4.0
    assert [claim.parcel.body for claim in desk.claims()] == [b"body"]


def test_a_file_replaced_by_one_alike_waits_again(desk: Desk) -> None:
    desk.put("a.xml", b"one")
    desk.claims()
    desk.now = 2.0
    other = desk.put("b.tmp", b"two")
    other.rename(desk.directory / "a.xml")
    assert not desk.claims()
    desk.now = 4.0
    assert [claim.parcel.body for claim in desk.claims()] == [b"two"]


@pytest.mark.parametrize("name", ["a.tmp", "a.xml.TEMP", "a.part", "a.filepart", ".a.xml", ".in.a.xml"])
def test_temporary_names_are_left_alone(desk: Desk, name: str) -> None:
    desk.put(name)
    assert not desk.settled()


def test_only_regular_files_are_taken(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (desk.directory / "link.xml").symlink_to(tmp_path / "secret")
    (desk.directory / "folder.xml").mkdir()
    os.mkfifo(desk.directory / "pipe.xml")
    assert not desk.settled()
    assert not desk.left()


def test_clocks_of_writers_play_no_part(desk: Desk) -> None:
    desk.put("future.xml", at=4_000_000_000)
    desk.put("past.xml", at=1)
    assert names(desk.settled()) == ["past.xml", "future.xml"]


def test_files_come_oldest_first_then_by_name(desk: Desk) -> None:
    for name, at in (("c", 5), ("a", 7), ("b", 7), ("d", 1)):
        desk.put(name, at=at)
    assert names(desk.settled()) == ["d", "c", "a", "b"]


def test_an_empty_file_is_taken_like_any_other(desk: Desk) -> None:
    desk.put("empty.xml", b"")
    assert [claim.parcel.body for claim in desk.settled()] == [b""]


def test_a_large_file_is_spooled(desk: Desk) -> None:
    desk.put("large.xml", b"x" * 500)
    [claim] = desk.settled()
    assert isinstance(claim.parcel.body, Spool)
    assert claim.parcel.read() == b"x" * 500


def test_a_chinese_windows_name_is_readable(desk: Desk) -> None:
    os.close(os.open(os.fsencode(desk.directory) + b"/" + "浙B5Z502.xml".encode("gbk"), os.O_CREAT))
    [claim] = desk.settled()
    assert claim.parcel.name == "浙B5Z502.xml"
    desk.pickup.finish([claim], [])
    assert not (desk.directory / "processing").exists() or not list((desk.directory / "processing").iterdir())


# -- what becomes of it -------------------------------------------------------------------------------------------


def test_a_taken_file_goes_to_the_archive_of_the_day(desk: Desk) -> None:
    desk.put("a.xml")
    desk.pickup.finish(desk.settled(), [])
    assert desk.lying == ["archive/20261122/a.xml"]


def test_the_archive_never_overwrites(desk: Desk) -> None:
    for body in (b"one", b"two", b"three"):
        desk.put("a.xml", body)
        desk.pickup.finish(desk.settled(), [])
    archive = desk.directory / "archive" / "20261122"
    assert sorted(path.read_bytes() for path in archive.iterdir()) == [b"one", b"three", b"two"]


def test_a_taken_file_can_be_removed_instead(tmp_path: Path) -> None:
    desk = Desk(tmp_path, keep=False)
    desk.put("a.xml")
    desk.pickup.finish(desk.settled(), [])
    assert desk.lying == []


def test_a_refused_file_is_back_in_its_place_and_taken_later(desk: Desk) -> None:
    desk.put("a.xml", b"x" * 500)
    [claim] = desk.settled()
    desk.pickup.finish([], [(claim, StoreError("full"))])
    assert desk.lying == ["a.xml"]
    assert not list(desk.rules.spooler.directory.iterdir())
    assert names(desk.settled()) == ["a.xml"]


def test_a_file_over_the_limit_is_left_and_told_of_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, limit=1000)
    desk.put("huge.xml", b"x" * 1001)
    desk.put("next.xml")
    assert names(desk.settled()) == ["next.xml"]
    assert not desk.settled() + desk.settled()
    assert desk.left() == ["huge.xml"]
    desk.put("huge.xml", b"x" * 1000)
    assert names(desk.settled()) == ["huge.xml"]


def test_a_file_that_the_switch_finds_too_large_is_left_and_told_of_once(desk: Desk) -> None:
    desk.put("a.xml")
    desk.pickup.finish([], [(desk.settled()[0], TooLarge("over the limit of 0 bytes"))])
    assert not desk.settled() + desk.settled()
    assert (desk.lying, desk.left()) == (["a.xml"], ["a.xml"])


def test_an_unreadable_file_holds_up_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put("a.xml", at=1)
    desk.put("b.xml", at=2)
    opened = os.open

    def locked_up(path: Path | str, *rest: int, **more: int) -> int:
        if Path(path).name == "a.xml":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", locked_up)
    assert names(desk.settled()) == ["b.xml"]
    assert not desk.settled()
    assert desk.left() == ["a.xml"]
    monkeypatch.undo()
    (desk.directory / "a.xml").chmod(0o640)  # what the operator does about it
    assert names(desk.settled()) == ["a.xml"]


# -- crashes and neighbours ---------------------------------------------------------------------------------------


def died(claims: Sequence[Claim]) -> None:
    """Let go of files as a killed process does."""
    for claim in claims:
        os.close(claim.handle)


def test_after_a_crash_between_take_and_move_the_file_is_taken_again(desk: Desk) -> None:
    desk.put("a.xml", b"body")
    died(desk.settled())
    assert [name.partition("~")[0] for name in desk.lying] == ["processing/a.xml"]
    after = desk.another()
    [claim] = desk.claims(after)
    assert (claim.parcel.name, claim.parcel.body) == ("a.xml", b"body")
    after.finish([claim], [])
    assert desk.lying == ["archive/20261122/a.xml"]


def test_what_a_living_switch_works_on_is_not_taken_again(desk: Desk) -> None:
    desk.put("a.xml")
    claims = desk.settled()
    neighbour = desk.another()
    assert not desk.settled(neighbour)
    desk.pickup.finish(claims, [])
    assert not desk.settled(neighbour)


def test_of_two_switches_one_takes_each_file(desk: Desk) -> None:
    for number in range(300):
        desk.put(f"{number}.xml")
    pickups = [desk.another(), desk.another()]
    for pickup in pickups:
        desk.claims(pickup)
    desk.now = 2.0
    claims: list[Claim] = []
    for _ in range(20):
        for pickup in pickups:
            claims += pickup.round()[0]
    assert sorted(names(claims)) == sorted(f"{number}.xml" for number in range(300))


def test_a_new_file_of_a_name_in_work_does_not_harm_the_first(desk: Desk) -> None:
    desk.put("a.xml", b"one")
    died(desk.settled())
    desk.put("a.xml", b"two")
    assert sorted(claim.parcel.read() for claim in desk.settled()) == [b"one", b"two"]


def test_work_in_one_round_is_bounded_and_order_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pickup, "LOOK", 50)
    monkeypatch.setattr(_pickup, "CLAIMS", 7)
    for number in range(200):
        desk.put(f"{number:03}.xml", at=1000 - number)
    desk.claims()
    desk.now = 2.0
    rounds = []
    while True:
        claims, more = desk.pickup.round()
        if not more:
            break
        rounds.append(claims)
    assert max(len(claims) for claims in rounds) == 7
    assert [name for claims in rounds for name in names(claims)] == [f"{n:03}.xml" for n in reversed(range(200))]


def test_thousands_of_files_are_looked_at_quickly(desk: Desk) -> None:
    for number in range(10_000):
        os.close(os.open(desk.directory / f"{number}.xml", os.O_CREAT))
    slowest, more = 0.0, True
    while more:
        begun = time.perf_counter()
        _, more = desk.pickup.round()
        slowest = max(slowest, time.perf_counter() - begun)
    assert slowest < 0.5


# -- the adapter --------------------------------------------------------------------------------------------------


def test_an_endpoint_needs_a_directory() -> None:
    with pytest.raises(ValidationError, match="请给出"):
        Folder.Options()
    with pytest.raises(ValidationError, match="不能相同"):
        Folder.Options(take_from=Path("in"), send_to=Path("in"))
    with pytest.raises(ValidationError):
        Folder.Options(take_from=Path("in"), unknown=1)  # type: ignore[call-arg]


class Bench:
    """The adapter with a switch that takes everything."""

    def __init__(self, directory: Path) -> None:
        self.logged = LogCapture()
        self.taken: list[str] = []
        log = structlog.wrap_logger(structlog.PrintLogger(), processors=[self.logged])
        world = World(self.take, None, None, lambda: NOON, log, directory=str(directory))  # type: ignore[arg-type]
        self.adapter = Folder(world)

    async def take(self, parcel: Parcel, endpoint: Endpoint) -> str:
        self.taken.append(parcel.name)
        return "20261122-1"

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.logged.entries]


def endpoint(**options: object) -> Endpoint:
    return Endpoint("one", "ENT0001", "folder", Folder.Options(poll_seconds=0.01, settle_seconds=0.02, **options))


async def eventually(true: object) -> None:
    async with asyncio.timeout(10):
        while not true():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_directory_that_goes_away_and_comes_back_is_told_of_once_each(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.adapter.serve({"one": endpoint(take_from=tmp_path / "in")})
    await eventually(lambda: "folder.unavailable" in bench.events())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.xml").write_bytes(b"body")
    await eventually(lambda: bench.taken)
    await bench.adapter.stop()
    assert bench.events() == ["folder.unavailable", "folder.recovered"]
    assert bench.taken == ["a.xml"]


async def test_a_bug_in_one_round_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    bench = Bench(tmp_path)
    right = Pickup.round

    def wrong_once(pickup: Pickup) -> object:
        monkeypatch.setattr(Pickup, "round", right)
        raise RuntimeError("a bug")

    monkeypatch.setattr(Pickup, "round", wrong_once)
    await bench.adapter.serve({"one": endpoint(take_from=tmp_path / "in")})
    (tmp_path / "in" / "a.xml").write_bytes(b"body")
    await eventually(lambda: bench.taken)
    await bench.adapter.stop()
    assert "folder.round_failed" in bench.events()


async def test_sending_through_a_stopped_adapter_fails_and_does_not_hang(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.adapter.stop()
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(bench.adapter.send(endpoint(send_to=tmp_path), Parcel("a.xml", b"body")), 5)


async def test_nothing_can_be_sent_where_no_directory_is_given(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(Permanent):
        await bench.adapter.send(endpoint(take_from=Path("in")), Parcel("a.xml", b"body"))
    await bench.adapter.stop()
