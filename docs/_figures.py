"""What ``make bench`` measured, as tables; the file is docs/reference/benchmark.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from docs._page import begun, table

FILE: Final = Path(__file__).parent / "reference/benchmark.json"
PARTS: Final = {
    "http": "read a request with a 4 KB body and answer 202, nothing behind it",
    "parse_xsd": "parse the declaration, and libxml2's verdict by its schema",
    "durable": "the store's own verbs for the whole life of one declaration, in batches of a hundred",
    "raw_sql": "the same rows without a line of the store's code: the floor under it, not part of the sum",
    "sign_p256": "sign with ECDSA P-256: digest, key operation, splice",
    "sign_sm2": "the same with SM2",
    "sign_rsa2048": "the same with RSA of 2048 bits",
    "publish_confirm": "publish to RabbitMQ and read the confirm, in a window of 200",
}
NAMES: Final = {"unsigned": "unsigned", "p256": "P-256", "sm2": "SM2", "rsa2048": "RSA-2048"}
CHINESE: Final = {"unsigned": "不签名", "p256": "P-256", "sm2": "SM2", "rsa2048": "RSA-2048"}


def known() -> dict[str, Any]:
    """Return what was measured."""
    measured: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return measured


def page() -> str:
    """Write the page of figures."""
    return "\n".join(_page(known()))


def _page(measured: dict[str, Any]) -> Iterator[str]:
    yield begun(
        "Benchmark",
        "docs/reference/benchmark.json",
        "Measured by `make bench`, which writes `build/bench.json`; copied to `docs/reference/benchmark.json` to be\n"
        "shown here. How it is measured, and what the figures mean, is told in\n"
        "[performance](../explanation/performance.md). They are one machine's: run it on yours.\n\n"
        f"Machine: {measured['machine']}. Load generator and broker ran on the same cores.",
    )
    yield "## Parts\n\nMicroseconds of CPU for one declaration of 4 KB, each part by itself (median).\n"
    parts = [(f"`{name}`", PARTS.get(name, ""), f"{value:.1f}") for name, value in measured["parts_us"].items()]
    total = ("sum, unsigned", "http + parse_xsd + durable + publish_confirm", f"{measured['sum_us']:.1f}")
    yield table(["part", "what it is", "us"], [*parts, total])
    yield "## Switch\n\nHTTP in, validated, signed, durable, published to RabbitMQ and confirmed. One process.\n"
    yield _switch(measured)
    yield "*limit*: sum of the parts, with that signature. *ratio*: limit / CPU of the switch. Latencies are the median"
    yield "and the 99th percentile: *accept* of the answer 202, *end to end* of the broker's confirm, when more is sent"
    yield "than the switch can do, so that it is mostly time in the queue.\n"
    yield from _more(measured)


def _switch(measured: dict[str, Any]) -> str:
    head = [
        "signature", "messages/s", "slowest round", "CPU us", "limit us", "ratio", "ratio with raw_sql",
        "accept ms", "end to end ms",
    ]  # fmt: skip
    return table(
        head,
        (
            [
                NAMES.get(name, name),
                f"{row['messages_per_second']:.0f}",
                f"{row['slowest_messages_per_second']:.0f}",
                f"{row['cpu_us']:.0f}",
                f"{row['sum_us']:.0f}",
                f"{row['ratio']:.2f}",
                f"{row['ratio_raw_sql']:.2f}",
                f"{row['accept_p50_ms']:.0f} / {row['accept_p99_ms']:.0f}",
                f"{row['end_to_end_p50_ms']:.0f} / {row['end_to_end_p99_ms']:.0f}",
            ]
            for name, row in measured["switch"].items()
        ),
    )


def _signing(one: dict[str, Any]) -> Iterator[str]:
    yield "## Signing\n\nCPU beside the key operation: queue, canonical form, digest, splice, and the row of the log."
    yield "Through SoftHSM: what the signing service signs, against what the token itself does in a bare loop with all"
    yield "its sessions busy. SoftHSM is software: with eight sessions the bare loop takes both cores, with one it"
    yield "leaves the other to the switch, as a device does that signs by itself.\n"
    rows: list[list[str]] = [
        ["us beside the key operation", f"{one['beside_us']:.0f}", "", f"{one['beside_us_weakest']:.0f} at worst"],
        ["SM2 in software, of one core", *_of(one, "sm2_per_second", "openssl_sm2_per_second", "sm2_ratio")],
    ]
    for name in ("rsa2048", "p256"):
        for which, sessions in ((f"{name}_one", "one session"), (name, "eight sessions")):
            of = _of(one, f"{which}_served_per_second", f"{which}_own_per_second", f"{which}_ratio")
            rows.append([f"{NAMES[name]} through SoftHSM, {sessions}", *of])
    yield table(["what", "measured", "by itself", "ratio"], rows)


def _keys(one: dict[str, Any]) -> Iterator[str]:
    yield "## Keys\n"
    yield f"A switch with {one['keys']:,} parties, each with a key and a certificate of its own in the register:"
    yield "seconds from the start of the program until it listens, and microseconds to find the key that signs.\n"
    rows = [
        ["without parties and keys", f"{one['none_seconds']:.1f}", "", f"{one['choosing_us_of_one']:.2f}"],
        [f"with {one['keys']:,}", *(f"{one[f'many_seconds{which}']:.1f}" for which in ("", "_slowest")),
         f"{one['choosing_us']:.2f}"],
    ]  # fmt: skip
    yield table(["switch", "starts in, s", "slowest, s", "choosing a key, us"], rows)


def _of(one: dict[str, Any], ours: str, own: str, ratio: str) -> list[str]:
    return [f"{one[ours]:.0f}/s", f"{one[own]:.0f}/s", f"{one[ratio]:.2f}"]


def _more(measured: dict[str, Any]) -> Iterator[str]:
    if deciding := measured.get("deciding_us"):
        small, large = deciding["small"], deciding["large"]
        yield "## Large tables\n\nMicroseconds to examine and decide one declaration.\n"
        rows = ("10 routes, 10 parties", f"{small:.0f}"), ("10 000 routes, 70 000 parties", f"{large:.0f}")
        yield table(["routing table", "us"], rows)
    if signing := measured.get("signing"):
        yield from _signing(signing)
    if keys := measured.get("keys"):
        yield from _keys(keys)
    if history := measured.get("history"):
        yield "## History\n\nMicroseconds of the switch's CPU for one declaration, by what its store holds already.\n"
        sizes = [(f"{history['messages'][name]:,}", f"{history['cpu_us'][name]:.0f}") for name in ("small", "large")]
        yield table(["messages stored", "CPU us"], sizes)
        yield f"Ratio: {history['ratio']:.2f}.\n"


def ratios() -> str:
    """Write the table of the page on performance."""
    measured = known()
    rows = (
        (NAMES.get(name, name), f"{row['sum_us']:.0f}", f"{row['cpu_us']:.0f}", f"{row['ratio']:.2f}",
         f"{row['messages_per_second']:.0f}")
        for name, row in measured["switch"].items()
    )  # fmt: skip
    told = f"Measured by `make bench` on {measured['machine']}; all of it in [benchmark](../reference/benchmark.md)."
    head = ["signature", "sum of the parts, us", "CPU of the switch, us", "ratio", "messages/s"]
    return f"{told}\n\n{table(head, rows)}"


def english() -> str:
    """Write the figures of the README."""
    measured = known()
    told = (
        f"Measured by `make bench` on {measured['machine']}: one process, load generator and broker on the\n"
        "same cores; declarations of 4 KB, HTTP in, validated, durable, RabbitMQ out with confirm. Everything else\n"
        "that it measures is in [benchmark](docs/reference/benchmark.md).\n"
    )
    head = ["signature", "messages/s", "CPU us each", "answer 202, median / 99 % ms"]
    return f"{told}\n{table(head, _short(measured, NAMES))}"


def chinese() -> str:
    """Write the figures of the Chinese README."""
    measured = known()
    told = (
        f"由 `make bench` 测得，机器：{measured['machine']}；单进程，压测程序和消息队列在同一组核上；\n"
        "报文 4 KB，HTTP 接入、校验、落盘、RabbitMQ 发出并确认。全部结果见 [benchmark](docs/reference/benchmark.md)。\n"
    )
    head = ["签名", "每秒报文", "每份 CPU 微秒", "202 应答，中位数 / 99 % 毫秒"]
    return f"{told}\n{table(head, _short(measured, CHINESE))}"


def _short(measured: dict[str, Any], names: dict[str, str]) -> Iterator[list[str]]:
    for name, row in measured["switch"].items():
        accept = f"{row['accept_p50_ms']:.0f} / {row['accept_p99_ms']:.0f}"
        yield [names.get(name, name), f"{row['messages_per_second']:.0f}", f"{row['cpu_us']:.0f}", accept]
