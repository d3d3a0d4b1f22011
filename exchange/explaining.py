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
from multiprocessing.process import BaseProcess
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
        self._leaving: list[BaseProcess] = []  # workers that answer what they were asked, and end

    async def explain(self, parcel: Parcel, question: tuple[str, str, bool, str]) -> Sequence[Finding]:
        """Return what is wrong with a parcel; *question* is (type, edition, unsigned, agreed charset).

        Raises TimeoutError when it takes too long, and BrokenProcessPool when the worker died twice on it.
        """
        for attempt in (1, 2):
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, mp_context=context)
            pool = self._pool
            work = pool.submit(explain, self._schemas, parcel.read(), *question)
            try:
                async with asyncio.timeout(SECONDS):
                    return await asyncio.wrap_future(work)
            except (BrokenProcessPool, TimeoutError):
                if pool is self._pool:
                    self.stop()  # else it is one that leaves, and the one that came after is sound
                if attempt == 2:
                    raise
        return ()

    def renew(self) -> None:
        """Have a new worker answer from now on, which reads the schemas anew; what was asked is still answered."""
        self._leaving = [process for process in self._leaving if process.is_alive()]
        if self._pool is not None:
            self._leaving += (self._pool._processes or {}).values()
            self._pool.shutdown(wait=False)
            self._pool = None

    def stop(self) -> None:
        """End the worker processes, whatever they do."""
        if self._pool is not None:
            self._leaving += (self._pool._processes or {}).values()
        for process in self._leaving:
            process.kill()
        self._leaving = []
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
