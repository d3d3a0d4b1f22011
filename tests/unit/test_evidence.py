"""Evidence: what is exported of a message, and that a check of it elsewhere finds every change."""

from __future__ import annotations

import functools
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.errors import NotFound
from exchange.evidence import form
from exchange.instants import SECOND
from simulators._authority_engine import Authority
from simulators.authority import rules_of
from tests import evidence, pki
from tests.daemon import ROUTES, Clock, House, answer, inventory, order, running, switchd_yaml
from tests.evidence import checked, edited, entries, failures, forged, outcomes, packed, refitted, replaced
from tests.sealing import now

SIGNING = switchd_yaml(more="evidence: {key: rsa, profile: rsa-sha256}\n")


async def answered(house: House, number: int = 1) -> str:
    """Take an inventory, have it signed, sent and answered by customs in several stages; return its id."""
    id = await house.give("ent1-box", inventory(number))
    await house.settle()
    sent = house.sent("customs-queue")[-1].read()
    for receipt in Authority(rules=rules_of("customs.yaml"), types=house.daemon.catalogue).answer(sent, house.clock.at):
        await house.give("customs-queue", receipt.body, receipt.name)
    await house.settle()
    assert await house.state(id) == "COMPLETED"
    return id


def signer(house: House, id: str) -> Callable[[bytes], bytes]:
    """Return what has the daemon sign a manifest: asked from the loop beforehand, as the export itself can't wait."""
    signed: dict[str, bytes] = {}

    def sign(manifest: bytes) -> bytes:
        return signed.get(sha256(manifest).hexdigest(), b"")

    sign.signed = signed  # type: ignore[attr-defined]
    return sign


async def exported(house: House, home: Path, id: str) -> bytes:
    """Export evidence with a manifest that the daemon signs."""
    asked: list[bytes] = []
    evidence.export(home, id, lambda manifest: asked.append(manifest) or b"")  # type: ignore[func-returns-value]
    signed = await house.ask("evidence.sign", message=id, digest=sha256(asked[0]).hexdigest())
    return evidence.export(home, id, lambda manifest: signed.encode() if manifest == asked[0] else b"")


@pytest.fixture(scope="module")
async def kept(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Evidence of an inventory that was signed and answered, made once; and of one that came after it."""
    home = tmp_path_factory.mktemp("house")
    async with running(home, switchd=SIGNING, clock=Clock(now())) as house:
        id, other = await answered(house), await answered(house, 2)
        file = await exported(house, home, id)
        return {"id": id, "file": file, "other": evidence.export(home, other), "home": home}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on another machine: no store, no switchd.yaml, no routes."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- what stands -------------------------------------------------------------------------------------------------


async def test_what_was_signed_and_answered_stands_where_there_is_no_store(
    kept: Mapping[str, Any], elsewhere: Path
) -> None:
    checks = checked(kept["file"], elsewhere)
    assert failures(checks) == []
    found = outcomes(checks)
    assert found.pop("timestamp") == {"not present"}
    assert set(found) == {
        "entries", "manifest-signature", "signature", "sent", "signing-log", "chain", "facts", "journal", "receipts",
    }  # fmt: skip
    assert set.union(*found.values()) == {"passed"}
    assert sum(one.name == "receipts" for one in checks) == 4
    assert [path.name for path in elsewhere.iterdir()] == ["evidence.zip"], "nothing is written"
