"""What EDIFACT messages say, by the paths of a YAML; which payloads are one message of the switch; JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.catalogue import load
from exchange.errors import Unidentified
from exchange.formats import TypeFile
from exchange.formats._edifact_json import from_json, to_json
from exchange.formats._edifact_text import Separators
from exchange.formats.edifact import Edifact
from exchange.model import Answer, Envelope

CATALOGUE = load()
SAMPLES = {sample.path.name: sample for sample in CATALOGUE.samples() if sample.path.suffix == ".edi"}
EDIFACT = Edifact()


def read(payload: bytes) -> Envelope:
    opened = CATALOGUE.open(payload)
    return CATALOGUE.read(opened, CATALOGUE.identify(opened))


def sample(name: str) -> bytes:
    return SAMPLES[name].path.read_bytes()


def made_up(**more: Any) -> TypeFile:
    given = {
        "name": "T",
        "title": {"zh": "试", "en": "t"},
        "kind": "notice",
        "certainty": "own",
        "source": "x",
        "format": "edifact",
        "root": {"name": "CODECO"},
        "version": {"path": "UNH/2.2-4", "accepted": ["D:95B:UN"]},
        "editions": [{"name": "1", "valid_from": "2020-01-01", "file": "f"}],
        "own_id": "UNB/5",
        "documents": {"element": "UNH", "keys": {"id": "BGM/2"}},
    }
    return TypeFile.model_validate(given | more)


def by(path: str, payload: bytes) -> str:
    """Return what a path of a document leads to."""
    type = made_up(documents={"element": "EQD", "keys": {"id": "EQD/2"}, "fields": {"asked": path}})
    envelope = EDIFACT.reader(type, frozenset(), lambda code, text: Answer("", "", "", False)).read(
        EDIFACT.open(payload)
    )
    return "+".join(envelope.fields.get("asked", ()))


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("EQD/1", "CN"),
        ("EQD/3", "22G1:102:5"),
        ("EQD/3.1", "22G1"),
        ("EQD/3.1-2", "22G1:102"),
        ("EQD/9", ""),
        ("EQD/2.9", ""),
        ("RFF[1=BN]/1.2", "TESTBOOK01"),
        ("RFF[1.1=BM|BN]/1.2", "TESTBOOK01"),
        ("RFF[1=ON]/1.2", ""),
        ("SEL", "SEL"),
        ("DAM", ""),
        ("/BGM/2", "GATE-0001"),
        ("UNB/2", "TESTTERM:ZZ"),
        ("UNB/2.1 UNB/5", "TESTTERM|TEST000001"),
        ("UNB/2.1 UNB/11", "TESTTERM"),
        ("DAM/1 else RFF[1=BN]/1.2 else EQD/2", "TESTBOOK01"),
        ("UNG/2", ""),
        ("MEA/3.2", "18400.5"),
    ],
)
def test_a_path_leads_to_a_place(path: str, value: str) -> None:
    assert by(path, sample("CODECO.edi")) == value


@pytest.mark.parametrize("path", ["bgm/2", "BGM/0", "BGM/2.", "BGM//2", "BGM[2]/2", "BGM/2 elseBGM", "B/1", "BGM/2.3-"])
def test_what_is_no_path_is_told(path: str) -> None:
    with pytest.raises(ValueError, match=r".") as why:
        EDIFACT.reader(made_up(own_id=path), frozenset(), lambda code, text: Answer("", "", "", False))
    assert why.value.args == (path,)


def test_the_catalogue_tells_where_a_path_is_wrong() -> None:
    with pytest.raises(ValueError, match="no tag"):
        EDIFACT.reader(
            made_up(documents={"element": "no tag", "keys": {"id": "BGM/2"}}),
            frozenset(),
            lambda code, text: Answer("", "", "", False),
        )


def test_every_message_of_an_interchange_is_a_document() -> None:
    envelope = read(sample("CODECO--several.edi"))
    assert [document.keys["reference"] for document in envelope.documents] == ["GATE-0001", "GATE-0002"]
    interchanges = {document.keys["interchange"] for document in envelope.documents}
    assert interchanges == {"TESTTERM:ZZ|TESTLINE:ZZ|TEST000003"}
    assert envelope.documents[1].keys["message"] == "TESTTERM:ZZ|TESTLINE:ZZ|TEST000003|2"
    assert (envelope.own_id, envelope.sender) == ("TESTTERM:ZZ|TESTLINE:ZZ|TEST000003", "TESTTERM")


def test_a_test_has_another_id_than_the_same_in_earnest() -> None:
    body = sample("CODECO.edi")
    test = body.replace(b"+TEST000001'\nUNH", b"+TEST000001++++++1'\nUNH")
    assert read(test).own_id == read(body).own_id + "|1"
    assert read(test).fields["test"] == ("1",)


def test_several_interchanges_of_one_sender_are_one_message() -> None:
    body = sample("CODECO--minimal.edi")
    others = [body.replace(b"TEST000002", b"X%d" % n) for n in range(4)]
    assert read(body + others[0]).own_id == "TESTTERM:ZZ|TESTLINE:ZZ|TEST000002 TESTTERM:ZZ|TESTLINE:ZZ|X0"
    assert read(b"".join(others)).own_id.endswith("X0 ... TESTTERM:ZZ|TESTLINE:ZZ|X3 (4)")
    assert len(read(b"\r\n".join(others)).documents) == 4


@pytest.mark.parametrize(
    ("name", "code"),
    [("two-types-together", "SWX-1027"), ("no-message", "SWX-1025"), ("two-senders-together", "SWX-1026")],
)
def test_what_is_not_one_message_of_the_switch_is_refused(name: str, code: str) -> None:
    with pytest.raises(Unidentified) as why:
        read(sample(f"CODECO--{code}--{name}.edi"))
    assert why.value.code == code


def test_two_versions_are_two_types() -> None:
    with pytest.raises(Unidentified, match="CODECO:D:00B:UN"):
        read(sample("CODECO--several.edi").replace(b"UNH+2+CODECO:D:95B", b"UNH+2+CODECO:D:00B"))


# -- receipts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "outcome", "terminal", "reference"),
    [
        ("CUSRES.edi", "AP", "accepted", True, "MANIFEST-01"),
        ("CUSRES--minimal.edi", "27", "rejected", True, "MANIFEST-02"),
        ("CUSRES--errors.edi", "ERC", "rejected", True, "MANIFEST-01"),
        ("APERAK.edi", "27", "rejected", True, "DG-01"),
        ("APERAK--minimal.edi", "AP", "accepted", True, "DG-02"),
        ("APERAK--d95b.edi", "29", "accepted", True, "DG-01"),
    ],
)
def test_a_response_says_what_it_answers_and_how(
    name: str, code: str, outcome: str, terminal: bool, reference: str
) -> None:
    envelope = read(sample(name))
    (answer,) = envelope.answers
    assert (answer.code, answer.outcome, answer.terminal) == (code, outcome, terminal)
    assert envelope.documents[0].keys == {"document": f"TESTLINE/{reference}", "reference": reference}


def test_contrl_answers_the_interchange_and_each_message_that_it_names() -> None:
    envelope = read(sample("CONTRL.edi"))
    assert [answer.code for answer in envelope.answers] == ["7", "4"]
    assert [answer.terminal for answer in envelope.answers] == [False, True]
    subject = "TESTLINE:ZZ|CUSTOMS:ZZ|TEST000001"
    assert [document.keys for document in envelope.documents] == [{"interchange": subject}, {"message": f"{subject}|1"}]


def test_a_part_of_a_receipt_holds_only_the_messages_asked_for_and_counts_them() -> None:
    body = sample("CODECO--several.edi")
    opened = CATALOGUE.open(body)
    type = CATALOGUE.identify(opened)
    part = CATALOGUE.part(opened, type, [1])
    assert b"GATE-0001" not in part
    assert part.endswith(b"UNZ+1+TEST000003'")
    assert CATALOGUE.explain(part, "CODECO", "UN") == []
    assert [d.keys["reference"] for d in read(part).documents] == ["GATE-0002"]
    assert body[body.index(b"UNH+2") : body.index(b"UNZ")].strip() in part


def test_a_part_of_a_group_is_a_group() -> None:
    body = sample("CODECO--groups-and-una.edi")
    opened = CATALOGUE.open(body)
    part = CATALOGUE.part(opened, CATALOGUE.identify(opened), [0])
    assert part.startswith(b"UNA/|.? 'UNB|")
    assert CATALOGUE.explain(part, "CODECO", "UN") == []


# -- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name in SAMPLES if SAMPLES[name].code not in ("SWX-1016", "SWX-1017")))
def test_json_leads_back_to_the_same_bytes(name: str) -> None:
    body = sample(name)
    assert from_json(json.loads(json.dumps(to_json(body)))) == body


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9)
ELEMENTS = st.lists(st.lists(st.lists(TEXT, min_size=1, max_size=3), min_size=1, max_size=2), min_size=1, max_size=4)


@given(
    st.lists(ELEMENTS, max_size=5),
    st.sampled_from([":+.?*'", ":+,?*'", "=|.\\^~", ":+.? '"]),
    st.sampled_from(["", "\n", "\r\n"]),
)
def test_json_leads_back_to_the_same_bytes_whatever_is_said(made: list[Any], signs: str, newline: str) -> None:
    component, element, decimal, release, repetition, terminator = signs
    separators = Separators(component, element, decimal, release, repetition.strip(), terminator)
    if not repetition.strip():
        made = [[one[:1] for one in elements] for elements in made]
    body = [[[["FTX"]], *elements] for elements in made]
    head = (
        f"UNA{signs}{newline}UNB{element}UNOY{component}4{element}A{element}B{element}261122{component}0900{element}1"
    )
    text = head + terminator + newline
    text += "".join(separators.join(segment) + terminator + newline for segment in body)
    text += f"UNZ{element}0{element}1{terminator}{newline}"
    view = to_json(text.encode())
    assert from_json(json.loads(json.dumps(view))) == text.encode()
    said = view["interchanges"][0]["segments"][1:-1]
    assert len(said) == len(body)


@pytest.mark.parametrize("view", [{}, {"interchanges": [{}]}, {"interchanges": [{"separators": ":+.?' ", "charset": "x",
    "una": "", "newline": "", "segments": []}]}])  # fmt: skip
def test_what_is_no_view_is_told(view: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        from_json(view)
