"""What formats without a schema language of their own find wrong, as values and in words."""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from exchange.formats._xml_words import EMPTY, RULES, masked
from exchange.model import Finding

LIMIT: Final = 50  # findings in one explanation

Limit = str | tuple[str, str]  # the same in both languages, or English and Chinese

_WORDS: Final[dict[str, tuple[str, str, str]]] = RULES | {
    # platform files
    "pair": (
        "SWX-1451",
        "{what} or {limit} is required, both are missing: fill in one",
        "{what} 与 {limit} 必须至少填写一项：请补填后重报",
    ),
    "unknown": (
        "SWX-1452",
        "{what} is not in the record table, nothing about it was checked: compare with the specification",
        "记录表中没有 {what}，未作检查：请对照规范核对",
    ),
    "surplus": (
        "SWX-1453",
        "{what} has fields behind field {limit}, the last one known, unchecked: compare with the specification",
        "{what} 在已知的最后一个字段（第 {limit} 个）之后还有内容，未作检查：请对照规范核对",
    ),
    "total": (
        "SWX-1454",
        "{what} says {limit}, but the file has {actual} records: check that it is complete and send it again",
        "{what} 写明 {limit}，文件实有 {actual} 条记录：请检查文件是否完整后重报",
    ),
    # files that are carried as they are
    "bytes": (
        "SWX-1475",
        "the file has {actual} bytes, and {limit} were agreed on: send less in one file",
        "文件有 {actual} 字节，约定不超过 {limit} 字节：请分成较小的文件",
    ),
    "begins": (
        "SWX-1476",
        "the file doesn't begin with {limit}: it is of another kind, or damaged; send the right one as it is",
        "文件不以 {limit} 开头：与文件名所示的类型不符，或已损坏；请重新发送原文件",
    ),
    "charset": (
        "SWX-1477",
        "the file is no text in {limit}: save it in one of them and send it again",
        "文件不是 {limit} 编码的文本：请以该编码保存后重新发送",
    ),
    # tables
    "column": (
        "SWX-1461",
        "the header row has no column {what}: add it, headings must be spelled as in the template",
        "表头缺少 {what} 列：请补上，列名须与模板一致",
    ),
    "heading": (
        "SWX-1462",
        "column {what} is not in the template: remove it or correct its heading",
        "模板中没有 {what} 列：请删除该列或更正列名",
    ),
    "differs": (
        "SWX-1463",
        "{what} differs from the first row of the same document ({limit}): all its rows must agree",
        "{what} 与同一单据首行（{limit}）不一致：同一单据各行须相同",
    ),
    "formula": (
        "SWX-1464",
        "{what} holds a formula or an error, and nothing is ever calculated here: paste the value",
        "{what} 为公式或错误值，平台不作计算：请改为数值或文本后重报",
    ),
    "mangled": (
        "SWX-1465",
        "{what} lost digits when the spreadsheet took it for a number: format the column as text and type it again",
        "{what} 被表格软件当作数字而丢失位数：请将该列设为文本格式后重新填写",
    ),
}


@frozen
class Fault:
    """One thing wrong: which rule, where, and in whose words; *limit* is what the rule demands."""

    rule: str
    pointer: str
    name: str  # what the families' lists of personal fields call it
    en: str = ""
    zh: str = ""
    line: int | None = None
    value: str = ""
    limit: Limit = ""
    actual: int = 0
    severity: Literal["error", "warning"] = "error"

    def finding(self, personal: frozenset[str]) -> Finding:
        """Put it into words, in both languages; the values of *personal* fields are masked."""
        code, en, zh = _WORDS[EMPTY if self.rule == "minLength" and not self.value else self.rule]
        en_limit, zh_limit = (self.limit, self.limit) if isinstance(self.limit, str) else self.limit
        return Finding(
            code=code,
            rule=self.rule,
            pointer=self.pointer,
            en=en.format(what=self.en or self.name, limit=en_limit, actual=self.actual),
            zh=zh.format(what=self.zh or self.name, limit=zh_limit, actual=self.actual),
            line=self.line,
            value=masked(self.value, personal=self.name in personal),
            severity=self.severity,
        )
