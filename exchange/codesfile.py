"""``codes.yaml`` of a family: what the codes in its receipts mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen
from pydantic import Field

from exchange.formats import Status
from exchange.model import Answer
from exchange.options import Strict

ANY: Final = "*"  # stands for every code that isn't listed


class ErrorRow(Strict):
    """What a negative code says."""

    zh: str
    en: str


class CodesFile(Strict):
    """What the codes in a family's receipts mean; *tables* are for types that say something of their own."""

    status: dict[str, Status] = Field(default_factory=dict)
    tables: dict[str, dict[str, Status]] = Field(default_factory=dict)
    errors: dict[str, ErrorRow] = Field(default_factory=dict)

    def table(self, name: str) -> dict[str, Status] | None:
        """Return a table by the name that a type's YAML gives it."""
        return self.status if name == "status" else self.tables.get(name)


@frozen
class Code:
    """What a regime's own code means in receipts of one type."""

    code: str
    stage: str
    outcome: str  # pending | accepted | released | rejected | error
    terminal: bool
    zh: str
    en: str


def code_in(codes: Mapping[str, Code], code: str) -> Code:
    """Look a code up; one that nobody told us of passes as pending, a negative one as an error that ends it."""
    known = codes.get(code)
    if known is not None:
        return known
    if (other := codes.get(ANY)) is not None:
        return evolve(other, code=code)
    if code.startswith("-"):
        return Code(code, "port", "error", True, "处理异常", "could not be processed")
    return Code(code, "", "pending", False, "未知状态", "unknown status")


def answer(codes: Mapping[str, Code], exact: int, code: str, text: str) -> Answer:
    """Read an answer; the code that its text begins with counts before the other, where we were told of it."""
    known = codes.get(text[:exact]) if exact else None
    if known is None:
        known = code_in(codes, code)
    return Answer(known.code, known.stage, known.outcome, known.terminal, text)


# -- reading -----------------------------------------------------------------------------------------------------
