"""The batching thread: group commit, written once for every back end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final

from exchange.errors import StoreError

FEW: Final = 4  # requests in a batch that isn't load
Request = tuple[str, Any]  # a verb and its argument
Apply = Callable[[list[Request]], Sequence[Any]]


class Batcher:
    """Gathers what is asked while the last batch runs, and applies it together in one thread.

    *apply* gets a list of requests and returns their results in order; a result that is an exception fails that
    request alone. When it raises, it has changed nothing: a StoreError fails the whole batch, anything else is a
    poisonous request among healthy ones, so each is applied again by itself.

    Under load (the last batch was of several, and ended less than *gather_seconds* ago) it waits that long for company:
    larger batches make fewer commits. One message by itself never waits.
    """

    def __init__(
        self,
        apply: Apply,
        *,
        gather_seconds: float = 0.005,
        most: int = 2048,
        observe: Callable[[int], None] | None = None,
    ) -> None:
        self._apply = apply
        self._gather_seconds = gather_seconds
        self._most = most
        self._observe = observe or (lambda size: None)
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[tuple[Request, asyncio.Future[Any]] | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def ask(self, verb: str, argument: Any) -> asyncio.Future[Any]:
        """Ask for one thing; the future resolves once its batch is on disk. Once closed, it is a StoreError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreError("the store is closed", "存储已关闭", code="SWX-6060"))
        else:
            self._asked.put(((verb, argument), future))
        return future

    async def close(self) -> None:
        """Apply what was asked, then end the thread."""
        self._closed = True
        self._asked.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        ended, size = 0.0, 1
        while (first := self._asked.get()) is not None:
            if size > FEW and time.monotonic() - ended < self._gather_seconds:
                time.sleep(self._gather_seconds)
            batch = [first]
            while len(batch) < self._most and not self._asked.empty():
                following = self._asked.get()
                if following is None:
                    self._asked.put(None)
                    break
                batch.append(following)
            results = self._results([request for request, _ in batch])
            ended, size = time.monotonic(), len(batch)
            self._loop.call_soon_threadsafe(self._resolve, [future for _, future in batch], results)

    def _results(self, requests: list[Request]) -> Sequence[Any]:
        try:
            return self._apply(requests)
        except StoreError as why:
            return [why] * len(requests)
        except Exception as why:
            if len(requests) == 1:
                return [why]
            return [self._results([request])[0] for request in requests]

    def _resolve(self, futures: list[asyncio.Future[Any]], results: Sequence[Any]) -> None:
        self._observe(len(futures))
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
