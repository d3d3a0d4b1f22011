"""A site installs schema sets that it owns, beside ours and over ours; official sets of others work as they are."""

from __future__ import annotations

import re
import shutil
import time
from datetime import date
from pathlib import Path

import pytest
from lxml import etree

from exchange.catalogue import SCHEMAS, Catalogue, load
from exchange.model import Envelope
from tests.daemon import ROUTES, order, running, switchd_yaml

NOW = date(2026, 1, 1)
INTERNATIONAL = Path(__file__).parent.parent.parent.parent / "shared" / "samples" / "international"
WCO = """
name: WCO-DEC
title: {zh: 世界海关组织报关单, en: WCO declaration}
kind: declaration
certainty: official
source: WCO data model 3.6 as the authority published it
format: xml
root:
  namespace: "urn:wco:datamodel:WCO:DocumentMetaData-DMS:2"
  mixed: true # the declaration inside is in another namespace
  name: MetaData
  where: {Declaration: "*"}
version: {path: WCODataModelVersionCode, accepted: ["3.6"]}
editions: [{name: "DMS-2", valid_from: 2018-01-01, file: set/declaration.xsd}]
documents:
  element: Declaration
  keys: {reference: FunctionalReferenceID, id: ID}
answered_by: [WCO-RES]
"""
RES = """
like: WCO-DEC
name: WCO-RES
title: {zh: 世界海关组织回执, en: WCO response}
kind: receipt
root: {where: {Declaration: ~, Response: "*"}, other_namespaces: [""]}
editions: [{name: "DMS-2", valid_from: 2018-01-01, file: set/notification.xsd}]
documents:
  element: Response
  keys: {reference: Declaration/FunctionalReferenceID, id: Declaration/ID}
answered_by: ~
answers:
  to: [WCO-DEC]
  code: FunctionCode
  terminal: ["03", "09"]
"""
CODES = """
status:
  "01": {stage: customs, outcome: accepted, zh: 接受, en: accepted}
  "03": {stage: customs, outcome: rejected, zh: 拒绝, en: rejected}
  "09": {stage: customs, outcome: released, zh: 放行, en: cleared}
"""
SET = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:import namespace="urn:wco:datamodel:WCO:DocumentMetaData-DMS:2"
             schemaLocation="wco/{folder}/DocumentMetaData_2_DMS.xsd"/>
  <xs:import namespace="urn:wco:datamodel:WCO:{root}-DMS:2" schemaLocation="wco/{folder}/WCO_{root}_2_DMS.xsd"/>
</xs:schema>"""
NCTS = """
name: CC015C
title: {zh: 转运申报, en: transit declaration}
kind: declaration
certainty: official
source: NCTS, DDNTA
format: xml
root: {namespace: "http://ncts.dgtaxud.ec", mixed: true, name: CC015C}
version: {path: "@PhaseID", accepted: ["NCTS5.0", ""]}
editions: [{name: "6.4.1", valid_from: 2018-01-01, file: set/cc015c.xsd}]
own_id: messageIdentification
documents: {keys: {lrn: TransitOperation/LRN}}
"""


def family(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "family.yaml").write_text("title: {zh: 已安装, en: installed}\n", "utf-8")
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.yaml").write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def international() -> Path:
    if not INTERNATIONAL.is_dir():
        pytest.skip("the international samples aren't here")
    return INTERNATIONAL


@pytest.fixture
def site(tmp_path: Path, international: Path) -> Path:
    """Return a site's folder with the sets that it installed."""
    folder = family(tmp_path / "site" / "customs" / "wco", WCO_DEC=WCO, WCO_RES=RES, codes=CODES)
    shutil.copytree(international / "wco-dec-hmrc" / "schemas", folder / "set")
    for name, root in (("declaration", "DEC"), ("notification", "RES")):
        (folder / "set" / f"{name}.xsd").write_text(SET.format(folder=name, root=root))
    folder = family(tmp_path / "site" / "customs" / "ncts", CC015C=NCTS)
    shutil.copytree(international / "ncts-p5", folder / "set", ignore=shutil.ignore_patterns("data"))
    return tmp_path / "site"


def read(catalogue: Catalogue, payload: bytes) -> tuple[Envelope, bool]:
    opened = catalogue.open(payload)
    type = catalogue.identify(opened)
    return catalogue.read(opened, type), catalogue.valid(opened, type, on=NOW)


def test_wco_declarations_and_responses_are_known_read_and_judged(site: Path, international: Path) -> None:
    catalogue = load(SCHEMAS, site)
    official = etree.XMLSchema(file=str(site / "customs" / "wco" / "set" / "declaration.xsd"))
    declarations = [
        file
        for file in sorted((international / "wco-dec-hmrc" / "samples").glob("*.xml"))
        if b"<md:WCOTypeName>DEC" in file.read_bytes()
    ]
    assert len(declarations) >= 3
    judged = []
    for file in declarations:
        envelope, valid = read(catalogue, file.read_bytes())
        assert envelope.type == "WCO-DEC"
        assert envelope.documents[0].keys["reference"]
        judged.append(valid)
        assert valid is official.validate(etree.parse(file)), file.name
    assert any(judged)
    for file in sorted((international / "wco-dec-hmrc" / "samples").glob("*DMSACC.xml")):
        envelope, _ = read(catalogue, file.read_bytes())
        assert envelope.type == "WCO-RES"
        assert [(answer.code, answer.outcome) for answer in envelope.answers] == [("01", "accepted")]
        assert envelope.documents[0].keys["id"]


def test_what_is_wrong_with_a_wco_declaration_is_explained(site: Path, international: Path) -> None:
    catalogue = load(SCHEMAS, site)
    text = (international / "wco-dec-hmrc" / "samples" / "TT_EX010a_TT_EX010a.xml").read_text("utf-8")
    payload = text.replace("<Declaration ", "<Declaration colour='red' ", 1).encode()
    assert read(catalogue, payload)[1] is False
    findings = catalogue.explain(payload, "WCO-DEC", "DMS-2")
    assert findings
    assert all(finding.pointer.startswith("/MetaData/Declaration") for finding in findings)


def test_ncts_messages_get_the_verdict_of_their_own_schemas(site: Path, international: Path) -> None:
    catalogue = load(SCHEMAS, site)
    official = etree.XMLSchema(file=str(international / "ncts-p5" / "cc015c.xsd"))
    for file in sorted((international / "ncts-p5" / "data").glob("cc015c*.xml")):
        envelope, valid = read(catalogue, file.read_bytes())
        assert (envelope.type, bool(envelope.own_id), bool(envelope.documents[0].keys["lrn"])) == ("CC015C", True, True)
        assert valid is official.validate(etree.parse(file))
        if not valid:
            assert catalogue.explain(file.read_bytes(), "CC015C", "6.4.1")


def own(tmp_path: Path) -> Path:
    """Return a site's folder whose import orders call the number of an order by another name."""
    ours = SCHEMAS / "customs" / "ceb"
    folder = tmp_path / "site" / "customs" / "ceb"
    folder.mkdir(parents=True)
    type = load().types["CEB311Message"]
    for file in (ours / "family.yaml", ours / "codes.yaml", *ours.glob("[!C]*.xsd")):
        shutil.copy(file, folder)
    xsd = (ours / load().edition(type, NOW).file).read_text("utf-8")
    (folder / "site.xsd").write_text(xsd.replace('name="orderNo"', 'name="orderNumber"'), "utf-8")
    editions = "editions: [{name: site, valid_from: 2022-05-01, file: site.xsd}]\n\n"
    text = (ours / "CEB311Message.yaml").read_text("utf-8")
    text = re.sub(r"editions:.*?\n\n", editions, text, flags=re.DOTALL)
    (folder / "CEB311Message.yaml").write_text(text, "utf-8")
    return tmp_path / "site"


def test_a_sites_type_wins_over_ours_of_the_same_name(tmp_path: Path) -> None:
    payload = (SCHEMAS / "customs" / "ceb" / "samples" / "valid" / "CEB311Message.xml").read_bytes()
    ours, both = load(), load(SCHEMAS, own(tmp_path))
    assert set(ours.types) == set(both.types)
    assert read(ours, payload)[1]
    assert not read(both, payload)[1]
    assert both.edition(both.types["CEB311Message"], NOW).name == "site"
    assert both.types["CEB312Message"].spec.folder == ours.types["CEB312Message"].spec.folder


async def test_a_daemon_judges_by_what_its_site_installed_and_explains_by_it(tmp_path: Path) -> None:
    own(tmp_path)
    async with running(tmp_path, ROUTES, switchd_yaml(more="schemas: [site]\n")) as house:
        id = await house.give("ent1-box", order(1))
        await house.settle()
        (line,) = await house.told(id, "reject")
        assert "orderNumber" in {finding["pointer"].rpartition("/")[2] for finding in line["findings"]}


def test_loading_everything_stays_under_a_second(site: Path) -> None:
    began = time.process_time()
    load(SCHEMAS, site)
    assert time.process_time() - began < 1
