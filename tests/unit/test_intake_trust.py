"""A party whose signers must chain to an authority: each way to be wrong has a code of its own."""

from __future__ import annotations

import asyncio
import functools
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree

from exchange import catalogue
from exchange.agreement import Agreement
from exchange.errors import BadSignature, Held
from exchange.instants import SECOND
from exchange.intake import examine
from exchange.model import Arrival, Parcel, Party
from exchange.ports import Signature
from exchange.routing import RoutingTable
from exchange.signing import _api_seals, certificates, formats, revocation, trust
from exchange.signing._api_requests import Doubt
from exchange.signing.profiles import PROFILES
from exchange.signing.trust import Authority, Pool
from exchange.signing.xmldsig import assemble, prepare
from exchange.tokens.software import KeyFiles, Software
from tests import chains
from tests.daemon import inventory
from tests.sealing import edited, now, part

TYPES = catalogue.load()
DAY = 86_400 * SECOND
NAMES = {"rsa": "ceb-rsa-sha1", "p256": "ecdsa-sha256", "sm2": "ceb-sm2"}
SUBJECT = trust.subject(f"CN={chains.SIGNER},C=CN")


async def signed(world: str, key: str) -> bytes:
    """Sign an inventory with a key of a world."""
    prepared = prepare(inventory(1), PROFILES[NAMES[world]], chains.der(world, key))
    [value] = await Software(KeyFiles(folder=chains.shared() / world)).sign([prepared.job(key)])
    assert isinstance(value, Signature), value
    return assemble(inventory(1), prepared, value.value)


@functools.cache
def sealed(world: str = "p256", key: str = "leaf") -> bytes:
    return asyncio.get_event_loop().run_until_complete(signed(world, key))


def authority(world: str, *lists: str, **more: Any) -> Authority:
    known = Authority("e-port", Pool([chains.der(world, "root"), chains.der(world, "middle")]), **more)
    for name in lists:
        known = known.with_list(*revocation.from_file(chains.crl(world, name)), now())
    return known


def table(known: Authority, *pinned: bytes, **agreement: Any) -> RoutingTable:
    terms = {"verify": "require", "trust": ("e-port",), "signers": (SUBJECT,)} | agreement
    party = Party("ENT1", "enterprise", ids=("DXPENT0000000001",), certificates=pinned, agreement=Agreement(**terms))
    return RoutingTable([party], trust={"e-port": known})


def verdict(body: bytes, known: RoutingTable, at: int = 0) -> str:
    """Return the code that a message is rejected with, or the serial number of its signer."""
    examined = examine(Arrival(1 << 40, now(), "ent1-box", "ENT1", Parcel("a.xml", body)), TYPES, known, at or now())
    if examined.message is not None:
        return examined.message.signer
    assert isinstance(examined.error, BadSignature)
    assert examined.error.zh != examined.error.en
    return examined.error.code


def named_only(body: bytes) -> bytes:
    return edited(body, lambda root: part(root, "KeyInfo").remove(part(root, "X509Data")))


def wrapped(body: bytes) -> bytes:
    """Put a genuine message into another."""
    root = etree.fromstring(inventory(2))
    root.append(etree.fromstring(body))
    return etree.tostring(root)


def shown(body: bytes, der: bytes) -> bytes:
    """Put another certificate into the signature."""
    return edited(body, lambda root: setattr(part(root, "X509Certificate"), "text", b64encode(der).decode()))


Wrong = tuple[Callable[[str], bytes], str]
WRONG: dict[str, Wrong] = {
    "unsigned": (lambda world: inventory(1), "SWX-1031"),
    "wrong digest": (lambda world: sealed(world).replace(b">142<", b">502<"), "SWX-1032"),
    "wrong key": (lambda world: shown(sealed(world, "revoked"), chains.der(world, "leaf")), "SWX-1033"),
    "revoked": (lambda world: sealed(world, "revoked"), "SWX-1100"),
    "another authority's": (lambda world: sealed(chains.WORLDS[chains.WORLDS.index(world) - 1]), "SWX-1101"),
    "wrapped": (lambda world: wrapped(sealed(world)), "SWX-1103"),
    "signed twice": (lambda world: sealed(world).replace(
        b"</ds:Signature>", b"</ds:Signature>" + sealed(world)[sealed(world).index(b"<ds:Signature"):].partition(
            b"</ds:Signature>")[0] + b"</ds:Signature>"), "SWX-1103"),
    "KeyInfo names it only": (lambda world: named_only(sealed(world)), "SWX-1104"),
    "a certificate that is none": (lambda world: shown(sealed(world), b"nonsense"), "SWX-1034"),
    "a subject that wasn't agreed on": (lambda world: shown(sealed(world), chains.der(world, "middle")), "SWX-1034"),
}  # fmt: skip


@pytest.mark.parametrize("world", chains.WORLDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_each_way_to_be_wrong_has_its_code(wrong: str, world: str) -> None:
    body, code = WRONG[wrong]
    assert verdict(body(world), table(authority(world, "second"))) == code


@pytest.mark.parametrize("world", chains.WORLDS)
def test_a_certificate_of_the_authority_with_the_agreed_subject_needs_no_registration(world: str) -> None:
    known = authority(world, "second", require_crl=True)
    assert verdict(sealed(world), table(known)) == certificates.read(chains.der(world, "leaf")).serial
    assert verdict(sealed(world), table(known, signers=())) == "SWX-1034", "but for that it isn't registered"


def test_time_and_lists_have_their_codes() -> None:
    known = authority("p256", "second")
    assert verdict(sealed(), table(known), now() + 41 * DAY) == "SWX-1035"
    assert verdict(sealed(), table(known), now() - 2 * DAY) == "SWX-1039"


def test_what_a_missing_list_leaves_open_is_held_for_it_is_no_fault_of_the_senders() -> None:
    known, later = authority("p256", "second", overdue="hold"), now() + 35 * DAY
    for trusted, at, code in ((known, later, "SWX-1102"), (authority("p256", require_crl=True), now(), "SWX-1105")):
        examined = examine(
            Arrival(1 << 40, at, "ent1-box", "ENT1", Parcel("a.xml", sealed())), TYPES, table(trusted), at
        )
        assert isinstance(examined.error, Held)
        assert (examined.error.code, examined.error.en.isascii()) == (code, True)


def test_an_overdue_list_lets_signers_pass_with_a_warning_where_it_is_set_so() -> None:
    known, later = table(authority("p256", "second")), now() + 35 * DAY
    examined = examine(Arrival(1 << 40, now(), "ent1-box", "ENT1", Parcel("a.xml", sealed())), TYPES, known, later)
    assert examined.message is not None
    assert [(one.code, one.severity) for one in examined.message.warnings] == [("SWX-1102", "warning")]


def test_a_registered_certificate_must_chain_too_and_may_be_named_only() -> None:
    leaf, revoked = chains.der("p256", "leaf"), chains.der("p256", "revoked")
    known = table(authority("p256", "second"), leaf, revoked, signers=())
    assert verdict(sealed(), known) == verdict(named_only(sealed()), known)
    assert verdict(sealed(key="revoked"), known) == "SWX-1100"
    assert verdict(named_only(sealed(key="revoked")), known) == "SWX-1100"
    assert verdict(sealed(), table(authority("rsa"), leaf, signers=())) == "SWX-1101"


def test_without_trust_a_registered_certificate_is_enough() -> None:
    known = table(authority("rsa"), chains.der("p256", "revoked"), trust=(), signers=())
    assert not verdict(sealed(key="revoked"), known).startswith("SWX")
    assert verdict(named_only(sealed()), known) == "SWX-1034"


def test_where_the_agreement_only_warns_a_revoked_signer_passes_with_a_warning() -> None:
    known = table(authority("p256", "second"), verify="warn")
    arrival = Arrival(1 << 40, now(), "ent1-box", "ENT1", Parcel("a.xml", sealed(key="revoked")))
    message = examine(arrival, TYPES, known, now()).message
    assert message is not None
    assert ([one.code for one in message.warnings], message.signer) == (["SWX-1100"], "")


# -- the other formats -------------------------------------------------------------------------------------------

CONTENT = b"a file of any kind"
OTHERS = {"raw-rsa-sha256": "rsa", "cms-ecdsa-sha256": "p256", "cms-rsa-sha256-detached": "rsa", "gmt0010-sm2": "sm2"}


@functools.cache
def made(profile: str, key: str) -> bytes:
    """Return the signature over CONTENT of a profile, with a key of its world."""

    async def sign() -> bytes:
        one = PROFILES[profile]
        prepared = formats.prepare(CONTENT, one, chains.der(OTHERS[profile], key), at=now())
        [value] = await Software(KeyFiles(folder=chains.shared() / OTHERS[profile])).sign([prepared.job(key)])
        assert isinstance(value, Signature), value
        return formats.assemble(CONTENT, prepared, value.value)

    return asyncio.get_event_loop().run_until_complete(sign())


@pytest.mark.parametrize("profile", OTHERS)
def test_whoever_asks_for_a_verdict_gets_what_the_partys_agreement_says(profile: str) -> None:
    world, one = OTHERS[profile], PROFILES[profile]

    def verdict(key: str, *lists: str, registered: tuple[str, ...] = ("leaf", "revoked")) -> tuple[bool, Any]:
        signature = made(profile, key)
        said = {"content": CONTENT, "signature": signature} if one.detached else {"content": signature}
        written = {name: b64encode(value).decode() for name, value in said.items()}
        doubt = Doubt.model_validate({"id": "1", "profiles": (profile,), "party": "ENT1", **written})
        known = table(authority(world, *lists), *(chains.der(world, name) for name in registered))
        party = known.parties["ENT1"]
        told = _api_seals.verdict(doubt, PROFILES, party.certificates, known.terms(party.agreement), now())
        return told["valid"], told["warnings"] if told["valid"] else told["code"]

    assert verdict("leaf", "second") == (True, [])
    assert verdict("revoked", "second") == (False, "SWX-1100")
    assert verdict("revoked") == (True, []), "nobody has said so yet"
    unregistered = (True, []) if one.format != "raw" else (False, "SWX-1037")
    assert verdict("leaf", "second", registered=()) == unregistered, "its subject is agreed on, where it is shown"
