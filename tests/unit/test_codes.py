"""Every code is explained, in two languages, and every explanation is of a code that is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exchange import codes
from exchange.errors import NotFound

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("exchange", "adapters", "simulators", "console")
CODE = re.compile(r"SWX-[0-9]{4}")


def used() -> dict[str, Path]:
    """Return every code in the source, with a file that has it."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*") if file.suffix in (".py", ".sql")]
    return {code: file for file in files for code in CODE.findall(file.read_text("utf-8"))}


def test_every_code_in_the_source_is_explained() -> None:
    unexplained = {code: str(file) for code, file in used().items() if code not in codes.known()}
    assert not unexplained


def test_every_explained_code_is_used_in_the_source() -> None:
    assert set(codes.known()) <= set(used())


def test_every_sample_that_must_fail_names_an_explained_code() -> None:
    named = {code for file in (ROOT / "schemas").rglob("samples/invalid/*") for code in CODE.findall(file.name)}
    assert named
    assert named <= set(codes.known())


def test_codes_stand_in_order_so_that_people_find_them() -> None:
    assert list(codes.known()) == sorted(codes.known())


@pytest.mark.parametrize("code", codes.known())
def test_an_explanation_is_complete_in_both_languages(code: str) -> None:
    explained = codes.known()[code]
    for text in explained.zh.model_dump().values():
        assert re.search("[\u4e00-\u9fff]", text)
    for text in explained.en.model_dump().values():
        assert text
        assert not re.search("[\u4e00-\u9fff]", text)
    assert explained.en.cause.endswith(".")
    assert explained.en.cure.endswith(".")
    assert explained.zh.cause.endswith("。")
    assert explained.zh.cure.endswith("。")


def test_an_unknown_code_suggests_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'SWX-2011'"):
        codes.lookup("SWX-2111")
