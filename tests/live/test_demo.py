"""``make run``: the demonstration as people start it, and a simulated authority behind a real broker."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from exchange.catalogue import SCHEMAS
from tests.live.amqp import channel_of, declare
from tests.live.rabbitmq import Broker

pytestmark = [pytest.mark.live, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
SAMPLES = (
    "order.xml", "payment.xml", "waybill.xml", "inventory.xml", "inventory-sm2.xml", "container.edi",
    "container-refused.edi", "dangerous-goods.edi", "inventory-disorder.xml",
    "orders-in-one.xml", "order-gb18030.xml", "order-invalid.xml", "payment-invalid.xml", "order-cut-off.xml",
    "order-again.xml", "order-sent-back.xml", "payment-failed.xml", "waybill-twice.xml",
)  # fmt: skip


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder whose name is short: the path of a socket in it mustn't be long."""
    with TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def demo(temporary: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demonstration; its temporary folders are made in *temporary*."""
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators.demo", *arguments], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background inherit it ignored
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], seconds: float = 60.0) -> str:
    """Wait for the end; return everything that was printed since."""
    return process.communicate(timeout=seconds)[0]


def children(folder: Path) -> list[str]:
    """Return the command lines of processes that work in *folder* or below."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # gone, or not ours to look at
    return found


def until_nobody_works_in(folder: Path, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while children(folder):
        assert time.monotonic() < deadline, children(folder)
        time.sleep(0.05)


def test_once_every_sample_ends_as_it_must_and_nothing_is_left_behind(tmp_path: Path) -> None:
    started_at = time.monotonic()
    with demo(tmp_path, "--once") as process:
        told = ended(process)
    assert process.returncode == 0, told
    assert "18 of 18 samples ended as they must" in told
    for name in SAMPLES:
        assert f" {name} " in told
    assert "800 放行 released" in told
    assert "100 海关退单 refused by customs" in told
    assert re.search(r"container\.edi +COPINO +DEMO-HAULIER SFTP +AP 接受 accepted", told)
    assert re.search(r"CODECO_\w+\.edi +CODECO +DEMO-TERMINAL folder +COMPLETED", told)
    assert re.search(r"dangerous-goods\.edi +IFTDGN +DEMO-CARRIER HTTPS +AP 接受 accepted", told)
    assert not re.search(r"DEMO-CUSTOMS folder", told), "receipts are told with what they answer"
    assert "共 3 处错误 3 mistakes" in told
    assert "\x1b" not in told
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - started_at < 60


def test_a_folder_that_was_named_is_kept_with_receipts_refusals_and_log(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    with demo(tmp_path, "--once", "--folder", str(folder)) as process:
        told = ended(process)
    assert process.returncode == 0, told
    assert children(folder) == []
    refusal = next((folder / "boxes/demo-shop/FailBox").glob("Failed_order-invalid*")).read_text()
    for field in ("appTime", "ebcCode", "currency"):
        assert f"/CEB311Message/Order/OrderHead/{field}" in refusal
    shared = [
        {path.name for path in (folder / "boxes" / user / "InBox").glob("CEB*")} for user in ("demo-shop", "demo-agent")
    ]
    assert shared[0] & shared[1], "no file of customs' answered two enterprises"
    assert '"event":"switch.stopped"' in (folder / "switchd.log").read_text()
    assert '"level":"error"' not in (folder / "switchd.log").read_text()
    assert [(folder / f"{name}.log").read_text() for name in ("customs", "terminal", "maritime")] == [""] * 3
    kinds = {path.name.partition("_")[0] for path in (folder / "boxes/demo-haulier/InBox").iterdir()}
    assert kinds == {"Successed", "CONTRL", "APERAK", "CODECO"}
    with demo(tmp_path, "--once", "--folder", str(folder)) as process:
        assert "isn't empty" in ended(process)
    assert process.returncode == 1


def test_with_silent_customs_it_ends_in_time_and_says_what_is_missing(tmp_path: Path) -> None:
    started_at = time.monotonic()
    with demo(tmp_path, "--once", "--seconds", "15", "--customs-misbehave", "silence") as process:
        told = ended(process)
    assert process.returncode == 1, told
    assert "order.xml: must be COMPLETED with the right receipt in its InBox, is ACCEPTED" in told
    assert "order-invalid.xml:" not in told
    assert time.monotonic() - started_at < 40


def test_it_stays_up_shows_commands_that_work_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        told = ""
        while "Ctrl-C ends it" not in told:
            line = process.stdout.readline()
            assert line, told
            told += line
        commands = dict(re.findall(r"^  (\w[\w ]*?)  +(?=bin/|curl|ls|sftp)(.*?)(?: {4}.*)?$", told, re.MULTILINE))
        assert run(commands["the switch"])["ready"] is True
        assert "switch_" in output(commands["metrics"])
        assert "CEB412Message" in output(commands["HTTPS mailbox"])
        assert "Successed_order_" in output(commands["receipts"])
        assert "Failed_order-invalid" in output(commands["refusals"])
        listing = subprocess.run(
            [*shlex.split(commands["by SFTP"])[:1], "-b", "-", *shlex.split(commands["by SFTP"])[1:]],
            input="ls InBox", capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
        assert "CEB312Message_" in listing.stdout
        sample = SCHEMAS / "customs/ceb/samples/valid/CEB411Message.xml"
        sent = output(commands["HTTPS intake"].replace("@FILE", f"@{sample}"))
        assert '"state":"RECEIVED"' in sent
        line = "\n"
        while (
            "SWX-1052" not in line
        ):  # that one is the shop's, not the payment company's; a late receipt may come first
            assert line
            line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        ended(process, 20)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def output(command: str) -> str:
    return subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout


def run(command: str) -> Any:
    """Run a switchctl command of this checkout's own Python, with JSON for an answer."""
    _, *arguments = shlex.split(command)
    program = [sys.executable, "-c", "from exchange.commands import main; main()", *arguments, "--json"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("seconds", [0.7, 1.1, 1.6, 3.0])
def test_ctrl_c_at_any_moment_leaves_nothing_behind(tmp_path: Path, seconds: float) -> None:
    with demo(tmp_path, "--once") as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        ended(process, 20)
    assert process.returncode in (130, -signal.SIGINT)
    assert children(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demonstration_that_is_killed_takes_its_children_with_it(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        deadline = time.monotonic() + 15
        while len(children(tmp_path)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.wait()
        until_nobody_works_in(tmp_path)


def test_the_table_of_the_demonstration_passes_its_own_tests() -> None:
    told = run("switchctl routes test routes.yaml")
    assert [test["passed"] for test in told] == [True] * 7


# -- customs behind a broker -------------------------------------------------------------------------------------


def test_customs_takes_from_a_queue_and_answers_into_another(rabbitmq: Broker) -> None:
    asked, answered = declare(rabbitmq), declare(rabbitmq)
    command = [
        sys.executable,
        "-m",
        "simulators.authority",
        "customs.yaml",
        "--amqp",
        rabbitmq.url,
        "--consume",
        asked,
        "--publish",
        answered,
    ]
    password = Path(rabbitmq.login["password"]["file"]).read_text()
    environment = os.environ | {"SIMULATOR_USER": rabbitmq.login["user"], "SIMULATOR_PASSWORD": password}
    process = subprocess.Popen([*command, "--pace", "0.1"], cwd=ROOT, env=environment)
    found: list[tuple[str, list[bytes]]] = []
    try:
        with channel_of(rabbitmq) as channel:
            channel.basic_publish("", asked, (SCHEMAS / "customs/ceb/samples/valid/CEB311Message.xml").read_bytes())
            deadline = time.monotonic() + 20
            while len(found) < 3:
                assert time.monotonic() < deadline, found
                taken: Any = channel.basic_get(answered, auto_ack=True)
                method, properties, body = taken
                if method is not None:
                    found.append((properties.type, re.findall(rb"<returnStatus>(\d+)<", body)))
                    assert properties.headers["file-name"] == f"{properties.message_id}.xml"
                time.sleep(0.02)
    finally:
        process.terminate()
        status = process.wait(10)
    assert status == 0
    assert found == [("CEB312Message", [status]) for status in (b"2", b"3", b"120")]


def test_customs_whose_broker_is_not_there_says_so_in_one_line() -> None:
    command = [
        sys.executable,
        "-m",
        "simulators.authority",
        "customs.yaml",
        "--amqp",
        "amqp://127.0.0.1:1",
        "--consume",
        "a",
        "--publish",
        "b",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("broker: ")
    assert done.stderr.count("\n") == 1
