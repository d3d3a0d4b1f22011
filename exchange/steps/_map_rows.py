"""The rows of a map, compiled: what each reads, what becomes of it, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final, Protocol

from attrs import define, field, frozen

from exchange.errors import Rejected
from exchange.formats._faults import LIMIT
from exchange.formats._xml_words import masked
from exchange.model import Finding
from exchange.steps._map_sides import Enter, Keep, Put, Source, Turn
from exchange.steps._map_values import SHAPES, Value

LIMIT_OUTPUT: Final = 64 * 1024 * 1024  # characters of all values
LIMIT_VALUES: Final = 2_000_000

_WORDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "required": (
        "SWX-1481",
        "{what} is required to make {to}, and missing: fill it in",
        "生成 {to} 需要 {what}，现缺失：请补填后重报",
    ),
    "code": (
        "SWX-1482",
        "{what} has a code that can't be turned into {to}: correct it, or have the code added to the map",
        "{what} 的代码无法转换为 {to}：请更正，或在转换表中增补该代码",
    ),
    "shape": (
        "SWX-1483",
        "{what} must be {limit} to become {to}: correct it",
        "{what} 须为{limit_zh}，才能转换为 {to}：请更正后重报",
    ),
    "written": (
        "SWX-1484",
        "{what} can't be written to {to} ({limit}): correct it",
        "{what} 无法写入 {to}（{limit_zh}）：请更正后重报",
    ),
}
_ZH: Final[Mapping[str, str]] = {
    "an instant, with a time of day": "时间（含时分）",
    "a day or an instant": "日期或时间",
    "a number": "数字",
    "a whole number": "整数",
    "a number of at most 15 digits": "不超过 15 位的数字",
}


@define(eq=False)
class Run:
    """One message on its way through a map."""

    source: Source
    facts: Mapping[str, str]  # what rows may ask for by $name
    zone: tzinfo
    places: list[Any]  # what paths start at: of the message, and of each loop around
    turns: list[Turn] = field(factory=list)
    findings: list[Finding] = field(factory=list)
    values: int = 0
    size: int = 0

    def note(self, what: str, path: str, to: str, *, value: str = "", limit: str = "", up: int = 0) -> None:
        """Keep a finding, unless there are more than anybody reads."""
        if len(self.findings) >= LIMIT:
            return
        code, en, zh = _WORDS[what]
        depth = len(self.places) - up
        pointer, line = self.source.pointer(self.places[depth - 1], self.turns[: depth - 1], path)
        words = {"what": path or pointer, "to": to, "limit": limit, "limit_zh": _ZH.get(limit, limit)}
        shown = masked(value, personal=True)  # nobody told which fields are personal
        found = Finding(code, what, pointer, en.format(**words), zh.format(**words), line=line, value=shown)
        if found not in self.findings:
            self.findings.append(found)

    def count(self, value: Value) -> None:
        """Refuse to write without end. Raises Rejected."""
        self.values += 1
        self.size += len(value) if isinstance(value, str) else 8
        if self.size > LIMIT_OUTPUT or self.values > LIMIT_VALUES:
            raise Rejected(
                f"the result has more than {LIMIT_VALUES} values or {LIMIT_OUTPUT} characters: split the message",
                f"转换结果超过 {LIMIT_VALUES} 个值或 {LIMIT_OUTPUT} 个字符：请拆分报文",
                code="SWX-1092",
            )


class Line(Protocol):
    """One row: a value, or a block of rows."""

    def run(self, run: Run, here: Any) -> None:
        """Write what the row says into *here*."""


@frozen
class Part:
    """One thing that a row reads: a path, a text (``=CN``) or a fact (``$at``)."""

    path: str
    up: int
    read: Callable[[Run], str]


@frozen
class Condition:
    """What must stand at a path."""

    part: Part
    values: frozenset[str]
    present: bool  # it is enough that something stands there

    def met(self, run: Run) -> bool:
        """Tell whether it does."""
        text = self.part.read(run)
        return text in self.values or (self.present and bool(text))


@frozen
class Single:
    """A row that writes one value."""

    to: str
    parts: Sequence[Part]
    join: str | None
    cut: int | None
    codes: Mapping[str, str] | None
    other: str  # what is done with codes that aren't listed: error | keep | drop, or = and a text
    shape: str
    pad: str
    must: bool
    put: Put
    where: Sequence[Condition] = ()

    def run(self, run: Run, here: Any) -> None:
        """Read, change and write the value."""
        if not all(condition.met(run) for condition in self.where):
            return
        if self.join is None:
            part, text = next(((part, text) for part in self.parts if (text := part.read(run))), (self.parts[0], ""))
        else:
            part, text = self.parts[0], self.join.join([text for one in self.parts if (text := one.read(run))])
        if self.cut is not None:
            text = text[: self.cut].rstrip()
        if text and self.codes is not None:
            coded = self._coded(run, part, text)
            if coded is None:
                return
            text = coded
        if text:
            self._written(run, part, text, here)
        elif self.must:
            run.note("required", self.parts[0].path, self.to, up=self.parts[0].up)

    def _coded(self, run: Run, part: Part, text: str) -> str | None:
        """Return what a code becomes, or None for one that is an error."""
        found = (self.codes or {}).get(text)
        if found is not None:
            return found
        if self.other == "error":
            run.note("code", part.path, self.to, value=text, up=part.up)
            return None
        return text if self.other == "keep" else self.other[1:] if self.other.startswith("=") else ""

    def _written(self, run: Run, part: Part, text: str, here: Any) -> None:
        value: Value = text
        if self.shape:
            try:
                value = SHAPES[self.shape](text, run.zone)
            except ValueError as why:
                run.note("shape", part.path, self.to, value=text, limit=str(why), up=part.up)
                return
        if self.pad and isinstance(value, str | int):
            value = (self.pad + str(value))[-max(len(self.pad), len(str(value))) :]
        run.count(value)
        try:
            self.put(here, value)
        except ValueError as why:  # XML has no place for control characters
            run.note("written", part.path, self.to, value=text, limit=str(why), up=part.up)


@frozen
class Block:
    """Rows that belong together: at each turn of a loop, or once."""

    each: str
    loop: Callable[[Any], Iterable[Any]] | None
    to: str
    enter: Enter
    keep: Keep
    lines: Sequence[Line]
    must: bool
    where: Sequence[Condition] = ()

    def run(self, run: Run, here: Any) -> None:
        """Run the rows."""
        if self.loop is None:
            if all(condition.met(run) for condition in self.where):
                self._turn(run, here, 1)
            return
        turn = 0
        for place in self.loop(run.places[-1]):
            turn += 1
            run.places.append(place)
            run.turns.append((self.each, turn))
            if all(condition.met(run) for condition in self.where):
                self._turn(run, here, turn)
            run.places.pop()
            run.turns.pop()
        if self.must and not turn:
            run.note("required", self.each, self.to or self.each)

    def _turn(self, run: Run, here: Any, turn: int) -> None:
        inner = self.enter(here, turn)
        for line in self.lines:
            line.run(run, inner)
        self.keep(here, inner)
