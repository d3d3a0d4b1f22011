"""JSON that is too large for values is accepted, read, judged and explained as if it were small."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.catalogue import Sample, load
from exchange.errors import Rejected, Unreadable
from exchange.formats import _json_outline, _json_parse
from exchange.formats import json as format
from exchange.formats._json_outline import Items, outline
from exchange.formats._json_parse import parse
from exchange.formats._json_split import split
from tests.contract.test_mutants import mutant as damaged

CATALOGUE = load()
ON = date(2026, 1, 1)
SAMPLES = [sample for sample in CATALOGUE.samples() if CATALOGUE.types[sample.type].format == "json"]
VALID = [json.loads(sample.path.read_text("utf-8-sig")) for sample in SAMPLES if not sample.code]
patient = settings(
    max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@contextmanager
def large() -> Iterator[None]:
    """Take everything for large, and every list for long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format, "large", lambda payload: True)
        patch.setattr(_json_outline, "SHORT", -1)
        yield


def outcome(payload: bytes) -> Any:
    try:
        opened = CATALOGUE.open(payload)
        type = CATALOGUE.identify(opened)
        envelope = CATALOGUE.read(opened, type)
        valid = CATALOGUE.valid(opened, type, on=ON, version=envelope.version)
        findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
        part = CATALOGUE.part(opened, type, [0, 2])
        return type.name, envelope, original(opened, type), valid, findings, part
    except Rejected as why:
        return why.code, why.en, why.zh


def original(opened: Any, type: Any) -> bytes:
    found: bytes = type.spec.reader.original(opened)
    return found


def the_same(payload: bytes) -> str:
    """Check that both ways come to the same; of several mistakes in the grammar another may be told."""
    expected = outcome(payload)
    with large():
        found = outcome(payload)
    assert found == expected or found[0] == expected[0] in ("SWX-1011", "SWX-1015")
    return expected[0] if len(expected) == 3 else str(expected[3])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.path.name)
def test_a_sample_comes_to_the_same(sample: Sample) -> None:
    assert the_same(sample.path.read_bytes()) in ("True", "False", sample.code)


def test_a_damaged_message_comes_to_the_same() -> None:
    ends: Counter[str] = Counter()

    @patient
    @given(sample=st.sampled_from(SAMPLES), seed=st.integers(0, 2**48))
    def compared(sample: Sample, seed: int) -> None:
        payload = damaged(sample.path.read_bytes(), random.Random(seed))
        if format.Json().sniff(payload):
            ends[the_same(payload)] += 1

    compared()
    assert {"True", "False", "SWX-1011", "SWX-1014"} <= set(ends)


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["", "1.0", "E-1", "[", '"', "\\", "箱𠮷", "2026-01-01"])
)
names = st.sampled_from(["events", "bills", "x"])
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner), max_leaves=6)


def changed(value: Any, data: st.DataObject) -> Any:
    """Return a value with something else somewhere in it."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        name = data.draw(st.sampled_from([*value, "other"]))
        if name not in value or not data.draw(st.integers(0, 4)):
            return {**value, name: data.draw(values)}
        return {**value, name: changed(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 3)):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], changed(value[at], data), *value[at + 1 :]]
    return data.draw(values)


def test_a_message_with_other_values_comes_to_the_same() -> None:
    ends: Counter[str] = Counter()

    @patient
    @given(value=st.sampled_from(VALID), indent=st.sampled_from([None, 1]), data=st.data())
    def compared(value: Any, indent: int | None, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, 2))):
            value = changed(value, data)
        if isinstance(value, dict):
            ends[the_same(json.dumps(value, ensure_ascii=False, indent=indent).encode())] += 1

    compared()
    assert ends["True"]
    assert ends["False"]


def as_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_values(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, Items) else value


@patient
@given(text=st.text(st.sampled_from('{}[]",:\\ \n1a-0.eE+ntruflsu\x01é\ufeff'), max_size=14))
def test_the_grammar_is_the_same(text: str) -> None:
    for payload in (f'{{"a":[{text}]}}'.encode(), f'{{"a":{text}}}'.encode(), f'{{"a":{{{text}'.encode()):
        told: list[Any] = []
        for read in (parse, outline):
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(_json_outline, "SHORT", -1)
                    told.append(as_values(read(payload)))
            except Unreadable as why:
                told.append((why.code, why.en))
        assert told[0] == told[1]


@pytest.mark.parametrize("path", ["/a/1/b", "/a/1/b/0", "/a", "/c/d", "/a/9", "/a/1/b/9", "/a/x"])
def test_a_path_leads_through_long_lists(path: str) -> None:
    payload = b'{"a":[{"b":[7]},{"b":["x",[1],true]},"y",{}],"c":{"d":[1,null,"z"]}}'
    with large():
        assert format._compiled(path)(outline(payload)) == format._compiled(path)(parse(payload))


def test_what_is_small_is_read_as_values() -> None:
    assert not _json_parse.large(b'{"a":"' + b"x" * 8_000_000 + b'"}')
    assert _json_parse.large(b'{"a":"' + b"x" * 9_000_000 + b'"}')
    assert _json_parse.large(b'{"a":[' + b"1," * 150_000 + b"1]}")


def test_a_list_is_kept_where_it_is_short() -> None:
    payload = b'{"a":[1,2],"b":["' + b"x" * 70_000 + b'","y"]}'
    value = outline(payload)
    assert value["a"] == [1, 2]
    assert isinstance(value["b"], Items)
    assert (len(value["b"]), value["b"][1]) == (2, "y")


# -- schemas --------------------------------------------------------------------------------------------------------

LISTS = {"type": "array", "minItems": 1, "maxItems": 3, "items": {"$ref": "#/$defs/item"}}
DEFS = {"$defs": {"item": {"type": "object", "required": ["x"]}, "list": LISTS, "body": {"properties": {"l": LISTS}}}}
SPLIT = [
    {"properties": {"l": LISTS}},
    {"properties": {"l": {"$ref": "#/$defs/list", "title": "列 / list"}}},
    {"properties": {"l": {"items": False}}, "additionalProperties": False},
    {"properties": {"l": LISTS}, "anyOf": [{"required": ["l"]}, {"properties": {"x": {"const": 1}}}]},
    {"properties": {"l": LISTS}, "not": {"required": ["x"]}},
]
ABSOLUTE: dict[str, Any] = {"properties": {"l": LISTS, "x": {"$ref": "#/properties/l"}}}
WHOLE = [
    {"properties": {"l": {**LISTS, "uniqueItems": True}}},
    {"properties": {"l": {**LISTS, "contains": {"required": ["y"]}}}},
    {"properties": {"l": {**LISTS, "prefixItems": [{"required": ["y"]}]}}},
    {"properties": {"l": {"unevaluatedItems": False}}},
    {"properties": {"l": {"anyOf": [LISTS, {"maxItems": 0}]}}},
    {"properties": {"l": LISTS}, "allOf": [{"properties": {"l": {"uniqueItems": True}}}]},
    {"properties": {"l": LISTS}, "if": {"additionalProperties": {"maxItems": 1}}, "then": {"required": ["y"]}},
    {"properties": {"l": LISTS}, "not": {"$ref": "#/$defs/body"}},
    {"properties": {"l": LISTS}, "patternProperties": {"^l": {"uniqueItems": True}}},
    {"properties": {"l": LISTS}, "enum": [{"l": [{"x": 1}]}]},
    ABSOLUTE,
    {"properties": {"l": LISTS, "x": {"$ref": "#"}}},
    {"$dynamicAnchor": "a", "properties": {"l": LISTS}},
    {"additionalProperties": {"maxItems": 1}},
    True,
]  # fmt: skip


def with_definitions(schema: Any) -> Any:
    return {**DEFS, **schema} if isinstance(schema, dict) else schema


@pytest.mark.parametrize("schema", SPLIT)
def test_a_list_is_judged_item_by_item_where_only_items_looks_into_it(schema: Any) -> None:
    assert split(with_definitions(schema)).takes_out(["l"])


@pytest.mark.parametrize("schema", [{"properties": {"b": {"$ref": "#/$defs/body"}}}, {"properties": {"b": SPLIT[3]}}])
def test_a_list_may_lie_deeper(schema: Any) -> None:
    assert split(with_definitions(schema)).takes_out(["b", "l"])


@pytest.mark.parametrize("schema", WHOLE)
def test_a_list_that_other_rules_look_into_is_judged_as_a_whole_and_refused_where_it_is_long(schema: Any) -> None:
    judge = split(with_definitions(schema))
    assert not judge.takes_out(["l"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json_outline, "SHORT", -1)
        message = outline(b'{"l":[{"x":1}]}')
    for ask in (judge.valid, lambda tree: list(judge.errors(tree))):
        with pytest.raises(Unreadable, match="/l can't be judged item by item"):
            ask(message)


DEEPER = [{"properties": {"b": one}} for one in (*SPLIT, *WHOLE) if one != ABSOLUTE]
trees = st.dictionaries(
    st.sampled_from(["l", "x", "b", "y"]),
    st.recursive(
        st.integers(0, 2) | st.just({"x": 1}),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["l", "x"]), inner),
        max_leaves=5,
    ),
)


@patient
@given(schema=st.sampled_from([*SPLIT, *WHOLE, *DEEPER]), tree=trees)
def test_both_parts_of_a_schema_find_what_the_whole_finds(schema: Any, tree: Any) -> None:
    schema = with_definitions(schema)
    whole, judge = jsonschema_rs.Draft202012Validator(schema), split(schema)
    assert judge.valid(tree) == whole.is_valid(tree)
    found = [(path, error.kind.name) for path, error in judge.errors(tree)]
    expected = [(error.instance_path, error.kind.name) for error in whole.iter_errors(tree)]
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_checking_a_folder_tells_which_schemas_keep_messages_small(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    type = CATALOGUE.types["LogisticsEvent"].spec.file
    file.write_text(json.dumps(with_definitions({"properties": {"events": {**LISTS, "uniqueItems": True}}})))
    (remark,) = format.Json().schema_remarks(file, type)
    assert remark.startswith(f"{file}:1:1: /events can't be judged item by item")
    file.write_text(json.dumps(with_definitions({"properties": {"events": LISTS}})))
    assert format.Json().schema_remarks(file, type) == []
