"""What maps cost: ``python -m benchmarks.maps`` prints messages per second of CPU, for maps of ours.

Each map turns one of its samples from bytes to bytes: read, mapped, written, judged by the schema of the target.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from benchmarks.edifact import rate
from exchange.catalogue import SCHEMAS, load
from exchange.model import Parcel, Party
from exchange.steps import About
from exchange.steps.map import Map, MapOptions

SAMPLES = {
    "CODECO-LogisticsEvent": "smdg/containers/samples/valid/CODECO.edi",
    "MTReceipt-LogisticsEvent": "customs/manifest/samples/valid/MTReceipt.xml",
    "MOT-IFCSUM-CargoManifest": "mot/platform/samples/valid/MOT-IFCSUM--full-gbk.txt",
    "CEB311-Table-CEB311Message": "customs/ceb-table/samples/valid/CEB311-Table--full-utf8-bom.csv",
    "CEB311Message-CEB311-Table": "customs/ceb/samples/valid/CEB311Message.xml",
    "LogisticsEvent-IFTSTA": "neutral/event/samples/valid/LogisticsEvent--loaded-and-departed.json",
}
GIVEN = {"CEB311-Table-CEB311Message": {"dxpId": "DXPENT0000000001"}, "LogisticsEvent-IFTSTA": {"sender": "SWITCH"}}
PARTNER = Party("PARTNER", "port")


def measure() -> dict[str, tuple[int, float, float]]:
    """Measure, for each map: bytes of the sample, messages per second, milliseconds to read the map."""
    catalogue, found = load(), {}
    for name, file in SAMPLES.items():
        payload = (SCHEMAS / file).read_bytes()
        opened = catalogue.open(payload)
        type = catalogue.identify(opened)
        about = About(catalogue.read(opened, type), type, PARTNER, 1_795_312_800_000_000, 42)
        began = time.process_time()
        options = MapOptions.model_validate({"map": name, "with": GIVEN.get(name, {})})
        map = Map(options, Path())
        took = time.process_time() - began
        found[name] = len(payload), rate(partial(map.apply, Parcel(file, payload), about)), 1000 * took
    return found


if __name__ == "__main__":
    for name, (size, speed, took) in measure().items():
        print(f"{name:<28}{size:>7} bytes {speed:>8,.0f} messages/s   read in {took:.0f} ms")
