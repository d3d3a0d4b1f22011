"""YAML as administrators write it, with the place of every mistake."""

from __future__ import annotations

import pytest

from exchange import yamlfile
from exchange.errors import ConfigurationError


def test_plain_scalars_follow_the_core_schema_and_quoted_ones_are_text() -> None:
    text = "a: no\nb: on\nc: true\nd: 5141\ne: '5141'\nf: 1.5\ng: ~\nh:\ni: 0123\nj: 1e3\nk: 2022-05-01\n"
    assert yamlfile.read(text, "f").data == {
        "a": "no", "b": "on", "c": True, "d": 5141, "e": "5141", "f": 1.5, "g": None, "h": None, "i": 123, "j": 1000.0,
        "k": "2022-05-01",
    }  # fmt: skip


def test_every_value_and_key_has_its_place() -> None:
    document = yamlfile.read("a:\n  - b: 1\n    c: {d: 2}\n", "f")
    assert document.place(("a", 0, "c", "d")) == (3, 9)
    assert document.place(("a", 0, "missing", "deeper")) == (2, 5)


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match=r"f:2:1: 'a' stands here twice"):
        yamlfile.read("a: 1\na: 2\n", "f")


def test_an_empty_file_is_nothing() -> None:
    assert yamlfile.read("", "f").data is None
    assert yamlfile.read("# only a comment\n", "f").data is None


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\tx: 1", "a: &x *y", "- a\nb: c", "%", "\0"])
def test_what_is_no_yaml_is_refused_with_a_place(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^SWX-4000 f:\d+:\d+: "):
        yamlfile.read(text, "f")
