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
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

from attrs import frozen
from pydantic import Field, ValidationError

from exchange.errors import ConfigurationError
from exchange.formats import Text
from exchange.formats._faults import Fault, Limit
from exchange.formats._table_rows import Row, Rows
from exchange.formats._values import Kind, Value
from exchange.options import Strict
from exchange.yamlfile import read

_MANGLED: Final = re.compile(r"[-+]?[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,3}")  # a long number as a spreadsheet shows it


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
    documents: int = Field(1, ge=1)
    rows: int = Field(1, ge=1)
    columns: tuple[ColumnRow, ...] = Field(min_length=1)


@frozen
class Template:
    """A template with its rules compiled."""

    file: TemplateFile
    values: Mapping[str, Value]


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
        return Template(template, {column.name: _value(column) for column in template.columns})
    except re.error as why:
        raise ValueError(f"{file.name}: {why}") from None


def _value(column: ColumnRow) -> Value:
    pattern = re.compile(column.pattern) if column.pattern else None
    return Value(
        column.kind, column.shortest, column.longest, column.whole, column.decimals, column.codes, pattern
    )  # fmt: skip


# -- judging -----------------------------------------------------------------------------------------------------


def faults(table: Rows, template: Template, documents: Mapping[str, list[Row]]) -> Iterator[Fault]:
    """Yield everything that is wrong with a table whose rows were told apart as *documents*."""
    yield from _headings(table, template)
    file = template.file
    if not documents:
        yield Fault("required", "row 2", "row", "a row below the header", "表头以下的数据行", 2)
    if len(documents) > file.documents:
        row = list(documents.values())[file.documents][0]
        yield _of_row("occurs", row, "documents", "单据", str(file.documents), len(documents))
    columns = [(column, at) for column in file.columns if (at := table.column(column.name)) >= 0]
    for rows in documents.values():
        if len(rows) > file.rows:
            yield _of_row("occurs", rows[file.rows], "rows of one document", "同一单据的行", str(file.rows), len(rows))
        for row in rows:
            for column, at in columns:
                yield from _cell(row, at, column, template.values[column.name], rows[0])


def _headings(table: Rows, template: Template) -> Iterator[Fault]:
    known = {column.name: column for column in template.file.columns}
    for column in template.file.columns:
        if column.use == "M" and column.name not in table.headings:
            pointer, en, zh = f"row 1, column {column.name}", f"{column.name} ({column.en})", f"「{column.name}」"
            yield Fault("column", pointer, column.name, en, zh, 1)
    seen: set[str] = set()
    for heading in table.headings:
        if heading and (heading not in known or heading in seen):
            shown = heading[:64]
            yield Fault("heading", f"row 1, column {shown}", shown, shown, f"「{shown}」", 1)
        seen.add(heading)


def _cell(row: Row, at: int, column: ColumnRow, value: Value, first: Row) -> Iterator[Fault]:
    text = row.cells[at].strip() if at < len(row.cells) else ""
    if at in row.calculated:
        yield _of_cell("formula", row, column, text)
    elif not text:
        if column.use == "M" and (column.of == "row" or row is first):
            yield _of_cell("required", row, column)
    elif column.of == "document" and row is not first:
        above = first.cells[at].strip() if at < len(first.cells) else ""
        if text != above:
            yield _of_cell("differs", row, column, text, f"row {first.number}")
    elif column.kind in ("text", "digits") and _MANGLED.fullmatch(text):
        yield _of_cell("mangled", row, column, text)
    else:
        for broken, limit in value.faults(text):
            yield _of_cell(broken, row, column, text, limit)


def _of_cell(rule: str, row: Row, column: ColumnRow, value: str = "", limit: Limit = "") -> Fault:
    pointer = f"row {row.number}, column {column.name}"
    en, zh = f"{column.name} ({column.en}) in row {row.number}", f"第 {row.number} 行「{column.name}」"
    return Fault(rule, pointer, column.name, en, zh, row.number, value, limit, len(value))


def _of_row(rule: str, row: Row, en: str, zh: str, limit: str, actual: int) -> Fault:
    return Fault(rule, f"row {row.number}", en, en, zh, row.number, "", limit, actual)
