"""Two switches as processes: one takes declarations and has them signed by the other, which has the keys."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from exchange.controlclient import ControlClient
from tests import pki
from tests.live.installation import ROOT, START_SECONDS, SWITCHD
from tests.live.rabbitmq import free_port
from tests.signing_bench import make_tls

COMMON: Final = """
monitor: {{port: {monitor}}}
store: {{reserve_bytes: 0}}
log: {{file: switchd.log}}
control: s.sock
"""
FAR: Final = """
token: {{allow_software_keys: true, options: {{folder: {pki}}}}}
signing:
  dual_control: false
  api:
    port: {port}
    certificate: server.pem
    client_ca: {pki}/ca.crt
    clients:
      near:
        certificate: {pki}/foreign.crt
        party: PLATFORM
        keys: [p256, rsa]
        algorithms: [ecdsa-sha256, rsa-sha1]
"""
NEAR: Final = """
token:
  kind: remote
  options:
    urls: {urls}
    certificate: {pki}/foreign.crt
    key: {pki}/foreign.key
    ca: {ca}
    timeout_seconds: 5
    keys: {{p256: {{certificate: {pki}/p256.crt}}, rsa: {{certificate: {pki}/rsa.crt}}}}
signing:
  api: {{port: {port}, certificate: {tls}, client_ca: {pki}/ca.crt}}
"""
PARTIES: Final = "parties: [{code: PLATFORM, role: platform, endpoints: [{name: p, kind: memory}]}]\nroutes: []\n"
ROUTES: Final = """
parties:
  - code: ENT1
    role: enterprise
    ids: [DXPENT0000000001]
    signing_key: p256
    certificates: [{pki}/p256.crt]
    endpoints: [{{name: ent1, kind: folder, take_from: in, poll_seconds: 0.1, settle_seconds: 0, after: remove}}]
  - code: CUSTOMS
    role: customs
    endpoints: [{{name: customs, kind: folder, send_to: out}}]
routes:
  - {{name: inventories, match: {{type: CEB621Message}}, to: [customs], sign: ecdsa-sha256}}
"""


class Process:
    """A daemon at *home*, whose signing API is at *port*."""

    def __init__(self, home: Path, port: int, settings: str, routes: str) -> None:
        home.mkdir()
        self.home, self.port = home, port
        (home / "switchd.yaml").write_text(COMMON.format(monitor=free_port()) + settings, "utf-8")
        (home / "routes.yaml").write_text(routes, "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, for the first time or again."""
        with (self.home / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*SWITCHD, "--config", str(self.home / "switchd.yaml")], stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it listens."""
        process = self._process
        assert process is not None
        until(lambda: process.poll() is not None or self._listens(), START_SECONDS)
        assert process.poll() is None, (self.home / "output.log").read_text()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return bool(self.ask("status")["ready"])
        except OSError:
            return False

    @property
    def runs(self) -> bool:
        """Tell whether it was started and not ended."""
        return self._process is not None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    def ask(self, verb: str, /, **arguments: Any) -> Any:
        """Ask over the control socket."""
        with closing(ControlClient(self.home / "s.sock", 20.0)) as client:
            answer = client.call(verb, **arguments)
        assert "result" in answer, answer
        return answer["result"]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [json.loads(line) for line in (self.home / "switchd.log").read_text("utf-8").splitlines()]
        return [line for line in lines if line["event"] == event]


class Pair:
    """Both, and a client of either's API."""

    def __init__(self, folder: Path) -> None:
        self.ca = make_tls(folder)
        ports = free_port(), free_port(), free_port()
        far = FAR.format(pki=pki.shared(), port=ports[0])
        urls = [f"https://127.0.0.1:{port}" for port in (ports[2], ports[0])]  # nobody listens at the first
        tls = folder / "server.pem"
        near = NEAR.format(pki=pki.shared(), port=ports[1], urls=urls, ca=self.ca, tls=tls)
        self.far = Process(folder / "far", ports[0], far, PARTIES)
        (self.far.home / "server.pem").write_bytes(tls.read_bytes())
        self.near = Process(folder / "near", ports[1], near, ROUTES.format(pki=pki.shared()))
        for name in ("in", "out"):
            (self.near.home / name).mkdir()

    def start(self) -> None:
        """Start both, as far as they don't run."""
        idle = [switch for switch in (self.far, self.near) if not switch.runs]
        for switch in idle:
            switch.start()
        for switch in idle:
            switch.wait()

    def client(self, at: Process, who: str = "p256") -> httpx.Client:
        """Return a client that shows a certificate of tests.pki; none where *who* is empty."""
        tls = ssl.create_default_context(cafile=self.ca)
        if who:
            tls.load_cert_chain(pki.shared() / f"{who}.crt", pki.shared() / f"{who}.key")
        return httpx.Client(base_url=f"https://127.0.0.1:{at.port}", verify=tls, trust_env=False)


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until *condition* holds; return what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return found


@contextmanager
def paired(folder: Path) -> Iterator[Pair]:
    """Run both switches; what is left of them afterwards is killed."""
    pair = Pair(folder)
    try:
        pair.start()
        yield pair
    finally:
        pair.far.kill()
        pair.near.kill()
