"""Every map of ours makes of every sample what stands in ``tests/unit/maps``, as the schema of its target wants it.

``python -m tests.unit.test_maps`` writes these files anew, for whoever changes a map to read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from functools import cache
from pathlib import Path
from random import Random

import pytest

from exchange.catalogue import Sample, load
from exchange.errors import Rejected
from exchange.model import Parcel, Party
from exchange.steps import About
from exchange.steps._map_compile import Compiled
from exchange.steps._map_compile import load as load_map
from exchange.steps.map import SCHEMAS, Map, MapOptions

CATALOGUE = load()
GOLDEN = Path(__file__).parent / "maps"
MAPS = sorted(SCHEMAS.glob("*/*/maps/*.yaml"))
COMPILED: dict[str, Compiled] = {file.stem: load_map(file) for file in MAPS}
GIVEN = {"dxpId": "DXPENT0000000001", "sender": "SWITCH"}
AT, MESSAGE, ON = 1_795_312_800_000_000, (20779 << 40) + 42, date(2026, 11, 22)  # 2026-11-22 10:00 in Beijing


@cache
def step(name: str) -> Map:
    values = {need: GIVEN[need] for need in COMPILED[name].file.needs}
    return Map(MapOptions.model_validate({"map": name, "with": values}), Path())


def made(name: str, payload: bytes, file: str) -> Parcel:
    """Apply a map as a route would."""
    opened = CATALOGUE.open(payload)
    type = CATALOGUE.identify(opened)
    receiver = Party("PARTNER", "enterprise", ids=("PARTNER-ID",))
    return step(name).apply(Parcel(file, payload), About(CATALOGUE.read(opened, type), type, receiver, AT, MESSAGE))


def cases() -> Iterator[tuple[str, Sample]]:
    for name, compiled in COMPILED.items():
        for sample in CATALOGUE.samples():
            if sample.type in compiled.file.source.type and not sample.code:
                yield name, sample


CASES = list(cases())


def golden(name: str, sample: Sample) -> tuple[Path, bytes]:
    """Return what a map makes of a sample, as it is kept: JSON indented, or the list of what is wrong."""
    at = GOLDEN / name / sample.path.stem
    try:
        parcel = made(name, sample.path.read_bytes(), sample.path.name)
    except Rejected as why:
        lines = [f"{why.code} {why.en}", *(f"{f.code} {f.pointer} ({f.line}): {f.en} / {f.zh}" for f in why.findings)]
        return at.with_name(f"{at.name}.wrong"), "".join(f"{line}\n" for line in lines).encode()
    suffix, payload = Path(parcel.name).suffix, parcel.read()
    if suffix == ".json":
        payload = (json.dumps(json.loads(payload), ensure_ascii=False, indent=2) + "\n").encode()
    return at.with_name(at.name + suffix), payload


@pytest.mark.parametrize(("name", "sample"), [pytest.param(*c, id=f"{c[0]}-{c[1].path.name}") for c in CASES])
def test_a_map_makes_of_a_sample_what_is_kept(name: str, sample: Sample) -> None:
    file, payload = golden(name, sample)
    assert file.is_file(), f"{file.name} is new: run python -m tests.unit.test_maps and read what it writes"
    assert payload.decode("utf-8", "replace") == file.read_bytes().decode("utf-8", "replace")


@pytest.mark.parametrize(("name", "sample"), [pytest.param(*c, id=f"{c[0]}-{c[1].path.name}") for c in CASES])
def test_what_a_map_makes_is_a_valid_message_of_its_target(name: str, sample: Sample) -> None:
    try:
        parcel = made(name, sample.path.read_bytes(), sample.path.name)
    except Rejected:
        return
    opened = CATALOGUE.open(parcel.read())
    type = CATALOGUE.identify(opened)
    assert type.name == COMPILED[name].file.target.type == parcel.headers["type"]
    envelope = CATALOGUE.read(opened, type)
    assert CATALOGUE.valid(opened, type, on=ON, version=envelope.version)
    assert envelope.own_id
    assert envelope.documents


@pytest.mark.parametrize("file", MAPS, ids=lambda file: file.stem)
def test_a_map_names_types_formats_and_schemas_of_the_catalogue(file: Path) -> None:
    map = COMPILED[file.stem].file
    sides = [(name, map.source.format, map.source.file) for name in map.source.type]
    for name, format, schema in [*sides, (map.target.type, map.target.format, map.target.file)]:
        type = CATALOGUE.types[name]
        assert type.format == format
        assert (file.parent / schema).resolve() in {
            (type.spec.folder / edition.file).resolve() for edition in type.spec.editions
        }


@pytest.mark.parametrize("file", MAPS, ids=lambda file: file.stem)
def test_a_map_stands_beside_the_types_it_starts_from_and_succeeds_with_one_of_their_samples(file: Path) -> None:
    assert file.stem.endswith(f"-{COMPILED[file.stem].file.target.type}")
    for name in COMPILED[file.stem].file.source.type:
        assert CATALOGUE.types[name].spec.folder.resolve() == file.parent.parent.resolve()
    kept = list((GOLDEN / file.stem).iterdir())
    assert [one for one in kept if one.suffix != ".wrong"]


def test_nothing_is_kept_that_no_map_makes() -> None:
    wanted = {golden(*case)[0] for case in CASES}
    assert {file for file in GOLDEN.rglob("*") if file.is_file()} == wanted


# -- what is wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "type", "old", "new", "told"),
    [
        ("CODECO-LogisticsEvent", "CODECO", b"BGM+34+", b"BGM+270+", ["SWX-1482 UNB[1]/UNH[1]/BGM/1.1 (2)"]),
        ("CODECO-LogisticsEvent", "CODECO", b"0001+9'", b"0001+1'", ["SWX-1482 UNB[1]/UNH[1]/BGM/3 (2)"]),
        ("CODECO-LogisticsEvent", "CODECO", b"0845:203", b":102", ["SWX-1483 UNB[1]/UNH[1]/DTM/1.2 (6)"]),
        ("CODECO-LogisticsEvent", "CODECO", b"+TSTU0000014", b"+", ["SWX-1481 UNB[1]/UNH[1]/EQD/2.1 (6)"]),
        ("CODECO-LogisticsEvent", "CODECO", b"+22G1", b"+22", ["SWX-1414 /events/0/ISOEquipmentCode (None)"]),
        ("COARRI-LogisticsEvent", "COARRI", b"BGM+44+", b"BGM+45+", ["SWX-1482 UNB[1]/UNH[1]/BGM/1.1 (2)"]),
        ("IFTSTA-LogisticsEvent", "IFTSTA", b"STS+1+13", b"STS+1+31", ["SWX-1482 UNB[1]/UNH[1]/STS/2.1 (7)"]),
        (
            "IFTSTA-LogisticsEvent", "IFTSTA", b"EQD+CN+TSTU0000014", b"EQD+CN+",
            ["SWX-1481 UNB[1]/UNH[1]/EQD/2.1 (11)"],
        ),
        (
            "manifest-LogisticsEvent", "MT5101", b"<FunctionCode>9", b"<FunctionCode>3",
            ["SWX-1482 /Manifest/Head/FunctionCode (2)"],
        ),
        (
            "MTReceipt-LogisticsEvent", "MTReceipt", b"<Code>01", b"<Code>77",
            ["SWX-1482 /Manifest/Response/Consignment[1]/ResponseType/Code (17)"],
        ),
        (
            "CEB622Message-LogisticsEvent", "CEB622Message", b">20240102030420123<", b">2024<",
            ["SWX-1483 /CEB622Message/InventoryReturn[1]/returnTime (3)"],
        ),
        (
            "CEB311-Table-CEB311Message", "CEB311-Table--minimal", ",测试甲,00000000000,110101".encode(), b",,x,110101",
            ["SWX-1481 row 2, column 订购人姓名 (2)"],
        ),
        (
            "CEB311-Table-CEB311Message", "CEB311-Table--minimal", b",2,50,100,142", b",2 kg,50,,142",
            ["SWX-1483 row 2, column 数量 (2)", "SWX-1481 row 2, column 总价 (2)"],
        ),
        (
            "MOT-IFCSUM-CargoManifest", "MOT-IFCSUM--full-utf8-bom", b"41:001::100", b"41:A::1OO",
            ["SWX-1483 record 12 (41), field 2 (12)", "SWX-1483 record 12 (41), field 4 (12)"],
        ),
        (
            "CargoManifest-MOT-IFCSUM", "CargoManifest--full", b'"function": "CHANGE"', b'"function": "REPLACE"',
            ["SWX-1482 /function (None)"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_message_is_told_by_its_place(
    name: str, type: str, old: bytes, new: bytes, told: list[str]
) -> None:
    (sample,) = [one for one in CATALOGUE.samples() if not one.code and one.path.stem == type]
    payload = sample.path.read_bytes()
    assert old in payload
    with pytest.raises(Rejected) as why:
        made(name, payload.replace(old, new, 1), sample.path.name)
    assert [f"{f.code} {f.pointer} ({f.line})" for f in why.value.findings] == told
    assert all(finding.en != finding.zh for finding in why.value.findings)


def test_a_damaged_message_is_rejected_or_transformed_and_nothing_else_happens() -> None:
    chance = Random(3)
    for number in range(400):
        name, sample = CASES[number % len(CASES)]
        damaged = bytearray(sample.path.read_bytes())
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randint(0, 9)] = chance.choice((b"", b"'", b"+", b":", b"<", b'"', b"0", b"\xff"))
        with suppress(Rejected):
            made(name, bytes(damaged), sample.path.name)


# -- there and back ----------------------------------------------------------------------------------------------


def test_orders_survive_the_way_through_a_table_and_back() -> None:
    table = SCHEMAS / "customs" / "ceb-table" / "samples" / "valid" / "CEB311-Table--full-utf8-bom.csv"
    orders = made("CEB311-Table-CEB311Message", table.read_bytes(), table.name)
    back = made("CEB311Message-CEB311-Table", orders.read(), orders.name)
    again = made("CEB311-Table-CEB311Message", back.read(), back.name)
    ids = b"guid"
    assert [part for part in again.read().split(b"<ceb:") if not part.startswith((ids, b"CEB311Message"))] == [
        part for part in orders.read().split(b"<ceb:") if not part.startswith((ids, b"CEB311Message"))
    ]
    rows = [line.split(",")[:1] for line in back.read().decode("utf-8-sig").splitlines()]
    assert rows[0] == ["进口订单导入表"]


@pytest.mark.parametrize("sample", ["MOT-IFCSUM--full-gbk", "MOT-IFCSUM--minimal"])
def test_what_is_known_of_a_manifest_survives_the_way_to_json_and_back(sample: str) -> None:
    file = SCHEMAS / "mot" / "platform" / "samples" / "valid" / f"{sample}.txt"
    there = made("MOT-IFCSUM-CargoManifest", file.read_bytes(), file.name)
    back = made("CargoManifest-MOT-IFCSUM", there.read(), there.name)
    again = json.loads(made("MOT-IFCSUM-CargoManifest", back.read(), back.name).read())
    before = json.loads(there.read())
    assert again.pop("createdDateTime")[:16] == before.pop("createdDateTime")[:16]  # platform files tell minutes
    assert again == before


def test_statuses_survive_the_way_to_events_and_back_but_for_what_events_have_no_word_for() -> None:
    file = SCHEMAS / "smdg" / "containers" / "samples" / "valid" / "IFTSTA--several-statuses.edi"
    events = made("IFTSTA-LogisticsEvent", file.read_bytes(), file.name)
    back = made("LogisticsEvent-IFTSTA", events.read(), events.name)
    again = json.loads(made("IFTSTA-LogisticsEvent", back.read(), back.name).read())
    before = json.loads(events.read())
    for message in (before, again):
        for event in message["events"]:
            del event["eventID"]
    assert (before.pop("sender"), again.pop("sender")) == ("TESTTERM", "SWITCH")
    assert again == before
    assert back.read().startswith(
        b"UNB+UNOY:4+SWITCH+PARTNER-ID+20261122:1000+18FPBEUV4U2V4'\r\nUNH+1+IFTSTA:D:95B:UN'"
    )
    assert back.read().endswith(b"UNT+25+1'\r\nUNZ+1+18FPBEUV4U2V4'\r\n")


if __name__ == "__main__":
    for case in CASES:
        file, payload = golden(*case)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(payload)
    for stale in {file for file in GOLDEN.rglob("*") if file.is_file()} - {golden(*case)[0] for case in CASES}:
        stale.unlink()
