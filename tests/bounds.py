"""Large and hostile messages of every format, each checked in a process of its own: ``python -m tests.bounds``.

One line of JSON tells of each what became of it, the bytes that it took over its own size, and the seconds.
"""

from __future__ import annotations

import gc
import io
import json
import os
import re
import sys
import time
import traceback
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

from exchange.catalogue import load
from exchange.errors import Rejected

CATALOGUE = load()
ON = date(2026, 1, 1)
FIFTY = 50_000_000
HEAD = b'<ceb:CEB311Message xmlns:ceb="http://www.chinaport.gov.cn/ceb" guid="1" version="1.0">'
TAIL = b"</ceb:CEB311Message>"
UNB = b"UNB+UNOA:2+TESTTERM:ZZ+TESTLINE:ZZ+261122:0900+1'"
TABLE = "进口订单导入表".encode()
EVENTS = b'{"messageType":"LogisticsEvent","version":"1.0","events":['


def sample(name: str) -> bytes:
    (path,) = [found.path for found in CATALOGUE.samples() if found.path.name == name]
    return path.read_bytes()


def repeated(payload: bytes, part: str, size: int = FIFTY) -> bytes:
    """Return a message with so many of its first *part* that it has nearly *size* bytes."""
    found = re.search(part.encode(), payload, re.DOTALL)
    assert found
    count = (size - len(payload)) // len(found[0])
    return payload[: found.end()] + found[0] * count + payload[found.end() :]


def tax_bills() -> bytes:
    return repeated(sample("CEB816Message.xml"), r"<Tax>.*?</Tax>\s*")


def tax_bills_with_a_mistake() -> bytes:
    return tax_bills().replace(b"<gnum>", b"<gnum>x")


def bay_plans() -> bytes:
    """Bay plans of 9 000 containers each."""
    group = (
        b"LOC+147+0030588::5'MEA+WT++KGM:2300'FTX+AAY+++TEXT THAT TELLS NOTHING AT ALL TO ANYBODY WHO READS'RFF+BM:1'"
        * 9_000
    )
    start, end = b"UNH+%d+BAPLIE:D:95B:UN'BGM++PLAN-02+9'DTM+137:2611220900:201'TDT+20+026E'", b"UNT+%d+%d'"
    places = b"LOC+5+CNTST:139:6'DTM+178:2611220100:201'"
    count = FIFTY // len(group)
    messages = (start % n + places + group + end % (36_007, n) for n in range(1, count + 1))
    return UNB + b"".join(messages) + b"UNZ+%d+1'" % count


def bills_of_lading() -> bytes:
    """A manifest with as many records as are allowed, and long ones."""
    payload = sample("MOT-IFCSUM--minimal.txt")
    text = b"47:" + b"A" * 250 + b"'\r\n"
    found = re.search(rb"(12:[^']*'\s*)(?=99)", payload) or re.search(rb"()(?=99:)", payload)
    assert found
    return payload[: found.end()] + text * (FIFTY // len(text)) + payload[found.end() :]


def orders(size: int, each: int = 1, *, short: bool = False) -> bytes:
    """A table of orders with so many rows *each*; all are alike, or those behind the first say what they must."""
    header, row = sample("CEB311-Table--minimal.csv").splitlines(keepends=True)
    first = row.replace(b"EX-0001", b"EX-%d")
    goods = b",".join(first.split(b",")[20:])
    order = first + (b",,,EX-%d" + b"," * 17 + goods if short else first) * (each - 1)
    return header + b"".join(order % ((n,) * each) for n in range(size // len(order)))


def dated(table: bytes) -> bytes:
    """Add a column of days that are looked up in the calendar."""
    header, _, rows = table.partition(b"\n")
    return header.strip() + ",下单日期\n".encode() + rows.replace(b",142", b",142,2024-2-29")


def workbook(sheet: bytes, texts: bytes = b"") -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(sample("CEB311-Table--numbers-and-dates.xlsx"))) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            replaced = sheet if "sheet1" in name else texts if "sharedStrings" in name else b""
            new.writestr(name, replaced or old.read(name))
        if texts and "xl/sharedStrings.xml" not in old.namelist():
            new.writestr("xl/sharedStrings.xml", texts)
    return out.getvalue()


def cargo() -> bytes:
    """A manifest of bills with some thousand containers each."""
    manifest = json.loads(sample("CargoManifest--full.json"))
    container = {"containerNumber": "EXAU0000009", "sealNumber": "S-1", "sizeType": "45G1", "packages": 3}
    manifest["bills"] = ["BILL"]
    bill = {"billNumber": "%d", "cargo": [{"sequence": n, "containers": [container] * 200} for n in range(5)]}
    before, after = json.dumps(manifest, ensure_ascii=False).encode().split(b'"BILL"')
    text = json.dumps(bill, ensure_ascii=False)
    return before + b",".join((text % n).encode() for n in range(FIFTY // len(text))) + after


def rows(row: bytes, count: int) -> bytes:
    return b"<worksheet><sheetData>" + row * count + b"</sheetData></worksheet>"


CASES: dict[str, dict[str, Callable[[], bytes]]] = {
    "xml": {
        "fifty megabytes": tax_bills,
        "fifty megabytes, all wrong": tax_bills_with_a_mistake,
        "deep": lambda: b"<a>" * 10_000_000,
        "deep and whole": lambda: b"<a>" * 250 + HEAD + b"<x/>" * 1_000_000 + TAIL + b"</a>" * 250,
        "one text": lambda: HEAD + b"x" * FIFTY + TAIL,
        "texts": lambda: HEAD + (b"<x>" + b"x" * 9_000_000 + b"</x>") * 5 + TAIL,
        "one value": lambda: b'<a b="' + b"x" * FIFTY + b'"/>',
        "a million attributes": lambda: b"<a " + b" ".join(b'a%d=""' % n for n in range(1_000_000)) + b"/>",
        "entities": lambda: b"<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '" + b"&b;" * 10_000 + b"'>]><a>&c;</a>",
        "elements nobody knows": lambda: HEAD + b"<x/>" * 3_900_000 + TAIL,
        "documents of nothing": lambda: HEAD + b"<ceb:Order/>" * 3_900_000 + TAIL,
        "a comment": lambda: HEAD + b"<!--" + b"x" * FIFTY + b"-->" + TAIL,
        "UTF-16": lambda: (HEAD.decode() + "<x>箱</x>" * 1_900_000 + TAIL.decode()).encode("utf-16"),
    },
    "edifact": {
        "fifty megabytes": bay_plans,
        "an open end": lambda: UNB + b"FTX+" + b"A" * FIFTY,
        "released for ever": lambda: UNB + b"?'" * (FIFTY // 2),
        "a million elements": lambda: UNB + b"UNH+1+BAPLIE:D:95B:UN'" + b"BGM" + b"+A" * 1_000_000 + b"'",
        "as many elements as may be": lambda: UNB + b"UNH+1+BAPLIE:D:95B:UN'" + (b"X" + b"+" * 65_000 + b"'") * 700,
        "messages of nothing": lambda: UNB + b"UNH+1+CODECO:D:95B:UN'UNT+2+1'" * 1_600_000 + b"UNZ+1+1'",
        "documents of nothing": lambda: UNB + b"UNH+1+CONTRL:D:3:UN'" + b"UCM+1'" * 3_900_000 + b"UNT+2+1'UNZ+1+1'",
        "segments of nothing": lambda: UNB + b"'" * FIFTY,
        "segments": lambda: UNB + b"UNH+1+BAPLIE:D:95B:UN'" + b"A+1'" * 3_900_000 + b"UNT+1+1'UNZ+1+1'",
        "interchanges": lambda: (UNB + b"UNZ+0+1'") * 800_000,
        "groups": lambda: UNB + b"UNG+CODECO+A+B+261122:0900+1+UN+D:95B'UNE+0+1'" * 900_000,
    },
    "platform_file": {
        "fifty megabytes": bills_of_lading,
        "an open end": lambda: b"00:IFCSUM:" + b"x" * FIFTY,
        "records of nothing": lambda: b"00:IFCSUM:" + b"'" * FIFTY,
        "as many records as may be": lambda: b"00:IFCSUM:MANIFEST:9:A:B'" + b"12:1'" * 299_000 + b"99:1'",
    },
    "json": {
        "fifty megabytes": cargo,
        "fifty megabytes, all wrong": lambda: cargo().replace(b'"S-1"', b'"S-1234567890"'),
        "as many documents as may be": lambda: EVENTS + (b'{"eventID":"%s"},' % (b"x" * 980)) * 49_990 + b"{}]}",
        "events of nothing": lambda: EVENTS + b'{"eventID":"1"},' * (FIFTY // 16) + b"{}]}",
        "numbers": lambda: EVENTS + (b"[" + b"1000," * 140_000 + b"1],") * 70 + b"{}]}",
        "objects": lambda: EVENTS + (b"[" + b"{}," * 30_000 + b"1],") * 60 + b" " * FIFTY + b"{}]}",
        "one item": lambda: EVENTS + b"[" + b"1.000," * (FIFTY // 6) + b"{}]}",
        "an open end": lambda: EVENTS + b'{"eventID":"' + b"x" * FIFTY,
        "mistakes in one line": lambda: EVENTS + b'{"eventID":"' + "箱".encode() * (FIFTY // 3) + b'"}}',
        "names": lambda: b"{" + b",".join(b'"%d":1' % n for n in range(4_000_000)) + b"}",
        "names and lists": lambda: b'{"type":"LogisticsEvent"' + (b',"a":['  + b"1," * 40_000 + b"1]") * 600 + b"}",
        "deep": lambda: EVENTS + b"[" * 100_000,
        "deep in eight megabytes": lambda: b'{"a":' * 100_000,
        "one text": lambda: b'{"a":"' + b"x" * FIFTY + b'"}',
        "escapes": lambda: EVENTS + b",".join([b'"%s"' % (b"\\u0041" * 500_000)] * 16) + b"]}",
        "one wide text": lambda: '{"messageType":"LogisticsEvent","a":"𠮷'.encode() + b"x" * 8_000_000 + b'"}',
        "one wide text in an event": lambda: EVENTS + '"𠮷'.encode() + b"x" * 8_000_000 + b'"]}',
        "wide texts": lambda: EVENTS + b",".join([b'"' + "𠮷".encode() + b"x" * 3_000_000 + b'"'] * 16) + b"]}",
        "one number": lambda: EVENTS + b"9" * 8_000_000 + b"]}",
        "documents of nothing": lambda: EVENTS + b"{}," * 99_000 + b"{}]}",
        "as many values as may be": lambda: EVENTS + b"{" + b",".join(b'"%d":[]' % n for n in range(90_000)) + b"}]}",
    },
    "table": {
        "fifty megabytes": lambda: orders(FIFTY, 60),
        "as many rows as may be": lambda: orders(30_900_000, 99, short=True),
        "fifty megabytes, a mistake at the end": lambda: orders(FIFTY, 60) + b"1,1,2,EX-0\n",
        "fifty megabytes, all wrong": lambda: orders(FIFTY, 60).replace(b",142", b",1"),
        "an order in each row": lambda: orders(FIFTY),
        "as many orders as may be": lambda: orders(10_000_000),
        "days that only a calendar knows": lambda: dated(orders(FIFTY, 60)),
        "wide keys": lambda: orders(10_000_000).replace(b"EX-", "𠮷EX-".encode() + b"x" * 800),
        "rows of one column": lambda: orders(1_000) + b"1\n" * (FIFTY // 2),
        "rows of two columns, as many as may be": lambda: b"%s,a\n" % TABLE + b"1,2\n" * 1_048_000,
        "rows of nothing": lambda: orders(1_000) + b"\n" * FIFTY,
        "empty cells": lambda: orders(1_000) + (b"1" + b"," * 499 + b"\n") * (FIFTY // 501),
        "blank cells": lambda: orders(1_000) + (b" ," * 499 + b"\n") * (FIFTY // 999),
        "one cell a line": lambda: orders(1_000) + b'"x\n",' * (FIFTY // 5),
        "one endless field": lambda: orders(1_000) + b'"' + b"x,\n" * (FIFTY // 3),
        "one line": lambda: orders(1_000) + b"x" * FIFTY,
        "long cells": lambda: orders(1_000) + (b",".join([b"x" * 30_000] * 8) + b"\n") * 200,
        "wide cells": lambda: orders(1_000) + ("𠮷" + "x" * 30_000 + ",2\n").encode() * 1_600,
        "a bomb": lambda: workbook(
            rows(b"<row><c t='inlineStr'><is><t>" + b"x" * 32_000 + b"</t></is></c></row>", 3_000)
        ),
        "rows": lambda: workbook(rows(b"<row><c><v>1</v></c></row>", 2_000_000)),
        "texts": lambda: workbook(
            rows(b"<row/>", 1), b"<sst>" + ("<si><t>𠮷" + "x" * 30_000 + "</t></si>").encode() * 2_000 + b"</sst>"
        ),
    },
}  # fmt: skip


def memory(key: str) -> int:
    """Return the bytes that this process takes now (``VmRSS``), or took at most (``VmHWM``)."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def outcome(payload: bytes) -> str:
    """Do what intake and the explaining process do with a payload."""
    try:
        opened = CATALOGUE.open(payload)
        type = CATALOGUE.identify(opened)
        envelope = CATALOGUE.read(opened, type)
        if CATALOGUE.valid(opened, type, on=ON, version=envelope.version):
            CATALOGUE.warnings(opened, type, CATALOGUE.schema(type, CATALOGUE.edition(type, ON)))
            return "valid"
    except Rejected as why:
        return why.code
    del opened, envelope  # another process explains
    gc.collect()
    findings = CATALOGUE.explain(payload, type.name, CATALOGUE.edition(type, ON).name)
    return f"invalid {len(findings)}"


def measured(make: Callable[[], bytes]) -> dict[str, object]:
    """Check what *make* makes; tell the peak of memory over what was there with the payload."""
    payload = make()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is there now
    before, began = memory("VmRSS"), time.process_time()
    became = outcome(payload)
    seconds = time.process_time() - began
    return {"size": len(payload), "over": memory("VmHWM") - before, "became": became, "seconds": round(seconds, 2)}


def main() -> None:
    """Try every case of the formats that are named."""
    for name in (
        "CEB816Message",
        "CEB311Message",
        "BAPLIE",
        "MOT-IFCSUM",
        "LogisticsEvent",
        "CargoManifest",
        "CEB311-Table",
    ):
        CATALOGUE.schema(CATALOGUE.types[name], CATALOGUE.edition(CATALOGUE.types[name], ON))
    outcome(sample("CEB816Message.xml"))
    gc.collect()
    gc.freeze()
    for format in sys.argv[1:] or CASES:
        for name, make in CASES[format].items():
            if not (child := os.fork()):
                try:
                    told = measured(make)
                except BaseException:
                    told = {"broke": traceback.format_exc()[-1000:]}
                print(json.dumps({"format": format, "case": name} | told), flush=True)
                os._exit(0)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
