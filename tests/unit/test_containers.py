"""Container numbers: a wrong check digit is told as a warning, wherever a type says that such numbers stand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS, load
from exchange.formats import Place
from exchange.formats._containers import check_digit, remarks
from exchange.model import Finding, MessageType

CATALOGUE = load()
TYPES = [type for type in CATALOGUE.types.values() if type.spec.file.containers]
ON = date(2026, 1, 1)


@pytest.mark.parametrize(("number", "digit"), [("CSQU305438", "3"), ("TSTU000001", "4"), ("EXAU000001", "4")])
def test_the_check_digit_is_that_of_iso_6346(number: str, digit: str) -> None:
    assert check_digit(number) == digit


def test_a_remainder_of_ten_is_written_as_zero() -> None:
    assert check_digit("TSTU000002") == "0"


@pytest.mark.parametrize(
    "number", ["CSQU3054383", "CSQU 305438 3", "CSQU-305438-3", "", "TRUCK 7", "ABCD1234567", "CSQU305438"]
)
def test_what_is_right_and_what_is_no_container_number_passes_in_silence(number: str) -> None:
    assert remarks([Place(number, lambda: ("/x", 1))]) == []


def test_at_most_fifty_are_told() -> None:
    assert len(remarks(Place("CSQU3054384", lambda: ("/x", 1)) for _ in range(1000))) == 50


def of(sample: str, right: bytes, wrong: bytes) -> tuple[bytes, str]:
    """Return a sample in which the last container number is wrong, and its type."""
    path = next(SCHEMAS.glob(f"*/*/samples/valid/{sample}"))
    head, found, tail = path.read_bytes().rpartition(right)
    assert found
    return head + wrong + tail, Path(sample).name.partition("--")[0].partition(".")[0]


@pytest.mark.parametrize(
    ("sample", "right", "wrong", "pointer"),
    [
        ("CODECO.edi", b"TSTU0000014", b"TSTU0000015", "UNB[1]/UNH[1]/EQD[1]/2.1"),
        ("MOT-IFCSUM--full-gbk.txt", b"EXAU0000009", b"EXAU0000008", "record 20 (51), field 3"),
        ("LogisticsEvent--full.json", b"EXAU0000009", b"EXAU0000008", "/events/5/equipmentReference"),
        (
            "MT2101--several-bills.xml",
            b"TEST0000001",
            b"TSTU0000015",
            "/Manifest/Declaration/Consignment[1]/TransportEquipment/EquipmentIdentification/ID",
        ),
    ],
)
def test_a_wrong_check_digit_is_warned_of_and_the_message_is_valid(
    sample: str, right: bytes, wrong: bytes, pointer: str
) -> None:
    body, name = of(sample, right, wrong)
    type = CATALOGUE.types[name]
    opened = CATALOGUE.open(body)
    assert CATALOGUE.valid(opened, type, on=ON)
    (found,) = CATALOGUE.warnings(opened, type, CATALOGUE.schema(type, CATALOGUE.edition(type, ON)))
    assert isinstance(found, Finding)
    assert (found.code, found.severity, found.rule, found.value) == ("SWX-1471", "warning", "iso6346", wrong.decode())
    assert found.pointer == pointer
    digit = check_digit(wrong.decode()[:-1])
    assert f"should be {digit}" in found.en
    assert f"应为 {digit}" in found.zh
    assert CATALOGUE.explain(body, name, CATALOGUE.edition(type, ON).name) == [found]


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_no_sample_of_ours_has_a_wrong_check_digit(type: MessageType) -> None:
    for sample in CATALOGUE.samples():
        if CATALOGUE.types[sample.type] is type and not sample.code:
            opened = CATALOGUE.open(sample.path.read_bytes())
            found = CATALOGUE.warnings(opened, type, CATALOGUE.schema(type, CATALOGUE.edition(type, ON)))
            assert [f for f in found if f.code == "SWX-1471"] == []
