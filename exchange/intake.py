"""From a parcel to a decision: examine what it is, decide what becomes of it. Pure: no clock, disk or network."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen

from exchange import receipts
from exchange.catalogue import Catalogue
from exchange.errors import (
    Conflicting,
    Discarded,
    ExchangeError,
    Held,
    Invalid,
    Rejected,
    Unroutable,
)
from exchange.formats import Opened
from exchange.formats.opaque import Opaque, ending
from exchange.instants import Instant, date_at, show_id
from exchange.model import (
    Arrival,
    Context,
    Decision,
    Envelope,
    Finding,
    Message,
    MessageType,
    Parcel,
    Party,
    Planned,
    Question,
    Route,
)
from exchange.planning import business_keys, plan
from exchange.provenance import require_receivers, sender_of, verified
from exchange.routing import RoutingTable, facts_of
from exchange.wrappers import opening
from exchange.wrappers.admission import PASSING, admitted

SHOWN: Final = 80  # characters of the codes that a warning lists


@frozen
class Examined:
    """What became known of an arrival; *error* says why it went no further, *message* that nothing is wrong."""

    arrival: Arrival
    type: MessageType | None = None
    envelope: Envelope | None = None
    message: Message | None = None
    error: ExchangeError | None = None
    opened: Any = None  # the parsed payload: whoever signs or splits needs no second parse

    @property
    def behind_signature(self) -> tuple[str, ...]:
        """Return what stands behind the signature in messages of its type."""
        return self.type.spec.file.behind_signature if self.type else ()

    @property
    def question(self) -> Question:
        """Return what the store must be asked before this can be decided."""
        assert self.message is not None and self.envelope is not None  # noqa: S101, PT018
        return Question(
            self.arrival.id,
            self.message.sender,
            self.envelope.type,
            self.envelope.own_id,
            self.envelope.digest or self.arrival.parcel.digest,
            self.envelope.documents,
            self.message.type.kind == "receipt",
            self.message.type.answers,
        )


def examine(
    arrival: Arrival,
    catalogue: Catalogue,
    table: RoutingTable,
    at: Instant,
    held: Collection[str] = (),
    *,
    lean: bool = False,
) -> Examined:
    """Identify, check the sender, verify and validate one arrival; never raises what is the message's own fault.

    *held* names what operators put on hold: ``party:CODE``. With *lean*, what was parsed is only kept where deciding
    needs it: its memory serves the next message.
    """
    opened, type, envelope = None, None, None
    try:
        if f"party:{arrival.party}" in held:
            raise Held(f"party {arrival.party} is on hold", f"接入方 {arrival.party} 已挂起", code="SWX-2060")
        owner = table.parties.get(arrival.party)
        charset = owner.agreement.charset if owner else ""
        opened = _opened(arrival.parcel, owner, charset, catalogue)
        type = catalogue.identify(opened)
        envelope = catalogue.read(opened, type)
        odd: list[Finding] = []
        if opened.wrappers:
            named = partial(sender_of, arrival, table=table)
            type, envelope, odd = admitted(opened, type, envelope, table, owner, named)
        sender = sender_of(arrival, envelope.sender, table)
        require_receivers(envelope, table)
        signer, warnings = verified(opened, type, envelope, sender, table, at)
        warnings += odd + _validated(opened, type, envelope, catalogue, at, charset)
    except (Rejected, Held) as why:
        return Examined(arrival, type, envelope, error=why, opened=opened)
    message = Message(arrival, type, envelope, sender.code, signer, tuple(warnings))
    if lean and type.kind != "receipt" and (envelope.signed or not table.seals(type.name)):
        opened = None  # nobody will sign or split it
    return Examined(arrival, type, envelope, message, opened=opened)


def _opened(parcel: Parcel, owner: Party | None, charset: str, catalogue: Catalogue) -> Opened:
    """Open a payload; a file that is agreed on to be unread, by the ending of its name, is left as it is."""
    if owner and owner.agreement.opaque and (type := owner.agreement.opaque.get(ending(parcel.name))):
        return Opaque(type, parcel.name).open(parcel.read())
    return catalogue.open(parcel.read(), charset)


def _validated(
    opened: Any, type: MessageType, envelope: Envelope, catalogue: Catalogue, at: Instant, charset: str
) -> list[Finding]:
    """Give the schema's verdict: a declaration must obey, a receipt that doesn't passes with a warning."""
    unsigned = type.signature == "required" and not envelope.signed
    edition = catalogue.edition(type, date_at(at), envelope.version)
    schema = catalogue.schema(type, edition, unsigned=unsigned)
    valid = schema.valid(opened)
    if type.kind in ("receipt", PASSING):  # authorities break their own schemas; the sender still wants the answer
        return _oddities(valid, catalogue.unlisted(type, envelope))
    if not valid:
        raise Invalid(question=(type.name, edition.name, unsigned, charset))
    return catalogue.warnings(opened, type, schema)


def _oddities(valid: bool, codes: Sequence[str]) -> list[Finding]:
    """Warn of what is odd about a receipt: that it breaks its schema, codes that are in no list."""
    warnings = []
    if not valid:
        en, zh = "the receipt breaks its schema", "回执不符合格式规范"
        warnings.append(Finding("SWX-1040", "schema", "/", en, zh, severity="warning"))
    if codes:
        en, zh = f"codes in no list: {', '.join(codes)[:SHOWN]}", f"代码未列入代码表：{'、'.join(codes)[:SHOWN]}"
        warnings.append(Finding("SWX-1041", "code", "/", en, zh, severity="warning"))
    return warnings


# -- decide ------------------------------------------------------------------------------------------------------


def decide(examined: Examined, context: Context, catalogue: Catalogue, table: RoutingTable, at: Instant) -> Decision:
    """Decide what becomes of an examined arrival."""
    message = examined.message
    if message is None:
        return _not_accepted(examined, catalogue, table, at)
    try:
        if message.type.kind == "receipt":
            spec = catalogue.answers(message.type)
            form = partial(_form, examined, message, catalogue, table, at)
            return receipts.decide(message, context, table, form, spec.split == "original", spec.every)
        if context.prior is not None:
            return _seen_before(message, context.prior.id, context.prior.digest, table, at)
        return _accept(message, table, at)
    except (Rejected, Held) as why:
        return _not_accepted(Examined(message.arrival, message.type, message.envelope, error=why), catalogue, table, at)


def _form(
    examined: Examined,
    message: Message,
    catalogue: Catalogue,
    table: RoutingTable,
    at: Instant,
    party: str,
    records: Sequence[int] | None,
) -> Parcel | None:
    """Return how a receipt goes to *party*: only some of its *records*, or all of them; None: the bytes as they came.

    A part is written anew, and so are the envelopes around it.
    """
    parcel, around, to = message.arrival.parcel, examined.opened.wrappers, table.parties[party]
    headers = {"type": message.envelope.type}
    if records is None:
        return opening.sent_home(parcel, headers, to.agreement.receipts) if around else None
    body = catalogue.part(examined.opened, message.type, records)
    part = Parcel(opening.inner_name(around, parcel.name), body, headers)
    mark = f"{show_id(message.arrival.id)}.{party}.{'.'.join(map(str, records))}"  # a part that comes later is another
    return opening.part_home(part, parcel, around, to, mark, at)


def _accept(message: Message, table: RoutingTable, at: Instant) -> Decision:
    sender = table.parties[message.sender]
    (receiver, route), *more = _routed(message, sender, table)
    keys = business_keys(message.envelope)
    planned, routes = plan(message, sender, receiver, route, table, keys), route.name
    if more:  # what is the same for several receivers goes once
        every = [*planned, *(one for copy in more for one in plan(message, sender, *copy, table, keys))]
        planned = list({(p.endpoint, p.sign, p.key, p.steps, p.receiver * bool(p.steps)): p for p in every}.values())
        routes = ", ".join(dict.fromkeys([route.name, *(other.name for _, other in more)]))
    shape = _shape(message.arrival, message.type.receipt_shape, table, message.envelope)
    told = receipts.accepted(
        message.arrival, message.envelope, at, shape, warnings=message.warnings, contrl=sender.agreement.contrl
    )
    planned += _own(message.arrival, sender, table, "accepted", told)
    return Decision("accept", tuple(planned), route=routes, findings=message.warnings)


def _routed(message: Message, sender: Party, table: RoutingTable) -> list[tuple[str, Route]]:
    """Return a route for each receiver that the message names, or the one route of a message that names none.

    Raises Unroutable: a copy that comes late is better than one that is lost, so all wait until each has a route.
    """
    receivers = [party.code for name in message.envelope.receivers if (party := table.party(name)) is not None]
    facts = facts_of(message.envelope, sender, receivers)
    if len(receivers) > 1:
        receivers = list(dict.fromkeys(receivers))
        found = [(one, table.match({**facts, "receiver": (one,)})) for one in receivers]
        if missing := [one for one, route in found if route is None]:
            raise Unroutable(
                f"no route takes {message.type.name} from {sender.code} to {', '.join(missing)}: add one, then release "
                "this message; none of its receivers gets it before",
                f"没有路由接收 {sender.code} 发往 {'、'.join(missing)} 的 {message.type.name}：请补充路由，"
                "再恢复本报文；此前各接收方均不投递",
                code="SWX-2012",
            )
        return [(one, route) for one, route in found if route is not None]
    route = table.match(facts)
    if route is None:
        raise Unroutable(
            f"no route takes {message.type.name} from {sender.code}: add one, then release this message",
            f"没有路由接收 {sender.code} 的 {message.type.name}：请补充路由，再恢复本报文",
        )
    return [(receivers[0] if receivers else "", route)]


def _seen_before(message: Message, twin: int, digest: bytes, table: RoutingTable, at: Instant) -> Decision:
    """Answer a duplicate again, without sending it again; refuse the same id for other bytes."""
    if digest != (message.envelope.digest or message.arrival.parcel.digest):
        raise Conflicting(
            f"the id {message.envelope.own_id} was used before, for other content: give this message an id of its own",
            f"报文编号 {message.envelope.own_id} 已用于内容不同的报文：请使用新的编号",
        )
    sender = table.parties[message.sender]
    shape = _shape(message.arrival, message.type.receipt_shape, table, message.envelope)
    contrl = sender.agreement.contrl
    again = receipts.accepted(message.arrival, message.envelope, at, shape, twin=twin, contrl=contrl)
    planned = _own(message.arrival, sender, table, "accepted", again)
    return Decision("recognise", tuple(planned), twin=twin)


def _not_accepted(examined: Examined, catalogue: Catalogue, table: RoutingTable, at: Instant) -> Decision:
    """Reject and tell the sender everything; what an authority sent is held instead: a person must look."""
    why, arrival = examined.error, examined.arrival
    assert why is not None  # noqa: S101
    owner = table.parties.get(arrival.party)
    if not isinstance(why, Rejected) or (owner is not None and owner.is_authority):
        findings = why.findings if isinstance(why, Rejected) else ()
        return Decision("hold", code=why.code, en=why.en, zh=why.zh, findings=findings)
    planned = _refused(examined, why, catalogue, table, at)
    return Decision("reject", tuple(planned), code=why.code, en=why.en, zh=why.zh, findings=why.findings)


def discarded(
    examined: Examined, reason: str, catalogue: Catalogue, table: RoutingTable, at: Instant
) -> tuple[Planned, ...]:
    """Plan the receipt that tells a sender that an operator discards his message; nothing about a receipt."""
    if examined.type is not None and examined.type.kind == "receipt":
        return ()
    return tuple(_refused(examined, Discarded(reason), catalogue, table, at))


def _refused(
    examined: Examined, why: Rejected, catalogue: Catalogue, table: RoutingTable, at: Instant
) -> list[Planned]:
    """Plan the receipt that tells the sender why his message goes no further, as he wants it."""
    arrival = examined.arrival
    owner = table.parties.get(arrival.party)
    if owner is None:
        return []
    native = examined.type.receipt_shape if examined.type else catalogue.receipt_shape(arrival.parcel.read())
    shape = _shape(arrival, native, table, examined.envelope)
    told = receipts.rejected(arrival, examined.envelope, why, at, shape, contrl=owner.agreement.contrl)
    return _own(arrival, owner, table, "rejected", told)


def _own(arrival: Arrival, party: Party, table: RoutingTable, disposition: str, parcel: Parcel | None) -> list[Planned]:
    """Plan one of our own receipts, where there is one, the party wants it and can take it."""
    endpoint = table.reply_endpoint(arrival.party, arrival.endpoint)
    if parcel is None or endpoint is None or not party.hears(disposition):
        return []
    mailbox = table.has_mailbox(endpoint.name)
    return [
        Planned(
            endpoint.name,
            endpoint.party,
            parcel=parcel,
            disposition=disposition,
            refers_to=arrival.id,
            mailbox=mailbox,
        )
    ]


def _shape(arrival: Arrival, native: str, table: RoutingTable, envelope: Envelope | None) -> str:
    """Return how our own receipts are written: JSON where the endpoint speaks it, else as its wrappers or type ask."""
    endpoint = table.endpoints.get(arrival.endpoint)
    kind = table.kinds.get(endpoint.kind) if endpoint else None
    if kind is not None and kind.receipts == "json":
        return "json"
    return opening.answer_shape(envelope.wrappers, native) if envelope and envelope.wrappers else native
