"""Which version of a key signs, and what two persons may do to it: tables, and properties of any run of changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import ConfigurationError, ExchangeError, NotFound, Refused, TokenError
from exchange.instants import SECOND
from exchange.lifecycle import replay
from exchange.register import HELD, KeyVersion, Proposal, learn
from exchange.signing import certificates
from exchange.signing._token_keys import Keys
from exchange.signing.changes import KINDS, canonical, decided, effect, in_force, proposed
from exchange.signing.keyring import KEY, Keyring
from tests import pki
from tests.sealing import now

DAY = 86_400 * SECOND


def version(number: int, state: str = "active", start: int = 0, end: int = 100, name: str = "shop") -> KeyVersion:
    return KeyVersion(name, number, "p256", b"", {"hsm-a": f"sdf:{number}"}, start, end, state)


# -- choosing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "at", "signs"),
    [
        ([version(1)], 50, 1),
        ([version(1, "retiring"), version(2)], 50, 2),
        ([version(1), version(2, start=60)], 50, 1),  # the successor was activated beforehand
        ([version(1), version(2, start=60)], 60, 2),  # and begins by itself
        ([version(1), version(2)], 50, 2),
        ([version(1), version(2, "pending")], 50, 1),
        ([version(1), version(2, "revoked")], 50, 1),
        ([version(1, end=40), version(2, start=30)], 50, 2),
        ([version(1), version(2, end=40)], 50, 1),
    ],
)
def test_the_active_version_whose_window_began_last_signs(versions: Sequence[KeyVersion], at: int, signs: int) -> None:
    assert Keyring.of(versions).current("shop", at).number == signs
    assert Keyring.of(reversed(versions)).current("shop", at).number == signs


@pytest.mark.parametrize(
    ("versions", "code", "says"),
    [
        ([], "SWX-5010", "no key 'shop'"),
        ([version(1, "revoked"), version(2, "revoked")], "SWX-5042", "revoked"),
        ([version(1, "revoked"), version(2, "pending")], "SWX-5041", "switchctl key activate shop/2"),
        ([version(1, "retiring")], "SWX-5041", "shop/1 is retiring"),
        ([version(1, start=60)], "SWX-5041", "shop/1 begins on 1970-01-01T08:00:00"),
        ([version(1, end=40)], "SWX-5041", "shop/1 ended on 1970-01-01T08:00:00"),
    ],
)
def test_where_none_signs_it_is_said_why_and_what_to_do(versions: Sequence[KeyVersion], code: str, says: str) -> None:
    with pytest.raises(TokenError) as why:
        Keyring.of(versions).current("shop", 50)
    assert why.value.code == code
    assert says in why.value.en
    assert why.value.zh != why.value.en


def test_a_retiring_version_is_verified_with_and_a_revoked_one_not_even_that() -> None:
    ring = Keyring.of([version(1, "revoked"), version(2, "retiring"), version(3), version(4, "pending")])
    assert [one.number for one in ring.verifying("shop")] == [3, 2]


def test_a_key_ends_with_the_last_of_its_active_versions() -> None:
    ring = Keyring.of([version(1, end=40), version(2, end=90), version(3, "pending"), version(1, "revoked", name="x")])
    assert [(one.name, one.not_after) for one in ring.lasting()] == [("shop", 90)]


def test_a_version_is_named_by_key_and_number() -> None:
    ring = Keyring.of([version(1), version(12)])
    assert ring.version("shop/12").number == 12
    for wrong in ("shop", "shop/3", "/1", "nobody/1", ""):
        with pytest.raises(NotFound):
            ring.version(wrong)


# -- asking ------------------------------------------------------------------------------------------------------


def row(key: str = "p256", **more: Any) -> dict[str, Any]:
    pem = load_der_x509_certificate(pki.der(key)).public_bytes(Encoding.PEM).decode()
    return {"name": "shop", "certificate": pem, "at": {"hsm-a": "sdf:1"}, **more}


def asked(kind: str, subject: str = "shop", *rows: Any, actor: str = "wang", at: int = 0) -> Proposal:
    return evolve(proposed(kind, subject, list(rows), actor, "why", at or now()), number=7)


@pytest.mark.parametrize(("key", "kind"), [("rsa", "rsa"), ("p256", "p256"), ("sm2", "sm2")])
def test_a_new_version_has_the_window_of_its_certificate_and_waits(key: str, kind: str) -> None:
    (made,) = effect(asked("key-create", "shop", row(key)), Keyring.of([version(4)]), now())
    certificate = certificates.read(pki.der(key))
    assert made == KeyVersion(
        "shop", 5, kind, pki.der(key), {"hsm-a": "sdf:1"}, certificate.not_before, certificate.not_after, "pending"
    )


def test_a_version_that_is_active_at_once_retires_its_predecessors() -> None:
    ring = Keyring.of([version(1, "retiring", end=now() + DAY), version(2, end=now() + DAY)])
    changed = effect(asked("key-create", "shop", row(state="active")), ring, now())
    assert {one.number: one.state for one in changed} == {3: "active", 2: "retiring"}
    assert ring.changed(changed).current("shop", now()).number == 3


def test_a_successor_that_begins_later_leaves_the_present_version_active() -> None:
    ring = Keyring.of([version(1, end=now() + DAY), version(2, "pending", now() + DAY // 2, now() + DAY)])
    (changed,) = effect(asked("key-activate", "shop/2"), ring, now())
    assert changed.state == "active"
    assert ring.changed([changed]).current("shop", now()).number == 1
    assert ring.changed([changed]).current("shop", now() + DAY // 2 + DAY // 4).number == 2


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "there are no rows"),
        ([row(), row()], "row 2: 'shop' stands in it twice"),
        ([row(name="a/b")], "row 1: name: "),
        ([row(at={})], "row 1: at: "),
        ([row(colour="red")], "row 1: colour: "),
        ([row(certificate="-----BEGIN nonsense")], "row 1: "),
        ([row("p384")], "row 1: the key is neither RSA, P-256 nor SM2"),
        ([row(not_before="2001-01-01T00:00:00Z")], "its window must lie within that of its certificate"),
        ([row(not_before="2001-01-01T00:00:00")], "row 1: not_before: "),
    ],
)
def test_rows_that_can_not_be_used_are_all_told(rows: list[Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as why:
        effect(asked("key-import", "shop", *rows), Keyring(), now())
    assert any(says in problem for problem in why.value.problems)


def test_what_ended_is_not_activated() -> None:
    ring = Keyring.of([version(1, "pending")])
    with pytest.raises(Refused, match="shop/1 ended on"):
        effect(asked("key-activate", "shop/1"), ring, now())


@pytest.mark.parametrize("state", list(KEY)[1:])
@pytest.mark.parametrize("event", ["activate", "retire", "revoke"])
def test_a_version_moves_as_the_table_says_and_not_otherwise(state: str, event: str) -> None:
    ring = Keyring.of([version(1, state, end=now() + DAY)])
    if event in KEY[state]:
        (moved,) = effect(asked(f"key-{event}", "shop/1"), ring, now())
        assert moved.state == KEY[state][event]
    else:
        with pytest.raises(Refused, match=f"shop/1 is {state}"):
            effect(asked(f"key-{event}", "shop/1"), ring, now())


def test_nothing_else_can_be_asked_for() -> None:
    with pytest.raises(NotFound):
        proposed("key-export", "shop/1", None, "wang", "why", now())


# -- deciding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "who", "verdict", "dual", "code"),
    [
        ("submitted", "li", "approved", True, ""),
        ("submitted", "li", "rejected", True, ""),
        ("submitted", "wang", "rejected", True, ""),  # withdrawn
        ("submitted", "wang", "approved", True, "SWX-7041"),
        ("submitted", "wang", "approved", False, ""),
        ("approved", "li", "approved", True, "SWX-7042"),
        ("rejected", "li", "approved", True, "SWX-7042"),
        ("approved", "li", "rejected", False, "SWX-7042"),
    ],
)
def test_a_second_person_decides_once(state: str, who: str, verdict: str, dual: bool, code: str) -> None:
    proposal = evolve(asked("key-retire", "shop/1"), state=state, decided_by="zhao" * (state != "submitted"))
    if code:
        with pytest.raises(Refused) as why:
            decided(proposal, verdict, who, "checked", 9, dual=dual)
        assert (why.value.code, why.value.zh != why.value.en) == (code, True)
    else:
        done = decided(proposal, verdict, who, "checked", 9, dual=dual)
        assert (done.state, done.decided_by, done.remark, done.decided_at) == (verdict, who, "checked", 9)
        assert done.alone is (who == "wang" and verdict == "approved")


def test_the_section_in_force_is_the_last_that_two_persons_agreed_on() -> None:
    def section(number: int, state: str, by: str) -> Proposal:
        asked = proposed("profiles", "profiles", {"n": number}, "wang", "why", 0)
        return evolve(asked, number=number, state=state, decided_by=by)

    newest_first = [
        section(5, "submitted", ""), section(4, "rejected", "li"), section(3, "approved", "wang"),
        section(2, "approved", "li"), section(1, "approved", "li"),
    ]  # fmt: skip
    found = in_force("profiles", newest_first)
    assert found is not None
    assert (found.number, found.what) == (2, canonical({"n": 2}))
    assert in_force("software-keys", newest_first) is None


# -- on devices --------------------------------------------------------------------------------------------------


def test_a_device_that_is_gone_from_the_settings_is_no_place_of_a_key() -> None:
    keys = Keys({}, ["hsm-a", "hsm-b"])
    keys.learn([evolve(version(1), places={"hsm-a": "sdf:1", "sold": "sdf:1"}), version(2, "pending")])
    assert keys.at("shop/1") == {"hsm-a": "sdf:1"}
    assert keys.at("shop/2") == keys.at("nobody") == {}
    assert (list(keys.on("hsm-a")), list(keys.on("hsm-b"))) == (["shop/1"], [])


# -- properties --------------------------------------------------------------------------------------------------

PERSONS = st.sampled_from(["wang", "li", "zhao"])
STEPS = st.tuples(
    st.sampled_from(["submit", "approve", "reject"]),
    PERSONS,
    st.sampled_from([kind for kind in KINDS if kind.startswith("key-")]),
    st.integers(1, 4),
    st.integers(0, 3),
)
CREATED = row(), row(state="active")


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_no_sequence_of_changes_lets_a_revoked_key_sign_or_one_person_alone_change_anything(steps: Any) -> None:
    ring, at, proposals, known = Keyring(), now(), list[Proposal](), dict[str, KeyVersion]()
    lives: dict[str, list[str]] = {}
    revoked: set[str] = set()
    for verb, person, kind, number, variant in steps:
        before = {one.id: one.state for one in ring}
        try:
            if verb == "submit":
                rows = [CREATED[variant % 2]] if kind in ("key-create", "key-import") else []
                proposal = asked(kind, f"shop/{number}", *rows, actor=person, at=at)
                effect(proposal, ring, at)
                proposals.append(proposal)
            elif proposals:
                place = number % len(proposals)
                verdict = "approved" if verb == "approve" else "rejected"
                done = decided(proposals[place], verdict, person, "checked", at)
                versions = effect(done, ring, at) if verdict == "approved" else ()
                proposals[place] = done
                ring = ring.changed(versions)
                learn(known, versions)
                assert not versions or person != done.actor
        except ExchangeError:
            pass
        after = {one.id: one.state for one in ring}
        assert before == after or verb == "approve"
        for id, state in after.items():
            if state != before.get(id, ""):
                lives.setdefault(id, []).append(state)
        revoked |= {id for id, state in after.items() if state == "revoked"}
        try:
            signs = ring.current("shop", at)
        except TokenError:
            signs = None
        assert signs is None or (signs.state == "active" and signs.id not in revoked and signs.id in known)
        assert not revoked & set(known)
        assert all(ring.version(id).state in HELD for id in known)
        assert sum(one.state == "active" for one in ring) <= 1, "one version signs"
    for life in lives.values():
        events = [next(e for table in KEY.values() for e, to in table.items() if to == state) for state in life]
        events = events if events[0] == "create" else ["create", *events]
        assert replay(KEY, events) == life[-1]
