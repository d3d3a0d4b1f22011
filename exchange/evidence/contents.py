"""What an evidence file says, read; nothing of it is believed yet but that its entries are what the manifest lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from attrs import frozen
from pydantic import TypeAdapter, ValidationError

from exchange.errors import Refused, Unreadable
from exchange.evidence import form
from exchange.evidence.container import Package, unreadable
from exchange.evidence.form import Facts, Folder, Form, Generation, Line, Log, Manifest
from exchange.lifecycle import MESSAGE
from exchange.planning import BESIDE
from exchange.wrappers import opening

SMALL = 16 * 1024 * 1024  # bytes of an entry that isn't a payload
_GENERATIONS = TypeAdapter(list[Generation])


@frozen
class Told:
    """One message in the file."""

    folder: Folder
    facts: Facts
    journal: Sequence[Line]

    @property
    def forms(self) -> list[str]:
        """The entries with what was sent instead of the original."""
        sent = dict.fromkeys(one.entry for one in self.facts.deliveries)
        return [name for name in sent if name != self.folder.original]

    @property
    def sealed(self) -> dict[str, Form]:
        """The deliveries that carried the message not as it came, or a signature beside it, by entry."""
        sent = {one.entry: one for one in self.facts.deliveries if one.disposition in ("message", BESIDE)}
        sent.pop(self.folder.original, None)
        return sent

    @property
    def payloads(self) -> list[str]:
        """The entries with payloads."""
        return [self.folder.original, *self.forms]

    def codes(self) -> set[str]:
        """Return every code that the journal gives for what became of the message itself."""
        lines = [line.detail for line in self.journal if line.delivery is None]
        findings = {one.code for detail in lines for one in detail.findings}
        return {detail.code for detail in lines} | findings - {""}

    def decided(self) -> list[Line]:
        """Return the lines that say what became of the message."""
        return [line for line in self.journal if line.delivery is None and line.event in MESSAGE["RECEIVED"]]


@frozen
class Contents:
    """The whole file."""

    package: Package
    manifest: Manifest
    message: Told
    receipts: Mapping[str, Told]
    generations: Sequence[Generation]
    log: Log
    certificates: Sequence[bytes]  # DER

    @property
    def messages(self) -> list[Told]:
        """The message, and its receipts."""
        return [self.message, *self.receipts.values()]

    def payload(self, name: str) -> bytes:
        """Return the bytes of an entry."""
        return self.package.read(name)

    def inside(self, name: str) -> bytes:
        """Return what is inside the envelopes of a payload, or the payload where they can't be opened."""
        payload = self.payload(name)
        try:
            return opening.opened(payload)[0]
        except Unreadable:
            return payload


def manifest(package: Package) -> Manifest:
    """Read the manifest. Raises Refused where it says or lists anything but what stands in the file."""
    text = package.read(form.MANIFEST, SMALL)
    try:
        read = Manifest.model_validate_json(text)
    except ValidationError as why:
        raise unreadable(f"its manifest can't be read: {_first(why)}", f"清单无法读取：{_first(why)}") from None
    if read.format != form.FORMAT:
        raise unreadable(f"its form {read.format!r} isn't known here", f"格式 {read.format!r} 在此未知")
    if any(one.what not in form.WHAT or form.WHAT[one.what] != (one.en, one.zh) for one in read.entries):
        raise unreadable("its manifest names what this form hasn't", "清单中有本格式以外的内容")
    if read.signature not in ("", form.STATEMENT) or read.timestamp not in ("", form.STAMP) or read.dumped() != text:
        raise unreadable("its manifest isn't written as this form has it", "清单的写法不符合本格式")
    return read


def _first(why: ValidationError) -> str:
    return str(why.errors()[0]["msg"])


def differences(package: Package, manifest: Manifest) -> list[str]:
    """Return the entries that aren't what the manifest says, that are missing, or that nobody listed."""
    about = [form.MANIFEST, *filter(None, (manifest.signature, manifest.timestamp))]
    listed = [one.name for one in manifest.entries]
    if package.names != listed + about or listed != sorted(set(listed)):
        return sorted({*package.names} ^ {*listed, *about}) or ["the order"]
    return [one.name for one in manifest.entries if not _same(package, one)]


def _same(package: Package, one: form.Entry) -> bool:
    try:
        size, digest = package.measure(one.name)
    except Refused:  # its checksum is wrong, too
        return False
    return (size, digest.hex()) == (one.size, one.sha256)


def contents(package: Package, manifest: Manifest) -> Contents:
    """Read what the file says. Raises Refused where an entry is missing, superfluous, or can't be read."""
    try:
        message = _told(package, Folder())
        named = [line.detail.receipt for line in message.journal if line.detail.receipt]
        ids = [id for id in dict.fromkeys(named) if id not in message.facts.gone]
        certificates = [package.read(one.name, SMALL) for one in manifest.entries if one.what == "certificate"]
        read = Contents(
            package,
            manifest,
            message,
            {id: _told(package, Folder.receipt(id)) for id in ids},
            _GENERATIONS.validate_json(package.read(form.GENERATIONS, SMALL)),
            Log.model_validate_json(package.read(form.LOG, SMALL)),
            certificates,
        )
    except ValidationError as why:
        raise unreadable(f"what it says can't be read: {_first(why)}", f"内容无法读取：{_first(why)}") from None
    if strange := sorted(_expected(read) ^ {(one.name, one.what) for one in manifest.entries}):
        raise unreadable(f"{strange[0][0]} belongs to nothing, or is missing", f"{strange[0][0]} 多余或缺失")
    return read


def _told(package: Package, folder: Folder) -> Told:
    facts = Facts.model_validate_json(package.read(folder.facts, SMALL))
    lines = package.read(folder.journal, SMALL).splitlines()
    return Told(folder, facts, [Line.model_validate_json(line) for line in lines])


def _expected(read: Contents) -> set[tuple[str, str]]:
    """Return the entries that there must be, by what the others say."""
    wanted = {(form.README, "readme"), (form.GENERATIONS, "generations"), (form.LOG, "log")}
    wanted |= {(form.certificate(sha256(der).hexdigest()), "certificate") for der in read.certificates}
    for one in read.messages:
        folder = one.folder
        wanted |= {(folder.facts, "facts"), (folder.journal, "journal"), (folder.original, "original")}
        wanted |= {(name, "sent") for name in one.forms}
    return wanted
