"""Everything that is wrong with an invalid message, found in a process of its own.

xmlschema's complete list takes milliseconds to minutes; a flood of bad messages must not slow the good ones down. The
process is started (not forked) at the first reject, and replaced when it dies.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final

from exchange.catalogue import explain
from exchange.model import Finding, Parcel

SECONDS: Final = 120.0  # after which the sender is told only that the message is invalid


class Explainer:
    """Asks one worker process what is wrong with payloads, one after the other."""

    def __init__(self, schemas: tuple[Path, ...]) -> None:
        self._schemas = schemas
        self._pool: ProcessPoolExecutor | None = None

    async def explain(self, parcel: Parcel, question: tuple[str, str, bool, str]) -> Sequence[Finding]:
        """Return what is wrong with a parcel; *question* is (type, edition, unsigned, agreed charset).

        Raises TimeoutError when it takes too long, and BrokenProcessPool when the worker died twice on it.
        """
        for attempt in (1, 2):
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context)
            work = self._pool.submit(explain, self._schemas, parcel.read(), *question)
            try:
                async with asyncio.timeout(SECONDS):
                    return await asyncio.wrap_future(work)
            except (BrokenProcessPool, TimeoutError):
                self.stop()
                if attempt == 2:
                    raise
        return ()

    def stop(self) -> None:
        """End the worker process, whatever it does."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
