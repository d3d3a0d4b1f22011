"""What the switch is measured between: a private broker, a daemon of its own, a bare HTTP server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pika

from benchmarks.machine import percentile, process_seconds
from tests import pki
from tests.live.rabbitmq import Broker, free_port

KEY = "swx_benchmark"
QUEUE = "customs"
ROUTES = """
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001]
    signing_key: {key}
    endpoints:
      - {{name: ent1-http, kind: http_api, keys: ["sha256:{hash}"]}}
  - code: CUSTOMS
    role: customs
    endpoints:
      - name: customs-queue
        kind: amqp
        url: {url}
        user: {user}
        password: {{file: {password}}}
        publish: {{queue: {queue}}}
routes:
  - name: orders
    match: {{type: CEB311Message, role: enterprise}}
    to: [customs-queue]
    {sign}
"""
SWITCHD = """
monitor: {{port: 0}}
log: {{file: switchd.log}}
token: {{allow_software_keys: true, options: {{folder: {keys}}}}}
signing: {{dual_control: false}}
adapters: {{http_api: {{port: {port}, allow_plain: true}}}}
"""


class Queue:
    """The broker's queue that the switch publishes to."""

    def __init__(self, broker: Broker) -> None:
        login = broker.login
        self.login = {"user": login["user"], "password": login["password"]["file"]}
        parameters = pika.URLParameters(broker.url)
        password = Path(self.login["password"]).read_text().strip()
        parameters.credentials = pika.PlainCredentials(self.login["user"], password)
        parameters.heartbeat = 0
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.queue_declare(QUEUE, durable=True)

    @property
    def depth(self) -> int:
        """Messages in the queue."""
        return int(self._channel.queue_declare(QUEUE, passive=True).method.message_count)

    def empty(self) -> None:
        """Drop everything in the queue."""
        self._channel.queue_purge(QUEUE)


class Switch:
    """A daemon at *home*, as an administrator would run it."""

    def __init__(self, home: Path, broker: Broker, queue: Queue, sign: str = "", key: str = "") -> None:
        self.port = free_port()
        self._home, self._queue = home, queue
        home.mkdir(parents=True, exist_ok=True)
        routes = ROUTES.format(
            key=key or "''",
            hash=hashlib.sha256(KEY.encode()).hexdigest(),
            url=broker.url,
            queue=QUEUE,
            sign=f"sign: {sign}" if sign else "",
            **queue.login,
        )
        (home / "routes.yaml").write_text(routes, "utf-8")
        (home / "switchd.yaml").write_text(SWITCHD.format(keys=pki.shared(), port=self.port), "utf-8")
        command = [sys.executable, "-c", "from exchange.switchd import main; main()"]
        self._process = subprocess.Popen([*command, "--config", str(home / "switchd.yaml")])
        wait_for(self.port)

    def run(self, count: int, connections: int = 128) -> dict[str, float]:
        """Send *count* declarations through; return rate, CPU and latencies once the last one is confirmed."""
        self._queue.empty()
        cpu, began = process_seconds(self._process.pid), time.time()
        told = generate(self.port, count, connections)
        deadline = time.time() + 120
        while self._queue.depth < count and time.time() < deadline:
            time.sleep(0.02)
        took, depth = time.time() - began, self._queue.depth
        time.sleep(0.3)  # for the journal's last lines
        if depth != count or told["refused"]:
            raise RuntimeError(f"{count} sent, {told['refused']:.0f} refused, {depth} arrived")
        seconds = self._end_to_end(count)
        return {
            "messages_per_second": count / took,
            "accepted_per_second": told["accepted_per_second"],
            "cpu_us": (process_seconds(self._process.pid) - cpu) / count * 1e6,
            "accept_p50_ms": told["p50_ms"],
            "accept_p99_ms": told["p99_ms"],
            "end_to_end_p50_ms": percentile(seconds, 0.5) * 1e3,
            "end_to_end_p99_ms": percentile(seconds, 0.99) * 1e3,
        }

    def _end_to_end(self, count: int) -> Sequence[float]:
        """Read, from the journal, the seconds between taking a message and the broker's confirmation."""
        connection = sqlite3.connect(f"file:{self._home}/var/store/switch.db?mode=ro", uri=True)
        (day,) = connection.execute("SELECT max(number) FROM partition WHERE kind = 'day'").fetchone()
        rows = connection.execute(
            f"SELECT e.at - m.at FROM event_{day} e JOIN message_{day} m ON m.id = e.message"
            " WHERE e.number = 0 AND e.event = 14 ORDER BY m.id DESC LIMIT ?",  # 14: deliver
            (count,),
        ).fetchall()
        connection.close()
        return [microseconds / 1e6 for (microseconds,) in rows]

    def stop(self) -> None:
        """Stop the daemon as systemd would."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


def generate(port: int, count: int, connections: int) -> dict[str, float]:
    """Run the load generator in its own process."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(count), str(connections), KEY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def wait_for(port: int, seconds: float = 30.0) -> None:
    """Wait until somebody listens."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody listens on port {port}")


def bare_http(count: int) -> float:
    """Return CPU microseconds of one request at a server that reads the body and says 202: no switch behind it."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_http", str(port)])
    try:
        wait_for(port)
        generate(port, count // 10, 64)
        cpu = process_seconds(process.pid)
        generate(port, count, 64)
        return (process_seconds(process.pid) - cpu) / count * 1e6
    finally:
        process.kill()
        process.wait()


def scratch(folder: Path, name: str) -> Path:
    """Return an empty folder."""
    path = folder / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def environment() -> dict[str, Any]:
    """Return what may be set for CI machines: ``BENCH_COUNT`` messages for each run."""
    return {"count": int(os.environ.get("BENCH_COUNT", "10000"))}
