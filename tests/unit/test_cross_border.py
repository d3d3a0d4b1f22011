"""The cross-border e-commerce messages: what each edition allows, what receipts mean and what they answer."""

from __future__ import annotations

import re
from datetime import date

import pytest

from exchange import catalogue
from exchange.intake import examine
from exchange.model import Arrival, Document, Endpoint, Parcel, Party
from exchange.routing import RoutingTable
from tests.daemon import NOON, SAMPLES

CATALOGUE = catalogue.load()
DECLARATIONS = sorted(
    name
    for name, type in CATALOGUE.types.items()
    if type.kind == "declaration" and type.spec.folder == SAMPLES.parent.parent
)
CUSTOMS = RoutingTable([Party("CUSTOMS", "customs")], [Endpoint("customs-queue", "CUSTOMS", "memory")])


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.xml").read_bytes()


def warnings(body: bytes) -> list[str]:
    arrival = Arrival(1, NOON, "customs-queue", "CUSTOMS", Parcel("r.xml", body))
    message = examine(arrival, CATALOGUE, CUSTOMS, NOON).message
    assert message is not None
    return [warning.code for warning in message.warnings]


# -- editions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "path", "value", "before", "since"),
    [  # what 202205 changed, as its revision notes and the two sets of schemas say
        ("CEB303Message", "ebpCode", "E" * 50, True, False),
        ("CEB303Message", "itemNo", "", False, True),
        ("CEB403Message", "payName", "", False, True),
        ("CEB505Message", "logisticsNo", "W" * 80, True, False),
        ("CEB509Message", "logisticsNo", "", False, True),
        ("CEB603Message", "fFlag", "1", True, False),
        ("CEB603Message", "ebcCode", "1" * 19, False, False),
        ("CEB604Message", "invtNo", "51412024E00000000001", False, True),
        ("CEB605Message", "invtNo", "51412024E0000000001", False, True),
        ("CEB607Message", "totalPackageNo", "B" * 60, True, True),
        ("CEB621Message", "tradeCountry", "1", False, True),
        ("CEB701Message", "copNo", "", False, True),
    ],
)
def test_each_edition_has_its_own_lengths(type: str, path: str, value: str, before: bool, since: bool) -> None:
    known = CATALOGUE.types[type]
    opened = CATALOGUE.open(sample(type))
    for element in opened.tree.iter(f"{{*}}{path}"):
        element.text = value
    assert CATALOGUE.valid(opened, known, on=date(2022, 4, 30)) is before
    assert CATALOGUE.valid(opened, known, on=date(2022, 5, 1)) is since


def test_what_202205_brought_anew_is_judged_by_it_on_any_day() -> None:
    for number in (213, 214, 215, 216):
        type = CATALOGUE.types[f"CEB{number}Message"]
        assert [edition.name for edition in type.spec.editions] == ["202205"]
        assert CATALOGUE.edition(type, date(2020, 1, 1)).name == "202205"


def test_the_number_of_a_summary_result_is_new_in_202205() -> None:
    type, opened = CATALOGUE.types["CEB792Message"], CATALOGUE.open(sample("CEB792Message"))
    days = (date(2022, 4, 30), date(2022, 5, 1))
    assert [CATALOGUE.valid(opened, type, on=day) for day in days] == [False, True]
    for line in opened.tree.iter("{*}gseqno"):
        line.getparent().remove(line)
    assert [CATALOGUE.valid(opened, type, on=day) for day in days] == [True, False]


# -- receipts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("receipt", "ends", "goes_on"),
    [
        ("CEB312Message", ["100", "120", "399", "-301010"], ["2", "3", "4", "800"]),
        ("CEB412Message", ["100", "120", "399", "-401007"], ["2", "3", "4"]),
        ("CEB512Message", ["100", "120", "399", "-504012"], ["2", "3", "4"]),
        (
            "CEB622Message",
            ["100", "700", "800", "899", "599", "-621029"],
            ["1", "2", "3", "4", "120", "300", "399", "500"],
        ),
        ("CEB900Message", ["-1"], []),
        ("CEB214Message", ["100", "800", "-10101"], ["1", "120", "300", "500", "505", "600"]),
        ("CEB508Message", ["100", "120", "399"], ["1", "2", "3", "4"]),
        ("CEB604Message", ["100", "800", "899"], ["1", "4", "120", "300", "399", "500"]),
        ("CEB624Message", ["100", "399", "-623029"], ["1", "2", "3", "4", "120"]),
        ("CEB702Message", ["100", "399"], ["1", "2", "3", "4", "120"]),
        ("CEB792Message", [], ["1", "R"]),
        ("CEB816Message", [], ["1", "2", "3"]),
    ],
)
def test_each_receipt_type_says_which_codes_end_the_waiting(receipt: str, ends: list[str], goes_on: list[str]) -> None:
    type = CATALOGUE.types[receipt]
    assert all(CATALOGUE.code(type, code).terminal for code in ends)
    assert not any(CATALOGUE.code(type, code).terminal for code in goes_on)


def test_every_published_negative_code_is_listed() -> None:
    codes = CATALOGUE.types["CEB312Message"].spec.codes
    assert len([code for code in codes if code.startswith("-")]) == 159 + 2  # 161 texts, two codes twice; two seen
    assert all(known.zh and known.en.isascii() for known in codes.values())


def test_a_tax_bill_as_customs_really_send_it_passes_with_a_warning() -> None:
    """Theirs has two fields behind the head's last one, where their own schema has none."""
    (odd,) = (SAMPLES.parent / "invalid").glob("CEB816Message--SWX-1402--*")
    assert warnings(odd.read_bytes()) == ["SWX-1040"]
    assert documents(odd.read_bytes())[0].keys["taxNo"] == "TEST-TAX-0001"


def test_codes_of_which_no_list_is_published_are_not_warned_of() -> None:
    assert warnings(sample("CEB792Message").replace(b"decState>1<", b"decState>77<")) == []
    assert warnings(sample("CEB900Message")) == []
    assert warnings(sample("CEB816Message").replace(b"status>1<", b"status>7<")) == ["SWX-1041"]


# -- who answers whom -----------------------------------------------------------------------------------------------


def documents(payload: bytes) -> tuple[Document, ...]:
    opened = CATALOGUE.open(payload)
    return CATALOGUE.read(opened, CATALOGUE.identify(opened)).documents


@pytest.mark.parametrize("name", DECLARATIONS)
def test_the_sample_of_a_receipt_has_the_keys_of_the_sample_that_it_answers(name: str) -> None:
    asked, answered = (documents(sample(one))[0].keys for one in (name, CATALOGUE.types[name].answered_by[0]))
    common = asked.keys() & answered.keys()
    assert len(common) > 1
    assert {key: asked[key] for key in common} == {key: answered[key] for key in common}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_a_refusal_of_the_format_answers_every_document_that_it_encloses(name: str) -> None:
    enclosed = sample(f"{name}--several")
    refusal = re.sub(
        rb"<!\[CDATA\[.*\]\]>", lambda _: b"<![CDATA[%s]]>" % enclosed, sample("CEB900Message"), flags=re.S
    )
    opened = CATALOGUE.open(refusal)
    read = CATALOGUE.read(opened, CATALOGUE.types["CEB900Message"])
    assert read.documents == documents(enclosed)
    assert [(one.code, one.terminal) for one in read.answers] == [("-1", True)] * len(read.documents)
