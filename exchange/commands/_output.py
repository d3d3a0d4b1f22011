"""What commands print: one JSON document, an aligned text, or a table on a terminal; and what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from unicodedata import east_asian_width

import click

from exchange import errors
from exchange.commands._command import language, pick, setting

Told = Mapping[str, Any]  # kind, code, en, zh, problems: as the control socket tells an error
Column = tuple[str, str, str]  # key of a row; heading in English and Chinese

_STATUS_OF_CODE: Final = {"SWX-7023": 1, "SWX-7030": 5, "SWX-7040": 69, "SWX-7060": 75}
_STATUS_OF_KIND: Final[tuple[tuple[type[errors.ExchangeError], int], ...]] = (
    (errors.Rejected, 1),
    (errors.Held, 1),
    (errors.NotFound, 3),
    (errors.Refused, 4),
    (errors.InvalidTransition, 4),
    (errors.StoreError, 75),
    (errors.TokenError, 75),
    (errors.DeliveryError, 75),
    (errors.ConfigurationError, 78),
)


class Failure(Exception):
    """What the switch answered instead of a result."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.get("en", ""))
        self.told = told


# -- what went wrong ---------------------------------------------------------------------------------------------


def told(why: errors.ExchangeError) -> Told:
    """Return an error of this process in the form that the switch tells its own."""
    problems = list(why.problems) if isinstance(why, errors.ConfigurationError) else []
    return {"kind": type(why).__name__, "code": why.code, "en": why.en, "zh": why.zh, "problems": problems}


def status_of(told: Told) -> int:
    """Return the exit status for an error; 69 for a switch that failed without telling why."""
    kind = getattr(errors, str(told.get("kind")), errors.ExchangeError)
    by_kind = (status for known, status in _STATUS_OF_KIND if issubclass(kind, known))
    return _STATUS_OF_CODE.get(str(told.get("code"))) or next(by_kind, 69)


def tell(told: Told) -> int:
    """Print an error, and what to do about it; return the exit status."""
    status = status_of(told)
    if setting("json"):
        document({"error": {"problems": []} | dict(told) | {"status": status}})
        return status
    for problem in told.get("problems", ()):
        click.echo(problem, err=True)
    if told["kind"] != "ConfigurationError":  # whose text is its problems
        click.echo(f"{told['code']} {told[language()]}", err=True)
        click.echo(pick("Cause and cure: ", "原因与处置：") + f"switchctl explain {told['code']}", err=True)
    return status


# -- what was asked for ------------------------------------------------------------------------------------------


def document(result: Any) -> None:
    """Print a result as the one JSON document on standard output."""
    import orjson

    click.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2))


def put(result: Any, text: Callable[[], None]) -> None:
    """Print *result* for programs, or what *text* prints for people."""
    document(result) if setting("json") else text()


def say(en: str, zh: str) -> None:
    """Print a line for people."""
    click.echo(pick(en, zh))


def finish(status: int) -> None:
    """End the command with an exit status."""
    click.get_current_context().exit(status)


def facts(pairs: Iterable[tuple[str, str, Any]]) -> None:
    """Print (English, Chinese, value) one a line, values aligned."""
    rows = [(pick(en, zh), cell(value)) for en, zh, value in pairs]
    longest = max(width(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{padded(name, longest)}  {value}".rstrip())


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print rows for people: a table on a terminal, aligned text elsewhere."""
    headings = [pick(en, zh) for _, en, zh in columns]
    cells = [[cell(row.get(key)) for key, _, _ in columns] for row in rows]
    if not rows:
        click.echo(pick("(none)", "（无）"))
    elif sys.stdout.isatty():
        _rich(headings, cells)
    else:
        _aligned([headings, *cells])


def _rich(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*headings, box=SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        shown.add_row(*(Text(value) for value in row))  # Text: brackets in a value are no markup
    Console().print(shown)


def _aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(map(padded, row, widths)).rstrip())


def cell(value: Any) -> str:
    """Write one value on one line.

    >>> cell(None), cell(["a", "b"]), cell({"order": "1"}), cell({"CUSTOMS": {"port": 2}}), cell(7)
    ('-', 'a, b', 'order=1', 'CUSTOMS (port=2)', '7')
    """
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return pick("yes", "是") if value else pick("no", "否")
    if isinstance(value, Mapping):
        pairs = value.items()
        return " ".join(f"{k} ({cell(v)})" if isinstance(v, Mapping) else f"{k}={v}" for k, v in pairs) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "-"
    return " ".join(str(value).split())


def width(text: str) -> int:
    """Return the columns that a terminal needs for a text.

    >>> width("abc"), width("报文")
    (3, 4)
    """
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def padded(text: str, columns: int) -> str:
    """Fill a text up with blanks to so many columns."""
    return text + " " * (columns - width(text))
