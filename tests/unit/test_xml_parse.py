"""Bytes that can't be read are refused with a code that says why; hostile ones before they cost anything."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from exchange.catalogue import SCHEMAS, load
from exchange.errors import Unreadable
from exchange.formats._xml_parse import LIMIT_ATTRIBUTES, parse

VALID = SCHEMAS / "customs" / "ceb" / "samples" / "valid"
CHINESE = "中文订单回执测试"
LAUGHS = "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(payload: bytes) -> str:
    with pytest.raises(Unreadable) as why:
        parse(payload)
    assert why.value.en.isascii()
    assert "请" in why.value.zh
    return why.value.code


@pytest.mark.parametrize(
    "payload",
    [
        b"<a><b>x</b>",
        b"<a><b></a></b>",
        b"<a",
        b"<a/>rest",
        b"<x:a/>",
        b'<a b="1" b="2"/>',
        b"<a>\0</a>",
        b"  <?xml version='1.0'?><a/>",
    ],
)
def test_malformed_xml_is_told_with_line_and_column(payload: bytes) -> None:
    assert refused(payload) == "SWX-1011"
    with pytest.raises(Unreadable, match=r"line 1, column \d+"):
        parse(payload)


@pytest.mark.parametrize("payload", [b"", b"   ", b"\r\n\t", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe \0\n\0"])
def test_nothing_is_empty(payload: bytes) -> None:
    assert refused(payload) == "SWX-1012"
    with pytest.raises(Unreadable) as why:
        load().open(payload)
    assert why.value.code == "SWX-1012"


def test_no_format_claims_what_does_not_begin_like_one() -> None:
    for payload in (b"ISA*00*", b"%PDF-1.7", b"hello"):
        with pytest.raises(Unreadable) as why:
            load().open(payload)
        assert why.value.code == "SWX-1010"


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE a><a/>",
        '<!-- x --><?p q?>\n<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        f'<!DOCTYPE a [<!ENTITY a "ha">{LAUGHS}]><a b="&i;">&i;</a>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/evil.dtd"><a/>',
    ],
    ids=["bare", "behind-comments", "billion-laughs", "external-entity", "external-dtd"],
)
def test_a_doctype_is_refused_in_every_charset(text: str, charset: str) -> None:
    assert refused(text.encode(charset)) == "SWX-1013"


def test_an_entity_without_a_doctype_is_refused_the_same_way() -> None:
    assert refused(b"<a>&nobody;</a>") == "SWX-1013"
    assert parse(b"<a>&lt;&amp;&#20013;</a>").text == "<&中"


def test_a_doctype_hidden_in_an_exotic_charset_is_refused_too() -> None:
    hidden = b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a +AFs-<!ENTITY x "y">]><a>&x;</a>'
    assert refused(hidden) == "SWX-1013"


def test_the_word_doctype_in_a_text_is_only_a_word() -> None:
    assert parse(b"<a><![CDATA[<!DOCTYPE a>]]></a>").text == "<!DOCTYPE a>"
    assert parse(b"<!-- <!DOCTYPE a> --><a/>").tag == "a"


@pytest.mark.parametrize(
    ("declared", "charset"),
    [
        ("UTF-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("GB18030", "gb18030"),
        ("gb18030", "gb18030"),
        ("GBK", "gbk"),
        ("GB2312", "gb2312"),
        ("gb2312", "gb2312"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16", "utf-16-be"),
        ("Big5", "big5"),
    ],
)
def test_charsets_in_use_are_read_as_declared(declared: str, charset: str) -> None:
    text = "測試" if charset == "big5" else CHINESE
    assert parse(f'<?xml version="1.0" encoding="{declared}"?><a>{text}</a>'.encode(charset)).text == text


@pytest.mark.parametrize("declared", ["GB18030", "GBK", "GB2312", "gb2312"])
def test_rare_characters_are_read_under_every_name_of_the_family(declared: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?><a>镕㙍𠮷</a>'
    assert parse(text.encode("gb18030")).text == "镕㙍𠮷"
    assert refused(text.replace("镕㙍𠮷", CHINESE * 3).encode()) == "SWX-1014"
    assert refused(text.encode("gb18030").replace(b"</a>", b"\xff</a>")) == "SWX-1014"


@pytest.mark.parametrize(
    "payload",
    [
        f"<a>{CHINESE}</a>".encode("gb18030"),
        f'<?xml version="1.0" encoding="UTF-8"?><a>{CHINESE}</a>'.encode("gbk"),
        f'<?xml version="1.0" encoding="GB18030"?><a>{CHINESE}</a>'.encode(),
        f'<?xml version="1.0" encoding="GBK"?><a>{CHINESE * 2}</a>'.encode(),
        f'<?xml version="1.0" encoding="gb2312"?><a>{CHINESE}</a>'.encode("utf-8-sig"),
        b'<?xml version="1.0" encoding="UTF-16"?><a/>',
        b'<?xml version="1.0" encoding="KLINGON"?><a/>',
        b'<?xml version="1.0" encoding="UTF-7"?><a/>',
        "<a/>".encode("utf-32"),
    ],
)
def test_a_charset_that_is_not_what_it_says_or_not_accepted_is_refused(payload: bytes) -> None:
    assert refused(payload) == "SWX-1014"


def test_utf8_that_gbk_can_read_by_accident_is_recognised() -> None:
    payload = f'<?xml version="1.0" encoding="GB18030"?><a>{"订单" * 6}</a>'.encode()
    assert payload.decode("gb18030")  # it decodes, into rubbish
    with pytest.raises(Unreadable, match="its bytes are UTF-8"):
        parse(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"<a>" * 100_000 + b"</a>" * 100_000,
        b"<a>" * 300 + b"</a>" * 300,
        b"<a " + b" ".join(b'a%d="1"' % number for number in range(200_000)) + b"/>",
        b"<r><a " + b" ".join(b"xmlns:a%d='u'" % number for number in range(20_000)) + b"/></r>",
        ("<a " + " ".join(f'a{number}=">"' for number in range(20_000)) + "/>").encode("utf-16"),
        b"<a>" + b"x" * 11_000_000 + b"</a>",
        b'<a b="' + b"x" * 11_000_000 + b'"/>',
        b"<a><!--" + b"x" * 11_000_000 + b"--></a>",
        b"<" + b"a" * 100_000 + b"/>",
        b"<a>" + b"<b/>" * 4_000_001 + b"</a>",
    ],
    ids=[
        "deep",
        "300-levels",
        "attributes",
        "namespaces",
        "utf16-attributes",
        "text",
        "value",
        "comment",
        "name",
        "tags",
    ],
)
def test_what_is_beyond_the_limits_is_refused_quickly(payload: bytes) -> None:
    started = time.process_time()
    assert refused(payload) == "SWX-1015"
    assert time.process_time() - started < 2


def test_as_many_attributes_as_allowed_pass_and_long_texts_are_no_tags() -> None:
    attributes = b" ".join(b'a%d="%s"' % (number, b"x" * 300) for number in range(LIMIT_ATTRIBUTES))
    assert len(parse(b"<a %s/>" % attributes).attrib) == LIMIT_ATTRIBUTES
    assert parse(b"<a>%s</a>" % (b'b="1" ' * 20_000)).text


@pytest.mark.parametrize("path", sorted(VALID.glob("*Message.xml")), ids=lambda path: path.name)
def test_every_truncation_is_malformed_or_empty(path: Path) -> None:
    payload = path.read_bytes().rstrip()
    for length in range(0, len(payload), 97):
        assert refused(payload[:length]) == ("SWX-1011" if length else "SWX-1012")


def test_a_patient_doctype_check_is_linear() -> None:
    started = time.process_time()
    assert refused(b"<!-- x -->" * 200_000) == "SWX-1011"
    assert refused(b"<?x?><!--" * 200_000) == "SWX-1011"
    assert time.process_time() - started < 2
