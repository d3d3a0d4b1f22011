"""The whole switch with everything real around it: OpenSSH, curl, RabbitMQ, signatures, a simulated customs."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS
from tests import pki
from tests.live.installation import Installation, customs, drain, installed
from tests.live.rabbitmq import Broker
from tests.sealing import require

pytestmark = [pytest.mark.live, pytest.mark.slow]

VALID = SCHEMAS / "customs/ceb/samples/valid"
ORDER = VALID / "CEB311Message.xml"
INVENTORY = re.sub(rb"\s*<ds:Signature .*</ds:Signature>", b"", (VALID / "CEB621Message.xml").read_bytes(), flags=re.S)


@pytest.fixture
def switch(tmp_path: Path, rabbitmq: Broker) -> Iterator[Installation]:
    require("sftp")
    require("curl")
    with installed(tmp_path, rabbitmq) as installation:
        yield installation


def test_an_inventory_by_sftp_is_signed_goes_to_customs_and_its_receipts_come_home(switch: Installation) -> None:
    """The straight path of the whole switch, looked at from both ends."""
    with customs(switch, "--certificate", str(pki.shared() / "rsa.crt")):
        switch.sftp(
            f"put {switch.file('a.xml', INVENTORY)} /OutBox/a.xml.tmp", "rename /OutBox/a.xml.tmp /OutBox/a.xml"
        )
        (head,) = switch.until(lambda: switch.switchctl("message", "list", "--type", "CEB621Message"))
        life = switch.until(lambda: _answered(switch, head["id"]))

    assert life["state"] == "COMPLETED"
    codes = [line["code"] for line in life["journal"] if line.get("receipt")]
    assert codes == ["2", "3", "120", "800"]  # released, by a customs that refuses what this key didn't sign
    box = switch.home / "got"
    box.mkdir()
    switch.until(lambda: not switch.ask("status")["queued"])
    switch.sftp(f"get /InBox/CEB622* {box}/")
    got = b"".join(path.read_bytes() for path in box.iterdir())
    assert sorted(re.findall(rb"returnStatus>(\d+)<", got)) == [b"120", b"2", b"3", b"800"]
    listed = switch.sftp("ls -1 /OutBox", "ls -1 /SentBox")
    assert "/OutBox/a.xml" not in listed
    assert "/SentBox/a.xml" in listed


def _answered(switch: Installation, id: str) -> dict[str, object] | None:
    life: dict[str, object] = switch.switchctl("message", "show", id)
    deliveries = life["deliveries"]
    assert isinstance(deliveries, list)
    return life if deliveries and all(one["state"] == "ANSWERED" for one in deliveries[:1]) else None


def test_what_customs_gets_is_what_xmlsec_verifies(switch: Installation) -> None:
    """Bytes off the queue: the signature holds for an independent program, the rest is as it was sent."""
    program = require("xmlsec1")
    switch.sftp(f"put {switch.file('a.xml', INVENTORY)} /OutBox/a.xml")
    switch.until(lambda: switch.ask("message.list", state="COMPLETED") or _delivered(switch))
    ((_, body),) = drain(switch)
    verify = [program, "--verify", "--trusted-pem", str(pki.shared() / "ca.crt"), switch.file("signed.xml", body)]
    subprocess.run(verify, check=True, capture_output=True, timeout=30)
    assert re.sub(rb"<ds:Signature.*</ds:Signature>", b"", body, flags=re.S) == INVENTORY


def _delivered(switch: Installation) -> bool:
    return any(line["state"] == "DELIVERED" for line in switch.ask("queue.list"))


def test_an_order_by_curl_and_its_receipts_by_cursor(switch: Installation) -> None:
    """HTTP: 202 and Location once durable, the life at the Location, receipts page by page."""
    with customs(switch):
        status, headers, answer = switch.curl("/v1/messages", "--data-binary", f"@{ORDER}")
        assert status == 202
        assert headers["location"] == f"/v1/messages/{answer['id']}"
        switch.until(lambda: switch.curl(headers["location"])[2]["receipts"])
        cursor, seen = "0", []
        while not any("CEB312" in name for name in seen):
            _, _, page = switch.curl(f"/v1/receipts?after={cursor}&wait=5")
            assert page["next"] != cursor, "no CEB312Message ever came"
            seen += [receipt["name"] for receipt in page["receipts"]]
            cursor = page["next"]
    assert len(seen) == len(set(seen)), "a cursor never shows a receipt twice"


def test_a_broken_table_changes_nothing_and_a_good_one_takes_over(switch: Installation) -> None:
    """SIGHUP: the old table stays in force while the file has mistakes; each is told with its place."""
    switch.write_routes(lambda text: text.replace("to: [customs-queue]", "to: [customs-queu]"))
    switch.signal(signal.SIGHUP)
    (refused,) = switch.until(lambda: switch.logged("reload.refused"))
    assert [re.match(r"routes.yaml:\d+:\d+: ", problem) is not None for problem in refused["problems"]] == [True] * 2
    assert "customs-queue" in refused["problems"][0], "it suggests the name that was meant"
    switch.curl("/v1/messages", "--data-binary", f"@{ORDER}")
    assert len(switch.until(lambda: drain(switch))) == 1
    assert switch.ask("status")["generation"] == 1

    switch.write_routes(lambda text: text[: text.index("  - name: orders")])
    switch.signal(signal.SIGHUP)
    switch.until(lambda: switch.ask("status")["generation"] == 2)
    other = switch.file("other.xml", ORDER.read_bytes().replace(b"000311", b"000999"))
    _, headers, _ = switch.curl("/v1/messages", "--data-binary", f"@{other}")
    life = switch.until(lambda: _held(switch, headers["location"].rpartition("/")[2]))
    assert life["journal"][-1]["code"] == "SWX-2010"


def _held(switch: Installation, id: str) -> dict[str, list[dict[str, str]]] | None:
    life: dict[str, list[dict[str, str]]] = switch.switchctl("message", "show", id)
    return life if str(life["state"]) == "HELD" else None


def test_metrics_and_probes_are_there(switch: Installation) -> None:
    """What monitoring asks for, from a switch that has carried something."""
    switch.curl("/v1/messages", "--data-binary", f"@{ORDER}")
    switch.until(lambda: drain(switch))
    place = f"http://127.0.0.1:{switch.monitor}"
    asked = [
        subprocess.run(
            ["curl", "-sSf", "--noproxy", "*", f"{place}/{page}"], capture_output=True, text=True, check=True
        )
        for page in ("livez", "readyz", "metrics")
    ]
    shown = asked[2].stdout
    names = {line.split()[2] for line in shown.splitlines() if line.startswith("# HELP switch_")}
    assert names >= {
        "switch_messages_received_total", "switch_messages_finished_total", "switch_stage_duration_seconds",
        "switch_queue_oldest_age_seconds", "switch_queue_depth", "switch_receipts_missing",
    }  # fmt: skip
    assert re.search(r'^\w+_received_total\{.*kind="http_api".*\} 1\.0$', shown, re.M), shown
