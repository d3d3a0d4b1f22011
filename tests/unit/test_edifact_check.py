"""EDIFACT's verdict and its explanation: complete, of one mind, and never at a loss with damaged messages."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from exchange.catalogue import Sample, load
from exchange.errors import Rejected
from exchange.formats._edifact_envelope import payload_of
from exchange.formats._edifact_schema import Schema, _elements, _fast, read_schema
from exchange.formats._edifact_tables import slots, structure
from exchange.formats._edifact_text import DEFAULT, Separators
from exchange.formats.edifact import Edifact
from exchange.model import Finding

CATALOGUE = load()
EDIFACT = Edifact()
SAMPLES = [sample for sample in CATALOGUE.samples() if sample.path.suffix == ".edi"]
VALID = [sample for sample in SAMPLES if not sample.code]
ODD = ("1", "A", "A1", "1.5", "'?+")
MUTANTS = int(os.environ.get("MUTANTS", "2000"))


def schema_of(type: str) -> Schema:
    spec = CATALOGUE.types[type].spec
    return read_schema(spec.folder / spec.editions[-1].file)


def body(*segments: str, counts: bool = True) -> bytes:
    """Write a CODECO of D.95B."""
    inside = ["UNH+1+CODECO:D:95B:UN", *segments]
    inside.append(f"UNT+{len(inside) + 1}+1")
    return "".join(f"{s}'" for s in ["UNB+UNOA:2+A+B+261122:0900+1", *inside, "UNZ+1+1"]).encode()


def found(payload: bytes, type: str = "CODECO") -> list[tuple[str, str, int | None]]:
    return [(f.rule, f.pointer.partition("/")[2], f.line) for f in explained(payload, type)]


def explained(payload: bytes, type: str = "CODECO", personal: frozenset[str] = frozenset()) -> list[Finding]:
    from exchange.formats._edifact_words import explain

    return explain(EDIFACT.open(payload), schema_of(type), personal)


LEAST = ("BGM+36+G+9", "NAD+CF+L", "EQD+CN+C", "CNT+16:1")


def test_the_least_that_is_needed_has_nothing_wrong() -> None:
    assert found(body(*LEAST)) == []


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (LEAST[1:], ("13", "UNH[1]/BGM", 2)),
        (LEAST[:1] + LEAST[2:], ("13", "UNH[1]/NAD", 3)),
        (LEAST[:3], ("13", "UNH[1]/CNT", 5)),
        ((*LEAST[:3], "LOC+9", *["LOC+9"] * 9, LEAST[3]), ("35", "UNH[1]/LOC[10]", 15)),
        ((LEAST[0], *["NAD+CF+L"] * 10, *LEAST[2:]), ("36", "UNH[1]/NAD[10]", 13)),
        ((*LEAST[:3], "STS+1", LEAST[3]), ("15", "UNH[1]/STS", 6)),
        ((*LEAST[:2], "DAM+1", *LEAST[2:]), ("15", "UNH[1]/DAM", 5)),
        ((*LEAST[:3], "", LEAST[3]), ("15", "UNH[1]/?", 6)),
        (("BGM+36+" + "G" * 36 + "+9", *LEAST[1:]), ("39", "UNH[1]/BGM/2", 3)),
        (("BGM+36+G+9", "NAD++L", *LEAST[2:]), ("13", "UNH[1]/NAD/1", 4)),
        (("BGM+36+G+9", "NAD+CF+:160", *LEAST[2:]), ("13", "UNH[1]/NAD/2.1", 4)),
        ((*LEAST[:3], "CNT+16:1A"), ("37", "UNH[1]/CNT/1.2", 6)),
        ((*LEAST[:3], "CNT+16:1:A:B"), ("16", "UNH[1]/CNT/1", 6)),
        ((*LEAST[:3], "CNT+16:1+2"), ("16", "UNH[1]/CNT/2", 6)),
        ((*LEAST[:3], "CNT"), ("13", "UNH[1]/CNT/1", 6)),
    ],
)
def test_every_fault_has_its_code_and_place(segments: tuple[str, ...], expected: tuple[str, str, int]) -> None:
    assert found(body(*segments)) == [expected]


def test_all_faults_are_told_at_once() -> None:
    assert [rule for rule, *_ in found(body("BGM+36+" + "G" * 36, "STS+1", "NAD++L", "CNT+X:1"))] == [
        "39", "15", "13", "13",
    ]  # fmt: skip
    assert len(found(body(*LEAST[:3], *["STS+1"] * 80, LEAST[3]))) == 50


@pytest.mark.parametrize("number", ["1", "-1", "1.5", "1,5", "0.0001", "123456789012345678", "-123456789012345678"])
def test_decimal_marks_and_signs_do_not_count(number: str) -> None:
    assert found(body(*LEAST[:3], f"CNT+16:{number}")) == []


@pytest.mark.parametrize("number", ["1234567890123456789", "1.", "1.5.5", "+1", "A", "-"])
def test_what_is_no_number_or_too_long_is_told(number: str) -> None:
    number = number.replace("+", "?+")
    assert [rule for rule, *_ in found(body(*LEAST[:3], f"CNT+16:{number}"))] in (["37"], ["39"])


def test_personal_segments_are_masked_and_others_shown() -> None:
    payload = body("BGM+36+G+9", "NAD+CF+L", *LEAST[2:]).replace(b"NAD+CF+L", b"NAD+CF++++" + b"NAME" * 12)
    assert explained(payload)[0].value.startswith("NAMENAME")
    masked = explained(payload, personal=frozenset(["NAD"]))[0]
    assert (masked.value[:3], "NAMENAME" in masked.en + masked.zh) == ("N**", False)


def test_a_type_says_what_it_tolerates() -> None:
    without_trailer = EDIFACT.open(body(*LEAST).removesuffix(b"UNZ+1+1'"))
    schema = schema_of("CODECO")
    assert not schema.valid(without_trailer)
    assert evolve(schema, tolerate=frozenset(["13"])).valid(without_trailer)


def test_lower_case_under_unoa_is_refused_only_where_a_type_asks_for_it() -> None:
    payload = EDIFACT.open(body("BGM+36+gate+9", *LEAST[1:]))
    schema = schema_of("CODECO")
    assert schema.valid(payload)
    strict = evolve(schema, tolerate=frozenset())
    assert [(fault.code, fault.value, fault.line) for fault in strict.faults(payload)] == [("21", "g", 3)]


def test_chinese_passes_under_unoa_and_is_refused_only_where_a_type_asks_for_it() -> None:
    for charset in ("utf-8", "gb18030"):
        payload = EDIFACT.open(
            body("BGM+36+G+9", "FTX+AAI+++测试").decode().encode(charset).replace(b"UNT+4", b"UNT+4")
        )
        faults = {fault.code for fault in schema_of("CODECO").faults(payload)}
        assert "46" not in faults
        assert "21" in {fault.code for fault in evolve(schema_of("CODECO"), tolerate=frozenset()).faults(payload)}


# -- of one mind -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "separators", [DEFAULT, evolve(DEFAULT, repetition="*"), Separators("^", "|", ",", "", "", "~")]
)
def test_what_the_quick_look_passes_has_nothing_wrong(separators: Separators) -> None:
    """Of segments made up from their tables, with all that may be wrong in them."""
    dice, passed, failed = random.Random(14), 0, 0
    table = {
        tag: content
        for type in ("CODECO", "CUSCAR", "PAXLST", "CONTRL")
        for tables in schema_of(type).versions.values()
        for tag, content in tables.directory.items()
    }
    for tag, content in sorted(table.items()):
        fast = _fast(content, tag, separators)
        for _ in range(150):
            segment = [[[tag]]]
            for slot in content[: dice.randint(0, len(content) + 1)]:
                forms = slot.parts[: dice.randint(0, len(slot.parts))]
                parts = [dice.choice(["", "", "9" * f.most, "X" * f.most, "X" * (f.most + 1), *ODD]) for f in forms]
                segment.append([parts or [""]])
            raw = separators.join(segment)
            wrong = list(_elements(separators.split(raw), content, "", 1, "3"))
            if fast.fullmatch(raw):
                passed += 1
                assert not wrong, raw
            else:
                failed += 1
    assert passed > 500
    assert failed > 500


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.path.name)
def test_the_verdict_is_no_exactly_where_something_is_explained(sample: Sample) -> None:
    verdicts = [judged(mutant) for mutant in mutants(sample.path.read_bytes(), sample.path.name, 12)]
    assert verdicts


def test_two_thousand_mutants_are_judged_or_refused_and_never_at_a_loss() -> None:
    verdicts: dict[str, int] = {}
    for number in range(MUTANTS):
        sample = VALID[number % len(VALID)]
        (mutant,) = mutants(sample.path.read_bytes(), f"{sample.path.name} {number}", 1)
        verdict = judged(mutant)
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    assert set(verdicts) == {"refused", "valid", "invalid"}
    assert min(verdicts.values()) > MUTANTS // 50


def judged(payload: bytes) -> str:
    """Open, identify, read, judge and explain; whatever is refused is refused in words."""
    try:
        opened = CATALOGUE.open(payload)
        type = CATALOGUE.identify(opened)
    except Rejected as why:
        return "refused" if why.code.startswith("SWX-10") and why.zh != why.en else "refused without words"
    envelope = CATALOGUE.read(opened, type)
    assert len(envelope.answers) in (0, len(envelope.documents))
    schema = schema_of(type.name)
    findings = CATALOGUE.explain(payload, type.name, "UN")
    assert schema.valid(opened) is (not any(finding.severity == "error" for finding in findings))
    for finding in findings:
        assert finding.pointer.startswith("UNB[")
        assert (
            0
            < (finding.line or 0)
            <= payload_of(opened).text.count(payload_of(opened).interchanges[0].separators.terminator)
        )
        assert all(
            [
                finding.en,
                finding.zh,
                finding.code.startswith("SWX-14"),
                finding.rule.isdigit() or finding.severity == "warning",
            ]
        )
    return "invalid" if findings else "valid"


def mutants(payload: bytes, seed: str, count: int) -> Iterator[bytes]:
    """Flip, cut, double, delete and swap; always the same for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        text = bytearray(payload)
        for _ in range(dice.randint(1, 2)):
            change = dice.randint(0, 7)
            at = dice.randrange(len(text))
            parts = bytes(text).split(b"'")
            one, other = dice.randrange(len(parts)), dice.randrange(len(parts))
            if change == 0:
                text[at] ^= 1 << dice.randint(0, 7)
            elif change == 1:
                del text[at:]
            elif change == 2:
                text[at:at] = dice.choice(
                    [b"'", b"+", b":", b"?", b"*", b"\n", b"\xff", b"UNB+", b"UNA:+.? '", b"'UNH+"]
                )
            elif change == 3:
                text = bytearray(b"'".join([*parts[:one], *parts[one : one + 1] * 2, *parts[one + 1 :]]))
            elif change == 4:
                text = bytearray(b"'".join(parts[:one] + parts[one + 1 :]))
            elif change == 5:
                parts[one], parts[other] = parts[other], parts[one]
                text = bytearray(b"'".join(parts))
            elif change == 6:
                text[at : at + 1] = b""
            else:
                text = bytearray(bytes(text).decode("latin-1").encode(dice.choice(["utf-16", "utf-8", "cp037"])))
            if not text:
                text = bytearray(b"'")
        yield bytes(text)


# -- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1004", "C002(1001)", "1004:an..x", "C002(1001:an..3", "x*1004:an3", "1004:b3"])
def test_a_directory_that_can_not_be_read_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"no element|no form"):
        slots(text)


@pytest.mark.parametrize("text", ["BGM(", "BGM)", "bgm", "BGM! -"])
def test_a_structure_that_can_not_be_read_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"no segment|not closed"):
        structure(text)


@pytest.mark.parametrize(
    "text",
    [
        "versions: {}",
        "versions: [",
        "other: 1",
        "versions: {'D:95B:UN': {structure: BGM}}",
        "versions: {'D:95B:UN': {structure: BGM, directory: nowhere.yaml}}",
        "versions: {'D:95B:UN': {structure: XYZ, directory: d.yaml}}",
        "versions: {'D:95B:UN': {structure: BGM, directory: d.yaml}}\ncodes: {here: [1]}",
    ],
)
def test_tables_that_can_not_be_used_are_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text('BGM: "1004:an..35"\n')
    (tmp_path / "T.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_schema(tmp_path / "T.yaml")
