"""Changes that need two persons: what may be asked for, who may decide, and what follows. Pure.

A proposal says what it wants as JSON: rows of keys to create, or the section of ``switchd.yaml`` that is to be in
force; a step in the life of a key needs no more than its subject, ``NAME/NUMBER``. What follows from it is worked out
when it is submitted, so that nobody is asked to approve what can't be done, and again when it is approved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal

import orjson
from attrs import evolve
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from exchange.errors import ConfigurationError, InvalidTransition, NotFound, Refused
from exchange.instants import SECOND, Instant, show_instant
from exchange.lifecycle import step
from exchange.options import Strict
from exchange.register import KeyVersion, Proposal
from exchange.signing import certificates
from exchange.signing.keyring import KEY, Keyring

Effect = Callable[[Proposal, Keyring, Instant], Sequence[KeyVersion]]
ALL: Final = 1 << 30  # of a list of proposals
SECTIONS: Final = {"software-keys": "token", "profiles": "profiles"}  # kind -> section of switchd.yaml


class KeyRow(Strict):
    """A version to be created; its number is the next one of the name."""

    name: str = Field(pattern=r"^[^/\s]+$", max_length=100)
    certificate: str  # PEM
    at: Mapping[str, str] = Field(min_length=1)  # device -> where it is there
    state: Literal["pending", "active"] = "pending"
    not_before: AwareDatetime | None = None  # without: the certificate's
    not_after: AwareDatetime | None = None


_ROWS: Final = TypeAdapter(tuple[KeyRow, ...])


# -- asking and deciding -----------------------------------------------------------------------------------------


def proposed(kind: str, subject: str, what: Any, actor: str, reason: str, at: Instant) -> Proposal:
    """Return a new proposal. Raises NotFound where nothing of that kind can be asked for."""
    if kind not in KINDS:
        raise NotFound(f"there is no change {kind!r} (known: {', '.join(KINDS)})", f"没有变更类型 {kind!r}")
    said = b"" if what is None else canonical(what)
    return Proposal(kind, subject, sha256(said).hexdigest(), actor, reason, at, said)


def canonical(what: Any) -> bytes:
    """Write a value so that equal ones have equal bytes."""
    return orjson.dumps(what, option=orjson.OPT_SORT_KEYS, default=str)


def decided(proposal: Proposal, state: str, actor: str, reason: str, at: Instant, *, dual: bool = True) -> Proposal:
    """Return what becomes of a proposal that *actor* decides. Raises Refused.

    Whoever submitted it may withdraw it, which is to reject it, but not approve it.
    """
    if proposal.state != "submitted":
        raise Refused(
            f"change {proposal.number} was {proposal.state} by {proposal.decided_by}",
            f"变更 {proposal.number} 已由 {proposal.decided_by} 处理（{proposal.state}）",
            code="SWX-7042",
        )
    if dual and state == "approved" and actor == proposal.actor:
        raise Refused(
            f"{actor} submitted change {proposal.number}, so another person must approve it",
            f"变更 {proposal.number} 由 {actor} 提交，须由另一人批准",
            code="SWX-7041",
        )
    return evolve(proposal, state=state, decided_by=actor, remark=reason, decided_at=at)


def in_force(kind: str, proposals: Iterable[Proposal]) -> Proposal | None:
    """Return the last proposal of a kind that two persons agreed on; *proposals* are newest first."""
    return next((p for p in proposals if p.kind == kind and p.state == "approved" and not p.alone), None)


# -- what follows ------------------------------------------------------------------------------------------------


def effect(proposal: Proposal, ring: Keyring, at: Instant) -> Sequence[KeyVersion]:
    """Return the versions that a proposal adds or changes when it is approved *at*, as they are then.

    Raises Refused, NotFound; ConfigurationError with every row that can't be used.
    """
    return KINDS[proposal.kind](proposal, ring, at)


def _created(proposal: Proposal, ring: Keyring, at: Instant) -> Sequence[KeyVersion]:
    try:
        rows = _ROWS.validate_json(proposal.what or b"[]")
    except ValidationError as why:
        raise ConfigurationError([_problem(error) for error in why.errors()]) from None
    made: list[KeyVersion] = []
    problems: list[str] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        try:
            if row.name in seen:
                raise ConfigurationError([f"{row.name!r} stands in it twice"])
            made += _version(row, ring, at)
        except ConfigurationError as why:
            problems += [f"row {number}: {problem}" for problem in why.problems]
        seen.add(row.name)
    if problems or not rows:
        raise ConfigurationError(problems or ["there are no rows"])
    return made


def _problem(error: Mapping[str, Any]) -> str:
    row, *place = error["loc"] or (0,)
    return f"row {int(row) + 1}: {'.'.join(map(str, place))}: {error['msg']}"


def _version(row: KeyRow, ring: Keyring, at: Instant) -> Sequence[KeyVersion]:
    """Return the version of a row; where it is to be active at once, with those that it supersedes."""
    certificate = certificates.read(certificates.from_file(row.certificate.encode())[0])
    start, end = _instant(row.not_before, certificate.not_before), _instant(row.not_after, certificate.not_after)
    if not certificate.not_before <= start < end <= certificate.not_after:
        raise ConfigurationError([f"{row.name}: its window must lie within that of its certificate"])
    kind, state = certificates.kind(certificate.key), step(KEY, "", "create")
    created = KeyVersion(
        row.name, ring.next_number(row.name), kind, certificate.der, row.at, start, end, state
    )  # fmt: skip
    return _activated(created, ring, at) if row.state == "active" else [created]


def _instant(moment: datetime | None, otherwise: Instant) -> Instant:
    return otherwise if moment is None else int(moment.timestamp()) * SECOND


def _activate(proposal: Proposal, ring: Keyring, at: Instant) -> Sequence[KeyVersion]:
    return _activated(ring.version(proposal.subject), ring, at)


def _activated(version: KeyVersion, ring: Keyring, at: Instant) -> Sequence[KeyVersion]:
    """Activate a version; if its window has begun, its predecessors retire with that."""
    if version.not_after < at:
        raise Refused(
            f"{version.id} ended on {show_instant(version.not_after)}: create a version with a new certificate",
            f"{version.id} 已于 {show_instant(version.not_after)} 到期：请以新证书登记新版本",
        )
    active = _moved(version, "activate")
    if not version.covers(at):
        return [active]
    return [active, *(_moved(old, "retire") for old in ring.of_name(version.name) if old.state == "active")]


def _moved(version: KeyVersion, event: str) -> KeyVersion:
    try:
        return evolve(version, state=step(KEY, version.state, event))
    except InvalidTransition:
        raise Refused(
            f"{version.id} is {version.state}: there is no way to {event} it",
            f"{version.id} 处于 {version.state} 状态，不能执行 {event}",
        ) from None


def _moves(event: str) -> Effect:
    return lambda proposal, ring, at: [_moved(ring.version(proposal.subject), event)]


def _no_key(proposal: Proposal, ring: Keyring, at: Instant) -> Sequence[KeyVersion]:
    """Change no key: which section of switchd.yaml is in force is told by the proposals themselves."""
    return ()


KINDS: Final[Mapping[str, Effect]] = {
    "key-create": _created,
    "key-import": _created,
    "key-activate": _activate,
    "key-retire": _moves("retire"),
    "key-revoke": _moves("revoke"),
    **dict.fromkeys(SECTIONS, _no_key),
}
