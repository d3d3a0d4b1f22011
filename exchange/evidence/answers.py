"""Whether the receipts in an evidence file answer its message: read anew out of their bytes, by the message types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from exchange.catalogue import Catalogue
from exchange.errors import ExchangeError
from exchange.evidence.contents import Contents, Told
from exchange.evidence.findings import Check, absent, failed, passed
from exchange.evidence.form import Said
from exchange.model import Envelope


def receipts(read: Contents, types: Catalogue) -> Iterator[Check]:
    """Tell of every receipt whether it is about the message, and says what the journal says it said."""
    known = [set(keys.items()) for keys in read.message.facts.documents]
    yield from _message(read, types)
    for id, told in read.receipts.items():
        yield _receipt(read, id, told, types, known)
        for name in told.forms:
            yield from _part(read, told, name, types)
    for id in read.message.facts.gone:
        yield absent("receipts", f"receipt {id} is no longer kept", f"回执 {id} 已不再保存")
    if not read.receipts and not read.message.facts.gone:
        yield absent("receipts", "there is none", "没有回执")


def _receipt(read: Contents, id: str, told: Told, types: Catalogue, known: list[set[tuple[str, str]]]) -> Check:
    said, name = told.facts.said, told.folder.original
    lines = [line.detail for line in read.message.journal if line.detail.receipt == id]
    heard = {(one.document, one.code, one.stage, one.outcome) for one in said}
    wanted = {(line.document, line.code, line.stage, line.outcome) for line in lines}
    if not heard <= wanted or {one[1:] for one in wanted} != {one[1:] for one in heard}:  # one may be said of all
        return failed("receipts", "it says something else than the journal", "所述与日志账不符", name)
    if not all(_learned(one, known) for one in said):
        return failed("receipts", "its keys aren't the message's", "主键与报文不符", name)
    envelope = _read(read, name, told.facts.type, types)
    if envelope is None:
        en = f"its type {told.facts.type} can't be read here: what it says is as the switch read it"
        zh = f"此处无法读取其类型 {told.facts.type}：所述内容以交换机的记录为准"
        return absent("receipts", en, zh, name)
    if not all(_says(envelope, one) for one in said):
        return failed("receipts", "its bytes say something else", "其字节内容与所述不符", name)
    codes = ", ".join(dict.fromkeys(one.code for one in said))
    return passed("receipts", f"it answers the message: {codes}", f"是对本报文的回执：{codes}", name)


def _part(read: Contents, told: Told, name: str, types: Catalogue) -> Iterator[Check]:
    """Tell of what the sender was given of a receipt whether it is about the message and nothing else."""
    envelope = _read(read, name, told.facts.type, types)
    if envelope is not None:
        mine = [one.keys for one in told.facts.said]
        if all(any(_within(part.keys, keys) for keys in mine) for part in envelope.documents):
            yield passed("receipts", "the part about the message", "回执中与本报文有关的部分", name)
        else:
            yield failed("receipts", "it isn't the part about the message", "不是回执中与本报文有关的部分", name)


def _message(read: Contents, types: Catalogue) -> Iterator[Check]:
    """Tell whether the message's bytes have the keys that receipts find it by."""
    told = read.message
    envelope = _read(read, told.folder.original, told.facts.type, types)
    if envelope is None or not told.facts.documents:
        return
    name, known = told.folder.original, told.facts.documents
    inside = [one.keys for one in envelope.documents]
    if len(inside) != len(known) or not all(_within(one, keys) for one, keys in zip(inside, known, strict=True)):
        yield failed("facts", "its bytes have other keys", "其字节中的主键与所述不符", name)


def _read(read: Contents, name: str, type: str, types: Catalogue) -> Envelope | None:
    """Return what a payload says, if it can be read here and is of that type."""
    try:
        opened = types.open(read.payload(name))
        found = types.identify(opened)
        return types.read(opened, found) if found.name == type else None
    except ExchangeError:
        return None


def _within(keys: Mapping[str, str], known: Mapping[str, str]) -> bool:
    return keys.items() <= known.items()


def _learned(one: Said, known: list[set[tuple[str, str]]]) -> bool:
    """Tell whether a record has a key of its document, or one that an earlier receipt taught; learn its others."""
    if not 0 <= one.document < len(known):
        return False
    mine = set(one.keys.items())
    if known[one.document].isdisjoint(mine):
        return False
    known[one.document] |= mine
    return True


def _says(envelope: Envelope, one: Said) -> bool:
    if not 0 <= one.record < min(len(envelope.documents), len(envelope.answers)):
        return False
    answer = envelope.answers[one.record]
    same = (answer.code, answer.stage, answer.outcome) == (one.code, one.stage, one.outcome)
    return same and _within(envelope.documents[one.record].keys, one.keys)
