"""The nouns: frozen values that every room shares.

Instants (``*_at``) are whole microseconds since the Unix epoch, UTC: the unit the store keeps and the cheapest to
compare; ``show_instant`` writes them for people, with an offset. Sizes are bytes, durations seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from attrs import Factory, evolve, field, frozen

from exchange.retry import Policy

__all__ = [
    "Agreement", "Answer", "Answered", "Arrival", "Cause", "Conclusion", "Context", "Decision", "Delivery",
    "Document", "Endpoint", "Envelope", "Finding", "Generation", "Message", "MessageType", "Outcome", "Parcel",
    "Party", "Planned", "Prior", "Question", "Route", "Spool", "evolve", "indexed", "read_id", "show_id",
    "show_instant",
]  # fmt: skip

Instant = int
SECOND: Final = 1_000_000

# -- ids ---------------------------------------------------------------------------------------------------------
# A message id is (day << 40 | running number of the day): ordered by time, and it names its own partition.

ID_BITS: Final = 40
_EPOCH: Final = date(1970, 1, 1)
_BEIJING: Final = timezone(timedelta(hours=8))


def day_number(at: Instant) -> int:
    """Return the day, in days since the epoch, that it is in Beijing at *at*.

    >>> day_number(0), day_number(16 * 3600 * SECOND)
    (0, 1)
    """
    return (at + 8 * 3600 * SECOND) // (86_400 * SECOND)


def date_at(at: Instant) -> date:
    """Return the date that it is in Beijing at *at*.

    >>> date_at(0)
    datetime.date(1970, 1, 1)
    """
    return _date(day_number(at))


@cache
def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def show_id(message: int) -> str:
    """Write a message id for people.

    >>> show_id((20779 << 40) + 42)
    '20261122-42'
    """
    return f"{_show_day(message >> ID_BITS)}-{message & ((1 << ID_BITS) - 1)}"


@cache
def _show_day(day: int) -> str:
    return f"{_date(day):%Y%m%d}"


def read_id(text: str) -> int:
    """Read a message id that ``show_id`` wrote; raise ValueError for anything else.

    >>> show_id(read_id("20261122-42"))
    '20261122-42'
    """
    day, _, number = text.partition("-")
    if not (len(day) == 8 and day.isascii() and day.isdigit() and number.isascii() and number.isdigit()):
        raise ValueError(f"{text!r} is no message id: expected YYYYMMDD-N")
    days = (date(int(day[:4]), int(day[4:6]), int(day[6:])) - _EPOCH).days
    if int(number) >> ID_BITS:
        raise ValueError(f"{text!r} is no message id: the number is too large")
    return (days << ID_BITS) + int(number)


def show_instant(at: Instant) -> str:
    """Write an instant in Beijing time with its offset, to the millisecond.

    >>> show_instant(0)
    '1970-01-01T08:00:00.000+08:00'
    """
    return f"{_show_second(at // SECOND)}.{at % SECOND // 1000:03}+08:00"


@lru_cache(64)
def _show_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, _BEIJING).strftime("%Y-%m-%dT%H:%M:%S")


# -- who and where -----------------------------------------------------------------------------------------------


@frozen
class Agreement:
    """What a party and the switch agreed on."""

    verify: str = "off"  # off | warn | require: signatures of what the party sends
    profiles: tuple[str, ...] = ()  # signature profiles accepted from it; empty = every known one
    sends_for: tuple[str, ...] = ()  # codes of other parties it may send for; "*" = anybody (platforms, authorities)
    acknowledge: str = "all"  # all | rejected | none: which receipts of our own it gets; authorities get none
    reply_to: str = ""  # endpoint for receipts; empty = where the message came in


@frozen
class Party:
    """An organisation that exchanges messages here (接入方)."""

    code: str
    role: str  # enterprise | customs | border | maritime | port | platform
    name: str = ""
    ids: tuple[str, ...] = ()  # identifiers that messages call it by, such as a DXP id
    state: str = "active"  # active | held
    certificates: tuple[bytes, ...] = ()  # DER; a signature must come from one of them
    signing_key: str = ""  # the key that the switch signs with on the party's behalf
    agreement: Agreement = Agreement()

    @property
    def is_authority(self) -> bool:
        """Tell whether this party answers declarations: it gets no receipts of ours, people look instead."""
        return self.role not in ("enterprise", "platform")

    def hears(self, disposition: str) -> bool:
        """Tell whether this party gets our own receipt of a *disposition* (accepted or rejected)."""
        wanted = self.agreement.acknowledge
        return not self.is_authority and (wanted == "all" or wanted == disposition)


@frozen
class Endpoint:
    """One named place of one party: an adapter kind plus its options (端点)."""

    name: str
    party: str
    kind: str
    options: Any = None  # the kind's own Options value
    window: int | None = None  # parcels in flight at once; None: as the kind has it
    retry: Policy = Policy()


# -- what travels ------------------------------------------------------------------------------------------------


@frozen
class Spool:
    """A payload too large for memory, lying in a file of ours that is complete and never changes."""

    path: Path
    size: int
    digest: bytes  # SHA-256


@frozen
class Parcel:
    """Bytes as they travel, and the name they travel under (包裹).

    *headers* is what a protocol may show beside the bytes: ``id`` (stable over resends), ``type``, ``refers-to``
    (the id of the message that a receipt answers) and ``disposition`` (accepted | rejected | receipt | message).
    """

    name: str
    body: bytes | Spool
    headers: Mapping[str, str] = Factory(dict)

    @property
    def size(self) -> int:
        """Bytes of payload."""
        return self.body.size if isinstance(self.body, Spool) else len(self.body)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the payload."""
        return self.body.digest if isinstance(self.body, Spool) else hashlib.sha256(self.body).digest()

    def read(self) -> bytes:
        """Return the whole payload; of a spooled one this reads the file."""
        return self.body.path.read_bytes() if isinstance(self.body, Spool) else self.body


@frozen
class Arrival:
    """A parcel that the store holds and nobody has decided yet."""

    id: int
    at: Instant
    endpoint: str
    party: str
    parcel: Parcel
    tries: int = 0  # times a worker died while sorting it
    only: tuple[int, ...] = ()  # of a receipt sorted again: just these of its records


# -- what a message says -----------------------------------------------------------------------------------------


@frozen
class MessageType:
    """A catalogue entry: how to recognise, read and check one type of message, and what its life is like."""

    name: str
    format: str
    kind: str = "declaration"  # declaration | receipt | notice
    title_zh: str = ""
    title_en: str = ""
    certainty: str = "own"  # official | confirmed | own
    signature: str = "none"  # none | optional | required
    answered_by: tuple[str, ...] = ()  # receipt types; empty = DELIVERED settles it
    deadline_seconds: float | None = None  # after which a missing receipt raises an alarm
    receipt_shape: str = "json"  # how we write our own receipts about it
    spec: Any = None  # the format's own instructions

    @property
    def expects_receipt(self) -> bool:
        """Tell whether a delivery stays open until a terminal receipt."""
        return bool(self.answered_by)


@frozen
class Finding:
    """One thing wrong with a message: where, which rule, the masked value, and what to do."""

    code: str  # SWX-nnnn
    rule: str
    pointer: str  # /CEB311Message/Order[2]/OrderHead/ebcCode
    en: str
    zh: str
    line: int | None = None
    value: str = ""  # masked
    severity: str = "error"  # error | warning


def indexed(value: str) -> str:
    """Return the part of a key's value that people and receipts look for: the last one.

    >>> indexed("1105910159/ORDER-7"), indexed("ORDER-7")
    ('ORDER-7', 'ORDER-7')
    """
    return value.rpartition("/")[2]


@frozen
class Document:
    """One business document inside a message (an order, a payment), by the keys it is known by.

    *keys* maps the name of a key to its value, most trusted first. A composite value is joined with ``/``, scope
    first: ``order`` may be ``<platform code>/<order number>``.
    """

    keys: Mapping[str, str]

    def indexed(self) -> tuple[str, ...]:
        """Return the values that this document can be found by."""
        return tuple(dict.fromkeys(map(indexed, self.keys.values())))


@frozen
class Answer:
    """What one receipt record says about one document."""

    code: str  # the regime's own code, such as 800 or -621029
    stage: str  # port | customs | switch ...
    outcome: str  # pending | accepted | released | rejected | error
    terminal: bool
    text: str = ""


@frozen
class Envelope:
    """What the switch reads of a message."""

    type: str
    version: str
    own_id: str  # the sender's id of the message
    sender: str = ""  # as written inside; empty where the type has no such field
    receivers: tuple[str, ...] = ()
    documents: tuple[Document, ...] = ()
    answers: tuple[Answer, ...] = ()  # of a receipt: one for each document
    fields: Mapping[str, tuple[str, ...]] = Factory(dict)  # business fields for routing: the distinct values
    signed: bool = False

    def values(self) -> tuple[str, ...]:
        """Return every distinct value that this message can be found by."""
        return tuple(dict.fromkeys((self.own_id, *(value for d in self.documents for value in d.indexed()))))


@frozen
class Message:
    """An arrival that was identified, verified and validated. Never changed."""

    arrival: Arrival
    type: MessageType
    envelope: Envelope
    sender: str  # party code
    signer: str = ""  # serial number of the certificate whose signature stands
    warnings: tuple[Finding, ...] = ()


# -- what is decided ---------------------------------------------------------------------------------------------


@frozen
class Route:
    """A row of the table: what matches -> endpoints."""

    name: str
    to: tuple[str, ...]
    sign: str = ""  # signature profile that unsigned messages are sealed with
    match: Mapping[str, tuple[str, ...]] = Factory(dict)  # fact name -> accepted values; a trailing * is a prefix
    key: str = ""  # key to seal with; empty: the sender's own


@frozen
class Question:
    """What sort asks the store about one message before it decides."""

    message: int
    sender: str
    type: str
    own_id: str
    digest: bytes
    documents: tuple[Document, ...] = ()
    receipt: bool = False  # whether the documents are answers


@frozen
class Prior:
    """An accepted earlier message of the same sender, type and id."""

    id: int
    digest: bytes
    state: str


@frozen
class Cause:
    """The message, and the document in it, that a receipt record answers."""

    id: int
    document: int
    party: str
    endpoint: str  # where it came in
    type: str
    name: str  # the parcel's name then
    own_id: str
    documents: int = 1  # documents in the cause
    awaits: tuple[str, ...] = ()  # parties that it has open deliveries to


@frozen
class Context:
    """The store's answer to a Question."""

    prior: Prior | None = None
    causes: tuple[tuple[Cause, ...], ...] = ()  # for each document of a receipt: what it may answer, newest first


@frozen
class Planned:
    """One delivery that a decision asks for."""

    endpoint: str
    party: str
    sign: str = ""  # profile to seal with
    key: str = ""  # key to seal with
    parcel: Parcel | None = None  # None: the message's own bytes under its own name
    disposition: str = "message"
    expects_receipt: bool = False
    deadline_seconds: float | None = None
    refers_to: int = 0  # id of the message that these bytes answer
    keys: tuple[str, ...] = ()  # business keys whose order must be kept at the endpoint
    mailbox: bool = False  # delivered once it is kept


@frozen
class Answered:
    """One document of a cause that a receipt answers."""

    record: int  # which document of the receipt
    cause: int
    document: int
    documents: int
    party: str  # whose receipt it is: only deliveries to this party are settled
    answer: Answer


@frozen
class Decision:
    """What becomes of a message."""

    event: str  # accept | reject | hold | recognise | park
    planned: tuple[Planned, ...] = ()
    answered: tuple[Answered, ...] = ()
    route: str = ""
    code: str = ""
    en: str = ""
    zh: str = ""
    findings: tuple[Finding, ...] = ()
    waits: tuple[int, ...] = ()  # of a receipt: the documents whose cause hasn't come
    wait_seconds: float = 0.0  # how long they may wait
    twin: int = 0  # the earlier message, of a duplicate


@frozen
class Conclusion:
    """A decision with everything the store must write for it in one transaction."""

    arrival: Arrival
    decision: Decision
    envelope: Envelope | None = None
    sender: str = ""
    generation: int = 0
    at: Instant = 0
    sealed: Mapping[int, bytes] = Factory(dict)  # index in decision.planned -> frozen signed bytes
    started: Collection[int] = ()  # indexes in decision.planned of what is sent at once: written as SENDING


@frozen
class Delivery:
    """One message due at one endpoint (投递)."""

    message: int
    number: int
    endpoint: str
    party: str
    size: int
    queued_at: Instant
    due_at: Instant
    attempts: int = 0
    unknown: int = 0  # times start-up found it SENDING: the worker died in the attempt
    keys: tuple[str, ...] = ()  # business keys whose order must be kept
    parcel: Parcel | None = field(default=None, eq=False, repr=False)  # None: still in the store only
    started: bool = False  # SENDING from the beginning: there was room

    @property
    def id(self) -> tuple[int, int]:
        """The message's id and the number of the delivery in it."""
        return self.message, self.number

    def stripped(self) -> Delivery:
        """Return this delivery without its payload: the store has it."""
        return evolve(self, parcel=None) if self.parcel is not None else self

    def claimed(self, attempts: int, parcel: Parcel) -> Delivery:
        """Return this delivery as it is sent for the *attempts*-th time."""
        return Delivery(  # attrs.evolve costs eight times as much, for every message
            self.message, self.number, self.endpoint, self.party, self.size, self.queued_at, self.due_at, attempts,
            self.unknown, self.keys, parcel,
        )  # fmt: skip


@frozen
class Outcome:
    """What became of one attempt."""

    delivery: Delivery
    event: str  # deliver | defer | fail | hold
    at: Instant
    due_at: Instant = 0
    code: str = ""
    en: str = ""
    zh: str = ""


@frozen
class Generation:
    """One published version of the routing table (配置代次)."""

    number: int
    at: Instant
    actor: str
    reason: str
    digest: str
    text: str = field(repr=False)
