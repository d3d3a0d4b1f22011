"""Verify: wrapping and other tricks with a genuine signature, all refused."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest
from lxml import etree

from tests.sealing import MESSAGE, code_of, edited, part, sealed

C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
KEY_INFO_END = b"</ds:KeyInfo>"
EVIL = MESSAGE.replace(b"ORDER-00000001", b"ORDER-EVIL-001")


def body(document: bytes) -> bytes:
    """Return a document without its XML declaration."""
    return document.partition(b"?>\n")[2].strip()


def signature() -> bytes:
    document = sealed()
    return document[document.index(b"<ds:Signature") : document.index(b"</ds:Signature>") + len(b"</ds:Signature>")]


def inside_root(document: bytes, addition: bytes) -> bytes:
    return document.replace(b"</ceb:CEB621Message>", addition + b"</ceb:CEB621Message>")


def zero_value(root: etree._Element) -> None:
    part(root, "SignatureValue").text = b64encode(bytes(64)).decode()


ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "no signature": (lambda: MESSAGE, "SWX-1031"),
    "signature of a lookalike namespace": (
        lambda: sealed().replace(b'xmlns:ds="http://www.w3.org/2000/09/xmldsig#"', b'xmlns:ds="urn:no-xmldsig"'),
        "SWX-1031",
    ),
    "genuine document inside another": (
        lambda: inside_root(body(EVIL), b"<ceb:old>" + body(sealed()) + b"</ceb:old>"),
        "SWX-1103",
    ),
    "genuine document inside another, its signature brought to the top": (
        lambda: inside_root(body(EVIL), b"<ceb:old>" + body(MESSAGE) + b"</ceb:old>" + signature()),
        "SWX-1032",
    ),
    "genuine document in an Object of its signature": (
        lambda: inside_root(
            body(EVIL),
            signature().replace(KEY_INFO_END, KEY_INFO_END + b"<ds:Object>" + body(MESSAGE) + b"</ds:Object>"),
        ),
        "SWX-1036",
    ),
    "genuine document in KeyInfo": (
        lambda: inside_root(body(EVIL), signature().replace(KEY_INFO_END, body(MESSAGE) + KEY_INFO_END)),
        "SWX-1036",
    ),
    "signature as the root": (lambda: signature(), "SWX-1103"),
    "two signatures": (lambda: inside_root(sealed(), signature()), "SWX-1103"),
    "a second signature deeper in": (
        lambda: sealed().replace(b"<ceb:note></ceb:note>", b"<ceb:note>" + signature() + b"</ceb:note>"),
        "SWX-1103",
    ),
    "signature not at the top": (
        lambda: MESSAGE.replace(b"</ceb:Inventory>", signature() + b"</ceb:Inventory>"),
        "SWX-1103",
    ),
    "element behind the signature": (lambda: inside_root(sealed(), b"<ceb:more/>"), "SWX-1103"),
    "text behind the signature": (lambda: inside_root(sealed(), b"more"), "SWX-1036"),
    "signature first": (
        lambda: MESSAGE.replace(b"<ceb:Inventory>", signature() + b"<ceb:Inventory>", 1),
        "SWX-1103",
    ),
    "reference to a part": (
        lambda: sealed().replace(b'URI=""', b'URI="#part"').replace(b"<ceb:Inventory>", b'<ceb:Inventory Id="part">'),
        "SWX-1103",
    ),
    "reference to another place": (lambda: sealed().replace(b'URI=""', b'URI="http://127.0.0.1/x"'), "SWX-1103"),
    "reference without URI": (lambda: sealed().replace(b' URI=""', b""), "SWX-1036"),
    "reference to a manifest": (
        lambda: sealed().replace(b'URI=""', b'URI="" Type="http://www.w3.org/2000/09/xmldsig#Manifest"'),
        "SWX-1036",
    ),
    "two references": (
        lambda: edited(sealed(), lambda root: part(root, "Reference").addprevious(
            etree.fromstring(etree.tostring(part(root, "Reference"))))),
        "SWX-1036",
    ),
    "transform that selects": (
        lambda: sealed().replace(b"#enveloped-signature", b"#base64"),
        "SWX-1036",
    ),
    "second transform (XPath)": (
        lambda: sealed().replace(
            b"</ds:Transforms>",
            b'<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>self::x</ds:XPath>'
            b"</ds:Transform></ds:Transforms>",
        ),
        "SWX-1036",
    ),
    "second transform (C14N)": (
        lambda: sealed().replace(
            b"</ds:Transforms>", b'<ds:Transform Algorithm="' + C14N.encode() + b'"/></ds:Transforms>'
        ),
        "SWX-1036",
    ),
    "no transform": (
        lambda: edited(sealed(), lambda root: part(root, "Transforms").remove(part(root, "Transform"))),
        "SWX-1036",
    ),
    "exclusive canonical form": (
        lambda: sealed().replace(C14N.encode(), b"http://www.w3.org/2001/10/xml-exc-c14n#"),
        "SWX-1037",
    ),
    "canonical form with comments": (
        lambda: sealed().replace(C14N.encode(), C14N.encode() + b"#WithComments"),
        "SWX-1037",
    ),
    "MAC keyed with what everybody knows": (
        lambda: sealed().replace(b"2001/04/xmldsig-more#ecdsa-sha256", b"2000/09/xmldsig#hmac-sha1"),
        "SWX-1037",
    ),
    "weak digest": (lambda: sealed().replace(b"2001/04/xmlenc#sha256", b"2001/04/xmldsig-more#md5"), "SWX-1037"),
    "digest of another profile": (
        lambda: sealed().replace(b"2001/04/xmlenc#sha256", b"2000/09/xmldsig#sha1"),
        "SWX-1037",
    ),
    "profile of another kind of key": (
        lambda: sealed().replace(b"#ecdsa-sha256", b"#rsa-sha256"),
        "SWX-1037",
    ),
    "KeyInfo only": (
        lambda: edited(sealed(), lambda root: [part(root, "Signature").remove(part(root, name))
                                               for name in ("SignedInfo", "SignatureValue")]),
        "SWX-1036",
    ),
    "empty signature": (
        lambda: inside_root(MESSAGE, b'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>'),
        "SWX-1036",
    ),
    "no KeyInfo": (
        lambda: edited(sealed(), lambda root: part(root, "Signature").remove(part(root, "KeyInfo"))),
        "SWX-1036",
    ),
    "empty KeyInfo": (
        lambda: edited(sealed(), lambda root: [part(root, "KeyInfo").remove(part(root, name))
                                               for name in ("KeyName", "X509Data")]),
        "SWX-1036",
    ),
    "key of its own choice in KeyInfo": (
        lambda: sealed().replace(KEY_INFO_END, b"<ds:KeyValue><ds:RSAKeyValue/></ds:KeyValue>" + KEY_INFO_END),
        "SWX-1036",
    ),
    "two certificates": (
        lambda: sealed().replace(b"</ds:X509Data>", b"<ds:X509Certificate>AAAA</ds:X509Certificate></ds:X509Data>"),
        "SWX-1036",
    ),
    "certificate that is none": (
        lambda: edited(sealed(), lambda root: setattr(part(root, "X509Certificate"), "text", "签名")),
        "SWX-1034",
    ),
    "empty values": (
        lambda: edited(sealed(), lambda root: [setattr(part(root, name), "text", None)
                                               for name in ("DigestValue", "SignatureValue")]),
        "SWX-1032",
    ),
    "empty signature value": (
        lambda: edited(sealed(), lambda root: setattr(part(root, "SignatureValue"), "text", None)),
        "SWX-1033",
    ),
    "zeros for a signature": (
        lambda: edited(sealed(), zero_value),
        "SWX-1033",
    ),
    "zeros for an SM2 signature": (
        lambda: edited(sealed("ceb-sm2"), zero_value),
        "SWX-1033",
    ),
    "comment that splits a field": (lambda: sealed().replace(b"ORDER-0000", b"ORDER-<!-- -->0000"), "SWX-1036"),
    "comment that splits a digest": (
        lambda: edited(sealed(), lambda root: part(root, "DigestValue").append(etree.Comment("x"))),
        "SWX-1036",
    ),
    "processing instruction": (lambda: sealed().replace(b"ORDER-0000", b"ORDER-<?x?>0000"), "SWX-1036"),
    "style sheet before the root": (lambda: b'<?xml-stylesheet href="x"?>' + body(sealed()), "SWX-1036"),
    "entity": (
        lambda: b'<!DOCTYPE a [<!ENTITY evil "1">]>' + body(sealed()).replace(b"ORDER-00000001", b"&evil;"),
        "SWX-1036",
    ),
    "attribute defaulted by a DOCTYPE": (
        lambda: b'<!DOCTYPE a [<!ATTLIST ceb:note evil CDATA "1">]>' + body(sealed()),
        "SWX-1036",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_trick_is_refused(attack: str) -> None:
    document, code = ATTACKS[attack]
    assert document() != sealed()
    assert code_of(document()) == code
