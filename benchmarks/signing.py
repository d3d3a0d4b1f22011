"""``python -m benchmarks.signing [ROUNDS]``: what signing costs, and what it leaves of a device's rate.

*beside* is the CPU that a signed 4 KB declaration costs the switch without the key operation: queue, canonical form,
digest, splice, and its row in the chained log. *own* is what a SoftHSM token signs in a bare loop, all its sessions
busy, nothing else running; *served* is what comes out of the signing service over the same token, with every message
prepared, every signature verified, every message spliced. With several sessions the token takes all cores for itself,
which a device never does; with *one* a core is left to the switch. SM2 in software is compared with ``openssl speed``.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
import structlog
import uvloop
from lxml import etree

from benchmarks.machine import median
from benchmarks.messages import Declarations
from exchange.ports import Job, Signature, Token, microseconds
from exchange.signing.profiles import PROFILES
from exchange.signing.sealing import Seal
from exchange.signing.service import SigningService, Work
from exchange.signinglog import Operation
from exchange.stores.sqlite import SqliteStore
from exchange.tokens.device import DeviceFault
from exchange.tokens.pkcs11 import Pkcs11, Pkcs11Settings
from exchange.tokens.software import KeyFiles, Software
from tests import hsm, pki

SECONDS: Final = 3.0  # of the bare loop
DEVICE: Final = {  # profile, key, messages, sessions
    "rsa2048_one": ("rsa-sha256", "rsa", 1500, 1),
    "rsa2048": ("rsa-sha256", "rsa", 2500, 8),
    "p256_one": ("ecdsa-sha256", "p256", 4000, 1),
    "p256": ("ecdsa-sha256", "p256", 4000, 8),
}
WAITING: Final = 200  # messages in the queue
DATA: Final = b"x" * 700


class Nothing(Software):
    """Signs at once, with what it signed before: all that is left is what stands around it."""

    async def sign(self, jobs: Sequence[Job]) -> Sequence[Signature | Exception]:
        """Answer 64 bytes for each."""
        return [Signature(DATA[:64], verified=True)] * len(jobs)


def main() -> None:
    """Measure and print; what is logged meanwhile goes to the standard error."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3), indent=2))


def measure(rounds: int) -> dict[str, Any]:
    """Measure everything *rounds* times, interleaved; return medians, and the weakest of each."""
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="sign-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        hsm.SoftHsm(folder, patch, "bench")
        for number in range(rounds):
            found["beside_us"].append(uvloop.run(_beside(folder / f"store-{number}")))
            found["sm2_per_second"].append(_software())
            found["openssl_sm2_per_second"].append(_openssl())
            for name, (profile, key, count, sessions) in DEVICE.items():
                found[f"{name}_own_per_second"].append(_own(key, profile, sessions))
                found[f"{name}_served_per_second"].append(uvloop.run(_served(key, profile, count, sessions)))
    result = {name: round(median(values), 1) for name, values in found.items()}
    result["beside_us_weakest"] = round(max(found["beside_us"]), 1)
    result["sm2_ratio"] = _ratio(found, "sm2_per_second", "openssl_sm2_per_second")
    for name in DEVICE:
        result[f"{name}_ratio"] = _ratio(found, f"{name}_served_per_second", f"{name}_own_per_second")
    return result


def _ratio(found: dict[str, list[float]], ours: str, theirs: str) -> float:
    """Return the median of the ratios of the rounds: both were measured right after each other."""
    return round(median([a / b for a, b in zip(found[ours], found[theirs], strict=True)]), 2)


# -- what stands around the key operation ------------------------------------------------------------------------


async def _beside(folder: Path, count: int = 3000) -> float:
    """Return the CPU microseconds of one message, without the key operation; the row of the log included."""
    store = SqliteStore(folder)
    await store.open()
    works = _documents(count)
    began = time.process_time()
    operations = await _signed(Nothing(KeyFiles(folder=pki.shared())), works, "ecdsa-sha256", "p256")
    for start in range(0, count, 64):
        await store.log(operations[start : start + 64])
    spent = time.process_time() - began
    await store.close()
    return spent / count * 1e6


def _documents(count: int) -> list[tuple[bytes, Any]]:
    """Return declarations as the pipeline has them: the bytes, parsed already."""
    declarations = Declarations()
    return [(body, etree.fromstring(body)) for body in (declarations.one() for _ in range(count))]


async def _signed(token: Token, documents: Sequence[tuple[bytes, Any]], profile: str, key: str) -> list[Operation]:
    """Have all documents sealed through the signing service; return what its log says."""
    ended = asyncio.get_running_loop().create_future()
    operations: list[Operation] = []
    waiting = deque(enumerate(documents))

    def done(work: Work) -> None:
        (result,) = work.results
        if result.operation is None or result.error is not None:
            ended.set_exception(result.error or RuntimeError("nothing was signed"))
            return
        operations.append(result.operation)
        if waiting:
            submit()
        elif len(operations) == len(documents):
            ended.set_result(None)

    def submit() -> None:
        number, (body, root) = waiting.popleft()
        service.submit(Work(f"20261122-{number}", f"P{number % 50}", [Seal(body, root, PROFILES[profile], key)], done))

    async def record(_: Sequence[Operation]) -> None:
        raise RuntimeError("something failed")

    service = SigningService(token, microseconds, structlog.get_logger(), record)
    for _ in range(min(WAITING, len(documents))):
        submit()
    await ended
    await service.stop()
    return operations


# -- devices -----------------------------------------------------------------------------------------------------


async def _served(key: str, profile: str, count: int, sessions: int) -> float:
    """Return the signed messages a second that come out of the service over a token in SoftHSM."""
    places = {key: {"bench": f"pkcs11:object={key}"}}
    token = hsm.devices({"bench": hsm.SoftHsm.row("bench", sessions=sessions)}, places)
    await token.open()
    try:
        await _signed(token, _documents(50), profile, key)
        documents = _documents(count)
        began = time.perf_counter()
        await _signed(token, documents, profile, key)
        return count / (time.perf_counter() - began)
    finally:
        await token.close()


def _own(key: str, algorithm: str, sessions: int) -> float:
    """Return the signatures a second of the token itself, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.signing", "bare", key, algorithm, str(sessions)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


def _bare(key: str, algorithm: str, sessions: int) -> float:
    """Sign with all sessions for some seconds, with the same client library and nothing around it."""
    settings = Pkcs11Settings.model_validate(
        {"module": str(hsm.MODULE), "token": "bench", "sessions": sessions}, context={"home": Path("/")}
    )
    device = Pkcs11(settings, hsm.PIN)
    device.open()
    counts = [0] * sessions
    end = time.perf_counter() + SECONDS

    def work(number: int, session: Any) -> None:
        while time.perf_counter() < end:
            session.sign(f"pkcs11:object={key}", algorithm, DATA)
            counts[number] += 1

    threads = [Thread(target=work, args=(number, device.session())) for number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


# -- SM2 in software ---------------------------------------------------------------------------------------------


def _software(count: int = 2000) -> float:
    """Return the SM2 signatures in one second of one core's time, through the software token."""
    token = Software(KeyFiles(folder=pki.shared()))
    jobs = [Job("sm2", "sm2-sm3", DATA)] * count

    async def work() -> float:
        await token.sign(jobs[:50])
        began = time.process_time()
        answers = await token.sign(jobs)
        if any(isinstance(answer, Exception) for answer in answers):
            raise DeviceFault("", "", "it couldn't sign")
        return count / (time.process_time() - began)

    return uvloop.run(work())


def _openssl() -> float:
    """Return the signatures in one second of one core's time, as the openssl program measures itself."""
    command = ["openssl", "speed", "-seconds", "2", "sm2"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"\(CurveSM2\)\s+\S+\s+\S+\s+([\d.]+)", told)
    if found is None:
        raise ValueError(told)
    return float(found[1])


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        print(_bare(sys.argv[2], sys.argv[3], int(sys.argv[4])))
    else:
        main()
