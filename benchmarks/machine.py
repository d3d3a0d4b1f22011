"""Clocks, percentiles, and a companion that keeps the other core busy."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """Return user and system time of a process so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that *share* (0..1) of *values* stay below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def microseconds(work: Callable[[], object], times: int) -> float:
    """Return CPU microseconds of one call, over *times* calls in this thread."""
    began = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - began) / times * 1e6


def median(values: Sequence[float]) -> float:
    """Return the median; of nothing, zero."""
    return statistics.median(values) if values else 0.0


@contextlib.contextmanager
def companion() -> Iterator[None]:
    """Keep another core busy with memory-touching work, as a load generator and a broker do."""
    code = "import os\nb = bytearray(1 << 20)\nwhile os.getppid() > 1:\n    b[:] = bytes(b[::-1])"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def describe() -> str:
    """Say what machine this is."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    size = int(memory[1]) / 2**20 if memory else 0
    name = model[1] if model else "unknown processor"
    return f"{os.cpu_count()} cores ({name}), {size:.0f} GiB, Python {sys.version.split()[0]}"
