"""What operators see of signing devices: signatures, how long they took, and how each device is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from exchange.observability import Histogram, Metrics

if TYPE_CHECKING:
    from exchange.signing._members import Member

STATES: Final = ("UP", "DOWN", "DISABLED")
_SECONDS: Final = (  # fine where devices differ, so that p95 and p99 can be told from them
    0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5,
    1.0, 2.0, 5.0, 10.0,
)  # fmt: skip


class SigningMetrics:
    """Counts what devices do; a few microseconds a signature."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._members = members
        self._signed: Counter[tuple[str, str, str]] = Counter()
        self._seconds: dict[tuple[str, str], Histogram] = {}
        for member in members.values():
            member.observe = self.signed

    def signed(self, device: str, algorithm: str, code: str, seconds: float) -> None:
        """Note one signature of a device, or why there is none."""
        self._signed[device, algorithm, code] += 1
        known = self._seconds.get((device, algorithm))
        if known is None:
            known = self._seconds[device, algorithm] = Histogram(_SECONDS)
        known.observe(seconds, 1)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; prometheus_client calls this."""
        signed = CounterMetricFamily(
            "switch_device_signatures",
            "Signatures asked of a device, by how they ended",
            labels=["device", "algorithm", "code"],
        )
        for labels, count in self._signed.items():
            signed.add_metric(labels, count)
        seconds = HistogramMetricFamily(
            "switch_device_signature_seconds", "Time for one signature, verified", labels=["device", "algorithm"]
        )
        for (device, algorithm), histogram in self._seconds.items():
            histogram.add_to(seconds, (device, algorithm))
        yield from (signed, seconds)
        yield from self._states()

    def _states(self) -> Iterator[Metric]:
        state = GaugeMetricFamily("switch_device_state", "1 for the state it is in", labels=["device", "state"])
        opened = CounterMetricFamily("switch_device_opened", "How often it came up", labels=["device"])
        figures: Mapping[str, tuple[str, Callable[[Member], int]]] = {
            "switch_device_in_flight": ("Signatures asked for and not yet there", lambda m: m.in_flight),
            "switch_device_sessions": ("Signatures that it works on at once", lambda m: m.settings.sessions),
            "switch_device_refused_keys": ("Keys that it can't sign with", lambda m: len(m.without)),
        }
        gauges = [(GaugeMetricFamily(name, text, labels=["device"]), of) for name, (text, of) in figures.items()]
        for member in self._members.values():
            for each in STATES:
                state.add_metric([member.name, each.lower()], member.state == each)
            opened.add_metric([member.name], member.opened)
            for gauge, of in gauges:
                gauge.add_metric([member.name], of(member))
        yield from (state, opened, *(gauge for gauge, _ in gauges))


def watch(token: Any, metrics: Metrics) -> None:
    """Show the devices of a token, if it has any."""
    if members := getattr(token, "members", None):
        metrics.add(SigningMetrics(members))
