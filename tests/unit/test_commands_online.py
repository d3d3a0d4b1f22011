"""``switchctl``: the verbs that ask the switch, against a real control socket with a stub behind it."""

from __future__ import annotations

import asyncio
import inspect
import json
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

from exchange import errors
from exchange.commands._output import status_of, told
from exchange.control import NEED_REASON, Control
from exchange.controlsocket import serve_control
from tests.switchctl import ORDER, TABLE, result_of, run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a routing table and a message, where commands run."""
    (tmp_path / "routes.yaml").write_text(TABLE)
    shutil.copy(ORDER, tmp_path / "order.xml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


HEAD = {
    "id": "20261122-42", "at": "2026-11-22T12:00:00.000+08:00", "state": "HELD", "code": "SWX-2010",
    "type": "CEB311Message", "sender": "ENT1", "own_id": "G-1", "endpoint": "ent1-in", "party": "ENT1", "size": 9,
    "digest": "00", "name": "order.xml", "keys": [{"guid": "G-1", "order": "E/ORDER-7"}, {"guid": "G-2"}],
}  # fmt: skip
SIGNING = {
    "token": "software", "production": False, "waiting": 1, "with_token": 2, "window": 32, "oldest_seconds": 0.5,
    "trouble": {}, "parties_waiting": 1, "last_number": 7, "last_at": HEAD["at"], "lately": 7, "lately_failed": 0,
    "per_second": 9.5, "p50_ms": 0.5, "p95_ms": 0.8, "p99_ms": None,
}  # fmt: skip
ROW = {"number": 7, "at": HEAD["at"], "job": "20261122-42", "party": "ENT1", "key": "shop", "device": "hsm-a"}
AUTHORITY = {"authority": "e-port", "kind": "crl", "name": "CN=x", "number": "7", "days": 3.5, "state": "good"}
CHECKED = {"authority": "e-port", "serial": "01", "stands": True, "chain": ["CN=x"], "code": "", "en": "", "zh": ""}
KEY = {
    "key": "shop/2", "state": "active", "kind": "sm2", "not_before": HEAD["at"], "not_after": HEAD["at"],
    "places": {"hsm-a": "pkcs11:id=%02"}, "subject": "CN=x", "serial": "01", "change": 7, "pem": "-----BEGIN",
}  # fmt: skip
CHANGE = {
    "number": 7, "kind": "key-activate", "subject": "shop/2", "digest": "00", "state": "submitted", "at": HEAD["at"],
    "submitted_by": "wang", "reason": "why", "decided_by": "", "decided_at": "", "remark": "", "single_handed": False,
}  # fmt: skip
DEVICE = {
    "device": "hsm-a", "state": "UP", "why": "", "priority": 1, "in_flight": 0, "signed": 9, "per_second": 0.9,
    "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "refused_keys": [],
}  # fmt: skip
OUT = {
    "device": "hsm-a", "others": ["hsm-b"], "signed": 2, "failed": 0, "errors": [], "milliseconds": 9.0,
    "back_milliseconds": 50.0, "stands": True, "why": "",
}  # fmt: skip
HOLD = {"since": HEAD["at"], "by": "zhang", "reason": "unpaid"}
GENERATION = {"generation": 7, "at": HEAD["at"], "actor": "op", "reason": "new partner", "digest": "0123456789abcdef"}
LINE = {"at": HEAD["at"], "event": "answer", "delivery": 1, "actor": "", "receipt": "20261122-43", "code": "800"}
LIFE = HEAD | {
    "facts": {},
    "deliveries": [{"number": 1, "endpoint": "customs-queue", "state": "ANSWERED", "attempts": 1, "due_at": None}],
    "journal": [LINE | {"meaning": {"zh": "放行", "en": "released"}}],
}
ANSWERS: dict[str, Any] = {
    "status": {"version": "1", "ready": True, "generation": 7, "held_subjects": {"party:ENT1": HOLD}},
    "message.list": [HEAD],
    "message.search": [HEAD],
    "message.show": LIFE,
    "message.change": [{"id": "20261122-42", "state": "QUEUED"}],
    "queue.list": [{"endpoint": "customs-queue", "state": "QUEUED", "depth": 3, "oldest_seconds": 9, "on_hold": False}],
    "party.list": [{"code": "ENT1", "role": "enterprise", "name": "示例企业", "ids": [], "state": "active"}],
    "endpoint.list": [
        {"name": "customs-queue", "party": "CUSTOMS", "kind": "amqp", "state": "held", "waiting": 2, "hold": HOLD}
    ],
    "party.hold": {"subject": "party:ENT1", "state": "held"},
    "party.import": {"imported": 2},
    "endpoint.hold": {"subject": "endpoint:customs-queue", "state": "active"},
    "hsm.status": [DEVICE],
    "hsm.selftest": [{"device": "hsm-a", "key": "rsa", "stands": True, "milliseconds": 1.5}],
    "hsm.open": [DEVICE],
    "sign.status": SIGNING,
    "sign.queue": [{"party": "ENT1", "depth": 7}],
    "sign.log": [ROW],
    "sign.test": {"profile": "ceb-sm2", "key": "shop", "stands": True},
    "trust.list": [AUTHORITY],
    "trust.check": [CHECKED],
    "trust.import": [AUTHORITY],
    "trust.fetch": [{"authority": "e-port", "url": "http://lists.example", "fetched": True, "why": ""}],
    "key.list": [KEY],
    "key.show": {"name": "shop", "signs": "shop/2", "versions": [KEY]},
    "key.csr": {"name": "shop", "pem": "-----BEGIN CERTIFICATE REQUEST-----"},
    "change.submit": CHANGE,
    "change.list": [CHANGE],
    "change.show": CHANGE | {"what": KEY},
    "change.approve": CHANGE | {"state": "approved", "decided_by": "li"},
    "change.reject": CHANGE | {"state": "rejected", "decided_by": "li"},
    "hsm.failover_test": [OUT],
    "receipt.list": [HEAD | {"answers": [{"code": "800", "stage": "customs", "outcome": "released"}]}],
    "routes.publish": GENERATION,
    "routes.rollback": GENERATION,
    "routes.history": [GENERATION],
    "schema.reload": {"types": 129, "changed": {"CEB311Message": ["202205", "2027"]}},
    "routes.current": GENERATION | {"text": "", "diff": ["-a", "+b"]},
}


class Stub:
    """Answers like the switch, notes what it was asked, and takes only what the switch would take."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    async def __call__(self, verb: str, arguments: Mapping[str, Any], actor: str) -> Any:
        whole = dict(arguments) | ({"actor": actor} if verb in NEED_REASON else {})
        inspect.signature(Control(Any)._verbs[verb]).bind(**whole)  # type: ignore[arg-type]
        self.asked.append((verb, dict(arguments)))
        if self.error is not None:
            raise self.error
        return ANSWERS[verb]


async def online(path: Path, *arguments: str, stub: Stub | None = None, input: str = "") -> Result:
    """Run a command beside a control socket that *stub* answers."""
    place = path / "control.sock"
    log = SimpleNamespace(error=lambda *_, **more: pytest.fail(str(more)))
    listening = await serve_control(stub or Stub(), place, log)
    try:
        return await asyncio.to_thread(run, "--socket", str(place), *arguments, input=input)
    finally:
        await listening.stop()


ASKING: dict[str, tuple[str, dict[str, Any]]] = {
    "status": ("status", {}),
    "message list --state held --party ENT1": (
        "message.list", {"state": "HELD", "party": "ENT1", "type": "", "before": "", "limit": 50}),
    "message search ORDER-7 --limit 3": ("message.search", {"key": "ORDER-7", "limit": 3}),
    "message show 20261122-42": ("message.show", {"id": "20261122-42"}),
    "message hold 20261122-42 --reason why": ("message.change", {"verb": "hold", "delivery": None}),
    "message release 20261122-42 --reason why --delivery 2": ("message.change", {"verb": "release", "delivery": 2}),
    "message resend 20261122-42 --reason why": ("message.change", {"verb": "resend", "ids": ["20261122-42"]}),
    "message requeue a b a --reason why": ("message.change", {"verb": "requeue", "ids": ["a", "b"]}),
    "message discard a --reason why": ("message.change", {"verb": "discard", "silent": False}),
    "message discard a --silent --reason why": ("message.change", {"verb": "discard", "silent": True}),
    "queue list": ("queue.list", {}),
    "party list --role customs": ("party.list", {"role": "customs"}),
    "endpoint list --party CUSTOMS": ("endpoint.list", {"party": "CUSTOMS"}),
    "party hold ENT1 --reason why": ("party.hold", {"code": "ENT1", "state": "held", "reason": "why"}),
    "party resume ENT1 --reason why": ("party.hold", {"code": "ENT1", "state": "", "reason": "why"}),
    "party import parties.ndjson --reason why": ("party.import", {"rows": [{"code": "ENT8"}, {"code": "ENT9"}]}),
    "endpoint hold customs-queue --reason why": ("endpoint.hold", {"name": "customs-queue", "state": "held"}),
    "endpoint resume customs-queue --reason why": ("endpoint.hold", {"name": "customs-queue", "state": ""}),
    "hsm status": ("hsm.status", {}),
    "hsm selftest": ("hsm.selftest", {}),
    "hsm open hsm-a --reason why": ("hsm.open", {"device": "hsm-a", "reason": "why"}),
    "sign status": ("sign.status", {}),
    "sign queue": ("sign.queue", {}),
    "sign log --device hsm-a --failed": ("sign.log", {"device": "hsm-a", "failed": True, "limit": 50}),
    "sign test --profile ceb-sm2 --key shop": ("sign.test", {"profile": "ceb-sm2", "key": "shop"}),
    "trust list": ("trust.list", {}),
    "trust check order.xml --authority e-port": ("trust.check", {"authority": "e-port"}),
    "trust crl import order.xml --reason why": ("trust.import", {"authority": "", "reason": "why"}),
    "trust crl fetch --reason why": ("trust.fetch", {"reason": "why"}),
    "key list --state active": ("key.list", {"state": "active", "limit": 1000}),
    "key show shop": ("key.show", {"name": "shop"}),
    "key csr shop --on hsm-a --at sdf:3 --subject CN=x": (
        "key.csr", {"name": "shop", "device": "hsm-a", "location": "sdf:3", "subject": "CN=x"}),
    "key create shop --certificate shop.crt --at hsm-a=pkcs11:id=%02 --activate --reason why": ("change.submit", {
        "kind": "key-create", "reason": "why",
        "rows": [{"name": "shop", "certificate": "-----BEGIN", "at": {"hsm-a": "pkcs11:id=%02"}, "state": "active"}]}),
    "key import keys.ndjson --reason why": ("change.submit", {"kind": "key-import", "rows": [{"name": "a"}]}),
    "key activate shop/2 --reason why": ("change.submit", {"kind": "key-activate", "subject": "shop/2"}),
    "key retire shop/1 --reason why": ("change.submit", {"kind": "key-retire", "subject": "shop/1"}),
    "key revoke shop/1 --reason why": ("change.submit", {"kind": "key-revoke", "subject": "shop/1"}),
    "change submit software-keys --reason why": ("change.submit", {"kind": "software-keys", "subject": ""}),
    "change list --state submitted": ("change.list", {"state": "submitted", "limit": 50}),
    "change show 7": ("change.show", {"number": 7}),
    "change approve 7 --reason why": ("change.approve", {"number": 7, "reason": "why"}),
    "change reject 7 --reason why": ("change.reject", {"number": 7, "reason": "why"}),
    "hsm failover-test --reason why": ("hsm.failover_test", {"reason": "why"}),
    "receipt list --unmatched": ("receipt.list", {"unmatched": True, "party": "", "limit": 50}),
    "routes publish --reason why --expect 6": ("routes.publish", {"expect": 6, "reason": "why"}),
    "routes history": ("routes.history", {"limit": 50}),
    "schema reload --reason why": ("schema.reload", {"reason": "why"}),
    "routes rollback 6 --reason why": ("routes.rollback", {"number": 6, "reason": "why"}),
}  # fmt: skip


@pytest.mark.parametrize("line", ASKING)
async def test_a_verb_asks_the_switch_and_prints_its_answer(line: str, home: Path) -> None:
    (home / "parties.ndjson").write_text('{"code": "ENT8"}\n{"code": "ENT9"}\n')
    (home / "keys.ndjson").write_text('{"name": "a"}\n')
    (home / "shop.crt").write_text("-----BEGIN")
    stub, (verb, arguments) = Stub(), ASKING[line]
    for more in ((), ("--json",), ("--lang", "zh")):
        result = await online(home, *line.split(), *more, stub=stub)
        assert result.exit_code == 0, result.output
        assert result.stdout
        if more == ("--json",):
            assert json.loads(result.stdout) == ANSWERS[verb]
    for asked, given in stub.asked:
        assert asked == verb
        assert arguments.items() <= given.items()


async def test_a_certificate_without_a_chain_ends_with_status_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = CHECKED | {"stands": False, "code": "SWX-1100", "en": "it is revoked", "zh": "已吊销"}
    monkeypatch.setitem(ANSWERS, "trust.check", [wrong])
    result = await online(home, "--lang", "zh", "trust", "check", "order.xml")
    assert (result.exit_code, "SWX-1100  已吊销" in result.stdout) == (1, True)
    monkeypatch.setitem(ANSWERS, "trust.check", [wrong, CHECKED])
    assert (await online(home, "trust", "check", "order.xml")).exit_code == 0, "one authority is enough"


async def test_a_message_list_is_aligned_text_and_may_be_ids_only(home: Path) -> None:
    result = await online(home, "message", "list")
    heading, row = result.stdout.splitlines()
    assert heading.index("business keys") == row.index("order=E/ORDER-7 (+1)")
    assert (await online(home, "message", "list", "--ids")).stdout == "20261122-42\n"


async def test_a_figure_that_is_not_known_yet_is_a_dash(home: Path) -> None:
    assert "0.5 / 0.8 / -" in (await online(home, "sign", "status")).stdout


async def test_a_signature_on_trial_is_told_in_the_readers_language(home: Path) -> None:
    told = (await online(home, "--lang", "zh", "sign", "test", "--profile", "ceb-sm2", "--key", "shop")).stdout
    assert told.splitlines() == ["签名规格  ceb-sm2", "密钥      shop", "验证通过  是"]


async def test_the_life_of_a_message_says_what_a_regimes_code_means(home: Path) -> None:
    assert "receipt 20261122-43 800 released" in (await online(home, "message", "show", "20261122-42")).stdout
    assert "800 放行" in (await online(home, "--lang", "zh", "message", "show", "20261122-42")).stdout


async def test_wide_characters_keep_the_columns_aligned(home: Path) -> None:
    heading, row = (await online(home, "--lang", "zh", "party", "list")).stdout.splitlines()
    assert heading.startswith("代码  角色        状态    名称")
    assert row.startswith("ENT1  enterprise  active  示例企业")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("no such message", "没有该报文"), 3),
        (errors.Refused("it is COMPLETED", "已完成"), 4),
        (errors.InvalidTransition("no such step", "没有这一步"), 4),
        (errors.Refused("generation 8 is in force", "现行第 8 代", code="SWX-7030"), 5),
        (errors.StoreError("the disk is full", "磁盘已满", code="SWX-6010"), 75),
        (errors.Busy("later", "稍后"), 75),
        (errors.TokenError("no token", "没有密码设备"), 75),
        (errors.ConfigurationError(["routes.yaml:1:1: what"]), 78),
        (errors.ExchangeError("what", "何"), 69),
    ],
)
async def test_an_error_of_the_switch_becomes_an_exit_status(
    error: errors.ExchangeError, status: int, home: Path
) -> None:
    stub = Stub()
    stub.error = error
    shown = await online(home, "--json", "queue", "list", stub=stub)
    assert (shown.exit_code, json.loads(shown.stdout)["error"]) == (status, {**told(error), "status": status})
    for lang, text in (("en", error.en), ("zh", error.zh)):
        result = await online(home, "--lang", lang, "queue", "list", stub=stub)
        assert (result.exit_code, result.stdout) == (status, "")
        assert text in result.stderr
        assert status == 78 or f"switchctl explain {error.code}" in result.stderr


def test_a_rejection_is_a_problem_that_was_found() -> None:
    assert status_of(told(errors.Unreadable("what"))) == 1


def test_without_a_switch_everything_else_says_how_to_find_one(home: Path) -> None:
    assert result_of("status", status=69)["error"]["code"] == "SWX-7040"
    assert str(home / "var" / "switchctl.sock") in run("status").stderr
    (home / "switchd.yaml").write_text("control: run/ctl.sock\n")
    assert str(home / "run" / "ctl.sock") in run("status").stderr
    assert "/elsewhere.sock" in run("status", env={"SWITCHCTL_SOCKET": "/elsewhere.sock"}).stderr
    assert "没有交换机应答" in run("--lang", "zh", "status").stderr


async def test_a_switch_that_goes_away_leaves_the_outcome_open(home: Path) -> None:
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), str(home / "s"))
    result = await asyncio.to_thread(run, "--socket", "s", "status")
    server.close()
    assert result.exit_code == 75
    assert "SWX-7060" in result.stderr


def test_a_socket_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: Any, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket", type("Socket", (socket.socket,), {"connect": connect}))
    result = run("status")
    assert result.exit_code == 4
    assert "SWX-7050" in result.stderr


async def test_whoever_submits_a_change_is_told_what_the_second_person_types(home: Path) -> None:
    told = (await online(home, "key", "activate", "shop/2", "--reason", "why")).stdout
    assert "a second person approves it with: switchctl change approve 7 --reason" in told
    told = (await online(home, "--lang", "zh", "key", "activate", "shop/2", "--reason", "why")).stdout
    assert "请另一人批准：switchctl change approve 7" in told


async def test_the_certificate_of_one_version_is_printed_in_pem(home: Path) -> None:
    assert (await online(home, "key", "certificate", "shop/2")).stdout == "-----BEGIN"
    assert (await online(home, "key", "certificate", "shop")).exit_code == 2


async def test_a_place_is_written_with_its_device(home: Path) -> None:
    (home / "shop.crt").touch()
    create = ("key", "create", "shop", "--certificate", "shop.crt", "--reason", "why", "--at")
    assert "DEVICE=LOCATION" in (await online(home, *create, "hsm-a")).stderr


# -- changing ----------------------------------------------------------------------------------------------------


async def test_ids_come_from_standard_input(home: Path) -> None:
    stub = Stub()
    result = await online(home, "message", "release", "-", "--reason", "why", stub=stub, input="a\nb\n\na\n")
    assert result.exit_code == 0
    assert stub.asked[0][1]["ids"] == ["a", "b"]
    assert (await online(home, "message", "release", "-", "--reason", "why", stub=stub, input="")).exit_code == 2


def test_a_change_needs_a_reason() -> None:
    for line in ("message hold a", "party hold ENT1", "endpoint resume x", "routes rollback 3", "routes publish"):
        result = run(*line.split())
        assert result.exit_code == 2
        assert "--reason" in result.stderr


@pytest.mark.parametrize(
    ("count", "more", "input", "status"),
    [(20, (), "", 0), (21, (), "21\n", 0), (21, (), "yes\n", 4), (21, (), "", 4), (21, ("--yes",), "", 0)],
)
async def test_many_objects_need_their_number_typed(
    count: int, more: tuple[str, ...], input: str, status: int, home: Path
) -> None:
    stub, ids = Stub(), [f"20261122-{n}" for n in range(count)]
    result = await online(home, "message", "discard", *ids, "--reason", "why", *more, stub=stub, input=input)
    assert result.exit_code == status
    assert len(stub.asked) == (status == 0)
    assert status == 0 or "SWX-7022" in result.stderr


async def test_a_delivery_is_of_one_message(home: Path) -> None:
    result = await online(home, "message", "resend", "a", "b", "--delivery", "1", "--reason", "why")
    assert result.exit_code == 2


async def test_lines_that_are_no_parties_are_all_told(home: Path) -> None:
    (home / "parties.ndjson").write_text('{"code": "ENT8"}\n{"code"\n[]\n')
    stub = Stub()
    result = await online(home, "party", "import", "parties.ndjson", "--reason", "why", stub=stub)
    assert result.exit_code == 78
    assert [line[: len("parties.ndjson:2")] for line in result.stderr.splitlines()] == [
        "parties.ndjson:2",
        "parties.ndjson:3",
    ]
    assert not stub.asked


async def test_publishing_runs_the_tables_own_tests_first(home: Path) -> None:
    (home / "routes.yaml").write_text(TABLE.replace("route: orders", "route: payments"))
    stub = Stub()
    publish = ("routes", "publish", "--reason", "why")
    result = await online(home, *publish, stub=stub)
    assert (result.exit_code, stub.asked) == (1, [])
    assert "expected route payments" in result.stderr
    assert "SWX-7023" in result.stderr
    assert (await online(home, *publish, "--skip-tests", stub=stub)).exit_code == 0
    assert stub.asked[0][1]["text"].startswith("#! file routes.yaml\n")


async def test_the_switch_is_the_judge_of_a_table_that_refers_to_imported_parties(home: Path) -> None:
    (home / "routes.yaml").write_text(TABLE.replace("{type: CEB411Message}", "{sender: ENT9}"))
    assert (await online(home, "routes", "publish", "--reason", "why")).exit_code == 0


async def test_a_difference_is_a_problem_and_none_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = await online(home, "routes", "diff")
    assert (result.exit_code, result.stdout) == (1, "-a\n+b\n")
    shown = await online(home, "routes", "diff", "--json")
    assert json.loads(shown.stdout) == GENERATION | {"diff": ["-a", "+b"]}
    monkeypatch.setitem(ANSWERS, "routes.current", GENERATION | {"text": "", "diff": []})
    assert (await online(home, "routes", "diff")).exit_code == 0


async def test_an_interrupt_is_told_by_the_exit_status(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(verb: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("exchange.commands.queue.ask", interrupted)
    assert run("queue", "list").exit_code == 130
