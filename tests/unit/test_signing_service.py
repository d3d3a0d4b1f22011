"""What is to be signed waits for the token, in order and in turns; the others go on; the log tells all of it."""

from __future__ import annotations

import asyncio
import sqlite3
from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from lxml import etree

from exchange.errors import Busy, ExchangeError, TokenError
from exchange.instants import day_number, read_id
from exchange.model import Parcel
from exchange.ports import Job, microseconds
from exchange.signing import service
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import verify
from exchange.signinglog import check
from tests import pki
from tests.daemon import NOON, ROUTES, Clock, House, inventory, order, running, switchd_yaml
from tests.switchctl import result_of

LOCKED = TokenError("the device is locked", "密码设备已锁定")
TWO_KEYS = ROUTES.replace("ids: [DXPENT0000000002]", "ids: [DXPENT0000000002]\n    signing_key: foreign")
CORRECTIONS = ROUTES.replace(
    "  - {name: orders, match: {type: CEB311Message}, to: [customs-queue]}",
    "  - {name: new, match: {type: CEB311Message, where: {appType: '1'}}, to: [customs-queue], sign: ecdsa-sha256}\n"
    "  - {name: changed, match: {type: CEB311Message}, to: [customs-queue]}",
)
DS = "{http://www.w3.org/2000/09/xmldsig#}"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PAUSE_SECONDS", 0.05)


class Gatekeeper:
    """Stands before the token: which keys are locked, what waits to be signed until it is let through."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch, *, shut: bool = False) -> None:
        self.locked: set[str] = set()
        self.asked: list[Job] = []
        self.open = asyncio.Event()
        if not shut:
            self.open.set()
        token: Any = house.switch.signing.token
        sign = token.sign

        async def watched(jobs: Sequence[Job]) -> Sequence[Any]:
            self.asked += jobs
            await self.open.wait()
            answers = await sign(jobs)
            return [LOCKED if job.key in self.locked else one for job, one in zip(jobs, answers, strict=True)]

        monkeypatch.setattr(token, "sign", watched)


async def test_a_signed_message_has_its_row_which_says_what_was_signed_and_with_what(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        id = await house.give("ent1-box", inventory(1))
        await house.settle()
        (sent,) = house.sent("customs-queue")
        signature = etree.fromstring(sent.read()).find(f"{DS}Signature")
        assert signature is not None
        (row,) = await house.daemon.store.operations(message=read_id(id))
        value = verify(
            sent.read(), profiles=[PROFILES.named("ecdsa-sha256")], certificates=[pki.der("p256")], at=NOON
        )  # fmt: skip
        one = row.operation
        assert (one.job, one.party, one.key, one.serial) == (id, "ENT1", "p256", value.signer.serial)
        assert (one.code, one.attempts, one.device) == ("", 1, "")
        text = signature.findtext(f"{DS}SignatureValue") or ""
        assert one.signature == sha256(b64decode(text)).digest()
        (line,) = await house.ask("sign.log", message=id)
        assert (line["number"], line["job"], line["link"]) == (1, id, row.link.hex())


async def test_who_signs_with_another_key_goes_on_and_who_needs_none_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, routes=TWO_KEYS) as house:
        gate = Gatekeeper(house, monkeypatch)
        gate.locked.add("p256")
        stuck = [await house.give("ent1-box", inventory(n)) for n in range(3)]
        other, plain = await house.give("ent2-box", inventory(9, 2)), await house.give("ent1-box", order(1))
        await house.until(lambda: len(house.sent("customs-queue")) == 2)
        assert await house.states(*stuck, other, plain) == ["RECEIVED"] * 3 + ["ACCEPTED"] * 2
        assert await house.ask("sign.queue") == [{"party": "ENT1", "depth": 3}]
        status = await house.ask("sign.status")
        assert (status["trouble"], status["production"]) == ({"p256": str(LOCKED)}, False)
        await asyncio.sleep(0.2)
        assert len([job for job in gate.asked if job.key == "p256"]) < 12, "one at a time, now and then"
        gate.locked.clear()
        await house.settle()
        assert await house.states(*stuck) == ["ACCEPTED"] * 3
        assert (await house.ask("sign.status"))["trouble"] == {}
        failed = await house.ask("sign.log", failed=True)
        assert {row["code"] for row in failed} == {"SWX-5000"}
        jobs = [row["job"] for row in failed]
        assert len(jobs) == len(set(jobs)), "once for each message, however often it was tried"
        assert stuck[0] in jobs
        assert check(await house.daemon.store.operations(after=0, limit=99)).broken == 0


async def test_the_messages_of_a_party_leave_in_the_order_in_which_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        token: Any = house.switch.signing.token
        monkeypatch.setattr(token, "batch", 1)
        sign, number = token.sign, 0

        async def later_ones_first(jobs: Sequence[Job]) -> Any:
            nonlocal number
            number += 1
            await asyncio.sleep(0.1 - 0.008 * number)
            return await sign(jobs)

        monkeypatch.setattr(token, "sign", later_ones_first)
        ids = [await house.give("ent1-box", inventory(n), f"{n}.xml") for n in range(10)]
        await house.settle()
        assert house.names("customs-queue") == [f"{n}.xml" for n in range(10)]
        assert await house.states(*ids) == ["ACCEPTED"] * 10


async def test_a_twin_waits_until_its_elder_is_signed_and_is_then_a_duplicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        gate = Gatekeeper(house, monkeypatch, shut=True)
        elder = await house.give("ent1-box", inventory(1))
        await house.until(lambda: gate.asked)
        twin = await house.give("ent1-box", inventory(1))
        await asyncio.sleep(0.05)
        assert await house.states(elder, twin) == ["RECEIVED"] * 2
        gate.open.set()
        await house.settle()
        assert await house.states(elder, twin) == ["ACCEPTED", "DUPLICATE"]
        assert len(gate.asked) == len(house.sent("customs-queue")) == 1


async def test_a_party_with_too_much_to_be_signed_is_asked_to_wait_and_only_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, routes=TWO_KEYS, switchd=switchd_yaml(limits="unsigned: 2")) as house:
        Gatekeeper(house, monkeypatch).locked.add("p256")
        for n in range(2):
            await house.give("ent1-box", inventory(n))
        await house.until(lambda: house.switch._aside.waiting["ENT1"] == 2)
        with pytest.raises(Busy, match=r"SWX-6040 .* signed") as busy:
            await house.give("ent1-box", inventory(3))
        assert busy.value.zh
        await house.give("ent2-box", inventory(4, 2))
        await house.until(lambda: house.sent("customs-queue"))


async def test_however_much_waits_to_be_signed_who_has_nothing_there_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, switchd=switchd_yaml(limits="backlog: 2")) as house:
        gate = Gatekeeper(house, monkeypatch, shut=True)
        stuck = [await house.give("ent1-box", inventory(n)) for n in range(2)]
        await house.until(lambda: len(house.switch._aside) == 2)
        with pytest.raises(Busy, match=r"SWX-6040 .* signed"):
            await house.give("ent1-box", order(1))
        plain = await house.give("ent2-box", order(1, 2))
        await house.until(lambda: house.sent("customs-queue"))
        assert await house.states(*stuck, plain) == ["RECEIVED", "RECEIVED", "ACCEPTED"]
        gate.open.set()
        await house.settle()
        assert (len(house.switch._aside), house.switch._aside.payload_bytes, house.switch.undecided) == (0, 0, 0)


async def test_a_correction_that_needs_no_signature_does_not_overtake_what_is_being_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, CORRECTIONS) as house:
        gate = Gatekeeper(house, monkeypatch, shut=True)
        first = await house.give("ent1-box", order(1), "first.xml")
        await house.until(lambda: gate.asked)
        changes = [order(1, mark=mark).replace(b"appType>1<", b"appType>2<") for mark in ("001", "002")]
        later = [await house.give("ent1-box", body, f"change-{n}.xml") for n, body in enumerate(changes)]
        other = await house.give("ent1-box", order(2).replace(b"appType>1<", b"appType>2<"), "other.xml")
        await house.until(lambda: house.sent("customs-queue"))
        assert await house.states(first, *later, other) == ["RECEIVED"] * 3 + ["ACCEPTED"]
        gate.open.set()
        await house.settle()
        assert house.names("customs-queue") == ["other.xml", "first.xml", "change-0.xml", "change-1.xml"]


async def test_what_an_operator_holds_and_releases_while_it_is_being_signed_leaves_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        gate = Gatekeeper(house, monkeypatch, shut=True)
        id = await house.give("ent1-box", inventory(1))
        await house.until(lambda: gate.asked)
        for verb in ("hold", "release"):
            await house.ask("message.change", ids=[id], verb=verb, reason="a look at it")
        gate.open.set()
        await house.settle()
        assert (await house.state(id), house.switch.undecided) == ("ACCEPTED", 0)
        assert len(gate.asked) == len(house.sent("customs-queue")) == 1


async def test_what_waits_to_be_signed_when_the_switch_dies_is_signed_in_its_next_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        gate = Gatekeeper(house, monkeypatch, shut=True)
        ids = [await house.give("ent1-box", inventory(n)) for n in range(3)]
        await house.until(lambda: gate.asked)
        house.kill()
    async with running(tmp_path) as house:
        await house.until(lambda: len(house.sent("customs-queue")) == 3)
        assert await house.states(*ids) == ["ACCEPTED"] * 3
        assert {row["job"] for row in await house.ask("sign.log")} == set(ids)


async def test_a_token_that_breaks_its_contract_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as house:
        token: Any = house.switch.signing.token
        sign, broken = token.sign, [RuntimeError("no loop"), OSError("gone")]

        async def breaking(jobs: Sequence[Job]) -> Any:
            if broken:
                raise broken.pop()
            return await sign(jobs)

        monkeypatch.setattr(token, "sign", breaking)
        id = await house.give("ent1-box", inventory(1))
        await house.settle()
        assert await house.state(id) == "ACCEPTED"
        assert len(house.logged("token.broke")) == 2


@pytest.mark.parametrize(("every", "caught"), [(1, True), (16, True), (16, False)])
async def test_a_signature_that_does_not_stand_never_leaves_and_sm2_is_looked_at_as_often_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, caught: bool
) -> None:
    """Of every sixteen the first is looked at: a token that errs at another is only caught where all are."""
    routes = ROUTES.replace("signing_key: p256", "signing_key: sm2").replace("ecdsa-sha256", "ceb-sm2")
    yaml = switchd_yaml().replace("options: {", f"options: {{check_sm2_every: {every}, ")
    async with running(tmp_path, routes, yaml) as house:
        first = await house.give("ent1-box", inventory(1))
        await house.settle()
        token: Any = house.switch.signing.token
        if caught and every > 1:
            token._signed.clear()  # so that the next is looked at
        sign = token.sign
        wrong = [True]

        async def erring(jobs: Sequence[Job]) -> Any:
            answers = await sign(jobs)
            return [evolve(one, value=bytes(64)) for one in answers] if wrong and wrong.pop() else answers

        monkeypatch.setattr(token, "sign", erring)
        second = await house.give("ent1-box", inventory(2))
        await house.settle()
        assert await house.states(first, second) == ["ACCEPTED"] * 2, "what didn't stand was signed again"
        codes = [row["code"] for row in await house.ask("sign.log", message=second)]
        failed = await house.ask("sign.log", failed=True)
        assert [row["code"] for row in failed] == (["SWX-5030"] if caught else [])
        assert codes == [""]


# -- trying it out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "key"), [("ecdsa-sha256", "p256"), ("ceb-sm2", "sm2"), ("rsa-sha256", "rsa")])
async def test_a_signature_on_trial_stands_and_has_its_row(tmp_path: Path, profile: str, key: str) -> None:
    async with running(tmp_path, clock=Clock(microseconds())) as house:  # the openssl program issues from now on
        told = await house.ask("sign.test", profile=profile, key=key)
        assert (told["stands"], told["attempts"]) == (True, 1), told
        (row,) = await house.ask("sign.log")
        assert (row["job"], row["party"], row["key"]) == ("test", "switchctl", key)


async def test_a_signature_on_trial_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as house:
        told = await house.ask("sign.test", profile="ecdsa-sha256", key="nobody")
        assert (told["stands"], told["code"]) == (False, "SWX-5010")
        assert told["zh"] != told["en"]
        Gatekeeper(house, monkeypatch).locked.add("p256")
        told = await house.ask("sign.test", profile="ecdsa-sha256", key="p256")
        assert (told["stands"], told["code"]) == (False, "SWX-5000")
        with pytest.raises(ExchangeError, match="did you mean"):
            await house.ask("sign.test", profile="ecdsa-sha265", key="p256")


async def test_the_log_is_filtered_and_paged(tmp_path: Path) -> None:
    async with running(tmp_path, routes=TWO_KEYS) as house:
        for n in range(4):
            await house.memory.give(f"ent{n % 2 + 1}-box", Parcel("a.xml", inventory(n, n % 2 + 1)))
        await house.settle()
        assert [row["number"] for row in await house.ask("sign.log", limit=2)] == [4, 3]
        assert [row["number"] for row in await house.ask("sign.log", before=3, limit=9)] == [2, 1]
        assert {row["key"] for row in await house.ask("sign.log", party="ENT2")} == {"foreign"}
        assert len(await house.ask("sign.log", key="p256")) == 2
        assert await house.ask("sign.log", device="hsm-a") == []


# -- checking the log --------------------------------------------------------------------------------------------


def verified(home: Path, status: int = 0) -> Any:
    return result_of("--config", str(home / "switchd.yaml"), "sign", "log", "verify", status=status)


async def test_the_log_is_checked_beside_a_running_switch_and_without_one(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.together(*(inventory(n) for n in range(5)))
        await house.settle()
        told = await asyncio.to_thread(verified, tmp_path)
        (newest,) = await house.ask("sign.log", limit=1)
        assert (told["rows"], told["first"], told["last"], told["broken"]) == (5, 1, 5, 0)
        assert told["head"] == newest["link"]
    assert await asyncio.to_thread(verified, tmp_path) == told


async def test_a_row_that_somebody_changed_in_the_file_is_found(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await house.together(*(inventory(n) for n in range(5)))
        await house.settle()
    day = day_number(NOON)
    with sqlite3.connect(tmp_path / "var/store/switch.db") as db:
        db.execute(f"DROP TRIGGER signing_unchanged_{day}")
        db.execute(f"UPDATE signing_{day} SET job = '20261122-1' WHERE number = 4")
    db.close()
    told = await asyncio.to_thread(verified, tmp_path, 1)
    assert (told["rows"], told["broken"]) == (3, 4)
