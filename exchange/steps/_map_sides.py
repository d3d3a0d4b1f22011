"""The two sides of a map: where its paths look, and what it writes. Each format has both in a file of its own.

A place is what paths of the source start at: a message as a whole, or one turn of a loop. ``loop`` leads from a place
to those of a loop, ``look`` to a text.

In the target the first row that says something about a place counts, and nothing is made for a row that says nothing.
``put`` compiles a place. ``enter`` compiles what a block writes into: it is
called at each turn, with the number of the turn, and what it returns is kept once the turn is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from exchange.formats import Format, Opened
from exchange.instants import Instant
from exchange.steps._map_values import Value

Look = Callable[[Any], str]
Loop = Callable[[Any], Iterable[Any]]
Base = tuple[str, ...]  # the paths of the loops or blocks around
Turn = tuple[str, int]  # the path of a loop, and which turn it is, from 1
SELF: Final = "."

Put = Callable[[Any, Value], None]  # raises ValueError with what can't be written
Enter = Callable[[Any, int], Any]
Keep = Callable[[Any, Any], None]  # what is around, and what was written in one turn


class Source(Protocol):
    """What a map starts from."""

    @property
    def format(self) -> Format:
        """Return the format that reads it."""

    def root(self, opened: Opened) -> Any:
        """Return the place of the message as a whole. Raises Rejected."""

    def look(self, path: str, base: Base) -> Look:
        """Compile a path to a text. Raises ValueError where it leads nowhere."""

    def loop(self, path: str, base: Base) -> Loop:
        """Compile a path to places. Raises ValueError where it leads nowhere."""

    def pointer(self, place: Any, turns: Sequence[Turn], path: str) -> tuple[str, int | None]:
        """Tell where a path leads from a place, and the line of that, for people."""


class Target(Protocol):
    """What a map makes."""

    @property
    def format(self) -> Format:
        """Return the format that would read it."""

    def root(self) -> Any:
        """Return what the rows write into."""

    def put(self, path: str, base: Base) -> Put:
        """Compile a place. Raises ValueError where the schema has none such."""

    def add(self, path: str, base: Base) -> Put:
        """Compile a place that each turn of a loop writes anew. Raises ValueError."""

    def enter(self, path: str, base: Base, loop: bool) -> tuple[Enter, Keep]:
        """Compile what a block writes into. Raises ValueError."""

    def missing(self) -> list[str]:
        """List what the schema requires and no place compiled so far fills in."""

    def write(self, root: Any, id: tuple[int, int], at: Instant) -> bytes:
        """Return the bytes of the delivery *id*. Raises ValueError with what can't be written."""


def same(here: Any, turn: int) -> Any:
    """Write on where the rows around write."""
    return here


def keep(around: Any, inner: Any) -> None:
    """Keep what was written in its place already."""
