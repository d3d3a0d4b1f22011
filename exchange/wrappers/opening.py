"""Looking through the wrappers around a message, and what they add to what is known of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from attrs import evolve
from pydantic import ValidationError

from exchange import plugins
from exchange.errors import Held, Unreadable
from exchange.formats import Opened
from exchange.instants import Instant
from exchange.model import Document, Envelope, Finding, Parcel, Party
from exchange.wrappers import Label, Wrapped, Wrapper
from exchange.wrappers import _codes as codes
from exchange.wrappers.dxp import Dxp
from exchange.wrappers.dxp_node import DxpNode
from exchange.wrappers.import_message import ImportMessage
from exchange.wrappers.zip import Zip

DEEPEST: Final = 4  # DxpMsgSv, DxpMsg, Zip, and one to spare
NAME: Final = 200  # characters of a name that a wrapper gives; the end of it tells more
TRANSMISSION: Final = "copMsgId"  # the key by which answers to an envelope find the message


@cache
def wrappers() -> Mapping[str, Wrapper]:
    """Return every wrapper by its name: ours and those that others registered."""
    known: dict[str, Wrapper] = {one.name: one for one in (Dxp(), DxpNode(), Zip(), ImportMessage())}
    return known | {name: plugins.load("wrappers", name)() for name in plugins.names("wrappers")}


@cache
def _beginnings() -> Mapping[bytes, Wrapper]:
    return {begin: one for one in wrappers().values() for begin in one.begins}


@cache
def _matching() -> Callable[[bytes], re.Match[bytes] | None]:
    """Compile how wrappers begin: as one pattern, for every message is looked at."""
    names = b"|".join(re.escape(begin) for begin in _beginnings() if begin.decode().isprintable())
    magic = b"|".join(re.escape(begin) for begin in _beginnings() if not begin.decode().isprintable())
    ahead = rb"(?:\xef\xbb\xbf)?+\s*+(?:<\?[^>]*+>\s*+|<!--.*?-->\s*+|<!DOCTYPE[^>]*+>\s*+)*+"
    pattern = ahead + rb"<(?:[^\s<>/:]++:)?+(" + names + rb")(?=[\s/>])|(" + magic + rb")"
    return re.compile(pattern, re.DOTALL).match


def wrapper_of(payload: bytes) -> Wrapper | None:
    """Tell by its beginning which wrapper a payload may be; well under a microsecond for what is none."""
    found = _matching()(payload)
    return _beginnings()[found[1] or found[2]] if found else None


def opened(payload: bytes) -> tuple[bytes, tuple[Wrapped, ...]]:
    """Return what is inside all wrappers, and those, outermost first; they keep nothing but what is signed.

    Raises Unreadable where one can't be opened, or more than four are around the message (SWX-1083).
    """
    around: list[Wrapped] = []
    while (wrapper := wrapper_of(payload)) is not None and (found := wrapper.open(payload)) is not None:
        around.append(evolve(found, payload=b"", whole=payload if found.signed else b""))
        payload = found.payload
        if len(around) > DEEPEST:
            raise codes.too_deep(DEEPEST)
    return payload, tuple(around)


def layers(payload: bytes) -> Iterator[bytes]:
    """Yield a payload, and what is in each wrapper of it that can be opened."""
    yield payload
    with suppress(Unreadable):
        while (wrapper := wrapper_of(payload)) is not None and (found := wrapper.open(payload)) is not None:
            payload = found.payload
            yield payload


def judge(around: Sequence[Wrapped], *, lenient: bool) -> list[Finding]:
    """Return what the wrappers break as warnings if *lenient*; else raise Unreadable (SWX-1080) with all of it."""
    findings = [finding for one in around for finding in one.findings]
    if findings and not lenient:
        raise codes.broken_rules(next(one.kind for one in around if one.findings), findings)
    return [evolve(finding, severity="warning") for finding in findings]


def addressed(envelope: Envelope, opened: Opened, *, has_id: bool, home: bool) -> Envelope:
    """Add what the wrappers say to what the message inside says.

    The message's own sender stands, for its signature is his; receivers are those of the outermost wrapper that names
    any, except of what goes *home* to the sender of what it answers. An id is taken where the type *has_id* none.
    """
    around = opened.wrappers
    own_id = next((one.own_id for one in around if one.own_id), "")
    receivers = next((one.receivers for one in around if one.receivers), ())
    documents = envelope.documents
    if own_id and not home:
        documents = tuple(Document({**document.keys, TRANSMISSION: own_id}) for document in documents)
    return evolve(
        envelope,
        own_id=envelope.own_id if has_id or not own_id else own_id,
        sender=envelope.sender or next((one.sender for one in around if one.sender), ""),
        receivers=envelope.receivers if home else receivers or envelope.receivers,
        documents=documents,
        wrappers=tuple(one.kind for one in around),
        digest=sha256(opened.payload).digest(),
    )


def transmission(envelope: Envelope) -> str:
    """Return the id under which a message goes in an envelope: that of the one it came in, else its own."""
    known = (document.keys.get(TRANSMISSION) for document in envelope.documents)
    return next(filter(None, known), envelope.own_id)


def transmitted(envelope: Envelope) -> Envelope:
    """Return an envelope whose documents answers to a new wrapper can be told by."""
    own_id = transmission(envelope)
    documents = tuple(Document({**document.keys, TRANSMISSION: own_id}) for document in envelope.documents)
    return evolve(envelope, documents=documents)


def answer_shape(kinds: Sequence[str], native: str) -> str:
    """Return the shape of our own receipts about what came in wrappers of these *kinds*, else the *native* one."""
    known = wrappers()
    return next((known[kind].answers for kind in kinds if kind in known and known[kind].answers), native)


def sent_home(parcel: Parcel, headers: Mapping[str, str], how: str) -> Parcel | None:
    """Return a receipt that came in envelopes as its receiver wants it; None: as it came.

    *how* is ``as-sent``, ``without-node`` (envelopes between exchange nodes taken off) or ``unwrapped``.
    """
    if how == "as-sent":
        return None
    payload, around = parcel.read(), list[Wrapped]()
    while (wrapper := wrapper_of(payload)) is not None and (found := wrapper.open(payload)) is not None:
        if how == "without-node" and found.node is None:
            break
        payload = found.payload
        around.append(found)
    return Parcel(inner_name(around, parcel.name), payload, headers) if around else None


def part_home(part: Parcel, whole: Parcel, around: Sequence[Wrapped], to: Party, mark: str, at: Instant) -> Parcel:
    """Return a part of a receipt that came in envelopes *around* the *whole*, as its receiver wants it.

    The new envelopes are like those, addressed to the receiver alone, under an id made of *mark*. What was signed was
    the whole, so they carry no signature. Where they can't be written, the part goes without.
    """
    off = _taken_off(around, to.agreement.receipts)
    if off == len(around):
        return part
    id = uuid5(NAMESPACE_OID, mark)
    label = Label(str(id).upper(), part.headers["type"], part.name, at, number=id.int)
    try:
        body = part.read()
        for one in reversed(around[off:]):
            body = _like(one, body, evolve(label, receivers=(called(to, one.receivers),)))
    except (Held, ValidationError):
        return part
    return Parcel(inner_name(around[:off], whole.name) if off else whole.name, body, part.headers)


def _taken_off(around: Sequence[Wrapped], how: str) -> int:
    """Return how many envelopes, from the outermost, a receiver doesn't want: see ``sent_home``."""
    if how == "without-node":
        return next((i for i, one in enumerate(around) if one.node is None), len(around))
    return len(around) if how == "unwrapped" else 0


def _like(one: Wrapped, inner: bytes, label: Label) -> bytes:
    wrapper = wrappers()[one.kind]
    label = evolve(label, type=one.type or label.type, name=one.name or label.name, sender=one.sender)
    return wrapper.wrap(inner, label, wrapper.Options.model_validate(one.options))


def called(party: Party, names: Sequence[str]) -> str:
    """Return a party as it is called among *names*, else by the first of its identifiers."""
    own = (*party.ids, party.code)
    return next((name for name in names if name in own), own[0])


def wrapped_name(kind: str, name: str) -> str:
    """Return the name of a parcel that is put into a wrapper.

    >>> wrapped_name("zip", "CEB311_1.xml"), wrapped_name("dxp", "CEB311_1.xml")
    ('CEB311_1.zip', 'CEB311_1.xml')
    """
    stem, _, suffix = name.rpartition(".")
    return f"{stem if stem and suffix else name}.zip" if kind == "zip" else name


def inner_name(around: Sequence[Wrapped], name: str) -> str:
    """Return the name of what is inside: as the innermost wrapper that gives one, else of the parcel, as XML."""
    given = next((one.name for one in reversed(around) if one.name), "")
    given = re.sub(r"[\x00-\x1f\x7f]", "", given).replace("\\", "/").rpartition("/")[2].lstrip(".")
    if given:
        return given[-NAME:]
    stem, _, suffix = name.rpartition(".")
    return name if suffix.lower() not in ("zip", "dxp") or not stem else f"{stem}.xml"
