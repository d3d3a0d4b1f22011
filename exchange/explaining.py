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
                try:
                    async with asyncio.timeout(seconds):
                        return await asyncio.wrap_future(self._pool.submit(work, *values))
                except (BrokenProcessPool, TimeoutError):
                    self.stop()
                    if not attempts:
                        raise

    def stop(self) -> None:
        """End the worker process, whatever it does."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


class Explainer(Worker):
    """Asks a worker process what is wrong with payloads."""

    def __init__(self, schemas: tuple[Path, ...]) -> None:
        super().__init__()
        self._schemas = schemas

    async def explain(self, parcel: Parcel, question: tuple[str, str, bool]) -> Sequence[Finding]:
        """Return what is wrong with a parcel; *question* is (type, edition, whether it may be unsigned).

        Raises TimeoutError when it takes too long, and BrokenProcessPool when the worker died twice on it.
        """
        return await self.run(explain, self._schemas, parcel.read(), *question, seconds=SECONDS)
