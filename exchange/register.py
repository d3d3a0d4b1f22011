"""The register of signing keys: what a store keeps of keys, and of what people ask to be done with them.

A logical key is the name that routes and parties use. It has versions, each with a certificate, a window of time, a
state and its places on devices; a token knows a version as ``NAME/NUMBER``. Versions change by a ``Proposal``: one
person submits it, another decides, and both are kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from attrs import field, frozen

from exchange.instants import Instant

HELD: Final = frozenset(("active", "retiring"))  # states in which a token knows a version: what began may end


@frozen
class KeyVersion:
    """One version of a logical key (密钥版本)."""

    name: str
    number: int
    kind: str  # rsa | p256 | sm2
    certificate: bytes = field(repr=False)  # DER
    places: Mapping[str, str]  # device -> where it is there; of a key in a file: file -> path
    not_before: Instant
    not_after: Instant
    state: str = ""  # see signing.keyring.KEY
    change: int = 0  # the proposal that made it what it is

    @property
    def id(self) -> str:
        """The name by which tokens know it."""
        return f"{self.name}/{self.number}"

    def covers(self, at: Instant) -> bool:
        """Tell whether *at* lies in its window."""
        return self.not_before <= at <= self.not_after


def learn(known: dict[str, KeyVersion], versions: Iterable[KeyVersion]) -> None:
    """Bring what a token knows, by id, up to date with *versions*."""
    for version in versions:
        if version.state in HELD:
            known[version.id] = version
        else:
            known.pop(version.id, None)


@frozen
class Proposal:
    """A change that one person asks for and another decides (变更申请)."""

    kind: str  # see signing.changes.KINDS
    subject: str
    digest: str  # SHA-256 of *what*, hexadecimal
    actor: str  # who asks ...
    reason: str  # ... and why
    at: Instant
    what: bytes = field(default=b"", repr=False)  # JSON; left out where proposals are listed
    number: int = 0  # the store's; 0: not kept yet
    state: str = "submitted"  # submitted | approved | rejected
    decided_by: str = ""
    remark: str = ""  # the reason of whoever decided
    decided_at: Instant = 0

    @property
    def alone(self) -> bool:
        """Whether one person did it: dual control was off."""
        return self.state == "approved" and self.decided_by == self.actor


class Register(Protocol):
    """The part of a store that keeps keys and proposals. Nothing that was decided is changed or removed."""

    def record(self, proposal: Proposal, keys: Sequence[KeyVersion] = ()) -> Awaitable[Proposal]:
        """Keep a new proposal, or what was decided of one, with the keys that this changes: all of it or nothing.

        The keys are kept with its number. Raises Refused where it was decided already.
        """

    def proposals(self, limit: int = 50) -> Awaitable[Sequence[Proposal]]:
        """List proposals, newest first, without what they are about."""

    def proposal(self, number: int) -> Awaitable[Proposal]:
        """Read one proposal, whole. Raises NotFound."""

    def signing_keys(self) -> Awaitable[Sequence[KeyVersion]]:
        """Read every version of every key."""


class Holder(Protocol):
    """A token that can be asked for a key by its place, be it registered or not."""

    async def public_key(self, device: str, location: str) -> bytes:
        """Return the public half as a DER SubjectPublicKeyInfo. Raises NotFound, Refused, TokenError (not now)."""

    async def sign_at(self, device: str, location: str, algorithm: str, data: bytes) -> bytes:
        """Sign with the key that is there, as ``Token.sign`` does. Raises NotFound, Refused, TokenError."""


class Learner(Protocol):
    """A token that takes versions of the register beside the keys of its settings."""

    def learn(self, keys: Iterable[KeyVersion]) -> None:
        """Know these by their ids from now on; those that aren't ``HELD`` are forgotten. Opens no device anew."""

    def names(self) -> Sequence[str]:
        """Return the names of the keys that the settings name."""
