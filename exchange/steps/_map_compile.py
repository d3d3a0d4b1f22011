"""A map's YAML to rows that run, or every mistake in it with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from exchange.errors import ConfigurationError, Unreadable
from exchange.formats import Format, Schema
from exchange.steps._map_edifact import FromEdifact, ToEdifact
from exchange.steps._map_file import DROP, ELSE, ERROR, KEEP, MapFile, Row, SourceRow, TargetRow, read_map
from exchange.steps._map_json import FromJson, ToJson
from exchange.steps._map_platform import FromPlatform, ToPlatform
from exchange.steps._map_rows import Block, Condition, Line, Part, Run, Single
from exchange.steps._map_sides import Base, Look, Source, Target, keep, same
from exchange.steps._map_table import FromTable, ToTable
from exchange.steps._map_values import zone_of
from exchange.steps._map_xml import FromXml, ToXml
from exchange.yamlfile import Document, suggest

FACTS: Final = ("id", "message", "at", "receiver", "digest")
NUMBER: Final = "number"
UP: Final = "../"
At = tuple[str | int, ...]

_SOURCES: Final[Mapping[str, Callable[[SourceRow, Path], Source]]] = {
    "edifact": lambda row, file: FromEdifact(file),
    "platform_file": lambda row, file: FromPlatform(file),
    "table": lambda row, file: FromTable(file),
    "xml": lambda row, file: FromXml(row.root, file),
    "json": lambda row, file: FromJson(file),
}
_TARGETS: Final[Mapping[str, Callable[[TargetRow, Path], Target]]] = {
    "edifact": ToEdifact,
    "platform_file": ToPlatform,
    "table": ToTable,
    "xml": ToXml,
    "json": ToJson,
}


@frozen
class Compiled:
    """A map that runs."""

    file: MapFile
    source: Source
    target: Target
    zone: tzinfo
    lines: Sequence[Line]
    schema: Schema  # of the target
    schema_file: Path
    unsigned: bool  # whoever signs, signs the result


def load(path: Path) -> Compiled:
    """Compile a map. Raises ConfigurationError with every mistake."""
    document, file = read_map(path)
    problems: list[str] = []
    sides: dict[str, Any] = {}
    makers: Any = (("from", file.source, _SOURCES), ("to", file.target, _TARGETS))
    for name, row, made in makers:
        try:
            sides[name] = made[row.format](row, path.parent / row.file)
        except (ValueError, OSError, Unreadable) as why:
            problems.append(document.problem((name,), str(why)))
    if problems:
        raise ConfigurationError(problems)
    compiling = _Compiling(document, file, sides["from"], sides["to"], problems)
    lines = compiling.rows(file.rows, ("rows",), (), ())
    if not problems:
        problems += [document.problem(("rows",), f"no row fills in {place}") for place in sides["to"].missing()]
    if problems:
        raise ConfigurationError(problems)
    schema_file = path.parent / file.target.file
    format = sides["to"].format
    try:
        schema, unsigned = _unsigned(format, schema_file)
    except ValueError as why:
        raise ConfigurationError([document.problem(("to", "file"), str(why))]) from None
    return Compiled(file, sides["from"], sides["to"], zone_of(file.zone), lines, schema, schema_file, unsigned)


def _unsigned(format: Format, file: Path) -> tuple[Schema, bool]:
    """Compile the schema of a target so that a signature may be absent, where it has one."""
    try:
        return format.schema(file, unsigned=True), True
    except ValueError:
        return format.schema(file, unsigned=False), False


@frozen
class _Compiling:
    """One map on its way; mistakes are collected."""

    document: Document
    file: MapFile
    source: Source
    target: Target
    problems: list[str]

    def rows(self, rows: Sequence[Row], at: At, loops: Base, base: Base) -> list[Line]:
        """Compile rows that stand in these loops of the source and write below *base*."""
        lines = [self._row(row, (*at, number), loops, base) for number, row in enumerate(rows)]
        return [line for line in lines if line is not None]

    def _row(self, row: Row, at: At, loops: Base, base: Base) -> Line | None:
        if row.rows:
            return self._block(row, at, loops, base, row.rows)
        if not row.to:
            self._mistake(at, "'to' is missing: a row writes somewhere, or has 'rows'")
            return None
        if row.each:  # several values at one place
            inner = row.model_copy(update={"each": ""})
            return self._several(row, inner, at, loops, base)
        return self._single(row, at, loops, base, self.target.put)

    def _several(self, row: Row, inner: Row, at: At, loops: Base, base: Base) -> Line | None:
        loop = self._path((*at, "each"), row.each, loops, self.source.loop)
        single = self._single(inner, at, (*loops, row.each), base, self.target.add)
        if loop is None or single is None:
            return None
        return Block(row.each, loop, row.to, same, keep, [single], row.use == "M")

    def _block(self, row: Row, at: At, loops: Base, base: Base, rows: Sequence[Row]) -> Line | None:
        odd = [name for name, given in _values_of(row) if given]
        if odd:
            self._mistake((*at, odd[0]), "a block of rows writes no value of its own")
            return None
        loop = self._path((*at, "each"), row.each, loops, self.source.loop) if row.each else None
        if row.each and loop is None:
            return None
        inner = (*loops, row.each) if row.each else loops
        try:
            enter, kept = self.target.enter(row.to, base, bool(row.each))
        except ValueError:
            self._mistake((*at, "to"), f"a block can't write to {row.to!r}")
            return None
        where = self._where(row, at, inner)
        lines = self.rows(rows, (*at, "rows"), inner, (*base, row.to) if row.to else base)
        return Block(row.each, loop, row.to, enter, kept, lines, row.use == "M", where)

    def _single(self, row: Row, at: At, loops: Base, base: Base, compile: Callable[[str, Base], Any]) -> Line | None:
        parts = self._parts(row, at, loops)
        put = self._path((*at, "to"), row.to, base, compile)
        codes, other = self._codes(row, at)
        where = self._where(row, at, loops)
        if put is None or not parts:
            return None
        must = row.use == "M"
        return Single(
            row.to, parts, row.join, row.cut, codes, other, row.shape, row.pad, must, put, where
        )  # fmt: skip

    def _parts(self, row: Row, at: At, loops: Base) -> list[Part]:
        if row.count and row.source is None:
            loop = self._path((*at, "count"), row.count, loops, self.source.loop)
            return [Part(row.count, 0, lambda run: str(sum(1 for _ in loop(run.places[-1]))))] if loop else []
        if row.source is None or row.count:
            self._mistake(at, "a row has either 'from' or 'count'")
            return []
        single = len(row.source) == 1 and isinstance(self.document.data, dict)
        parts = [
            self._part(path, (*at, "from") if single else (*at, "from", number), loops)
            for number, path in enumerate(row.source)
        ]
        return [part for part in parts if part is not None] if None not in parts else []

    def _part(self, path: str, at: At, loops: Base) -> Part | None:
        if path.startswith("="):
            text = path[1:]
            return Part(path, 0, lambda run: text)
        up = 0
        while path.startswith(UP):
            up, path = up + 1, path[len(UP) :]
        if path.startswith("$"):
            return self._fact(path, up, at, loops)
        if up and self.file.source.format == "json":
            path = f"/{path}"
        if up > len(loops):
            self._mistake(at, f"there are {len(loops)} loops around this, not {up}")
            return None
        look = self._path(at, path, loops[: len(loops) - up], self.source.look)
        return Part(path, up, _reading(look, up)) if look else None

    def _fact(self, path: str, up: int, at: At, loops: Base) -> Part | None:
        name = path[1:]
        if name == NUMBER and up < len(loops):
            return Part(path, 0, lambda run: str(run.turns[-1 - up][1]))
        known = [*FACTS, *self.file.needs, *([NUMBER] if loops else [])]
        if name not in known or name == NUMBER or up:
            self._mistake(at, f"{path!r} is not known here{suggest(name, known)}: ${', $'.join(known)}")
            return None
        return Part(path, 0, lambda run: run.facts[name])

    def _where(self, row: Row, at: At, loops: Base) -> list[Condition]:
        found = []
        for path, values in row.where.items():
            part = self._part(path, (*at, "where", path), loops)
            if part is not None:
                found.append(Condition(part, frozenset(values), ELSE in values))
        return found

    def _codes(self, row: Row, at: At) -> tuple[Mapping[str, str] | None, str]:
        table = row.codes
        if row.table:
            table = self.file.tables.get(row.table)
            if table is None or row.codes is not None:
                text = f"there is no table {row.table!r}{suggest(row.table, self.file.tables)}"
                self._mistake((*at, "table"), "either 'codes' or 'table'" if table else text)
                return None, ERROR
        if table is None:
            return None, ERROR
        other = table.get(ELSE, ERROR)
        if other not in (ERROR, KEEP, DROP) and not other.startswith("="):
            self._mistake(at, f"'*' is {ERROR}, {KEEP}, {DROP}, or = and a text")
        return {code: text for code, text in table.items() if code != ELSE}, other

    def _path(self, at: At, path: str, base: Base, compile: Callable[[str, Base], Any]) -> Any:
        try:
            return compile(path, base)
        except ValueError:
            self._mistake(at, f"{path!r} leads nowhere")
            return None

    def _mistake(self, at: At, text: str) -> None:
        self.problems.append(self.document.problem(at, text))


def _reading(look: Look, up: int) -> Callable[[Run], str]:
    if not up:
        return lambda run: look(run.places[-1])
    return lambda run: look(run.places[-1 - up])


def _values_of(row: Row) -> list[tuple[str, Any]]:
    return [
        ("from", row.source), ("count", row.count), ("codes", row.codes), ("table", row.table), ("as", row.shape),
        ("pad", row.pad), ("join", row.join), ("cut", row.cut),
    ]  # fmt: skip
