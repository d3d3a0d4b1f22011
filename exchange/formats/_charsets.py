"""Whether bytes are text in a charset, found without keeping the text."""

from __future__ import annotations

import codecs
from typing import Final

_PIECE: Final = 1 << 20  # bytes that are decoded at a time


def is_text(payload: bytes, charset: str) -> bool:
    """Tell whether all of *payload* is text in *charset*, which must be known.

    >>> is_text("报文".encode("gb18030"), "gb18030"), is_text("报文".encode("gb18030"), "utf-8")
    (True, False)
    """
    decoder = codecs.getincrementaldecoder(charset)()
    try:
        for start in range(0, len(payload), _PIECE):
            decoder.decode(payload[start : start + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
