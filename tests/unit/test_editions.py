"""Which edition decides when, and where one that ends leaves the word to those before it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from exchange.catalogue import SCHEMAS, load
from exchange.editions import spans, timeline
from exchange.errors import ConfigurationError
from exchange.formats import Edition


def edition(name: str, year: int, until: int | None = None, *versions: str) -> Edition:
    end = date(until, 1, 1) if until else None
    return Edition(name=name, valid_from=date(year, 1, 1), file=f"{name}.xsd", versions=versions, valid_until=end)


def deciding(editions: list[Edition], year: int, version: str = "") -> str:
    fitting = [one for one in timeline(editions) if version in one.versions or not (version and one.versions)]
    return next((one for one in reversed(fitting) if one.valid_from <= date(year, 1, 1)), fitting[0]).name


@pytest.mark.parametrize(
    ("editions", "years"),
    [
        ([edition("a", 2020), edition("b", 2022)], {2019: "a", 2020: "a", 2021: "a", 2022: "b", 2030: "b"}),
        ([edition("b", 2022), edition("a", 2020)], {2021: "a", 2022: "b"}),
        ([edition("a", 2020), edition("b", 2022, 2024)], {2021: "a", 2022: "b", 2023: "b", 2024: "a", 2030: "a"}),
        ([edition("a", 2020), edition("b", 2022, 2024), edition("c", 2024)], {2023: "b", 2024: "c"}),
        ([edition("a", 2020), edition("b", 2022), edition("c", 2023, 2025)], {2022: "b", 2023: "c", 2025: "b"}),
        ([edition("a", 2020), edition("b", 2022, 2021)], {2021: "a", 2022: "a", 2030: "a"}),
        ([edition("a", 2020, 2025), edition("b", 2022, 2024), edition("c", 2024)], {2023: "b", 2024: "c", 2025: "c"}),
    ],
)
def test_the_latest_that_has_begun_and_not_ended_decides(editions: list[Edition], years: dict[int, str]) -> None:
    assert {year: deciding(editions, year) for year in years} == years


def test_one_that_ends_leaves_the_word_to_those_for_its_version() -> None:
    editions = [edition("a", 2020, None, "1"), edition("b", 2020, None, "2"), edition("c", 2022, 2024, "1", "2")]
    assert [deciding(editions, 2023, version) for version in ("1", "2")] == ["c", "c"]
    assert [deciding(editions, 2024, version) for version in ("1", "2")] == ["a", "b"]


def test_an_edition_may_decide_twice() -> None:
    told = spans([edition("a", 2020), edition("b", 2022, 2024)])
    assert told["a"] == [(date(2020, 1, 1), date(2022, 1, 1)), (date(2024, 1, 1), None)]
    assert told["b"] == [(date(2022, 1, 1), date(2024, 1, 1))]


def added(folder: Path, text: str) -> Path:
    place = folder / "customs" / "ceb"
    place.mkdir(parents=True)
    (place / "site.xsd").write_bytes((SCHEMAS / "customs" / "ceb" / "CEB311Message-202205.xsd").read_bytes())
    for file in (SCHEMAS / "customs" / "ceb").glob("[!C]*.xsd"):
        (place / file.name).write_bytes(file.read_bytes())
    (place / "CEB311Message.editions.yaml").write_text(text, "utf-8")
    return folder


def test_a_site_adds_an_edition_to_a_type_of_ours_and_ours_stays_as_it_is(tmp_path: Path) -> None:
    site = added(tmp_path, "type: CEB311Message\neditions: [{name: site, valid_from: 2027-01-01, file: site.xsd}]\n")
    catalogue, ours = load(SCHEMAS, site), load()
    type: Any = catalogue.types["CEB311Message"]
    assert catalogue.edition(type, date(2026, 12, 31)).name == "202205"
    assert catalogue.edition(type, date(2027, 1, 1)).name == "site"
    assert type.spec.folder == ours.types["CEB311Message"].spec.folder
    payload = (SCHEMAS / "customs" / "ceb" / "samples" / "valid" / "CEB311Message.xml").read_bytes()
    assert catalogue.valid(catalogue.open(payload), type, on=date(2027, 1, 1))
    assert catalogue.explain(payload, "CEB311Message", "site") == []
    assert [one.name for one in ours.types["CEB311Message"].spec.editions] == ["2018-113", "202205"]


def test_an_edition_of_a_version_that_no_message_may_have_is_told(tmp_path: Path) -> None:
    row = '{name: site, valid_from: 2027-01-01, file: site.xsd, versions: ["7"]}'
    with pytest.raises(ConfigurationError, match="version '7' is not accepted"):
        load(SCHEMAS, added(tmp_path, f"type: CEB311Message\neditions: [{row}]\n"))
