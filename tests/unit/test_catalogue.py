"""Types are data: what is wrong with the data is listed at once, and a message finds its type by root and version."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS, Catalogue, explain, load
from exchange.errors import ConfigurationError, Rejected, Unidentified

CATALOGUE = load()
CEB = SCHEMAS / "customs" / "ceb"
NOW = date(2026, 1, 1)


def sample(name: str) -> bytes:
    folder = CATALOGUE.types[name].spec.folder if name in CATALOGUE.types else CEB
    return (folder / "samples" / "valid" / f"{name}.xml").read_bytes()


# -- identifying ----------------------------------------------------------------------------------------------------


def refused(payload: bytes) -> Rejected:
    with pytest.raises(Unidentified) as why:
        CATALOGUE.identify(CATALOGUE.open(payload))
    return why.value


@pytest.mark.parametrize(
    "name", sorted(name for name, type in CATALOGUE.types.items() if type.spec.folder.name == "ceb")
)
def test_a_message_is_known_by_root_and_version(name: str) -> None:
    assert CATALOGUE.identify(CATALOGUE.open(sample(name))) is CATALOGUE.types[name]


def test_a_message_is_known_among_all_types_as_fast_as_if_there_were_one(tmp_path: Path) -> None:
    """The issue's bound: ten microseconds more."""
    family = tmp_path / "customs" / "ceb"
    shutil.copytree(CEB, family, ignore=shutil.ignore_patterns("CEB[!3]*.yaml", "CEB3[!1]*.yaml", "CEB312*.yaml"))
    only = family / "CEB311Message.yaml"
    only.write_text(re.sub(r"(?m)^answered_by: .*\n", "", only.read_text("utf-8")), "utf-8")
    one = load(tmp_path)
    assert len(one.types) == 1
    opened, best = one.open(sample("CEB311Message")), dict.fromkeys(("one", "all"), 1.0)
    for _ in range(300):
        for name, types in (("one", one), ("all", CATALOGUE)):
            began = time.perf_counter()
            for _ in range(20):
                types.identify(opened)
            best[name] = min(best[name], (time.perf_counter() - began) / 20)
    assert best["all"] - best["one"] < 10e-6, best


def test_an_unknown_root_is_told_what_comes_close() -> None:
    why = refused(sample("CEB311Message").replace(b"CEB311Message", b"CEB311Mesage"))
    assert why.code == "SWX-1021"
    assert "did you mean CEB311Message" in why.en
    assert "是否为 CEB311Message" in why.zh
    assert refused(b"<html/>").en == "no message type begins with 'html'"
    assert len(refused(b"<" + b"a" * 40_000 + b"/>").en) < 200


def test_the_right_name_in_the_wrong_namespace_is_told_so() -> None:
    for payload in (b"<CEB311Message/>", b"<CEB311Message xmlns='http://www.chinaport.gov.cn/CEB' version='1.0'/>"):
        why = refused(payload)
        assert why.code == "SWX-1022"
        assert "{http://www.chinaport.gov.cn/ceb}CEB311Message" in why.en


@pytest.mark.parametrize("version", ['version="2.0"', 'version=""', 'Version="1.0"', ""])
def test_a_wrong_version_is_told_the_known_ones(version: str) -> None:
    why = refused(f"<CEB311Message xmlns='http://www.chinaport.gov.cn/ceb' {version}/>".encode())
    assert why.code == "SWX-1023"
    assert why.en.endswith("of CEB311Message is not known here: use 1.0")
    assert why.zh.endswith("请使用 1.0")


# -- judging --------------------------------------------------------------------------------------------------------


def test_the_edition_that_is_valid_on_the_day_decides() -> None:
    type = CATALOGUE.types["CEB621Message"]
    opened = CATALOGUE.open(sample("CEB621Message").replace(b"TEST-SKU-1", b"TEST-SKU-OF-25-CHARACTERS"))
    verdicts = {
        day: CATALOGUE.valid(opened, type, on=day)
        for day in (date(2015, 1, 1), date(2022, 4, 30), date(2022, 5, 1), NOW)
    }
    assert list(verdicts.values()) == [True, True, False, False]
    assert CATALOGUE.edition(type, date(2022, 4, 30)).name == "2018-113"
    assert CATALOGUE.edition(type, NOW).name == "202205"


def test_a_version_may_have_editions_of_its_own(copied: Path) -> None:
    def two_versions(text: str) -> str:
        more = '  - {name: "2", valid_from: 2021-01-01, file: CEB312Message-202205.xsd, versions: ["2.0"]}\n'
        return text.replace('["1.0"]', '["1.0", "2.0"]').replace("\nown_id:", f"{more}\nown_id:")

    edit(copied, "CEB312Message.yaml", two_versions)
    catalogue = load(copied)
    type = catalogue.types["CEB312Message"]
    opened = catalogue.open(sample("CEB312Message").replace(b'version="1.0" guid', b'version="2.0" guid'))
    assert catalogue.identify(opened) is type
    assert catalogue.read(opened, type).version == "2.0"
    days = (date(2020, 12, 31), date(2021, 1, 1), date(2022, 5, 1))
    named = lambda version: [catalogue.edition(type, day, version).name for day in days]  # noqa: E731
    assert named("1.0") == ["2018-113", "2018-113", "202205"]
    assert named("2.0") == ["2018-113", "2", "202205"]
    edit(copied, "CEB312Message.yaml", lambda text: text.replace("202205.xsd}", '202205.xsd, versions: ["1.0"]}'))
    type = load(copied).types["CEB312Message"]
    assert named("1.0") == ["2018-113", "2018-113", "202205"]
    assert named("2.0") == ["2", "2", "2"]


def test_a_version_without_an_edition_and_an_edition_without_a_version_are_told(copied: Path) -> None:
    edit(
        copied,
        "CEB312Message.yaml",
        lambda text: text.replace('["1.0"]', '["1.0", "2.0"]').replace(
            "202205.xsd}", '202205.xsd, versions: ["1.0", "1.1"]}'
        ),
    )
    assert problems(copied) == [
        "CEB312Message.yaml:11:80: editions[0].versions: version '1.1' is not accepted",
        "CEB312Message.yaml:12:78: editions[1].versions: version '1.1' is not accepted",
        "CEB312Message.yaml:10:1: editions: no edition is for version '2.0'",
    ]


def test_a_required_signature_may_be_absent_only_where_the_switch_is_going_to_sign() -> None:
    type = CATALOGUE.types["CEB621Message"]
    signed = sample("CEB621Message").decode()
    start, end = signed.index("  <ds:Signature "), signed.index("</ceb:CEB621Message>")
    opened = CATALOGUE.open((signed[:start] + signed[end:]).encode())
    assert not CATALOGUE.valid(opened, type, on=NOW)
    assert CATALOGUE.valid(opened, type, on=NOW, unsigned=True)
    assert CATALOGUE.valid(CATALOGUE.open(signed.encode()), type, on=NOW, unsigned=True)


def test_a_schema_is_compiled_once_for_each_way_of_looking() -> None:
    type, other = CATALOGUE.types["CEB621Message"], CATALOGUE.types["CEB311Message"]
    edition = CATALOGUE.edition(type, NOW)
    assert CATALOGUE.schema(type, edition) is CATALOGUE.schema(type, edition)
    assert CATALOGUE.schema(type, edition) is not CATALOGUE.schema(type, edition, unsigned=True)
    optional = CATALOGUE.edition(other, NOW)
    assert CATALOGUE.schema(other, optional) is CATALOGUE.schema(other, optional, unsigned=True)


def test_findings_come_from_another_process_too() -> None:
    payload = sample("CEB311Message").replace(b"TEST-ORDER-0001", b"N" * 72)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(explain, (SCHEMAS,), payload, "CEB311Message", "202205", False).result()
    assert found == CATALOGUE.explain(payload, "CEB311Message", "202205")
    assert [finding.code for finding in found] == ["SWX-1413"]


# -- codes ----------------------------------------------------------------------------------------------------------


def test_a_code_has_a_meaning_in_two_languages() -> None:
    code = CATALOGUE.code(CATALOGUE.types["CEB622Message"], "800")
    assert (code.stage, code.outcome, code.zh, code.en) == ("customs", "released", "放行", "released")
    code = CATALOGUE.code(CATALOGUE.types["CEB622Message"], "-621029")
    assert (code.stage, code.outcome, code.zh, code.en) == (
        "port",
        "error",
        "验签失败！",
        "the signature does not stand",
    )


def test_a_type_may_have_a_table_of_its_own() -> None:
    codes = {name: CATALOGUE.code(CATALOGUE.types[name], "2") for name in ("CEB622Message", "CEB816Message")}
    assert [(code.stage, code.zh) for code in codes.values()] == [("port", "电子口岸申报中"), ("tax", "电子税单已汇总")]


def test_a_table_that_is_missing_is_told(copied: Path) -> None:
    edit(copied, "CEB816Message.yaml", lambda text: text.replace("table: tax", "table: taxes"))
    edit(copied, "CEB818Message.yaml", lambda text: text.replace("table: tax", 'table: tax\n  terminal: ["4"]'))
    assert problems(copied) == [
        "CEB816Message.yaml:30:3: answers.table: codes.yaml has no table 'taxes', did you mean 'tax'?",
        "CEB818Message.yaml:28:14: answers.terminal[0]: codes.yaml has no tax '4'",
    ]


def test_codes_that_nobody_told_us_of_pass() -> None:
    type = CATALOGUE.types["CEB622Message"]
    unknown, negative = CATALOGUE.code(type, "18"), CATALOGUE.code(type, "-999999")
    assert (unknown.outcome, unknown.terminal) == ("pending", False)
    assert (negative.outcome, negative.terminal) == ("error", True)


# -- what the data says ---------------------------------------------------------------------------------------------


def test_loading_is_quick_and_compiles_nothing(load_anew: Callable[..., Catalogue]) -> None:
    started = time.process_time()
    catalogue = load_anew()
    assert time.process_time() - started < 1.0
    assert not catalogue._schemas


@pytest.mark.parametrize("name", ["CEB311Message", "CODECO", "MOT-IFCSUM", "LogisticsEvent", "CEB311-Table"])
def test_identifying_costs_with_all_types_what_it_costs_with_one(name: str) -> None:
    type = CATALOGUE.types[name]
    alone = Catalogue({type.name: type}, {type.format: type.spec.format}, SCHEMAS)
    found = next(sample for sample in CATALOGUE.samples() if sample.type == name and not sample.code)
    opened = CATALOGUE.open(found.path.read_bytes())

    def seconds(catalogue: Catalogue) -> float:
        started = time.process_time()
        for _ in range(500):
            catalogue.identify(opened)
        return (time.process_time() - started) / 500

    alone_seconds, all_seconds = (min(seconds(one) for _ in range(7)) for one in (alone, CATALOGUE))
    assert all_seconds - alone_seconds < 10e-6


def test_warming_compiles_what_decides_today(load_anew: Callable[..., Catalogue]) -> None:
    catalogue = load_anew()
    catalogue.warm(NOW)
    files = {type.spec.folder / catalogue.edition(type, NOW).file for type in catalogue.types.values()}
    signed = [type for type in catalogue.types.values() if type.signature == "required"]
    assert len(catalogue._schemas) == len(files) + len(signed)  # these in two ways


def test_routing_and_correlation_learn_what_they_may_ask_for() -> None:
    types = CATALOGUE.types
    assert {"customsCode", "tradeMode", "copCode"} <= set(CATALOGUE.fields(types["CEB621Message"]))
    assert CATALOGUE.answers(types["CEB622Message"]).to == ("CEB621Message",)
    assert CATALOGUE.answers(types["CEB622Message"]).split == "sender"
    assert CATALOGUE.answers(types["CEB900Message"]).split == "original"
    with pytest.raises(ValueError, match="CEB311Message is no receipt"):
        CATALOGUE.answers(types["CEB311Message"])


def test_declarations_wait_for_receipts_and_receipts_for_nothing() -> None:
    for type in CATALOGUE.types.values():
        assert type.expects_receipt == (type.kind == "declaration")
        assert (type.deadline_seconds is not None) == (type.kind == "declaration")
        assert (type.receipt_shape == "ceb900") == (type.spec.folder.name == "ceb")
        assert type.title_zh
        assert type.title_en.isascii()
    assert {name for name, type in CATALOGUE.types.items() if type.signature == "required"} == {
        "CEB621Message", "CEB623Message", "CEB625Message", "CEB711Message",
    }  # fmt: skip


# -- mistakes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(CEB, tmp_path / "customs" / "ceb")
    return tmp_path


def edit(directory: Path, name: str, change: Callable[[str], str]) -> None:
    file = directory / "customs" / "ceb" / name
    file.write_text(change(file.read_text("utf-8")), "utf-8")


def problems(directory: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as why:
        load(directory)
    prefix = f"{directory / 'customs' / 'ceb'}/"
    assert all(problem.startswith(prefix) for problem in why.value.problems)
    return [problem.removeprefix(prefix) for problem in why.value.problems]


def test_every_mistake_in_keys_and_values_is_listed_with_its_place(copied: Path) -> None:
    edit(
        copied, "CEB311Message.yaml", lambda text: text.replace("source:", "sources:").replace("declaration", "letter")
    )
    edit(copied, "CEB312Message.yaml", lambda text: text.replace('["1.0"]', "[1.0]"))
    edit(copied, "codes.yaml", lambda text: text.replace("outcome: released", "outcome: free"))
    edit(copied, "family.yaml", lambda text: text + "colour: red\n")
    found = problems(copied)
    assert "CEB311Message.yaml:5:1: unknown key 'sources', did you mean 'source'?" in found
    assert "CEB311Message.yaml:1:1: 'source' is missing" in found
    assert any(problem.startswith("CEB311Message.yaml:3:1: kind: ") for problem in found)
    assert any(problem.startswith("CEB312Message.yaml:9:") for problem in found)
    assert len([problem for problem in found if problem.startswith("codes.yaml:")]) == 2
    assert any("unknown key 'colour'" in problem for problem in found)


def test_two_types_of_one_name_are_a_mistake_in_whatever_families(copied: Path) -> None:
    shutil.copytree(CEB, copied / "customs" / "ceb-too")
    with pytest.raises(ConfigurationError) as why:
        load(copied)
    (told,) = [problem for problem in why.value.problems if "CEB311Message" in problem]
    assert told.endswith("ceb/CEB311Message.yaml is called the same")


def test_a_stage_with_a_deadline_must_be_one_that_receipts_speak_of_and_come_before_the_end(copied: Path) -> None:
    edit(copied, "CEB311Message.yaml", lambda text: f"{text}\ndeadlines: {{prot: 60, customs: 1800, port: 5}}\n")
    (unknown, late) = problems(copied)
    assert unknown.endswith("no receipt speaks of a stage 'prot', did you mean 'port'?")
    assert late.endswith("deadlines.customs: must be less than deadline_seconds, 1800")


def test_every_mistake_between_files_is_listed_with_its_place(copied: Path) -> None:
    edit(copied, "CEB311Message.yaml", lambda text: text.replace("[CEB312Message,", "[CEB31Message, CEB411Message,"))
    edit(copied, "CEB411Message.yaml", lambda text: text.replace("name: CEB411Message}", "name: CEB311Message}"))
    edit(copied, "CEB511Message.yaml", lambda text: text.replace("CEB511Message-202205.xsd", "gone.xsd"))
    edit(
        copied,
        "CEB622Message.yaml",
        lambda text: text.replace('"899"]', '"8990"]').replace("format: xml", "format: xlm"),
    )
    edit(copied, "CEB312Message.yaml", lambda text: text.replace("guid: guid\n    order:", "ordre:"))
    edit(copied, "CEB621Message.yaml", lambda text: text.replace("name: CEB621Message\n", "name: CEB612Message\n"))
    found = problems(copied)
    for expected in (
        "CEB311Message.yaml:30:15: answered_by[0]: unknown type 'CEB31Message', did you mean 'CEB312Message'?",
        "CEB311Message.yaml:30:29: answered_by[1]: CEB411Message is no receipt",
        "CEB411Message.yaml:8:1: root: CEB311Message claims the same root and version '1.0'",
        "CEB511Message.yaml:12:46: editions[1].file: there is no file 'gone.xsd' here",
        "CEB622Message.yaml:7:1: format: unknown format 'xlm', did you mean 'xml'?",
        "CEB312Message.yaml:25:8: answers.to[0]: CEB311Message has no key in common with CEB312Message",
        "CEB621Message.yaml:1:1: name: must be the name of the file, 'CEB621Message'",
        "CEB622Message.yaml:32:8: answers.to[0]: unknown type 'CEB621Message', did you mean 'CEB626Message'?",
    ):
        assert expected in found, "\n".join(found)
    assert any(problem.endswith("answers.terminal[7]: codes.yaml has no status '8990'") for problem in found)


def test_receipts_have_answers_and_only_receipts(copied: Path) -> None:
    edit(copied, "CEB312Message.yaml", lambda text: text.partition("answers:")[0])
    assert "CEB312Message.yaml:3:1: kind: a receipt needs 'answers', and only a receipt may have them" in problems(
        copied
    )


def test_an_enclosed_original_is_not_split(copied: Path) -> None:
    edit(copied, "CEB900Message.yaml", lambda text: text.replace("split: original", "split: sender"))
    (problem,) = problems(copied)
    assert problem.endswith("answers.split: a receipt that encloses one original goes to one sender: write 'original'")


def test_a_path_that_is_none_is_told_where_it_stands(copied: Path) -> None:
    edit(copied, "CEB311Message.yaml", lambda text: text.replace("OrderHead/orderNo", "OrderHead//orderNo"))
    assert problems(copied) == ["CEB311Message.yaml:22:32: documents.keys.order[1]: 'OrderHead//orderNo' is no path"]


def test_yaml_that_cannot_be_read_and_files_that_are_missing_are_told(copied: Path) -> None:
    edit(copied, "CEB311Message.yaml", lambda text: "name: [\n" + text)
    (copied / "customs" / "ceb" / "family.yaml").unlink()
    found = problems(copied)
    assert any(problem.startswith("CEB311Message.yaml:") for problem in found)
    assert any(problem.startswith("family.yaml:1:1: ") for problem in found)


def test_a_type_may_be_like_another_and_say_only_what_differs(copied: Path) -> None:
    text = "like: CEB311Message\nname: Twin\nroot: {name: Twin}\ndeadline_seconds: ~\n"
    (copied / "customs" / "ceb" / "Twin.yaml").write_text(text, "utf-8")
    ours, twin = (load(copied).types[name].spec.file for name in ("CEB311Message", "Twin"))
    assert twin.model_copy(update={"name": ours.name, "root": ours.root, "deadline_seconds": 1800.0}) == ours
    assert (twin.root.namespace, twin.root.name, twin.deadline_seconds) == (ours.root.namespace, "Twin", None)


def test_a_model_that_is_missing_or_has_one_of_its_own_is_told(copied: Path) -> None:
    for name, like in (("A", "CEB311Mesage"), ("B", "CEB311Message"), ("C", "B")):
        text = f"like: {like}\nname: {name}\nroot: {{name: {name}}}\n"
        (copied / "customs" / "ceb" / f"{name}.yaml").write_text(text, "utf-8")
    assert problems(copied) == [
        "A.yaml:1:1: like: there is no 'CEB311Mesage' here, did you mean 'CEB311Message'?",
        "C.yaml:1:1: like: B can't be a model for others",
    ]


def test_a_broken_schema_is_told_when_it_is_compiled(copied: Path) -> None:
    edit(copied, "CEB311Message-202205.xsd", lambda text: text.replace("ceb:Amount", "ceb:Amonut"))
    edit(copied, "CEB411Message-202205.xsd", lambda text: text.replace("</xs:schema>", ""))
    edit(copied, "CEB621Message-202205.xsd", lambda text: text.replace('<xs:element ref="ds:Signature"/>', ""))
    catalogue: Catalogue = load(copied)
    with pytest.raises(ConfigurationError) as why:
        catalogue.warm(NOW)
    assert [Path(problem.partition(":")[0]).name for problem in why.value.problems] == [
        "CEB311Message-202205.xsd",
        "CEB411Message-202205.xsd",
        "CEB621Message-202205.xsd",
    ]
    assert "Amonut" in why.value.problems[0]


def test_a_type_is_added_by_files_alone(copied: Path) -> None:
    folder = copied / "border" / "made-up"
    folder.mkdir(parents=True)
    (folder / "family.yaml").write_text("title: {zh: 测试, en: made up}\n", "utf-8")
    (folder / "Crew-1.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="Crew"><xs:complexType><xs:sequence>'
        '<xs:element name="Name" type="xs:string"/></xs:sequence><xs:attribute name="v"/></xs:complexType></xs:element>'
        "</xs:schema>"
    )
    (folder / "Crew.yaml").write_text(
        """
name: Crew
title: {zh: 船员名单, en: crew list}
kind: notice
certainty: own
source: made up
format: xml
root: {name: Crew}
version: {path: "@v", accepted: ["1", "2"]}
editions: [{name: "1", valid_from: 2020-01-01, file: Crew-1.xsd}]
own_id: Name
documents: {keys: {crew: Name}}
""",
        "utf-8",
    )
    catalogue = load(copied)
    opened = catalogue.open(b'<Crew v="2"><Name> X </Name></Crew>')
    type = catalogue.identify(opened)
    assert type.name == "Crew"
    assert catalogue.valid(opened, type, on=NOW)
    read = catalogue.read(opened, type)
    assert (read.own_id, read.version, dict(read.documents[0].keys)) == ("X", "2", {"crew": "X"})
    assert not type.expects_receipt
    assert type.receipt_shape == "json"
    assert [sample for sample in catalogue.samples() if sample.type == "Crew"] == []
    assert catalogue.part(opened, type, []) == b"<?xml version='1.0' encoding='UTF-8'?>\n" + opened.payload
