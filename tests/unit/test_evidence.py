"""Evidence: what is exported of a message stands on another machine, whatever became of the message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from exchange.errors import NotFound, Refused
from exchange.evidence import form
from exchange.evidence.signatures import left_is
from exchange.signing.profiles import PROFILES
from tests import evidence, pki, sealing
from tests.daemon import ROUTES, Clock, House, answer, inventory, order, running, switchd_yaml
from tests.envelopes import dxp, node
from tests.evidence import (
    CERTIFICATE,
    SIGNING,
    checked,
    edited,
    entries,
    exported,
    failures,
    forged,
    kept,
    outcomes,
    refitted,
    replaced,
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder on another machine: no store, no switchd.yaml, no routes."""
    kept()
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- what stands -------------------------------------------------------------------------------------------------


def test_what_was_signed_and_answered_stands_where_there_is_no_store(elsewhere: Path) -> None:
    checks = checked(kept().file, elsewhere)
    found = outcomes(checks)
    assert found.pop("timestamp") == {"not present"}
    assert list(found) == [
        "entries", "manifest-signature", "signature", "sent", "signing-log", "chain", "facts", "journal", "receipts",
    ]  # fmt: skip
    assert set.union(*found.values()) == {"passed"}
    assert [one.subject for one in checks if one.name == "receipts"] == [
        name for name in entries(kept().file) if name.startswith("receipts/") and name.endswith("/original")
    ]
    assert [path.name for path in elsewhere.iterdir()] == ["evidence.zip"], "nothing is written"


def test_while_nothing_changes_the_same_message_gives_the_same_bytes(elsewhere: Path) -> None:
    assert evidence.export(kept().home, kept().id) == evidence.export(kept().home, kept().id)


def test_what_came_what_went_and_who_signed_are_in_it_as_they_were(elsewhere: Path) -> None:
    all = entries(kept().file)
    assert all["original"] == inventory(1)
    assert left_is(all["original"], all["sent/0"])
    assert all[CERTIFICATE] == pki.der("p256")
    assert list(all) == [*sorted(set(all) - {form.MANIFEST, form.STATEMENT}), form.MANIFEST, form.STATEMENT]
    text = all[form.README].decode()
    assert "switchctl evidence verify" in text
    assert "证据包" in text


def test_a_manifest_that_nobody_signed_says_so(elsewhere: Path) -> None:
    checks = checked(evidence.export(kept().home, kept().id), elsewhere)
    assert outcomes(checks)["manifest-signature"] == {"not present"}
    assert failures(checks) == []


@pytest.mark.parametrize(
    ("names", "failing"),
    [
        (("ca",), []),
        (("p256", "rsa"), []),
        (("p256",), [("manifest-signature", form.STATEMENT)]),
        (("foreign", "sm2-ca"), [("manifest-signature", form.STATEMENT), ("signature", "sent/0")]),
    ],
    ids=["their authority", "both themselves", "one of them", "others"],
)
def test_whom_the_reader_trusts_decides(names: tuple[str, ...], failing: list[Any], elsewhere: Path) -> None:
    assert failures(checked(kept().file, elsewhere, trust=[pki.der(name) for name in names])) == failing


async def test_sm2_signatures_stand_and_an_sm2_authority_vouches_for_them(tmp_path: Path) -> None:
    routes = ROUTES.replace("signing_key: p256", "signing_key: sm2").replace("sign: ecdsa-sha256", "sign: ceb-sm2")
    yaml = switchd_yaml(more="evidence: {key: sm2, profile: chinaport-2022-sm2}\n")
    async with running(tmp_path, routes, yaml, Clock(sealing.now())) as house:
        id = await house.give("ent1-box", inventory(1))
        await house.settle()
        file = await exported(house, tmp_path, id)
    assert failures(checked(file, tmp_path, trust=[pki.der("sm2-ca")])) == []
    assert failures(checked(file, tmp_path, trust=[pki.der("ca")])) == [
        ("manifest-signature", form.STATEMENT), ("signature", "sent/0"),
    ]  # fmt: skip


# -- the chain ---------------------------------------------------------------------------------------------------


def test_a_link_that_the_log_was_told_of_later_is_one_that_the_chain_leads_to(elsewhere: Path) -> None:
    (witnessed,) = kept().events
    unsigned = evidence.export(kept().home, kept().id)
    for noted, outcome in ((witnessed["link"], "passed"), (witnessed["link"].upper(), "passed"), (64 * "0", "failed")):
        assert outcomes(checked(unsigned, elsewhere, head=noted))["head"] == {outcome}
    altered = forged(unsigned, edited(form.LOG, lambda log: log["proofs"][0]["contents"].__setitem__(0, 64 * "a")))
    assert ("head", "") in failures(checked(altered, elsewhere, head=witnessed["link"]))


async def test_the_log_is_told_of_every_checkpoint_and_of_the_head_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange.chores.CHECKPOINT", 2)
    monkeypatch.setattr("exchange.signinglog.CHECKPOINT", 2)
    async with running(tmp_path, clock=Clock(sealing.now())) as house:
        for numbers, told in (((1,), [1]), ((2, 3, 4, 5), [2, 4, 5]), ((), [])):
            before = len(house.logged("signing.checkpoint"))
            await house.together(*(inventory(n) for n in numbers))
            await house.settle()
            await house.daemon.chores.witness()
            assert [line["number"] for line in house.logged("signing.checkpoint")[before:]] == told
        rows = {row.number: row.link.hex() for row in await house.daemon.store.operations(after=0)}
        assert {line["number"]: line["link"] for line in house.logged("signing.checkpoint")}.items() <= rows.items()


# -- other lives -------------------------------------------------------------------------------------------------


async def told(home: Path, house: House, *bodies: bytes, endpoint: str = "ent1-box") -> Mapping[str, set[str]]:
    """Return what a verification says of the last of these messages, which nothing may fail of."""
    for body in bodies:
        id = await house.give(endpoint, body)
        await house.settle()
    checks = checked(evidence.export(home, id), home)
    assert failures(checks) == []
    return outcomes(checks)


async def test_what_never_was_signed_or_answered_is_told_as_not_present(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        found = await told(tmp_path, house, order(1))
    for name in ("signature", "sent", "signing-log", "chain", "receipts"):
        assert found[name] == {"not present"}, name
    assert found["journal"] == {"passed"}


async def test_a_rejected_message_and_a_duplicate_have_their_evidence(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        await told(tmp_path, house, b"<nonsense/>")
        await told(tmp_path, house, order(1), order(1))


async def test_a_signature_that_was_refused_is_found_as_the_journal_has_it(tmp_path: Path) -> None:
    (tmp_path / "ent1.pem").write_bytes((pki.shared() / "p256.crt").read_bytes())
    certified = "signing_key: p256\n    certificates: [ent1.pem]\n    agreement: {verify: require}"
    routes = ROUTES.replace("signing_key: p256", certified)
    good = await asyncio.to_thread(_sealed_apart)
    async with running(tmp_path, routes, clock=Clock(sealing.now())) as house:
        found = await told(tmp_path, house, good)
        assert (found["signature"], found["sent"], found["signing-log"]) == (
            {"passed"},
            {"not present"},
            {"not present"},
        )
        bad = good.replace(b"TEST-ORDER-0002", b"TEST-ORDER-0003")
        assert (await told(tmp_path, house, bad))["signature"] == {"passed"}
        (id,) = [head["id"] for head in await house.daemon.store.messages(state="REJECTED")]
    file = evidence.export(tmp_path, id)
    (one,) = [one for one in checked(file, tmp_path) if one.name == "signature"]
    assert "as the journal says, too: SWX-1032" in one.en
    excused = forged(file, replaced("journal.jsonl", b"SWX-1032", b"SWX-1040"))
    assert ("signature", "original") in failures(checked(excused, tmp_path))


def _sealed_apart(document: bytes = b"", profile: str = "ecdsa-sha256") -> bytes:
    """Sign in a thread, where there is no event loop yet."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return sealing.seal(document or inventory(1), profile)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def test_what_a_step_made_of_a_message_is_told_as_transformed_and_not_as_changed(tmp_path: Path) -> None:
    wrap = 'steps:\n  - {name: node, kind: wrap, version: "1", into: dxp, receiver: DXPEDCCEB0000002}\n'
    routes = ROUTES.replace("routes:\n", wrap + "routes:\n").replace(
        "to: [customs-queue]", "to: [customs-queue], steps: [node]"
    )
    async with running(tmp_path, routes, clock=Clock(sealing.now())) as house:
        assert (await told(tmp_path, house, order(1)))["sent"] == {"passed"}, "only its envelope is another"
        found = await told(tmp_path, house, inventory(1))
    assert (found["signature"], found["sent"], found["signing-log"]) == ({"passed"}, {"passed"}, {"passed"})


@pytest.mark.parametrize("around", [lambda envelope: envelope, node], ids=["DxpMsg", "DxpMsgSv"])
async def test_a_signature_of_the_envelope_that_a_message_came_in_stands(
    around: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    certificate = str(pki.shared() / "p256.crt")
    agreement = f"agreement: {{verify: require}}\n    certificates: ['{certificate}']\n    signing_key: p256"
    routes = ROUTES.replace("signing_key: p256", agreement).replace(
        "role: customs", "role: customs\n    ids: [DXPEDCCEB0000002]"
    )
    envelope = around(await asyncio.to_thread(_sealed_apart, dxp(order(1))))
    async with running(tmp_path, routes, clock=Clock(sealing.now())) as house:
        assert (await told(tmp_path, house, envelope))["signature"] == {"passed"}
        refused = await house.give("ent1-box", around(dxp(order(2))))
        await house.settle()
        assert await house.state(refused) == "REJECTED"


@pytest.mark.parametrize("profile", [one.name for one in PROFILES.all if not one.enveloped])
async def test_a_signature_around_the_original_or_beside_it_stands_where_its_certificate_is_known(
    profile: str, tmp_path: Path
) -> None:
    key = {"sm2": "sm2", "rsa": "rsa", "ecdsa": "p256"}[PROFILES.named(profile).algorithm.partition("-")[0]]
    signed = f"match: {{type: CEB311Message}}, sign: {profile}"
    routes = ROUTES.replace("match: {type: CEB311Message}", signed).replace("signing_key: p256", f"signing_key: {key}")
    async with running(tmp_path, routes, clock=Clock(sealing.now())) as house:
        id = await house.give("ent1-box", order(1))
        await house.settle()
    file = evidence.export(tmp_path, id)
    found = outcomes(checked(file, tmp_path, trust=[pki.der(key)]))
    assert (found["signature"], found["sent"], found["signing-log"]) == ({"passed"}, {"passed"}, {"passed"})
    assert failures(checked(file, tmp_path)) == [], "a raw signature doesn't bring its certificate along"
    changed = forged(file, replaced("original", b"ORDER-1<", b"ORDER-9<"), refitted)
    assert ("sent", "sent/0") in failures(checked(changed, tmp_path, trust=[pki.der(key)]))


async def test_of_a_receipt_for_two_senders_each_gets_his_part_and_no_key_of_the_other(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        first, second = await house.give("ent1-box", order(1)), await house.give("ent2-box", order(2, 2))
        await house.settle()
        await house.give("customs-queue", answer(1, 2))
        await house.settle()
    for id, mine, others in (
        (first, b"ORDER-1<", b"ORDER-2<"),
        (second, b"ORDER-2<", b"ORDER-1<"),
    ):
        file = evidence.export(tmp_path, id)
        all = entries(file)
        assert [name for name, body in all.items() if others in body] == [
            name for name in all if name.startswith("receipts/") and name.endswith("original")
        ], "as it came, it is whole"
        (part,) = [name for name in all if name.startswith("receipts/") and "/sent/" in name]
        assert mine in all[part]
        checks = checked(file, tmp_path)
        assert failures(checks) == []
        assert [one.subject for one in checks if one.name == "receipts"] == [
            part.replace("sent", "original")[:-2],
            part,
        ]


async def test_a_large_message_goes_into_the_file_and_comes_out_again(tmp_path: Path) -> None:
    body = order(1).rstrip() + b"<!--" + 5_000_000 * b"." + b"-->"
    async with running(tmp_path) as house:
        await told(tmp_path, house, body)
        (head,) = await house.daemon.store.messages()
    assert entries(evidence.export(tmp_path, head["id"]))["original"] == body


def test_there_is_no_evidence_of_a_message_that_isnt_there(elsewhere: Path) -> None:
    with pytest.raises(NotFound):
        evidence.export(kept().home, "20200101-1")


async def test_a_switch_signs_manifests_only_and_only_where_the_site_names_a_key(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        assert await house.ask("evidence.sign", message="20261122-1", digest=64 * "0") == ""
    async with running(tmp_path, switchd=SIGNING) as house:
        signed = await house.ask("evidence.sign", message="20261122-1", digest=64 * "0")
        assert signed.startswith('<Evidence xmlns="urn:switch-evidence:1" message="20261122-1" manifest="0000')
        (row,) = await house.daemon.store.operations(after=0)
        assert (row.operation.job, row.operation.key) == ("evidence 20261122-1", "rsa")
        for message, digest in (('1"/><x', 64 * "0"), ("20261122-1", "0")):
            with pytest.raises(Refused):
                await house.ask("evidence.sign", message=message, digest=digest)
