"""Prepare and assemble: what is signed, where it is put, and that strangers' programs accept it."""

from __future__ import annotations

import hashlib
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml import SignatureConfiguration, SignatureMethod, XMLSigner, XMLVerifier
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm

from exchange.errors import BadSignature, TokenError, Unreadable
from exchange.signing.profiles import PROFILES
from exchange.signing.sealing import check
from exchange.signing.xmldsig import assemble, prepare
from tests import pki
from tests.sealing import DS, KEYS, MESSAGE, canonical, require, seal, verified

KNOWN_ELSEWHERE = ["ceb-rsa-sha1", "rsa-sha256", "ecdsa-sha256"]  # no SM2 in signxml and xmlsec1

ODD = (
    '<?xml version="1.0" encoding="GB18030"?><!-- 前 --><根 xmlns="urn:d" xmlns:b="urn:b" xmlns:a="urn:a" xml:lang="zh"'
    ' xml:space="preserve" 备注="&lt;根>"><子 xmlns="">甲<![CDATA[</根>]]>㐀</子>\n</根 >\n<!-- </根> --> '
)


def prepared(document: bytes, profile: str = "ecdsa-sha256"):
    return prepare(document, PROFILES[profile], pki.der(KEYS[profile]))


@pytest.mark.parametrize("profile", KEYS)
def test_a_signature_has_exactly_the_form_that_the_field_uses(profile: str) -> None:
    signature = etree.fromstring(seal(MESSAGE, profile))[-1]
    wanted = PROFILES[profile]
    assert [(node.tag.removeprefix(DS), dict(node.attrib)) for node in signature.iter()] == [
        ("Signature", {}),
        ("SignedInfo", {}),
        ("CanonicalizationMethod", {"Algorithm": "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"}),
        ("SignatureMethod", {"Algorithm": wanted.method}),
        ("Reference", {"URI": ""}),
        ("Transforms", {}),
        ("Transform", {"Algorithm": "http://www.w3.org/2000/09/xmldsig#enveloped-signature"}),
        ("DigestMethod", {"Algorithm": wanted.digest_method}),
        ("DigestValue", {}),
        ("SignatureValue", {}),
        ("KeyInfo", {}),
        ("KeyName", {}),
        ("X509Data", {}),
        ("X509Certificate", {}),
    ]
    certificate = pki.der(KEYS[profile])
    assert b64decode(signature.findtext(f".//{DS}X509Certificate") or "") == certificate
    assert b64decode(signature.findtext(f".//{DS}DigestValue") or "") == wanted.digest(canonical(MESSAGE))


def test_the_profiles_of_the_customs_digest_with_sha1_and_the_one_of_2022_with_sm3() -> None:
    assert PROFILES["ceb-sm2"].digest(b"abc") == hashlib.sha1(b"abc").digest()
    assert PROFILES["ceb-rsa-sha1"].digest(b"abc") == hashlib.sha1(b"abc").digest()
    sm3_of_abc = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"  # GB/T 32905-2016, A.1
    assert PROFILES["chinaport-2022-sm2"].digest(b"abc").hex() == sm3_of_abc


def test_key_name_is_the_serial_in_hex_with_its_leading_zero() -> None:
    assert b"<ds:KeyName>01691fe9</ds:KeyName>" in seal(MESSAGE, "rsa-sha256")
    assert b"<ds:KeyName>03000000000cde70</ds:KeyName>" in seal(MESSAGE, "ceb-sm2")


@pytest.mark.parametrize("profile", KNOWN_ELSEWHERE)
@pytest.mark.parametrize("document", [MESSAGE, ODD.encode("gb18030")], ids=["message", "odd"])
def test_xmlsec1_accepts_the_signature(profile: str, document: bytes, tmp_path: Path) -> None:
    program = require("xmlsec1")
    file = tmp_path / "sealed.xml"
    file.write_bytes(seal(document, profile))
    trusted = ["--trusted-pem", str(pki.shared() / "ca.crt")]
    subprocess.run([program, "--verify", *trusted, str(file)], check=True, capture_output=True, timeout=30)
    file.write_bytes(file.read_bytes().replace(b"ORDER-00000001", b"ORDER-00000002").replace(b"zh", b"en"))
    assert subprocess.run([program, "--verify", *trusted, str(file)], capture_output=True, timeout=30).returncode


class LenientSigner(XMLSigner):
    """signxml refuses SHA-1 by default."""

    def check_deprecated_methods(self) -> None:
        pass


@pytest.mark.parametrize("profile", KNOWN_ELSEWHERE)
def test_signxml_accepts_the_signature(profile: str) -> None:
    XMLVerifier().verify(
        seal(MESSAGE, profile),
        x509_cert=(pki.shared() / f"{KEYS[profile]}.crt").read_text(),
        expect_config=SignatureConfiguration(
            signature_methods=frozenset({SignatureMethod(PROFILES[profile].method)}),
            digest_algorithms=frozenset({DigestAlgorithm(PROFILES[profile].digest_method)}),
        ),
    )


@pytest.mark.parametrize("profile", KNOWN_ELSEWHERE)
def test_we_accept_what_signxml_signs_by_the_profile(profile: str) -> None:
    signer = LenientSigner(
        signature_algorithm=SignatureMethod(PROFILES[profile].method),
        digest_algorithm=DigestAlgorithm(PROFILES[profile].digest_method),
        c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_0,
    )
    folder, key = pki.shared(), KEYS[profile]
    signed = signer.sign(
        etree.fromstring(MESSAGE),
        key=(folder / f"{key}.key").read_bytes(),
        cert=(folder / f"{key}.crt").read_bytes(),
        exclude_c14n_transform_element=True,
    )
    assert verified(etree.tostring(signed), key).profile.name == profile


@pytest.mark.parametrize(
    "document",
    [
        MESSAGE,
        b"\xef\xbb\xbf" + MESSAGE,
        MESSAGE.replace(b"UTF-8", b"GBK").decode().encode("gbk"),
        ODD.encode("gb18030"),
        b"<a><a></a></a\n>",
        b"<a><![CDATA[</a>]]></a> <!-- > --> <!--<a>-->",
        b"<x--></x-->",
    ],
)
def test_bytes_are_inserted_and_none_is_changed(document: bytes) -> None:
    sealed = seal(document, "ecdsa-sha256")
    start, end = sealed.index(b"<ds:Signature"), sealed.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    assert sealed[:start] + sealed[end:] == document
    assert verified(sealed).signed == canonical(document)


@pytest.mark.parametrize("document", [b"<a/>", b"<a b='>/' />\n<!-- <a></a> -->\n"])
def test_a_root_without_content_is_opened(document: bytes) -> None:
    sealed = seal(document, "ecdsa-sha256")
    head, _, tail = document.partition(b"/>")
    assert sealed.startswith(head + b"><ds:Signature")
    assert sealed.endswith(b"</ds:Signature></a>" + tail)
    assert verified(sealed).signed == canonical(document)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (MESSAGE.decode().replace("UTF-8", "UTF-16").encode("utf-16"), "encoding is UTF-16"),
        (b"<a><b/><!-- c --></a>", "comments"),
        (b"<a><?p i?></a>", "processing instructions"),
        (b"<?p i?><a></a>", "processing instructions"),
        (b"<!DOCTYPE a><a></a>", "DOCTYPE"),
        (b"<a xmlns='relative'></a>", "relative namespace"),
        (b"<a><s:Signature xmlns:s='http://www.w3.org/2000/09/xmldsig#'/></a>", "signed already"),
    ],
)
def test_what_can_not_be_signed_is_refused_with_the_reason(document: bytes, reason: str) -> None:
    with pytest.raises(BadSignature, match=reason) as refused:
        prepared(document)
    assert refused.value.code == "SWX-1038"
    assert refused.value.zh != refused.value.en


def test_no_xml_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        prepared(b"UNA:+.? '")


@pytest.mark.parametrize(
    "other", [b"", b"<b></b>", b"<aa></aa>", b"<a>", b"<a></a>x", "<a></a>".encode("utf-16"), "<a/>".encode("utf-32")]
)
def test_a_signature_is_never_put_into_another_document(other: bytes) -> None:
    with pytest.raises(BadSignature, match="SWX-1038"):
        assemble(other, prepared(b"<a></a>"), b"value")


def test_a_large_tail_of_blanks_and_comments_costs_no_more_than_its_size() -> None:
    document = b"<a></a>" + b"\n <!-- </a> -->" * 50_000 + b" " * 500_000
    assert assemble(document, prepared(b"<a></a>"), b"value").startswith(b"<a><ds:Signature")


def test_a_parsed_root_serves_as_well_as_its_bytes_and_stays_as_it_is() -> None:
    root = etree.fromstring(MESSAGE)
    before = etree.tostring(root)
    assert prepare(root, PROFILES["rsa-sha256"], pki.der("rsa")) == prepared(MESSAGE, "rsa-sha256")
    assert etree.tostring(root) == before


def test_only_the_canonical_signed_info_goes_to_the_token() -> None:
    job = prepared(MESSAGE, "ceb-sm2").job("key-of-the-house")
    assert (job.key, job.algorithm) == ("key-of-the-house", "sm2-sm3")
    assert job.data.startswith(
        b'<ds:SignedInfo xmlns:ceb="http://www.chinaport.gov.cn/ceb" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
        b' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><ds:CanonicalizationMethod'
    )
    assert len(job.data) < 1000


@pytest.mark.parametrize("profile", KEYS)
def test_a_device_that_signs_wrongly_is_caught_before_anything_is_sent(profile: str) -> None:
    waiting = prepared(MESSAGE, profile)
    value = b64decode(etree.fromstring(seal(MESSAGE, profile)).findtext(f".//{DS}SignatureValue") or "")
    job = waiting.job(KEYS[profile])
    check(job, value, pki.der(KEYS[profile]))
    for wrong in (bytes([value[0] ^ 1]) + value[1:], value[:-1], b"", bytes(len(value))):
        with pytest.raises(TokenError, match="SWX-5030"):
            check(job, wrong, pki.der(KEYS[profile]))


NAMES = st.sampled_from(["a", "b", "p:a", "q:c", "x--", "元素"])
TEXTS = st.text(st.characters(codec="gb18030", categories=["L", "N", "P", "Zs"], include_characters="<>&\"'\n\t "))


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    """Write an element as people do: with blanks in tags, self-closed or not, with CDATA."""
    name, blank = draw(NAMES), draw(st.sampled_from(["", " ", "\n"]))
    note = draw(TEXTS).translate(str.maketrans({"<": "&lt;", "&": "&amp;", '"': "&quot;"}))
    scope = ' xmlns:p="urn:p" xmlns:q="urn:q"' + draw(st.sampled_from(["", ' xmlns="urn:d"', ' xmlns=""']))
    start = f'<{name}{scope} note="{note}"'
    inside = draw(st.lists(elements(depth - 1), max_size=2)) if depth else []
    text = draw(TEXTS)
    if "]]>" not in text:
        inside.append(f"<![CDATA[{text}]]>")
    if not inside:
        return f"{start}{blank}/>"
    return f"{start}>{''.join(inside)}</{name}{blank}>"


@settings(max_examples=60, deadline=None)
@given(elements(), st.sampled_from(["UTF-8", "GB18030"]), st.sampled_from(["", "\n", "<!-- </a> -->\n", "<!--/>-->"]))
def test_any_document_can_be_sealed_and_then_verifies_as_itself(element: str, encoding: str, tail: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?>\n{element}{tail}'.encode(encoding)
    if "<!--" in tail and etree.fromstring(document).tag.endswith("--"):
        return  # an end tag </x--> may be taken for the end of a comment, so these two together are refused
    sealed = seal(document, "ecdsa-sha256")
    assert verified(sealed).signed == canonical(document)
