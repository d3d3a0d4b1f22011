"""Declarations that need SM2 by HSM, of which there are two with the same key; processes are killed under load."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest
from lxml import etree

from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import verify
from tests import hsm, pki
from tests.live.installation import Installation, drain, numbers
from tests.live.rabbitmq import Broker
from tests.live.test_switch_faults import Load, loaded
from tests.sealing import require

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def pair(tmp_path: Path) -> list[hsm.SdfDevice]:
    return [hsm.SdfDevice(tmp_path, name) for name in ("a", "b")]


@pytest.fixture
def switch(tmp_path: Path, rabbitmq: Broker, pair: list[hsm.SdfDevice]) -> Iterator[Installation]:
    require("sftp")
    installation = Installation(tmp_path / "switch", rabbitmq)
    pin = tmp_path / "pin"
    pin.write_text(hsm.PIN)
    rows = {device.folder.name: device.row(pin={"file": pin}, timeout_seconds=1) | {"sessions": 2} for device in pair}
    keys = {"sm2": {"certificate": pki.shared() / "sm2.crt", "at": dict.fromkeys(rows, "sdf:3")}}
    token = {"kind": "devices", "options": {"devices": rows, "keys": keys}}
    settings = installation.home / "switchd.yaml"
    told = orjson.dumps(token, default=str).decode()  # JSON is YAML, too
    settings.write_text(re.sub("^token: .*$", f"token: {told}", settings.read_text(), flags=re.MULTILINE))
    installation.write_routes(_signed)
    installation.start()
    yield installation
    installation.kill()


def _signed(table: str) -> str:
    return (
        table.replace("signing_key: rsa", "signing_key: sm2")
        .replace("sign: ceb-rsa-sha1", "sign: ceb-sm2")
        .replace(
            "match: {type: CEB311Message, role: enterprise}\n    to: [customs-queue]",
            "match: {type: CEB311Message, role: enterprise}\n    to: [customs-queue]\n    sign: ceb-sm2",
        )
    )


def more(switch: Installation, load: Load, count: int) -> None:
    """Wait until the enterprises have been told yes that many times more."""
    before = len(load.acknowledged)
    switch.until(lambda: len(load.acknowledged) >= before + count)


@pytest.mark.timeout(180)
def test_hsm_1_dies_mid_load_hsm_2_carries_on_and_hsm_1_returns(
    switch: Installation, pair: list[hsm.SdfDevice]
) -> None:
    """Nothing is lost, nothing waits, there is one alarm, and each declaration has one signature."""
    with loaded(switch) as load:
        more(switch, load, 50)
        pair[0].misbehave("crash")
        switch.until(lambda: switch.logged("device.lost"))
        pair[0].misbehave("sessions")  # dead for a while
        more(switch, load, 100)
        pair[0].misbehave("")
        switch.until(lambda: len(switch.logged("device.opened")) >= 3)
        more(switch, load, 50)
        returned = {row["device"]: row for row in switch.ask("hsm.status")}["a"]
    assert (returned["state"], returned["opened"]) == ("UP", 2)
    assert returned["signed"] > 1, "it signs again, and not its probe only"
    assert [line["device"] for line in switch.logged("device.lost")] == ["a"], "one alarm"
    assert not switch.logged("token.refused"), "nothing had to wait"
    _all_signed(switch, load)


def workers() -> dict[str, int]:
    """Return the device processes that run, by the folder that each works in."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"exchange.tokens.device_worker" in (process / "cmdline").read_bytes().split(b"\0"):
                found[str((process / "cwd").readlink())] = int(process.name)
    return found


def ours(pair: list[hsm.SdfDevice]) -> list[int]:
    running = workers()
    return [running[str(device.folder)] for device in pair if str(device.folder) in running]


@pytest.mark.timeout(180)
def test_kill_9_of_device_processes_and_of_the_daemon_loses_nothing(
    switch: Installation, pair: list[hsm.SdfDevice]
) -> None:
    """At moments that nobody chose; what was signed and not yet kept is signed anew, and one of both is used."""
    with loaded(switch) as load:
        for _ in range(3):
            more(switch, load, 30)
            os.kill(random.choice(switch.until(lambda: ours(pair))), signal.SIGKILL)
        for _ in range(2):
            more(switch, load, 30)
            before = ours(pair)
            switch.kill(signal.SIGKILL)
            switch.until(lambda before=before: not set(before) & set(ours(pair)))  # none outlives its switch
            switch.start()
        more(switch, load, 30)
    assert switch.logged("device.lost")
    assert load.again
    _all_signed(switch, load)


@pytest.mark.timeout(180)
def test_a_failover_test_under_load_costs_nothing(switch: Installation) -> None:
    with loaded(switch) as load:
        more(switch, load, 30)
        told = switch.ask("hsm.failover_test", reason="an exercise")
        more(switch, load, 30)
    assert [(row["device"], row["stands"], row["signed"]) for row in told] == [("a", True, 1), ("b", True, 1)]
    assert not switch.logged("device.lost"), "no alarm"
    assert not switch.logged("token.refused")
    assert 'switch_device_signatures_total{algorithm="sm2-sm3",code="OK",device="a"}' in _metrics(switch)
    _all_signed(switch, load)


def _metrics(switch: Installation) -> str:
    with urlopen(f"http://127.0.0.1:{switch.monitor}/metrics", timeout=10) as page:
        return str(page.read().decode())


def _all_signed(switch: Installation, load: Load) -> None:
    """Every declaration that was acknowledged is at customs, with one signature that stands, however often it came."""
    assert not load.refused
    switch.until(lambda: not switch.ask("message.list", state="RECEIVED"), 60)  # waiting for a device
    switch.until(lambda: switch.ask("status")["queued"] == 0, 60)
    assert not switch.ask("message.list", state="HELD")
    bodies = [body for _, body in drain(switch)]
    arrived: dict[bytes, set[bytes]] = {}
    for number, body in zip(numbers(bodies), bodies, strict=True):
        arrived.setdefault(number, set()).add(body)
    assert set(arrived) >= set(numbers(list(load.acknowledged))), "what was acknowledged has arrived"
    assert {len(different) for different in arrived.values()} == {1}, "and with one signature only"
    for [body] in arrived.values():
        tree: Any = etree.fromstring(body)
        at = time.time_ns() // 1000
        verify(tree, profiles=[PROFILES.named("ceb-sm2")], certificates=[pki.der("sm2")], at=at)
