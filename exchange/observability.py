"""What operators see from outside: log lines, metrics and health. Each is budgeted: see docs on what a message costs.

Logs are structlog, one JSON object a line: ``ts``, ``level``, ``event``, the message's id if it is about one, the
rest. Metrics are plain numbers that the switch counts up and that become Prometheus text when somebody asks; a child
of prometheus_client would cost five times as much per message. Each series is written by one thread only.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import io
import logging
import shutil
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from attrs import frozen
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from structlog.processors import format_exc_info
from twisted.logger import LogLevel, formatEvent, globalLogBeginner

from exchange.asgi import App
from exchange.instants import SECOND, Instant, show_instant
from exchange.ports import microseconds
from exchange.signing.expiry import Expiring

__all__ = ["Metrics", "Probes", "Pulse", "configure", "pages", "recorded"]

# -- logs --------------------------------------------------------------------------------------------------------

_FLUSH_SECONDS: Final = 0.2
_FLUSH_LINES: Final = 500
_LONGEST: Final = 2_000  # characters of a text that isn't ours


class _Lines:
    """Writes lines together, at most a fifth of a second late, and errors at once.

    A log that can't be written must not stop the switch. What a crash takes from it is in the journal all the same.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        atexit.register(self.flush)

    def msg(self, line: bytes) -> None:
        """Write a line soon."""
        self._waiting.append(line)
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
            except RuntimeError:  # another thread's, or before the loop runs
                self.flush()
        elif len(self._waiting) >= _FLUSH_LINES:
            self.flush()

    def err(self, line: bytes) -> None:
        """Write a line now."""
        self._waiting.append(line)
        self.flush()

    debug = info = warning = msg
    error = critical = exception = fatal = err

    def flush(self) -> None:
        """Write what waits."""
        with self._lock, contextlib.suppress(OSError):
            waiting, self._waiting = self._waiting, []
            if waiting:
                self._file.write(b"\n".join(waiting) + b"\n")


def _render(_: Any, level: str, event: Any) -> bytes:
    """Write one event as one line, whatever is in it."""
    if "exc_info" in event:
        event = format_exc_info(None, level, event)
    line = {
        "ts": show_instant(microseconds()),
        "level": level,
        "event": event.pop("event", ""),
    }
    if "message" in event:
        line["message"] = event.pop("message")
    try:
        return orjson.dumps(line | event, default=str)
    except TypeError:  # a lone surrogate, a number past 64 bits
        return orjson.dumps(line | {"unwritable": ascii(event)}, default=ascii)


class _Library(logging.Handler):
    """Brings what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"library": record.name, "text": record.getMessage()[:_LONGEST]}
        if record.exc_info:
            fields["exc_info"] = record.exc_info  # type: ignore[assignment]
        structlog.get_logger().log(min(record.levelno // 10 * 10, logging.CRITICAL), "library.spoke", **fields)


def _observe(event: Any) -> None:
    """Bring warnings and errors of Twisted."""
    level = event.get("log_level", LogLevel.info)
    if level < LogLevel.warn:
        return
    failure = event.get("log_failure")
    fields = {"exception": failure.getTraceback()} if failure else {}
    name = {"warn": "warning"}.get(level.name, level.name)
    text = formatEvent(event)[:_LONGEST]
    getattr(structlog.get_logger(), name)("twisted.spoke", library=event.get("log_namespace"), text=text, **fields)


@functools.cache
def _bridge_twisted() -> None:
    observer: Any = _observe
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def configure(level: str = "info", path: Path | None = None) -> Any:
    """Log events of *level* and worse to *path*, or to standard error; return the logger.

    Warnings and errors of Twisted and of libraries arrive as ``twisted.spoke`` and ``library.spoke``.
    """
    lines = _Lines(io.FileIO(path, "ab") if path else io.FileIO(2, "ab", closefd=False))
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Library()], force=True)
    _bridge_twisted()
    return structlog.get_logger()


def recorded(level: str = "debug") -> tuple[Any, list[dict[str, Any]]]:
    """Return a logger for a test and the list that its events go to."""
    events: list[dict[str, Any]] = []

    def keep(_: Any, method: str, event: Any) -> Any:
        events.append({"level": method, **event})
        raise structlog.DropEvent

    wrapper = structlog.make_filtering_bound_logger(level)
    return structlog.wrap_logger(object(), processors=[keep], wrapper_class=wrapper), events


# -- metrics -----------------------------------------------------------------------------------------------------

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)
_SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_SHOWN: Final = 200  # label values of one metric; the rest is summed as "other"


class _Histogram:
    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float, n: int) -> None:
        self._counts[bisect_left(self._bounds, value)] += n
        self._sum += value * n

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        bounds = [*map(str, self._bounds), "+Inf"]
        family.add_metric(labels, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)


class Pulse:
    """Measures how late the reactor is, by a call that it owes us twice a second."""

    def __init__(self, clock: Any, interval_seconds: float = 0.5) -> None:
        self._clock, self._interval = clock, interval_seconds
        self._late: deque[float] = deque([0.0], maxlen=30)
        self._due = clock.seconds()
        self._call: Any = None

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock.seconds() + self._interval
        self._call = self._clock.callLater(self._interval, self._beat)

    def _beat(self) -> None:
        self._late.append(self._clock.seconds() - self._due)
        self.start()

    def stop(self) -> None:
        """Leave the reactor alone."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    @property
    def lag_seconds(self) -> float:
        """The worst of the last 15 seconds, the call due now included."""
        overdue = self._clock.seconds() - self._due if self._call is not None else 0.0
        return max(0.0, overdue, *self._late)


@frozen
class Probes:
    """What is asked of the switch when somebody looks, and costs nothing until then."""

    backlog: Callable[[], Mapping[str, tuple[int, Instant]]] = dict  # endpoint -> open deliveries, oldest queued_at
    missing: Callable[[], Mapping[tuple[str, str], int]] = dict  # (party, stage) -> receipts past their deadline
    unsigned: Callable[[], Mapping[str, int]] = dict  # party -> what of it waits to be signed
    unsigned_seconds: Callable[[], float] = float  # how long the oldest of that waits
    unable: Callable[[], int] = int  # keys that the token can't sign with just now
    expiring: Callable[[], Sequence[Expiring]] = tuple  # certificates and revocation lists, the soonest first
    generation: Callable[[], int] = int  # of the routing table in force
    intake_open: Callable[[], bool] = bool
    now: Callable[[], Instant] = microseconds
    directory: str = "."  # on the disk whose space matters


def _gauge(name: str, text: str, labels: Sequence[str], ranked: Sequence[tuple[tuple[str, ...], float]],
           fold: Callable[[Iterable[float]], float]) -> GaugeMetricFamily:  # fmt: skip
    """Return a gauge with the first values by their labels and the others folded into one."""
    shown = dict(ranked[:_SHOWN])
    if ranked[_SHOWN:]:
        other = ("other",) * len(labels)
        shown[other] = fold([shown.get(other, 0.0), *(value for _, value in ranked[_SHOWN:])])
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in shown.items():
        family.add_metric(key, value)
    return family


class Metrics:
    """Counts what happens; under a microsecond for one message."""

    def __init__(self, probes: Probes, pulse: Pulse) -> None:
        self._probes, self._pulse = probes, pulse
        self._received: Counter[tuple[str, str]] = Counter()
        self._finished: Counter[str] = Counter()
        self._signing: Counter[tuple[str, str]] = Counter()
        self._stages = {name: _Histogram(_SECONDS) for name in ("receive", "sort", "send", "end_to_end")}
        self._batches = _Histogram(_SIZES)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def received(self, kind: str, role: str, n: int = 1) -> None:
        """Count messages that are on disk, by adapter kind and the sending party's role."""
        self._received[kind, role] += n

    def finished(self, state: str, n: int = 1) -> None:
        """Count messages that came to rest, by the state they rest in."""
        self._finished[state] += n

    def signing_request(self, status: int, party: str) -> None:
        """Count an answer of the remote signing API; of the 200 parties that came first, the rest as ``other``."""
        if (str(status), party) not in self._signing and len({known for _, known in self._signing}) >= _SHOWN:
            party = "other"
        self._signing[str(status), party] += 1

    def stage(self, name: str, seconds: float, n: int = 1) -> None:
        """Note that each of *n* messages spent *seconds* in a stage: receive, sort, send or end_to_end."""
        self._stages[name].observe(seconds, n)

    def batch(self, size: int) -> None:
        """Note a commit of *size* writes; called in the store's thread, and only there."""
        self._batches.observe(size, 1)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; prometheus_client calls this."""
        yield from self._counted()
        yield from self._queues()
        yield from self._condition()

    def _counted(self) -> Iterator[Metric]:
        received = CounterMetricFamily("switch_messages_received", "Messages on disk", labels=["kind", "role"])
        for labels, count in self._received.items():
            received.add_metric(labels, count)
        finished = CounterMetricFamily("switch_messages_finished", "Messages that came to rest", labels=["state"])
        for state, count in self._finished.items():
            finished.add_metric([state], count)
        signing = CounterMetricFamily(
            "switch_signing_requests", "Answers of the remote signing API", labels=["status", "party"]
        )
        for labels, count in self._signing.items():
            signing.add_metric(labels, count)
        stages = HistogramMetricFamily("switch_stage_duration_seconds", "Time in a stage", labels=["stage"])
        for name, histogram in self._stages.items():
            histogram.add_to(stages, [name])
        batches = HistogramMetricFamily("switch_store_batch_size", "Writes that shared one commit", labels=[])
        self._batches.add_to(batches, [])
        yield from (received, finished, signing, stages, batches)

    def _queues(self) -> Iterator[Metric]:
        """Yield open work by endpoint, the oldest first, and by party what is unsigned or missing, the most first."""
        now = self._probes.now()
        backlog = sorted(self._probes.backlog().items(), key=lambda one: one[1][1])
        open_work = [(name, depth, max(0, now - oldest) / SECOND) for name, (depth, oldest) in backlog if depth]
        ages = [((name,), age) for name, _, age in open_work]
        depths = [((name,), float(depth)) for name, depth, _ in open_work]
        yield _gauge("switch_queue_oldest_age_seconds", "Age of the oldest open delivery", ["endpoint"], ages, max)
        yield _gauge("switch_queue_depth", "Open deliveries", ["endpoint"], depths, sum)
        unsigned = [((party,), float(depth)) for party, depth in self._probes.unsigned().items()]
        yield _gauge("switch_signing_queue_depth", "Messages and jobs to be signed", ["party"], unsigned, sum)
        waits = self._probes.unsigned_seconds()
        yield GaugeMetricFamily("switch_signing_oldest_age_seconds", "Age of the oldest of them", waits)
        unable = self._probes.unable()
        yield GaugeMetricFamily("switch_signing_keys_unable", "Keys that can't be signed with just now", unable)
        missing = Counter(self._probes.missing()).most_common()
        yield _gauge("switch_receipts_missing", "Receipts past their deadline", ["party", "stage"], missing, sum)

        days = [((one.kind, one.owner, one.name), one.days(now)) for one in self._probes.expiring()[:_SHOWN]]
        text = "Days that a certificate, or a revocation list, is still good for"
        yield _gauge("switch_certificate_expires_days", text, ["kind", "owner", "serial"], days, min)

    def _condition(self) -> Iterator[Metric]:
        probes = self._probes
        yield GaugeMetricFamily("switch_reactor_lag_seconds", "Lateness of the reactor", self._pulse.lag_seconds)
        yield GaugeMetricFamily("switch_config_generation", "Routing table in force", probes.generation())
        yield GaugeMetricFamily("switch_intake_open", "1 while messages are taken", int(probes.intake_open()))
        with contextlib.suppress(OSError):  # a disk that is gone takes its line along, not the page
            free = shutil.disk_usage(probes.directory).free
            yield GaugeMetricFamily("switch_disk_free_bytes", "Free space for the store", free)


# -- health ------------------------------------------------------------------------------------------------------

_LIVE_SECONDS: Final = 5.0


def _report(ok: bool, document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document, default=str), 200 if ok else 503, media_type="application/json")


def pages(metrics: Metrics, pulse: Pulse, ready: Callable[[], Mapping[str, tuple[bool, str]]]) -> App:
    """Return the ASGI app of the operators' listener: ``/metrics``, ``/livez`` and ``/readyz``.

    *ready* maps the name of each check to (whether it holds, what was seen); one that fails makes ``/readyz`` a 503.
    """

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def livez(request: Request) -> Response:
        lag = pulse.lag_seconds
        return _report(lag < _LIVE_SECONDS, {"live": lag < _LIVE_SECONDS, "lag_seconds": round(lag, 3)})

    async def readyz(request: Request) -> Response:
        try:
            seen = ready()
        except Exception as error:
            seen = {"readiness": (False, f"the checks failed: {error}")}
        checks = {name: {"ok": ok, "detail": detail} for name, (ok, detail) in seen.items()}
        all_ok = all(check["ok"] for check in checks.values())
        return _report(all_ok, {"ready": all_ok, "checks": checks})

    return Router([Route("/metrics", show_metrics), Route("/livez", livez), Route("/readyz", readyz)])
