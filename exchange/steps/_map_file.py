"""A map as its YAML has it; the language is explained in ``exchange.steps.map``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError

from exchange.errors import ConfigurationError
from exchange.formats import OneOrMore, Text, Title
from exchange.options import Strict
from exchange.steps._map_values import SHAPES
from exchange.yamlfile import Document, read

Formats = Literal["edifact", "platform_file", "table", "xml", "json"]
ELSE: Final = "*"  # of a table of codes: what is done with a code that it doesn't list
ERROR, KEEP, DROP = "error", "keep", "drop"


class RootRow(Strict):
    """The root of XML that is written."""

    name: Text
    namespace: str = ""
    prefix: str = ""


class SourceRow(Strict):
    """What a map starts from; *file* is the schema of the type, beside the map."""

    type: OneOrMore
    format: Formats
    file: Text
    root: str = ""  # of XML: what may stand in a wrapper


class TargetRow(Strict):
    """What a map makes."""

    type: Text
    format: Formats
    file: Text
    root: RootRow | None = None  # of XML
    message: str = ""  # of EDIFACT: CODECO:D:95B:UN
    syntax: str = "UNOC:3"
    charset: Literal["utf-8", "gb18030"] = "utf-8"  # of platform files and tables


Codes = Annotated[dict[Text, str], Field(min_length=1)]


Wanted = Annotated[  # "*": anything; an empty text: nothing
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), Field(min_length=1)
]


def _shape(value: str) -> str:
    if value and value not in SHAPES:
        raise ValueError(f"must be one of {', '.join(SHAPES)}")
    return value


class Row(Strict):
    """One value, or (with *rows*) several that belong together."""

    to: str = ""
    source: OneOrMore | None = Field(None, alias="from")
    count: str = ""
    each: str = ""
    where: dict[Text, Wanted] = Field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    join: str | None = None
    cut: int | None = Field(None, ge=1)
    codes: Codes | None = None
    table: str = ""
    shape: Annotated[str, BeforeValidator(_shape)] = Field("", alias="as")
    pad: str = ""
    use: Literal["M", "C"] = "C"


class MapFile(Strict):
    """One map."""

    title: Title
    certainty: Literal["official", "confirmed", "own"]
    notes: Text
    source: SourceRow = Field(alias="from")
    target: TargetRow = Field(alias="to")
    needs: tuple[Text, ...] = ()  # values that the route must give
    zone: Annotated[str, Field(pattern=r"^[-+](0[0-9]|1[0-4]):[0-5][0-9]$")] = "+08:00"
    tables: dict[Text, Codes] = Field(default_factory=dict)
    rows: tuple[Row, ...]


def read_map(file: Path) -> tuple[Document, MapFile]:
    """Read the form of a map. Raises ConfigurationError with every mistake."""
    try:
        document = read(file.read_text("utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as why:
        raise ConfigurationError([f"{file}:1:1: {why}"]) from None
    try:
        return document, MapFile.model_validate(document.data)
    except ValidationError as why:
        raise ConfigurationError(document.problems(why, MapFile)) from None
