"""Messages that others published, where they are present: each is read, or refused, as it must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.catalogue import load
from exchange.errors import Unidentified, Unreadable
from exchange.formats._edifact_envelope import Payload, parse
from exchange.formats._edifact_json import from_json, to_json
from tests.conftest import SHARED

CATALOGUE = load()
FOLDER = SHARED / "samples" / "international" / "edifact"


@pytest.fixture(scope="module")
def samples() -> Path:
    if not FOLDER.is_dir():
        pytest.skip("the published samples (shared/samples/international/edifact) are not present beside this checkout")
    return FOLDER


def opened(samples: Path, name: str) -> Payload:
    path = samples / name
    if not path.exists():
        pytest.skip(f"{name} is not present")
    return parse(path.read_bytes())


def faults(payload: Payload) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in payload.faults]


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_a_missing_unz_is_told_and_nothing_else_is(samples: Path, number: int) -> None:
    payload = opened(samples, f"portofrotterdam-VIFTSAI000000{number}.edi")
    assert faults(payload) == [("13", "UNB[1]/UNZ")]
    body = payload.text.encode("latin-1")
    assert [f.code for f in CATALOGUE.explain(body, "IFTSAI", "UN")] == ["SWX-1438"]


@pytest.mark.parametrize(
    ("name", "type"), [("portofrotterdam-VIFTSAI0000004.edi", "IFTSAI"), ("staedi-baplie-test.edi", "BAPLIE")]
)
def test_real_messages_of_our_types_obey_their_tables(samples: Path, name: str, type: str) -> None:
    body = opened(samples, name).text.encode("latin-1")
    assert CATALOGUE.identify(CATALOGUE.open(body)).name == type
    assert CATALOGUE.explain(body, type, "UN") == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("staedi-orders-with-group.edi", [("29", "UNB[1]/UNH[1]/UNT/1")]),  # says 21, has 18
        ("staedi-other_dialect_term_segments.edi", []),
        ("staedi-invoic_d97b_una.edi", []),
        ("staedi-wrapped_invoic_d97b_una.edi", []),
        ("staedi-empty-segment-example.edi", []),
        ("staedi-pnrgov.edi", []),
        ("pydifact-invoice_with_colon_at_end.edi", []),
        ("pydifact-wikipedia_en.edi", []),
        ("pydifact-order2.edi", [("13", "UNB[1]/UNZ")]),
        ("pydifact-patient1.edi", [("28", "UNB[1]/UNZ/2")]),  # date and time are two elements, not one
    ],
)
def test_an_envelope_is_judged_whatever_is_in_it(samples: Path, name: str, told: list[tuple[str, str]]) -> None:
    payload = opened(samples, name)
    assert faults(payload) == told
    assert len(payload.messages) == 1
    with pytest.raises(Unidentified):
        CATALOGUE.identify(CATALOGUE.open(payload.text.encode("latin-1")))


def test_wrapped_lines_say_the_same_as_unwrapped_ones(samples: Path) -> None:
    wrapped = opened(samples, "staedi-wrapped_invoic_d97b_una.edi")
    plain = opened(samples, "staedi-invoic_d97b_una.edi")
    assert list(wrapped.messages[0].segments()) == list(plain.messages[0].segments())


def test_foreign_contents_between_unb_and_unz_are_no_message(samples: Path) -> None:
    payload = opened(samples, "pydifact-hl7.lab")
    assert not payload.messages
    assert {"33", "32"} <= {code for code, _ in faults(payload)}


def test_what_has_a_header_of_its_own_before_una_is_no_edifact(samples: Path) -> None:
    with pytest.raises(Unreadable) as why:
        opened(samples, "pydifact-sage_coala.ped")
    assert why.value.code == "SWX-1010"


def test_json_leads_back_to_the_same_bytes_of_published_samples(samples: Path) -> None:
    """Where lines are not wrapped, breaks are the same everywhere, and nothing is released that needn't be."""
    same = []
    for path in sorted(samples.iterdir()):
        try:
            view = to_json(path.read_bytes())
        except Unreadable:
            continue
        if from_json(view) == path.read_bytes():
            same.append(path.name)
        assert to_json(from_json(view))["interchanges"][0]["segments"] == view["interchanges"][0]["segments"]
    assert len(same) >= 8
