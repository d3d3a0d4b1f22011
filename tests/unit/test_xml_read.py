"""What the switch reads of a message, however it is written."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS, load
from exchange.formats import TypeFile
from exchange.formats._xml_schema import schema_tree
from exchange.formats.xml import Xml
from exchange.model import Answer, Envelope

CATALOGUE = load()
VALID = SCHEMAS / "customs" / "ceb" / "samples" / "valid"


def envelope(payload: bytes) -> Envelope:
    opened = CATALOGUE.open(payload)
    return CATALOGUE.read(opened, CATALOGUE.identify(opened))


def sample(name: str) -> bytes:
    return (VALID / f"{name}.xml").read_bytes()


def test_an_order_is_read_with_sender_keys_and_fields() -> None:
    read = envelope(sample("CEB311Message"))
    assert (read.type, read.version, read.own_id) == ("CEB311Message", "1.0", "00000000-0000-4000-8000-000000000311")
    assert read.sender == "DXPENT0000000001"
    assert [list(document.keys.items()) for document in read.documents] == [
        [("guid", "00000000-0000-4000-8000-000000311001"), ("order", "TESTEBP001/TEST-ORDER-0001")]
    ]
    assert read.fields == {
        "copCode": ("TEST000001",),
        "appType": ("1",),
        "appStatus": ("2",),
        "ebpCode": ("TESTEBP001",),
        "ebcCode": ("TEST000001",),
    }
    assert not read.signed
    assert read.answers == ()


def test_several_documents_give_several_keys_and_distinct_fields() -> None:
    text = sample("CEB311Message--several").decode().replace("<ceb:appType>1<", "<ceb:appType>2<", 1)
    read = envelope(text.encode())
    assert [document.keys["order"] for document in read.documents] == [
        f"TESTEBP001/TEST-ORDER-000{number}" for number in (3, 4, 5)
    ]
    assert read.fields["appType"] == ("2", "1")
    assert read.signed


def test_a_signature_without_a_value_is_none() -> None:
    text = sample("CEB621Message").decode()
    start, end = text.index("<ds:SignatureValue>"), text.index("</ds:SignatureValue>")
    assert envelope(text.encode()).signed
    assert not envelope((text[:start] + "<ds:SignatureValue> \n" + text[end:]).encode()).signed


def test_prefix_default_namespace_and_charset_make_no_difference() -> None:
    text = sample("CEB311Message").decode()
    expected = envelope(text.encode())
    for other in (
        text.replace("ceb:", "").replace("xmlns:ceb=", "xmlns=").encode(),
        text.replace("ceb:", "x.y:").replace("xmlns:ceb=", "xmlns:x.y=").encode(),
        text.encode("utf-8-sig"),
        text.replace("UTF-8", "GB18030").encode("gb18030"),
        text.replace("UTF-8", "UTF-16").encode("utf-16"),
        text.replace("\n", "\r\n").encode(),
        text.replace("<ceb:orderNo>", "<ceb:orderNo>\n  ").replace("</ceb:dxpId>", "\t</ceb:dxpId>").encode(),
    ):
        assert envelope(other) == expected


def test_a_comment_hides_nothing_of_a_text() -> None:
    text = sample("CEB311Message").decode()
    hidden = text.replace("TEST-ORDER-0001", "TEST<!-- x -->-ORDER-<?p i?><![CDATA[0001]]>")
    assert envelope(hidden.encode()) == envelope(text.encode())


def test_of_repeated_elements_the_first_counts() -> None:
    text = sample("CEB311Message").decode()
    twice = text.replace("<ceb:orderNo>", "<ceb:orderNo>FIRST</ceb:orderNo><ceb:orderNo>")
    assert envelope(twice.encode()).documents[0].keys["order"] == "TESTEBP001/FIRST"


def test_what_is_missing_is_left_out_and_nothing_is_raised() -> None:
    read = envelope(b'<CEB311Message xmlns="http://www.chinaport.gov.cn/ceb" version="1.0"><Order/></CEB311Message>')
    assert (read.own_id, read.sender, read.fields) == ("", "", {})
    assert [dict(document.keys) for document in read.documents] == [{}]
    empty = envelope(b'<CEB311Message xmlns="http://www.chinaport.gov.cn/ceb" version="1.0"/>')
    assert empty.documents == ()


def test_a_receipt_has_one_answer_for_each_document() -> None:
    read = envelope(sample("CEB312Message--several"))
    assert len(read.documents) == len(read.answers) == 5
    assert [(answer.code, answer.stage, answer.outcome, answer.terminal) for answer in read.answers] == [
        ("3", "port", "pending", False),
        ("120", "customs", "accepted", True),
        ("100", "customs", "rejected", True),
        ("-301010", "port", "error", True),
        ("23", "", "pending", False),
    ]
    assert read.answers[2].text == "[Code:1322;Desc:订单清单表体商品项不一致]"


@pytest.mark.parametrize(
    ("declaration", "receipt"),
    [
        ("CEB311Message", "CEB312Message"),
        ("CEB411Message", "CEB412Message"),
        ("CEB511Message", "CEB512Message"),
        ("CEB621Message", "CEB622Message"),
    ],
)
def test_a_receipt_carries_the_keys_of_the_document_it_answers(declaration: str, receipt: str) -> None:
    (asked,), (answered,) = envelope(sample(declaration)).documents, envelope(sample(receipt)).documents
    common = set(asked.keys) & set(answered.keys)
    assert common - {"guid"}
    assert {key: asked.keys[key] for key in common} == {key: answered.keys[key] for key in common}


def test_guids_are_compared_without_regard_to_case() -> None:
    text = sample("CEB311Message").decode().replace("000000311001", "abcdef311001")
    assert envelope(text.encode()).documents[0].keys["guid"].endswith("-ABCDEF311001")


def test_a_receipt_that_encloses_its_cause_answers_every_document_in_there() -> None:
    text = sample("CEB900Message--unknown").decode()
    enclosed = sample("CEB311Message--several").decode()
    read = envelope(text.replace("&lt;测试", f"<![CDATA[{enclosed}]]>").encode())
    assert read.documents == envelope(enclosed.encode()).documents
    assert [(answer.code, answer.outcome) for answer in read.answers] == [("-1", "error")] * 3


@pytest.mark.parametrize("enclosed", ["", "&lt;cut", "&lt;a/&gt;", "&lt;!DOCTYPE a&gt;&lt;a/&gt;"])
def test_an_enclosed_message_that_cannot_be_read_leaves_the_receipt_its_own_key(enclosed: str) -> None:
    text = sample("CEB900Message--unknown").decode().replace("&lt;测试", enclosed)
    read = envelope(text.encode())
    assert [dict(document.keys) for document in read.documents] == [{"guid": "00000000-0000-4000-8000-000000009002"}]
    assert len(read.answers) == 1


def test_a_receipt_in_a_receipt_is_not_followed() -> None:
    text = sample("CEB900Message--unknown").decode()
    inner = sample("CEB312Message").decode()
    assert len(envelope(text.replace("&lt;测试", f"<![CDATA[{inner}]]>").encode()).documents[0].keys) == 1


@pytest.mark.parametrize("charset", ["UTF-8", "GB18030", "UTF-16"])
def test_a_part_of_a_receipt_holds_just_these_records_in_the_same_charset(charset: str) -> None:
    text = sample("CEB312Message--several").decode().replace("UTF-8", charset)
    opened = CATALOGUE.open(text.encode(charset))
    type = CATALOGUE.identify(opened)
    whole = CATALOGUE.read(opened, type)
    part = CATALOGUE.part(opened, type, [1, 3])
    assert CATALOGUE.read(opened, type) == whole
    reopened = CATALOGUE.open(part)
    assert CATALOGUE.valid(reopened, type, on=date(2026, 1, 1))
    assert reopened.tree.getroottree().docinfo.encoding == charset
    assert reopened.tree.getroottree().docinfo.standalone is True
    read = CATALOGUE.read(reopened, type)
    assert read.own_id == whole.own_id
    assert read.documents == (whole.documents[1], whole.documents[3])
    assert read.answers == (whole.answers[1], whole.answers[3])


# -- paths, with a type made up for it ------------------------------------------------------------------------------


def made_up(**changes: object) -> TypeFile:
    return TypeFile.model_validate(
        {
            "name": "Manifest",
            "title": {"zh": "舱单", "en": "manifest"},
            "kind": "notice",
            "certainty": "own",
            "source": "made up",
            "format": "xml",
            "root": {"name": "Manifest"},
            "version": {"path": "Head/@v", "accepted": ["1"]},
            "editions": [{"name": "1", "valid_from": "2020-01-01", "file": "Manifest-1.xsd"}],
            "own_id": "Head/Id",
            "receivers": "Head/To",
            "documents": {"element": "Bills/Bill", "keys": {"bill": "@no", "port": ["../x", "Port"]}},
            **changes,
        }
    )


def answer(code: str, text: str) -> Answer:
    return Answer(code, "", "pending", False, text)


def test_paths_reach_attributes_deeper_documents_and_several_receivers() -> None:
    type = made_up(documents={"element": "Bills/Bill", "keys": {"bill": "@no", "port": ["@no", "Port/Code"]}})
    reader = Xml().reader(type, frozenset({"port"}), answer)
    opened = Xml().open(
        b'<Manifest><Head v="1"><Id>7</Id><To>A</To><To> B </To></Head>'
        b'<Bills><Bill no="x"><Port><Code>p</Code></Port></Bill><Bill no="y"/></Bills><Bills/>'
        b'<Bills><Bill no="z"/></Bills></Manifest>'
    )
    assert reader.version(opened) == "1"
    read = reader.read(opened)
    assert (read.own_id, read.receivers) == ("7", ("A", "B"))
    assert [dict(document.keys) for document in read.documents] == [
        {"bill": "x", "port": "X/P"},
        {"bill": "y"},
        {"bill": "z"},
    ]
    assert reader.read(Xml().open(reader.part(opened, [2]))).documents == read.documents[2:]


def test_without_an_element_the_message_itself_is_the_document() -> None:
    reader = Xml().reader(made_up(documents={"keys": {"id": "Head/Id"}}), frozenset(), answer)
    (document,) = reader.read(Xml().open(b"<Manifest><Head><Id>7</Id></Head></Manifest>")).documents
    assert document.keys == {"id": "7"}


def test_paths_that_are_none_are_all_told() -> None:
    with pytest.raises(ValueError, match=r".") as why:
        Xml().reader(made_up(own_id="Head//Id", sender="a b", receivers="/x", fields={"f": "@"}), frozenset(), answer)
    assert set(why.value.args) == {"Head//Id", "a b", "/x", "@", "../x"}


def test_a_schema_without_a_signature_of_its_own_cannot_be_made_unsigned(tmp_path: Path) -> None:
    file = tmp_path / "a.xsd"
    file.write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="a"/></xs:schema>')
    with pytest.raises(ValueError, match=r"a\.xsd has no ds:Signature"):
        schema_tree(file, unsigned=True)
