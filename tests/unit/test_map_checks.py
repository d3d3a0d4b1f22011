"""What is checked when a map is read: that its paths lead somewhere, and that what the target requires is filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.errors import ConfigurationError
from exchange.steps._map_compile import load
from exchange.steps.map import SCHEMAS

SIDES = {
    "edifact": "schemas/smdg/containers/tables/IFTSTA-UN.yaml",
    "platform_file": "schemas/mot/platform/records/IFCSUM.yaml",
    "table": "schemas/customs/ceb-table/templates/CEB311-Table-1.yaml",
    "xml": "schemas/customs/ceb/CEB312Message-202205.xsd",
    "json": "schemas/neutral/event/LogisticsEvent-1.0.json",
}
MORE = {
    "edifact": ', message: "IFTSTA:D:95B:UN"',
    "xml": ', root: {name: CEB312Message, namespace: "http://www.chinaport.gov.cn/ceb"}',
}


def told_of(folder: Path, source: str, target: str, rows: str) -> list[str]:
    """Return the mistakes in a map between two formats, without their places."""
    root = ", root: CEB312Message" if source == "xml" else ""
    start, end = SCHEMAS.parent / SIDES[source], SCHEMAS.parent / SIDES[target]
    head = "title: {zh: 试, en: try}\ncertainty: own\nnotes: for a test\n"
    head += f"from: {{type: A, format: {source}, file: {start}{root}}}\n"
    head += f"to: {{type: B, format: {target}, file: {end}{MORE.get(target, '')}}}\n"
    (folder / "try.yaml").write_text(f"{head}rows:\n{rows}")
    try:
        load(folder / "try.yaml")
    except ConfigurationError as why:
        return [line.partition(": ")[2] for line in why.problems]
    return []


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        ("edifact", ["STS/2.1", "UNB/5", "/BGM/3", "DTM[1.1=7]/1.2"], ["STS/99", "XYZ/1", "sts/1", "STS/1.9"]),
        ("platform_file", ["12/2", "12/200", "10/13"], ["10/14", "98/1", "12", "x"]),
        ("table", ["订单编号"], ["订单号", "*"]),
        ("xml", ["OrderReturn/guid", "@guid", "."], ["OrderReturn/id", "@id", "a//b", "OrderReturn[1]"]),
        ("json", ["/events/eventID", "/events/0/eventID", "."], ["/event", "events", "/events/eventId"]),
    ],
)
def test_a_path_of_a_source_leads_where_its_schema_has_something(
    tmp_path: Path, format: str, good: list[str], bad: list[str]
) -> None:
    for path in good:
        assert told_of(tmp_path, format, "json", f'  - {{to: /sender, from: "{path}"}}\n') == [
            f"rows: no row fills in /{name}" for name in ("events", "messageID", "messageType", "version")
        ]
    for path in bad:
        told = told_of(tmp_path, format, "json", f'  - {{to: /sender, from: "{path}"}}\n')
        assert told == [f"rows[0].from: {path!r} leads nowhere"]


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        (
            "edifact",
            ["UNB/2.1", "STS/2.1", "DTM[1.1=7]/1.2"],
            ["UNB/5", "UNH/1", "STS", "STS/2", "RFF[1.1=A|B]/1.2", "X/1"],
        ),
        ("platform_file", ["12/2", "12/200"], ["12/1", "10/14", "99/2", "12"]),
        ("table", ["订单编号"], ["订单号"]),
        ("xml", ["OrderReturn/guid", "@guid"], ["OrderReturn/id", "@id"]),
        ("json", ["/events/eventID", "/sender"], ["/event", "sender"]),
    ],
)
def test_a_row_writes_where_the_schema_of_the_target_has_something(
    tmp_path: Path, format: str, good: list[str], bad: list[str]
) -> None:
    for path in good:
        told = told_of(tmp_path, "json", format, f'  - {{to: "{path}", from: "=1"}}\n')
        assert told
        assert all("no row fills in" in line for line in told), path
    for path in bad:
        told = told_of(tmp_path, "json", format, f'  - {{to: "{path}", from: "=1"}}\n')
        assert told == [f"rows[0].to: {path!r} leads nowhere"], path


@pytest.mark.parametrize(
    ("format", "path", "missing"),
    [
        ("edifact", "STS/1.1", ["BGM", "UNB/2 and UNB/3"]),
        ("platform_file", "12/2", ["00", "10", "11", "13"]),
        ("platform_file", "10/2", ["00", "10/10", "10/5", "10/9", "11", "12"]),
        ("xml", "OrderReturn/guid", ["@guid", "@version", "OrderReturn/ebcCode", "OrderReturn/ebpCode",
            "OrderReturn/orderNo", "OrderReturn/returnInfo", "OrderReturn/returnStatus", "OrderReturn/returnTime"]),
        ("json", "/events/eventID", ["/events/eventClassifierCode", "/events/eventDateTime", "/events/eventType",
            "/messageID", "/messageType", "/version"]),
    ],
)  # fmt: skip
def test_what_the_target_requires_and_no_row_fills_in_is_a_mistake(
    tmp_path: Path, format: str, path: str, missing: list[str]
) -> None:
    told = told_of(tmp_path, "json", format, f'  - {{to: "{path}", from: "=1"}}\n')
    assert told == [f"rows: no row fills in {place}" for place in missing]
