"""Verify: what stands, and everything else that is refused, each with its own code."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from exchange.errors import BadSignature, ConfigurationError, Rejected, Unreadable
from exchange.instants import SECOND
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import verify
from exchange.tokens.sm2 import der_signature
from tests import pki
from tests.sealing import DS, KEYS, MESSAGE, canonical, code_of, edited, now, part, seal, sealed, verified

DAY = 86_400 * SECOND


# -- what stands -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", KEYS)
def test_a_proper_signature_tells_who_signed_what_and_how(profile: str) -> None:
    found = verified(sealed(profile))
    assert found.signer.der == pki.der(KEYS[profile])
    assert pki.ENTERPRISE in found.signer.subject
    assert found.profile is PROFILES[profile]
    assert found.signed == canonical(MESSAGE)


def test_an_agreement_without_profiles_accepts_every_known_one_and_one_with_only_its_own() -> None:
    assert verified(sealed("rsa-sha256"), profiles=("rsa-sha256", "ceb-sm2"))
    assert code_of(sealed("rsa-sha256"), profiles=("ecdsa-sha256",)) == "SWX-1037"
    with pytest.raises(ConfigurationError, match="did you mean ceb-sm2"):
        PROFILES.accepted(("ceb-sm",))


def test_a_parsed_root_serves_as_well_and_stays_as_it_is() -> None:
    root = etree.fromstring(sealed())
    before = etree.tostring(root)
    certificates = [pki.der("p256")]
    assert verify(root, profiles=PROFILES.accepted(()), certificates=certificates, at=now()).signed == canonical(
        MESSAGE
    )
    assert etree.tostring(root) == before


def test_the_spelling_of_the_document_may_change_where_the_canonical_form_does_not() -> None:
    respelled = sealed().replace(b"<ceb:note></ceb:note>", b"<ceb:note  />").replace(b"ORDER-", b"<![CDATA[ORDER]]>-")
    guid, version = b'guid="00000000-0000-0000-0000-0000000000A1"', b'version="1.0"'
    respelled = respelled.replace(guid + b" " + version, version + b"\t" + guid, 1)
    assert respelled.index(version) < respelled.index(guid)
    assert verified(respelled.decode().replace("UTF-8", "GB18030").encode("gb18030")).signed == canonical(MESSAGE)
    assert verified(b"<!-- before -->" + sealed().partition(b"?>")[2] + b"<!-- behind -->")


def test_base64_may_be_broken_into_lines_and_the_prefix_may_be_another() -> None:
    def wrap(root: etree._Element) -> None:
        for name in ("SignatureValue", "X509Certificate"):
            text = part(root, name).text or ""
            part(root, name).text = "\n" + "\r\n".join(text[n : n + 64] for n in range(0, len(text), 64)) + "\n  "

    assert verified(edited(sealed(), wrap))
    signature = sealed("ceb-sm2")
    start = signature.index(b"<ds:Signature")
    with pytest.raises(BadSignature, match="SWX-1033"):  # SignedInfo's own names are signed
        verified(signature[:start] + signature[start:].replace(b"ds:", b"x:").replace(b"xmlns:ds", b"xmlns:x"))


def test_an_sm2_value_may_be_der() -> None:
    def to_der(root: etree._Element) -> None:
        value = part(root, "SignatureValue")
        value.text = b64encode(der_signature(b64decode(value.text or ""))).decode()

    assert verified(edited(sealed("ceb-sm2"), to_der))
    assert code_of(edited(sealed("ecdsa-sha256"), to_der)) == "SWX-1033"


def test_a_key_name_alone_finds_the_registered_certificate_by_its_serial() -> None:
    def only_name(root: etree._Element) -> None:
        part(root, "KeyInfo").remove(part(root, "X509Data"))

    document = edited(sealed("rsa-sha256"), only_name)
    assert verified(document).signer.der == pki.der("rsa")
    assert verified(document.replace(b"01691fe9", b" 1691FE9 ")).signer.der == pki.der("rsa")
    assert code_of(document, "p256", "sm2") == "SWX-1034"
    assert code_of(document.replace(b"01691fe9", b"0001")) == "SWX-1034"


def test_a_key_name_beside_a_certificate_is_only_a_name() -> None:
    assert verified(sealed("rsa-sha256").replace(b">01691fe9<", b">0001<")).signer.der == pki.der("rsa")


# -- who may sign, and when --------------------------------------------------------------------------------------


def test_a_signature_of_another_party_is_refused_though_it_is_a_good_one() -> None:
    assert verified(sealed(key="foreign"), "foreign")
    assert code_of(sealed(key="foreign")) == "SWX-1034"
    assert code_of(sealed("ceb-sm2", "sm2-foreign")) == "SWX-1034"


def test_a_certificate_swapped_for_a_registered_one_does_not_verify() -> None:
    own, foreign = (b64encode(pki.der(key)) for key in ("p256", "foreign"))
    assert code_of(sealed(key="foreign").replace(foreign, own)) == "SWX-1033"


def test_an_expired_certificate_and_one_not_yet_valid_are_refused() -> None:
    assert code_of(sealed(key="expired"), "expired") == "SWX-1035"
    assert verified(sealed(key="expired"), "expired", at=now() - 15 * DAY)
    assert code_of(sealed(), at=now() - 30 * DAY) == "SWX-1039"


def test_a_certificate_that_can_not_be_read_is_the_administrators_fault() -> None:
    def only_name(root: etree._Element) -> None:
        part(root, "KeyInfo").remove(part(root, "X509Data"))

    with pytest.raises(ConfigurationError, match="SWX-4060"):
        verify(edited(sealed(), only_name), profiles=PROFILES.accepted(()), certificates=[b"no DER"], at=now())


# -- what was changed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"ORDER-00000001", b"ORDER-00000002"),
        (b"</ds:Signature></ceb:", b"</ds:Signature>\n</ceb:"),  # blanks are signed content
        (b"\n<ds:Signature", b"<ds:Signature"),
        (b"<ceb:note></ceb:note>", b"<ceb:note> </ceb:note>"),
        (b'version="1.0"\n', b'version="1.1"\n'),
        (b"<ceb:appType>1</ceb:appType>", b""),
        (b'xmlns:ceb="http://www.chinaport.gov.cn/ceb"', b'xmlns:ceb="http://www.chinaport.gov.cn/ceb2"'),
        (b"<ceb:Inventory>", b'<ceb:Inventory xml:lang="zh">'),
        (b"</ceb:InventoryHead>", b"</ceb:InventoryHead> "),
        (b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"', b""),  # moved, or left out where it isn't used
    ],
)
def test_a_changed_document_is_refused_by_its_digest(old: bytes, new: bytes) -> None:
    assert old in sealed()
    assert code_of(sealed().replace(old, new, 1)) == "SWX-1032"


def test_a_namespace_added_to_the_root_changes_what_was_signed() -> None:
    assert code_of(sealed().replace(b" xmlns:xsi=", b' xmlns:new="urn:new" xmlns:xsi=', 1)) == "SWX-1032"


def test_a_signature_of_another_message_is_refused() -> None:
    other = seal(MESSAGE.replace(b"ORDER-00000001", b"ORDER-00000009"), "ecdsa-sha256")
    start, end = other.index(b"<ds:Signature"), other.index(b"</ds:Signature>")
    own = sealed()
    own = own[: own.index(b"<ds:Signature")] + other[start:end] + own[own.index(b"</ds:Signature>") :]
    assert code_of(own) == "SWX-1032"


CHANGES: dict[str, Callable[[etree._Element], object]] = {
    "text": lambda node: setattr(node, "text", "x" + (node.text or "")),
    "attribute": lambda node: node.set("added", "1"),
    "child": lambda node: etree.SubElement(node, "added"),
    "comment": lambda node: node.append(etree.Comment("added")),
    "instruction": lambda node: node.append(etree.ProcessingInstruction("added")),
    "name": lambda node: setattr(node, "tag", node.tag + "x"),
    "text behind": lambda node: setattr(node, "tail", (node.tail or "") + "x"),
    "copy": lambda node: node.addprevious(etree.fromstring(etree.tostring(node))),
    "removal": lambda node: node.getparent().remove(node),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_element_can_be_changed_anywhere(change: str) -> None:
    nodes = [node.tag for node in etree.fromstring(sealed()).iter()]
    inside_only = change in ("text behind", "copy", "removal")  # what can't be done to the root
    accepted = set()
    for index in range(1 if inside_only else 0, len(nodes)):
        document = edited(sealed(), lambda root, i=index: CHANGES[change](list(root.iter())[i]))
        try:
            assert verified(document).signed == canonical(MESSAGE)
            accepted.add(nodes[index].removeprefix(DS))
        except BadSignature:
            pass
    hints = {"text": {"KeyName"}, "removal": {"KeyName", "X509Data"}}  # either names the certificate, unsigned
    assert accepted == hints.get(change, set())


def test_no_attribute_can_be_changed_or_left_out() -> None:
    places = [(n, name) for n, node in enumerate(etree.fromstring(sealed()).iter("*")) for name in node.attrib]
    assert len(places) > 6
    for index, name in places:
        for value in (None, "", "x"):

            def change(root: etree._Element, index: int = index, name: str = name, value: str | None = value) -> None:
                node = list(root.iter("*"))[index]
                if value is None:
                    del node.attrib[name]
                else:
                    node.set(name, value)

            document = edited(sealed(), change)
            if document != edited(sealed(), lambda root: None):
                with pytest.raises(BadSignature):
                    verified(document)


@pytest.mark.parametrize("profile", KEYS)
@pytest.mark.parametrize("name", ["DigestValue", "SignatureValue", "X509Certificate"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_bit_of_digest_value_or_certificate_can_be_flipped(profile: str, name: str, data: st.DataObject) -> None:
    root = etree.fromstring(sealed(profile))
    value = bytearray(b64decode(part(root, name).text or ""))
    bit = data.draw(st.integers(0, len(value) * 8 - 1))
    value[bit // 8] ^= 1 << bit % 8
    part(root, name).text = b64encode(value).decode()
    with pytest.raises(BadSignature):
        verified(etree.tostring(root))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_byte_is_changed_the_document_is_refused_or_says_the_same(data: st.DataObject) -> None:
    document = bytearray(sealed())
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(document) - 1))
        document[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
    try:
        found = verified(bytes(document))
    except Rejected:
        return
    assert found.signed == canonical(MESSAGE)


def test_no_xml_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        verified(b"<a>")


def test_official_samples_have_our_shape_and_are_refused_for_their_algorithm_or_signer(official_samples: Path) -> None:
    assert {code_of(file.read_bytes()) for file in official_samples.glob("*.xml")} == {"SWX-1031", "SWX-1034"}
