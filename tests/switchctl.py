"""What tests of ``switchctl`` share: a runner, and a folder with a routing table and messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from exchange.commands import switchctl

SAMPLES = Path(__file__).parent.parent / "schemas" / "customs" / "ceb" / "samples"
ORDER = SAMPLES / "valid" / "CEB311Message.xml"
BAD = SAMPLES / "invalid" / "CEB311Message--SWX-1412--buyerName-empty.xml"
CALM = {"LC_ALL": "C", "LC_MESSAGES": None, "LANG": None}
TABLE = """\
parties:
  - {code: ENT1, role: enterprise, ids: [DXPENT0000000001], signing_key: ent1}
  - {code: CUSTOMS, role: customs}
endpoints:
  - {name: ent1-in, party: ENT1, kind: memory}
  - {name: customs-queue, party: CUSTOMS, kind: memory}
routes:
  - {name: payments, match: {type: CEB411Message}, to: [customs-queue]}
  - {name: orders, match: {type: CEB311Message, role: enterprise}, to: [customs-queue], sign: ceb-sm2}
tests:
  - {given: {sample: order.xml, from: ENT1}, to: [customs-queue], route: orders}
"""


def run(*arguments: str, input: str = "", env: Mapping[str, str | None] | None = None) -> Result:
    return CliRunner().invoke(switchctl, arguments, input=input, env={**CALM, **(env or {})}, prog_name="switchctl")


def result_of(*arguments: str, status: int = 0) -> Any:
    """Run with --json and return the one document that is printed."""
    result = run(*arguments, "--json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)
