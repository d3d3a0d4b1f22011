"""The SFTP server's door, keys and housekeeping."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from pydantic import ValidationError
from structlog.testing import LogCapture
from twisted.conch.ssh.keys import Key
from twisted.internet.task import Clock

from adapters._sftp_keys import OWN_KEY, host_keys, key_blob
from adapters._sftp_login import FAILURES, WITHIN_SECONDS, Attempts, verifies
from adapters._sftp_transport import Factory, Transport
from adapters._sftp_tree import BOXES, prune
from adapters.sftp_server import SftpServer
from exchange.errors import ConfigurationError
from exchange.instants import Instant
from exchange.model import Endpoint, Parcel
from exchange.ports import World
from tests.daemon import Clock as Wall
from tests.sftp_bench import KEY, endpoint

# -- logging in ---------------------------------------------------------------------------------------------------


def test_five_wrong_passwords_in_a_minute_cost_a_minute() -> None:
    clock = Clock()
    attempts = Attempts(clock.seconds)
    for _ in range(FAILURES):
        assert not attempts.blocked("192.0.2.1")
        attempts.fail("192.0.2.1")
        clock.advance(1)
    assert attempts.blocked("192.0.2.1")
    assert not attempts.blocked("192.0.2.2")
    clock.advance(WITHIN_SECONDS - 2)
    assert attempts.blocked("192.0.2.1")
    clock.advance(1)
    assert not attempts.blocked("192.0.2.1")


def test_a_wrong_password_now_and_then_costs_nothing() -> None:
    clock = Clock()
    attempts = Attempts(clock.seconds)
    for _ in range(50):
        attempts.fail("192.0.2.1")
        assert not attempts.blocked("192.0.2.1")
        clock.advance(WITHIN_SECONDS / (FAILURES - 2))


def test_sources_are_forgotten() -> None:
    clock = Clock()
    attempts = Attempts(clock.seconds)
    for number in range(10_000):
        attempts.fail(str(number))
    clock.advance(WITHIN_SECONDS)
    attempts.fail("one more")
    assert len(attempts._failed) == 1


def test_a_signature_must_stand_and_be_of_the_kind_that_was_named() -> None:
    key, other = (Key(ed25519.Ed25519PrivateKey.generate()) for _ in range(2))
    signature = key.sign(b"said")
    assert verifies(b"ssh-ed25519", key.blob(), signature, b"said")
    assert not verifies(b"ssh-ed25519", key.blob(), signature, b"never said")
    assert not verifies(b"ssh-ed25519", other.blob(), signature, b"said")
    assert not verifies(b"ssh-ed25519", b"nonsense", signature, b"said")
    assert not verifies(b"ssh-ed25519", key.blob(), b"", b"said")


@pytest.mark.parametrize(("bits", "kind", "stands"), [
    (2048, b"rsa-sha2-256", True),
    (2048, b"rsa-sha2-512", True),
    (2048, b"ssh-rsa", False),
    (1024, b"rsa-sha2-256", False),
])  # fmt: skip
def test_rsa_is_long_and_without_sha_1(bits: int, kind: bytes, stands: bool) -> None:
    key = Key(rsa.generate_private_key(public_exponent=65537, key_size=bits))
    signature = key.sign(b"said", signatureType=kind)
    assert verifies(b"rsa-sha2-256" if kind == b"ssh-rsa" else kind, key.blob(), signature, b"said") == stands


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 nonsense!",
        "ssh-dss " + KEY.split()[1],
        "ssh-rsa " + KEY.split()[1],
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
    ],
)
def test_what_is_no_key_line_is_a_mistake_in_the_table(line: str) -> None:
    with pytest.raises(ValidationError):
        SftpServer.Options(user="ent-1", keys=(line,))


def test_a_key_line_may_have_a_comment() -> None:
    assert key_blob(KEY) == key_blob(KEY.rpartition(" ")[0])


@pytest.mark.parametrize("user", ["", "../x", ".x", "a/b", "a b", "x" * 65, "用户"])
def test_a_user_name_is_a_folder_name(user: str) -> None:
    with pytest.raises(ValidationError):
        SftpServer.Options(user=user, keys=(KEY,))


def test_a_user_needs_a_way_in() -> None:
    with pytest.raises(ValidationError, match="请给出"):
        SftpServer.Options(user="ent-1")


def test_a_password_is_given_as_its_hash_only() -> None:
    with pytest.raises(ValidationError):
        SftpServer.Options.model_validate({"user": "ent-1", "password": {"argon2": "plain"}})
    hashed = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"
    assert SftpServer.Options.model_validate({"user": "ent-1", "password": {"argon2": hashed}}).password


def test_old_algorithms_are_gone(tmp_path: Path) -> None:
    factory = Factory(None, None, host_keys([], tmp_path, structlog.get_logger()), "")  # type: ignore[arg-type]
    factory.startFactory()
    transport: Transport = factory.buildProtocol(None)
    offered = b" ".join(
        transport.supportedKeyExchanges
        + transport.supportedCiphers
        + transport.supportedMACs
        + transport.supportedPublicKeys
        + transport.supportedCompressions
    )
    assert b"curve25519-sha256" in offered
    for old in (b"sha1", b"md5", b"cbc", b"3des", b"ssh-rsa", b"ssh-dss", b"group1", b"zlib"):
        assert old not in offered


def test_a_host_key_is_made_once_for_us_alone(tmp_path: Path) -> None:
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[LogCapture()])
    first = host_keys([], tmp_path / "own", log)
    assert host_keys([], tmp_path / "own", log) == first
    assert stat.S_IMODE((tmp_path / "own" / OWN_KEY).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "own").iterdir()] == [OWN_KEY]


def test_every_host_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "nonsense").write_text("nonsense")
    with pytest.raises(ConfigurationError) as caught:
        host_keys([tmp_path / "missing", tmp_path / "nonsense"], tmp_path, structlog.get_logger())
    assert ["missing" in problem or "nonsense" in problem for problem in caught.value.problems] == [True, True]


# -- the adapter --------------------------------------------------------------------------------------------------


def server(
    directory: Path,
    logged: LogCapture,
    now: Callable[[], Instant] = lambda: 0,
    retention_days: int = 90,
    **settings: Any,
) -> SftpServer:
    from twisted.internet import reactor

    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[logged])
    world = World(
        take=None,  # type: ignore[arg-type]
        archive=None,  # type: ignore[arg-type]
        reactor=reactor,
        now=now,
        log=log,
        directory=str(directory),
        retention_days=retention_days,
        settings=SftpServer.Settings(host="127.0.0.1", port=0, **settings),
    )
    return SftpServer(world)


async def test_seventy_thousand_users_cost_little_to_serve(tmp_path: Path) -> None:
    template = endpoint()
    endpoints = {}
    for number in range(70_000):
        options = template.options.model_copy(update={"user": f"ent-{number}"})
        endpoints[f"e-{number}"] = Endpoint(f"e-{number}", "ENT", "sftp_server", options)
    adapter = server(tmp_path, LogCapture())
    await adapter.serve(endpoints)
    begun = time.perf_counter()
    await adapter.serve(dict(endpoints))
    took = time.perf_counter() - begun
    await adapter.stop()
    assert took < 0.5


async def test_of_two_endpoints_with_one_user_the_first_is_served(tmp_path: Path) -> None:
    logged = LogCapture()
    adapter = server(tmp_path, logged)
    one, two = Endpoint("one", "A", "sftp_server", endpoint().options), endpoint()
    await adapter.serve({"one": one, "two": two})
    assert adapter._door.users == {b"ent-1": one}
    assert [entry["event"] for entry in logged.entries if entry["log_level"] == "error"] == ["sftp.user_claimed_twice"]
    await adapter.stop()


async def test_a_port_in_use_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    first = server(tmp_path, LogCapture())
    await first.serve({"one": endpoint()})
    second = server(tmp_path, LogCapture())
    second._settings = SftpServer.Settings(host="127.0.0.1", port=first.port)
    with pytest.raises(ConfigurationError, match=r"can't listen on 127.0.0.1:\d+: Address already in use"):
        await second.serve({"one": endpoint()})
    await second.stop()
    await first.stop()


async def test_rejections_go_to_fail_box_and_the_rest_to_in_box(tmp_path: Path) -> None:
    adapter = server(tmp_path, LogCapture())
    for disposition in ("accepted", "rejected", "receipt", "message"):
        await adapter.send(endpoint(), Parcel(f"{disposition}.xml", b"x", {"disposition": disposition}))
    root = tmp_path / "users" / "ent-1"
    assert names(root / "FailBox") == ["rejected.xml"]
    assert names(root / "InBox") == ["accepted.xml", "message.xml", "receipt.xml"]
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    await adapter.stop()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_old_copies_and_forgotten_uploads_are_pruned_and_nothing_in_the_other_boxes(tmp_path: Path) -> None:
    for box in BOXES:
        (tmp_path / box).mkdir()
        for name, days in (("new.tmp", 1), ("old.tmp", 30)):
            (tmp_path / box / name).touch()
            os.utime(tmp_path / box / name, (at := time.time() - days * 86400, at))
    prune(tmp_path, 7)
    kept = {box: names(tmp_path / box) for box in BOXES}
    assert kept["SentBox"] == kept["OutBox"] == ["new.tmp"]
    assert kept["InBox"] == kept["FailBox"] == ["new.tmp", "old.tmp"]
    prune(tmp_path / "nobody", 7)


# -- what lies in InBox and FailBox ---------------------------------------------------------------------------------

DAY_SECONDS = 86_400


async def deliver(adapter: SftpServer, *names: str, **options: Any) -> Path:
    """Lay files into InBox, and one into FailBox; return where the boxes are."""
    for name in names:
        await adapter.send(endpoint(**options), Parcel(name, b"receipt"))
    await adapter.send(endpoint(**options), Parcel("refused.xml", b"why", {"disposition": "rejected"}))
    root: Path = adapter._root(endpoint(**options))
    return root


async def test_what_was_delivered_goes_when_it_is_old_and_nothing_that_the_switch_did_not_lay_there(
    tmp_path: Path,
) -> None:
    clock, logged = Wall(), LogCapture()
    adapter = server(tmp_path, logged, clock)
    root = await deliver(adapter, "a.xml", "回执.xml", "a.xml", "fetched.xml", "replaced.xml", "linked.xml")
    (root / "InBox" / "fetched.xml").unlink()
    (root / "InBox" / "notice.txt").write_text("by hand")
    (root / "InBox" / "replaced.xml").write_text("longer than it was")
    (root / "InBox" / "linked.xml").rename(root / "InBox" / "kept by its user.xml")
    (root / "InBox" / "linked.xml").symlink_to("kept by its user.xml")
    (root / "OutBox").mkdir()
    (root / "OutBox" / "upload.xml.tmp").write_text("not yet taken")
    clock.move(90 * DAY_SECONDS)
    await deliver(adapter, "later.xml")
    adapter._delivered.forget()
    assert "a.xml" in names(root / "InBox"), "ninety days are not over yet"
    clock.move(DAY_SECONDS)
    adapter._delivered.forget()
    assert names(root / "InBox") == [
        "kept by its user.xml",
        "later.xml",
        "linked.xml",
        "notice.txt",
        "replaced.xml",
    ]
    assert len(names(root / "FailBox")) == 1
    assert names(root / "OutBox") == ["upload.xml.tmp"]
    (told,) = [line for line in logged.entries if line["event"] == "sftp.pruned"]
    assert (told["files"], told["bytes"], told["days"]) == (4, 24, 90)
    adapter._delivered.forget()
    assert len(names(tmp_path / "delivered")) == 1, "one page is left: that of the later day"


async def test_what_was_delivered_is_known_after_a_restart_and_a_restore_and_wherever_the_boxes_lie(
    tmp_path: Path,
) -> None:
    clock, elsewhere = Wall(), tmp_path / "elsewhere"
    root = await deliver(server(tmp_path, LogCapture(), clock), "a.xml", directory=elsewhere)
    assert root == elsewhere
    with (tmp_path / "delivered" / names(tmp_path / "delivered")[0]).open("a") as page:
        page.write('["/half a line]')
    shutil.copytree(root, tmp_path / "backup")
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "backup", root)
    clock.move(91 * DAY_SECONDS)
    again = server(tmp_path, LogCapture(), clock)
    again._prune([])
    assert names(root / "InBox") == names(root / "FailBox") == names(tmp_path / "delivered") == []


@pytest.mark.parametrize(("inbox", "store", "goes_after"), [(30, 90, 90), (120, 90, 120), (90, 365, 365)])
async def test_nothing_goes_earlier_than_the_store_would_forget_it(
    tmp_path: Path, inbox: int, store: int, goes_after: int
) -> None:
    clock = Wall()
    adapter = server(tmp_path, LogCapture(), clock, store, inbox_days=inbox)
    root = await deliver(adapter, "a.xml")
    clock.move(goes_after * DAY_SECONDS)
    adapter._prune([])
    assert names(root / "InBox") == ["a.xml"]
    clock.move(DAY_SECONDS)
    adapter._prune([])
    assert names(root / "InBox") == []


async def test_with_no_days_everything_stays_and_nothing_is_noted(tmp_path: Path) -> None:
    clock = Wall()
    adapter = server(tmp_path, LogCapture(), clock, inbox_days=0)
    root = await deliver(adapter, "a.xml")
    clock.move(3650 * DAY_SECONDS)
    adapter._prune([])
    assert names(root / "InBox") == ["a.xml"]
    assert not (tmp_path / "delivered").exists()


async def test_a_book_that_cannot_be_written_stops_no_delivery_and_a_file_that_cannot_be_removed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, logged = Wall(), LogCapture()
    adapter = server(tmp_path, logged, clock)
    (tmp_path / "delivered").write_text("in the way")
    root = await deliver(adapter, "unknown.xml")
    assert {line["event"] for line in logged.entries} == {"sftp.note_missed"}
    (tmp_path / "delivered").unlink()
    await deliver(adapter, "a.xml", "b.xml")
    clock.move(91 * DAY_SECONDS)
    removes = Path.unlink

    def stuck(path: Path, missing_ok: bool = False) -> None:
        if path.name == "a.xml":
            raise PermissionError(13, "Permission denied")
        removes(path, missing_ok)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", stuck)
        adapter._prune([])
    assert names(root / "InBox") == ["a.xml", "unknown.xml"]
    assert [line["event"] for line in logged.entries][-2:] == ["sftp.pruned", "sftp.prune_failed"]
    adapter._prune([])
    assert names(root / "InBox") == ["unknown.xml"]
