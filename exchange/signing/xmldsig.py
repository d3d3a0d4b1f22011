"""Enveloped XML signatures (W3C XML-Signature 1.0; CEB specification 2022, chapter 6).

Signing is split so that a device only ever sees the canonical SignedInfo, about 700 bytes::

    prepared = prepare(root, profile, certificate)      # canonical form, digest, SignedInfo
    [value] = await token.sign([prepared.job(key)])     # ports.Token
    sealed = assemble(original, prepared, value)        # the original bytes with the signature spliced in

Verifying enforces the profile to the letter: exactly one ``ds:Signature``, a child of the root at the place that the
message's type has for it, of exactly the elements and attributes that the field's messages have, over the whole
document, by a certificate that the party registered. What it covers is the document without the signature, every blank
included, so what was signed and what anybody reads afterwards are the same. Comments would be an exception (they aren't
signed, yet split the text around them) and are refused, as are processing instructions and DOCTYPE.

The place is the root's end, or in front of the children that a type has *behind* it: names in the root's namespace, in
order, each at most once. They are signed like everything else.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache, partial
from itertools import product
from typing import Final
from xml.sax.saxutils import escape

from attrs import frozen
from lxml import etree

from exchange.instants import Instant
from exchange.ports import Job
from exchange.signing import canonical as c14n
from exchange.signing import certificates as x509
from exchange.signing.certificates import Certificate
from exchange.signing.contract import Verified, by_any, require_fit, require_signed, unaccepted
from exchange.signing.faults import DIGEST, MISSING, NAMED, STRANGER, STRUCTURE, UNFIT, WRAPPED, bad
from exchange.signing.profiles import Profile
from exchange.signing.splice import Place, require_spliceable, splice
from exchange.signing.trust import Terms

_NAMESPACE: Final = "http://www.w3.org/2000/09/xmldsig#"
_DS: Final = "{" + _NAMESPACE + "}"
_ENVELOPED: Final = _NAMESPACE + "enveloped-signature"


# -- signing -----------------------------------------------------------------------------------------------------


@frozen
class Prepared:
    """A document that waits for its signature value."""

    profile: Profile
    signed_info: bytes  # canonical: what the token signs
    before: bytes  # the signature as it will stand in the document, up to the value
    after: bytes  # and from there on
    root: bytes  # the root's name as written
    place: Place | None = None  # in front of which element it will stand; none: as the root's last child

    def job(self, key: str) -> Job:
        """Return what a token is asked to do."""
        return Job(key, self.profile.algorithm, self.signed_info, self.profile.sm2_id)


# SignedInfo behind its start tag, spelled canonically: the canonical form differs from it in that tag only.
_SIGNED_INFO: Final = (
    '<ds:CanonicalizationMethod Algorithm="{c14n}"></ds:CanonicalizationMethod>'
    '<ds:SignatureMethod Algorithm="{profile.method}"></ds:SignatureMethod>'
    '<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="{enveloped}"></ds:Transform></ds:Transforms>'
    '<ds:DigestMethod Algorithm="{profile.digest_method}"></ds:DigestMethod><ds:DigestValue>'
)
_SIGNED_INFO_END: Final = b"</ds:DigestValue></ds:Reference></ds:SignedInfo>"
_SIGNATURE: Final = f'<ds:Signature xmlns:ds="{_NAMESPACE}"><ds:SignedInfo>'.encode()
_KEY_NAME: Final = "<ds:KeyName>{name}</ds:KeyName>"
_KEY_INFO: Final = (
    "</ds:SignatureValue><ds:KeyInfo>{key_name}<ds:X509Data><ds:X509Certificate>{der}</ds:X509Certificate>"
    "</ds:X509Data></ds:KeyInfo></ds:Signature>"
)


@lru_cache
def _signed_info(profile: Profile) -> bytes:
    return _SIGNED_INFO.format(c14n=c14n.URI, enveloped=_ENVELOPED, profile=profile).encode()


@lru_cache(maxsize=1024)
def _key_info(certificate: bytes, rule: str) -> bytes:
    """Return what stands behind the value: the certificate, and its name as the profile's *rule* has it."""
    name = _key_name(x509.read(certificate), rule)
    key_name = _KEY_NAME.format(name=escape(name)) if name else ""
    info = _KEY_INFO.format(key_name=key_name, der=b64encode(certificate).decode())
    return info.encode("ascii", "xmlcharrefreplace")  # the document may be in any charset


def _key_name(certificate: Certificate, rule: str) -> str:
    return {"serial": certificate.serial, "subject": certificate.subject}.get(rule, "")


def prepare(
    document: bytes | etree._Element,
    profile: Profile,
    certificate: bytes,
    behind: Sequence[str] = (),
    at: Instant = 0,
) -> Prepared:
    """Digest a document (its bytes, or its already parsed root) and write the SignedInfo that a token must sign.

    *certificate* is the signer's, in DER; *behind* names the children that stand behind a signature. Raises
    BadSignature ``SWX-1038`` where the document can't be signed (it is signed already; holds comments, processing
    instructions or a DOCTYPE; can't be spliced), Unreadable where it's no XML, and ConfigurationError where the
    certificate can't be read.
    """
    root = c14n.parsed(document)
    encoding = root.getroottree().docinfo.encoding or "UTF-8"
    require_spliceable(encoding)
    if next(root.iter(_DS + "Signature"), None) is not None:
        raise bad(UNFIT, "it is signed already", "报文已有签名")
    digest = b64encode(profile.digest(c14n.canonical(root, UNFIT)))
    body = _signed_info(profile) + digest + _SIGNED_INFO_END
    return Prepared(
        profile=profile,
        signed_info=b"<ds:SignedInfo" + c14n.apex(root, {**root.nsmap, "ds": _NAMESPACE}) + b">" + body,
        before=_SIGNATURE + body + b"<ds:SignatureValue>",
        after=_key_info(certificate, profile.key_name),
        root=c14n.qname(root).encode(encoding),
        place=_place(root, encoding, behind) if behind and len(root) else None,
    )


def _place(root: etree._Element, encoding: str, behind: Sequence[str]) -> Place | None:
    """Return the place in front of the root's last children that are named in *behind*, if there are any."""
    next_one = None
    for child in reversed(root):
        if child.tag not in _named(root, behind):
            break
        next_one = child
    if next_one is None:
        return None
    written, local = c14n.qname(next_one), etree.QName(next_one).localname
    number = 0
    for element in root.iter(f"{{*}}{local}"):
        if element is next_one:
            break
        number += c14n.qname(element) == written
    return Place(written, number, encoding)


def assemble(original: bytes, prepared: Prepared, signature: bytes) -> bytes:
    """Return *original* with the signature in its place; *signature* is the token's value.

    Raises BadSignature ``SWX-1038`` where *original* isn't what was prepared, or is in UTF-16 or the like.
    """
    value = b64encode(prepared.profile.written(signature))
    return splice(original, prepared.root, prepared.before + value + prepared.after, prepared.place)


# -- verifying ---------------------------------------------------------------------------------------------------


_Parts = dict[str, etree._Element]  # the elements of a signature by local name
_Shape = tuple[tuple[str, int, tuple[str, ...]], ...]  # each element in document order: name, children, attributes


def _shape(*key_info: tuple[str, int]) -> _Shape:
    """Return the shape of a whole signature, given what stands in its KeyInfo."""
    plain = (
        ("Signature", 3), ("SignedInfo", 3), ("CanonicalizationMethod", 0), ("SignatureMethod", 0), ("Reference", 3),
        ("Transforms", 1), ("Transform", 0), ("DigestMethod", 0), ("DigestValue", 0), ("SignatureValue", 0),
    )  # fmt: skip
    held = ("KeyInfo", sum(name != "X509Certificate" for name, _ in key_info))
    algorithms = ("CanonicalizationMethod", "SignatureMethod", "Transform", "DigestMethod")
    attributes = {"Reference": ("URI",), **dict.fromkeys(algorithms, ("Algorithm",))}
    return tuple((_DS + name, count, attributes.get(name, ())) for name, count in (*plain, held, *key_info))


_X509_DATA: Final = (("X509Data", 1), ("X509Certificate", 0))
_SHAPES: Final = frozenset((_shape(("KeyName", 0), *_X509_DATA), _shape(*_X509_DATA), _shape(("KeyName", 0))))


def verify(
    document: bytes | etree._Element,
    *,
    profiles: Collection[Profile],
    certificates: Collection[bytes],
    at: Instant,
    behind: Sequence[str] = (),
    content: bytes | None = None,
    trust: Terms | None = None,
) -> Verified:
    """Verify the signature in a document (its bytes, or its already parsed root, which is left as it is).

    Nothing can stand beside it as *content*: what was signed is the document. See ``contract.Format``.
    With *trust*, the certificate must chain to an authority, too, and may be one that isn't among *certificates* where
    its subject is agreed on; ``trust.Authority.check`` says what that raises.
    """
    if content is not None:
        raise bad(STRUCTURE, "it holds what it signs: hand in the document alone", "签名在报文之内：请只提交报文")
    root = c14n.parsed(document)
    signature = _the_signature(root, behind)
    whole = c14n.canonical(root, STRUCTURE)
    parts = _parts(signature)
    fitting = _fitting(parts, profiles)
    signers = _signers(parts, certificates, fitting[0].key_name, trust)
    signed, signed_info = _cut(whole, root, parts)
    return by_any([*product(fitting, signers)], partial(_verified, parts, signed, signed_info, at, trust))


def _verified(
    parts: _Parts,
    signed: bytes,
    signed_info: bytes,
    at: Instant,
    trust: Terms | None,
    candidate: tuple[Profile, Certificate],
) -> Verified:
    profile, signer = candidate
    require_fit(signer, profile, at)
    if profile.digest(signed) != _decoded(parts["DigestValue"]):
        raise bad(DIGEST)
    value = require_signed(signer, profile, _decoded(parts["SignatureValue"]), signed_info)
    warnings = trust.require(signer, at) if trust else ()
    return Verified(signer, profile, signed, warnings, given=signed_info, value=value)


def _the_signature(root: etree._Element, behind: Sequence[str]) -> etree._Element:
    """Return the only signature, which must be the root's last child, or stand right in front of those *behind* it."""
    found = list(root.iter(_DS + "Signature"))
    if not found:
        raise bad(MISSING)
    if len(found) > 1:
        raise bad(WRAPPED, f"there are {len(found)} signatures instead of one", f"有 {len(found)} 个签名，只允许一个")
    if found[0].getparent() is not root or not _in_place(root, found[0], behind):
        if not behind:
            raise bad(WRAPPED, "it must be the last child of the root", "签名必须是根元素的最后一个子元素")
        names = ", ".join(behind)
        raise bad(
            WRAPPED,
            f"it must be the last child of the root but for {names}, and stand in front of that",
            f"签名必须是根元素的最后一个子元素，且仅可位于 {names} 之前",
        )
    return found[0]


def _in_place(root: etree._Element, signature: etree._Element, behind: Sequence[str]) -> bool:
    """Tell whether everything behind a signature may be there, and nothing of it stands in front."""
    if not behind:
        return signature.getnext() is None
    names = _named(root, behind)
    there = [child.tag for child in signature.itersiblings()]
    before = signature.getprevious()
    return there == [name for name in names if name in there] and (before is None or before.tag not in names)


def _named(root: etree._Element, names: Iterable[str]) -> list[str]:
    """Return names of children as they are qualified: in the root's namespace."""
    namespace = etree.QName(root).namespace
    return [f"{{{namespace}}}{name}" if namespace else name for name in names]


def _parts(signature: etree._Element) -> _Parts:
    nodes = list(signature.iter())
    if tuple([(node.tag, len(node), tuple(node.keys())) for node in nodes]) not in _SHAPES:
        raise bad(STRUCTURE, "it has other elements or attributes than the profile", "含有签名规格以外的元素或属性")
    if any((node.tail or "").strip() or (len(node) and (node.text or "").strip()) for node in nodes):
        raise bad(STRUCTURE, "there is text between its elements or behind it", "元素之间或签名之后有文本")
    return {node.tag[len(_DS) :]: node for node in nodes}


def _fitting(parts: _Parts, profiles: Collection[Profile]) -> list[Profile]:
    """Return the accepted profiles whose URIs the signature names; there is one at least."""
    if parts["Reference"].get("URI") != "":
        raise bad(WRAPPED, 'the Reference must have URI=""', 'Reference 的 URI 必须为 ""')
    if parts["Transform"].get("Algorithm") != _ENVELOPED:
        raise bad(STRUCTURE, "the only Transform must be enveloped-signature", "只允许 enveloped-signature 变换")
    method, digest_method = parts["SignatureMethod"].get("Algorithm"), parts["DigestMethod"].get("Algorithm")
    known = [profile for profile in profiles if profile.enveloped]
    fitting = [profile for profile in known if (profile.method, profile.digest_method) == (method, digest_method)]
    if parts["CanonicalizationMethod"].get("Algorithm") != c14n.URI or not fitting:
        raise unaccepted(known)
    return fitting


def _signers(parts: _Parts, certificates: Collection[bytes], rule: str, trust: Terms | None) -> list[Certificate]:
    """Return the registered certificate that the signature shows; those of its KeyName where that is all there is."""
    if "X509Certificate" in parts:
        shown = _decoded(parts["X509Certificate"])
        named = [der for der in certificates if der == shown]
        if not named and trust is not None and trust.registers(shown):
            named = [shown]
    else:
        rule = rule if rule == "subject" else "serial"
        name = (parts["KeyName"].text or "").strip().lower().lstrip("0")
        named = [der for der in certificates if _key_name(x509.read(der), rule).lower().lstrip("0") == name]
    if not named:
        raise bad(STRANGER if "X509Certificate" in parts or trust is None else NAMED)
    return [x509.read(der) for der in named]


def _cut(whole: bytes, root: etree._Element, parts: _Parts) -> tuple[bytes, bytes]:
    """Return what was signed, which is the canonical document without the signature, and the canonical SignedInfo."""
    written = c14n.qname(parts["Signature"])
    name, start = written.encode(), len(whole)
    for _ in range(1 + _namesakes_behind(parts["Signature"], written)):
        start = max(whole.rfind(b"<" + name + b" ", 0, start), whole.rfind(b"<" + name + b">", 0, start))
    end = whole.index(b"</" + name + b">", start) + len(name) + 3
    element = parts["SignedInfo"]
    name = c14n.qname(element).encode()
    opened = whole.index(b"<" + name, start)
    body = whole[whole.index(b">", opened) : whole.index(b"</" + name + b">", opened)]
    signed_info = b"".join((b"<", name, c14n.apex(root, element.nsmap), body, b"</", name, b">"))
    return whole[:start] + whole[end:], signed_info


def _namesakes_behind(signature: etree._Element, written: str) -> int:
    """Count the elements behind a signature that are *written* like it, whatever they are."""
    behind = (element for sibling in signature.itersiblings() for element in sibling.iter("{*}Signature"))
    return sum(c14n.qname(element) == written for element in behind)


def _decoded(element: etree._Element) -> bytes:
    """Return what the element's base64 says, blanks aside; nothing where it's no base64, which matches nothing."""
    try:
        return b64decode("".join((element.text or "").split()), validate=True)
    except ValueError:
        return b""
