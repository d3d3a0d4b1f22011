"""Where a signature stands: where the schema has it, and nowhere else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from signxml import SignatureConfiguration, SignatureMethod, XMLVerifier
from signxml.algorithms import DigestAlgorithm

from exchange.catalogue import load
from exchange.errors import BadSignature
from exchange.formats._xml_schema import XSD
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import prepare
from tests import pki
from tests.sealing import DS, KEYS, canonical, code_of, require, seal, verified

CATALOGUE = load()
SIGNED = [type for type in CATALOGUE.types.values() if type.signature != "none"]
BEHIND = ("ExtendMessage",)
SAMPLES = {  # as they are, without the shape of a signature in them
    path.stem: re.sub(rb"<ds:Signature .*</ds:Signature>\s*", b"", path.read_bytes(), flags=re.DOTALL)
    for type in SIGNED
    for path in (type.spec.folder / "samples" / "valid").glob(f"{type.name}*")
    if b"ExtendMessage" in path.read_bytes()
}


def of(name: str) -> Any:
    return CATALOGUE.types[name.partition("--")[0]]


def behind_signature(type: Any, file: str) -> tuple[str, ...]:
    """Return what an XSD of ours lets stand behind the signature, groups looked up."""
    schema = etree.parse(type.spec.folder / file)
    common = etree.parse(type.spec.folder / "ceb-common.xsd")
    particles = schema.find(f"{XSD}element/{XSD}complexType/{XSD}sequence").getchildren()
    (place,) = [n for n, particle in enumerate(particles) if particle.get("ref") == "ds:Signature"]
    groups = [particle.get("ref").partition(":")[2] for particle in particles[place + 1 :]]
    found = [common.find(f"{XSD}group[@name='{group}']/{XSD}sequence") for group in groups]
    return tuple(element.get("name") for group in found for element in group)


@pytest.mark.parametrize("type", SIGNED, ids=lambda type: type.name)
def test_what_a_type_has_behind_its_signature_is_what_its_schemas_have_there(type: Any) -> None:
    for edition in type.spec.editions:
        assert type.spec.file.behind_signature == behind_signature(type, edition.file)


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("profile", ["ceb-rsa-sha1", "ecdsa-sha256"])
def test_a_message_with_an_extension_is_signed_where_its_schema_has_the_signature(
    name: str, profile: str, tmp_path: Path
) -> None:
    type, document = of(name), SAMPLES[name]
    behind = type.spec.file.behind_signature
    sealed = seal(document, profile, behind=behind)
    opened = CATALOGUE.open(sealed)
    for edition in type.spec.editions:
        assert CATALOGUE.schema(type, edition).valid(opened)
    assert verified(sealed, behind=behind).signed == canonical(document)
    start, end = sealed.index(b"<ds:Signature"), sealed.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    assert sealed[:start] + sealed[end:] == document
    accepted_elsewhere(sealed, profile, tmp_path)


def test_the_official_schemas_accept_what_is_signed_with_an_extension(official_samples: Path) -> None:
    tried = 0
    for file in official_samples.glob("*口业务节点报文.xsd"):
        schema = etree.XMLSchema(file=str(file))
        for name, document in SAMPLES.items():
            if etree.QName(etree.fromstring(document)).localname in {
                node.get("name") for node in etree.parse(file).getroot()
            }:
                sealed = etree.fromstring(seal(document, "ceb-rsa-sha1", behind=of(name).spec.file.behind_signature))
                schema.validate(sealed)
                assert not [e for e in schema.error_log if "Signature" in e.message or "ExtendMessage" in e.message], (
                    name
                )
                tried += 1
    assert tried >= 15


def accepted_elsewhere(sealed: bytes, profile: str, folder: Path) -> None:
    program, file = require("xmlsec1"), folder / "sealed.xml"
    file.write_bytes(sealed)
    subprocess.run(
        [program, "--verify", "--trusted-pem", str(pki.shared() / "ca.crt"), str(file)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    XMLVerifier().verify(
        sealed,
        x509_cert=(pki.shared() / f"{KEYS[profile]}.crt").read_text(),
        expect_config=SignatureConfiguration(
            signature_methods=frozenset({SignatureMethod(PROFILES[profile].method)}),
            digest_algorithms=frozenset({DigestAlgorithm(PROFILES[profile].digest_method)}),
        ),
    )


# -- bytes -------------------------------------------------------------------------------------------------------

TAIL = (
    '<e:ExtendMessage xmlns:e="urn:d"><e:name/><e:Message><![CDATA[</e:ExtendMessage><e:ExtendMessage>]]>'
    '<e:ExtendMessage a="&gt;"/><ds:Signature xmlns:ds="urn:other">x</ds:Signature></e:Message></e:ExtendMessage >\n'
)
HEAD = '<!-- <e:ExtendMessage> --><d xmlns="urn:d"><b><ExtendMessage/><![CDATA[<e:ExtendMessage>]]></b>'


@pytest.mark.parametrize("encoding", ["UTF-8", "GB18030", "GBK", "Big5"])
@pytest.mark.parametrize("text", ["", "十", "<![CDATA[十]>]]>"])  # 十 ends in "]" in GB18030's kin, as others do
def test_bytes_are_inserted_in_front_of_what_comes_behind_and_none_is_changed(encoding: str, text: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?>{HEAD}{text}{TAIL}</d>\n<!-- </d> -->'.encode(encoding)
    sealed = seal(document, "ecdsa-sha256", behind=BEHIND)
    start, end = (
        sealed.index(b'<ds:Signature xmlns:ds="http'),
        sealed.index(b"</ds:Signature>") + len(b"</ds:Signature>"),
    )
    assert sealed[:start] + sealed[end:] == document
    assert sealed[end:].decode(encoding) == f"{TAIL}</d>\n<!-- </d> -->"
    assert verified(sealed, behind=BEHIND).signed == canonical(document)


def test_what_is_called_the_same_in_another_namespace_is_content_like_any_other() -> None:
    document = b'<d><ExtendMessage xmlns="urn:other"/></d>'
    assert seal(document, "ecdsa-sha256", behind=BEHIND).endswith(b"</ds:Signature></d>")


def test_a_document_that_is_not_the_prepared_one_is_never_signed() -> None:
    from exchange.signing.xmldsig import assemble

    ready = prepare(b"<d><ExtendMessage/></d>", PROFILES["ecdsa-sha256"], pki.der("p256"), BEHIND)
    for other in (b"<d><b/></d>", b"<d><!-- <ExtendMessage/> --></d>", "<d><ExtendMessage/></d>".encode("utf-16")):
        with pytest.raises(BadSignature, match="SWX-1038"):
            assemble(other, ready, b"value")


NAMES = st.sampled_from(["ExtendMessage", "p:ExtendMessage", "ds:Signature", "Signature", "x"])
TEXTS = st.text(st.characters(codec="gb18030", categories=["L", "Zs"], include_characters="<>&]["), max_size=8)


@st.composite
def elements(draw: st.DrawFn, depth: int = 2) -> str:
    name, text = draw(NAMES), draw(TEXTS)
    scope = draw(st.sampled_from(["", ' xmlns="urn:d"', ' xmlns:p="urn:d"', ' xmlns="urn:o"', ' xmlns:ds="urn:o"']))
    inside = "".join(draw(st.lists(elements(depth - 1), max_size=2))) if depth else ""
    inside += f"<![CDATA[{text}]]>" if "]]>" not in text else ""
    return f"<{name}{scope}>{inside}</{name}>" if inside else f"<{name}{scope}/>"


@settings(max_examples=100, deadline=None)
@given(st.lists(elements(), max_size=3), elements(depth=1), st.sampled_from(["UTF-8", "GB18030"]))
def test_whatever_stands_around_it_a_signature_verifies_in_its_place(
    before: list[str], extension: str, encoding: str
) -> None:
    tail = f"<ExtendMessage>{extension}</ExtendMessage>"
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?><d xmlns="urn:d" xmlns:p="urn:p" xmlns:ds="urn:ds">'
        f"{''.join(before)}<y/>{tail}</d>"
    ).encode(encoding)
    sealed = seal(document, "ecdsa-sha256", behind=BEHIND)
    assert etree.fromstring(sealed)[-2].tag == f"{DS}Signature"
    assert verified(sealed, behind=BEHIND).signed == canonical(document)


# -- tricks ------------------------------------------------------------------------------------------------------

NAME = "CEB603Message"


def parts() -> tuple[bytes, bytes, bytes, bytes]:
    """Return a sealed message as what is before the signature, the signature, the extension, and the rest."""
    sealed = seal(SAMPLES[NAME], "ecdsa-sha256", behind=BEHIND)
    start, end = sealed.index(b"<ds:Signature"), sealed.index(b"</ds:Signature>") + len(b"</ds:Signature>")
    rest = sealed.rindex(b"</ceb:ExtendMessage>") + len(b"</ceb:ExtendMessage>")
    return sealed[:start], sealed[start:end], sealed[end:rest], sealed[rest:]


FAKE = b'<x xmlns:ds="urn:evil"><ds:Signature><ds:SignedInfo/></ds:Signature></x></ceb:Message>'
TRICKS: dict[str, tuple[Any, str]] = {
    "signature behind the extension": (lambda a, s, x, z: a + x + s + z, "SWX-1103"),
    "signature in the extension": (lambda a, s, x, z: a + x.replace(b"</ceb:Message>", s + b"</ceb:Message>") + z,
                                   "SWX-1103"),
    "another document behind the signature": (lambda a, s, x, z: a + s + b"<ceb:Inventory/>" + x + z, "SWX-1103"),
    "another document behind the extension": (lambda a, s, x, z: a + s + x + b"<ceb:Inventory/>" + z, "SWX-1103"),
    "an extension in front as well": (lambda a, s, x, z: a + x + s + x + z, "SWX-1103"),
    "two extensions": (lambda a, s, x, z: a + s + x + x + z, "SWX-1103"),
    "extension of another namespace": (lambda a, s, x, z: a + s + x.replace(b"<ceb:ExtendMessage", b'<ceb:ExtendMessage'
                                       b' xmlns:ceb="urn:evil"') + z, "SWX-1103"),
    "text in front of the extension": (lambda a, s, x, z: a + s + b"evil" + x + z, "SWX-1036"),
    "text behind the extension": (lambda a, s, x, z: a + s + x + b"evil" + z, "SWX-1032"),
    "extension taken away": (lambda a, s, x, z: a + s + z, "SWX-1032"),
    "extension changed": (lambda a, s, x, z: a + s + x.replace(b"<ceb:name>", b"<ceb:name>evil") + z, "SWX-1032"),
    "what looks like a signature in the extension": (
        lambda a, s, x, z: a + s + x.replace(b"</ceb:Message>", FAKE) + z, "SWX-1032"),
    "a signature in the extension as well": (
        lambda a, s, x, z: a + s + x.replace(b"</ceb:Message>", s + b"</ceb:Message>") + z, "SWX-1103"),
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_with_what_stands_behind_the_signature_is_refused(trick: str) -> None:
    document, code = TRICKS[trick]
    assert verified(b"".join(parts()), behind=BEHIND)
    assert code_of(document(*parts()), behind=BEHIND) == code


def test_where_nothing_may_stand_behind_it_the_signature_is_the_last_child() -> None:
    assert code_of(b"".join(parts())) == "SWX-1103"
