"""Trust: which chains stand and which don't, and what revocation lists say, for RSA, P-256 and SM2 alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import oid

from exchange.errors import BadSignature, ConfigurationError
from exchange.instants import SECOND
from exchange.signing import certificates, revocation, trust
from exchange.signing.trust import Authority, Pool, Terms, link
from tests import chains, pki
from tests.chains import Issued, issue, revoke, usage
from tests.sealing import now

DAY = 86_400 * SECOND


def of(world: str, *lists: str, **more: object) -> Authority:
    """Return the authority of a world with some of its revocation lists."""
    known = Authority("tests", Pool([chains.der(world, "root"), chains.der(world, "middle")]), **more)  # type: ignore[arg-type]
    for name in lists:
        (one,) = revocation.from_file(chains.crl(world, name))
        known = known.with_list(one, now())
    return known


def refused(known: Authority | Terms, der: bytes, at: int = 0) -> str:
    """Return the code and text that a certificate is refused with."""
    terms = known if isinstance(known, Terms) else Terms([known])
    with pytest.raises(BadSignature) as why:
        terms.require(link(der).certificate, at or now())
    assert why.value.zh != why.value.en
    return str(why.value)


# -- chains ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", chains.WORLDS)
def test_a_chain_leads_from_the_signer_by_the_one_between_to_the_root(world: str) -> None:
    chain = of(world).chain(chains.der(world, "leaf"), now())
    names = [chains.SIGNER, f"Test authority of nobody ({world})", f"Test root of nobody ({world})"]
    assert [link.subject for link in chain] == [f"CN={name},C=CN" for name in names]
    assert of(world).check(chains.der(world, "leaf"), now()) == []


@pytest.mark.parametrize("world", chains.WORLDS)
def test_a_certificate_of_another_authority_or_of_nobody_has_no_chain(world: str) -> None:
    for other in {*chains.WORLDS} - {world}:
        assert refused(of(world), chains.der(other, "leaf")).startswith("SWX-1101")
    assert refused(of(world), pki.der("p256")).startswith("SWX-1101")
    assert "vouches for itself" in refused(of(world), issue(chains.SIGNER).der)


def test_an_authority_without_its_root_vouches_for_nobody() -> None:
    known = Authority("tests", Pool([chains.der("p256", "middle")]))
    assert "Test root of nobody (p256),C=CN isn't among" in refused(known, chains.der("p256", "leaf"))


ROOT = issue("Root", authority=True)
MIDDLE = issue("Middle", ROOT, authority=True)


def authority(*members: Issued) -> Authority:
    return Authority("tests", Pool([member.der for member in members]))


def named_alike() -> tuple[Authority, bytes]:
    """Return an authority, and a certificate that somebody of its intermediate's name has issued."""
    liar = issue("Middle", issue("Root", authority=True), authority=True)
    return authority(ROOT, MIDDLE), issue("Signer", liar, without=[x509.AuthorityKeyIdentifier]).der


def below(*limits: int | None) -> tuple[Authority, bytes]:
    """Return authorities below each other with these pathLen, and a signer below the last."""
    members: list[Issued] = []
    for number, limit in enumerate(limits):
        members.append(issue(f"Level {number}", members[-1] if members else None, authority=True, below=limit))
    return authority(*members), issue("Signer", members[-1]).der


def under(**wrong: object) -> tuple[Authority, bytes]:
    """Return a signer below an intermediate with something wrong."""
    middle = issue("Odd", ROOT, **({"authority": True} | wrong))  # type: ignore[arg-type]
    return authority(ROOT, middle), issue("Signer", middle).der


def signer(**wrong: object) -> tuple[Authority, bytes]:
    """Return a signer with something wrong."""
    return authority(ROOT, MIDDLE), issue("Signer", MIDDLE, **wrong).der  # type: ignore[arg-type]


def other_key() -> tuple[Authority, bytes]:
    """Return a signer whose authority has a new key, which isn't known here."""
    again = issue("Middle", ROOT, authority=True)
    return authority(ROOT, MIDDLE), issue("Signer", again).der


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
ONLY_MAIL = x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.EMAIL_PROTECTION])
NO_CHAIN: dict[str, tuple[Callable[[], tuple[Authority, bytes]], str]] = {
    "issued by a namesake": (named_alike, "the signature of CN=Middle,C=CN on it doesn't stand"),
    "issued by another key": (other_key, "another key of CN=Middle,C=CN"),
    "issuer is no authority": (lambda: under(authority=False, uses=chains.AUTHORITY_USES), "isn't a certificate auth"),
    "issuer says nothing of being one": (lambda: under(without=[x509.BasicConstraints]), "isn't a certificate auth"),
    "issuer may not sign certificates": (lambda: under(uses=usage("digital_signature", "crl_sign")), "isn't a cert"),
    "issuer has an unknown critical extension": (lambda: under(more=[(UNKNOWN, True)]), "CN=Odd,C=CN: 1.2.3.4"),
    "issuer's time is over": (lambda: under(days=(-9, -1)), "CN=Odd,C=CN is valid"),
    "issuer's time hasn't come": (lambda: under(days=(1, 9)), "CN=Odd,C=CN is valid"),
    "one level too many": (lambda: below(None, 0, None), "pathLen"),
    "one level too many below the root": (lambda: below(0, None), "pathLen"),
    "deeper than anybody is": (lambda: below(*[None] * 8), "the end of the chain isn't a root"),
    "signer has an unknown critical extension": (lambda: signer(more=[(UNKNOWN, True)]), "not known here in"),
    "signer's key is for something else": (lambda: signer(more=[(ONLY_MAIL, True)]), "critical extensions"),
    "signer's key isn't for signatures": (lambda: signer(uses=usage("key_agreement")), "isn't for signatures"),
    "the issuer itself signs": (lambda: (authority(ROOT, MIDDLE), MIDDLE.der), "isn't for signatures"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", NO_CHAIN)
def test_a_chain_with_something_wrong_does_not_stand(wrong: str) -> None:
    known, der = NO_CHAIN[wrong][0]()
    told = refused(known, der)
    assert told.startswith("SWX-1101")
    assert NO_CHAIN[wrong][1] in told
    assert "CN=Signer" not in told, "who signs may be a person"


STANDS: dict[str, Callable[[], tuple[Authority, bytes]]] = {
    "straight below the root": lambda: (authority(ROOT), issue("Signer", ROOT).der),
    "as deep as allowed": lambda: below(1, 0),
    "seven authorities": lambda: below(*[None] * 7),
    "an extension that isn't critical": lambda: signer(more=[(UNKNOWN, False), (ONLY_MAIL, False)]),
    "without keyUsage": lambda: signer(without=[x509.KeyUsage]),
    "without identifiers": lambda: signer(without=[x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier]),
    "only nonRepudiation": lambda: signer(uses=usage("content_commitment")),
    "critical policies": lambda: signer(more=[(x509.CertificatePolicies([x509.PolicyInformation(
        x509.ObjectIdentifier("1.2.3.5"), None)]), True)]),
    "two intermediates of a name, one expired": lambda: (
        authority(ROOT, issue("Middle", ROOT, key=MIDDLE.key, authority=True, days=(-9, -1)), MIDDLE),
        issue("Signer", MIDDLE).der),
    "authorities that vouch for each other": lambda: (
        authority(issue("A", (b := issue("B", ROOT, authority=True)), key=(a := issue("A", ROOT, authority=True)).key,
                        authority=True), issue("B", a, key=b.key, authority=True), b, ROOT),
        issue("Signer", a).der),
}  # fmt: skip


@pytest.mark.parametrize("how", STANDS)
def test_a_chain_stands(how: str) -> None:
    known, der = STANDS[how]()
    assert known.check(der, now()) == []


def test_chains_are_found_once_and_judged_by_every_instant_anew() -> None:
    known, der = signer()
    for _ in range(3):
        assert known.chain(der, now())
    assert "valid" in refused(known, der, now() + 50 * DAY)
    assert "valid" in refused(known, der, now() - 2 * DAY)
    found = known.pool.chains.cache_info()
    assert (found.misses, found.hits) == (1, 4)


def test_a_known_certificate_costs_microseconds() -> None:
    known, at = of("sm2", "second", "root"), now()
    der = chains.der("sm2", "leaf")
    known.check(der, at)
    began = time.perf_counter()
    for _ in range(1000):
        known.check(der, at)
    assert time.perf_counter() - began < 0.1, "100 us each, on a busy machine"


def test_bytes_that_are_no_certificate_have_no_chain() -> None:
    with pytest.raises(BadSignature, match="SWX-1101"):
        authority(ROOT).check(b"no certificate", now())
    with pytest.raises(ConfigurationError, match="SWX-4060"):
        Pool([b"no certificate"])


# -- whose certificates count as registered ----------------------------------------------------------------------


def test_of_several_authorities_the_first_that_a_signer_chains_to_has_the_word() -> None:
    one, other = of("p256", "second"), of("rsa")
    assert Terms([other, one]).require(certificates.read(chains.der("p256", "leaf")), now()) == []
    assert refused(Terms([other, one]), chains.der("p256", "revoked")).startswith("SWX-1100")
    assert refused(Terms([other, one]), chains.der("sm2", "leaf")).startswith("SWX-1101")


def test_a_subject_is_compared_as_a_whole_whatever_blanks_the_administrator_writes() -> None:
    terms = Terms([of("p256")], [trust.subject(f"CN={chains.SIGNER},  C=CN")])
    assert terms.registers(chains.der("p256", "leaf"))
    assert not terms.registers(chains.der("p256", "middle"))
    assert not Terms([of("p256")], [trust.subject(f"CN={chains.SIGNER}")]).registers(chains.der("p256", "leaf"))
    assert not terms.registers(b"no certificate")
    with pytest.raises(ValueError, match="is no subject such as"):
        trust.subject(chains.SIGNER)


# -- revocation lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", chains.WORLDS)
def test_a_revoked_certificate_is_refused_once_the_list_is_here(world: str) -> None:
    leaf, revoked = chains.der(world, "leaf"), chains.der(world, "revoked")
    for lists in ((), ("first",), ("first", "root")):
        assert of(world, *lists).check(revoked, now()) == []
    known = of(world, "first", "second", "root")
    assert len(known.lists) == 2, "the second takes the place of the first"
    assert refused(known, revoked).startswith("SWX-1100")
    assert known.check(leaf, now()) == []


def test_what_was_signed_before_the_revocation_stood_then() -> None:
    assert of("p256", "second").check(chains.der("p256", "revoked"), now() - DAY * 3 // 4) == []


@pytest.mark.parametrize("world", chains.WORLDS)
def test_a_list_that_another_signed_or_somebody_changed_is_refused(world: str) -> None:
    other = chains.WORLDS[chains.WORLDS.index(world) - 1]
    for body in (chains.crl(other, "second"), chains.crl(world, "second")[:-1] + b"\0"):
        (one,) = revocation.from_file(body)
        with pytest.raises(ConfigurationError, match="SWX-4103"):
            of(world).with_list(one, now())


def listed(body: bytes, known: Authority | None = None) -> Authority:
    (one,) = revocation.from_file(body)
    return (known or authority(ROOT, MIDDLE)).with_list(one, now())


def test_lists_never_go_backward() -> None:
    known = listed(revoke(MIDDLE, number=7))
    for older in (revoke(MIDDLE, number=6, days=(-0.1, 30)), revoke(MIDDLE, number=7, days=(-2, 30)),
                  revoke(MIDDLE, number=None)):  # fmt: skip
        with pytest.raises(ConfigurationError, match="SWX-4104"):
            listed(older, known)
    assert listed(revoke(MIDDLE, number=7, days=(-0.1, 30)), known).lists[0].age > known.lists[0].age
    assert listed(revoke(MIDDLE, number=8, days=(-3, 30)), known).lists[0].number == 8


def point(name: str, **more: object) -> x509.IssuingDistributionPoint:
    """Return what a divided list says that it is for."""
    silent = dict.fromkeys(("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl",
                            "only_contains_attribute_certs"), False)  # fmt: skip
    full = [x509.UniformResourceIdentifier(name)] if name else None
    whole = {"full_name": full, "relative_name": None, "only_some_reasons": None, **silent} | more
    return x509.IssuingDistributionPoint(**whole)  # type: ignore[arg-type]


UNFIT: dict[str, tuple[Callable[[], bytes], str]] = {
    "of the future": (lambda: revoke(MIDDLE, days=(1, 30)), "SWX-4102 .* is of the future"),
    "only changes": (lambda: revoke(MIDDLE, more=[(x509.DeltaCRLIndicator(1), True)]), "SWX-4102 .* critical"),
    "for others": (lambda: revoke(MIDDLE, more=[(point("", indirect_crl=True), True)]), "SWX-4102 .* for other auth"),
    "some reasons": (
        lambda: revoke(MIDDLE, more=[(point("", only_some_reasons=frozenset([x509.ReasonFlags.superseded])), True)]),
        "SWX-4102 .* some reasons"),
    "no list": (lambda: b"<html>not found</html>", "SWX-4101"),
    "a certificate": (lambda: MIDDLE.certificate.public_bytes(Encoding.PEM), "SWX-4101"),
}  # fmt: skip


@pytest.mark.parametrize("why", UNFIT)
def test_a_list_that_can_not_be_used_is_refused(why: str) -> None:
    body, told = UNFIT[why]
    with pytest.raises(ConfigurationError, match=told):
        listed(body())


def test_a_list_by_an_authority_that_may_not_sign_any_is_refused() -> None:
    silent = issue("Middle", ROOT, key=MIDDLE.key, authority=True, uses=usage("key_cert_sign"))
    with pytest.raises(ConfigurationError, match="SWX-4103"):
        listed(revoke(MIDDLE), authority(ROOT, silent))


def test_a_divided_list_counts_for_the_certificates_that_name_its_place() -> None:
    one, other = "http://lists.example/1.crl", "http://lists.example/2.crl"
    at = x509.DistributionPoint([x509.UniformResourceIdentifier(one)], None, None, None)
    named = issue("Signer", MIDDLE, serial=5, more=[(x509.CRLDistributionPoints([at]), False)])
    silent = issue("Signer", MIDDLE, serial=5)
    known = listed(revoke(MIDDLE, 5, more=[(point(one), True)]))
    assert refused(known, named.der).startswith("SWX-1100")
    assert known.check(silent.der, now()) == []
    known = listed(revoke(MIDDLE, 5, more=[(point(other), True)]))
    assert known.check(named.der, now()) == []
    assert refused(evolve(known, require_crl=True), named.der).startswith("SWX-1105")
    both = listed(revoke(MIDDLE, more=[(point(one), True)]), known)
    assert len(both.lists) == 2, "each has its own place"


def test_a_list_of_authorities_only_says_nothing_of_signers() -> None:
    signed = issue("Signer", MIDDLE, serial=5)
    cas, users = point("", only_contains_ca_certs=True), point("", only_contains_user_certs=True)
    assert listed(revoke(MIDDLE, 5, more=[(cas, True)])).check(signed.der, now()) == []
    assert refused(listed(revoke(MIDDLE, 5, more=[(users, True)])), signed.der).startswith("SWX-1100")


def test_a_revoked_intermediate_takes_its_signers_along() -> None:
    known = listed(revoke(ROOT, MIDDLE.certificate.serial_number))
    assert refused(known, issue("Signer", MIDDLE).der).startswith("SWX-1100")


def test_where_a_list_is_required_its_absence_refuses() -> None:
    known, der = of("p256", "root", require_crl=True), chains.der("p256", "leaf")
    assert refused(known, der).startswith("SWX-1105")
    assert of("p256", "first", require_crl=True).check(der, now()) == []


def test_an_overdue_list_warns_or_refuses_as_it_is_set_and_revokes_all_the_same() -> None:
    later = now() + 35 * DAY
    warnings = of("p256", "second").check(chains.der("p256", "leaf"), later)
    assert [warning.code for warning in warnings] == ["SWX-1102"]
    assert refused(of("p256", "second", overdue="hold"), chains.der("p256", "leaf"), later).startswith("SWX-1102")
    assert refused(of("p256", "second"), chains.der("p256", "revoked"), later).startswith("SWX-1100")


def test_a_file_may_hold_several_lists_in_pem(tmp_path: Path) -> None:
    body = b"".join((chains.shared() / world / "second.crl").read_bytes() for world in chains.WORLDS)
    assert [len(one.revoked) for one in revocation.from_file(body)] == [1, 1, 1]


# -- without an agreement ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", chains.WORLDS)
def test_whoever_issued_it_or_has_the_whole_chain_vouches_for_a_certificate(world: str) -> None:
    leaf, middle, root = (chains.der(world, name) for name in ("leaf", "middle", "root"))
    assert trust.vouched(leaf, [middle])
    assert trust.vouched(leaf, [root, middle])
    assert trust.vouched(middle, [root])
    assert not trust.vouched(leaf, [root]), "who stands between them isn't known"
    assert not trust.vouched(leaf, [])
    assert not trust.vouched(root, [leaf]), "it is no authority"
    other = next(name for name in chains.WORLDS if name != world)
    assert not trust.vouched(leaf, [chains.der(other, "root"), chains.der(other, "middle")])
    assert not trust.vouched(b"nothing", [root])
