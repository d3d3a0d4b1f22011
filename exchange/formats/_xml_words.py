"""What a finding says: code, English and Chinese for each rule an XSD can set, and how values are masked.

In the texts, ``what`` is the field's label and name, ``limit`` what the rule demands, ``actual`` what was found.
"""

from __future__ import annotations

import re
from typing import Final

EMPTY: Final = "empty"  # words for a value that is too short because there is none

RULES: Final[dict[str, tuple[str, str, str]]] = {
    # the children of an element
    "required": ("SWX-1401", "{what} is required but missing: add it", "缺少必填项 {what}：请补填后重报"),
    "unexpected": ("SWX-1402", "{what} is not expected here: remove it", "此处不应出现 {what}：请删除后重报"),
    "order": (
        "SWX-1403",
        "{what} is out of order, it belongs {limit}: move it",
        "{what} 的顺序不对，应{limit}：请调整后重报",
    ),
    "occurs": (
        "SWX-1404",
        "{what} may occur {limit} times at most, occurs {actual} times: split the message or remove some",
        "{what} 最多 {limit} 个，现为 {actual} 个：请拆分或删减后重报",
    ),
    "text": (
        "SWX-1405",
        "there is text between the parts of {what}: remove it",
        "{what} 的各项之间不允许有文字：请删除后重报",
    ),
    # attributes
    "attribute": ("SWX-1406", "attribute {what} is required but missing: add it", "缺少属性 {what}：请补填后重报"),
    "superfluous": ("SWX-1407", "attribute {what} is not expected here: remove it", "不应有属性 {what}：请删除后重报"),
    # values
    "length": (
        "SWX-1411",
        "{what} must be exactly {limit} characters long, is {actual}: correct it",
        "{what} 应为 {limit} 个字符，现为 {actual} 个：请更正后重报",
    ),
    "minLength": (
        "SWX-1412",
        "{what} must be at least {limit} characters long, is {actual}: complete it",
        "{what} 至少 {limit} 个字符，现为 {actual} 个：请填写完整后重报",
    ),
    EMPTY: ("SWX-1412", "{what} must not be empty: fill it in", "{what} 不得为空：请填写后重报"),
    "maxLength": (
        "SWX-1413",
        "{what} must be at most {limit} characters long, is {actual}: shorten it",
        "{what} 最长 {limit} 个字符，现为 {actual} 个：请缩短后重报",
    ),
    "pattern": ("SWX-1414", "{what} must have the form {limit}: correct it", "{what} 的格式应为 {limit}：请更正后重报"),
    "enumeration": ("SWX-1415", "{what} must be one of {limit}: correct it", "{what} 只能取 {limit}：请更正后重报"),
    "fixed": ("SWX-1416", "{what} must be {limit}: correct it", "{what} 应为 {limit}：请更正后重报"),
    "type": ("SWX-1421", "{what} must be {limit}: correct it", "{what} 应为{limit}：请更正后重报"),
    "totalDigits": (
        "SWX-1422",
        "{what} must have at most {limit} digits: shorten it",
        "{what} 最多 {limit} 位数字：请更正后重报",
    ),
    "fractionDigits": (
        "SWX-1423",
        "{what} must have at most {limit} decimal places: round it",
        "{what} 最多 {limit} 位小数：请更正后重报",
    ),
    "minInclusive": (
        "SWX-1424",
        "{what} must be at least {limit}: correct it",
        "{what} 不得小于 {limit}：请更正后重报",
    ),
    "maxInclusive": ("SWX-1424", "{what} must be at most {limit}: correct it", "{what} 不得大于 {limit}：请更正后重报"),
    "minExclusive": ("SWX-1424", "{what} must be more than {limit}: correct it", "{what} 应大于 {limit}：请更正后重报"),
    "maxExclusive": ("SWX-1424", "{what} must be less than {limit}: correct it", "{what} 应小于 {limit}：请更正后重报"),
    # whatever else
    "schema": ("SWX-1499", "{what} breaks its schema: {limit}", "{what} 不符合报文规范（{limit}）：请更正后重报"),
}

TYPES: Final[dict[str, tuple[str, str]]] = {
    "decimal": ("a number", "数字"),
    "int": ("a whole number below 2147483648", "整数（小于 2147483648）"),
    "integer": ("a whole number", "整数"),
    "boolean": ("true or false", " true 或 false"),
    "date": ("a date, YYYY-MM-DD", "日期（YYYY-MM-DD）"),
    "dateTime": ("an instant, YYYY-MM-DDThh:mm:ss", "时间（YYYY-MM-DDThh:mm:ss）"),
    "base64Binary": ("Base64", " Base64 编码"),
    "anyURI": ("a URI", " URI"),
}

SHORT: Final = 40  # characters of a value that a finding shows
_PERSONAL = re.compile(r"(?<![0-9])(?:1[3-9][0-9]{9}|[0-9]{17}[0-9Xx]|[0-9]{15})(?![0-9])")  # telephone, identity card


def masked(value: str, *, personal: bool) -> str:
    """Shorten a value to 40 characters, and hide what may tell who somebody is.

    >>> masked("张三丰", personal=True), masked("call 13800000000", personal=False), masked("5141", personal=False)
    ('张**', 'call 1**********', '5141')
    """
    if personal:
        value = _starred(value)
    value = _PERSONAL.sub(lambda match: _starred(match[0]), value)
    return value if len(value) <= SHORT else f"{value[: SHORT - 1]}…"


def _starred(value: str) -> str:
    return value[:1] + "*" * (len(value) - 1)
