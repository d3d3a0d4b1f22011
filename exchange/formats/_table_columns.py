"""Templates: which columns a table of one type and edition has, as data.

A template is YAML beside the type's YAML, in ``templates/``::

    element: 订单编号                 # the column that tells documents apart, as in the type's YAML
    documents: 5000                  # most of them in one table
    rows: 99                         # most rows of one document
    columns:
      - name: 订单编号                # the heading, as users see it
        en: order number
        use: M                       # M | C
        of: document                 # document | row: a document's value stands in its first row, and is blank or the
        kind: text                   #   same in the others. text | digits | integer | number | date | time
        longest: 60                  # also: shortest, whole and decimals (digits), codes, pattern

Columns may stand in any order behind the first one. Headings that aren't in the template are errors: a column with a
misspelled heading would otherwise be lost in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal

from attrs import frozen
from pydantic import Field, ValidationError

from exchange.errors import ConfigurationError
from exchange.formats import LIMIT_DOCUMENTS, Text
from exchange.formats._faults import Limit
from exchange.formats._values import END, Kind, Value
from exchange.options import Strict
from exchange.yamlfile import read

_MANGLED: Final = re.compile(r"[-+]?[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,3}")  # a long number as a spreadsheet shows it
_TEXTS: Final = ("text", "digits")  # kinds that such a number is none of


class ColumnRow(Strict):
    """One column."""

    name: Text
    en: Text
    use: Literal["M", "C"] = "C"
    of: Literal["document", "row"] = "row"
    kind: Kind = "text"
    shortest: int = Field(0, ge=0)
    longest: int | None = Field(None, ge=1)
    whole: int | None = Field(None, ge=1)
    decimals: int | None = Field(None, ge=0)
    codes: tuple[Text, ...] = ()
    pattern: str = ""


class TemplateFile(Strict):
    """One template."""

    element: str = ""
    documents: int = Field(1, ge=1, le=LIMIT_DOCUMENTS)
    rows: int = Field(1, ge=1)
    columns: tuple[ColumnRow, ...] = Field(min_length=1)


@frozen
class Column:
    """A column with its rules compiled."""

    rule: ColumnRow
    value: Value

    @property
    def shared(self) -> bool:
        """Tell whether its values are those of a document."""
        return self.rule.of == "document"

    def wrong(self, text: str) -> Iterator[tuple[str, Limit]]:
        """Yield the rules that a text (never an empty one) breaks, and what they demand."""
        if self.rule.kind in _TEXTS and _MANGLED.fullmatch(text):
            yield "mangled", ""
        else:
            yield from self.value.faults(text)

    def shape(self, *, first: bool) -> str:
        """Return a regular expression for texts that need no second look, in the first row of a document or others."""
        unless = f"(?!(?:{_MANGLED.pattern}){END})" if self.rule.kind in _TEXTS else ""
        shape = r"[^\0]++" if self.value.codes or self.value.pattern else f"{unless}{self.value.shape}"
        may_be_blank = self.rule.use == "C" or (self.shared and not first)
        return f"(?:{shape}){'?' * may_be_blank}"


@frozen
class Template:
    """A template with its rules compiled.

    Nearly all rows are as they should be, and need one look: at the texts of all columns, with a character 0 between
    two of them, which no text has. Lists of codes and patterns, which might look beyond their own text, are apart.
    """

    file: TemplateFile
    columns: tuple[Column, ...]
    shared: tuple[int, ...]  # the columns whose values are those of a document
    in_first: re.Pattern[str]  # row of a document
    in_others: re.Pattern[str]  # where the values of the document may be left out
    apart: tuple[tuple[int, Callable[[str], bool]], ...]


@cache
def load(file: Path) -> Template:
    """Compile a template. Raises ValueError that says where it is wrong."""
    try:
        document = read(file.read_text("utf-8"), file.name)
        template = TemplateFile.model_validate(document.data)
    except (OSError, UnicodeDecodeError) as why:
        raise ValueError(f"{file.name}: {why}") from None
    except ConfigurationError as why:
        raise ValueError("; ".join(why.problems)) from None
    except ValidationError as why:
        raise ValueError("; ".join(document.problems(why, TemplateFile))) from None
    names = [column.name for column in template.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{file.name}: columns stand there twice: {', '.join(twice)}")
    try:
        return _compiled(template)
    except re.error as why:
        raise ValueError(f"{file.name}: {why}") from None


def _compiled(file: TemplateFile) -> Template:
    columns = tuple(Column(row, _value(row)) for row in file.columns)
    return Template(
        file,
        columns,
        tuple(at for at, column in enumerate(columns) if column.shared),
        re.compile(r"\0".join(column.shape(first=True) for column in columns)),
        re.compile(r"\0".join(column.shape(first=False) for column in columns)),
        tuple((at, look) for at, column in enumerate(columns) if (look := _look(column))),
    )


def for_headings(template: Template, headings: Collection[str]) -> Template:
    """Return a template without the required columns that a table lacks: that is told once, not at each row."""
    columns = tuple(row for row in template.file.columns if row.use == "C" or row.name in headings)
    if len(columns) == len(template.columns):
        return template
    return _compiled(template.file.model_copy(update={"columns": columns}))


def _value(row: ColumnRow) -> Value:
    pattern = re.compile(row.pattern) if row.pattern else None
    return Value(row.kind, row.shortest, row.longest, row.whole, row.decimals, row.codes, pattern)


def _look(column: Column) -> Callable[[str], bool] | None:
    """Compile what is apart; whether a text may be left out is asked elsewhere."""
    if column.value.codes:
        return frozenset(("", *(code for code in column.value.codes if not any(column.wrong(code))))).__contains__
    return (lambda text: not (text and any(column.wrong(text)))) if column.value.pattern else None
