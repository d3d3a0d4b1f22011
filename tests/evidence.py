"""Evidence files for tests: exported from a daemon inside the test, taken apart and put together again."""

from __future__ import annotations

import asyncio
import atexit
import io
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import orjson
from attrs import frozen

from exchange import catalogue
from exchange.catalogue import Catalogue
from exchange.evidence import form
from exchange.evidence.container import Writer
from exchange.evidence.findings import Check
from exchange.evidence.form import Manifest
from exchange.evidence.gathering import Sign, write
from exchange.evidence.verifying import verify
from exchange.instants import read_id
from exchange.stores.sqlite import SqliteStore
from simulators._authority_engine import Authority
from simulators.authority import rules_of
from tests import pki, sealing
from tests.daemon import Clock, House, inventory, running, switchd_yaml

Entries = dict[str, bytes]


def types() -> Catalogue:
    """Return the message types."""
    return catalogue.load(catalogue.SCHEMAS)


def unsigned(manifest: bytes) -> bytes:
    """Sign nothing."""
    return b""


def export(home: Path, id: str, sign: Sign = unsigned, stamp: Sign | None = None) -> bytes:
    """Return the evidence of a message out of the store of a daemon at *home*."""
    file = io.BytesIO()
    with SqliteStore.past(home / "var/store") as past:
        write(past, read_id(id), file, sign, stamp)
    return file.getvalue()


def checked(evidence: bytes, folder: Path, **more: Any) -> list[Check]:
    """Return what a verification says, of a file in a folder that holds nothing else."""
    path = folder / "evidence.zip"
    path.write_bytes(evidence)
    return verify(path, types(), **more)


def outcomes(checks: Sequence[Check]) -> dict[str, set[str]]:
    """Return which outcomes each kind of check had."""
    found: dict[str, set[str]] = {}
    for one in checks:
        found.setdefault(one.name, set()).add(one.outcome)
    return found


def failures(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """Return (check, entry) of everything that failed."""
    return [(one.name, one.subject) for one in checks if one.outcome == "failed"]


def entries(evidence: bytes) -> Entries:
    """Return the entries, in order."""
    with zipfile.ZipFile(io.BytesIO(evidence)) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(entries: Mapping[str, bytes]) -> bytes:
    """Write entries as they are."""
    file = io.BytesIO()
    writer = Writer(file)
    for name, body in entries.items():
        writer.append(name, body)
    writer.close()
    return file.getvalue()


def forged(evidence: bytes, *edits: Callable[[Entries], object], kinds: Mapping[str, str] | None = None) -> bytes:
    """Return evidence that was changed by somebody who also wrote the manifest anew; it is signed no more."""
    all = entries(evidence)
    manifest = Manifest.model_validate_json(all[form.MANIFEST])
    what = {one.name: one.what for one in manifest.entries} | dict(kinds or {})
    about = (form.MANIFEST, form.STATEMENT, form.STAMP)
    rest = {name: body for name, body in all.items() if name not in about}
    for edit in edits:
        edit(rest)
    file = io.BytesIO()
    writer = Writer(file)
    listed = [writer.add(name, what[name], rest[name]) for name in sorted(rest)]
    new = manifest.model_copy(update={"entries": listed, "signature": "", "timestamp": ""})
    writer.append(form.MANIFEST, new.dumped())
    writer.close()
    return file.getvalue()


def edited(name: str, edit: Callable[[Any], object]) -> Callable[[Entries], None]:
    """Return an edit of a JSON entry."""

    def do(all: Entries) -> None:
        document = orjson.loads(all[name])
        edit(document)
        all[name] = form.dumped(document)

    return do


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Entries], None]:
    """Return an edit that puts other bytes into an entry."""

    def do(all: Entries) -> None:
        assert old in all[name], name
        all[name] = all[name].replace(old, new)

    return do


def refitted(all: Entries, folder: str = "") -> None:
    """Make the facts agree with the original that stands there now."""
    body = all[f"{folder}original"]
    facts = orjson.loads(all[f"{folder}message.json"])
    facts |= {"size": len(body), "sha256": sha256(body).hexdigest()}
    all[f"{folder}message.json"] = form.dumped(facts)


# -- one that is looked at from all sides ------------------------------------------------------------------------

SIGNING = switchd_yaml(more="evidence: {key: rsa, profile: rsa-sha256}\n")
CERTIFICATE = form.certificate(sha256(pki.der("p256")).hexdigest())


@frozen
class Kept:
    """Evidence of an inventory that was signed, and answered in four stages; and of one that came after it."""

    id: str
    file: bytes
    other: bytes
    home: Path
    events: list[dict[str, Any]]


@cache
def kept() -> Kept:
    """Make it, once a run; for reading only."""
    home = Path(mkdtemp(prefix="evidence-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return asyncio.get_event_loop().run_until_complete(_kept(home))


async def _kept(home: Path) -> Kept:
    async with running(home, switchd=SIGNING, clock=Clock(sealing.now())) as house:
        id, other = await answered(house), await answered(house, 2)
        file = await exported(house, home, id)
        await house.daemon.chores.witness()
        return Kept(id, file, export(home, other), home, house.logged("signing.checkpoint"))


async def answered(house: House, number: int = 1) -> str:
    """Take an inventory, sign it, send it and have customs answer it; return its id."""
    id = await house.give("ent1-box", inventory(number))
    await house.settle()
    sent = house.sent("customs-queue")[-1].read()
    for receipt in Authority(rules=rules_of("customs.yaml"), types=house.daemon.catalogue).answer(sent, house.clock.at):
        await house.give("customs-queue", receipt.body, receipt.name)
    await house.settle()
    assert await house.state(id) == "COMPLETED"
    return id


async def exported(house: House, home: Path, id: str) -> bytes:
    """Export evidence in a thread of its own, with a manifest that the daemon signs meanwhile."""
    loop = asyncio.get_running_loop()

    def signed(manifest: bytes) -> bytes:
        asked = house.ask("evidence.sign", message=id, digest=sha256(manifest).hexdigest())
        text: str = asyncio.run_coroutine_threadsafe(asked, loop).result(20)
        return text.encode()

    return await asyncio.to_thread(export, home, id, signed)
