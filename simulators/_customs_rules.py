"""The simulated customs' rules: ``customs.yaml`` read into values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from exchange.errors import ConfigurationError
from exchange.ports import Strict
from exchange.yamlfile import read

RULES: Final = Path(__file__).with_name("customs.yaml")


class Says(Strict):
    """A returnStatus and its returnInfo."""

    status: str = Field(min_length=1, max_length=10)
    info: str = Field(min_length=1)  # may use {names} of the document's own fields


class Step(Says):
    """One answer to a document: when it comes, and what it says."""

    after: float = Field(ge=0)  # seconds since the document came in
    copies: int = 1  # times it is sent
    whole: bool = True  # cut short where not

    def saying(self, says: Says) -> Step:
        """Return the step with something else said at its time."""
        return self.model_copy(update={"status": says.status, "info": says.info})


class Source(Strict):
    """Where a field of a receipt comes from."""

    copy_: str = Field(alias="copy")  # path in the document
    give: str = ""  # what customs gives instead
    since: str = ""  # the status from which on it does
    always: bool = False  # written even where there is nothing to write


def _path_alone(value: Any) -> Any:
    return {"copy": value} if isinstance(value, str) else value


class Later(Strict):
    """A receipt of another type that comes when a document has gone its normal course."""

    after: float = Field(ge=0)  # seconds since the document came in
    receipt: str
    record: str  # XML; may use {names} of what the document and its last answer say


class SignatureRules(Strict):
    """What becomes of a document whose signature is missing (nothing: it needs none), or doesn't stand."""

    missing: Says | None = None
    wrong: Says


class TypeRules(Strict):
    """How one message type is answered."""

    document: str
    receipt: str
    record: str
    course: str
    fields: dict[str, Annotated[Source, BeforeValidator(_path_alone)]]
    magic: tuple[str, ...] = ()
    refusals: tuple[str, ...] = Field(min_length=1)
    fault: Says
    signature: SignatureRules | None = None
    later: tuple[Later, ...] = ()


class Rules(Strict):
    """The whole file."""

    courses: Mapping[str, tuple[Step, ...]]
    port: tuple[str, ...]
    unlisted: Says
    types: Mapping[str, TypeRules]

    @model_validator(mode="after")
    def _courses_are_known(self) -> Self:
        unknown = {type.course for type in self.types.values()} - set(self.courses)
        if unknown:
            raise ValueError(f"no course is called {', '.join(sorted(unknown))}")
        return self


def load(path: Path = RULES) -> Rules:
    """Read the rules. Raises ConfigurationError with every mistake."""
    document = read(path.read_text("utf-8"), path.name)
    try:
        return Rules.model_validate(document.data)
    except ValidationError as why:
        raise ConfigurationError(document.problems(why, Rules)) from None
