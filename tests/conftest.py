"""One event loop under Twisted's asyncio reactor for the whole run; a test that is a coroutine function runs in it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import asyncioreactor

from exchange import catalogue

LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)
asyncioreactor.install(LOOP)

read = catalogue.load
ours = cache(read)  # it takes a quarter of a second, and there are hundreds of daemons


def load(*directories: Path) -> catalogue.Catalogue:
    """Read our own types once for the whole run; others each time."""
    return read(*directories) if set(directories) - {catalogue.SCHEMAS} else ours()


catalogue.load = load  # before a test module is imported
SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests to their end in the shared loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    LOOP.run_until_complete(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="session", autouse=True)
def _reactor_runs() -> Iterator[None]:
    """Start Twisted's reactor without blocking, so that processes and threads it starts are served."""
    from twisted.internet import reactor

    running: Any = reactor
    running.startRunning(installSignalHandlers=False)
    yield
    running.fireSystemEvent("shutdown")
    LOOP.run_forever()  # until the shutdown, which stops the loop, is through


@pytest.fixture
def load_anew() -> Callable[..., catalogue.Catalogue]:
    """Return what reads the types really, and gives a catalogue with nothing compiled."""
    return read


@pytest.fixture(scope="session")
def official_samples() -> Path:
    """Return the folder of official CEB samples, or skip: they are no part of the project."""
    folder = SHARED / "samples" / "ceb-2018-113"
    if not folder.is_dir():
        pytest.skip("the official samples (shared/samples/ceb-2018-113) are not present beside this checkout")
    return folder


@pytest.fixture(scope="session")
def elements() -> Path:
    """Return the list of every element of the CEB messages in both editions, or skip."""
    file = SHARED / "domain" / "ceb-elements.tsv"
    if not file.is_file():
        pytest.skip("the list of all elements (shared/domain/ceb-elements.tsv) is not present beside this checkout")
    return file
