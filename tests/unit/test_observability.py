"""Log lines, metrics and health as operators get them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.logger import Logger

from exchange import observability
from exchange.errors import StoreError
from exchange.instants import SECOND
from exchange.observability import Metrics, Probes, Pulse, pages, recorded
from tests.fake_archive import NOON

# -- logs --------------------------------------------------------------------------------------------------------


def lines_of(program: str, *arguments: str) -> list[dict[str, Any]]:
    """Run *program* with a fresh logger in a process of its own; return what it logged."""
    program = f"import sys\nfrom exchange.observability import configure\n{program}"
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, check=True, timeout=60)
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_an_event_is_one_line_with_time_event_and_message_first() -> None:
    [line] = lines_of("configure().info('message.accepted', route='r1', message='20261122-42', generation=3)")
    assert list(line) == ["ts", "level", "event", "message", "route", "generation"]
    assert line["ts"].endswith("+08:00")
    assert (line["level"], line["event"], line["message"]) == ("info", "message.accepted", "20261122-42")


def test_events_below_the_level_are_not_written() -> None:
    assert [line["event"] for line in lines_of("log = configure('warning'); log.info('a.b'); log.error('c.d')")] == [
        "c.d"
    ]


def test_an_exception_is_written_with_its_traceback_in_the_same_line() -> None:
    program = "log = configure()\ntry: 1 / 0\nexcept Exception: log.exception('message.failed', message='20261122-1')"
    [line] = lines_of(program)
    assert line["level"] == "error"
    assert "ZeroDivisionError" in line["exception"]


@pytest.mark.parametrize("value", ["object()", "'\\ud800'", "2**70", "b'x'", "{1: 2}", "float('nan')"])
def test_a_value_that_json_does_not_know_never_loses_the_event(value: str) -> None:
    [line] = lines_of(f"configure().info('a.b', value={value})")
    assert line["event"] == "a.b"


def test_a_full_disk_under_the_log_stops_nothing() -> None:
    program = "from pathlib import Path; log = configure(path=Path('/dev/full')); log.info('a.b'); print('alive')"
    assert lines_of(program) == []


def test_a_log_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "switch.log"
    for _ in range(2):
        lines_of("from pathlib import Path; configure(path=Path(sys.argv[1])).info('a.b')", str(path))
    assert len(path.read_text().splitlines()) == 2


def test_warnings_of_libraries_and_of_twisted_arrive_as_events() -> None:
    program = """
import logging
from twisted.logger import Logger
from twisted.python.failure import Failure
configure()
logging.getLogger("pika.adapters").info("chatter")
logging.getLogger("pika.adapters").warning("connection %s", "lost")
Logger("conch.server").info("chatter")
Logger("conch.server").warn("odd client {n}", n=1)
try: 1 / 0
except Exception: Logger("conch.server").failure("broke")
"""
    library, odd, broke = lines_of(program)
    assert (library["event"], library["library"], library["text"]) == (
        "library.spoke",
        "pika.adapters",
        "connection lost",
    )
    assert (odd["event"], odd["level"], odd["text"]) == ("twisted.spoke", "warning", "odd client 1")
    assert (broke["level"], broke["text"]) == ("critical", "broke")
    assert "ZeroDivisionError" in broke["exception"]


@pytest.mark.parametrize("level", [5, 25, logging.CRITICAL, 99])
def test_a_library_with_levels_of_its_own_is_heard(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    log, events = recorded()
    monkeypatch.setattr(observability.structlog, "get_logger", lambda: log)
    observability._Library().emit(logging.LogRecord("lib", level, "", 0, "said", (), None))
    assert [event["text"] for event in events] == (["said"] if level >= 10 else [])


def test_twisted_below_a_warning_is_not_even_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    log, events = recorded()
    monkeypatch.setattr(observability.structlog, "get_logger", lambda: log)
    Logger("x", observer=observability._observe).info("{nothing.here}")
    assert events == []


def test_a_recorded_logger_keeps_events_for_a_test() -> None:
    log, events = recorded()
    log.bind(message="20261122-1").warning("receipt.parked", code="SWX-2020")
    assert events == [{"level": "warning", "event": "receipt.parked", "message": "20261122-1", "code": "SWX-2020"}]


# -- metrics -----------------------------------------------------------------------------------------------------


def samples(metrics: Metrics) -> dict[str, float]:
    """Return every sample by name and labels, read with Prometheus' own parser."""
    text = metrics.text().decode()
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def metrics_with(**probes: Any) -> Metrics:
    return Metrics(Probes(now=lambda: NOON, **probes), Pulse(Clock()))


def test_messages_are_counted_as_they_come_and_as_they_end() -> None:
    metrics = metrics_with()
    metrics.received("http_api", "enterprise")
    metrics.received("http_api", "enterprise", n=4)
    metrics.finished("COMPLETED", n=3)
    shown = samples(metrics)
    assert shown["switch_messages_received_total{kind=http_api}{role=enterprise}"] == 5
    assert shown["switch_messages_finished_total{state=COMPLETED}"] == 3


def test_a_stage_is_a_histogram_and_a_batch_counts_once_for_each_message() -> None:
    metrics = metrics_with()
    metrics.stage("sort", 0.001)
    metrics.stage("sort", 0.003, n=10)
    metrics.stage("sort", 99999.0)
    shown = samples(metrics)
    bucket = "switch_stage_duration_seconds_bucket{le=%s}{stage=sort}"
    assert (shown[bucket % "0.001"], shown[bucket % "0.0025"], shown[bucket % "0.005"]) == (1, 1, 11)
    assert (shown[bucket % "3600.0"], shown[bucket % "+Inf"]) == (11, 12)
    assert shown["switch_stage_duration_seconds_count{stage=sort}"] == 12
    assert shown["switch_stage_duration_seconds_sum{stage=sort}"] == pytest.approx(99999.031)
    assert shown["switch_stage_duration_seconds_count{stage=send}"] == 0


def test_commits_are_measured_by_how_many_writes_share_them() -> None:
    metrics = metrics_with()
    for size in (1, 40, 256):
        metrics.batch(size)
    shown = samples(metrics)
    assert shown["switch_store_batch_size_count"] == 3
    assert shown["switch_store_batch_size_sum"] == 297
    assert shown["switch_store_batch_size_bucket{le=50.0}"] == 2


def test_open_work_is_shown_by_endpoint_and_what_is_empty_is_not() -> None:
    backlog = {"customs": (7, NOON - 90 * SECOND), "idle": (0, 0), "ahead": (1, NOON + SECOND)}
    shown = samples(metrics_with(backlog=lambda: backlog))
    assert shown["switch_queue_depth{endpoint=customs}"] == 7
    assert shown["switch_queue_oldest_age_seconds{endpoint=customs}"] == 90
    assert shown["switch_queue_oldest_age_seconds{endpoint=ahead}"] == 0, "the clock was set back"
    assert not any("idle" in name for name in shown)


def test_seventy_thousand_endpoints_are_two_hundred_and_the_rest() -> None:
    backlog = {f"ent{n}": (2, NOON - n * SECOND) for n in range(70_000)} | {"other": (5, NOON - 69_999 * SECOND)}
    shown = samples(metrics_with(backlog=lambda: backlog))
    depths = {name: value for name, value in shown.items() if name.startswith("switch_queue_depth")}
    assert len(depths) == 200, "an endpoint that is called so is counted with the rest"
    assert sum(depths.values()) == 2 * 70_000 + 5
    assert "switch_queue_depth{endpoint=ent69999}" in depths
    assert shown["switch_queue_oldest_age_seconds{endpoint=other}"] == 69_999


def test_what_waits_to_be_signed_is_shown_by_party_with_the_age_of_the_oldest_and_the_keys_that_fail() -> None:
    waiting = {f"party{n}": 300 - n for n in range(201)}
    probes = {"unsigned": lambda: waiting, "unsigned_seconds": lambda: 2.5, "unable": lambda: 3}
    shown = samples(metrics_with(**probes))
    assert shown["switch_signing_queue_depth{party=party0}"] == 300
    assert shown["switch_signing_queue_depth{party=other}"] == 100
    assert shown["switch_signing_oldest_age_seconds"] == 2.5
    assert shown["switch_signing_keys_unable"] == 3


def test_answers_of_the_signing_api_are_two_hundred_parties_and_the_rest() -> None:
    metrics = metrics_with()
    for number in range(300):
        metrics.signing_request(200, f"P{number}")
        metrics.signing_request(429, f"P{number}")
    shown = {
        name: value for name, value in samples(metrics).items() if name.startswith("switch_signing_requests_total")
    }
    assert shown["switch_signing_requests_total{party=P199}{status=200}"] == 1
    assert shown["switch_signing_requests_total{party=other}{status=200}"] == 100
    assert sum(shown.values()) == 600


def test_missing_receipts_are_shown_by_party_and_stage() -> None:
    missing = {(f"party{n}", "last"): 1 for n in range(300)} | {("CUSTOMS", "port"): 12}
    shown = samples(metrics_with(missing=lambda: missing))
    assert shown["switch_receipts_missing{party=CUSTOMS}{stage=port}"] == 12
    assert shown["switch_receipts_missing{party=other}{stage=other}"] == 101


def test_the_condition_of_the_process_is_shown(tmp_path: Path) -> None:
    metrics = metrics_with(generation=lambda: 7, intake_open=lambda: True, directory=str(tmp_path))
    shown = samples(metrics)
    assert shown["switch_config_generation"] == 7
    assert shown["switch_intake_open"] == 1
    assert shown["switch_disk_free_bytes"] > 0
    assert shown["switch_reactor_lag_seconds"] == 0
    assert shown["process_resident_memory_bytes"] > 0


def test_a_disk_that_is_gone_does_not_take_the_page_along() -> None:
    shown = samples(metrics_with(directory="/nowhere/at/all"))
    assert "switch_disk_free_bytes" not in shown
    assert "switch_intake_open" in shown


def test_names_have_one_prefix_base_units_and_no_ids() -> None:
    metrics = metrics_with(backlog=lambda: {"customs": (1, NOON)})
    metrics.received("amqp", "customs")
    ours = [f for f in text_string_to_metric_families(metrics.text().decode()) if not f.name.startswith("process_")]
    assert ours
    for family in ours:
        assert family.name.startswith("switch_")
        assert family.documentation
        labels = {label for sample in family.samples for label in sample.labels}
        assert labels <= {"kind", "role", "state", "stage", "endpoint", "party", "le"}


# -- health ------------------------------------------------------------------------------------------------------


def test_the_pulse_remembers_the_worst_lateness_for_a_while() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.start()
    for _ in range(3):
        clock.advance(0.5)
    assert pulse.lag_seconds == 0
    clock.rightNow += 2.0  # the reactor was busy
    assert pulse.lag_seconds == 1.5
    clock.advance(0)
    assert pulse.lag_seconds == 1.5
    for _ in range(30):
        clock.advance(0.5)
    assert pulse.lag_seconds == 0
    pulse.stop()
    assert clock.getDelayedCalls() == []


async def get(app: Any, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://switch") as client:
        return await client.get(path)


async def test_the_metrics_page_is_prometheus_text() -> None:
    answer = await get(pages(metrics_with(), Pulse(Clock()), dict), "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE switch_messages_received_total counter" in answer.text


async def test_a_reactor_that_is_late_is_not_alive() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.start()
    app = pages(metrics_with(), pulse, dict)
    assert (await get(app, "/livez")).json() == {"live": True, "lag_seconds": 0.0}
    clock.rightNow += 5.6
    answer = await get(app, "/livez")
    assert (answer.status_code, answer.json()["live"]) == (503, False)


@pytest.mark.parametrize("ok", [True, False])
async def test_readiness_lists_every_check(ok: bool) -> None:
    checks = {"store": (True, "written 0.2 s ago"), "table": (ok, "generation 7")}
    answer = await get(pages(metrics_with(), Pulse(Clock()), lambda: checks), "/readyz")
    assert answer.status_code == (200 if ok else 503)
    assert answer.json() == {
        "ready": ok,
        "checks": {
            "store": {"ok": True, "detail": "written 0.2 s ago"},
            "table": {"ok": ok, "detail": "generation 7"},
        },
    }


async def test_a_check_that_fails_to_answer_is_not_ready() -> None:
    def broken() -> Any:
        raise StoreError("the store is gone", "存储不可用")

    answer = await get(pages(metrics_with(), Pulse(Clock()), broken), "/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["readiness"]["ok"] is False
