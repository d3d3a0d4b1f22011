"""Whom to believe: does a certificate chain to an authority, and has nobody revoked it? Pure: instants are given.

The rules are RFC 5280, 6.1, as far as signers of messages need them, for RSA, ECDSA and SM2 alike: issuer's name and
key identifier, the signature of every link, basicConstraints and pathLen, keyUsage, no critical extension that isn't
known here, the time of every link. Names of authorities on the way come from the administrator's files only, never
from a message. Chains don't depend on time or lists: they are found once, and a known certificate costs microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from attrs import evolve, field, frozen
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from exchange.errors import BadSignature, ConfigurationError
from exchange.instants import Instant, show_instant
from exchange.signing import certificates
from exchange.signing.certificates import Certificate, Signed
from exchange.signing.faults import CHAIN, OVERDUE, REVOKED, UNLISTED, bad
from exchange.signing.revocation import EARLIEST, UNFIT, RevocationList

DEPTH: Final = 8  # certificates from a signer to his root
STRANGE: Final = "SWX-4103"
BACKWARD: Final = "SWX-4104"
_KNOWN: Final = frozenset(  # critical extensions that are heeded; policies, as long as none is demanded
    (ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.CERTIFICATE_POLICIES)
)
Fault = tuple[str, str]  # what is wrong, in English and Chinese


# -- one certificate ---------------------------------------------------------------------------------------------


@frozen(eq=False)
class Link:
    """A certificate as a link of a chain."""

    certificate: Certificate
    signed: Signed = field(repr=False)
    issuer: str
    serial: int
    key_id: bytes = b""
    issuer_key_id: bytes = b""
    issuer_serial: int | None = None  # serial number of the issuer's certificate, where it is told
    is_authority: bool = False
    below: int | None = None  # authorities that may stand below it; None: any number
    uses: Any = None  # x509.KeyUsage, if it has one
    odd: tuple[str, ...] = ()  # critical extensions that aren't known here
    places: frozenset[str] = frozenset()  # where its revocation list is to be found

    @property
    def subject(self) -> str:
        """The subject, as RFC 4514 writes it."""
        return self.certificate.subject

    @property
    def ends(self) -> bool:
        """Tell whether it vouches for itself, as roots do."""
        return self.subject == self.issuer and self.issuer_key_id in (b"", self.key_id)

    def may(self, *uses: str) -> bool:
        """Tell whether its key may be used in one of these ways; a certificate that is silent allows all."""
        return self.uses is None or any(getattr(self.uses, use) for use in uses)


@lru_cache(maxsize=8192)
def link(der: bytes) -> Link:
    """Read a DER certificate. Raises ConfigurationError ``SWX-4060`` where it can't be read."""
    certificate = certificates.read(der)
    try:
        return _link(certificate, x509.load_der_x509_certificate(der))
    except certificates.UNREADABLE as why:
        raise certificates.unreadable(f"certificate {certificate.serial} can't be read: {why}") from why


def _link(certificate: Certificate, parsed: x509.Certificate) -> Link:
    extensions: Any = {extension.oid: extension.value for extension in parsed.extensions}
    critical = {extension.oid for extension in parsed.extensions if extension.critical}
    basic, key = extensions.get(ExtensionOID.BASIC_CONSTRAINTS), extensions.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    above = extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    points = extensions.get(ExtensionOID.CRL_DISTRIBUTION_POINTS, ())
    outer = parsed.signature_algorithm_oid.dotted_string
    return Link(
        certificate,
        Signed(certificate.der, parsed.tbs_certificate_bytes, outer, parsed.signature),
        issuer=parsed.issuer.rfc4514_string(),
        serial=parsed.serial_number,
        key_id=key.digest if key else b"",
        issuer_key_id=(above and above.key_identifier) or b"",
        issuer_serial=above.authority_cert_serial_number if above else None,
        is_authority=bool(basic and basic.ca),
        below=basic.path_length if basic else None,
        uses=extensions.get(ExtensionOID.KEY_USAGE),
        odd=tuple(sorted(oid.dotted_string for oid in critical - _KNOWN)),
        places=frozenset(str(name.value) for point in points for name in point.full_name or ()),
    )


def _strange(of: Link | RevocationList, issuer: Link, use: str) -> Fault | None:
    """Return why *issuer* doesn't stand behind what names it as its issuer."""
    serial = of.issuer_serial if isinstance(of, Link) else None
    other = bool(of.issuer_key_id and issuer.key_id) and of.issuer_key_id != issuer.key_id
    if other or serial not in (None, issuer.serial):
        return f"it was issued by another key of {issuer.subject}", f"其签发者是 {issuer.subject} 的另一把密钥"
    if not issuer.is_authority or not issuer.may(use):
        return f"{issuer.subject} isn't a certificate authority", f"{issuer.subject} 不是签发机构"
    if not certificates.issued(issuer.certificate, of.signed):
        return f"the signature of {issuer.subject} on it doesn't stand", f"{issuer.subject} 对其的签名不成立"
    return None


# -- chains ------------------------------------------------------------------------------------------------------

Chain = tuple[Link, ...]  # the signer first, his root last


class Pool:
    """The certificates of one authority, and the chains that were found among them."""

    def __init__(self, ders: Iterable[bytes]) -> None:
        """Take roots and intermediates in DER. Raises ConfigurationError where one can't be read."""
        self.links = tuple(link(der) for der in dict.fromkeys(ders))
        self._roots = {one.certificate.der for one in self.links if one.ends}
        self._by_subject: dict[str, list[Link]] = {}
        for one in self.links:
            self._by_subject.setdefault(one.subject, []).append(one)
        self.chains = lru_cache(maxsize=8192)(self._chains)

    def _chains(self, der: bytes) -> tuple[tuple[Chain, ...], Fault]:
        """Return the chains of a certificate, and why one that was tried is none."""
        try:
            signer = link(der)
        except ConfigurationError as why:
            return (), (str(why), "证书无法读取")
        faults = [("the end of the chain isn't a root of this authority", "证书链未追溯到该机构的根证书")]
        return tuple(self._climb((signer,), faults)), faults[-1]

    def _climb(self, chain: Chain, faults: list[Fault]) -> Iterator[Chain]:
        top = chain[-1]
        if fault := _broken(chain):
            faults.append(fault)
        elif top.certificate.der in self._roots:
            yield chain
        elif top.subject == top.issuer and len(chain) == 1:
            faults.append(("it vouches for itself and isn't one of this authority's", "该证书为自签名，且不属于该机构"))
        elif top.issuer not in self._by_subject:
            missing = f"the certificate of {top.issuer} isn't among this authority's"
            faults.append((missing, f"该机构的证书中没有 {top.issuer} 的证书"))
        elif len(chain) < DEPTH:
            for issuer in self._by_subject[top.issuer]:
                if issuer in chain:
                    continue
                if fault := _strange(top, issuer, "key_cert_sign"):
                    faults.append(fault)
                else:
                    yield from self._climb((*chain, issuer), faults)

    def stands_behind(self, list: RevocationList) -> Fault | None:
        """Return why none of these authorities signed a revocation list."""
        fault: Fault | None = (f"it is by {list.issuer}, who isn't among them", f"其签发者 {list.issuer} 不在其中")
        for issuer in self._by_subject.get(list.issuer, ()):
            fault = _strange(list, issuer, "crl_sign")
            if fault is None:
                break
        return fault


def _broken(chain: Chain) -> Fault | None:
    """Return what is wrong with the last link of a chain where it stands, whoever issued it.

    A signer goes by his serial number: his subject may be a person's, and this is logged.
    """
    last, between = chain[-1], chain[1:-1]
    name = last.subject if len(chain) > 1 else last.certificate.serial
    if last.odd:
        odd = f"{name}: {', '.join(last.odd)}"
        return f"there are critical extensions not known here in {odd}", f"含有未知的关键扩展：{odd}"
    if len(chain) == 1 and not last.may("digital_signature", "content_commitment"):
        return f"the key of {name} isn't for signatures (keyUsage)", f"{name} 的密钥不可用于签名"
    if last.below is not None and sum(one.subject != one.issuer for one in between) > last.below:
        return f"too many authorities stand below {name} (pathLen)", f"{name} 之下的签发机构层级过多"
    return None


def vouched(der: bytes, authorities: Iterable[bytes]) -> bool:
    """Tell whether one of these issued a certificate, or it chains to a root among them; instants aside.

    Raises TokenError where the chain is SM2 and this system has none.
    """
    try:
        signer, pool = link(der), Pool(authorities)
    except ConfigurationError:
        return False
    issuers = (one for one in pool.links if one.subject == signer.issuer)
    return any(_strange(signer, one, "key_cert_sign") is None for one in issuers) or bool(pool.chains(der)[0])


# -- authorities -------------------------------------------------------------------------------------------------


@frozen(eq=False)
class Authority:
    """An authority that was agreed on: its certificates, its revocation lists, and how much these matter."""

    name: str
    pool: Pool
    lists: tuple[RevocationList, ...] = ()
    require_crl: bool = False
    overdue: str = "warn"  # warn | hold

    def check(self, der: bytes, at: Instant) -> list[BadSignature]:
        """Return warnings about a signer's certificate that stands at *at*.

        Raises BadSignature: ``SWX-1101`` no chain, ``1100`` revoked, ``1102`` list overdue, ``1105`` no list. Raises
        TokenError where the chain is SM2 and this system has none.
        """
        chain = self.chain(der, at)
        warnings: list[BadSignature] = []
        for one, issuer in pairwise(chain):
            lists = [list for list in self.lists if _is_for(list, one, issuer)]
            if one is chain[0] and not lists and self.require_crl:
                raise bad(UNLISTED, issuer.subject, issuer.subject)
            for list in lists:
                if list.revoked.get(one.serial, at + 1) <= at:
                    raise _revoked(one, list.revoked[one.serial])
            late = [_overdue(list) for list in lists if list.overdue(at)]
            if late and self.overdue == "hold":
                raise late[0]
            warnings += late
        return warnings

    def chain(self, der: bytes, at: Instant) -> Chain:
        """Return the first chain whose authorities are all within their time. Raises BadSignature ``SWX-1101``."""
        chains, (en, zh) = self.pool.chains(der)
        for chain in chains:
            late = next((one for one in chain[1:] if not one.certificate.stands(at)), None)
            if late is None:
                return chain
            since, until = show_instant(late.certificate.not_before), show_instant(late.certificate.not_after)
            en, zh = f"{late.subject} is valid {since} to {until}", f"{late.subject} 有效期 {since} 至 {until}"
        raise bad(CHAIN, f"{self.name}: {en}", f"{self.name}：{zh}")

    def with_list(self, new: RevocationList, now: Instant) -> Authority:
        """Return this authority with a revocation list in the place of the earlier one of the same kind.

        Raises ConfigurationError: ``SWX-4103`` another's list, ``4104`` older than ours, ``4102`` of the future.
        """
        if fault := self.pool.stands_behind(new):
            text = f"no certificate of authority {self.name!r} stands behind this revocation list: {fault[0]}"
            raise ConfigurationError([text], code=STRANGE)
        if new.this_update > now + EARLIEST:
            raise ConfigurationError([f"this revocation list {new.show()} is of the future"], code=UNFIT)
        others = tuple(list for list in self.lists if list.key != new.key)
        for old in self.lists:
            if old.key == new.key and new.age < old.age:
                text = f"this revocation list {new.show()} is older than the one here, {old.show()}"
                raise ConfigurationError([text], code=BACKWARD)
        return evolve(self, lists=(*others, new))


def _is_for(list: RevocationList, one: Link, issuer: Link) -> bool:
    return (
        list.issuer == issuer.subject
        and (not list.issuer_key_id or not issuer.key_id or list.issuer_key_id == issuer.key_id)
        and (not list.places or bool(list.places & one.places))
        and (list.authorities if one.is_authority else list.users)
    )


def _revoked(one: Link, since: Instant) -> BadSignature:
    serial, day = one.certificate.serial, show_instant(since)
    return bad(REVOKED, f"{serial} is revoked since {day}", f"{serial} 自 {day} 起吊销")


def _overdue(list: RevocationList) -> BadSignature:
    due = show_instant(list.next_update)
    return bad(OVERDUE, f"the next list of {list.issuer} was due {due}", f"{list.issuer} 的下一份列表应于 {due} 发布")


# -- what an agreement asks for ----------------------------------------------------------------------------------


@frozen(eq=False)
class Terms:
    """Whose certificates a party may sign with: those of *authorities*, and of them also any with these subjects."""

    authorities: Sequence[Authority]
    signers: Sequence[str] = ()

    def registers(self, der: bytes) -> bool:
        """Tell whether a certificate counts as registered by its subject, provided that it stands."""
        try:
            found = certificates.read(der)
            return found.subject in self.signers and found.key is not None
        except (ConfigurationError, *certificates.UNREADABLE):  # not ours: whatever is wrong with it, it isn't known
            return False

    def require(self, signer: Certificate, at: Instant) -> list[BadSignature]:
        """Return warnings about a signer that stands; the first authority that he chains to has the word.

        Raises BadSignature as ``Authority.check`` does.
        """
        why = bad(CHAIN)
        for authority in self.authorities:
            try:
                return authority.check(signer.der, at)
            except BadSignature as error:
                if error.code != CHAIN:
                    raise
                why = error
        raise why


def subject(text: str) -> str:
    """Return a subject as those of certificates are written. Raises ValueError where *text* isn't RFC 4514.

    >>> subject("CN=Example,  C=CN")
    'CN=Example,C=CN'
    """
    try:
        return x509.Name.from_rfc4514_string(re.sub(r"(?<!\\)([,+])\s+", r"\1", text)).rfc4514_string()
    except ValueError as why:
        raise ValueError(
            f"{text!r} is no subject such as 'CN=Example,O=Example,C=CN' (RFC 4514) {why}".strip()
        ) from why
