"""A private RabbitMQ: the Debian package's server on free loopback ports, with everything it writes in one directory.

It runs as whoever starts it, root included. ``kill`` is kill -9; what it had is there again after ``start``.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

import pika
import pytest
import trustme
from pika.exceptions import AMQPError

SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # not Debian's wrapper: that wants another user
START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 20.0
CALL_SECONDS: Final = 20.0
USER, PASSWORD = "switch", "switch-secret"

logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it says while a broker starts hides what fails


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@cache
def shared() -> Broker:
    """Start the one broker of this test run; without the package, skip, or fail where CI promises to have it."""
    missing = [] if SERVER.exists() else [SERVER.name]
    missing += [name for name in ("erl", "erl_call", "epmd", "setpriv") if not shutil.which(name)]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"RabbitMQ is not installed ({', '.join(missing)} not found): apt-get install rabbitmq-server"
        )
    directory = tempfile.mkdtemp(prefix="rabbitmq-")
    broker = Broker(Path(directory), ["max_message_size = 16777216"])
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(broker.stop)
    broker.start()
    return broker


class Broker:
    """One broker in *directory*, with and without TLS; *settings* are further lines of its configuration file."""

    def __init__(self, directory: Path, settings: Sequence[str] = ()) -> None:
        self.directory = directory
        self.port, self.tls_port, self._epmd_port, self._node_port = (free_port() for _ in range(4))
        self.ca = directory / "ca.pem"  # who vouches for its certificate
        self._settings = settings
        self._node: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Where it listens with TLS; its certificate is for ``localhost``."""
        return f"amqps://localhost:{self.tls_port}"

    @property
    def login(self) -> dict[str, Any]:
        """How to log in, as an administrator writes it."""
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        return {"user": USER, "password": {"file": str(secret)}}

    @property
    def pid(self) -> int:
        """The process that is the broker."""
        assert self._node, "the broker isn't running"
        return self._node.pid

    def connect(self) -> pika.BlockingConnection:
        """Connect as a test does to look at queues; heartbeats are off, so that it may wait idly."""
        credentials = pika.PlainCredentials(USER, PASSWORD)
        return pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", self.port, credentials=credentials, heartbeat=0)
        )

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` against it and return what it prints."""
        command = [str(SERVER.with_name("rabbitmqctl")), "--quiet", *arguments]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        assert not done.returncode, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def messages(self, queue: str) -> int:
        """Count the messages of a queue, with those that are delivered and not yet acknowledged."""
        name = f'rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)'
        asked = f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), [{{_, N}}] = rabbit_amqqueue:info(Q, [messages]), N.\n"
        return int(self._evaluated(asked))

    def remember(self) -> None:
        """Have the queues that were declared on disk: it answers earlier, and ``kill`` makes it forget them."""
        self._evaluated("mnesia:sync_log().\n")

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it serves."""
        self._prepare()
        log = self.directory / "output.log"
        with log.open("ab") as output:
            self._epmd = self._epmd or self._spawn(
                ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"], output
            )
            self._node = self._spawn([str(SERVER)], output)
            deadline = time.monotonic() + START_SECONDS
            while not self._serves():
                if time.monotonic() > deadline:
                    self.stop()
                    raise AssertionError(f"RabbitMQ didn't start:\n{log.read_text()[-4000:]}")
                if self._node.poll() is not None:  # its name server may not have noticed yet that the last one is gone
                    time.sleep(1)
                    self._node = self._spawn([str(SERVER)], output)
                time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it politely, and its name server with it."""
        self._end(signal.SIGTERM)
        if epmd := self._epmd:
            epmd.kill()
            epmd.wait()
            self._epmd = None

    def _evaluated(self, expression: str) -> str:
        cookie = (self.directory / ".erlang.cookie").read_text()
        command = ["erl_call", "-c", cookie, "-sname", f"switch{self.port}@localhost", "-e"]
        deadline = time.monotonic() + CALL_SECONDS
        while True:  # a node that is busy may not answer in time
            done = subprocess.run(
                command, input=expression, env=self._environment(), capture_output=True, text=True, check=False
            )
            if not done.returncode or time.monotonic() > deadline:
                break
        assert done.stdout.startswith("{ok, "), done.stdout + done.stderr
        return done.stdout[5:-1]

    def _serves(self) -> bool:
        try:
            self.connect().close()
        except (AMQPError, OSError):
            return False
        return True

    def _end(self, number: int) -> None:
        node, self._node = self._node, None
        if node is None:
            return
        node.send_signal(number)
        try:
            node.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()

    def _spawn(self, command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],  # nothing outlives the tests, however they end
            env=self._environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def _prepare(self) -> None:
        if self.ca.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        for name, host in (("server", "localhost"), ("client", "switch.example")):
            issued = authority.issue_cert(host, common_name=host)
            issued.private_key_pem.write_to_path(self.directory / f"{name}.key")
            issued.cert_chain_pems[0].write_to_path(self.directory / f"{name}.pem")
        lines = [
            f"listeners.tcp.local = 127.0.0.1:{self.port}",
            f"listeners.ssl.local = 127.0.0.1:{self.tls_port}",
            f"ssl_options.cacertfile = {self.ca}",
            f"ssl_options.certfile = {self.directory / 'server.pem'}",
            f"ssl_options.keyfile = {self.directory / 'server.key'}",
            "ssl_options.verify = verify_peer",
            f"default_user = {USER}",
            f"default_pass = {PASSWORD}",
            "vm_memory_high_watermark.absolute = 1GB",
            "disk_free_limit.absolute = 50MB",
            *self._settings,
        ]
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "enabled_plugins").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        place = self.directory
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(place),  # where the Erlang cookie is
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server, so that its pid is the server's
            "RABBITMQ_NODENAME": f"switch{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(place / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(place / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(place / "mnesia"),
            "RABBITMQ_LOG_BASE": str(place / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(place / "config"),
            "RABBITMQ_PID_FILE": str(place / "pid"),
        }
