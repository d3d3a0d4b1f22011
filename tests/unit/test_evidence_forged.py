"""Evidence that somebody changed: every change is found, under the right name, and no file does any harm."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.evidence import form
from tests import pki
from tests.evidence import (
    CERTIFICATE,
    Entries,
    checked,
    edited,
    entries,
    failures,
    forged,
    kept,
    packed,
    refitted,
    replaced,
)

Edit = Callable[[Entries], Any]
SAID = b"TEST-ORDER-0002"
ELSE = b"TEST-ORDER-0009"


@pytest.fixture(scope="module", autouse=True)
def _made() -> None:
    kept()  # before the examples: it takes longer than any of them may


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_bit_of_any_entry_can_be_changed_unseen(data: st.DataObject) -> None:
    all = entries(kept().file)
    name = data.draw(st.sampled_from(list(all)))
    place, bit = data.draw(st.integers(0, len(all[name]) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(all[name])
    changed[place] ^= 1 << bit
    found = {check for check, _ in failures(checked(packed({**all, name: bytes(changed)}), kept().home))}
    where = {form.MANIFEST: {"file", "entries", "facts", "manifest-signature"}, form.STATEMENT: {"manifest-signature"}}
    assert found, name
    assert found <= where.get(name, {"entries"}), name


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_no_bit_of_the_contents_can_be_changed_in_the_file_itself(data: st.DataObject) -> None:
    changed = bytearray(kept().file)
    name, body = data.draw(st.sampled_from(list(entries(kept().file).items())))
    place = kept().file.index(body) + data.draw(st.integers(0, len(body) - 1))
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    found = {check for check, _ in failures(checked(bytes(changed), kept().home))}
    assert found, name
    assert found <= {"file", "entries", "facts", "manifest-signature"}, name


def test_entries_that_are_removed_added_or_swapped_are_named(tmp_path: Path) -> None:
    all = entries(kept().file)
    for name in set(all) - {form.MANIFEST}:
        rest = {key: body for key, body in all.items() if key != name}
        assert failures(checked(packed(rest), tmp_path)) == [("entries", name)]
    assert failures(checked(packed({k: b for k, b in all.items() if k != form.MANIFEST}), tmp_path)) == [("file", "")]
    assert failures(checked(packed({**all, "zzz": b""}), tmp_path)) == [("entries", "zzz")]
    swapped = {**all, "original": all["sent/0"], "sent/0": all["original"]}
    assert failures(checked(packed(swapped), tmp_path)) == [("entries", "original"), ("entries", "sent/0")]


# -- whoever writes the manifest anew ----------------------------------------------------------------------------


def without(*names: str) -> Edit:
    """Remove what begins with these names."""

    def do(all: Entries) -> None:
        for name in [one for one in all if one.startswith(names)]:
            del all[name]

    return do


def put(name: str, body: bytes) -> Edit:
    """Put in an entry, or another in its place."""
    return lambda all: all.__setitem__(name, body)


def other(name: str) -> Edit:
    """Put in the entry of another message's evidence."""
    return put(name, entries(kept().other)[name])


def lines(name: str, edit: Callable[[list[Any]], object]) -> Edit:
    """Edit the lines of a journal."""

    def do(all: Entries) -> None:
        told = [orjson.loads(line) for line in all[name].splitlines()]
        edit(told)
        all[name] = b"".join(orjson.dumps(line) + b"\n" for line in told)

    return do


def journal(place: int, **news: Any) -> Edit:
    """Let a line of the journal say something else."""
    return lines("journal.jsonl", lambda told: told[place].update(news))


def row(**news: Any) -> Edit:
    """Let the row of the log say something else."""
    return edited(form.LOG, lambda log: log["rows"][0].update(news))


def proof(**news: Any) -> Edit:
    """Let the proof say something else."""
    return edited(form.LOG, lambda log: log["proofs"][0].update(news))


def no_row(all: Entries) -> None:
    """Remove the row, and keep its proof."""
    edited(form.LOG, lambda log: log["rows"].clear())(all)


def facts(**news: Any) -> Edit:
    """Let the facts say something else."""
    return edited("message.json", lambda told: told.update(news))


def certificate(body: bytes) -> Edit:
    """Put another certificate in the place of the signer's, under its own name."""

    def do(all: Entries) -> None:
        del all[CERTIFICATE]
        all[form.certificate(sha256(body).hexdigest())] = body

    return do


def receipt(number: int) -> str:
    """Return the folder of the receipt of that number."""
    names = sorted({name.split("/")[1] for name in entries(kept().file) if name.startswith("receipts/")})
    return f"receipts/{names[number]}/"


FORGERIES: Mapping[str, tuple[Callable[[], list[Edit]], str]] = {
    "the original": (lambda: [replaced("original", SAID, ELSE), refitted], "sent"),
    "the original by a blank": (lambda: [replaced("original", b"</", b" </")], "facts"),
    "what was sent": (lambda: [replaced("sent/0", SAID, ELSE)], "signature"),
    "both": (lambda: [*(replaced(name, SAID, ELSE) for name in ("original", "sent/0")), refitted], "signature"),
    "another form": (lambda: [other("sent/0")], "sent"),
    "another original and form": (lambda: [other("sent/0"), other("original"), refitted], "signing-log"),
    "all of another message": (lambda: [other("message.json"), other("original"), other("sent/0")], "facts"),
    "a certificate under a wrong name": (lambda: [put(CERTIFICATE, pki.der("foreign"))], "file"),
    "a certificate": (lambda: [certificate(pki.der("foreign"))], "signature"),
    "a certificate that is none": (lambda: [certificate(b"x")], "signature"),
    "no certificate": (lambda: [without("certificates/")], "signature"),
    "a log row": (lambda: [row(party="ENT2")], "chain"),
    "when it was signed": (lambda: [row(at=1)], "chain"),
    "a link": (lambda: [row(link=64 * "1")], "chain"),
    "a row's number": (lambda: [row(number=2)], "signing-log"),
    "a digest of what was signed": (lambda: [row(digest=64 * "1")], "signing-log"),
    "a digest of the signature": (lambda: [row(signature=64 * "1")], "signing-log"),
    "the link before": (lambda: [proof(before=64 * "1")], "chain"),
    "where the proof begins": (lambda: [proof(first=2)], "chain"),
    "no proof": (lambda: [edited(form.LOG, lambda log: log["proofs"].clear())], "chain"),
    "no row": (lambda: [no_row], "signing-log"),
    "no row, nor a word of it": (lambda: [no_row, journal(1, detail={"generation": 1})], "signing-log"),
    "another message's row": (lambda: [other(form.LOG)], "signing-log"),
    "no acceptance": (lambda: [lines("journal.jsonl", lambda told: told.pop(1))], "journal"),
    "another end": (lambda: [journal(-1, event="recognise")], "journal"),
    "another beginning": (lambda: [journal(0, at="2020-01-01T00:00:00.000+08:00")], "journal"),
    "a delivery that wasn't": (lambda: [journal(2, delivery=7)], "journal"),
    "a routing table": (lambda: [edited(form.GENERATIONS, lambda all: all[0].update(number=2))], "journal"),
    "what a receipt said": (lambda: [replaced("journal.jsonl", b'"800"', b'"100"')], "receipts"),
    "the keys": (lambda: [facts(documents=[{"guid": "X"}])], "facts"),
    "whom it is about": (lambda: [facts(id="20261122-9")], "facts"),
    "what isn't JSON": (lambda: [put("message.json", b"{")], "file"),
    "what isn't a time": (lambda: [facts(at="yesterday")], "file"),
    "a receipt's bytes": (
        lambda: [replaced(receipt(3) + "original", b">800<", b">100<"), lambda all: refitted(all, receipt(3))],
        "receipts",
    ),
    "a receipt for another": (lambda: [put(receipt(3) + "original", b"<x/>")], "facts"),
    "what the switch read of a receipt": (
        lambda: [edited(receipt(3) + "message.json", lambda told: told["said"][0]["keys"].update(guid="X"))],
        "receipts",
    ),
    "no receipt": (lambda: [without(receipt(3))], "file"),
    "a receipt's journal": (lambda: [lines(receipt(3) + "journal.jsonl", lambda told: told.pop(1))], "journal"),
    "an entry that nobody asked for": (lambda: [put("sent/9", b"x")], "file"),
    "where an entry belongs": (
        lambda: [edited("message.json", lambda told: told["deliveries"][0].update(entry="sent/1"))],
        "file",
    ),
}
NEW = {form.certificate(sha256(body).hexdigest()): "certificate" for body in (b"x",)} | {"sent/9": "sent"}


@pytest.mark.parametrize("changed", FORGERIES)
def test_whoever_writes_the_manifest_anew_is_found_by_what_no_longer_fits(changed: str, tmp_path: Path) -> None:
    edits, check = FORGERIES[changed]
    kinds = NEW | {form.certificate(sha256(pki.der("foreign")).hexdigest()): "certificate"}
    found = {name for name, _ in failures(checked(forged(kept().file, *edits(), kinds=kinds), tmp_path))}
    assert check in found


def test_a_signature_of_another_manifest_or_of_none_is_found(tmp_path: Path) -> None:
    all = entries(kept().file)
    other = packed({**entries(forged(kept().file)), form.STATEMENT: all[form.STATEMENT]})
    assert failures(checked(other, tmp_path)) == [("entries", form.STATEMENT)], "the manifest says that there is none"
    shown = all[form.STATEMENT]
    renamed = shown.replace(b"KeyName>01", b"KeyName>02")
    for statement in (b"<Evidence/>", b"", shown + b"\n", renamed, all["sent/0"], dated(all["sent/0"])):
        checks = checked(packed({**all, form.STATEMENT: statement}), tmp_path)
        assert failures(checks) == [("manifest-signature", form.STATEMENT)]


def dated(document: bytes) -> bytes:
    """Return something else that the same switch signed, with a time."""
    return document.replace(b'guid="', b'at="2026-11-22T12:00:00.000+08:00" guid="', 1)


# -- hostile files -----------------------------------------------------------------------------------------------


def zipped(*names: str, method: int = zipfile.ZIP_STORED, comment: bytes = b"", body: bytes = b"x") -> bytes:
    """Write entries as zipfile does."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name in names:
            made.writestr(name, body)
        made.comment = comment
    return file.getvalue()


def overlapping() -> bytes:
    """Return an archive whose entries are all the same bytes."""
    good = bytearray(zipped("a", "b", body=1000 * b"x"))
    second = good.rindex(b"PK\x01\x02")
    struct.pack_into("<I", good, second + 42, 0)
    return bytes(good)


def endless() -> bytes:
    """Return an archive that claims more entries than anybody would read."""
    good = bytearray(zipped("a"))
    struct.pack_into("<HH", good, good.rindex(b"PK\x05\x06") + 8, 65_535, 65_535)
    return bytes(good)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"PK",
        b"nothing of the kind",
        zipped(),
        zipped("a"),
        zipped("manifest.json"),
        zipped("manifest.json", body=b"[" * 100_000),
        zipped("../outside", "manifest.json"),
        zipped("/etc/passwd"),
        zipped("C:\\windows"),
        zipped("报文"),
        zipped("manifest.json", method=zipfile.ZIP_DEFLATED, body=10_000_000 * b" "),
        zipped("a", comment=b"hidden"),
        b"before" + zipped("a"),
        zipped("a") + b"behind",
        overlapping(),
        endless(),
        zipped(*(str(number) for number in range(2_001)), body=b""),
    ],
    ids=[
        "empty", "two bytes", "no zip", "no entries", "no manifest", "no JSON", "deep JSON", "outside", "absolute",
        "a drive", "not ASCII", "compressed", "a comment", "bytes before", "bytes behind", "overlapping", "endless",
        "too many",
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_refused_before_anything_in_it_is_read(file: bytes, tmp_path: Path) -> None:
    (one,) = checked(file, tmp_path)
    assert (one.name, one.outcome, one.code) == ("file", "failed", "SWX-7070")
    assert one.zh.startswith("不是证据包")
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.zip"]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_bytes_are_changed_a_check_comes_to_its_end(data: st.DataObject) -> None:
    changed = bytearray(kept().file)
    for place in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    checked(bytes(changed[: data.draw(st.integers(0, len(changed)))]), kept().home)
