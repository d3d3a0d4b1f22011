"""Declarations that need SM2 by a device, of which there are two: one dies under load and comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from lxml import etree

from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import verify
from tests import hsm, pki
from tests.live.installation import Installation, drain
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
def test_one_of_two_devices_dies_under_load_and_comes_back(switch: Installation, pair: list[hsm.SdfDevice]) -> None:
    with loaded(switch) as load:
        more(switch, load, 50)
        pair[0].misbehave("crash")
        switch.until(lambda: switch.logged("device.lost"))
        pair[0].misbehave("sessions")  # dead for a while
        more(switch, load, 100)
        pair[0].misbehave("")
        switch.until(lambda: len(switch.logged("device.opened")) >= 3)
        more(switch, load, 50)
    unsigned = load.acknowledged
    assert [line["device"] for line in switch.logged("device.lost")] == ["a"], "one alarm"
    assert not switch.logged("token.refused"), "nothing had to wait"
    _all_signed(switch, load, unsigned)


def _all_signed(switch: Installation, load: Load, unsigned: dict[bytes, str]) -> None:
    assert not load.refused
    switch.until(lambda: switch.ask("status")["queued"] == 0, 60)
    arrived: dict[str, set[bytes]] = {}
    for id, body in drain(switch):
        arrived.setdefault(id.partition(".")[0], set()).add(body)
    assert set(arrived) >= set(unsigned.values()), "what was acknowledged has arrived"
    assert all(len(bodies) == 1 for bodies in arrived.values()), "and with one signature only"
    for [body] in arrived.values():
        tree: Any = etree.fromstring(body)
        at = time.time_ns() // 1000
        verify(tree, profiles=[PROFILES.named("ceb-sm2")], certificates=[pki.der("sm2")], at=at)
