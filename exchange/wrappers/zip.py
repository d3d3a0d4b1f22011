"""A zip package: one XML message, and beside it what belongs to it, such as PDF files.

So the goods-declaration client sends them, and so they stand in DXP's ``Data``, there also as base64 in an element
``Zip``. Nothing is ever unpacked to disk. Only the message is decompressed, byte by byte up to a limit; of the rest
names and sizes are looked at. What only somebody with bad intentions packs is refused.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Final

from attrs import evolve

from exchange.archives import danger, listed
from exchange.errors import Unreadable
from exchange.options import Strict
from exchange.wrappers import Label, Wrapped
from exchange.wrappers import _codes as codes
from exchange.wrappers._parts import read_whole

LIMIT_ENTRIES: Final = 100
LIMIT_DIRECTORY: Final = 64 * 1024  # bytes of the list of entries
LIMIT_UNPACKED: Final = 64 << 20  # bytes of all entries, as they claim, and of the message, as it is
LIMIT_RATIO: Final = 100  # a message may be so many times larger than it is packed
FREE: Final = 1 << 20  # bytes up to which the ratio doesn't matter
CHUNK: Final = 64 * 1024

_END: Final = b"PK\x05\x06"
_BEGINS: Final = b"PK\x03\x04"
_WORKBOOK: Final = b"[Content_Types].xml"
_ARCHIVES: Final = (".zip", ".rar", ".7z", ".gz", ".tgz", ".bz2", ".xz", ".tar", ".jar", ".cab", ".arj", ".iso")
_PROGRAMS: Final = (".exe", ".dll", ".bat", ".cmd", ".com", ".scr", ".vbs", ".js", ".jse", ".ps1", ".msi", ".lnk")
_BROKEN: Final = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, LookupError, ValueError,
    NotImplementedError, RuntimeError, OSError,
)  # fmt: skip


class Options(Strict):
    """What a row that writes a package may say."""

    element: bool = False  # write <Zip>base64</Zip>, as it stands in DXP's Data


class Zip:
    """The wrapper zip."""

    name: ClassVar[str] = "zip"
    begins: ClassVar[Collection[bytes]] = (_BEGINS, _END, b"Zip")
    answers: ClassVar[str] = ""
    Options: ClassVar[type[Strict]] = Options

    def open(self, payload: bytes) -> Wrapped | None:
        """Read a package. Raises Unreadable (SWX-1081, SWX-1082, SWX-1084 to SWX-1086)."""
        if element := not payload.startswith(b"PK"):
            parts, root = read_whole(payload, {"Zip"})
            if root.local != "Zip":
                return None
            payload = codes.base64(parts.blob(root), "Zip")
        try:
            found = _opened(payload)
            return evolve(found, options={"element": element}) if found else None
        except Unreadable:
            if _WORKBOOK in payload:
                return None  # a damaged workbook is judged by those who read tables
            raise

    def wrap(self, inner: bytes, label: Label, options: Any) -> bytes:
        """Write a package with one entry; the same bytes every time."""
        out = io.BytesIO()
        name = label.name if label.name.lower().endswith(".xml") else f"{label.name}.xml"
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name), inner, zipfile.ZIP_DEFLATED)  # dated 1980, whenever it is
        packed = out.getvalue()
        return b"<Zip>" + b64encode(packed) + b"</Zip>" if options.element else packed


def _opened(payload: bytes) -> Wrapped | None:
    _refuse_directory(payload)
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if any(entry.filename == _WORKBOOK.decode() for entry in entries):
                return None
            _refuse_entries(entries)
            documents = [entry for entry in entries if entry.filename.lower().endswith(".xml")]
            if len(documents) != 1:
                raise codes.not_one([_shown(entry) for entry in documents])
            body = _unpacked(archive, documents[0])
    except _BROKEN as why:
        raise codes.no_package(f"it is damaged ({type(why).__name__})", "文件损坏") from None
    attachments = tuple(_shown(entry) for entry in entries if entry is not documents[0])
    return Wrapped("zip", body, name=_shown(documents[0]).rpartition("/")[2], attachments=attachments)


def _refuse_directory(payload: bytes) -> None:
    """Refuse what zipfile would need much memory for before it looks at a single entry."""
    found = listed(payload)
    if found is None:
        raise codes.no_package("its end is missing, the transfer broke off", "缺少结尾，传输可能中断")
    if found[0] > LIMIT_ENTRIES or found[1] > LIMIT_DIRECTORY:
        raise codes.dangerous(f"it has more than {LIMIT_ENTRIES} entries", f"条目超过 {LIMIT_ENTRIES} 个")


def _refuse_entries(entries: Sequence[zipfile.ZipInfo]) -> None:
    names = [entry.filename.casefold() for entry in entries]
    places = {entry.header_offset for entry in entries}
    if len(entries) > LIMIT_ENTRIES:
        raise codes.dangerous(f"it has more than {LIMIT_ENTRIES} entries", f"条目超过 {LIMIT_ENTRIES} 个")
    if len(set(names)) < len(names) or len(places) < len(entries):
        raise codes.dangerous("two entries have the same name or place", "有两个条目同名或同处")
    if sum(entry.file_size for entry in entries) > LIMIT_UNPACKED:
        raise codes.dangerous(
            f"it would unpack to over {LIMIT_UNPACKED >> 20} MB", f"解压后超过 {LIMIT_UNPACKED >> 20} MB"
        )
    for entry in entries:
        _refuse_entry(entry)


def _refuse_entry(entry: zipfile.ZipInfo) -> None:
    shown = _shown(entry)[:80]
    name, why = entry.orig_filename, danger(entry)
    if why == "outside":
        raise codes.dangerous(f"{shown!r} leads out of the folder", f"条目 {shown!r} 指向目录之外")
    if why == "link":
        raise codes.dangerous(f"{shown!r} is a link", f"条目 {shown!r} 是链接")
    if why == "encrypted":
        raise codes.no_package(f"{shown!r} is encrypted", f"条目 {shown!r} 已加密")
    if name.lower().endswith(_ARCHIVES):
        raise codes.dangerous(f"{shown!r} is a package inside the package", f"条目 {shown!r} 是嵌套的压缩包")
    if name.lower().endswith(_PROGRAMS):
        raise codes.dangerous(f"{shown!r} is a program", f"条目 {shown!r} 是程序")
    if entry.file_size > max(FREE, LIMIT_RATIO * entry.compress_size):
        raise codes.dangerous(f"{shown!r} unpacks to too many times its size", f"条目 {shown!r} 压缩比过高")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Decompress one entry; the size it claims isn't believed."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise codes.no_package(
            f"{_shown(entry)[:80]!r} isn't deflated", f"条目 {_shown(entry)[:80]!r} 的压缩方式不支持"
        )
    limit = max(FREE, LIMIT_RATIO * entry.compress_size)
    pieces, size = [], 0
    with archive.open(entry) as file:
        while piece := file.read(CHUNK):
            size += len(piece)
            if size > min(limit, LIMIT_UNPACKED):
                raise codes.dangerous("the message unpacks to too many times its size", "报文压缩比过高")
            pieces.append(piece)
    if not size:
        raise codes.empty(_shown(entry)[:80])
    return b"".join(pieces)


def _shown(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name; tools on Chinese Windows write it in GBK and don't say so."""
    name = entry.filename
    if not entry.flag_bits & 0x800:
        try:
            return name.encode("cp437").decode("gb18030")
        except UnicodeError:
            pass
    return name
