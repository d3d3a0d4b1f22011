"""The nouns: frozen values that every room shares. Sizes are bytes, durations seconds, ``*_at`` are instants."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import Factory, evolve, field, frozen

from exchange.agreement import Agreement
from exchange.instants import Instant
from exchange.retry import Policy
from exchange.signinglog import Operation

# -- who and where -----------------------------------------------------------------------------------------------


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
        return not self.is_authority and self.agreement.acknowledge in ("all", disposition)


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

    *headers*, beside the bytes: ``id`` (stable over resends), ``type``, ``refers-to`` (the id of the message that a
    receipt answers) and ``disposition`` (accepted | rejected | receipt | message | signature).
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
    answers: tuple[str, ...] = ()  # of a receipt: types that it answers; empty = any
    deadline_seconds: float | None = None  # after which a missing receipt raises an alarm
    deadlines: tuple[tuple[str, float], ...] = ()  # the same for earlier stages of receipts, the first to come first
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
    """One business document inside a message (an order, a payment), by the keys it is known by."""

    keys: Mapping[str, str]  # most trusted first; composite values are joined with "/": platform code, number

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
    wrappers: tuple[str, ...] = ()  # kinds of the wrappers it came in, outermost first
    digest: bytes = b""  # SHA-256 of what was inside those; empty: there were none

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
    steps: Mapping[str, tuple[str, ...]] = Factory(dict)  # endpoint -> steps on the way there; "": to every other one
    on_failure: str = "hold"  # hold | reject: what becomes of a message that a step can't be applied to


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
    answers: tuple[str, ...] = ()  # types that a receipt can answer; empty: any


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
    deadlines: tuple[tuple[str, float], ...] = ()  # of stages before the last word
    refers_to: int = 0  # id of the message that these bytes answer
    keys: tuple[str, ...] = ()  # business keys whose order must be kept at the endpoint
    mailbox: bool = False  # delivered once it is kept
    steps: tuple[str, ...] = ()  # names of what is done to the bytes, sealed or not
    receiver: str = ""  # party code of the receiver that this copy is for
    on_failure: str = "hold"  # hold | reject: where a step can't be applied


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
    steps: tuple[str, ...] = ()  # what was done for each delivery: "0: unwrap 1, to-node 2"


@frozen
class Conclusion:
    """A decision with everything the store must write for it in one transaction."""

    arrival: Arrival
    decision: Decision
    envelope: Envelope | None = None
    sender: str = ""
    generation: int = 0
    at: Instant = 0
    sealed: Mapping[int, Parcel] = Factory(dict)  # index in decision.planned -> signed or transformed, frozen
    started: Collection[int] = ()  # indexes in decision.planned of what is sent at once: written as SENDING
    operations: Sequence[Operation] = ()  # rows for the signing log


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
