"""``python -m benchmarks.many_keys``: how long a switch starts with 70 000 parties, each with a key in the register.

Each key has a certificate of its own. The time is the wall's, from the start of the program until it listens; a switch
without parties and keys is started beside it. *choosing* is what it costs to find the version that signs.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from benchmarks.machine import median, microseconds, process_seconds
from benchmarks.peers import wait_for
from exchange import ports
from exchange.register import KeyVersion, Proposal
from exchange.signing.keyring import Keyring
from exchange.stores.sqlite import SqliteStore
from tests import pki
from tests.live.rabbitmq import free_port

MANY: Final = 70_000
SWITCHD: Final = """
monitor: {{port: {port}}}
log: {{file: switchd.log}}
token: {{allow_software_keys: true, options: {{folder: {keys}}}}}
signing: {{dual_control: false}}
"""
ROUTES: Final = """
parties:
  - {code: CUSTOMS, role: customs, endpoints: [{name: customs-queue, kind: memory}]}
routes:
  - {name: inventories, match: {type: CEB621Message}, to: [customs-queue], sign: ecdsa-sha256}
"""


def main() -> None:
    """Measure and print."""
    print(json.dumps(measure(), indent=2))


def measure(rounds: int = 3, many: int = MANY) -> dict[str, Any]:
    """Start both switches in turns; return medians, and the slowest start."""
    versions = list(_versions(many))
    with tempfile.TemporaryDirectory(prefix="keys-") as name:
        homes = {"none": Path(name) / "none", "many": Path(name) / "many"}
        for which, home in homes.items():
            home.mkdir()
            (home / "routes.yaml").write_text(ROUTES, "utf-8")
            asyncio.run(_fill(home / "var/store", versions if which == "many" else []))
        started: dict[str, list[tuple[float, float]]] = {"none": [], "many": []}
        for _ in range(rounds):
            for which, home in homes.items():
                started[which].append(_start(home))
    ring, few, now = Keyring.of(versions), Keyring.of(versions[:1]), ports.microseconds()
    return {
        "keys": many,
        **{f"{which}_seconds": round(median([wall for wall, _ in all_]), 2) for which, all_ in started.items()},
        **{f"{which}_cpu_seconds": round(median([cpu for _, cpu in all_]), 2) for which, all_ in started.items()},
        "many_seconds_slowest": round(max(wall for wall, _ in started["many"]), 2),
        "choosing_us": round(microseconds(lambda: ring.current("K35000", now), 20_000), 2),
        "choosing_us_of_one": round(microseconds(lambda: few.current("K0", now), 20_000), 2),
    }


def _versions(many: int) -> Iterator[KeyVersion]:
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC).replace(microsecond=0)
    begin, end = now - timedelta(days=1), now + timedelta(days=365)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA of nobody")])
    window = int(begin.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000
    for number in range(many):
        builder = x509.CertificateBuilder(
            issuer,
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"K{number}")]),
            key.public_key(),
            number + 1,
            begin,
            end,
        )
        der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
        places = {"file": f"keys/K{number}.key"}
        yield KeyVersion(f"K{number}", 1, "p256", der, places, *window, "active")


async def _fill(folder: Path, versions: list[KeyVersion]) -> None:
    store, now = SqliteStore(folder), ports.microseconds()
    await store.open()
    if versions:
        asked = Proposal("key-import", f"{len(versions)} keys", "00", "wang", "moved", now)
        kept = await store.record(asked)
        await store.record(evolve(kept, state="approved", decided_by="li", decided_at=now), versions)
        rows = [{"code": f"P{n}", "role": "enterprise", "signing_key": f"K{n}"} for n in range(len(versions))]
        await store.import_parties(rows, "wang", "moved", now)
    await store.close()


def _start(home: Path) -> tuple[float, float]:
    """Start a switch; return the seconds until it is ready, and those of its CPU."""
    port = free_port()
    (home / "switchd.yaml").write_text(SWITCHD.format(keys=pki.shared(), port=port), "utf-8")
    began = time.perf_counter()
    command = [sys.executable, "-c", "from exchange.switchd import main; main()"]
    with subprocess.Popen([*command, "--config", str(home / "switchd.yaml")]) as process:
        try:
            wait_for(port)
            while '"event":"switch.started"' not in (home / "switchd.log").read_text("utf-8"):
                time.sleep(0.01)
            return time.perf_counter() - began, process_seconds(process.pid)
        finally:
            process.terminate()
            process.wait(60)
            (home / "switchd.log").unlink()


if __name__ == "__main__":
    main()
