"""What a finding about EDIFACT says: code, English and Chinese for each kind of fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from exchange.errors import ConfigurationError
from exchange.formats import Opened
from exchange.formats._edifact_envelope import Fault
from exchange.formats._edifact_schema import Schema
from exchange.formats._xml_words import masked
from exchange.model import Finding
from exchange.yamlfile import read

LIMIT: Final = 50
NAMES: Final = Path(__file__).parent.parent.parent / "schemas" / "edifact" / "names.yaml"
_SEGMENT: Final = re.compile(r"(?:^|/)([A-Z]{3})(?:\[[0-9]+\])?(?:/[0-9.]+)?$")

WORDS: Final[Mapping[str, tuple[str, str, str]]] = {
    # segments
    "segment": ("SWX-1401", "segment {what} is required but missing: add it", "缺少必需的段 {what}：请补填后重报"),
    "unexpected": (
        "SWX-1402",
        "this message has no segment {what}: remove it",
        "本报文没有段 {what}：请删除后重报",
    ),
    "order": (
        "SWX-1403",
        "segment {what} may not stand here: move it to where the message structure has it",
        "段 {what} 的位置不对：请按报文结构调整后重报",
    ),
    "occurs": (
        "SWX-1404",
        "{what} may occur {limit} times at most, this is number {actual}: remove some or split the message",
        "{what} 最多出现 {limit} 次，此为第 {actual} 次：请删减或拆分后重报",
    ),
    # elements
    "element": ("SWX-1401", "{what} is required but empty: fill it in", "{what} 为必填项，现为空：请补填后重报"),
    "short": (
        "SWX-1412",
        "{what} must be at least {limit} characters long, is {actual}: complete it",
        "{what} 至少 {limit} 个字符，现为 {actual} 个：请填写完整后重报",
    ),
    "long": (
        "SWX-1413",
        "{what} must be at most {limit} characters long, is {actual}: shorten it",
        "{what} 最长 {limit} 个字符，现为 {actual} 个：请缩短后重报",
    ),
    "value": ("SWX-1415", "{what} must be one of {limit}: correct it", "{what} 只能取 {limit}：请更正后重报"),
    "day": ("SWX-1414", "{what} must have 6 or 8 digits: correct it", "{what} 应为 6 位或 8 位数字：请更正后重报"),
    "number": ("SWX-1421", "{what} must be a number: correct it", "{what} 应为数字：请更正后重报"),
    "letters": ("SWX-1421", "{what} must not have digits: correct it", "{what} 不得含数字：请更正后重报"),
    "constituents": (
        "SWX-1437",
        "{what} has {actual} parts, {limit} are allowed: remove what is too much",
        "{what} 有 {actual} 项，最多 {limit} 项：请删除多余的项后重报",
    ),
    "trailing": (
        "SWX-1436",
        "{what} ends with separators that nothing follows: leave them out",
        "{what} 末尾有多余的分隔符：请删除后重报",
    ),
    # the envelope
    "count": (
        "SWX-1431",
        "{what} says {value!r}, counted were {limit}: correct the program that counts",
        "{what} 写的是 {value!r}，实际为 {limit}：请更正计数后重报",
    ),
    "reference": (
        "SWX-1432",
        "{what} repeats the reference as {value!r}, it began with {limit!r}: make them equal",
        "{what} 的参考号为 {value!r}，而开头为 {limit!r}：请保持一致后重报",
    ),
    "mixed": (
        "SWX-1433",
        "messages in groups and messages without are mixed: use groups for all or for none",
        "成组的报文与未成组的报文混用：请统一后重报",
    ),
    "twice": (
        "SWX-1434",
        "the reference {value!r} is used twice in this file: give each its own",
        "参考号 {value!r} 在本文件中重复：请使用不同的参考号后重报",
    ),
    "trailer": (
        "SWX-1438",
        "{what} is missing: the interchange may be cut off; send it again, complete",
        "缺少 {what}，交换可能不完整：请重新发送完整的报文",
    ),
    "outside": (
        "SWX-1438",
        "segment {what} stands outside of any message: remove it, or begin the message with UNH",
        "段 {what} 不在任何报文之内：请删除，或以 UNH 开始报文后重报",
    ),
    "nothing": ("SWX-1438", "there is no message in it: send at least one", "其中没有报文：请至少填一份报文后重报"),
    "syntax": (
        "SWX-1439",
        "syntax {value!r} is not supported: use UNOA to UNOK, UNOX or UNOY, version 1 to 4",
        "不支持语法 {value!r}：请使用 UNOA–UNOK、UNOX 或 UNOY，版本 1–4",
    ),
    "version": (
        "SWX-1439",
        "there are no tables for {value!r}: use a version that is accepted here",
        "没有 {value!r} 的规范：请使用受理的版本",
    ),
    "character": (
        "SWX-1435",
        "{value!r} is no character of {limit}: write it otherwise, or declare another syntax level",
        "{limit} 不允许字符 {value!r}：请改写，或声明其他语法级别后重报",
    ),
    "charset": (
        "SWX-1435",
        "the bytes are not in the character set of {limit}: declare the one they are in (UNOY is UTF-8)",
        "字节与 {limit} 规定的字符集不符：请声明实际的字符集（UNOY 为 UTF-8）后重报",
    ),
}


def explain(opened: Opened, schema: Schema, personal: frozenset[str]) -> list[Finding]:
    """List up to 50 findings, by segment."""
    found = list(dict.fromkeys(islice(schema.faults(opened), 10 * LIMIT)))
    return [_worded(fault, personal) for fault in sorted(found, key=lambda fault: fault.line)[:LIMIT]]


def _worded(fault: Fault, personal: frozenset[str]) -> Finding:
    code, en, zh = WORDS[fault.what]
    found = _SEGMENT.search(fault.pointer)
    tag = found[1] if found else ""
    hidden = fault.what not in _OPEN and bool({tag, f"{tag}/{fault.pointer.rpartition('/')[2]}"} & personal)
    value = masked(fault.value, personal=hidden)
    shown = {"value": value, "limit": fault.limit[:80], "actual": fault.actual}
    en_name, zh_name = _named(tag, fault)
    return Finding(
        code=code,
        rule=fault.code,
        pointer=fault.pointer,
        en=en.format(what=en_name, **shown),
        zh=zh.format(what=zh_name, **shown),
        line=fault.line,
        value=value if fault.what not in ("segment", "element", "order", "unexpected") else "",
    )


_OPEN: Final = frozenset(("segment", "element", "order", "unexpected", "count", "reference", "twice"))


def _named(tag: str, fault: Fault) -> tuple[str, str]:
    """Name the segment or element in two languages, its place in front: NAD/2.1 (party)."""
    place = fault.pointer.rpartition("/")[2]
    at = f"{tag}/{place}" if place[:1].isdigit() and tag else tag or place
    number = fault.value if fault.what == "element" else ""
    zh, en = names().get(number) or names().get(tag) or ("", "")
    return (f"{at} ({en})" if en else at), (f"{at}（{zh}）" if zh else at)


@cache
def names() -> Mapping[str, tuple[str, str]]:
    """Return the names (Chinese, English) of segments and data elements."""
    try:
        found = read(NAMES.read_text("utf-8"), NAMES.name).data
    except (OSError, ConfigurationError):  # names are a comfort
        return {}
    return {str(key): (str(zh), str(en)) for key, (zh, en) in found.items()}
