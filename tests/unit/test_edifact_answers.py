"""CONTRL: what we write about an interchange, to whom, under which reference, and when not."""

from __future__ import annotations

import pytest
from attrs import evolve

from exchange import receipts
from exchange.catalogue import load
from exchange.errors import Conflicting, Invalid, Rejected, TooLarge, Unidentified, Unreadable
from exchange.formats.edifact import Edifact, Verdict, acknowledge
from exchange.instants import read_id
from exchange.model import Arrival, Envelope, Finding, Parcel
from tests.daemon import NOON

CATALOGUE = load()
SAMPLES = {sample.path.name: sample for sample in CATALOGUE.samples() if sample.path.suffix == ".edi"}
VERDICT = Verdict("260000000000R", "20261122", "1200")


def payload(name: str) -> bytes:
    return SAMPLES[name].path.read_bytes()


def told(name: str, verdict: Verdict = VERDICT) -> str:
    findings = CATALOGUE.explain(payload(name), SAMPLES[name].type, "UN") if SAMPLES[name].code[:6] == "SWX-14" else []
    return shown(acknowledge(payload(name), evolve(verdict, findings=findings)))


def shown(answer: bytes | None) -> str:
    return (answer or b"").decode().replace("\r\n", "")


def test_what_is_in_order_and_asked_for_an_acknowledgement_gets_seven() -> None:
    assert told("CUSCAR.edi") == (
        "UNB+UNOA:2+CUSTOMS:ZZ+TESTLINE:ZZ+261122:1200+260000000000R'UNH+1+CONTRL:D:3:UN'"
        "UCI+TEST000030+TESTLINE:ZZ+CUSTOMS:ZZ+7'UNT+3+1'UNZ+1+260000000000R'"
    )


@pytest.mark.parametrize(("asked", "action"), [(b"1", "+7'"), (b"2", "+8'"), (b"0", ""), (b"", "")])
def test_an_acknowledgement_is_what_the_sender_asked_for(asked: bytes, action: str) -> None:
    body = payload("CUSCAR.edi").replace(b"++CUSCAR++1'", b"++CUSCAR++" + asked + b"'")
    assert action in shown(acknowledge(body, VERDICT))
    assert bool(acknowledge(body, VERDICT)) is bool(action)
    assert b"+4+18'" in (acknowledge(body, evolve(VERDICT, code="18")) or b"")  # a rejection needs no asking


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("CODECO--SWX-1401--equipment-missing.edi", "ZZ+4'UCM+1+CODECO:D:95B:UN+4'UCS+3+13'UNT"),
        ("CODECO--SWX-1401--qualifier-missing.edi", "UCM+1+CODECO:D:95B:UN:ITG14+4'UCS+7'UCD+13+2:1'UNT"),
        ("CODECO--SWX-1413--container-number-too-long.edi", "UCS+5'UCD+39+3:1'UNT"),
        ("CODECO--SWX-1404--ten-seals.edi", "UCS+19+35'UNT"),
        ("CODECO--SWX-1414--date-of-five-digits.edi", "ZZ+4+12+UNB+5:1'UNT"),
        ("CODECO--SWX-1431--unt-counts-wrong.edi", "ZZ+4'UCM+1+CODECO:D:95B:UN:ITG14+4+29+UNT+2'UNT"),
        ("CODECO--SWX-1431--unz-counts-wrong.edi", "ZZ+4+29+UNZ+2'UNT"),
        ("CODECO--SWX-1432--unt-refers-to-another.edi", "+4+28+UNT+3'UNT"),
        ("CODECO--SWX-1433--group-and-loose-message.edi", "UCM+2+CODECO:D:95B:UN+4+30+UNH'UNT"),
        ("CODECO--SWX-1434--one-reference-for-two-messages.edi", "UCM+1+CODECO:D:95B:UN+4+26+UNH+2'UNT"),
        ("CODECO--SWX-1436--trailing-separator-in-syntax-4.edi", "UNH+1+CONTRL:4:1:UN'"),
        ("CODECO--SWX-1438--no-unz.edi", "ZZ+4+13+UNZ'UNT"),
        ("CODECO--SWX-1439--syntax-of-nobody.edi", "UNB+UNOA:3+TESTLINE:ZZ"),
    ],
)
def test_a_rejection_says_where_and_why(name: str, part: str) -> None:
    assert part in told(name)


@pytest.mark.parametrize("name", sorted(name for name in SAMPLES if SAMPLES[name].code))
def test_every_contrl_obeys_its_own_tables(name: str) -> None:
    written = told(name, evolve(VERDICT, code="" if SAMPLES[name].code[:6] == "SWX-14" else "18"))
    if written:
        opened = CATALOGUE.open(written.encode())
        assert CATALOGUE.identify(opened).name == "CONTRL"
        assert CATALOGUE.explain(written.encode(), "CONTRL", "UN") == []


def test_errors_in_groups_are_told_by_group() -> None:
    body = payload("CUSCAR--d03b-in-a-group.edi").replace(b"GID+1+1:CT", b"GID+1A+1:CT")
    findings = CATALOGUE.explain(body, "CUSCAR", "UN")
    written = shown(acknowledge(body, evolve(VERDICT, findings=findings)))
    assert "+4'UCF+G1+TESTLINE:ZZ+CUSTOMS:ZZ+4'UCM+1+CUSCAR:D:03B:UN+4'UCS+7'UCD+37+2'UNT" in written
    assert CATALOGUE.explain(written.encode(), "CONTRL", "UN") == []


def test_each_of_several_interchanges_is_answered() -> None:
    written = told("CODECO--SWX-1026--two-senders-together.edi", evolve(VERDICT, code="18"))
    assert written.count("UCI+") == 2
    assert "UNT+3+2'UNZ+2+" in written


@pytest.mark.parametrize("name", ["CONTRL.edi", "APERAK.edi", "CONTRL--SWX-1401--uci-missing.edi"])
def test_acknowledgements_are_never_acknowledged(name: str) -> None:
    body = payload(name).replace(b"'\nUNH", b"++++1'\nUNH", 1)
    for verdict in (VERDICT, evolve(VERDICT, code="18")):
        assert acknowledge(body, verdict) == b""
        assert acknowledge(body[:-20], verdict) == b""  # not even when they are cut off


def test_a_test_stays_a_test_and_released_characters_stay_released() -> None:
    body = payload("CUSCAR.edi").replace(b"TESTLINE:ZZ", b"TEST?+LINE?':ZZ").replace(b"++1'", b"++1++1'")
    written = shown(acknowledge(body, VERDICT))
    assert "+TEST?+LINE?':ZZ+261122:1200+260000000000R++++++1'" in written
    assert "UCI+TEST000030+TEST?+LINE?':ZZ+CUSTOMS:ZZ+7'" in written


def test_the_version_of_contrl_is_the_familys_to_choose() -> None:
    assert "CONTRL:D:96A:UN'" in told("CUSCAR.edi", evolve(VERDICT, version="D:96A:UN"))


# -- as receipts of the switch -----------------------------------------------------------------------------------------


def arrival(body: bytes, id: str = "20261122-42") -> Arrival:
    return Arrival(read_id(id), NOON, "box", "LINE", Parcel("gate.edi", body))


@pytest.mark.parametrize(
    ("why", "code"),
    [
        (Unreadable("cut", code="SWX-1016"), "+4+13'"),
        (Unidentified("x", code="SWX-1021"), "+4+17'"),
        (Unidentified("x", code="SWX-1025"), "+4+32'"),
        (Rejected("x", code="SWX-1051"), "+4+23'"),
        (Rejected("x", code="SWX-1053"), "+4+7'"),
        (Conflicting("x"), "+4+26'"),
        (TooLarge("x"), "+4+18'"),
    ],
)
def test_our_codes_become_those_of_the_directory(why: Rejected, code: str) -> None:
    written = receipts.rejected(arrival(payload("CODECO.edi")), None, why, NOON, "edifact")
    assert written is not None
    assert code.encode() in written.read()
    assert (written.name, written.headers["type"]) == ("Failed_gate_20261122-42.edi", "CONTRL")


def test_a_cut_interchange_is_answered_by_what_its_header_says() -> None:
    written = receipts.rejected(
        arrival(payload("CODECO.edi")[:90]), None, Unreadable("x", code="SWX-1016"), NOON, "edifact"
    )
    assert written is not None
    assert b"UCI+TEST000001+TESTTERM:ZZ+TESTLINE:ZZ+4+13'" in written.read()


def test_what_has_no_header_is_answered_in_json() -> None:
    written = receipts.rejected(arrival(b"UNB|UNOA"), None, Unreadable("x", code="SWX-1017"), NOON, "edifact")
    assert written is not None
    assert written.name.endswith(".json")


def test_acknowledgements_get_no_receipt_of_any_kind() -> None:
    broken = arrival(payload("APERAK.edi"))
    findings = [Finding("SWX-1401", "13", "UNB[1]/UNH[1]/BGM", "x", "x", 2)]
    assert receipts.rejected(broken, None, Invalid(findings=findings), NOON, "edifact") is None
    assert receipts.accepted(broken, Envelope("APERAK", "D:01B:UN", "1"), NOON, shape="edifact") is None


def test_references_of_ours_are_unique_and_grow() -> None:
    body = payload("CUSCAR.edi")
    ids = ["20261122-1", "20261122-35", "20261122-36", "20261122-78364164095", "20261123-1", "20300101-1"]
    references = []
    for id in ids:
        written = receipts.accepted(arrival(body, id), Envelope("CUSCAR", "", "1"), NOON, shape="edifact")
        assert written is not None
        references.append(CATALOGUE.open(written.read()).tree.interchanges[0].header[5][0][0])
    assert references[:2] == ["2611220000001A", "261122000000ZA"]
    assert references == sorted(set(references))
    refused = receipts.rejected(arrival(body, ids[0]), None, Conflicting("x"), NOON, "edifact")
    assert refused is not None
    assert b"2611220000001R" in refused.read()


def test_edifact_is_known_by_its_first_bytes() -> None:
    assert all(Edifact().sniff(sample.path.read_bytes()) for sample in SAMPLES.values() if "1017" not in sample.code)
