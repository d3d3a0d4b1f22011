"""``make bench``: measure, print a table, write build/bench.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import deciding, history, parts, peers, signing
from benchmarks.machine import companion, describe, median
from tests.live.rabbitmq import Broker

VARIANTS = {
    "unsigned": ("", ""),
    "p256": parts.SIGN["p256"],
    "sm2": parts.SIGN["sm2"],
    "rsa2048": parts.SIGN["rsa2048"],
}
BASE = ("http", "parse_xsd", "durable", "publish_confirm")
OUT = Path("build/bench.json")
ROW = "{:<10}{:>8}{:>9}{:>8}{:>8}{:>7}{:>7}{:>14}{:>18}"


def main() -> None:
    """Measure everything in one run."""
    parser = argparse.ArgumentParser("make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is measured (default 3)")
    parser.add_argument("--count", type=int, default=10_000, help="declarations in one run (default 10000)")
    parser.add_argument(
        "--history", type=int, default=1_000_000, help="declarations in the large store; 0 leaves it out"
    )
    arguments = parser.parse_args()
    print(f"{describe()}\n{arguments.rounds} rounds, {arguments.count} declarations of 4 KB each\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        result = _measure(Path(name), arguments)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    _print(result)


def _measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    broker = Broker(peers.scratch(folder, "broker"))
    broker.start()
    try:
        queue = peers.Queue(broker)
        part, switch = _interleaved(folder, broker, queue, arguments)
        result = _result(part, switch)
        result["deciding_us"] = deciding.measure()
        _say("signing")
        result["signing"] = _by_itself("signing", str(arguments.rounds))
        _say("70 000 keys")
        result["keys"] = _by_itself("many_keys")
        if arguments.history:
            result["history"] = _history(folder, broker, queue, arguments)
        return result
    finally:
        broker.stop()


def _by_itself(name: str, *arguments: str) -> Any:
    """Measure in a process of its own, free of what this one has gathered."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def _interleaved(
    folder: Path, broker: Broker, queue: peers.Queue, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[dict[str, float]]]]:
    switches = {name: peers.Switch(folder / name, broker, queue, *signed) for name, signed in VARIANTS.items()}
    stores = history.Lives(peers.scratch(folder, "durable")), parts.RawSql(peers.scratch(folder, "raw"))
    part: dict[str, list[float]] = defaultdict(list)
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    try:
        for switch in switches.values():
            switch.run(500, 16)  # warm: schemas compiled, connections open
        for number in range(arguments.rounds):
            for name, switch in switches.items():
                _say(f"round {number + 1}: {name}")
                _measure_parts(part, stores, broker, queue, arguments.count)
                runs[name].append(switch.run(arguments.count // (2 if name in ("sm2", "rsa2048") else 1)))
    finally:
        for switch in switches.values():
            switch.stop()
    return part, runs


def _measure_parts(
    part: dict[str, list[float]],
    stores: tuple[history.Lives, parts.RawSql],
    broker: Broker,
    queue: peers.Queue,
    count: int,
) -> None:
    part["http"].append(peers.bare_http(count // 2))
    with companion():
        part["parse_xsd"].append(parts.parse_and_validate())
        part["durable"].append(median([stores[0].batch(100) for _ in range(20)]))
        part["raw_sql"].append(stores[1].measure(2000))
        for name in parts.SIGN:
            part[f"sign_{name}"].append(parts.sign(name))
    command = [sys.executable, "-m", "benchmarks.bare_publish", broker.url, queue.login["user"]]
    command += [queue.login["password"], peers.QUEUE, str(count // 2)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    part["publish_confirm"].append(float(done.stdout.splitlines()[-1]))


def _result(part: dict[str, list[float]], runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    parts_us = {name: round(median(values), 1) for name, values in part.items()}
    base = sum(parts_us[name] for name in BASE)
    switch: dict[str, dict[str, float]] = {}
    for name, measured in runs.items():
        row = {key: round(median([run[key] for run in measured]), 1) for key in measured[0]}
        limit = base + parts_us.get(f"sign_{name}", 0.0)
        row["sum_us"] = round(limit, 1)
        row["ratio"] = round(limit / row["cpu_us"], 2)
        row["ratio_raw_sql"] = round((limit - parts_us["durable"] + parts_us["raw_sql"]) / row["cpu_us"], 2)
        row["slowest_messages_per_second"] = round(min(run["messages_per_second"] for run in measured), 1)
        switch[name] = row
    return {"machine": describe(), "parts_us": parts_us, "sum_us": round(base, 1), "switch": switch}


def _history(folder: Path, broker: Broker, queue: peers.Queue, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare a store of 10 000 with one of a million, message by message, interleaved."""
    sizes = {"small": 10_000, "large": arguments.history}
    switches = {}
    for name, size in sizes.items():
        home = peers.scratch(folder, f"history-{name}")
        _say(f"filling a store with {size:,} messages")
        command = [sys.executable, "-m", "benchmarks.history", str(home / "var/store"), str(size)]
        subprocess.run(command, check=True)
        switches[name] = peers.Switch(home, broker, queue)
        switches[name].run(500, 16)
    spent: dict[str, list[float]] = defaultdict(list)
    try:
        for number in range(max(3, arguments.rounds)):
            for name, switch in switches.items():
                _say(f"history, round {number + 1}: {name}")
                spent[name].append(switch.run(arguments.count // 2)["cpu_us"])
    finally:
        for switch in switches.values():
            switch.stop()
    small, large = median(spent["small"]), median(spent["large"])
    return {
        "messages": sizes,
        "cpu_us": {"small": round(small, 1), "large": round(large, 1)},
        "ratio": round(large / small, 2),
    }


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _print(result: dict[str, Any]) -> None:
    print("\nParts, microseconds of CPU for one message (median):")
    for name, value in result["parts_us"].items():
        print(f"  {name:<18}{value:>8.1f}")
    print(f"  {'sum, unsigned':<18}{result['sum_us']:>8.1f}\n")
    print(ROW.format("Switch", "msg/s", "slowest", "CPU us", "limit", "ratio", "raw", "accept ms", "end to end ms"))
    for name, row in result["switch"].items():
        accept = f"{row['accept_p50_ms']:.0f} / {row['accept_p99_ms']:.0f}"
        whole = f"{row['end_to_end_p50_ms']:.0f} / {row['end_to_end_p99_ms']:.0f}"
        rates = f"{row['messages_per_second']:.0f}", f"{row['slowest_messages_per_second']:.0f}"
        costs = f"{row['cpu_us']:.0f}", f"{row['sum_us']:.0f}", row["ratio"], row["ratio_raw_sql"]
        print(ROW.format(name, *rates, *costs, accept, whole))
    print("(limit: sum of the parts; raw: ratio with raw_sql for durable; latencies: median / 99th percentile)")
    small, large = result["deciding_us"]["small"], result["deciding_us"]["large"]
    print(f"\nDeciding: {small:.0f} us with 10 routes and 10 parties, {large:.0f} us with 10 000 and 70 000")
    one = result["signing"]
    print(f"\nSigning: {one['beside_us']:.0f} us beside the key operation (weakest {one['beside_us_weakest']:.0f});"
          f" SM2 in software x{one['sm2_ratio']:.2f} of openssl's own speed")  # fmt: skip
    for name in signing.DEVICE:
        own, served = one[f"{name}_own_per_second"], one[f"{name}_served_per_second"]
        ratio = one[f"{name}_ratio"]
        print(f"  {name} through SoftHSM: {served:.0f}/s of the token's own {own:.0f}/s: x{ratio:.2f}")
    keys = result["keys"]
    print(f"Start with {keys['keys']:,} parties and keys: {keys['many_seconds']:.1f} s (slowest"
          f" {keys['many_seconds_slowest']:.1f}), with none {keys['none_seconds']:.1f} s; choosing one:"
          f" {keys['choosing_us']:.2f} us, of a single one {keys['choosing_us_of_one']:.2f} us")  # fmt: skip
    if "history" in result:
        cpu, sizes = result["history"]["cpu_us"], result["history"]["messages"]
        print(f"History: {cpu['small']:.0f} us with {sizes['small']:,} stored, {cpu['large']:.0f} us with"
              f" {sizes['large']:,}: x{result['history']['ratio']:.2f}")  # fmt: skip
    print(f"\nWritten to {OUT}")


if __name__ == "__main__":
    main()
