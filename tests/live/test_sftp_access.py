"""Who may do what over SFTP, tried with real clients."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from exchange.model import Parcel
from tests.contract.peers import until
from tests.live.openssh import BODY, SECRET, Server, leave, make_keys, needs_openssh, quiet_logs, served

pytestmark = [pytest.mark.live, needs_openssh]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_logs():
        yield


# -- who may do what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ed25519", "rsa", "ecdsa"])
async def test_keys_of_every_kind_open_the_door(tmp_path: Path, keys: dict[str, Path], key: str) -> None:
    async with served(tmp_path, keys) as server:
        assert "InBox" in await server.sftp("ls", key=key)


@pytest.mark.parametrize(("key", "user"), [("stranger", "ent-1"), ("ed25519", "nobody"), ("stranger", "nobody")])
async def test_a_wrong_key_or_user_is_refused_and_logged(
    tmp_path: Path, keys: dict[str, Path], key: str, user: str
) -> None:
    async with served(tmp_path, keys) as server:
        output = await server.sftp("ls", key=key, user=user)
        assert "Permission denied (publickey,password)" in output
        await until(server.refusals)
        [refusal] = server.refusals()
        assert (refusal["user"], refusal["source"], refusal["method"]) == (user, "127.0.0.1", "publickey")


async def test_a_password_opens_the_door(tmp_path: Path, keys: dict[str, Path]) -> None:
    answer = tmp_path / "answer"
    answer.write_text(f"#!/bin/sh\necho {SECRET}\n")
    answer.chmod(0o700)
    async with served(tmp_path, keys) as server:
        flags = ["-P", str(server.adapter.port), *server.flags("stranger", "PreferredAuthentications=password")]
        status, output = await server.run(
            "sftp", *flags, "ent-1@127.0.0.1", text="ls\n",
            env={**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"},
        )  # fmt: skip
        assert (status, "InBox" in output) == (0, True)


async def test_guessing_passwords_is_stopped_and_keys_still_work(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        for user in ("ent-1", "ent-1", "nobody", "ent-1", "ent-1"):
            with pytest.raises(paramiko.AuthenticationException):
                await server.thread(server.paramiko, user, "wrong")
        with pytest.raises(paramiko.AuthenticationException):
            await server.thread(server.paramiko, "ent-1", SECRET)
        reasons = [refusal["reason"] for refusal in server.refusals()]
        assert reasons == ["wrong password"] * 5 + ["too many wrong passwords from this address"]
        assert SECRET not in str(server.stage.log.entries)
        assert "InBox" in await server.sftp("ls")


async def test_there_is_nothing_outside_the_boxes(tmp_path: Path, keys: dict[str, Path]) -> None:
    source = tmp_path / "secret"
    source.write_bytes(b"secret")
    async with served(tmp_path, keys) as server:
        await server.adapter.send(server.other, Parcel("theirs.xml", BODY))
        for command in (
            "get ../../etc/passwd", "get /etc/passwd", "ls ..//../users", "cd ../ent-2",
            "get /users/ent-2/InBox/theirs.xml",
            f"put {source} ../../x", f"put {source} x", f"put {source} InBox/x", "mkdir OutBox/x", "rmdir InBox",
            "ln -s /etc/passwd OutBox/x", f"ln {source} OutBox/x", "rename InBox/x ../x", "rm ../../etc/passwd",
        ):  # fmt: skip
            assert "FAILED" in await server.sftp(command), command
        assert server.taker.taken == []
        assert "theirs" not in await server.sftp("ls -R /", "-ls InBox")


async def test_shells_commands_and_tunnels_are_refused(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        for words in (["id"], ["-tt"], ["-s", "netconf"], ["-W", "127.0.0.1:22"]):
            before = [word for word in words if word.startswith("-")]
            status, output = await server.run(
                "ssh", "-p", str(server.adapter.port), *server.flags("ed25519", "SetEnv=A=b"), *words[: len(before)],
                *(words[1:] if words[0] == "-W" else []), "ent-1@127.0.0.1", *(words[1:] if words[0] != "-W" else []),
                *([] if before else words),
            )  # fmt: skip
            assert status == 255 or "failed" in output or "refused" in output, (words, status, output)
            assert "uid=" not in output
        status, _ = await server.ssh("-N", more=("ExitOnForwardFailure=yes", "RemoteForward=0 127.0.0.1:22"))
        assert status == 255


@pytest.mark.parametrize(
    "old",
    [
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "KexAlgorithms=diffie-hellman-group-exchange-sha1",
        "HostKeyAlgorithms=ssh-rsa",
        "Ciphers=aes128-cbc",
        "MACs=hmac-sha1",
    ],
)
async def test_old_algorithms_are_not_offered(tmp_path: Path, keys: dict[str, Path], old: str) -> None:
    async with served(tmp_path, keys) as server:
        output = await server.sftp("ls", more=(old, "LogLevel=INFO"))
        assert "no matching" in output
        assert "FAILED" in output


async def test_signatures_with_sha_1_are_refused(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        output = await server.sftp("ls", key="rsa", more=("PubkeyAcceptedAlgorithms=ssh-rsa", "RequiredRSASize=1024"))
        assert "FAILED" in output


async def test_a_user_who_is_held_is_disconnected_and_stays_out(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        held = await server.thread(server.paramiko)
        other = await server.thread(server.paramiko, "ent-2")
        await server.serve(server.other)
        await until(lambda: server.stage.count("sftp.session_closed"))
        with pytest.raises((OSError, EOFError)):
            await server.thread(held.listdir, "/")
        assert "FAILED" in await server.sftp("ls")
        assert len(await server.thread(other.listdir, "/")) == 4
        await server.serve(server.other, server.endpoint)
        assert "InBox" in await server.sftp("ls")
        leave(other)


async def test_sessions_are_bounded_for_a_user_and_for_all(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys, sessions_per_user=2, max_sessions=4) as server:
        clients = [await server.thread(server.paramiko) for _ in range(2)]
        with pytest.raises(paramiko.AuthenticationException):
            await server.thread(server.paramiko)
        await until(lambda: len(server.adapter._connections) == 2)
        clients += [await server.thread(server.paramiko, "ent-2") for _ in range(2)]
        with pytest.raises((paramiko.SSHException, OSError, EOFError)):
            await server.thread(server.paramiko, "ent-2")
        for client in clients:
            leave(client)
        await until(lambda: server.stage.count("sftp.session_closed") == 4)
        assert "InBox" in await server.sftp("ls")


async def test_who_says_nothing_is_hung_up_on(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys, login_seconds=5, idle_seconds=50) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.adapter.port)
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        client = await server.thread(server.paramiko)
        server.adapter._hang_up_on_idle(server.adapter.clock() + 6)
        await asyncio.wait_for(reader.read(), 10)
        assert len(await server.thread(client.listdir, "/")) == 4
        server.adapter._hang_up_on_idle(server.adapter.clock() + 51)
        await until(lambda: server.stage.count("sftp.session_closed"))
        writer.close()


async def test_noise_is_hung_up_on(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with served(tmp_path, keys) as server:
        for noise in (b"GET / HTTP/1.1\r\n\r\n" * 300, b"SSH-2.0-x\r\n" + bytes(64), b"SSH-2.0-x\r\n" + b"\xff" * 64):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.adapter.port)
            writer.write(noise)
            await asyncio.wait_for(reader.read(), 10)
            writer.close()


async def test_the_host_key_stays_the_same(tmp_path: Path, keys: dict[str, Path]) -> None:
    def host_key(server: Server) -> bytes:
        transport = paramiko.Transport(("127.0.0.1", server.adapter.port))
        transport.start_client()
        found = transport.get_remote_server_key().asbytes()
        transport.close()
        return found

    found = []
    for _ in range(2):
        async with served(tmp_path, keys) as server:
            found.append(await server.thread(host_key, server))
    assert found[0] == found[1]
    assert stat.S_IMODE((tmp_path / "data" / "ssh_host_ed25519_key").stat().st_mode) == 0o600
