"""What a new schema would have said about messages that are here: who would be rejected, and for what.

Nothing is changed. Messages are read one page after the other from a store that may be in use, newest first; what is
wrong with the rejected ones is found in a process of its own, as the switch does it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Final

from attrs import define, field, frozen

from exchange.catalogue import Catalogue
from exchange.errors import Invalid, NotFound, Rejected
from exchange.formats import Edition
from exchange.model import Finding, MessageType, Parcel
from exchange.ports import Kept, Past

PAGE: Final = 100
LISTED: Final = 1_000  # rejected messages that are explained and listed; more are counted
NEWEST: Final = 1 << 62
INVALID: Final = Invalid.default_code
Explain = Callable[[Parcel, tuple[str, str, bool, str]], Awaitable[Sequence[Finding]]]


@frozen
class Rejection:
    """A message that would be rejected."""

    kept: Kept
    findings: Sequence[Finding]


@define
class Tally:
    """What came of it so far."""

    looked: int = 0
    rejected: int = 0  # that were accepted at their time
    already: int = 0  # that were rejected for their schema then, too
    accepted: int = 0  # that were rejected for their schema then, and wouldn't be now
    left_out: int = 0  # duplicates, other versions, rejected for other reasons
    parties: Counter[str] = field(factory=Counter)
    rules: Counter[tuple[str, str]] = field(factory=Counter)  # code and place -> messages
    listed: list[Rejection] = field(factory=list)


@frozen
class Judge:
    """Judges messages of a type by one edition, or by the latest that is for their version."""

    catalogue: Catalogue
    type: MessageType
    edition: Edition | None = None

    def question(self, payload: bytes) -> tuple[str, str, bool, str] | None:
        """Return what to ask about an invalid message (type, edition, unsigned), None about a valid one.

        Raises Rejected where it isn't even known, and LookupError where the edition is for other versions.
        """
        opened = self.catalogue.open_as(payload, self.type, "replayed")
        type = self.catalogue.identify(opened)
        envelope = self.catalogue.read(opened, type)
        edition = self.edition if type.name == self.type.name else None
        if edition is not None and edition.versions and envelope.version not in edition.versions:
            raise LookupError(envelope.version)
        edition = edition or self.catalogue.edition(type, date.max, envelope.version)
        unsigned = type.signature == "required" and not envelope.signed
        valid = self.catalogue.schema(type, edition, unsigned=unsigned).valid(opened)
        return None if valid else (type.name, edition.name, unsigned, "")


async def replay(
    past: Past, judge: Judge, explain: Explain, *, since_day: int, limit: int, progress: Callable[[Tally], None]
) -> Tally:
    """Judge up to *limit* stored messages of a type anew, the newest first."""
    tally, before = Tally(), NEWEST
    while page := past.of_type(judge.type.name, since_day, before, min(PAGE, limit - tally.looked)):
        for kept in page:
            await _judge(kept, past, judge, explain, tally)
        before = page[-1].id
        progress(tally)
        if tally.looked >= limit:
            break
    return tally


async def _judge(kept: Kept, past: Past, judge: Judge, explain: Explain, tally: Tally) -> None:
    tally.looked += 1
    was_invalid = kept.code == INVALID
    if kept.state == "DUPLICATE" or (kept.state == "REJECTED" and not was_invalid):
        tally.left_out += 1
        return
    try:
        parcel = past.payload(kept.id, None)
        question = judge.question(parcel.read())
    except (NotFound, LookupError):
        tally.left_out += 1
        return
    except Rejected as why:
        _count(tally, kept, was_invalid, [Finding(why.code, "", "/", why.en, why.zh)])
        return
    if question is None:
        tally.accepted += was_invalid
    elif was_invalid or len(tally.listed) >= LISTED:
        _count(tally, kept, was_invalid, None)
    else:
        _count(tally, kept, was_invalid, await _findings(parcel, question, explain))


async def _findings(parcel: Parcel, question: tuple[str, str, bool, str], explain: Explain) -> Sequence[Finding]:
    try:
        return await explain(parcel, question)
    except Exception as why:  # whatever a message does to the process that explains it, the next one is looked at
        return [Finding(INVALID, "", "/", f"it breaks its schema ({why!r})", f"不符合格式规范（{why!r}）")]


def _count(tally: Tally, kept: Kept, was_invalid: bool, findings: Sequence[Finding] | None) -> None:
    if was_invalid:
        tally.already += 1
        return
    tally.rejected += 1
    tally.parties[kept.sender] += 1
    if findings is not None and len(tally.listed) < LISTED:
        tally.listed.append(Rejection(kept, findings))
        tally.rules.update({(one.code, re.sub(r"\[\d+\]", "", one.pointer)) for one in findings})
