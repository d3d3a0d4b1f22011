"""What the switch asks of the world: Adapter, Store, Token.

Each is a Protocol; implementations live in ``adapters/``, ``exchange/stores/`` and ``exchange/tokens/``, are chosen
by name through entry points, and import nothing of the switch but this room and the floors below it. One contract
suite each (tests/contract) says in code what the docstrings say in words.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol

from attrs import Factory, field, frozen

from exchange.instants import Instant
from exchange.model import Arrival, Conclusion, Context, Delivery, Endpoint, Outcome, Parcel, Planned, Question
from exchange.options import Strict
from exchange.register import Learner
from exchange.signingjobs import Jobs
from exchange.signinglog import Operation, Row


def microseconds() -> Instant:
    """Return the wall clock: microseconds since the Unix epoch."""
    return time.time_ns() // 1000


# -- adapters ----------------------------------------------------------------------------------------------------


class Take(Protocol):
    """The one question an adapter asks the switch: will you answer for this parcel?"""

    def __call__(self, parcel: Parcel, endpoint: Endpoint) -> Awaitable[str]:
        """Return the message's id once the bytes are on disk; only then may the peer be told yes.

        Raises TooLarge, or StoreError (Busy among them): the peer is told no, politely, and nothing was kept.
        """


@frozen
class World:
    """What an adapter is given when it is made."""

    take: Take
    archive: Archive
    reactor: Any  # the running asyncio reactor of Twisted
    now: Callable[[], Instant]
    log: Any  # a structlog logger
    directory: str = "."  # where the adapter may keep files; removed by nobody
    limit_bytes: int = 64 * 1024 * 1024  # the largest payload; more is refused while it arrives
    spool_bytes: int = 256 * 1024  # payloads over this are streamed to a file (``Spool``) instead of memory
    retention_days: int = 90  # how long the store keeps messages: what nobody fetched must be there as long
    settings: Any = None  # the kind's own Settings value, from switchd.yaml


class Adapter(Protocol):
    """Moves parcels to and from the endpoints of one kind; knows a protocol, never a message.

    Two verbs: it *takes* what peers bring (through ``World.take``) and *sends* what is due to them.
    """

    Options: ClassVar[type[Strict]]  # of one endpoint
    Settings: ClassVar[type[Strict]]  # of the kind: listeners and the like
    sends: ClassVar[bool]  # whether parcels can be sent to such an endpoint
    window: ClassVar[int]  # parcels in flight at once to one endpoint, where its options don't say
    mailbox: ClassVar[bool]  # whether keeping a parcel delivers it, because peers read the archive: see ``Mailbox``
    receipts: ClassVar[str]  # shape of our own receipts there: native (the message type's) | json

    def __init__(self, world: World) -> None: ...

    async def serve(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Serve exactly these endpoints from now on; called at start and after each published table.

        Endpoints that didn't change keep their connections. An endpoint whose peer is down is not an error here:
        the adapter keeps trying, and says so in the log.
        """

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        """Return once the peer surely has the parcel; anything else is an exception.

        Raises Transient (try again) or Permanent (never); any other exception counts as Transient. May be called
        again with the same parcel: the outcome of an attempt can be unknown.
        """

    async def stop(self) -> None:
        """Accept nothing new, finish what is being taken, close."""


class Mailbox(Adapter, Protocol):
    """An adapter whose peers come and read what is there for them (``Archive.mailbox``)."""

    def ring(self, endpoint: str) -> None:
        """Wake the peers that wait at an endpoint: something new is there."""


# -- the store ---------------------------------------------------------------------------------------------------


@frozen
class Change:
    """What an operator does to one message, with a reason and a name; *delivery* None means all it fits."""

    message: int
    verb: str  # hold | release | resend | requeue | discard | reject
    actor: str
    reason: str
    at: Instant
    delivery: int | None = None
    planned: tuple[Planned, ...] = ()  # of a discard: the receipt that tells the sender, written with it


@frozen
class Mail:
    """One parcel delivered to an endpoint; *position* grows with every delivery and never comes twice."""

    position: int
    message: int
    at: Instant
    parcel: Parcel


@frozen
class Hold:
    """That operators put something on hold: who, why and since when."""

    actor: str
    reason: str
    at: Instant


@frozen
class Generation:
    """One published version of the routing table (配置代次)."""

    number: int
    at: Instant
    actor: str
    reason: str
    digest: str
    text: str = field(repr=False)


@frozen
class Backlog:
    """The open work that a store holds when it is opened."""

    arrivals: Sequence[int] = ()  # RECEIVED and not yet decided, oldest first
    deliveries: int = 0  # open deliveries
    unknown: int = 0  # of them found SENDING: the worker died in the attempt


class Store(Jobs, Protocol):
    """Durable state and its journal. Every verb resolves after its transaction is on disk.

    A verb that raises StoreError has changed nothing. Verbs may be called without waiting for each other: the store
    gathers whatever is asked while the last commit runs and commits it together, in order.
    """

    async def open(self) -> Backlog:
        """Open or create; migrate; turn SENDING into QUEUED (outcome unknown). The first verb."""

    async def close(self) -> None:
        """Commit what was asked and close."""

    def probe(self) -> Awaitable[None]:
        """Write something that changes nothing: raises StoreError while nothing can be written."""

    def receive(self, parcel: Parcel, endpoint: Endpoint, at: Instant) -> Awaitable[Arrival]:
        """Keep a parcel: from now on it is RECEIVED. A Spool's file becomes the store's, which removes the name."""

    def arrivals(self, ids: Sequence[int], *, count_try: bool = False) -> Awaitable[Sequence[Arrival]]:
        """Read arrivals that wait to be decided; *count_try* persists that a worker now tries them alone."""

    def context(self, questions: Sequence[Question]) -> Awaitable[Sequence[Context]]:
        """Look up what deciding these messages needs to know."""

    def conclude(self, conclusions: Sequence[Conclusion]) -> Awaitable[Sequence[Concluded]]:
        """Write what was decided: states, facts, keys, deliveries, answers, journal. All of it or nothing."""

    def claim(self, deliveries: Sequence[Delivery], at: Instant) -> Awaitable[Sequence[Delivery]]:
        """QUEUED -> SENDING, attempts counted before they are made.

        Returns those that were still QUEUED, each with its parcel.
        """

    def settle(self, outcomes: Sequence[Outcome]) -> Awaitable[Sequence[Settled]]:
        """Write what became of attempts; complete or fail messages whose last delivery this was."""

    def change(self, changes: Sequence[Change]) -> Awaitable[Sequence[Changed]]:
        """Do what an operator asks; raise Refused where the life of the message has no such step."""

    def due(self, endpoint: str, after: tuple[int, int], limit: int) -> Awaitable[Sequence[Delivery]]:
        """Read QUEUED deliveries past *after*, oldest first: of one endpoint, or of all where it is empty."""

    def overdue(self, now: Instant) -> Awaitable[Overdue]:
        """Journal, once each, what passed its deadline: missing receipts, and parked receipts (now HELD)."""

    def retain(self, before_day: int) -> Awaitable[int]:
        """Drop the partitions of days (since the epoch) before *before_day* that hold nothing open."""

    def publish(self, text: str, actor: str, reason: str, at: Instant) -> Awaitable[Generation]:
        """Append a generation of the routing table and make it the one in force."""

    def log(self, operations: Sequence[Operation]) -> Awaitable[Sequence[int]]:
        """Append to the signing log what belongs to no conclusion; return the numbers of the rows."""

    def holds(self, holds: Mapping[str, str] | None = None, actor: str = "", reason: str = "",
              at: Instant = 0) -> Awaitable[Mapping[str, Hold]]:  # fmt: skip
        """Set (``{"party:X": "held"}``, empty value to lift) and return what operators put on hold."""


class Archive(Protocol):
    """The reading side of the store: never waits for a commit, never blocks one."""

    def payload(self, message: int, delivery: int | None = None) -> Awaitable[Parcel]:
        """Read a message's own bytes, or the frozen bytes of one of its deliveries. Raises NotFound."""

    def life(self, message: int) -> Awaitable[dict[str, Any]]:
        """Read everything known of a message: facts, state, deliveries, journal. Raises NotFound."""

    def search(self, value: str, limit: int = 50) -> Awaitable[Sequence[dict[str, Any]]]:
        """Find messages by any of their keys, newest first."""

    def messages(self, *, state: str = "", party: str = "", type: str = "", answers: bool | None = None,
                 before: int = 0, limit: int = 50) -> Awaitable[Sequence[dict[str, Any]]]:  # fmt: skip
        """List messages, newest first, before a given id; *answers* True lists receipts only, False all others."""

    def held_for(self, party: str, code: str, after: int, limit: int) -> Awaitable[Sequence[int]]:
        """Read which messages a party gave that are held for this reason, those after an id, oldest first."""

    def mailbox(self, endpoint: str, after: int, limit: int) -> Awaitable[Sequence[Mail]]:
        """Read what was delivered to an endpoint after the position *after*, in the order of delivery."""

    def queues(self) -> Awaitable[Sequence[dict[str, Any]]]:
        """Count open deliveries by endpoint and state, with the oldest."""

    def operations(
        self, *, message: int = 0, after: int = 0, before: int = 0, limit: int = 50
    ) -> Awaitable[Sequence[Row]]:
        """Read the signing log: a message's rows, those after a number in order, or those before one, newest first."""

    def generations(self, limit: int = 50) -> Awaitable[Sequence[Generation]]:
        """List published routing tables, newest (the one in force) first."""

    def parties(self) -> Awaitable[Iterable[Mapping[str, Any]]]:
        """Read the parties that were imported into the store."""


@frozen
class Kept:
    """What is kept of one message: enough to tell whose it was and what became of it."""

    id: int
    at: Instant
    sender: str
    name: str
    state: str
    code: str  # why it is in this state


class Past(Protocol):
    """What another process reads of a store, which may be in use meanwhile; a store that can be read so has a ``past``.

    ``with store.past(folder) as past``: each verb reads and lets go, so that the store is never kept waiting.
    """

    def of_type(self, type: str, since_day: int, before: int, limit: int) -> Sequence[Kept]:
        """Read what is kept of messages of one type, newest first: those before an id, not older than a day."""

    def payload(self, message: int, delivery: int | None) -> Parcel:
        """Read a message's own bytes, or those of a delivery. Raises NotFound where retention took it."""

    def life(self, message: int) -> dict[str, Any]:
        """Read everything known of a message, as ``Archive.life`` does. Raises NotFound."""

    def generation(self, number: int) -> Generation:
        """Read one published routing table. Raises NotFound."""

    def operations(self, message: int, after: int, before: int, limit: int) -> Sequence[Row]:
        """Read the signing log, as ``Archive.operations`` does."""


@frozen
class Concluded:
    """What ``conclude`` wrote for one conclusion."""

    deliveries: Sequence[Delivery] = ()
    mailed: Sequence[str] = ()  # endpoints in whose mailbox something is now
    state: str = ""
    settled: Sequence[tuple[int, int]] = ()  # deliveries of causes that are settled now: drop them from the lanes
    finished: Sequence[tuple[int, str]] = ()  # messages that ended with this: (id, state)
    rejoin: Sequence[int] = ()  # parked receipts that may find their cause by now: sort them again


@frozen
class Settled:
    """What ``settle`` left behind: the delivery's state, and the message's if it ended."""

    state: str
    finished: str = ""


@frozen
class Changed:
    """What ``change`` left behind."""

    state: str
    deliveries: Sequence[Delivery] = ()  # now QUEUED
    withdrawn: Sequence[tuple[int, int]] = ()  # no longer QUEUED
    arrivals: Sequence[int] = ()  # to be sorted again
    mailed: Sequence[str] = ()  # endpoints in whose mailbox something is now


LAST: Final = "last"  # the stage of the receipt that ends the waiting


@frozen
class Overdue:
    """What passed its deadline since the last look."""

    receipts: Sequence[tuple[int, str, str]] = Factory(tuple)  # (message, party, stage) whose receipt is missing
    parked: Sequence[int] = Factory(tuple)  # receipts held because their cause never came
    missing: Mapping[tuple[str, str], int] = Factory(dict)  # (party, stage) -> receipts missing now


# -- tokens ------------------------------------------------------------------------------------------------------


SM2_ID: Final = b"1234567812345678"  # GM/T 0009, 10: the signer's id where the parties agreed on no other


@frozen
class Job:
    """One thing to sign: what the format of a signature has instead of the document, about 700 bytes as a rule."""

    key: str
    algorithm: str  # sm2-sm3 | rsa-sha1 | rsa-sha256 | ecdsa-sha256
    data: bytes
    sm2_id: bytes = SM2_ID


@frozen
class Signature:
    """What a token answers to a job: raw ``r || s`` for SM2 and ECDSA, PKCS#1 v1.5 for RSA."""

    value: bytes = field(repr=False)
    device: str = ""  # which of the token's devices signed; empty: it has none
    attempts: int = 1  # devices asked, the one that signed included
    microseconds: int = 0  # from the question to the answer, waiting for room on a device included
    verified: bool = False  # whether the token saw that it stands, or was told to take so many on trust


class Token(Learner, Protocol):
    """Holds keys and signs with them (密码设备): those that its settings name, and those that it learns."""

    @property
    def window(self) -> int:
        """How many jobs it can work on at once; more only wait in it."""

    @property
    def batch(self) -> int:
        """How many jobs are best given to it together: they are answered together."""

    @property
    def ahead(self) -> int:
        """How much may wait for it while others are decided; little, where it signs in the switch's own time."""

    async def open(self) -> None:
        """Make ready, as far as that can be done now. Raises ConfigurationError."""

    def certificate(self, key: str) -> bytes:
        """Return the DER certificate of *key*. Raises TokenError where there is no such key."""

    async def sign(self, jobs: Sequence[Job]) -> Sequence[Signature | Exception]:
        """Sign every job; a TokenError in the place of one that can't be signed now."""

    async def close(self) -> None:
        """Log out and let go of the device."""


# -- meters ------------------------------------------------------------------------------------------------------


class Meter(Protocol):
    """Counts and times what the switch does; about a microsecond each."""

    def received(self, kind: str, role: str, n: int = 1) -> None:
        """Count parcels taken over an adapter kind from parties of a role."""

    def finished(self, state: str, n: int = 1) -> None:
        """Count messages that ended in a state."""

    def stage(self, name: str, seconds: float, n: int = 1) -> None:
        """Time one stage (receive, sort, send, end_to_end) of *n* messages that took *seconds* each."""
