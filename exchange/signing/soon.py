"""Something that is done once at the end of this turn of the event loop, however often it is asked for in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Soon:
    """Call it to have *work* done soon."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._asked = work, False

    def __call__(self) -> None:
        """Have it done, unless it will be anyway."""
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._do)

    def _do(self) -> None:
        self._asked = False
        self._work()
