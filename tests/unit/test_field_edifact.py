"""Interchanges and platform files as partners send them, against the standard and in spite of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exchange.formats.edifact import Edifact
from tests.unit.test_field_inputs import TYPES, Row, changed, decided, examined, sample

GATE = sample("CODECO.edi")  # one interchange, one message, of D.95B
NAME = b"TEST VESSEL"
UNB = GATE[: GATE.index(b"UNH")]
UNZ = GATE[GATE.index(b"UNZ") :]
BODY = GATE[len(UNB) : -len(UNZ)]


def gate(*pairs: tuple[bytes, bytes]) -> Callable[[], bytes]:
    return changed("CODECO.edi", *pairs)


def named(charset: str, name: str, syntax: bytes) -> Callable[[], bytes]:
    return gate((NAME, name.encode(charset)), (b"UNOA:2", syntax))


def group(reference: bytes) -> bytes:
    return b"UNG+CODECO+A:ZZ+B:ZZ+261122:0900+%s+UN+D:95B'\r\n%sUNE+1+%s'\r\n" % (reference, BODY, reference)


def grouped(*references: bytes) -> Callable[[], bytes]:
    end = UNZ.replace(b"UNZ+1+", b"UNZ+%d+" % len(references))
    return lambda: UNB + b"".join(map(group, references)) + end


ROWS: dict[str, Row] = {
    # the envelope
    "no UNZ": Row(gate((UNZ, b"")), "reject", ("SWX-1438",)),
    "UNT counts wrong": Row(gate((b"UNT+", b"UNT+3")), "reject", ("SWX-1431",)),
    "UNZ refers to another": Row(gate((UNZ, UNZ.replace(b"TEST", b"TSET"))), "reject", ("SWX-1432",)),
    "BOM": Row(lambda: b"\xef\xbb\xbf" + GATE),
    "two groups": Row(grouped(b"1", b"2")),
    "two groups of one reference": Row(grouped(b"1", b"1"), "reject", ("SWX-1434",)),
    "a message with the reference of another": Row(
        lambda: UNB + BODY + BODY + UNZ.replace(b"UNZ+1", b"UNZ+2"), "reject", ("SWX-1434",)
    ),
    "two interchanges": Row(lambda: GATE + GATE.replace(b"TEST000001", b"TEST000009")),
    "two interchanges of one reference": Row(lambda: GATE + GATE, "reject", ("SWX-1434",)),
    "two interchanges, the second ends with the reference of the first": Row(
        lambda: GATE + UNB.replace(b"TEST000001", b"TEST000009") + BODY + UNZ, "reject", ("SWX-1432",)
    ),
    "no envelope": Row(lambda: BODY, "reject", ("SWX-1010",)),
    "corrupt UNB": Row(gate((b"UNB+", b"UNX+")), "reject", ("SWX-1010",)),
    "corrupt UNH": Row(gate((b"UNH+", b"UHN+")), "reject", ("SWX-1025",)),
    "headers of another program before UNB": Row(lambda: b"HEADER 0001\r\n" + GATE, "reject", ("SWX-1010",)),
    "a segment without end": Row(lambda: GATE.rstrip()[:-1], "reject", ("SWX-1016",)),
    "a segment of 70 000 characters": Row(gate((NAME, b"x" * 70_000)), "reject", ("SWX-1018",)),
    # how it is written
    "one line": Row(lambda: GATE.replace(b"\r\n", b"")),
    "lines wrapped anywhere": Row(
        lambda: b"\r\n".join(GATE.replace(b"\r\n", b"")[n : n + 80] for n in range(0, len(GATE), 80))
    ),
    "separators released": Row(gate((NAME, b"A?+B?:C??D?'E"))),
    "other separators": Row(
        lambda: b"UNA|~.\\ ^" + GATE.replace(b":", b"|").replace(b"+", b"~").replace(b"'", b"^")
    ),
    "date of five digits": Row(gate((b"261122:0900", b"61122:0900")), "reject", ("SWX-1414",)),
    # character sets
    "Latin letters of Poland under UNOD": Row(named("iso8859-2", "ŁÓDŹ", b"UNOD:3")),
    "Cyrillic under UNOE": Row(named("iso8859-5", "Волга", b"UNOE:3")),
    "UTF-8 under UNOC, which has every byte": Row(named("utf-8", "虚构轮", b"UNOC:3")),
    **{f"syntax {name}": Row(gate((b"UNOA:2", name.encode() + b":2")), "reject", ("SWX-1439",))
       for name in ("IATA", "IATB", "ANSI", "IBMA")},
    "syntax version 5": Row(gate((b"UNOA:2", b"UNOA:5")), "reject", ("SWX-1439",)),
    # types
    "a version of nobody": Row(gate((b"CODECO:D:95B", b"CODECO:D:77Z")), "reject", ("SWX-1023",)),
    "a type of nobody": Row(gate((b"CODECO:D:95B", b"CODECX:D:95B")), "reject", ("SWX-1021",)),
    # platform files
    "an apostrophe in a name": Row(
        changed("MOT-IFCSUM--full-utf8-bom.txt", (b"SECOND ITEM", b"SECOND?'S ITEM")), "accept", ()
    ),
    "no trailer, as of a fragment": Row(
        lambda: sample("MOT-IFCSUM--full-utf8-bom.txt").partition(b"99:")[0], "reject", ("SWX-1401",)
    ),
    **{
        f"a time of {len(time)} digits": Row(
            changed("MOT-IFCSUM--full-utf8-bom.txt", (b"20261122113005", time.encode())),
            *(() if len(time) in (10, 12, 14) else ("reject", ("SWX-1421",))),
        )
        for time in ("2611221130", "202611221130", "20261122113005", "20261122113")
    },
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_what_partners_send_comes_to_the_end_it_must(what: str) -> None:
    row = ROWS[what]
    decision = decided(examined(row.body()))
    told = [finding.code for finding in decision.findings] or [decision.code] * bool(decision.code)
    assert (decision.event, tuple(dict.fromkeys(told))) == (row.event, row.codes), decision.en
    if row.event == "accept":
        assert [p.parcel for p in decision.planned if p.disposition == "message"] == [None], (
            "the bytes go on as they are"
        )
    elif Edifact().sniff(row.body()):
        assert [p.disposition for p in decision.planned] == ["rejected"]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("separators released", "A+B:C?D'E"),
        ("Latin letters of Poland under UNOD", "ŁÓDŹ"),
        ("Cyrillic under UNOE", "Волга"),
        ("lines wrapped anywhere", "TEST VESSEL"),
        ("other separators", "TEST VESSEL"),
    ],
)
def test_a_name_is_read_as_it_was_meant(what: str, text: str) -> None:
    (message,) = TYPES.open(ROWS[what].body()).tree.messages
    assert text in {part for segment in message.segments() for element in segment for one in element for part in one}
