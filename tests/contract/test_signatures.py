"""What every profile of every format keeps to; whoever adds a format or a built-in profile joins by its row."""

from __future__ import annotations

import asyncio
import functools
from base64 import b64decode, b64encode

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import BadSignature, Rejected
from exchange.instants import SECOND
from exchange.ports import Job, Signature
from exchange.signing import formats
from exchange.signing.contract import Verified
from exchange.signing.profiles import PROFILES, XML, Profile
from exchange.signing.raw import LONGEST
from exchange.tokens import sm2
from tests import pki
from tests.sealing import MESSAGE, canonical, now, token

KEYS = {"rsa-sha1": "rsa", "rsa-sha256": "rsa", "ecdsa-sha256": "p256", "sm2-sm3": "sm2"}
PLAIN = b"UNB+UNOC:3+TESTLINE+TESTTERM'\r\n\x00\xff"
LATER = 20 * 365 * 86_400 * SECOND  # by then every certificate of the tests has expired


def document(profile: Profile) -> bytes:
    return MESSAGE if profile.enveloped else PLAIN


def value_of(job: Job) -> bytes:
    [value] = asyncio.get_event_loop().run_until_complete(token().sign([job]))
    assert isinstance(value, Signature), value
    return value.value


@functools.cache
def signed(profile: Profile, key: str = "", named: str = "") -> bytes:
    """Return a document as *key* signs it; *named* is whose certificate it says that this was."""
    key = key or KEYS[profile.algorithm]
    prepared = formats.prepare(document(profile), profile, pki.der(named or key), at=now())
    return formats.assemble(document(profile), prepared, value_of(prepared.job(key)))


def verified(
    profile: Profile, signature: bytes, *keys: str, content: bytes | None = None, at: int = 0, every: bool = False
) -> Verified:
    beside = document(profile) if content is None else content
    return formats.verify(
        signature,
        profiles=PROFILES.all if every else [profile],
        certificates=[pki.der(key) for key in keys or ("rsa", "p256", "sm2")],
        at=at or now(),
        content=beside if profile.detached else None,
    )


def code_of(profile: Profile, signature: bytes, *keys: str, content: bytes | None = None, at: int = 0) -> str:
    with pytest.raises(BadSignature) as refused:
        verified(profile, signature, *keys, content=content, at=at)
    assert refused.value.zh != refused.value.en
    return refused.value.code


every_profile = pytest.mark.parametrize("profile", PROFILES.all, ids=lambda profile: profile.id)
not_in_xml = pytest.mark.parametrize(
    "profile", [one for one in PROFILES.all if not one.enveloped], ids=lambda profile: profile.id
)


@every_profile
def test_what_is_signed_verifies_and_tells_who_signed_what_and_how(profile: Profile) -> None:
    found = verified(profile, signed(profile))
    assert (found.signer.der, found.profile) == (pki.der(KEYS[profile.algorithm]), profile)
    assert found.signed == (canonical(MESSAGE) if profile.enveloped else PLAIN)


@every_profile
def test_the_format_is_told_by_the_signature_where_every_profile_is_accepted(profile: Profile) -> None:
    found = verified(profile, signed(profile), every=True)
    assert (found.profile.format, found.profile.algorithm) == (profile.format, profile.algorithm)


@every_profile
def test_only_what_stands_for_the_document_goes_to_the_token(profile: Profile) -> None:
    size = 200_000
    content = MESSAGE.replace(b"ORDER-", b"O" * size) if profile.enveloped else b"O" * size
    job = formats.prepare(content, profile, pki.der(KEYS[profile.algorithm]), at=now()).job("key")
    assert (job.key, job.algorithm, job.sm2_id) == ("key", profile.algorithm, profile.sm2_id)
    assert len(job.data) == size if profile.format == "raw" else len(job.data) < 1000


@every_profile
def test_what_was_changed_after_signing_is_refused(profile: Profile) -> None:
    signature = signed(profile)
    if profile.detached:
        code = code_of(profile, signature, content=PLAIN + b"\n")
    else:
        code = code_of(profile, signature.replace(b"ORDER", b"0RDER").replace(b"TESTLINE", b"TESTLINF"))
    assert code == ("SWX-1033" if profile.format == "raw" else "SWX-1032")


@every_profile
def test_a_value_of_another_key_is_refused(profile: Profile) -> None:
    others = {"sm2": "sm2-foreign", "p256": "foreign"}
    key = KEYS[profile.algorithm]
    if key in others:
        assert code_of(profile, signed(profile, others[key], named=key)) == "SWX-1033"
        return
    foreign = bytes(256)
    prepared = formats.prepare(document(profile), profile, pki.der(key), at=now())
    assert code_of(profile, formats.assemble(document(profile), prepared, foreign)) == "SWX-1033"


@every_profile
def test_a_certificate_that_is_not_registered_is_refused(profile: Profile) -> None:
    key = KEYS[profile.algorithm]
    strangers = {"sm2": "sm2-foreign", "p256": "foreign", "rsa": "p256"}
    code = code_of(profile, signed(profile), strangers[key])
    if profile.format == "raw":  # which names nobody: it can only be tried with those that are registered
        assert code == ("SWX-1037" if key == "rsa" else "SWX-1033")
    else:
        assert code == "SWX-1034"


@every_profile
def test_a_certificate_that_is_not_valid_then_is_refused(profile: Profile) -> None:
    assert code_of(profile, signed(profile), at=now() + LATER) == "SWX-1035"
    assert code_of(profile, signed(profile), at=now() - LATER) == "SWX-1039"


@every_profile
def test_a_certificate_for_another_kind_of_key_signs_nothing(profile: Profile) -> None:
    other = "p256" if profile.algorithm != "ecdsa-sha256" else "rsa"
    prepared = formats.prepare(document(profile), profile, pki.der(other), at=now())
    made = formats.assemble(document(profile), prepared, value_of(Job(KEYS[profile.algorithm], *_rest(prepared))))
    assert code_of(profile, made, other) == "SWX-1037"


def _rest(prepared: formats.Prepared) -> tuple[str, bytes, bytes]:
    job = prepared.job("")
    return job.algorithm, job.data, job.sm2_id


@every_profile
def test_a_profile_that_is_not_accepted_is_refused(profile: Profile) -> None:
    others = [one for one in PROFILES.all if one.format == profile.format and one.algorithm != profile.algorithm]
    others = others or [PROFILES["cms-rsa-sha256"]]
    with pytest.raises(BadSignature) as refused:
        formats.verify(
            signed(profile),
            profiles=others,
            certificates=[pki.der(KEYS[profile.algorithm])],
            at=now(),
            content=document(profile) if profile.detached else None,
        )
    assert refused.value.code == "SWX-1037"


@pytest.mark.parametrize("format", ["cms", "gmt0010"])
def test_attached_is_not_taken_for_detached_nor_the_other_way_round(format: str) -> None:
    attached, detached = [one for one in PROFILES.all if one.format == format and one.algorithm != "ecdsa-sha256"]
    assert code_of(detached, signed(attached)) == "SWX-1037"
    assert code_of(attached, signed(detached)) == "SWX-1037"


@not_in_xml
def test_a_signature_beside_its_content_needs_it(profile: Profile) -> None:
    verify = functools.partial(
        formats.verify,
        signed(profile),
        profiles=[profile],
        certificates=[pki.der("rsa"), pki.der("p256"), pki.der("sm2")],
    )
    if not profile.detached:
        assert verify(at=now(), content=PLAIN).signed == PLAIN
        with pytest.raises(BadSignature, match="SWX-1032"):
            verify(at=now(), content=b"other")
        return
    with pytest.raises(BadSignature, match="SWX-1111"):
        verify(at=now())


def test_what_stands_beside_a_signature_inside_a_document_is_not_passed_over() -> None:
    with pytest.raises(BadSignature, match="SWX-1036"):
        formats.verify(
            signed(PROFILES["ceb-sm2"]), profiles=PROFILES.all, certificates=[pki.der("sm2")], at=now(), content=PLAIN
        )


# -- damage ------------------------------------------------------------------------------------------------------


@not_in_xml
def test_no_bit_of_a_signature_can_be_flipped(profile: Profile) -> None:
    signature = signed(profile)
    step = 1 if profile.format == "raw" else 5  # so that every byte comes, and each of its bits in turn
    for place in range(0, 8 * len(signature), step):
        flipped = bytearray(signature)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(BadSignature):
            verified(profile, bytes(flipped))


@every_profile
def test_a_truncated_signature_is_refused(profile: Profile) -> None:
    signature = signed(profile)
    for size in range(0, len(signature), 1 if len(signature) < 2000 else 97):
        if signature[:size].rstrip() != signature.rstrip():
            with pytest.raises(Rejected):
                verified(profile, signature[:size])


@not_in_xml
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_mangled_signature_is_refused_and_nothing_breaks(profile: Profile, data: st.DataObject) -> None:
    signature = signed(profile)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(signature))] * 2)))
    mangled = signature[:start] + data.draw(st.binary(max_size=40)) + signature[end:]
    text = b"".join(mangled.split()) if profile.format == "raw" else mangled  # base64 may be broken into lines
    if text != signature:
        with pytest.raises(BadSignature):
            verified(profile, mangled)


@not_in_xml
@settings(max_examples=40, deadline=None)
@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_breaks(profile: Profile, garbage: bytes) -> None:
    with pytest.raises(BadSignature):
        verified(profile, garbage)
    with pytest.raises(BadSignature):
        verified(profile, b"0\x82" + len(garbage).to_bytes(2, "big") + garbage)


# -- raw ---------------------------------------------------------------------------------------------------------


def test_a_raw_signature_is_the_bare_value_in_base64_which_may_be_broken_into_lines() -> None:
    profile = PROFILES["raw-sm2"]
    signature = signed(profile)
    assert len(b64decode(signature)) == 64
    assert verified(profile, signature[:40] + b"\r\n" + signature[40:] + b"\n").profile is profile


@pytest.mark.parametrize("algorithm", ["sm2-sm3", "ecdsa-sha256"])
def test_a_profile_may_have_values_in_der(algorithm: str) -> None:
    profile = Profile("site", 1, "raw", algorithm, "", detached=True, encoding="der")
    signature = signed(profile)
    assert verified(profile, signature).profile is profile
    raw = b64encode(sm2.raw_signature(b64decode(signature)))
    assert code_of(profile, raw) == "SWX-1033"


@pytest.mark.parametrize("name", ["raw-sm2", "gmt0010-sm2", "ceb-sm2"])
def test_another_id_of_the_signer_is_another_signature(name: str) -> None:
    profile = evolve(PROFILES[name], name="site", sm2_id=b"ALICE123@YAHOO.COM")
    assert verified(profile, signed(profile)).profile is profile
    assert code_of(PROFILES[name], signed(profile)) == "SWX-1033"
    both = formats.verify(  # they look alike: whichever fits is found
        signed(profile), profiles=[PROFILES[name], profile], certificates=[pki.der("sm2")], at=now(),
        content=PLAIN if profile.detached else None,
    )  # fmt: skip
    assert both.profile is profile


def test_what_is_too_long_for_a_device_is_not_signed_raw() -> None:
    with pytest.raises(BadSignature, match="SWX-1110"):
        formats.prepare(bytes(LONGEST + 1), PROFILES["raw-sm2"], pki.der("sm2"), at=now())


def test_the_formats_are_those_that_profiles_may_have() -> None:
    assert {profile.format for profile in PROFILES.all} == set(formats.FORMATS) == {XML, "raw", "cms", "gmt0010"}
