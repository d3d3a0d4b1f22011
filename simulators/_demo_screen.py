"""What the demonstration shows: a table that changes on a terminal, a line for each change anywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final, Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from simulators._demo_lives import Life

COLORS: Final = {"COMPLETED": "green", "REJECTED": "yellow", "DUPLICATE": "yellow", "HELD": "red", "FAILED": "red"}
WIDE: Final = 110  # characters of a terminal that has room for who sent it, and how
NEWS_CHARACTERS: Final = 24  # that the last column has at least


class Screen(Protocol):
    """Shows lives, and says things."""

    def show(self, lives: Sequence[Life]) -> None:
        """Show how the messages are now."""

    def say(self, text: str) -> None:
        """Print a text; a table that was shown stays above it as it is."""

    def lines(self) -> Screen:
        """Return the screen for what happens afterwards: a line for each change from now on."""


def screen() -> Screen:
    """Return the screen that fits standard output."""
    console = Console(highlight=False)
    return Board(console) if console.is_terminal and not os.environ.get("NO_COLOR") else Lines()


class Lines:
    """One line for each change."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._told: dict[str, tuple[str, int]] = {}  # id -> state and number of news that were told

    def show(self, lives: Sequence[Life]) -> None:
        """See ``Screen``."""
        for life in lives:
            state, news = self._told.get(life.id, ("", 0))
            for words in life.news[news:]:
                self._line(life, words)
            if life.state != state:
                self._line(life, life.shown_state)
            self._told[life.id] = life.state, len(life.news)

    def say(self, text: str) -> None:
        """See ``Screen``."""
        print(text, flush=True)

    def learn(self, lives: Sequence[Life]) -> None:
        """Know how the messages are, without a word."""
        self._told = {life.id: (life.state, len(life.news)) for life in lives}

    def lines(self) -> Screen:
        """See ``Screen``."""
        return self

    def _line(self, life: Life, words: str) -> None:
        who = f"{life.door.party} {life.door.protocol}"
        seconds = time.monotonic() - self._since
        self.say(f"{seconds:6.1f} s  {life.name:<26} {life.type:<14} {who:<18} {words}")


class Board:
    """A table that is drawn anew."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._lines = Lines()

    def show(self, lives: Sequence[Life]) -> None:
        """See ``Screen``."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(_table(lives, self._console.width), refresh=True)
        self._lines.learn(lives)

    def say(self, text: str) -> None:
        """See ``Screen``."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._console.print(text, markup=False, soft_wrap=True)

    def lines(self) -> Screen:
        """See ``Screen``."""
        return self._lines


def _table(lives: Sequence[Life], width: int) -> Table:
    columns: dict[str, list[Text]] = {
        "报文 message": [Text(life.name) for life in lives],
        "类型 type": [Text(life.type) for life in lives],
    }
    if width >= WIDE:
        columns["发送方 from"] = [Text(life.door.party) for life in lives]
        columns["经由 by"] = [Text(life.door.protocol) for life in lives]
    columns["状态 state"] = [Text(life.shown_state, style=COLORS.get(life.state, "cyan")) for life in lives]
    used = sum(max(cell_len(heading), *(t.cell_len for t in texts), 0) + 2 for heading, texts in columns.items())
    columns["最近回执 last receipt"] = [Text(life.last) for life in lives]
    for text in columns["最近回执 last receipt"]:
        text.truncate(max(width - used - 2, NEWS_CHARACTERS), overflow="ellipsis")
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for heading in columns:
        table.add_column(heading, no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table
