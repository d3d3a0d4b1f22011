"""How generated pages are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def begun(title: str, source: str, text: str) -> str:
    """Return the beginning of a page: title, where it comes from, and what it is about."""
    return f'# {title}\n\n<!-- Written by "make docs" from {source}: change that, not this page. -->\n\n{text}\n'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a table.

    >>> print(table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\|y |
    <BLANKLINE>
    """
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(_line(line) for line in lines)


def _line(cells: Sequence[str]) -> str:
    rule = all(cell == "---" for cell in cells)
    return "|" + "|".join(cells) + "|\n" if rule else "| " + " | ".join(cells) + " |\n"
