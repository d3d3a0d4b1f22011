"""kill -9 at every statement and commit of the store and at every verb of an adapter: nothing is lost.

Every point is a real process that is really killed, and a second one that goes on. Two runs share the points.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

AT_REST = {"COMPLETED", "REJECTED", "DUPLICATE"}


MEMORY = Path("/dev/shm")  # a process that is killed loses nothing there, either; and no fsync waits for a disk


@pytest.fixture(scope="module")
def lives() -> Iterator[list[dict[str, Any]]]:
    """Return how each of the lives ended."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**30
    with TemporaryDirectory(prefix="crash-", dir=MEMORY if roomy else None) as folder:
        yield _lives(folder)


def _lives(folder: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.crash.world", folder]
    runs = [
        subprocess.Popen([*command, str(start), "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for start in (1, 2)
    ]
    told: list[dict[str, Any]] = []
    for run in runs:
        out, err = run.communicate(timeout=900)
        assert run.returncode == 0, err
        told += map(json.loads, out.splitlines())
    assert len(told) > 300, "the world has fewer steps than it had"
    assert [life for life in told if "failed" in life] == []
    return told


pytestmark = pytest.mark.timeout(1000)


def test_every_acknowledged_parcel_comes_to_rest(lives: list[dict[str, Any]]) -> None:
    for life in lives:
        stuck = {name: state for name, state in life["lives"].items() if state not in AT_REST}
        assert not stuck, life["point"]
        assert len(life["lives"]) == 10, life["point"]
        assert set(life["states"]) <= AT_REST, life["point"]
        assert life["open"] == [], life["point"]
        assert life["broke"] == [], life["point"]


def test_every_order_reaches_customs_and_at_most_one_of_them_twice(lives: list[dict[str, Any]]) -> None:
    for life in lives:
        arrived = Counter(name for _, name, _ in life["sent"]["customs-queue"])
        assert set(arrived) == {"order-1", "order-2", "order-3"}, life["point"]
        assert arrived.total() <= 4, life["point"]


def test_what_is_sent_twice_is_the_same_bytes_under_the_same_id(lives: list[dict[str, Any]]) -> None:
    """The orders are signed with ECDSA, which never gives the same signature twice."""
    for life in lives:
        bytes_of: defaultdict[str, set[str]] = defaultdict(set)
        for sent in life["sent"].values():
            for id, _, digest in sent:
                bytes_of[id].add(digest)
        assert [id for id, digests in bytes_of.items() if len(digests) > 1] == [], life["point"]


def test_each_order_that_left_has_one_row_in_the_signing_log_and_the_log_is_whole(lives: list[dict[str, Any]]) -> None:
    for life in lives:
        sent = {id.partition(".")[0] for id, _, _ in life["sent"]["customs-queue"]}
        assert sorted(life["signed"]) == sorted(sent), life["point"]
        assert life["chain_broken"] == 0, life["point"]


def test_every_receipt_comes_home_and_no_order_is_answered_twice_differently(lives: list[dict[str, Any]]) -> None:
    homes = {"ent1-box": {"answer-order-1", "answer-order-2"}, "ent2-box": {"early"}}
    for life in lives:
        for endpoint, expected in homes.items():
            names = {name for _, name, _ in life["sent"][endpoint]}
            assert {name for name in names if not name.startswith(("Successed", "Failed"))} == expected, life["point"]


def test_each_rejected_parcel_is_told_so(lives: list[dict[str, Any]]) -> None:
    for life in lives:
        for endpoint, name in (("ent1-box", "Failed_invalid"), ("ent2-box", "Failed_garbage")):
            assert any(n.startswith(name) for _, n, _ in life["sent"][endpoint]), life["point"]
