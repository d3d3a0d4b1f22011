"""Certificate revocation lists (RFC 5280, 5): which certificates an authority has taken back, and how new that is.

A list is for the certificates of its issuer; where an authority divides its lists, only for those that name the same
distribution point. Lists that only say what changed (delta), that speak for other authorities (indirect), that leave
reasons out or that never end can't be used and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from exchange.errors import ConfigurationError
from exchange.instants import SECOND, Instant, show_instant
from exchange.signing.certificates import UNREADABLE, Signed

GARBLED: Final = "SWX-4101"
UNFIT: Final = "SWX-4102"
EARLIEST: Final = 300 * SECOND  # that another's clock may be ahead of ours
_KNOWN: Final = frozenset((ExtensionOID.ISSUING_DISTRIBUTION_POINT, ExtensionOID.AUTHORITY_KEY_IDENTIFIER))


@frozen(eq=False)
class RevocationList:
    """One list, as its authority signed it."""

    signed: Signed = field(repr=False)
    issuer: str  # RFC 4514
    issuer_key_id: bytes  # empty: the list doesn't say
    number: int  # -1: the list has none
    this_update: Instant
    next_update: Instant
    revoked: Mapping[int, Instant] = field(repr=False)  # serial number -> since when
    places: frozenset[str] = frozenset()  # distribution points that it is for; empty: all
    users: bool = True  # whether it is for certificates of users,
    authorities: bool = True  # and of authorities

    @property
    def key(self) -> tuple[object, ...]:
        """What a later list of the same kind has in common with this one."""
        return self.issuer, self.issuer_key_id, self.places, self.users, self.authorities

    @property
    def age(self) -> tuple[int, Instant]:
        """What is greater in a later list."""
        return self.number, self.this_update

    def overdue(self, at: Instant) -> bool:
        """Tell whether the next list should be here by now."""
        return at > self.next_update

    def show(self) -> str:
        """Write which list this is.

        The number alone is no name: authorities that divide their lists count each of them.
        """
        number = f"number {self.number} " if self.number >= 0 else ""
        return f"{number}of {show_instant(self.this_update)}"


def from_file(content: bytes) -> tuple[RevocationList, ...]:
    """Read the lists in a file: one in DER, or any number in PEM.

    Raises ConfigurationError ``SWX-4101`` where it can't be read, ``SWX-4102`` where the list is of a kind that can't
    be used.
    """
    try:
        if b"-----BEGIN" not in content:
            return (_list(x509.load_der_x509_crl(content)),)
        blocks = [block for block in content.split(b"-----END X509 CRL-----")[:-1] if block.strip()]
        if not blocks:
            raise ValueError("there is no X509 CRL in this PEM file")
        return tuple(_list(x509.load_pem_x509_crl(block + b"-----END X509 CRL-----")) for block in blocks)
    except UNREADABLE as why:
        raise ConfigurationError([f"no revocation list can be read here: {why}"], code=GARBLED) from why


def _list(crl: x509.CertificateRevocationList) -> RevocationList:
    scope = _scope(crl)
    if crl.next_update_utc is None:
        raise _unfit("doesn't say when the next one comes")
    extensions: Any = {extension.oid: extension.value for extension in crl.extensions}
    number, key = extensions.get(ExtensionOID.CRL_NUMBER), extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    return RevocationList(
        Signed(
            crl.public_bytes(Encoding.DER),
            crl.tbs_certlist_bytes,
            crl.signature_algorithm_oid.dotted_string,
            crl.signature,
        ),
        issuer=crl.issuer.rfc4514_string(),
        issuer_key_id=(key and key.key_identifier) or b"",
        number=number.crl_number if number else -1,
        this_update=_instant(crl.last_update_utc),
        next_update=_instant(crl.next_update_utc),
        revoked={entry.serial_number: _instant(entry.revocation_date_utc) for entry in crl},
        **scope,
    )


def _scope(crl: x509.CertificateRevocationList) -> dict[str, Any]:
    """Return which certificates a list is for. Raises ConfigurationError where that can't be kept to."""
    for extension in crl.extensions:
        if extension.critical and extension.oid not in _KNOWN:
            raise _unfit(f"has a critical extension that isn't known here ({extension.oid.dotted_string})")
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return {}
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs or point.relative_name:
        raise _unfit("speaks for other authorities, or only of some reasons or attribute certificates")
    return {
        "places": frozenset(str(name.value) for name in point.full_name or ()),
        "users": not point.only_contains_ca_certs,
        "authorities": not point.only_contains_user_certs,
    }


def _unfit(text: str) -> ConfigurationError:
    return ConfigurationError([f"this revocation list {text}: ask the authority for a complete one"], code=UNFIT)


def _instant(moment: datetime) -> Instant:
    return int(moment.timestamp()) * SECOND
