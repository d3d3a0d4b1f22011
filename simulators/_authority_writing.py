"""What a simulated authority writes: its answers, filled into the templates of its rules, and joined into files."""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import cache
from string import Formatter
from typing import Any, Final
from xml.sax.saxutils import escape

from attrs import field, frozen

from exchange.formats import platform_file
from exchange.formats.edifact import Verdict, acknowledge
from exchange.instants import SECOND, Instant
from exchange.model import Finding
from simulators._authority_rules import Form

BEIJING: Final = timezone(timedelta(hours=8))
COUNT: Final = "{count}"  # stays as it is until the lines can be counted
Values = Mapping[str, str]


@frozen
class Return:
    """One answer to one document, and when it is due."""

    at: Instant
    form: Form = field(eq=False)
    receipt: str  # what the answer is called
    values: Values = field(repr=False)
    fields: Sequence[tuple[str, bool]]  # which of them {fields} writes, and whether even where empty
    group: Hashable  # answers of one group share a file
    payload: bytes = field(repr=False)  # what is answered
    findings: Sequence[Finding] = ()
    case: str = ""
    copies: int = 1
    whole: bool = True
    alone: bool = False

    @property
    def lonely(self) -> bool:
        """Tell whether it shares its file with no other."""
        return self.alone or self.copies > 1 or not self.whole


@frozen
class Receipt:
    """One file that is due."""

    at: Instant
    name: str
    type: str
    body: bytes = field(repr=False)


def files(returns: Sequence[Return], batch: int) -> list[Receipt]:
    """Write returns into files, at most *batch* documents to one."""
    together: dict[Any, list[Return]] = {}
    for number, one in enumerate(returns):
        place = number if one.lonely else -1
        together.setdefault((one.at, one.receipt, one.case, one.group, place), []).append(one)
    cut = [group[i : i + batch] for group in together.values() for i in range(0, len(group), batch)]
    return sorted((receipt for group in cut for receipt in _file(group)), key=lambda receipt: receipt.at)


def _file(returns: Sequence[Return]) -> Iterator[Receipt]:
    first, style = returns[0], STYLES[returns[0].form.format]
    moment = datetime.fromtimestamp(first.at // SECOND, BEIJING)
    shared = {"at": moment, "ms": f"{first.at % SECOND // 1000:03d}", "total": str(len(returns)), "count": COUNT}
    body = _acknowledged(first, moment) if first.form.writer else _filled(returns, style, shared)
    if not body:
        return
    name = (first.form.name or style.name).format_map(_Given(_cased(first)))
    stem, dot, suffix = name.rpartition(".")
    for copy in range(first.copies):
        shown = f"{stem}_{copy + 1}{dot}{suffix}" if copy else name
        yield Receipt(first.at, shown, first.receipt, body if first.whole else body[: len(body) // 2])


def _acknowledged(one: Return, moment: datetime) -> bytes:
    """Write the format's own acknowledgement, where one is due."""
    day, time = f"{moment:%Y%m%d}", f"{moment:%H%M}"
    verdict = Verdict(one.values["reference"], day, time, one.values["status"], one.findings)
    return acknowledge(one.payload, verdict) or b""


def _filled(returns: Sequence[Return], style: Style, shared: Mapping[str, Any]) -> bytes:
    first = returns[0]
    records = []
    for number, one in enumerate(returns, 1):
        values = {**_marked(one, style), **shared, "number": str(number)}
        records += style.lines(one.form.record, values)
    values = {**_marked(first, style), **shared, "records": style.separator.join(records)}
    lines = style.separator.join(style.lines(first.form.file, values)).split("\n")
    text = "\n".join(lines).replace(COUNT, str(style.count(lines)))
    if first.form.format == "platform_file":  # in the charset of what it answers
        return platform_file.write([line.split(CELL) for line in text.split("\n")], like=first.payload)
    return text.encode(first.form.encoding)


def _marked(one: Return, style: Style) -> dict[str, str]:
    """Return the values as the format spells them."""
    values = _cased(one)
    return {name: style.escape(text) for name, text in values.items()} | {"fields": _elements(one, values)}


def _cased(one: Return) -> dict[str, str]:
    values = dict(one.values)
    for name in (*one.form.cased, "id") if one.case else ():
        values[name] = cased(values.get(name, ""), one.case)
    return values


# -- formats -----------------------------------------------------------------------------------------------------


@frozen
class Style:
    """How a format spells values, joins lines, and counts them."""

    name: str  # of a file
    separator: str
    escape: Callable[[str], str]
    count: Callable[[Sequence[str]], int] = len
    cells: bool = False  # a colon in a template parts two fields, which are written by the format itself

    def lines(self, template: str, values: Mapping[str, Any]) -> list[str]:
        """Fill a template in; a line all of whose values are empty is left out."""
        filled = []
        for line, names in _split(COLON.sub(CELL, template) if self.cells else template):
            if not names or any(values.get(name, "") != "" for name in names):
                filled.append((line if self.separator else line.strip()).format_map(_Given(values)))
        return filled


CELL: Final = "\x1f"  # between the fields of a platform file, until they are written
COLON: Final = re.compile(r":(?![^{}]*\})")  # outside of {names}


def _edifact(text: str) -> str:
    return re.sub(r"([+:'?])", r"?\1", text)


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


STYLES: Final[Mapping[str, Style]] = {
    "xml": Style("{receipt}_{id}.xml", "", lambda text: escape(text)),
    "edifact": Style("{receipt}_{reference}.edi", "\n", _edifact, lambda lines: len(lines) - 2),  # between UNB and UNZ
    "platform_file": Style("{receipt}_{reference}.txt", "\n", lambda text: text.replace("\n", " "), cells=True),
    "json": Style("{receipt}_{id}.json", "\n", _json),
}


class _Given(defaultdict[str, Any]):
    """Values by name; what isn't known is empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(str, values)


@cache
def _split(template: str) -> Sequence[tuple[str, frozenset[str]]]:
    """Return the lines of a template, each with the names in it."""
    return [
        (line, frozenset(name for _, name, _, _ in Formatter().parse(line) if name)) for line in template.splitlines()
    ]


# -- values ------------------------------------------------------------------------------------------------------


def _elements(one: Return, values: Values) -> str:
    """Write each field as an element; those without a value are left out, but for those that are always there."""
    fields = ((name, values.get(name, ""), always) for name, always in one.fields)
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value, always in fields if value or always)


def cased(text: str, case: str) -> str:
    """Write a text in upper or lower case, or as it is."""
    return text.upper() if case == "upper" else text.lower() if case == "lower" else text


def readable(body: bytes) -> str:
    """Return what can be read of a message, as text that any format can hold."""
    return "".join(c for c in body.decode(errors="replace") if c.isprintable() or c in "\t\n\r")


def new_id(*seed: object) -> str:
    """Make a GUID that is always the same for the same *seed*."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, repr(seed)))


def new_reference(id: str) -> str:
    """Make a control reference of 14 characters of an id."""
    return id.replace("-", "")[:14].upper()
