"""Files that nobody reads: known by an agreement and the ending of their names, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exchange.agreement import Agreement
from exchange.catalogue import load
from exchange.errors import Unidentified, Unreadable
from exchange.formats.opaque import Opaque
from exchange.formats.opaque import load as rules
from exchange.intake import Examined, examine
from exchange.model import Arrival, Endpoint, Parcel, Party
from exchange.routing import RoutingTable

TYPES = load()
PDF = b"%PDF-1.4\n%%EOF\n"


def examined(name: str, body: bytes, agreed: dict[str, str]) -> Examined:
    party = Party("AGENT", "enterprise", agreement=Agreement(opaque=agreed))
    table = RoutingTable([party], [Endpoint("box", "AGENT", "memory")])
    return examine(Arrival(1, 0, "box", "AGENT", Parcel(name, body)), TYPES, table, 0)


def test_the_id_is_the_name_and_the_content() -> None:
    found = [examined(name, body, {".pdf": "BorderPDF"}) for name, body in (("A.PDF", PDF), ("A.PDF", PDF + b"2"))]
    envelopes = [one.envelope for one in found if one.envelope]
    assert [envelope.type for envelope in envelopes] == ["BorderPDF", "BorderPDF"]
    assert [envelope.documents[0].keys for envelope in envelopes] == [{"file": "A.PDF"}] * 2
    assert envelopes[0].own_id.startswith("A.PDF/")
    assert envelopes[0].own_id != envelopes[1].own_id


@pytest.mark.parametrize("name", ["a.pdf.doc", "pdf", ".pdf", "a.txt", ""])
def test_other_names_are_read_as_ever(name: str) -> None:
    assert isinstance(examined(name, PDF, {".pdf": "BorderPDF"}).error, Unreadable)


def test_without_an_agreement_no_file_is_taken_for_one_that_nobody_reads() -> None:
    assert isinstance(examined("a.pdf", PDF, {}).error, Unreadable)
    with pytest.raises(Unreadable):
        TYPES.open(PDF)


def test_what_looks_like_an_envelope_is_left_shut() -> None:
    found = examined("a.txt", b"<DxpMsg>", {".txt": "BorderText"})
    assert found.message
    assert TYPES.explain(b"<DxpMsg>", "BorderText", "1") == []


def test_a_type_that_went_away_is_unknown() -> None:
    assert isinstance(examined("a.pdf", PDF, {".pdf": "Gone"}).error, Unidentified)


def test_rules_are_told_with_what_they_demand(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("most_bytes: 4\nbegins: ab\ncharset: utf-8\n")
    found = Opaque().explain(b"\xff2345", file, unsigned=False, personal=frozenset())
    assert [one.code for one in found] == ["SWX-1475", "SWX-1476", "SWX-1477"]
    assert found[0].en == "the file has 5 bytes, and 4 were agreed on: send less in one file"
    assert Opaque().explain(b"ab", file, unsigned=False, personal=frozenset()) == []


@pytest.mark.parametrize("text", ["most_bytes: 0", "charset: big5", "starts: x", "a: [", "- 1"])
def test_a_mistake_in_the_rules_is_told_with_its_place(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"^x\.yaml:\d:\d+: "):
        rules(file)


@pytest.mark.parametrize("wrong", [{"own_id": "a/b"}, {"containers": ("x",)}, {"sender": "Name"}])
def test_what_is_inside_has_no_path(wrong: dict[str, Any]) -> None:
    spec = TYPES.types["BorderText"].spec
    with pytest.raises(ValueError, match=r".+"):
        spec.format.reader(spec.file.model_copy(update=wrong), frozenset(), spec.reader)
