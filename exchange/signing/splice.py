"""Put an element into a document, as its root's last child or at a place in it: bytes are inserted, none is changed."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from attrs import frozen

from exchange.signing.faults import UNFIT, bad

# Encodings in which the bytes of "<", ">", "/" and blanks are never part of another character.
_ENCODINGS: Final = re.compile(
    r"utf-?8|(us-)?ascii|gb18030|gbk|gb2312|cp936|big5|iso-8859-\d+|windows-125\d", re.IGNORECASE
)
_BLANKS: Final = b" \t\r\n"


def require_spliceable(encoding: str) -> None:
    """Raise BadSignature ``SWX-1038`` where a document in this encoding can't take ASCII bytes."""
    if not _ENCODINGS.fullmatch(encoding):
        raise bad(
            UNFIT, f"its encoding is {encoding}: send UTF-8 or GB18030", f"编码为 {encoding}，请使用 UTF-8 或 GB18030"
        )


@frozen
class Place:
    """The place in front of an element, told by how it's written and how many written so begin before it."""

    name: str
    number: int
    encoding: str


def splice(document: bytes, name: bytes, element: bytes, place: Place | None = None) -> bytes:
    """Return *document*, whose root is written *name*, with *element* at a *place*, or as the root's last child.

    *document* must be well-formed, without comments and processing instructions in the root. Raises BadSignature
    ``SWX-1038`` where the place or the root's end isn't found: another document, or an encoding such as UTF-16.

    >>> splice(b"<a><b/></a >", b"a", b"<s/>"), splice(b"<a x='1' /><!-- </a> -->", b"a", b"<s/>")
    (b'<a><b/><s/></a >', b"<a x='1' ><s/></a><!-- </a> -->")
    >>> splice(b"<a><b/><b/></a>", b"a", b"<s/>", Place("b", 1, "UTF-8"))
    b'<a><b/><s/><b/></a>'
    """
    if place is not None:
        start = _offset(document, place)
        return b"".join((document[:start], element, document[start:]))
    end = _end_of_root(document, name)
    start = document.rfind(b"<", 0, end)
    tag = document[start:end]
    if re.fullmatch(rb"</" + re.escape(name) + rb"\s*>", tag):
        return b"".join((document[:start], element, document[start:]))
    if re.fullmatch(rb"<" + re.escape(name) + rb"(\s.*)?/>", tag, re.DOTALL):
        return b"".join((document[: end - 2], b">", element, b"</", name, b">", document[end:]))
    raise bad(UNFIT, "the end of its root isn't found; is it UTF-16?", "找不到根元素的结束标记；是否为 UTF-16 编码？")


def _offset(document: bytes, place: Place) -> int:
    """Return the offset of a place.

    The text is searched and not the bytes: "]" of "]]>" may be the end of another character. CDATA and the comments
    around the root may hold anything.
    """
    encoding = "gb18030" if place.encoding.lower() in ("gb2312", "gbk", "cp936") else place.encoding
    token = re.compile(rf"<!--.*?-->|<!\[CDATA\[.*?]]>|<(?P<tag>{re.escape(place.name)})(?=[\s/>])", re.DOTALL)
    try:
        text = document.decode(encoding)
        tags = (found.start() for found in token.finditer(text) if found["tag"])
        start = next(islice(tags, place.number, None), -1)
        before = text[: max(start, 0)].encode(encoding)
    except (UnicodeError, LookupError):
        start, before = -1, b""
    if start < 0 or not document.startswith(before):
        raise bad(
            UNFIT,
            f"the place of its signature, in front of {place.name}, isn't found",
            f"找不到 {place.name} 之前的签名位置",
        )
    return len(before)


def _end_of_root(document: bytes, name: bytes) -> int:
    """Return the offset behind the root's last tag, after which come only blanks and comments."""
    end = _trimmed(document, len(document))
    while document.endswith(b"-->", 0, end) and not name.endswith(b"--"):  # </odd--> is an end tag
        end = _trimmed(document, document.rfind(b"<!--", 0, end - 3))
    return end


def _trimmed(document: bytes, end: int) -> int:
    """Return *end* moved in front of the blanks before it, piece by piece: a document may be large."""
    while end > 0:
        piece = document[max(0, end - 1024) : end]
        kept = len(piece.rstrip(_BLANKS))
        end -= len(piece) - kept
        if kept:
            break
    return end
