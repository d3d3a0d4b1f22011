"""What an envelope's elements must be like, as a small table, and what of it isn't so: everything at once.

The rules say what the published XSDs say, with two differences: what stands in a signature isn't judged here, and a
time may be written in any of the ways that are met (nothing is ever ordered by it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from exchange.model import Finding
from exchange.wrappers._parts import Part

LIMIT: Final = 50  # findings
SHOWN: Final = 24  # characters of a value that a finding repeats
XSI: Final = "{http://www.w3.org/2001/XMLSchema-instance}"
_TIME: Final = re.compile(
    r"-?\d{4,}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"  # xs:dateTime, or with a blank
    r"|\d{14}(\d{3})?"  # as in the messages themselves
)
_ID: Final = re.compile(r"[^\W\d][\w.-]*")


@frozen
class Mark:
    """A rule for an attribute."""

    name: str
    required: bool = False
    fixed: str = ""
    longest: int = 0  # 0: as long as may be
    shortest: int = 0
    id: bool = False


@frozen
class Rule:
    """A rule for an element: how often, how long, what is in it."""

    name: str  # {namespace}name
    zh: str
    least: int = 1
    most: int = 1
    shortest: int = 0  # characters of its text
    longest: int = 0  # 0: as long as may be
    time: bool = False
    free: bool = False  # whatever stands in it isn't judged
    blob: bool = False  # its text isn't judged
    parts: tuple[Rule, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def local(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition("}")[2]


def judge(root: Part, rule: Rule, personal: frozenset[str]) -> list[Finding]:
    """List what breaks a rule, up to 50; values of *personal* fields are masked."""
    found = []
    for finding in _judged(root, rule, f"/{rule.local}", personal):
        found.append(finding)
        if len(found) == LIMIT:
            break
    return found


def _judged(part: Part, rule: Rule, pointer: str, personal: frozenset[str]) -> Iterator[Finding]:
    if rule.free:
        return
    yield from _marks(part, rule, pointer)
    if rule.blob:
        return
    if rule.parts or (not rule.longest and not rule.shortest and not rule.time):
        yield from _sequence(part, rule, pointer, personal)
        return
    text = part.text
    shown = "***" if rule.local in personal else text[:SHOWN]
    if part.parts:
        yield _finding("SWX-1402", pointer, part, f"{rule.local} holds elements", f"{rule.zh}内不得有元素")
    if len(text) < rule.shortest:
        yield _finding("SWX-1412", pointer, part, f"{rule.local} must not be empty", f"{rule.zh}不得为空")
    elif rule.longest and len(text) > rule.longest:
        en = f"{rule.local} has {len(text)} characters, {rule.longest} are allowed"
        yield _finding("SWX-1413", pointer, part, en, f"{rule.zh}为 {len(text)} 个字符，最多 {rule.longest} 个", shown)
    elif rule.time and not _TIME.fullmatch(text.strip()):
        en = f"{rule.local} is no time: write 2026-11-22T12:00:00"
        yield _finding("SWX-1421", pointer, part, en, f"{rule.zh}不是时间：应如 2026-11-22T12:00:00", shown)


def _sequence(part: Part, rule: Rule, pointer: str, personal: frozenset[str]) -> Iterator[Finding]:
    if part.text.strip():
        yield _finding("SWX-1405", pointer, part, f"{rule.local} holds stray text", f"{rule.zh}内有多余的文字")
    left = list(part.parts)
    names = {one.name for one in rule.parts}
    for one in rule.parts:
        count = 0
        while left and left[0].name == one.name:
            count += 1
            inner = left.pop(0)
            if count <= one.most:
                yield from _judged(inner, one, f"{pointer}/{one.local}{f'[{count}]' if one.most > 1 else ''}", personal)
        where = f"{pointer}/{one.local}"
        if count > one.most:
            en = f"{one.local} is there {count} times, {one.most} are allowed"
            yield _finding("SWX-1404", where, inner, en, f"{one.zh}出现 {count} 次，最多 {one.most} 次")
        elif count < one.least:
            later = any(other.name == one.name for other in left)
            code = "SWX-1403" if later else "SWX-1401"
            en, zh = ("stands in the wrong place", "位置不对") if later else ("is missing: add it", "缺失：请补上")
            yield _finding(code, where, part, f"{one.local} {en}", f"{one.zh}{zh}")
            left = [other for other in left if other.name != one.name]
    for other in left:
        code = "SWX-1404" if other.name in names else "SWX-1402"
        en, zh = f"{other.local[:SHOWN]} doesn't belong here", f"此处不应有 {other.local[:SHOWN]}"
        yield _finding(code, f"{pointer}/{other.local[:SHOWN]}", other, en, zh)


def _marks(part: Part, rule: Rule, pointer: str) -> Iterator[Finding]:
    known = {mark.name for mark in rule.marks}
    for name in part.attributes:
        if name not in known and not name.startswith(XSI):
            where = f"{pointer}/@{name[:SHOWN]}"
            yield _finding(
                "SWX-1407", where, part, f"{name[:SHOWN]} doesn't belong here", f"此处不应有属性 {name[:SHOWN]}"
            )
    for mark in rule.marks:
        where, value = f"{pointer}/@{mark.name}", part.attributes.get(mark.name)
        if value is None:
            if mark.required:
                yield _finding("SWX-1406", where, part, f"{mark.name} is missing: add it", f"缺少属性 {mark.name}")
        elif mark.fixed and value != mark.fixed:
            en, zh = f"{mark.name} must be {mark.fixed}", f"属性 {mark.name} 应为 {mark.fixed}"
            yield _finding("SWX-1416", where, part, en, zh, value[:SHOWN])
        elif len(value) < mark.shortest or (mark.longest and len(value) > mark.longest):
            en = f"{mark.name} must have {mark.shortest} to {mark.longest} characters"
            zh = f"属性 {mark.name} 应为 {mark.shortest} 至 {mark.longest} 个字符"
            yield _finding("SWX-1411", where, part, en, zh, value[:SHOWN])
        elif mark.id and not _ID.fullmatch(value.strip()):
            en, zh = f"{mark.name} must begin with a letter", f"属性 {mark.name} 应以字母开头"
            yield _finding("SWX-1414", where, part, en, zh, value[:SHOWN])


def _finding(code: str, pointer: str, part: Part, en: str, zh: str, value: str = "") -> Finding:
    return Finding(code, "envelope", pointer, en, zh, part.line, value)
