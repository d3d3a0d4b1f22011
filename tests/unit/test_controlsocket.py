"""The control socket: one line in, one line out, for the daemon's own user alone."""

from __future__ import annotations

import asyncio
import getpass
import grp
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from exchange import controlsocket
from exchange.controlclient import ControlClient
from exchange.controlsocket import serve_control
from exchange.errors import ConfigurationError, Refused
from exchange.observability import recorded


class Desk:
    """Stands for the control room: answers, refuses or breaks, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any], str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, verb: str, arguments: Mapping[str, Any], actor: str) -> Any:
        self.asked.append((verb, arguments, actor))
        await self.gate.wait()
        match verb:
            case "refuse":
                raise Refused("not now", "现在不行")
            case "misconfigure":
                raise ConfigurationError(["routes.yaml:1:1: wrong", "routes.yaml:2:1: wrong, too"])
            case "break":
                raise ZeroDivisionError("our own fault")
        return {"verb": verb, **arguments}


class Line:
    """A client that can say anything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, text: bytes) -> Any:
        self.writer.write(text)
        return await self.hear()

    async def hear(self) -> Any:
        line = await asyncio.wait_for(self.reader.readline(), 10)
        return orjson.loads(line) if line else None


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Desk, list[dict[str, Any]]]]:
    desk, (log, events) = Desk(), recorded()
    served = await serve_control(desk, path, log)
    try:
        yield desk, events
    finally:
        desk.gate.set()
        await served.stop()


@asynccontextmanager
async def dialed(path: Path) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 22)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def call(path: Path, verb: str, **arguments: Any) -> Any:
    client = ControlClient(path, 10.0)
    try:
        return client.call(verb, **arguments)
    finally:
        client.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "switchctl.sock"


async def test_who_asks_is_told_by_the_kernel(path: Path) -> None:
    async with serving(path) as (desk, _):
        answer = await asyncio.to_thread(call, path, "status", actor="somebody else")
        assert answer == {"result": {"verb": "status", "actor": "somebody else"}}
        assert desk.asked == [("status", {"actor": "somebody else"}, getpass.getuser())]


async def test_many_requests_on_one_line_and_many_lines_are_each_answered(path: Path) -> None:
    async with serving(path), dialed(path) as one, dialed(path) as two:
        assert await one.say(b'{"verb": "a"}\n{"verb": "b"}\n') == {"result": {"verb": "a"}}
        assert await two.say(b'{"verb": "c"}\n') == {"result": {"verb": "c"}}
        assert await one.hear() == {"result": {"verb": "b"}}


async def test_a_request_may_come_in_pieces(path: Path) -> None:
    async with serving(path), dialed(path) as line:
        for piece in (b'{"ve', b'rb": "a", "argu', b'ments": {"x": "'):
            line.writer.write(piece)
            await asyncio.sleep(0.005)
        assert await line.say('报"}}\n'.encode()) == {"result": {"verb": "a", "x": "报"}}


async def test_errors_are_told_with_code_kind_and_problems_and_our_own_are_logged(path: Path) -> None:
    async with serving(path) as (_, events), dialed(path) as line:
        refused = await line.say(b'{"verb": "refuse"}\n')
        expected = {"kind": "Refused", "code": "SWX-7020", "en": "not now", "zh": "现在不行", "problems": []}
        assert refused == {"error": expected}
        problems = (await line.say(b'{"verb": "misconfigure"}\n'))["error"]["problems"]
        assert problems == ["routes.yaml:1:1: wrong", "routes.yaml:2:1: wrong, too"]
        assert events == []
        broken = (await line.say(b'{"verb": "break"}\n'))["error"]
        assert (broken["kind"], broken["code"]) == ("Unexpected", "SWX-9000")
        assert [event["event"] for event in events] == ["control.failed"]


@pytest.mark.parametrize("text", [b"garbage\n", b"\n", b"[]\n", b'"verb"\n', b"{}\n", b'\xff\xfe{"verb"\n', b"null\n"])
async def test_what_is_no_request_is_answered_and_the_line_stays_open(path: Path, text: bytes) -> None:
    async with serving(path) as (desk, _), dialed(path) as line:
        assert (await line.say(text))["error"]["code"] == "SWX-9000"
        assert desk.asked == []
        assert await line.say(b'{"verb": "a"}\n') == {"result": {"verb": "a"}}


async def test_a_line_over_the_limit_is_hung_up_on_and_others_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controlsocket, "LIMIT", 100_000)
    async with serving(path) as (desk, events), dialed(path) as line, dialed(path) as other:
        large = b'{"verb": "a", "arguments": {"x": "' + b"x" * 60_000 + b'"}}\n'
        assert len((await line.say(large))["result"]["x"]) == 60_000
        try:
            assert await line.say(b"x" * 1_000_000) is None
        except ConnectionError:
            pass
        assert len(desk.asked) == 1
        assert await other.say(b'{"verb": "b"}\n') == {"result": {"verb": "b"}}
        assert events == []


async def test_a_client_that_hangs_up_before_its_answer_harms_nobody(path: Path) -> None:
    async with serving(path) as (desk, events):
        desk.gate.clear()
        async with dialed(path) as line:
            line.writer.write(b'{"verb": "slow"}\n{"verb": "and another"}\n{"verb": "cut o')
            while not desk.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        desk.gate.set()
        assert (await asyncio.to_thread(call, path, "next"))["result"] == {"verb": "next"}
        assert events == []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_the_owner_may_open_the_socket(path: Path) -> None:
    mask = os.umask(0)
    try:
        async with serving(path):
            assert mode(path) == 0o600
            assert os.umask(0) == 0, "the process's own mask is as it was"
    finally:
        os.umask(mask)


async def test_a_socket_that_a_killed_daemon_left_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        ControlClient(path)
    async with serving(path):
        assert (await asyncio.to_thread(call, path, "a"))["result"] == {"verb": "a"}


async def test_a_file_that_is_no_socket_is_left_alone(notes: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve_control(Desk(), notes, recorded()[0])


@pytest.fixture
def notes(path: Path) -> Iterator[Path]:
    path.parent.mkdir()
    path.write_text("somebody's notes")
    yield path
    assert path.read_text() == "somebody's notes"


async def test_after_the_stop_the_socket_is_gone(path: Path) -> None:
    async with serving(path):
        pass
    with pytest.raises(FileNotFoundError):
        ControlClient(path)


async def test_a_daemon_that_goes_away_in_the_middle_is_an_error_for_its_client(path: Path) -> None:
    path.parent.mkdir()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"result": "cut o')
        writer.close()

    server = await asyncio.start_unix_server(hang_up, str(path))
    with pytest.raises(ConnectionError, match="closed the connection"):
        await asyncio.to_thread(call, path, "a")
    server.close()


async def test_a_daemon_that_is_too_slow_is_an_error_for_its_client(path: Path) -> None:
    async with serving(path) as (desk, _):
        desk.gate.clear()
        client = ControlClient(path, 0.05)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(client.call, "slow")
        client.close()


# -- several persons ---------------------------------------------------------------------------------------------


@pytest.fixture
def short() -> Iterator[Path]:
    """Return a folder that other accounts can get into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.rmdir()


async def test_members_of_the_group_come_in_under_their_own_names(short: Path) -> None:
    log, _ = recorded()
    desk = Desk()
    group = grp.getgrgid(os.getgid()).gr_name
    listening = await serve_control(desk, short / "s", log, group)
    try:
        status = (short / "s").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, os.getgid())
        for user in {os.geteuid(), 65534 if os.geteuid() == 0 else os.geteuid()}:
            reader, writer = await _connected_as(user, short / "s")
            assert (await Line(reader, writer).say(b'{"verb": "who"}\n'))["result"] == {"verb": "who"}
            writer.close()
    finally:
        await listening.stop()
    assert {actor for _, _, actor in desk.asked} == (
        {getpass.getuser(), "nobody"} if os.geteuid() == 0 else {getpass.getuser()}
    )


async def _connected_as(user: int, path: Path) -> Any:
    """Connect under another account, which only root can, with the group that it was given to."""
    mine = os.geteuid()
    os.seteuid(user)
    try:
        return await asyncio.open_unix_connection(str(path))
    finally:
        os.seteuid(mine)


async def test_a_group_that_is_none_is_a_mistake_of_the_settings(short: Path) -> None:
    log, _ = recorded()
    with pytest.raises(ConfigurationError, match=r"control_group: .* 'nobodys-group'") as why:
        await serve_control(Desk(), short / "s", log, "nobodys-group")
    assert why.value.code == "SWX-4120"
