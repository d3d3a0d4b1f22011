"""What every format of signature keeps to: prepare, let a token sign, assemble; and verify.

A format is a file of this room; ``formats`` knows them by name. Whoever signs needs no more than a ``Prepared``: its
``Job`` for the token, and the way back to ``assemble``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from attrs import field, frozen

from exchange.errors import BadSignature
from exchange.instants import Instant
from exchange.ports import Job
from exchange.signing import certificates as x509
from exchange.signing.certificates import Certificate
from exchange.signing.faults import ALGORITHM, VALUE, bad, expired
from exchange.signing.profiles import Profile

Candidate = TypeVar("Candidate")


class Prepared(Protocol):
    """A document that waits for its signature value."""

    @property
    def profile(self) -> Profile:
        """The profile that it is signed by."""

    def job(self, key: str) -> Job:
        """Return what a token is asked to do."""


@frozen
class Verified:
    """A signature that stands."""

    signer: Certificate
    profile: Profile
    signed: bytes  # what was signed: the canonical document of an XML signature, the content of all others
    warnings: Sequence[BadSignature] = ()  # what is odd about its signer, and was agreed to be let pass
    given: bytes = field(default=b"", repr=False)  # what the key was given to sign
    value: bytes = field(default=b"", repr=False)  # what it made of that, as a token answers


class Format(Protocol):
    """One format of signatures. *document* is bytes, or the parsed root where that is XML."""

    def prepare(
        self, document: Any, profile: Profile, certificate: bytes, behind: Sequence[str] = (), at: Instant = 0
    ) -> Prepared:
        """Work out what a token must sign.

        *certificate* is the signer's, in DER; *behind* names the children that stand behind an XML signature; *at* is
        the time of signing where the format says it. Raises BadSignature where the document can't be signed so.
        """

    def assemble(self, original: bytes, prepared: Any, signature: bytes) -> bytes:
        """Return the signed document, or the signature that goes beside it; *signature* is the token's value."""

    def verify(
        self,
        document: Any,
        *,
        profiles: Collection[Profile],
        certificates: Collection[bytes],
        at: Instant,
        behind: Sequence[str] = (),
        content: bytes | None = None,
    ) -> Verified:
        """Verify a signature.

        *profiles* are the accepted ones; *certificates* the party's, in DER: a signature by any other is refused,
        however well it verifies. *at* is the instant at which the certificate must be valid; *content* is what was
        signed, where the signature came beside it; where the signature holds content, it must be the same.

        Raises BadSignature: ``SWX-1031`` missing, ``1032`` digest, ``1033`` value, ``1034`` another party's
        certificate, ``1035`` certificate expired, ``1039`` not valid yet, ``1036`` structure, ``1103`` not over the
        whole message, ``1037`` algorithm, ``1111`` content missing. Raises TokenError where the signature is SM2 and
        this system has no SM2.
        """


def require_fit(signer: Certificate, profile: Profile, at: Instant) -> None:
    """Raise BadSignature where a certificate isn't valid *at* that time, or can't sign by the profile."""
    if not signer.stands(at):
        raise expired(signer, at)
    if not x509.fits(signer, profile.algorithm):
        raise bad(
            ALGORITHM,
            f"the key of certificate {signer.serial} is of another kind than {profile.algorithm}",
            f"证书 {signer.serial} 的密钥类型与 {profile.algorithm} 不符",
        )


def require_signed(signer: Certificate, profile: Profile, written: bytes, data: bytes) -> bytes:
    """Return what is *written* as the value, as a token answers; raise BadSignature where it isn't over *data*."""
    try:
        value = profile.value(written)
    except ValueError:
        raise bad(VALUE) from None
    if not x509.signed_by(signer, profile.algorithm, value, data, profile.sm2_id):
        raise bad(VALUE)
    return value


def unaccepted(profiles: Iterable[Profile]) -> BadSignature:
    """Return the error of a signature that fits none of the accepted *profiles*."""
    names = ", ".join(dict.fromkeys(profile.name for profile in profiles))
    return bad(ALGORITHM, f"use one of the profiles {names}", f"请使用签名规格 {names}")


def by_any(candidates: Sequence[Candidate], verify: Callable[[Candidate], Verified]) -> Verified:
    """Return what stands by one of the *candidates*, which look alike from outside; else raise what the first says."""
    try:
        return verify(candidates[0])
    except BadSignature:
        for candidate in candidates[1:]:
            with suppress(BadSignature):
                return verify(candidate)
        raise
