"""The SFTP server with real clients: OpenSSH's sftp and ssh, and paramiko."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters import _sftp_wire as wire
from exchange.errors import Busy
from exchange.instants import read_id
from exchange.model import Parcel
from tests.contract.peers import until
from tests.daemon import order, running, switchd_yaml
from tests.live.openssh import BODY, MIB, Server, leave, line, make_keys, needs_openssh, quiet_logs, served
from tests.sftp_bench import KEY

pytestmark = [pytest.mark.live, needs_openssh]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_logs():
        yield


# -- what enterprises do ------------------------------------------------------------------------------------------


async def test_a_file_is_put_and_taken(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        output = await server.sftp(f"put {server.file('CEB311_1.xml')} OutBox", "ls OutBox", "ls SentBox")
        assert server.taker.taken == [("CEB311_1.xml", BODY)]
        assert server.taker.parcels[0][1] == server.endpoint
        assert "SentBox/CEB311_1.xml" in output
        assert "OutBox/CEB311_1.xml" not in output.partition("ls OutBox")[2]
        assert "FAILED" not in output


@pytest.mark.parametrize("size", [4096, 3 * MIB], ids=["small", "spooled"])
async def test_a_file_is_put_under_a_temporary_name_and_renamed(
    tmp_path: Path, keys: dict[str, Path], size: int
) -> None:
    body = os.urandom(size)
    async with served(tmp_path, keys) as server:
        output = await server.sftp(
            f"put -f -p {server.file('a', body)} OutBox/a.xml.tmp", "ls OutBox", "rename OutBox/a.xml.tmp OutBox/a.xml"
        )
        assert "FAILED" not in output
        assert "OutBox/a.xml.tmp" in output.partition("ls OutBox")[2]
        assert server.taker.taken == [("a.xml", body)]
        assert server.lying() == ["SentBox/a.xml"]


async def test_both_ways_to_rename_work(tmp_path: Path, keys: dict[str, Path]) -> None:
    def put(server: Server) -> None:
        client = server.paramiko()
        for rename, name in ((client.rename, "plain.xml"), (client.posix_rename, "posix.xml")):
            client.put(server.file("a"), "/OutBox/a.tmp")
            rename("/OutBox/a.tmp", f"/OutBox/{name}")
        leave(client)

    async with served(tmp_path, keys) as server:
        await server.thread(put, server)
        assert server.taker.taken == [("plain.xml", BODY), ("posix.xml", BODY)]


async def test_receipts_are_listed_fetched_and_removed(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        for disposition in ("receipt", "rejected"):
            await server.adapter.send(server.endpoint, Parcel("R1.xml", BODY, {"disposition": disposition}))
        here = tmp_path / "back"
        output = await server.sftp(
            "ls -l InBox", f"get InBox/R1.xml {here}", "rm InBox/R1.xml", "ls FailBox", "cd FailBox", "rm R1.xml"
        )
        assert "FAILED" not in output
        assert str(len(BODY)) in output
        assert here.read_bytes() == BODY
        assert server.lying() == []


async def test_chinese_names_arrive_in_either_charset(tmp_path: Path, keys: dict[str, Path]) -> None:
    for charset in ("utf-8", "gb18030"):
        directory = tmp_path / charset
        directory.mkdir()
        async with served(directory, keys, names=charset) as server:
            source = os.fsencode(server.file(os.fsdecode("浙B5Z502_1.xml".encode(charset))))
            flags = ["-P", str(server.adapter.port), *server.flags()]
            process = await asyncio.create_subprocess_exec("sftp", "-b", "-", *flags, "ent-1@127.0.0.1", stdin=-1)
            await process.communicate(b'put "' + source + b'" OutBox\n')
            assert process.returncode == 0
            assert [name for name, _ in server.taker.taken] == ["浙B5Z502_1.xml"]
            assert server.lying() == ["SentBox/浙B5Z502_1.xml"]


async def test_a_refused_file_fails_at_the_client_and_a_retry_works(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        server.taker.failure = Busy("too much at once", "请求过多")
        source = server.file("a.xml")
        assert "FAILED" in await server.sftp(f"put {source} OutBox")
        assert server.lying() == []
        client = await server.thread(server.paramiko)
        with pytest.raises(FileNotFoundError):  # paramiko overlooks a failed CLOSE, but asks whether the file is there
            await server.thread(client.put, source, "/OutBox/a.xml")
        await server.thread(client.put, source, "/OutBox/a.tmp")
        with pytest.raises(OSError, match="SWX-6040 too much at once / 请求过多"):
            await server.thread(client.rename, "/OutBox/a.tmp", "/OutBox/a.xml")
        await server.thread(client.remove, "/OutBox/a.tmp")
        leave(client)
        server.taker.failure = None
        assert "FAILED" not in await server.sftp(f"put {source} OutBox")
        assert server.taker.taken == [("a.xml", BODY)]


async def test_fifty_sessions_at_once(tmp_path: Path, keys: dict[str, Path]) -> None:
    def put(server: Server, number: int) -> None:
        client = server.paramiko()
        for part in range(3):
            client.put(server.file(f"{number}"), f"/OutBox/{number}-{part}.tmp")
            client.rename(f"/OutBox/{number}-{part}.tmp", f"/OutBox/{number}-{part}.xml")
        leave(client)

    async with served(tmp_path, keys, sessions_per_user=50) as server:
        await asyncio.gather(*(server.thread(put, server, number) for number in range(50)))
        expected = sorted(f"{number}-{part}.xml" for number in range(50) for part in range(3))
        assert sorted(name for name, _ in server.taker.taken) == expected


async def test_a_download_with_every_read_at_once_is_quick(tmp_path: Path, keys: dict[str, Path]) -> None:
    body = os.urandom(20 * MIB)
    async with served(tmp_path, keys) as server:
        await server.adapter.send(server.endpoint, Parcel("large.xml", body))
        client = await server.thread(server.paramiko)
        begun = time.perf_counter()
        await server.thread(client.get, "/InBox/large.xml", str(tmp_path / "back"))
        took = time.perf_counter() - begun
        assert (tmp_path / "back").read_bytes() == body
        assert took < 10
        leave(client)


async def test_keys_are_changed_in_the_middle_of_a_transfer(tmp_path: Path, keys: dict[str, Path]) -> None:
    body, back = os.urandom(8 * MIB), tmp_path / "back"
    async with served(tmp_path, keys) as server:
        put, get = f"put {server.file('large.xml', body)} OutBox", f"get SentBox/large.xml {back}"
        assert "FAILED" not in await server.sftp(put, get, more=("RekeyLimit=1M",))
        assert server.taker.taken == [("large.xml", body)]
        assert back.read_bytes() == body


async def test_who_asks_and_never_listens_costs_little_and_holds_up_nobody(
    tmp_path: Path, keys: dict[str, Path]
) -> None:
    reads, size = 25_000, 1000
    async with served(tmp_path, keys) as server:
        await server.adapter.send(server.endpoint, Parcel("large.xml", os.urandom(size)))
        flags = ["-p", str(server.adapter.port), *server.flags()]
        ssh = await asyncio.create_subprocess_exec("ssh", *flags, "-s", "ent-1@127.0.0.1", "sftp", stdin=-1, stdout=-1)
        assert ssh.stdin
        assert ssh.stdout
        packet = wire.packet
        ssh.stdin.write(packet(wire.INIT, 3, b""))
        ssh.stdin.write(packet(wire.OPEN, 1, wire.string(b"/InBox/large.xml") + struct.pack(">LL", 1, 0)))
        for number in range(reads):
            ssh.stdin.write(packet(wire.READ, number, wire.string(b"1") + struct.pack(">QL", 0, size)))
        await until(lambda: server.adapter._connections)
        [connection] = server.adapter._connections
        await until(lambda: connection.service and getattr(connection.service, "channels", None))
        [channel] = connection.service.channels.values()
        await until(lambda: channel.congested)
        await until(lambda: channel.localWindowLeft < 100)  # the client isn't let send more
        assert "InBox" in await server.sftp("ls")
        held = len(channel.buf) + len(connection.transport.dataBuffer) + connection.transport._tempDataLen
        assert held < 4 * MIB  # OpenSSH's own window is 2 MiB
        assert len(channel._session._reads) < 20_000
        answered = 0
        while answered < reads:
            head = await ssh.stdout.readexactly(5)
            answered += head[4] == wire.DATA
            await ssh.stdout.readexactly(int.from_bytes(head[:4]) - 1)
        assert not channel.congested
        ssh.stdin.close()
        await ssh.wait()


# -- what goes wrong ----------------------------------------------------------------------------------------------


async def test_a_client_killed_in_the_middle_of_an_upload_commits_nothing(
    tmp_path: Path, keys: dict[str, Path]
) -> None:
    async with served(tmp_path, keys) as server:
        flags = ["-P", str(server.adapter.port), "-l", "80000", *server.flags()]  # 10 MB/s: time to be killed in
        client = await asyncio.create_subprocess_exec("sftp", "-b", "-", *flags, "ent-1@127.0.0.1", stdin=-1)
        assert client.stdin
        client.stdin.write(f"put {server.file('large.xml', bytes(60 * MIB))} OutBox\n".encode())
        await until(lambda: server.spooled() > MIB)
        os.kill(client.pid, signal.SIGKILL)
        await client.wait()
        await until(lambda: server.stage.count("sftp.session_closed"))
        assert not server.taker.waiting
        assert server.taker.taken == []
        assert server.lying() == []
        assert server.spooled() == 0


@pytest.mark.parametrize("size", [1000, 5 * MIB], ids=["small", "spooled"])
async def test_a_cut_line_in_the_middle_of_an_upload_commits_nothing(
    tmp_path: Path, keys: dict[str, Path], size: int
) -> None:
    def half_a_file(server: Server) -> None:
        client = server.paramiko()
        file = client.open("/OutBox/a.xml", "wb")
        file.write(bytes(size))
        file.stat()  # the server has got it all
        line(client).sock.shutdown(socket.SHUT_RDWR)

    async with served(tmp_path, keys) as server:
        await server.thread(half_a_file, server)
        await until(lambda: server.stage.count("sftp.session_closed"))
        assert server.taker.taken == []
        assert (server.lying(), server.spooled()) == ([], 0)


async def test_sixty_five_mebibytes_are_refused_before_they_have_come(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        output = await server.sftp(f"put {server.file('huge.xml', bytes(65 * MIB))} OutBox")
        assert "FAILED" in output
        [refused] = [entry for entry in server.stage.log.entries if entry["event"] == "sftp.request_refused"]
        assert refused["code"] == "SWX-1070"
        assert server.taker.taken == []
        assert (server.lying(), server.spooled()) == ([], 0)


async def test_the_text_of_a_refusal_names_the_limit(tmp_path: Path, keys: dict[str, Path]) -> None:
    def put(server: Server) -> None:
        client = server.paramiko()
        with client.open("/OutBox/huge.xml", "wb") as file:
            for _ in range(32):
                file.write(bytes(32768))
            with pytest.raises(OSError, match="1048576 字节"):
                file.write(b"x")
        leave(client)

    async with served(tmp_path, keys, limit_bytes=MIB) as server:
        await server.thread(put, server)
        assert server.taker.taken == []


async def test_a_half_file_is_not_resumed(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        await server.sftp(f"put {server.file('half', BODY[:1000])} OutBox/a.tmp")
        assert "FAILED" in await server.sftp(f"reput {server.file('whole')} OutBox/a.tmp")
        assert "FAILED" not in await server.sftp(
            f"put {server.file('whole')} OutBox/a.tmp", "rename OutBox/a.tmp OutBox/a"
        )
        assert server.taker.taken == [("a", BODY)]


# -- how long boxes keep things -----------------------------------------------------------------------------------

TO_AN_INBOX = f"""
parties:
  - {{code: ENT1, role: enterprise, ids: [DXPENT0000000001], endpoints: [{{name: ent1-box, kind: memory}}]}}
  - {{code: PORT, role: port, endpoints: [{{name: port, kind: sftp_server, user: port, keys: ["{KEY}"]}}]}}
routes:
  - {{name: orders, match: {{type: CEB311Message}}, to: [port]}}
"""


async def test_a_file_goes_from_an_inbox_and_what_the_store_knows_of_it_stays(tmp_path: Path) -> None:
    switchd = switchd_yaml(
        store="reserve_bytes: 0, retention_days: 200",
        more='adapters: {sftp_server: {host: "127.0.0.1", port: 0, inbox_days: 10}}\n',
    )
    async with running(tmp_path, TO_AN_INBOX, switchd) as house:
        id = await house.give("ent1-box", order(1))
        await house.settle()
        inbox = tmp_path / "var/spool/sftp_server/users/port/InBox"
        [lies] = inbox.iterdir()
        before = await house.life(id), lies.read_bytes()
        server: Any = house.daemon.adapters["sftp_server"]
        house.clock.move(200 * 86_400)
        await asyncio.to_thread(server._prune, [])
        assert list(inbox.iterdir()) == [lies], "not before the store forgets the message, whatever inbox_days says"
        house.clock.move(86_400)
        await asyncio.to_thread(server._prune, [])
        assert list(inbox.iterdir()) == []
        delivery = before[0]["deliveries"][0]["number"]
        sent = await house.daemon.store.payload(read_id(id), delivery)
        assert (await house.life(id), sent.read()) == before
