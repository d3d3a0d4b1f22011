"""The switch and its broker are killed and stopped under load: what was acknowledged arrives, and under one id."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.messages import Declarations
from tests.live.installation import KEY, Installation, drain, installed, numbers
from tests.live.rabbitmq import Broker
from tests.sealing import require

pytestmark = [pytest.mark.live, pytest.mark.slow]
CONNECTIONS = 8
GONE = (OSError, http.client.HTTPException)


class Load:
    """Enterprises that send declarations one after the other, and each one again until it is acknowledged."""

    def __init__(self, installation: Installation) -> None:
        self._port = installation.http
        self._stop = threading.Event()
        self.acknowledged: dict[bytes, str] = {}  # body -> id
        self.again = 0  # how often one was sent again
        self.refused: list[tuple[int, bytes]] = []
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(CONNECTIONS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _work(self, seed: int) -> None:
        declarations = Declarations(seed + 1)
        while not self._stop.is_set():
            body = declarations.one()
            while (id := self._post(body)) is None:
                self.again += 1
                time.sleep(0.05)
            self.acknowledged[body] = id

    def _post(self, body: bytes) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("POST", "/v1/messages", body, {"Authorization": f"Bearer {KEY}"})
            response = connection.getresponse()
            told = response.read()
        except GONE:
            return None
        finally:
            connection.close()
        if response.status == 202:
            return str(json.loads(told)["id"])
        if response.status != 503:  # stopping, or not ready
            self.refused.append((response.status, told))
        return None


@contextmanager
def loaded(installation: Installation) -> Iterator[Load]:
    load = Load(installation)
    load.start()
    try:
        yield load
    finally:
        load.stop()


@pytest.fixture
def switch(tmp_path: Path, rabbitmq: Broker) -> Iterator[Installation]:
    require("sftp")
    with installed(tmp_path, rabbitmq) as installation:
        yield installation


def assert_all_arrived(switch: Installation, load: Load) -> None:
    """Everything acknowledged is at customs, each declaration under one id, and one id always has the same bytes."""
    assert not load.refused
    switch.until(lambda: switch.ask("status")["queued"] == 0, 60)
    bodies: dict[str, set[bytes]] = defaultdict(set)
    ids: dict[bytes, set[str]] = defaultdict(set)
    for id, body in drain(switch):
        bodies[id].add(body)
        ids[body].add(id)
    assert load.acknowledged, "there was no load"
    assert not set(numbers(list(load.acknowledged))) - set(numbers(list(ids)))
    assert not set(load.acknowledged) - set(ids), "the bytes are those that were sent"
    assert {len(known) for known in bodies.values()} == {1}
    assert {len(known) for known in ids.values()} == {1}, "what was sent twice is recognised"


@pytest.mark.timeout(180)
def test_kill_9_under_load_loses_nothing(switch: Installation) -> None:
    """Four times, at moments that nobody chose."""
    with loaded(switch) as load:
        for _ in range(4):
            before = len(load.acknowledged)
            switch.until(lambda before=before: len(load.acknowledged) > before + 50)
            time.sleep(random.uniform(0, 0.3))
            switch.kill(signal.SIGKILL)
            switch.start()
    assert load.again
    assert_all_arrived(switch, load)


@pytest.mark.timeout(180)
def test_stopping_under_load_is_clean_and_loses_nothing(switch: Installation) -> None:
    """SIGTERM, as systemd sends it: status 0, soon, and the rest goes on after the next start."""
    with loaded(switch) as load:
        for _ in range(2):
            before = len(load.acknowledged)
            switch.until(lambda before=before: len(load.acknowledged) > before + 50)
            began = time.monotonic()
            assert switch.kill(signal.SIGTERM) == 0
            assert time.monotonic() - began < 10
            switch.start()
    assert_all_arrived(switch, load)
    assert switch.logged("switch.stopped")
    assert not switch.logged("chore.failed")
    assert (switch.home / "output.log").read_text() == ""


@pytest.mark.timeout(180)
def test_a_broker_killed_under_load_only_delays(switch: Installation) -> None:
    """Intake goes on while the broker is down; everything is there once it is back, with nothing to do by hand."""
    with loaded(switch) as load:
        switch.until(lambda: len(load.acknowledged) > 50)
        switch.broker.remember()
        switch.broker.kill()
        before = len(load.acknowledged)
        switch.until(lambda: len(load.acknowledged) > before + 200)
        assert switch.ask("status")["intake"] == "open"
        switch.broker.start()
        time.sleep(0.5)
    assert load.again == 0
    assert_all_arrived(switch, load)
    assert switch.logged("delivery.deferred")


def test_customs_that_says_garbage_changes_nothing_of_ours(switch: Installation) -> None:
    """What a queue brings that is no message waits for an operator, and the queue goes on."""
    channel = switch.broker.connect().channel()
    for body in (b"", b"\x00\xff" * 50, b"<CEB312Message", b"<a/>"):
        channel.basic_publish("", switch.from_customs, body)
    channel.connection.close()
    switch.until(lambda: len(switch.ask("message.list", state="HELD")) == 4)
    assert all(head["code"].startswith("SWX-") for head in switch.ask("message.list", state="HELD"))
    assert switch.ask("status")["ready"]
