"""A whole switch as its administrator runs it: a daemon, a real broker behind it, real clients before it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from exchange.controlclient import ControlClient
from tests import pki
from tests.live.openssh import make_keys
from tests.live.rabbitmq import PASSWORD, USER, Broker, free_port

ROOT: Final = Path(__file__).parent.parent.parent
KEY: Final = "swx_of-nobody"
START_SECONDS: Final = 30.0
SWITCHD: Final = (sys.executable, "-c", "from exchange.switchd import main; main()")

ROUTES: Final = """
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001]
    signing_key: rsa
    endpoints:
      - {{name: ent1-sftp, kind: sftp_server, user: ent1, directory: boxes/ent1, keys: [{public}]}}
      - {{name: ent1-https, kind: http_api, keys: ["sha256:{hash}"]}}
  - code: CUSTOMS
    role: customs
    endpoints:
      - name: customs-queue
        kind: amqp
        url: {broker.url}
        user: {broker.login[user]}
        password: {{file: {broker.login[password][file]}}}
        declare: true
        publish: {{queue: {to}}}
        consume: {{queue: {back}}}
        retry: {{first: 0.2, longest: 1}}
routes:
  - name: inventories
    match: {{type: CEB621Message, role: enterprise}}
    to: [customs-queue]
    sign: ceb-rsa-sha1
  - name: orders
    match: {{type: CEB311Message, role: enterprise}}
    to: [customs-queue]
"""
SETTINGS: Final = """
monitor: {{port: {monitor}}}
store: {{reserve_bytes: 0}}
log: {{file: switchd.log}}
control: switchctl.sock
token: {{allow_software_keys: true, options: {{folder: {keys}}}}}
signing: {{dual_control: false}}
adapters:
  sftp_server: {{host: 127.0.0.1, port: {sftp}, host_keys: [host_key]}}
  http_api: {{port: {http}, allow_plain: true}}
"""


class Installation:
    """A switch at *home* between an enterprise (SFTP and HTTP) and customs (two queues)."""

    def __init__(self, home: Path, broker: Broker) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.broker = home, broker
        self.to_customs, self.from_customs = (f"{way}-{uuid4().hex[:8]}" for way in ("to", "from"))
        self._keys = make_keys(home)
        ports = {name: free_port() for name in ("sftp", "http", "monitor")}
        self._sftp, self.http, self.monitor = ports.values()
        (home / "stranger").rename(home / "host_key")
        settings = SETTINGS.format(keys=pki.shared(), **ports)
        (home / "switchd.yaml").write_text(settings, "utf-8")
        self.write_routes()
        self._process: subprocess.Popen[bytes] | None = None

    def write_routes(self, change: Callable[[str], str] = lambda text: text) -> None:
        """Write the routing table, changed by *change*."""
        text = ROUTES.format(
            public=self._keys["ed25519"].with_suffix(".pub").read_text().strip(),
            hash=hashlib.sha256(KEY.encode()).hexdigest(),
            broker=self.broker,
            to=self.to_customs,
            back=self.from_customs,
        )
        (self.home / "routes.yaml").write_text(change(text), "utf-8")

    # -- the process ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the daemon, for the first time or again, and wait until it listens."""
        with (self.home / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*SWITCHD, "--config", str(self.home / "switchd.yaml")], stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        process = self._process
        self.until(lambda: process.poll() is not None or self._listens(), START_SECONDS)
        assert process.poll() is None, (self.home / "output.log").read_text()

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the daemon; return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(30)

    def signal(self, number: int) -> None:
        """Send a signal to the daemon."""
        assert self._process
        self._process.send_signal(number)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.http)).close()
            return bool(self.ask("status")["ready"])
        except OSError:
            return False

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait until *condition* holds; return what it returned."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"it never happened; {self.logged()[-5:]}"
            time.sleep(0.02)
        return found

    def logged(self, event: str = "") -> list[dict[str, Any]]:
        """Return the log lines of one event, or all."""
        path = self.home / "switchd.log"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        return [line for line in lines if event in ("", line["event"])]

    def file(self, name: str, body: bytes) -> str:
        """Write a file for a client; return its path."""
        path = self.home / name
        path.write_bytes(body)
        return str(path)

    # -- clients -------------------------------------------------------------------------------------------------

    def ask(self, verb: str, /, **arguments: Any) -> Any:
        """Ask over the control socket."""
        with closing(ControlClient(self.home / "switchctl.sock", 20.0)) as client:
            answer = client.call(verb, **arguments)
        assert "result" in answer, answer
        return answer["result"]

    def switchctl(self, *arguments: str) -> Any:
        """Run the command; return what it prints as JSON."""
        command = [sys.executable, "-c", "from exchange.commands import main; main()"]
        place = ("--socket", str(self.home / "switchctl.sock"), "--json")
        done = subprocess.run([*command, *place, *arguments], capture_output=True, text=True, check=True, timeout=30)
        return json.loads(done.stdout)

    def sftp(self, *commands: str) -> str:
        """Run a batch of OpenSSH's client as the enterprise; return what it prints."""
        settings = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR")
        flags = [word for setting in settings for word in ("-o", setting)]
        place = ["-P", str(self._sftp), "-i", str(self._keys["ed25519"]), "-F", "none", "ent1@127.0.0.1"]
        batch = "\n".join(commands) + "\n"
        done = subprocess.run(
            ["sftp", "-b", "-", *flags, *place], input=batch, capture_output=True, text=True, check=False, timeout=60
        )
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    def curl(self, path: str, *arguments: str) -> tuple[int, dict[str, str], Any]:
        """Ask the HTTP API as the enterprise; return the status, the headers and the JSON of its answer."""
        done = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--max-time", "20", "-i", "-H", f"Authorization: Bearer {KEY}",
             *arguments, f"http://127.0.0.1:{self.http}{path}"],
            capture_output=True, check=True,
        )  # fmt: skip
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(re.split(": ", line.lower(), maxsplit=1) for line in lines)
        return int(status.split()[1]), headers, json.loads(body)


@contextmanager
def installed(home: Path, broker: Broker) -> Iterator[Installation]:
    """Run a switch; what is left of it afterwards is killed."""
    installation = Installation(home, broker)
    installation.start()
    try:
        yield installation
    finally:
        installation.kill()


@contextmanager
def customs(installation: Installation, *arguments: str) -> Iterator[None]:
    """Run the simulated customs at the other end of the queues."""
    program = [sys.executable, "-m", "simulators.authority", "customs.yaml"]
    command = [*program, "--amqp", installation.broker.url, "--pace", "0"]
    queues = ("--consume", installation.to_customs, "--publish", installation.from_customs)
    process = subprocess.Popen(
        [*command, *queues, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL,
        env=os.environ | {"SIMULATOR_USER": USER, "SIMULATOR_PASSWORD": PASSWORD},
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait()


def drain(installation: Installation) -> list[tuple[str, bytes]]:
    """Empty the queue to customs as customs would; return ids and bodies."""
    found = []
    with closing(installation.broker.connect()) as connection:
        channel = connection.channel()
        for method, properties, body in channel.consume(installation.to_customs, inactivity_timeout=1.0):
            if method is None:
                break
            found.append((properties.message_id, body))
            channel.basic_ack(method.delivery_tag)
    return found


def numbers(bodies: Sequence[bytes]) -> list[bytes]:
    """Return the order numbers of declarations."""
    return [re.findall(rb"<ceb:orderNo>([^<]+)<", body)[0] for body in bodies]
