"""The SFTP session without a network: packets in, packets out."""

from __future__ import annotations

import posixpath
import struct
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import _sftp_session
from adapters import _sftp_wire as wire
from adapters._sftp_tree import BOXES, Tree
from tests.sftp_bench import WRITE, Client, endpoint, offset

Result = TypeVar("Result")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


# -- paths and names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "/etc/passwd", "/OutBox/../../etc/passwd", "/OutBox/a/b", "/users", "/OutBox/a\0b", "//etc"],
)
async def test_nothing_outside_the_boxes_exists(client: Client, path: str) -> None:
    for kind, rest in ((wire.STAT, ()), (wire.OPEN, (wire.FOR_READING, 0)), (wire.REMOVE, ())):
        assert (await client.status(kind, path.encode(), *rest))[0] == wire.NO_SUCH_FILE
    assert (await client.status(wire.OPEN, path.encode(), WRITE, 0))[0] == wire.PERMISSION_DENIED


@given(st.binary(max_size=60), st.sampled_from(["utf-8", "gb18030"]))
def test_any_path_stays_within_the_root(raw: bytes, charset: str) -> None:
    tree = Tree(Path("/root/of/one"), endpoint(names=charset), None)  # type: ignore[arg-type]
    assert tree.canonical(raw).startswith(b"/")
    try:
        place = tree.find(raw)
    except FileNotFoundError:
        return
    path = posixpath.normpath(f"/root/of/one/{place}")
    assert path.startswith("/root/of/one")
    assert place.box in ("", *BOXES)


async def test_links_are_neither_made_nor_followed(client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (client.root / "InBox" / "link.xml").symlink_to(tmp_path / "secret")
    assert await client.names("/InBox") == []
    for kind, rest in ((wire.STAT, ()), (wire.OPEN, (wire.FOR_READING, 0)), (wire.REMOVE, ())):
        assert (await client.status(kind, b"/InBox/link.xml", *rest))[0] == wire.NO_SUCH_FILE
    assert (await client.status(wire.SYMLINK, b"/OutBox/l", b"/etc/passwd"))[0] == wire.UNSUPPORTED
    assert (await client.status(wire.MKDIR, b"/OutBox/d", 0))[0] == wire.UNSUPPORTED


@pytest.mark.parametrize("name", ["a\\b.xml", "a\nb.xml", "x" * 201, "报" * 67 + ".xml", "a\u202eb.xml"])
async def test_names_that_harm_are_refused_with_the_rule(client: Client, name: str) -> None:
    code, text = await client.status(wire.OPEN, f"/OutBox/{name}".encode(), WRITE, 0)
    assert (code, "200 字节" in text) == (wire.FAILURE, True)


async def test_a_client_on_chinese_windows_sees_its_own_charset(tmp_path: Path) -> None:
    client = Client(tmp_path, names="gb18030")
    handle = wire.Fields((await client.call(wire.OPEN, "/OutBox/浙B5Z502.xml".encode("gbk"), WRITE, 0))[1]).string()
    await client.status(wire.CLOSE, handle)
    assert [parcel.name for parcel in client.taken] == ["浙B5Z502.xml"]
    handle = wire.Fields((await client.call(wire.OPENDIR, b"/SentBox"))[1]).string()
    fields = wire.Fields((await client.call(wire.READDIR, handle))[1][4:])
    assert fields.string().decode("gbk") == "浙B5Z502.xml"


async def test_gbk_names_do_not_harm_where_utf_8_is_agreed(client: Client) -> None:
    handle = wire.Fields((await client.call(wire.OPEN, "/OutBox/报关单.xml".encode("gbk"), WRITE, 0))[1]).string()
    assert (await client.status(wire.CLOSE, handle))[0] == wire.OK
    assert [parcel.name for parcel in client.taken] == ["报关单.xml"]


# -- the other boxes ----------------------------------------------------------------------------------------------


async def test_the_root_holds_the_four_boxes(client: Client) -> None:
    assert await client.names("/") == ["FailBox", "InBox", "OutBox", "SentBox"]
    reply, payload = await client.call(wire.REALPATH, b".")
    assert (reply, wire.Fields(payload[4:]).string()) == (wire.NAME, b"/")


@pytest.mark.parametrize("box", ["", "SentBox", "InBox", "FailBox", "Outbox", "OutBox/today"])
async def test_uploads_go_to_out_box_only(client: Client, box: str) -> None:
    code, text = await client.status(wire.OPEN, posixpath.join("/", box, "a.xml").encode(), WRITE, 0)
    assert (code, text) == (wire.PERMISSION_DENIED, "upload into OutBox / 请上传到 OutBox 目录")


async def test_receipts_are_fetched_and_removed(client: Client) -> None:
    (client.root / "InBox" / "r.xml").write_bytes(b"receipt")
    handle = await client.open("/InBox/r.xml", wire.FOR_READING)
    reply, payload = await client.call(wire.READ, handle, offset(0), 32768)
    assert (reply, wire.Fields(payload).string()) == (wire.DATA, b"receipt")
    assert (await client.status(wire.READ, handle, offset(7), 32768))[0] == wire.EOF
    assert (await client.status(wire.CLOSE, handle))[0] == wire.OK
    assert (await client.status(wire.REMOVE, b"/InBox/r.xml"))[0] == wire.OK
    assert await client.names("/InBox") == []


async def test_sent_box_is_read_only(client: Client) -> None:
    await client.put("/OutBox/a.xml", b"body")
    assert (await client.status(wire.REMOVE, b"/SentBox/a.xml"))[0] == wire.PERMISSION_DENIED
    code, _ = await client.status(wire.RENAME, b"/SentBox/a.xml", b"/OutBox/b.xml")
    assert code == wire.PERMISSION_DENIED


async def test_thousands_of_receipts_are_listed_in_parts(client: Client) -> None:
    for number in range(1234):
        (client.root / "InBox" / f"{number}.xml").touch()
    assert len(await client.names("/InBox")) == 1234


# -- what a client may cost ---------------------------------------------------------------------------------------


async def test_reads_wait_while_there_is_no_room(client: Client) -> None:
    (client.root / "InBox" / "r.xml").write_bytes(b"x" * 100)
    handle = await client.open("/InBox/r.xml", wire.FOR_READING)
    client.clogged = True
    for at in range(100):
        client.ask(wire.READ, handle, offset(at), 1)
    assert not client.sent
    client.clogged = False
    client.session.pump()
    assert len(list(client.replies())) == 100


async def test_a_long_line_of_reads_is_congestion(client: Client) -> None:
    (client.root / "InBox" / "r.xml").write_bytes(b"x")
    handle = await client.open("/InBox/r.xml", wire.FOR_READING)
    client.clogged = True
    for _ in range(_sftp_session.LONGEST_LINE):
        client.ask(wire.READ, handle, offset(0), 1)
    assert not client.session.congested
    client.ask(wire.READ, handle, offset(0), 1)
    assert client.session.congested
    client.clogged = False
    client.session.pump()
    assert not client.session.congested


async def test_one_read_returns_no_more_than_a_packet(client: Client) -> None:
    (client.root / "InBox" / "r.xml").write_bytes(bytes(wire.READ_BYTES + 1))
    handle = await client.open("/InBox/r.xml", wire.FOR_READING)
    _, payload = await client.call(wire.READ, handle, offset(0), 0xFFFFFFFF)
    assert len(wire.Fields(payload).string()) == wire.READ_BYTES


async def test_open_handles_are_bounded_and_come_back(client: Client) -> None:
    handles = [await client.open(f"/OutBox/{n}.xml") for n in range(_sftp_session.HANDLES)]
    assert (await client.status(wire.OPEN, b"/OutBox/x.xml", WRITE, 0))[0] == wire.FAILURE
    await client.status(wire.CLOSE, handles[0])
    await client.open("/OutBox/x.xml")


@pytest.mark.parametrize("kind", [wire.READ, wire.WRITE, wire.CLOSE, wire.FSTAT, wire.READDIR, wire.FSETSTAT])
async def test_a_handle_that_was_never_given_is_answered(client: Client, kind: int) -> None:
    assert (await client.status(kind, b"99", offset(0), b"x"))[0] == wire.FAILURE


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">LBL", wire.LARGEST_PACKET + 1, wire.WRITE, 1),
        struct.pack(">LBL", 4, wire.STAT, 1),
        wire.packet(wire.STAT, 1, b"\xff\xff\xff\xff"),
        wire.packet(wire.OPEN, 1, wire.string(b"/OutBox/a")),
        wire.packet(wire.SETSTAT, 1, wire.string(b"/OutBox") + b"\x80\0\0\0\xff\xff\xff\xff"),
    ],
)
async def test_what_is_no_sftp_ends_the_session(client: Client, data: bytes) -> None:
    with pytest.raises(wire.Malformed):
        client.session.receive(data)


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_packets_are_cut_the_same_wherever_the_stream_is(bodies: list[bytes]) -> None:
    stream = b"".join(wire.packet(wire.STAT, n, wire.string(body)) for n, body in enumerate(bodies))
    packets, found = wire.Packets(), []
    for at in range(0, len(stream), 7):
        found += [(request, fields.string()) for _, request, fields in packets.feed(stream[at : at + 7])]
    assert found == list(enumerate(bodies))


async def test_unknown_requests_are_answered(client: Client) -> None:
    assert (await client.status(wire.EXTENDED, b"statvfs@openssh.com", b"/"))[0] == wire.UNSUPPORTED
    assert (await client.status(42))[0] == wire.UNSUPPORTED


async def test_files_are_not_truncated(client: Client) -> None:
    handle = await client.begin("/OutBox/a.xml", b"body")
    reply = await client.status(wire.FSETSTAT, handle, 1, offset(0))
    assert reply[0] == wire.UNSUPPORTED
    assert (await client.status(wire.FSETSTAT, handle, 4, 0o100644))[0] == wire.OK
