"""Damaged messages of every format and in envelopes: never a crash or a hang, always a verdict and, if bad, a receipt.

2 000 mutants of the samples of each; ``MUTANTS=100000 pytest tests/contract/test_mutants.py`` tries more.
"""

from __future__ import annotations

import base64
import io
import os
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange import receipts
from exchange.catalogue import SCHEMAS, load
from exchange.errors import Rejected
from exchange.instants import SECOND
from exchange.model import Arrival, Envelope, Parcel
from exchange.wrappers import opening
from tests.envelopes import EXPORT, IMPORT, dxp, node, zip_element, zipped

CATALOGUE = load()
MUTANTS = int(os.environ.get("MUTANTS", "2000"))
ON = date(2026, 1, 1)
AT = 1_795_320_000 * SECOND
FORMATS = sorted({type.format for type in CATALOGUE.types.values()} - {"opaque"})  # of which nobody reads a thing
SAMPLES = {
    name: [s.path.read_bytes() for s in CATALOGUE.samples() if CATALOGUE.types[s.type].format == name]
    for name in FORMATS
}
ORDER = (SCHEMAS / "customs/ceb/samples/valid/CEB311Message--minimal.xml").read_bytes()
SAMPLES |= {
    "dxp": [
        dxp(ORDER),
        dxp(ORDER, prefix="dxp", name="订单.xml", receivers=[IMPORT, EXPORT]),
        node(dxp(ORDER), sub="1"),
    ],
    "zip": [
        zipped(("a.xml", ORDER), ("附件.pdf", b"%PDF-1.4")),
        zip_element(zipped(("a.xml", ORDER))),
        dxp(zipped(("a.xml", ORDER), ("b.pdf", b"%PDF"))),
    ],
}
PIECES = (
    *(b"\0", b"\r", b"\x1a", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"<", b"]]>", b"&#0;", b"<!DOCTYPE x>"),
    *(b"?'", b"':", b"''", b"99:1'"),
    *(b'"', b"\\ud800", b"[" * 99, b"9" * 400, b"NaN", b"-1e999", b"{}", b'"a":1,"a":2'),
    *(b",,,,", b"=1+1"),
    *(b"<DxpMsg>", b"PK\3\4", b"PK\5\6", b"====", b"../"),
)


def flip(payload: bytearray, dice: random.Random) -> None:
    payload[dice.randrange(len(payload))] ^= 1 << dice.randrange(8)


def truncate(payload: bytearray, dice: random.Random) -> None:
    del payload[dice.randrange(len(payload)) :]


def insert(payload: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(payload))
    payload[at:at] = dice.choice(PIECES)


def recode(payload: bytearray, dice: random.Random) -> None:
    text = payload.decode(dice.choice(["utf-8", "gb18030", "latin-1"]), "replace")
    payload[:] = text.encode(dice.choice(["utf-8", "gb18030", "utf-16", "latin-1"]), "replace")


def parts(change: Callable[[list[bytes], int, int], None]) -> Callable[[bytearray, random.Random], None]:
    """Change the order or number of records, lines, tags or cells."""

    def changed(payload: bytearray, dice: random.Random) -> None:
        mark = dice.choice([b"'", b":", b"\n", b">", b",", b"}", b'"', b"\t"])
        pieces = bytes(payload).split(mark)
        change(pieces, dice.randrange(len(pieces)), dice.randrange(len(pieces)))
        payload[:] = mark.join(pieces)

    return changed


def delete(pieces: list[bytes], one: int, other: int) -> None:
    del pieces[one]


def double(pieces: list[bytes], one: int, other: int) -> None:
    pieces.insert(one, pieces[one])


def swap(pieces: list[bytes], one: int, other: int) -> None:
    pieces[one], pieces[other] = pieces[other], pieces[one]


DATA = re.compile(rb"<(?:dxp:)?(?:Data|Zip)>([A-Za-z0-9+/=]+)</")
EXPECTED = {
    "edifact": ("SWX-1016", "SWX-1017"),
    "dxp": ("SWX-1011", "SWX-1014", "SWX-1080", "SWX-1082"),
    "zip": ("SWX-1011", "SWX-1082", "SWX-1084", "SWX-1085"),
}
CHANGES = (flip, truncate, insert, recode, parts(delete), parts(double), parts(swap))


def mutant(payload: bytes, dice: random.Random) -> bytes:
    """Change a message in one to three places; of a workbook or envelope mostly inside one of its parts."""
    if payload.startswith(b"PK") and dice.random() < 0.7:
        return rezipped(payload, dice)
    if (inside := DATA.search(payload)) and dice.random() < 0.5:
        changed_inside = base64.b64encode(mutant(base64.b64decode(inside[1]), dice))
        return payload[: inside.start(1)] + changed_inside + payload[inside.end(1) :]
    changed = bytearray(payload)
    for _ in range(dice.randint(1, 3)):
        if changed:
            dice.choice(CHANGES)(changed, dice)
    return bytes(changed)


def rezipped(payload: bytes, dice: random.Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError):
        return payload
    chosen = dice.choice(sorted(contents))
    contents[chosen] = mutant(contents[chosen], dice)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return out.getvalue()


def outcome(payload: bytes) -> str:
    """Do what intake does with a payload; return what becomes of it."""
    envelope: Envelope | None = None
    try:
        opened = CATALOGUE.open(payload)
        type = CATALOGUE.identify(opened)
        envelope = CATALOGUE.read(opened, type)
        assert len(envelope.answers) in (0, len(envelope.documents))
        opening.judge(opened.wrappers, lenient=type.kind == "receipt")
        if CATALOGUE.valid(opened, type, on=ON):
            CATALOGUE.warnings(opened, type, CATALOGUE.schema(type, CATALOGUE.edition(type, ON)))
            CATALOGUE.part(opened, type, [0])
            return "valid"
    except Rejected as why:
        refused(payload, envelope, why)
        return why.code
    if type.format != "xml":  # whose list of findings takes too long for thousands; test_format tries some
        findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
        assert any(finding.severity == "error" for finding in findings)
        refused(payload, envelope, Rejected("invalid", "无效", findings=findings))
    return "invalid"


def refused(payload: bytes, envelope: Envelope | None, why: Rejected) -> None:
    """Write the receipt in every shape there is: whatever a message holds, it must be possible."""
    arrival = Arrival(1, AT, "box", "PARTY", Parcel("a.txt", payload))
    for shape in ("ceb900", "json", "platform_file", "dxprep"):
        told = receipts.rejected(arrival, envelope, why, AT, shape)
        assert told is not None
        assert told.size
    receipts.rejected(arrival, envelope, why, AT, "edifact")  # nothing where an acknowledgement is refused


@pytest.mark.timeout(60 + MUTANTS // 20)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_mutant_has_an_outcome(name: str) -> None:
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=MUTANTS,
        derandomize=True,  # the same ones every time
        deadline=timedelta(seconds=5),
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(sample=st.sampled_from(SAMPLES[name]), seed=st.integers(0, 2**48))
    def try_one(sample: bytes, seed: int) -> None:
        outcomes[outcome(mutant(sample, random.Random(seed)))] += 1

    try_one()
    assert {"valid", "invalid", *EXPECTED.get(name, ("SWX-1011", "SWX-1014"))} <= set(outcomes)
    assert any(code.startswith("SWX-102") for code in outcomes)  # of no known type any more
    assert outcomes.total() >= MUTANTS
