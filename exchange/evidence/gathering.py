"""Reading out of a store what goes into an evidence file, in the order it stands there."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from typing import IO, Any, Final

from attrs import frozen

from exchange.errors import ConfigurationError, NotFound
from exchange.evidence import form
from exchange.evidence.container import Writer
from exchange.evidence.form import Detail, Facts, Folder, Form, Generation, Line, Log, LogProof, LogRow, Manifest, Said
from exchange.instants import read_id, show_id, show_instant
from exchange.model import Parcel, Spool
from exchange.ports import Past
from exchange.signing import certificates, cms
from exchange.signinglog import prove
from exchange.wrappers import opening

SAID: Final = frozenset(("at", "event", "delivery", "actor"))  # of a journal line; the rest is its detail
_CERTIFICATE: Final = re.compile(rb"X509Certificate(?:\s[^<>]*)?>([A-Za-z0-9+/=\s]+)</")
Sign = Callable[[bytes], bytes]  # the manifest -> what signs it or stamps it; nothing: nobody does


@frozen
class Item:
    """One entry that is to be; its bytes are read when its turn comes."""

    name: str
    what: str
    read: Callable[[], bytes | Spool]


def write(past: Past, message: int, file: IO[bytes], sign: Sign, stamp: Sign | None = None) -> Manifest:
    """Write the evidence of a message; *sign* and *stamp* are asked last. Raises NotFound, Refused."""
    items = sorted(_items(past, message), key=lambda one: one.name)
    with closing(Writer(file)) as writer:
        entries = [writer.add(one.name, one.what, one.read()) for one in items]
        about = {"signature": form.STATEMENT, "timestamp": form.STAMP if stamp else ""}
        manifest = Manifest(format=form.FORMAT, message=show_id(message), **about, entries=entries)
        if not (signature := sign(manifest.dumped())):
            manifest = manifest.model_copy(update={"signature": ""})
        writer.append(form.MANIFEST, manifest.dumped())
        if signature:
            writer.append(form.STATEMENT, signature)
        if stamp:
            writer.append(form.STAMP, stamp(manifest.dumped()))
    return manifest


def _items(past: Past, message: int) -> Iterator[Item]:
    life = past.life(message)
    journal = life["journal"]
    lives: dict[str, dict[str, Any]] = {}
    receipts = list(dict.fromkeys(line["receipt"] for line in journal if line.get("receipt")))
    for id in receipts:
        if found := _kept(past, read_id(id)):
            lives[id] = found
    known = [_Kept(past, life, "", [id for id in receipts if id not in lives])]
    known += [_Kept(past, found, life["id"]) for found in lives.values()]
    for one in known:
        yield from one.items()
    for name, der in sorted({name: der for one in known for name, der in one.certificates()}.items()):
        yield Item(name, "certificate", lambda der=der: der)  # type: ignore[misc]
    yield _generations(past, journal)
    yield _log(past, message)
    yield Item(form.README, "readme", form.TEXT.encode)


def _kept(past: Past, message: int) -> dict[str, Any] | None:
    """Return a life, if the message is still there with its bytes."""
    try:
        past.payload(message, None)
        return past.life(message)
    except NotFound:
        return None


@frozen
class _Kept:
    """One message in the file: the one that it is about, or a receipt of *about*, with only what concerns that."""

    past: Past
    life: Mapping[str, Any]
    about: str = ""
    gone: Sequence[str] = ()

    @property
    def _message(self) -> int:
        return read_id(self.life["id"])

    @property
    def _folder(self) -> Folder:
        return Folder.receipt(self.life["id"]) if self.about else Folder()

    def items(self) -> Iterator[Item]:
        """Yield what the file holds of it."""
        folder, deliveries = self._folder, self._deliveries()
        yield Item(folder.facts, "facts", lambda: form.dumped(self._facts(deliveries).model_dump()))
        yield Item(folder.journal, "journal", lambda: self._journal(deliveries))
        yield Item(folder.original, "original", lambda: self.past.payload(self._message, None).body)
        for one in deliveries:
            if one.entry != folder.original:
                read = lambda number=one.number: self.past.payload(self._message, number).body  # noqa: E731
                yield Item(one.entry, "sent", read)

    def certificates(self) -> Iterator[tuple[str, bytes]]:
        """Yield the certificates that stand in signatures, by the names of their entries."""
        numbers = [one.number for one in self._deliveries() if one.entry != self._folder.original]
        for number in (None, *numbers):
            for der in _certificates(self.past.payload(self._message, number)):
                yield form.certificate(sha256(der).hexdigest()), der

    def _deliveries(self) -> list[Form]:
        forms = []
        for one in self.life["deliveries"]:
            number = one["number"]
            parcel = self.past.payload(self._message, number)
            refers_to = parcel.headers.get("refers-to", "")
            if self.about in ("", refers_to):
                entry = self._folder.sent(number) if one["frozen"] else self._folder.original
                known = {name: one[name] for name in ("number", "endpoint", "party", "type", "disposition")}
                forms.append(Form(**known, name=parcel.name, refers_to=refers_to, entry=entry))
        return forms

    def _facts(self, deliveries: Sequence[Form]) -> Facts:
        life, facts = self.life, self.life["facts"]
        copied = {name: life[name] for name in ("id", "endpoint", "party", "name", "size", "type", "sender", "own_id")}
        return Facts(
            **copied,
            at=show_instant(life["at"]),
            sha256=life["digest"],
            wrappers=facts.get("wrappers", ()),
            documents=[] if self.about else facts.get("documents", ()),
            said=self._said(facts) if self.about else (),
            deliveries=deliveries,
            gone=self.gone,
        )

    def _said(self, facts: Mapping[str, Any]) -> list[Said]:
        """Return what a receipt says about the message, and nothing of what it says about others."""
        said, about = [], read_id(self.about)
        for record, cause in enumerate(facts.get("causes", ())):
            if cause and cause[0] == about:
                code, stage, outcome, *_ = facts["answers"][record]
                keys = facts["documents"][record]
                said.append(Said(record=record, keys=keys, document=cause[1], code=code, stage=stage, outcome=outcome))
        return said

    def _journal(self, deliveries: Sequence[Form]) -> bytes:
        mine = {None, *(one.number for one in deliveries)}
        lines = (line for line in self.life["journal"] if not self.about or line["delivery"] in mine)
        return b"".join(_line(line).dumped() for line in lines)


def _line(line: Mapping[str, Any]) -> Line:
    detail = {name: value for name, value in line.items() if name not in SAID}
    known = {name: line[name] for name in ("event", "delivery", "actor")}
    return Line(at=show_instant(line["at"]), **known, detail=Detail.model_validate(detail))


def _certificates(parcel: Parcel) -> Iterator[bytes]:
    """Yield the certificates that stand in the signatures of a payload, of its envelopes and of what is inside."""
    for layer in opening.layers(parcel.read()):
        shown = (found[1] for found in _CERTIFICATE.finditer(layer))
        for der in (*cms.shown(layer), *map(_decoded, shown)):
            with suppress(ConfigurationError):
                yield certificates.read(der).der


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text)
    except ValueError:
        return b""


def _generations(past: Past, journal: Sequence[Mapping[str, Any]]) -> Item:
    numbers = sorted({line["generation"] for line in journal if line.get("generation")})
    known = [past.generation(number) for number in numbers]
    rows = [Generation(number=one.number, at=show_instant(one.at), sha256=one.digest).model_dump() for one in known]
    return Item(form.GENERATIONS, "generations", lambda: form.dumped(rows))


def _log(past: Past, message: int) -> Item:
    rows = past.operations(message, 0, 0, 0)
    proofs = prove([row.number for row in rows], lambda after, limit: past.operations(0, after, 0, limit))
    log = Log(rows=[LogRow.of(row) for row in rows], proofs=[LogProof.of(one) for one in proofs])
    return Item(form.LOG, "log", lambda: form.dumped(log.model_dump()))
