"""A whole switch on a disk that fills up or turns read-only: intake refuses politely, delivery goes on, all is kept."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchange.controlclient import ControlClient
from exchange.errors import StoreError
from tests.daemon import ROUTES, Far, House, Stuck, order, running, switchd_yaml
from tests.live.rabbitmq import free_port
from tests.sick_disk import FULL, READ_ONLY, failing, sick, small

ROOT = Path(__file__).parent.parent.parent
MEBIBYTE = 1024 * 1024
KEY = "swx_of-nobody"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchange.switch.PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("exchange.sending.PAUSE_SECONDS", 0.02)


class Illness(NamedTuple):
    """A disk that can fall ill and get well again: what switchd.yaml says of the store on it, and both steps."""

    store: str
    begins: Callable[[], None]
    ends: Callable[[], None]
    code: str


@contextmanager
def full(folder: Path) -> Iterator[Illness]:
    with sick() as disk:
        yield Illness("reserve_bytes: 0", lambda: disk.falls_ill(FULL), disk.heals, "SWX-6010")


@contextmanager
def read_only(folder: Path) -> Iterator[Illness]:
    with sick() as disk:
        yield Illness("reserve_bytes: 0", lambda: disk.falls_ill(READ_ONLY), disk.heals, "SWX-6030")


@contextmanager
def really_full(folder: Path) -> Iterator[Illness]:
    with small(folder / "disk") as mount:
        store = f"reserve_bytes: 0, folder: {mount.path}/store"
        yield Illness(store, mount.fill, mount.free, "SWX-6010")


@pytest.fixture(params=[full, read_only, really_full])
def illness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Illness]:
    with request.param(tmp_path) as illness:
        yield illness


@asynccontextmanager
async def at_home(tmp_path: Path, store: str, far: Far | None = None) -> AsyncIterator[House]:
    async with running(tmp_path / "home", switchd=switchd_yaml(store), far=far) as house:
        yield house


async def look(house: House) -> tuple[bool, str]:
    """Let the switch look at its disk; return whether it says that it takes messages, and what it says."""
    await house.daemon.chores.watch_disk()
    return house.daemon.readiness()["intake"]


async def refusal(house: House, number: int) -> str:
    with pytest.raises(StoreError) as raised:
        await house.give("ent1-box", order(number))
    return raised.value.code


async def deliveries(house: House, *ids: str) -> list[str]:
    """Return the states of what was to be sent to customs."""
    lives = [await house.life(id) for id in ids]
    return [d["state"] for life in lives for d in life["deliveries"] if d["endpoint"] == "customs-queue"]


async def test_while_the_disk_refuses_intake_is_closed_and_what_was_taken_is_sent(
    tmp_path: Path, illness: Illness
) -> None:
    customs = Stuck()
    async with at_home(tmp_path, illness.store, {"customs-queue": customs}) as house:
        ids = [await house.give("ent1-box", order(number)) for number in (1, 2, 3)]
        await house.until(lambda: len(customs.waiting) == 3)
        assert await look(house) == (True, "open")
        illness.begins()
        assert await refusal(house, 4) == illness.code
        ready, said = await look(house)
        assert not ready
        (alarm,) = house.logged("intake.closed")
        assert (alarm["code"], alarm["en"]) == (illness.code, said)
        assert await refusal(house, 4) == illness.code, "and nothing is tried any more"
        customs.let_go()
        await house.until(lambda: len(house.sent("customs-queue")) == 3)
        await house.until(lambda: any(line["stage"] == "settle" for line in house.logged("store.refused")))
        illness.ends()
        assert await look(house) == (True, "open")
        assert len(house.logged("intake.opened")) == 1
        ids.append(await house.give("ent1-box", order(4)))
        await house.settle()
        await house.until(lambda: not house.switch.sending.waiting())
        assert await deliveries(house, *ids) == ["DELIVERED"] * 4
        assert len(house.sent("customs-queue")) == 4, "nothing was sent twice"
        assert len(await house.daemon.store.messages()) == 4, "nothing that was refused is there"


async def test_while_the_disk_refuses_what_waits_in_memory_is_sent_without_being_claimed(
    tmp_path: Path, illness: Illness
) -> None:
    async with at_home(tmp_path, illness.store) as house:
        sending = house.switch.sending
        sending.held = {"endpoint:customs-queue"}
        id = await house.give("ent1-box", order(1))
        await house.until(lambda: "customs-queue" in sending.waiting())
        illness.begins()
        sending.held = ()
        sending.resume()
        await house.until(lambda: house.sent("customs-queue"))
        assert any(line["stage"] == "claim" for line in house.logged("store.refused"))
        illness.ends()
        await house.until(lambda: not sending.waiting())
        assert await deliveries(house, id) == ["DELIVERED"]
        assert len(house.sent("customs-queue")) == 1


async def test_what_was_taken_and_not_decided_when_the_disk_filled_is_decided_afterwards(
    tmp_path: Path, illness: Illness
) -> None:
    async with at_home(tmp_path, illness.store) as house:
        gate = house.gate("context")
        id = await house.give("ent1-box", order(1))
        await house.until(lambda: gate.waiting)
        illness.begins()
        gate.opened.set()
        await house.until(lambda: any(line["stage"] == "sort" for line in house.logged("store.refused")))
        assert await house.state(id) == "RECEIVED"
        illness.ends()
        await house.settle()
        assert await deliveries(house, id) == ["DELIVERED"]


# -- the reserve -------------------------------------------------------------------------------------------------


@contextmanager
def a_real_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Illness]:
    with small(tmp_path / "disk") as mount:
        store = f"reserve_bytes: {4 * MEBIBYTE}, folder: {mount.path}/store"
        yield Illness(store, lambda: mount.fill(leave=3 * MEBIBYTE), mount.free, "SWX-6010")


@contextmanager
def a_told_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Illness]:
    class Usage:
        free = 5 * MEBIBYTE

    monkeypatch.setattr("exchange.chores.shutil.disk_usage", lambda folder: Usage)

    def falls(to: int) -> Callable[[], None]:
        return lambda: setattr(Usage, "free", to)

    yield Illness(f"reserve_bytes: {4 * MEBIBYTE}", falls(4 * MEBIBYTE), falls(5 * MEBIBYTE), "SWX-6010")


@pytest.mark.parametrize("reserve", [a_real_reserve, a_told_reserve])
async def test_below_the_reserve_intake_is_closed_and_everything_else_is_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserve: Any
) -> None:
    customs = Stuck()
    with reserve(tmp_path, monkeypatch) as illness:
        async with at_home(tmp_path, illness.store, {"customs-queue": customs}) as house:
            ids = [await house.give("ent1-box", order(number)) for number in (1, 2)]
            await house.until(lambda: len(customs.waiting) == 2)
            illness.begins()
            assert (await look(house))[0] is False
            assert await refusal(house, 3) == "SWX-6010"
            customs.let_go()
            await house.settle()
            assert await deliveries(house, *ids) == ["DELIVERED"] * 2
            assert house.logged("store.refused") == []
            illness.ends()
            assert (await look(house))[0] is True
            ids.append(await house.give("ent1-box", order(3)))
            await house.settle()
            assert await deliveries(house, *ids) == ["DELIVERED"] * 3
            assert len(house.logged("intake.closed")) == len(house.logged("intake.opened")) == 1


async def test_a_file_system_that_gave_up_closes_intake_and_a_restart_after_its_repair_has_everything(
    tmp_path: Path,
) -> None:
    with failing(tmp_path / "disk") as mount:
        store = f"reserve_bytes: 0, folder: {mount.path}/store"
        async with at_home(tmp_path, store) as house:
            id = await house.give("ent1-box", order(1))
            await house.settle()
            mount.abort()
            assert await refusal(house, 2) in ("SWX-6020", "SWX-6030")
            ready, said = await look(house)
            assert (ready, house.logged("intake.closed")[0]["en"]) == (False, said)
            assert await house.state(id) == "ACCEPTED", "what is there can be read"
        mount.repair()
        async with at_home(tmp_path, store) as house:
            ids = [id, await house.give("ent1-box", order(2))]
            await house.settle()
            assert await deliveries(house, *ids) == ["DELIVERED"] * 2


# -- what peers and operators see ----------------------------------------------------------------------------------


def sftp_key(path: Path) -> str:
    """Make a key; return its public line."""
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path.write_bytes(private)
    return f"ssh-ed25519 {paramiko.Ed25519Key.from_private_key_file(str(path)).get_base64()}"


def put(port: int, key: Path, body: bytes) -> bool:
    """Upload a file as an enterprise does; tell whether the switch said yes."""
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect("127.0.0.1", port, "ent1", key_filename=str(key), allow_agent=False, look_for_keys=False)
        with client.open_sftp() as sftp:
            try:
                sftp.putfo(io.BytesIO(body), "/OutBox/a.xml")
            except OSError:
                return False
            return True


async def test_over_http_sftp_and_folders_nobody_is_told_yes_until_there_is_room(tmp_path: Path) -> None:
    monitor, drop = free_port(), tmp_path / "drop"
    drop.mkdir()
    endpoints = f"""
      - {{name: ent1-https, kind: http_api, keys: ["sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"]}}
      - {{name: ent1-sftp, kind: sftp_server, user: ent1, keys: ["{sftp_key(tmp_path / "key")}"]}}
      - {{name: ent1-drop, kind: folder, take_from: {drop}, settle_seconds: 0.05, poll_seconds: 0.05}}"""
    routes = ROUTES.replace("endpoints: [{name: ent1-box, kind: memory}]", f"endpoints:{endpoints}")
    listen = "host: 127.0.0.1, port: 0"
    adapters = f"adapters: {{http_api: {{{listen}, allow_plain: true}}, sftp_server: {{{listen}}}}}\n"
    switchd = switchd_yaml(more=adapters).replace("port: 0}\nstore", f"port: {monitor}}}\nstore")
    with sick() as disk:
        async with running(tmp_path / "home", routes, switchd) as house, httpx.AsyncClient(trust_env=False) as client:
            http, sftp = (house.daemon.adapters[kind].port for kind in ("http_api", "sftp_server"))  # type: ignore[attr-defined]

            async def post() -> httpx.Response:
                bearer = {"Authorization": f"Bearer {KEY}"}
                return await client.post(f"http://127.0.0.1:{http}/v1/messages", content=order(1), headers=bearer)

            async def ready() -> tuple[int, Any]:
                answer = await client.get(f"http://127.0.0.1:{monitor}/readyz")
                return answer.status_code, answer.json()["checks"]["intake"]

            assert (await ready())[0] == 200
            disk.falls_ill(FULL)
            for _ in range(2):  # refused by the disk, then by the switch that knows it
                answer = await post()
                assert (answer.status_code, answer.json()["code"]) == (503, "SWX-6010")
                assert int(answer.headers["Retry-After"]) > 0
                assert not await asyncio.to_thread(put, sftp, tmp_path / "key", order(2))
                await look(house)
            (drop / "b.xml").write_bytes(order(3))
            await house.until(lambda: house.logged("folder.take_refused"))
            assert await ready() == (503, {"ok": False, "detail": house.switch.refusing.en})
            metrics = await client.get(f"http://127.0.0.1:{monitor}/metrics")
            assert "switch_intake_open 0.0" in metrics.text
            assert len(house.logged("intake.closed")) == 1
            assert await house.daemon.store.messages() == []
            disk.heals()
            assert await look(house) == (True, "open")
            assert (await post()).status_code == 202
            assert await asyncio.to_thread(put, sftp, tmp_path / "key", order(2))
            await house.until(lambda: len(house.sent("customs-queue")) == 3)
            assert (await ready())[0] == 200


# -- a start that must not be --------------------------------------------------------------------------------------


async def switchd_fails(home: Path) -> tuple[int, str]:
    """Start the program; return its exit status and what it wrote to standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from exchange.switchd import main; main()", "--config", str(home / "switchd.yaml"),
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        _, told = await asyncio.wait_for(process.communicate(), 30)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return process.returncode, told.decode()


def failure(log: str) -> str:
    (why,) = [line["error"] for line in map(json.loads, log.splitlines()) if line["event"] == "switch.failed"]
    return str(why)


async def test_a_second_switch_on_the_same_home_does_not_start_and_the_first_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        status, told = await switchd_fails(tmp_path)
        assert status == 75
        assert "SWX-6080 another switch works on the store" in failure(told)
        id = await house.give("ent1-box", order(1))
        await house.settle()
        asked = await asyncio.to_thread(ControlClient, tmp_path / "var/switchctl.sock", 5.0)
        answer = await asyncio.to_thread(asked.call, "message.show", id=id)
        asked.close()
        assert answer["result"]["state"] == "ACCEPTED"


async def test_a_switch_whose_store_is_damaged_does_not_start_and_says_what_to_do_to_who_starts_it_and_in_its_log(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as house:
        await house.give("ent1-box", order(1))
        await house.settle()
    damaged = tmp_path / "var/store/switch.db"
    damaged.write_bytes(b"\xde\xad\xbe\xef" * 4096)
    with (tmp_path / "switchd.yaml").open("a") as settings:
        settings.write("log: {file: switchd.log}\n")
    status, told = await switchd_fails(tmp_path)
    assert status == 75
    assert "SWX-6050" in told
    assert "restore the last backup" in told
    assert failure((tmp_path / "switchd.log").read_text()) == told.strip()
    assert damaged.read_bytes() == b"\xde\xad\xbe\xef" * 4096
