"""Zip archives, looked at before anything in them is believed: how long their list is, and what leads elsewhere."""

from __future__ import annotations

import re
import struct
import zipfile
from typing import Final

ENDLESS: Final = 1 << 32
_END: Final = b"PK\x05\x06"  # of the record at the end
_END_64: Final = b"PK\x06\x07"  # before it, where the numbers are in another record
_TAIL: Final = 66_000  # bytes at the end in which the record is: it ends with a comment of at most 65 535
_RECORD: Final = 22
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def listed(payload: bytes) -> tuple[int, int] | None:
    """Return how many entries an archive claims to have, and the bytes of their list; None where its end is missing.

    zipfile reads the whole list before anybody can look at it. That of an archive in the 64-bit form is ``ENDLESS``.
    """
    at = payload.rfind(_END, max(0, len(payload) - _TAIL))
    if at < 0 or len(payload) < at + _RECORD:
        return None
    if _END_64 in payload[max(0, at - 20) : at]:
        return ENDLESS, ENDLESS
    count, size = struct.unpack_from("<HI", payload, at + 10)
    return count, size


def danger(entry: zipfile.ZipInfo) -> str:
    """Tell why an entry mustn't be unpacked: ``outside``, ``link`` or ``encrypted``; nothing where all is well."""
    name = entry.orig_filename.replace("\\", "/")
    if name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/") or "\0" in name:
        return "outside"
    if (entry.external_attr >> 16) & 0o170000 == 0o120000:
        return "link"
    return "encrypted" if entry.flag_bits & 1 else ""
