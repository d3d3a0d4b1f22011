"""What is checked of an evidence file once its entries are what the manifest lists: one function for each thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from attrs import frozen

from exchange.errors import InvalidTransition
from exchange.evidence import form
from exchange.evidence.contents import Contents, Told
from exchange.evidence.findings import Check, absent, failed, passed
from exchange.evidence.form import Entry, Form
from exchange.evidence.signatures import Found, Pins, beside, digests, find, left_is
from exchange.instants import SECOND, Instant
from exchange.lifecycle import DELIVERY, MARKS, MESSAGE, replay, step
from exchange.signing.certificates import Certificate
from exchange.signing.profiles import PROFILES
from exchange.signinglog import content

SIGNATURE: Final = ("SWX-103", "SWX-110", "SWX-111")  # what codes of bad signatures begin with


@frozen
class Signed:
    """The signatures in the payloads of a file, by entry."""

    found: Mapping[str, Found]

    def digests(self) -> dict[tuple[bytes, bytes], str]:
        """Return what rows of the log say of those that stand, and where each is."""
        return {digests(one.verified): name for name, one in self.found.items() if one.verified is not None}


def instant(text: str) -> Instant:
    """Read an instant that ``show_instant`` wrote. Raises ValueError."""
    return round(datetime.fromisoformat(text).timestamp() * SECOND)


def look(read: Contents, pins: Pins) -> Signed:
    """Verify every signature, at the time that the log or the arrival gives."""
    known = [*read.certificates, *pins.certificates]
    times = {row.serial: row.at for row in read.log.rows}
    rows = [row for row in read.log.rows if row.profile in PROFILES and not PROFILES[row.profile].enveloped]
    made = {row.serial: (PROFILES[row.profile], row.at) for row in rows}
    found: dict[str, Found] = {}
    for told in read.messages:
        arrived = instant(told.facts.at)
        for name in told.payloads:
            one = find(read.payload(name), known, arrived, times)
            if one is None and told is read.message and name in told.sealed:
                one = beside(read.inside(name), read.payload(told.folder.original), known, made)
            if one is not None:
                found[name] = one
    return Signed(found)


def shown(signer: Certificate) -> str:
    """Tell whose a certificate is, and what to compare it by."""
    return f"{signer.subject}, {signer.serial}, SHA-256 {sha256(signer.der).hexdigest()}"


# -- signatures --------------------------------------------------------------------------------------------------


def signatures(read: Contents, signed: Signed, pins: Pins) -> Iterator[Check]:
    """Tell of every XML signature whether it stands, and whose it is."""
    if not signed.found:
        yield absent("signature", "nothing in it is signed", "其中没有已签名的内容")
    for told in read.messages:
        for name in told.payloads:
            if name in signed.found:
                yield _signature(told, name, signed.found[name], pins)


def _signature(told: Told, name: str, found: Found, pins: Pins) -> Check:
    why, verified = found.why, found.verified
    if verified is not None:
        signer = verified.signer
        if pins.certificates and not pins.trust(signer.der):
            en = f"it stands, but nobody trusted vouches for its signer: {shown(signer)}"
            return failed("signature", en, f"签名有效，但签名者不受信任：{shown(signer)}", name)
        return passed("signature", f"signed by {shown(signer)}", f"签名者：{shown(signer)}", name)
    assert why is not None  # noqa: S101 - it stands, or there is a reason
    if found.untold:
        en = f"it can't be verified here, give the signer's certificate with --trust: {why.en}"
        return absent("signature", en, f"此处无法验证，请用 --trust 给出签名者证书：{why.zh}", name)
    if name == told.folder.original and why.code in told.codes() and why.code.startswith(SIGNATURE):
        en = f"it doesn't stand, as the journal says, too: {why}"
        return passed("signature", en, f"签名无效，与日志账所记一致：{why.code} {why.zh}", name)
    return failed("signature", str(why), f"{why.code} {why.zh}", name)


def sent(read: Contents, signed: Signed) -> Iterator[Check]:
    """Tell of every form of the message whether it is the original with a signature put in."""
    told = read.message
    forms = told.sealed
    original = read.inside(told.folder.original) if forms else b""
    for one in forms.values():
        yield _sent(read, signed, told, one, original)
    if not forms:
        yield absent("sent", "nothing was sent instead of the original", "没有代替原件发送的内容")


def _sent(read: Contents, signed: Signed, told: Told, one: Form, original: bytes) -> Check:
    inside, name = read.inside(one.entry), one.entry
    if name in signed.found and signed.found[name].apart:
        return _apart(name, signed.found[name])
    if inside == original:
        return passed("sent", "the original, in another envelope", "原件，仅更换信封", name)
    if left_is(original, inside):
        if name not in signed.found or signed.found[name].verified is None:
            return failed("sent", "the original, and a signature that doesn't stand", "原件加无效的签名", name)
        return passed("sent", "the original and the signature, nothing else", "原件加签名，此外逐字节相同", name)
    if steps := _steps(told, one):
        return absent("sent", f"it was made of the original by {steps}", f"由原件经步骤 {steps} 转换而成", name)
    return failed("sent", "it isn't the original with a signature put in", "不是原件加签名", name)


def _apart(name: str, found: Found) -> Check:
    if found.verified is not None:
        return passed("sent", "a signature over the original, byte for byte", "对原件逐字节的签名", name)
    if found.untold:
        return absent("sent", "a signature that can't be verified here", "此处无法验证的签名", name)
    return failed("sent", "it is no signature over the original", "不是对原件的签名", name)


def _steps(told: Told, one: Form) -> str:
    """Return the steps that the journal has for a delivery."""
    said = (step for line in told.journal for step in line.detail.steps)
    return next((text.partition(": ")[2] for text in said if text.startswith(f"{one.endpoint}: ")), "")


# -- the signing log ---------------------------------------------------------------------------------------------


def log(read: Contents, signed: Signed) -> Iterator[Check]:
    """Tell whether the log's rows are about the signatures in what was sent, and those in the rows."""
    told, rows = read.message, read.log.rows
    named = [number for line in told.journal for number in line.detail.operations]
    if sorted(named) != [row.number for row in rows]:
        yield _log("the rows aren't those that the journal names", "各行与日志账所列不符")
        return
    where = signed.digests()
    ours = set() if told.folder.original in signed.found else set(told.forms)  # signed already: nobody signed it again
    rowed = {(bytes.fromhex(row.digest), bytes.fromhex(row.signature)): row for row in rows if row.signature}
    for pair, row in rowed.items():
        if where.get(pair) in ours:
            en = f"row {row.number} is about the signature in {where[pair]}"
            yield passed("signing-log", en, f"第 {row.number} 行即 {where[pair]} 中的签名")
        elif any(one.untold for one in signed.found.values()):
            en = f"row {row.number} may be about the signature that can't be verified here"
            yield absent("signing-log", en, f"第 {row.number} 行可能即此处无法验证的签名")
        elif _went(told, row.number):
            yield _log(f"row {row.number} is about no signature in it", f"第 {row.number} 行与其中任何签名不符")
        else:
            en = f"what row {row.number} is about wasn't sent, or not as it was signed"
            yield absent("signing-log", en, f"第 {row.number} 行所签内容未发送，或签名后又经转换")
    for pair, name in where.items():
        if name in ours and pair not in rowed:
            yield failed("signing-log", "no row is about this signature", "没有关于该签名的行", name)
    if not rows:
        yield absent("signing-log", "the switch signed nothing for it", "交换机未为其签名")


def _log(en: str, zh: str) -> Check:
    return failed("signing-log", en, zh, form.LOG)


def _went(told: Told, number: int) -> bool:
    """Tell whether what a row is about must have been sent as it was signed."""
    lines = [line for line in told.decided() if number in (line.detail.operations)]
    return any(line.event in ("accept", "reopen") and not line.detail.steps for line in lines)


def chain(read: Contents) -> Iterator[Check]:
    """Tell whether every row is in the chain, by its content and its link."""
    proofs = [one.proof() for one in read.log.proofs]
    links = {number: link for proof in proofs for number, link in proof.links().items()}
    contents = {n: one for proof in proofs for n, one in enumerate(proof.contents, proof.first)}
    begins = {proof.first - 1: proof.before for proof in proofs}
    for row in (one.row() for one in read.log.rows):
        if row.number in contents:
            good = contents[row.number] == content(row.number, row.operation) and links[row.number] == row.link
        elif row.number in begins:
            good = begins[row.number] == row.link
        else:
            good = False
        if not good:
            zh = f"第 {row.number} 行不在链上"
            yield failed("chain", f"row {row.number} isn't in the chain as it stands", zh, form.LOG)
            return
    for proof in proofs:
        if proof.contents:
            last, link = max(proof.links().items())
            en, zh = f"rows {proof.first} to {last}, whose link is {link.hex()}", f"第 {proof.first} 至 {last} 行"
            yield passed("chain", en, f"{zh}，末行链值 {link.hex()}")
    if not read.log.rows:
        yield absent("chain", "no row of the signing log is in it", "其中没有签名日志的行")


def head(read: Contents, noted: str) -> Check:
    """Tell whether a link that somebody noted comes out of the proofs."""
    for proof in (one.proof() for one in read.log.proofs):
        for number, link in proof.links().items():
            if link.hex() == noted.lower():
                return passed("head", f"the chain leads to it: row {number}", f"链可推算至该值：第 {number} 行")
    return failed(
        "head", "no proof leads to it; give a link of a row in them", "链无法推算至该值；请给出其范围内的链值"
    )


# -- what happened -----------------------------------------------------------------------------------------------


def facts(read: Contents) -> Iterator[Check]:
    """Tell whether what the switch knew of each message is about the bytes that are here."""
    listed = {one.name: one for one in read.manifest.entries}
    strange = [told.folder.facts for told in read.messages if not _about(read, told, listed)]
    for name in strange:
        yield failed("facts", "it is about other bytes", "所述与所附字节不符", name)
    if not strange:
        yield passed("facts", "they are about these bytes", "与所附字节一致")


def _about(read: Contents, told: Told, listed: Mapping[str, Entry]) -> bool:
    known, folder = told.facts, told.folder
    id = folder.path.split("/")[1] if folder.path else read.manifest.message
    original = listed[folder.original]
    if (known.id, known.size, known.sha256) != (id, original.size, original.sha256):
        return False
    return all(one.entry in (folder.original, folder.sent(one.number)) for one in known.deliveries)


def journal(read: Contents) -> Iterator[Check]:
    """Tell whether each journal is a life that the tables allow, of the deliveries that there are."""
    for told in read.messages:
        try:
            state = _lived(told, {one.number for one in read.generations})
        except (InvalidTransition, ValueError) as why:
            yield failed("journal", f"{why}", f"与生命周期表不符：{why}", told.folder.journal)
            continue
        yield passed(
            "journal", f"{len(told.journal)} lines, {state}", f"{len(told.journal)} 行，{state}", told.folder.journal
        )


def _lived(told: Told, generations: set[int]) -> str:
    """Return the state that a journal leads to. Raises InvalidTransition, ValueError."""
    steps = [line for line in told.journal if line.event not in MARKS]
    state = replay(MESSAGE, (line.event for line in steps if line.delivery is None))
    numbers = {one.number for one in told.facts.deliveries}
    if told.journal and instant(told.journal[0].at) != instant(told.facts.at):
        raise ValueError("it doesn't begin when the message came")
    for line in told.journal:
        instant(line.at)
        if line.delivery is not None and line.delivery not in numbers:
            raise ValueError(f"there is no delivery {line.delivery}")
        if not told.folder.path and line.detail.generation not in generations | {0}:
            raise ValueError(f"generation {line.detail.generation} isn't listed")
    for number in numbers:
        _delivered([line.event for line in steps if line.delivery == number])
    return state


def _delivered(events: Sequence[str]) -> str:
    """Follow the life of a delivery; that it was queued, and claimed for each attempt, no line says."""
    state = step(DELIVERY, "", "queue")
    for event in events:
        if state == "QUEUED" and event not in DELIVERY[state]:
            state = step(DELIVERY, state, "claim")
        state = step(DELIVERY, state, event)
    return state
