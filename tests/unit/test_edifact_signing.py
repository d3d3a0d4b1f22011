"""EDIFACT carries no XML signature: who asks for one is told, and nothing breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS
from tests.daemon import running

GATE = (SCHEMAS / "smdg/containers/samples/valid/CODECO.edi").read_bytes()
ROUTES = """
parties:
  - code: DEPOT
    role: platform
    ids: [TESTTERM]
    signing_key: p256
    agreement: {verify: VERIFY}
    endpoints: [{name: depot-box, kind: memory}]
  - code: LINE
    role: enterprise
    endpoints: [{name: line-box, kind: memory}]
routes:
  - {name: gate, match: {type: CODECO}, to: [line-box]SIGN}
"""


@pytest.mark.parametrize(
    ("verify", "sign", "state", "code"),
    [
        ("require", "", "REJECTED", "SWX-1031"),
        ("warn", "", "COMPLETED", ""),
        ("off", ", sign: ecdsa-sha256", "HELD", "SWX-2071"),
    ],
)
async def test_a_signature_that_can_not_be_is_told(
    verify: str, sign: str, state: str, code: str, tmp_path: Path
) -> None:
    async with running(tmp_path, ROUTES.replace("VERIFY", verify).replace("SIGN", sign)) as house:
        id = await house.give("depot-box", GATE, "gate.edi")
        await house.settle()
        life = await house.ask("message.show", id=id)
        codes = [line["code"] for line in life["journal"] if line["event"] in ("reject", "hold")]
        assert (life["state"], codes) == (state, [code] if code else [])
