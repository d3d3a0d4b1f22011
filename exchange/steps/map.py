"""Transformations told as data: one YAML says how messages of one type become messages of another.

From EDIFACT, platform files, tables (CSV, Excel), XML or JSON to any of them (tables as CSV). Maps of ours stand in
``schemas/<authority>/<family>/maps/``; a route names one by its file's stem, or one of the site by its path::

    steps:
      - {name: to-events, kind: map, version: "1", map: CODECO-LogisticsEvent}
      - {name: to-orders, kind: map, version: "3", map: maps/our-orders.yaml}

A map (models in ``exchange.steps._map_file``)::

    title: {zh: 进出门报告转物流事件, en: gate report to logistics events}
    certainty: own                   # official | confirmed | own
    notes: where the correspondence comes from, and what it leaves out
    from: {type: CODECO, format: edifact, file: ../tables/CODECO-UN.yaml}   # the schema, beside the map; of several
    to:                              #   types one shape: type: [MT3101, MT3201]; of XML also its root: {root: Manifest}
      type: LogisticsEvent
      format: json
      file: ../../../neutral/event/LogisticsEvent-1.0.json
      # of XML: root: {name: CEB311Message, namespace: "http://...", prefix: ceb}
      # of EDIFACT: message: "CODECO:D:95B:UN", syntax: "UNOC:3"; of platform files and tables: charset: utf-8 | gb18030
    needs: [dxpId]                   # values that the route must give: with: {dxpId: ...}; rows read them as $dxpId
    zone: "+08:00"                   # of instants that name no offset (else this one)
    tables:                          # tables of codes that several rows use
      gate: {"34": GTIN, "36": GTOT, "*": error}
    rows:
      - {to: /version, from: "=1.0"}                        # a text
      - {to: /messageID, from: $message}                    # what the switch knows, see below
      - {to: /sender, from: [UNG/2.1, UNB/2.1]}             # of several paths the first that says something counts
      - each: EQD                    # a loop: its rows run at each turn, and their paths start at its place
        to: /events                  # ... where each turn is one more
        where: {"EQD/1": CN}         # only if that stands there; several: [CN, TE]; "*": anything, "": nothing
        rows:
          - {to: /eventID, from: [$message, $number], join: "-"}    # all of them that say something, joined
          - {to: /eventDateTime, from: "DTM[1.1=7]/1.2", as: instant, use: M}     # M: an error if nothing is there
          - {to: /equipmentEventTypeCode, from: ../BGM/1.1, table: gate}  # ../ is the loop around, or the top
          - {to: /remark, from: FTX/4.1, cut: 100}          # no more than so many characters

Paths are those of the format (``exchange.formats.edifact`` and so on; what is special about loops is told in
``_map_edifact`` and its neighbors). They may only lead where the schema has something: that is checked when the map is
read. So is that some row fills in everything that the target requires.

What a row does, in this order: ``from`` (or ``count: EQD``, the number of turns that such a loop would have), ``join``,
``cut``, ``codes``, ``as``, ``pad: "000"`` (a 7 becomes 007). The first row that has something to say about a place
counts, later ones for the same place are passed over. A row with ``each`` and no ``rows`` writes one value at each
turn. A block without ``each`` keeps rows together: they write an object of their own (``to``), or depend on ``where``.

``codes`` is a table of codes, ``table`` the name of one. What it doesn't list is an error; ``"*"`` says otherwise:
``error``, ``keep`` (as it is), ``drop`` (the row says nothing), or a text behind ``=``. ``as``: instant (ISO 8601 with
an offset), day, YYYYMMDD, YYMMDD, YYYYMMDDhhmm, YYYYMMDDhhmmss, number and integer (numbers in JSON), decimal (a number
as text), guid (always the same one for the same text), upper.

``$id`` is the sender's id of the message, ``$message`` the switch's, ``$at`` the instant when this is done,
``$receiver`` who gets the result, ``$digest`` the first 16 digits of the payload's SHA-256, ``$number`` the turn of the
loop, from 1.

Everything that is wrong with a message is told at once, by place in the source: SWX-1090 with SWX-1481 to 1474. The
result is judged by the target's schema before it goes on: SWX-1091. Nothing here computes: what a map can't say is for
``exchange.steps.xslt`` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field

from exchange.errors import ConfigurationError, Rejected
from exchange.formats import Text
from exchange.model import Finding, Parcel
from exchange.options import Strict
from exchange.steps import About, Step
from exchange.steps._map_compile import Compiled, load
from exchange.steps._map_rows import Run
from exchange.yamlfile import suggest

SCHEMAS: Final = Path(__file__).parent.parent.parent / "schemas"
SUFFIXES: Final = {"edifact": ".edi", "platform_file": ".txt", "table": ".csv", "xml": ".xml", "json": ".json"}
DIGEST: Final = 16
QUICK: Final = 64 * 1024  # bytes: some milliseconds of work


class MapOptions(Strict):
    """What a route says about a map."""

    map: Text
    values: dict[Text, str] = Field(default_factory=dict, alias="with")


class Map(Step):
    """A map in a route."""

    Options: ClassVar[type[Strict]] = MapOptions

    def __init__(self, options: MapOptions, folder: Path) -> None:
        """Find and compile the map. Raises ValueError with every mistake."""
        try:
            self._map = load(located(options.map, folder))
        except ConfigurationError as why:
            raise ValueError("\n".join(why.problems)) from None
        self._values = options.values
        needs = set(self._map.file.needs)
        if needs != set(options.values):
            asked = ", ".join(sorted(needs)) or "nothing"
            raise ValueError(f"the map needs {asked}, 'with' gives {', '.join(sorted(options.values)) or 'nothing'}")

    def slow(self, size: int) -> bool:
        """Tell that tables take their time to read, and faults in XML to be explained; so does much of anything."""
        return size > QUICK or self._map.file.source.format == "table" or self._map.file.target.format == "xml"

    def apply(self, parcel: Parcel, about: About) -> Parcel:
        """Return what the map makes of a parcel. Raises Rejected with all findings."""
        payload = transformed(self._map, self._values, parcel, about)
        file = self._map.file.target
        name = Path(parcel.name).stem + SUFFIXES[file.format]
        return Parcel(name, payload, {**parcel.headers, "type": file.type})


def transformed(map: Compiled, values: Mapping[str, str], parcel: Parcel, about: About) -> bytes:
    """Run a map. Raises Rejected."""
    source, target = map.source, map.target
    opened = source.format.open(parcel.read())
    facts = {**values, **about.facts, "digest": parcel.digest.hex()[:DIGEST]}
    run, here = Run(source, facts, map.zone, [source.root(opened)]), target.root()
    for line in map.lines:
        line.run(run, here)
    if run.findings:
        raise _refused(map, run.findings)
    try:
        payload = target.write(here, (about.message, about.delivery), about.at)
    except ValueError as why:
        raise Rejected(
            f"{map.file.target.type} can't be written: {why}; correct the message, or the map",
            f"无法生成 {map.file.target.type}：{why}；请更正报文或转换表",
            code="SWX-1091",
        ) from None
    _judge(map, payload)
    return payload


def _refused(map: Compiled, findings: list[Finding]) -> Rejected:
    return Rejected(
        f"the message can't be turned into {map.file.target.type}: every reason is listed",
        f"报文无法转换为 {map.file.target.type}，原因已全部列出",
        code="SWX-1090",
        findings=findings,
    )


def _judge(map: Compiled, payload: bytes) -> None:
    """Refuse a result that breaks the schema of its type."""
    format = map.target.format
    if not map.schema.valid(format.open(payload)):
        raise Rejected(
            f"the result breaks the schema of {map.file.target.type}: correct the message, or the map",
            f"转换结果不符合 {map.file.target.type} 的格式规范：请更正报文或转换表",
            code="SWX-1091",
            findings=format.explain(payload, map.schema_file, unsigned=map.unsigned, personal=frozenset()),
        )


def located(name: str, folder: Path) -> Path:
    """Return the file of a map: one of ours by its stem, one of the site by its path. Raises ValueError."""
    if name.endswith(".yaml"):
        return folder / name
    found = {file.stem: file for file in SCHEMAS.glob("*/*/maps/*.yaml")}
    if name not in found:
        raise ValueError(f"there is no map {name!r}{suggest(name, found)}: a file of yours ends with .yaml")
    return found[name]
