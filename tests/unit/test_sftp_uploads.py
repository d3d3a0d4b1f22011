"""Uploads over SFTP without a network: packets in, packets out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import _sftp_wire as wire
from adapters._sftp_files import EARLY_BYTES, Upload
from adapters._sftp_tree import BOXES, UNFINISHED
from adapters._spool import Spooler
from exchange.errors import Busy, StoreError
from exchange.model import Parcel
from tests.sftp_bench import Client, offset

Result = TypeVar("Result")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


# -- uploads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 1000, 1001, 5000])
async def test_an_upload_is_taken_on_close_and_shown_in_sent_box(client: Client, size: int) -> None:
    body = os.urandom(size)
    assert (await client.put("/OutBox/a.xml", body))[0] == wire.OK
    assert client.taken == [Parcel("a.xml", body)]
    assert await client.names("/OutBox") == []
    assert (client.root / "SentBox" / "a.xml").read_bytes() == body
    assert not client.left_over()


@pytest.mark.parametrize("size", [0, 10, 1001])
@pytest.mark.parametrize("temporary", ["a.xml.tmp", "a.temp", "a.part", "a.xml.filepart", ".in.a.xml"])
async def test_a_temporary_name_is_taken_on_rename_only(client: Client, temporary: str, size: int) -> None:
    body = os.urandom(size)
    assert (await client.put(f"/OutBox/{temporary}", body))[0] == wire.OK
    assert not client.taken
    assert await client.names("/OutBox") == [temporary]
    code, _ = await client.status(wire.RENAME, f"/OutBox/{temporary}".encode(), b"/OutBox/a.xml")
    assert code == wire.OK
    assert client.taken == [Parcel("a.xml", body)]
    assert await client.names("/OutBox") == []
    assert await client.names("/SentBox") == ["a.xml"]
    assert not client.left_over()


async def test_a_cut_connection_never_commits(client: Client) -> None:
    handle = await client.open("/OutBox/a.xml")
    for at in (0, 700, 1400):
        await client.call(wire.WRITE, handle, offset(at), b"x" * 700)
    assert client.left_over()
    client.session.cut()
    assert not client.taken
    assert not client.left_over()
    assert not any(list((client.root / box).iterdir()) for box in BOXES)


async def test_a_connection_cut_after_close_is_still_taken(client: Client) -> None:
    handle = await client.open("/OutBox/a.xml")
    client.ask(wire.CLOSE, handle)
    client.session.cut()
    await asyncio.wait(client.working)
    assert client.taken == [Parcel("a.xml", b"")]
    assert not client.sent


@pytest.mark.parametrize("body", [b"x" * 10, b"x" * 2000], ids=["small", "spooled"])
async def test_a_refused_upload_is_gone_and_can_be_sent_again(client: Client, body: bytes) -> None:
    client.failure = StoreError("the disk is full", "磁盘已满")
    code, text = await client.status(wire.CLOSE, await client.begin("/OutBox/a.xml", body))
    assert code == wire.FAILURE
    assert "SWX-6000 the disk is full / 磁盘已满" in text
    assert not client.left_over()
    assert not any(list((client.root / box).iterdir()) for box in BOXES)
    client.failure = None
    assert (await client.put("/OutBox/a.xml", body))[0] == wire.OK
    assert client.taken == [Parcel("a.xml", body)]


async def test_a_refused_rename_leaves_the_upload_for_another_try(client: Client) -> None:
    await client.put("/OutBox/a.tmp", b"body")
    client.failure = Busy("later", "稍后")
    assert (await client.status(wire.RENAME, b"/OutBox/a.tmp", b"/OutBox/a.xml"))[0] == wire.FAILURE
    assert await client.names("/OutBox") == ["a.tmp"]
    client.failure = None
    assert (await client.status(wire.RENAME, b"/OutBox/a.tmp", b"/OutBox/a.xml"))[0] == wire.OK
    assert client.taken == [Parcel("a.xml", b"body")]


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that has nothing to wait for."""
    with pytest.raises(StopIteration) as end:
        work.send(None)
    return end.value.value  # type: ignore[no-any-return]


async def test_over_the_limit_it_fails_while_it_arrives(client: Client) -> None:
    handle = await client.open("/OutBox/huge.xml")
    codes = []
    for at in range(0, 7000, 700):
        codes.append(await client.status(wire.WRITE, handle, offset(at), b"x" * 700))
    assert [code for code, _ in codes] == [wire.OK] * 7 + [wire.FAILURE] * 3
    assert "5000" in codes[-1][1]
    assert not client.left_over()
    assert (await client.status(wire.CLOSE, handle))[0] == wire.FAILURE
    assert not client.taken
    assert [entry["event"] for entry in client.logged.entries] == ["sftp.request_refused"]


@given(st.permutations(range(10)))
def test_chunks_may_come_in_any_order(order: list[int]) -> None:
    upload = Upload("a", Spooler(Path("nowhere"), 10_000, 10_000).begin())
    for number in order:
        upload.write(number * 100, b"%d" % number * 100)
    assert at_once(upload.complete()) == b"".join(b"%d" % number * 100 for number in range(10))


async def test_a_gap_is_no_file(client: Client) -> None:
    handle = await client.open("/OutBox/a.xml")
    await client.call(wire.WRITE, handle, offset(100), b"x")
    code, text = await client.status(wire.CLOSE, handle)
    assert (code, "gap" in text) == (wire.FAILURE, True)
    assert not client.taken


async def test_what_runs_ahead_of_a_gap_is_bounded(client: Client) -> None:
    upload = Upload("a", Spooler(Path("nowhere"), 1 << 30, 1 << 30).begin())
    for number in range(1, EARLY_BYTES // 32768 + 1):
        upload.write(number * 32768, b"x" * 32768)
    with pytest.raises(wire.Refusal, match="gaps"):
        upload.write(EARLY_BYTES + 32768, b"x")
    with pytest.raises(wire.Refusal):
        await upload.complete()


async def test_bytes_are_written_once(client: Client) -> None:
    handle = await client.begin("/OutBox/a.xml", b"body")
    assert (await client.status(wire.WRITE, handle, offset(0), b"BODY"))[0] == wire.FAILURE
    assert (await client.status(wire.CLOSE, handle))[0] == wire.FAILURE
    assert not client.taken


@pytest.mark.parametrize("flags", [wire.FOR_WRITING | wire.CREATING, wire.APPENDING, wire.FOR_WRITING | wire.APPENDING])
async def test_resuming_and_appending_are_refused_politely(client: Client, flags: int) -> None:
    await client.put("/OutBox/a.tmp", b"half")
    code, text = await client.status(wire.OPEN, b"/OutBox/a.tmp", flags, 0)
    assert (code, "上传整个文件" in text) == (wire.UNSUPPORTED, True)


async def test_a_new_upload_replaces_an_unfinished_one(client: Client) -> None:
    await client.put("/OutBox/a.tmp", b"half")
    await client.put("/OutBox/a.tmp", b"whole")
    await client.status(wire.RENAME, b"/OutBox/a.tmp", b"/OutBox/a.xml")
    assert client.taken == [Parcel("a.xml", b"whole")]


async def test_unfinished_files_are_bounded(client: Client) -> None:
    for number in range(UNFINISHED):
        assert (await client.put(f"/OutBox/{number}.tmp", b"x"))[0] == wire.OK
    assert (await client.put("/OutBox/more.tmp", b"x"))[0] == wire.FAILURE
    assert (await client.put("/OutBox/1.tmp", b"y"))[0] == wire.OK
    assert (await client.put("/OutBox/final.xml", b"x"))[0] == wire.OK


@pytest.mark.parametrize("body", [b"x" * 10, b"x" * 2000], ids=["small", "spooled"])
async def test_an_unfinished_file_that_cannot_be_kept_leaves_nothing(client: Client, body: bytes) -> None:
    (client.root / "OutBox" / "a.tmp").mkdir()  # whatever the disk may have against it
    assert (await client.put("/OutBox/a.tmp", body))[0] == wire.FAILURE
    assert not client.left_over()
    assert [path.name for path in (client.root / "OutBox").iterdir()] == ["a.tmp"]


async def test_renaming_among_temporary_names_overwrites_only_when_asked(client: Client) -> None:
    await client.put("/OutBox/a.tmp", b"a")
    await client.put("/OutBox/b.tmp", b"b")
    assert (await client.status(wire.RENAME, b"/OutBox/a.tmp", b"/OutBox/b.tmp"))[0] == wire.FAILURE
    posix = wire.string(b"/OutBox/a.tmp") + wire.string(b"/OutBox/b.tmp")
    client.session.receive(wire.packet(wire.EXTENDED, 7, wire.string(b"posix-rename@openssh.com") + posix))
    [(kind, _, payload)] = client.replies()
    assert (kind, payload[3]) == (wire.STATUS, wire.OK)
    assert (client.root / "OutBox" / "b.tmp").read_bytes() == b"a"


async def test_a_client_may_ask_whether_its_upload_has_arrived(client: Client) -> None:
    await client.put("/OutBox/a.xml", b"body")
    reply, payload = await client.call(wire.STAT, b"/OutBox/a.xml")
    assert (reply, wire.Fields(payload).size_attribute()) == (wire.ATTRS, 4)
    assert (await client.status(wire.SETSTAT, b"/OutBox/a.xml", 0))[0] == wire.OK
    assert (await client.status(wire.STAT, b"/OutBox/b.xml"))[0] == wire.NO_SUCH_FILE


async def test_an_upload_that_was_refused_is_not_mistaken_for_an_earlier_one(client: Client) -> None:
    for temporary in ("/OutBox/a.xml", "/OutBox/a.tmp"):
        client.failure = None
        await client.put("/OutBox/a.xml", b"body")
        client.failure = StoreError("full", "已满")
        await client.put(temporary, b"BODY")
        if temporary != "/OutBox/a.xml":
            await client.status(wire.RENAME, temporary.encode(), b"/OutBox/a.xml")
        assert (await client.status(wire.STAT, b"/OutBox/a.xml"))[0] == wire.NO_SUCH_FILE


async def test_two_uploads_of_one_name_are_both_taken_and_shown(client: Client) -> None:
    for body in (b"one", b"three"):
        await client.put("/OutBox/a.xml", body)
    assert [parcel.body for parcel in client.taken] == [b"one", b"three"]
    assert sorted(path.read_bytes() for path in (client.root / "SentBox").iterdir()) == [b"one", b"three"]


@pytest.mark.parametrize("body", [b"x" * 10, b"x" * 2000], ids=["small", "spooled"])
async def test_sent_box_can_be_switched_off(tmp_path: Path, body: bytes) -> None:
    client = Client(tmp_path, keeps_sent=False)
    await client.put("/OutBox/a.xml", body)
    await client.put("/OutBox/b.tmp", body)
    await client.status(wire.RENAME, b"/OutBox/b.tmp", b"/OutBox/b.xml")
    assert [parcel.name for parcel in client.taken] == ["a.xml", "b.xml"]
    assert await client.names("/SentBox") == await client.names("/OutBox") == []


@pytest.mark.parametrize("body", [b"x" * 10, b"x" * 2000], ids=["small", "spooled"])
async def test_a_sent_box_that_fails_changes_no_yes(client: Client, body: bytes) -> None:
    (client.root / "SentBox").rmdir()
    assert (await client.put("/OutBox/a.xml", body))[0] == wire.OK
    assert client.taken == [Parcel("a.xml", body)]
    assert not client.left_over()
    assert [entry["event"] for entry in client.logged.entries] == ["sftp.copy_missed"]
