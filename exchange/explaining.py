"""What takes long, done in a process of its own: finding everything that is wrong with a message, and slow steps.

xmlschema's complete list takes milliseconds to minutes; a flood of bad messages must not slow the good ones down. The
process is started (not forked) at the first need, and replaced when it dies.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, TypeVar

from exchange.catalogue import explain
from exchange.model import Finding, Parcel

SECONDS: Final = 120.0  # after which the sender is told only that the message is invalid
Result = TypeVar("Result")


class Worker:
    """One worker process that does what would keep the reactor waiting, one thing after the other."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._leaving: list[BaseProcess] = []  # workers that answer what they were asked, and end
        self._turn = asyncio.Lock()  # a deadline counts from when the work begins

    async def run(self, work: Callable[..., Result], *values: Any, seconds: float, attempts: int = 2) -> Result:
        """Call *work* there; it and *values* can be pickled.

        Raises TimeoutError when it takes too long, BrokenProcessPool when the worker died on it at every attempt, and
        whatever *work* raises.
        """
        async with self._turn:
            while True:
                attempts -= 1
                if self._pool is None:
                    context = multiprocessing.get_context("spawn")
                    self._pool = ProcessPoolExecutor(1, mp_context=context)
                pool = self._pool
                try:
                    async with asyncio.timeout(seconds):
                        return await asyncio.wrap_future(pool.submit(work, *values))
                except (BrokenProcessPool, TimeoutError):
                    if pool is self._pool:
                        self.stop()  # else it is one that leaves, and the one that came after is sound
                    if not attempts:
                        raise

    def renew(self) -> None:
        """Have a new process work from now on, which reads everything anew; what was asked is still done."""
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


class Explainer(Worker):
    """Asks a worker process what is wrong with payloads."""

    def __init__(self, schemas: tuple[Path, ...]) -> None:
        super().__init__()
        self._schemas = schemas

    async def explain(self, parcel: Parcel, question: tuple[str, str, bool, str]) -> Sequence[Finding]:
        """Return what is wrong with a parcel; *question* is (type, edition, unsigned, agreed charset).

        Raises TimeoutError when it takes too long, and BrokenProcessPool when the worker died twice on it.
        """
        return await self.run(explain, self._schemas, parcel.read(), *question, seconds=SECONDS)
