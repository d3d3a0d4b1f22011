"""Judge a table by its template: a quick look at every row, and a list of what is wrong in those that don't pass it.

Rows are read one by one. What is kept is a line about each document, not the rows.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from attrs import define, field

from exchange.formats import LIMIT_DOCUMENTS
from exchange.formats._faults import Fault, Limit
from exchange.formats._table_columns import ColumnRow, Template, TemplateFile, for_headings
from exchange.formats._table_rows import Row, Rows, told_apart

_SHOWN: Final = 64  # characters of a heading that nobody knows


def faults(table: Rows, template: Template) -> Iterator[Fault]:
    """Yield everything that is wrong with a table, from its first row to its last."""
    yield from _headings(table, template.file)
    rules = for_headings(template, table.headings)
    yield from _Walk(table, rules, [table.column(column.rule.name) for column in rules.columns]).faults()


def _headings(table: Rows, file: TemplateFile) -> Iterator[Fault]:
    known = {column.name: column for column in file.columns}
    for column in file.columns:
        if column.use == "M" and column.name not in table.headings:
            pointer, en, zh = f"row 1, column {column.name}", f"{column.name} ({column.en})", f"「{column.name}」"
            yield Fault("column", pointer, column.name, en, zh, 1)
    seen: set[str] = set()
    for heading in table.headings:
        if heading and (heading not in known or heading in seen):
            shown = heading[:_SHOWN]
            yield Fault("heading", f"row 1, column {shown}", shown, shown, f"「{shown}」", 1)
        seen.add(heading)


@define(eq=False)
class _Document:
    """What is kept of a document while its rows come by.

    Of what its first row says, column by column, there are hashes: the texts might take as much memory as the message.
    """

    first: int  # the number of its first row
    said: array[int]
    rows: int = 0


@define
class _Walk:
    table: Rows
    template: Template
    places: Sequence[int]  # of the template's columns; -1 where there is none
    _documents: list[_Document] = field(factory=list)
    _counts: Counter[int] = field(factory=Counter)
    _above: tuple[_Document | None, list[str]] = (None, [])  # a document, and what the last row that agreed said of it

    def faults(self) -> Iterator[Fault]:
        for number, row in self._numbered():
            texts = self._texts(row)
            if number == len(self._documents):
                self._documents.append(_Document(row.number, array("q", map(hash, texts))))
            document = self._documents[number]
            document.rows += 1
            if number >= self.template.file.documents or document.rows > self.template.file.rows:
                yield from self._too_many(number, row, document.rows)
            if row.calculated or not self._fits(texts, document):
                for at, text in enumerate(texts):
                    yield from self._cell(row, at, text, document)
        if not self._documents:
            yield Fault("required", "row 2", "row", "a row below the header", "表头以下的数据行", 2)

    def _numbered(self) -> Iterator[tuple[int, Row]]:
        numbered = told_apart(self.table, self.table.column(self.template.file.element))
        return takewhile(lambda each: each[0] <= LIMIT_DOCUMENTS, numbered)  # as many as a template may allow, and one

    def _texts(self, row: Row) -> list[str]:
        """Return what stands in each column of the template."""
        width = len(self.table.headings)
        cells = row.cells[:width]
        cells += [""] * (width + 1 - len(cells))
        return [cells[at].strip() for at in self.places]

    def _too_many(self, number: int, row: Row, nth: int) -> Iterator[Fault]:
        file = self.template.file
        if nth == 1 and number == file.documents:
            yield _of_row(row, "documents", "单据", file.documents, len(self._count()))
        if nth == file.rows + 1:
            yield _of_row(row, "rows of one document", "同一单据的行", file.rows, self._count()[number])

    def _count(self) -> Counter[int]:
        """Count the rows of every document, once, for people are told how many there are."""
        self._counts = self._counts or Counter(number for number, _ in self._numbered())
        return self._counts

    def _fits(self, texts: Sequence[str], document: _Document) -> bool:
        """Give a row the one look."""
        rules = self.template
        if not (rules.in_first if document.rows == 1 else rules.in_others).fullmatch("\0".join(texts)):
            return False
        return self._agrees(texts, document) and all(look(texts[at]) for at, look in rules.apart)

    def _agrees(self, texts: Sequence[str], document: _Document) -> bool:
        says = document, [texts[at] for at in self.template.shared]
        if says != self._above:
            if any(texts[at] and hash(texts[at]) != document.said[at] for at in self.template.shared):
                return False
            self._above = says
        return True

    def _cell(self, row: Row, at: int, text: str, document: _Document) -> Iterator[Fault]:
        column, first = self.template.columns[at], document.rows == 1
        if self.places[at] < 0:
            return
        if self.places[at] in row.calculated:
            yield _of_cell("formula", row, column.rule, text)
        elif not text:
            if column.rule.use == "M" and (first or not column.shared):
                yield _of_cell("required", row, column.rule)
        elif column.shared and hash(text) != document.said[at]:
            yield _of_cell("differs", row, column.rule, text, f"row {document.first}")
        else:
            for broken, limit in column.wrong(text):
                yield _of_cell(broken, row, column.rule, text, limit)


def _of_cell(rule: str, row: Row, column: ColumnRow, value: str = "", limit: Limit = "") -> Fault:
    pointer = f"row {row.number}, column {column.name}"
    en, zh = f"{column.name} ({column.en}) in row {row.number}", f"第 {row.number} 行「{column.name}」"
    return Fault(rule, pointer, column.name, en, zh, row.number, value, limit, len(value))


def _of_row(row: Row, en: str, zh: str, limit: int, actual: int) -> Fault:
    return Fault("occurs", f"row {row.number}", en, en, zh, row.number, "", str(limit), actual)
