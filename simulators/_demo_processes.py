"""The demonstration's children: started in its folder, stopped politely, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from simulators._demo_site import ROOT

STOP_SECONDS: Final = 10.0
PR_SET_PDEATHSIG: Final = 1  # prctl(2)


class Interrupt:
    """Remembers SIGINT and SIGTERM instead of raising in the middle of something."""

    def __init__(self) -> None:
        self._came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._remember)

    def _remember(self, *_: Any) -> None:
        self._came = True

    def __bool__(self) -> bool:
        return self._came


class Children:
    """Processes that end with this one; what they print goes to ``NAME.log`` in their folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Children:
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        for child in self._running.values():
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._running.values():
            try:
                child.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start a Python process, in a group of its own: Ctrl-C is ours to handle."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, *arguments], cwd=self._folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, preexec_fn=partial(_end_with, os.getpid()),
            )  # fmt: skip

    def log(self, name: str) -> Path:
        """Return where a child's words are."""
        return self._folder / f"{name}.log"

    def require(self) -> None:
        """Raise RuntimeError with the last words of a child that isn't there any more."""
        for name, child in self._running.items():
            if child.poll() is not None:
                words = "\n".join(self.log(name).read_text(errors="replace").splitlines()[-15:])
                raise RuntimeError(f"{name} ended with status {child.returncode} · 进程已退出\n{words}")


def _end_with(parent: int) -> None:
    """Ask Linux to stop this process when its *parent* is gone, however that ended; it may be gone by now."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
