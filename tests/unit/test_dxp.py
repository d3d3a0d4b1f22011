"""DXP envelopes as we write and judge them: as the official schemas do, and with answers that are always valid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from exchange.codes import known
from exchange.errors import Held, Rejected
from exchange.wrappers import Label
from exchange.wrappers.dxp import Dxp
from exchange.wrappers.dxp import Options as DxpOptions
from exchange.wrappers.dxp_answer import Said, answer, response_code
from exchange.wrappers.dxp_node import DxpNode
from exchange.wrappers.dxp_node import Options as NodeOptions
from exchange.wrappers.opening import opened
from exchange.wrappers.zip import Options as ZipOptions
from exchange.wrappers.zip import Zip
from tests.daemon import NOON, order
from tests.envelopes import DXP, EXPORT, IMPORT, dxp, node
from tests.unit.test_intake import TYPES

ORDER = order(1)
OFFICIAL = Path(__file__).parent.parent.parent.parent / "shared" / "samples" / "ceb-2018-113" / "传输节点报文.xsd"


def valid_answer(body: bytes) -> None:
    read = TYPES.open(body)
    assert TYPES.valid(read, TYPES.identify(read), on=date(2026, 1, 1)), body.decode()


# -- writing -----------------------------------------------------------------------------------------------------

LABEL = Label("COP-1", "CEB311Message", "a.xml", NOON, "DXPENT0000000001", (IMPORT,), number=7)
NODE = NodeOptions(start="51000001", end="00000002")


def test_what_we_write_we_read_and_the_official_schema_agrees() -> None:
    written = Dxp().wrap(ORDER, LABEL, DxpOptions(types={"CEB311Message": "ORDER<&>"}))
    within = DxpNode().wrap(written, evolve(LABEL, part=2), NODE)
    inside, (outer, inner) = opened(within)
    assert inside == ORDER
    assert outer.node is not None
    assert outer.node.id == "5100000120261122120000" + "0000000007" + "2"
    assert (inner.own_id, inner.sender, inner.receivers, inner.type) == ("COP-1", LABEL.sender, (IMPORT,), "ORDER<&>")
    assert (outer.findings, inner.findings) == ((), ())
    assert opened(DxpNode().wrap(ORDER, LABEL, NODE))[0] == ORDER
    for body in (written, within, answer(within, Said("好"), NOON)):
        if OFFICIAL.exists():
            assert official().validate(etree.fromstring(body)), official().error_log


def test_a_package_is_the_same_every_time() -> None:
    packed = Zip().wrap(ORDER, LABEL, ZipOptions())
    assert packed == Zip().wrap(ORDER, LABEL, ZipOptions())
    assert opened(packed)[0] == ORDER
    assert opened(Zip().wrap(ORDER, LABEL, ZipOptions(element=True)))[0] == ORDER


@pytest.mark.parametrize(
    "wrong", [{"sender": ""}, {"receivers": ()}, {"receivers": ("R" * 17,)}, {"receivers": (IMPORT,) * 6},
              {"own_id": ""}, {"type": "T" * 31}, {"part": 10}],
)  # fmt: skip
def test_an_envelope_that_lacks_an_address_holds_the_message(wrong: dict[str, object]) -> None:
    with pytest.raises(Held) as why:
        DxpNode().wrap(ORDER, evolve(LABEL, **wrong), NODE)  # type: ignore[arg-type]
    assert why.value.code == "SWX-2074"


@cache
def official() -> etree.XMLSchema:
    """Compile the official schemas from copies with names that libxml2 can resolve."""
    with TemporaryDirectory() as folder:
        for name, plain in (("传输节点报文", "node"), ("终端节点报文", "terminal"), ("xmldsig-core-schema", "dsig")):
            text = (OFFICIAL.parent / f"{name}.xsd").read_text("utf-8")
            text = text.replace("终端节点报文.xsd", "terminal.xsd").replace("xmldsig-core-schema.xsd", "dsig.xsd")
            (Path(folder) / f"{plain}.xsd").write_text(text, "utf-8")
        return etree.XMLSchema(etree.parse(str(Path(folder) / "node.xsd")))


# -- the same verdict as the official schemas --------------------------------------------------------------------


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the official schemas are not here")
def test_our_rules_agree_with_the_official_schemas_on_every_change_of_an_envelope() -> None:
    schema = official()
    full = '<AddInfo><FileName>a</FileName><IcCard>1</IcCard><BizKey><Key name="a">b</Key></BizKey><IsText Encode=""/>'
    full += "</AddInfo>"
    sample = etree.fromstring(node(dxp(ORDER, receivers=[IMPORT, EXPORT], more=full), sub="1"))
    count = 0
    for changed_ in changes(sample):
        count += 1
        body = etree.tostring(changed_)
        try:
            inside = opened(body)
            ours = not any(one.findings for one in inside[1])
        except Rejected:
            ours = False
        assert ours == schema.validate(changed_), (schema.error_log, body[-600:])
    assert count > 250


def changes(sample: etree._Element) -> list[etree._Element]:
    found = []
    texts = (
        "",
        "x",
        "x" * 8,
        "x" * 9,
        "x" * 16,
        "x" * 17,
        "x" * 32,
        "x" * 33,
        "x" * 64,
        "x" * 65,
        "x" * 255,
        "x" * 256,
    )

    def put(change: Callable[[etree._Element], None], number: int) -> None:
        root = etree.fromstring(etree.tostring(sample))
        change(list(root.iter())[number])
        found.append(root)

    for number, element in enumerate(sample.iter()):
        if number and etree.QName(element).localname not in ("Data", "DxpMsg"):
            put(lambda e: e.getparent().remove(e), number)  # type: ignore[union-attr]
            put(lambda e: e.addnext(etree.fromstring(etree.tostring(e))), number)
            put(lambda e: e.addnext(etree.Element(f"{{{DXP}}}Other")), number)
            if element.getnext() is not None:
                put(lambda e: e.getnext().addnext(e), number)  # type: ignore[union-attr]
        for name in element.attrib:
            put(lambda e, n=name: e.attrib.pop(n), number)  # type: ignore[misc]
            for text in ("", "x", "x" * 33, "x" * 51):
                put(lambda e, n=name, t=text: e.set(n, t), number)  # type: ignore[misc]
        put(lambda e: e.set("other", "1"), number)
        if not len(element) and etree.QName(element).localname not in ("Data", "CreatTime", "SendTime", "IsText"):
            for text in texts:
                put(lambda e, t=text: setattr(e, "text", t), number)  # type: ignore[misc]
    return found


# -- answers ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    original=st.binary(max_size=300),
    zh=st.text(max_size=400),
    code=st.sampled_from(["", "SWX-1010", "SWX-2012", "SWX-1421"]),
)
def test_an_answer_is_always_valid_whatever_it_answers(original: bytes, zh: str, code: str) -> None:
    valid_answer(answer(b"<DxpMsg><TransInfo><CopMsgId>" + original, Said(zh, code), NOON))


def test_each_of_our_codes_has_one_of_the_platforms() -> None:
    assert {response_code(Said("", code)) for code in known()} <= {
        "0001", "0002", "0999", "1001", "1002", "1004", "1999", "2001", "2002", "2999", "3999"
    }  # fmt: skip
