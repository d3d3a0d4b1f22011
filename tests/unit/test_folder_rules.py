"""Names that peers may use, and writing parcels into folders."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import _folder
from adapters._folder import OURS, Writer, is_safe, is_temporary, make_directory, readable, safe_name, stamped, tidy
from adapters._spool import STALE_SECONDS
from exchange.errors import Transient
from exchange.model import Parcel, Spool

# -- names --------------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_a_safe_name_stays_in_its_folder_and_is_seen(name: str) -> None:
    safe = safe_name(name)
    assert is_safe(safe)
    assert not is_temporary(safe)
    assert safe_name(safe) == safe
    assert os.path.basename(safe) == safe


@given(st.text(alphabet="a./\\~ 报\0\n\u202e", max_size=300))
def test_no_name_climbs_out(name: str) -> None:
    assert Path("/folder", safe_name(name)).resolve().parent == Path("/folder")


def test_a_long_name_keeps_its_extension() -> None:
    assert safe_name("报" * 100 + ".xml") == "报" * 65 + ".xml"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_both_charsets_are_read(name: str) -> None:
    assert readable(name.encode()) == name
    assert readable(name.encode("gb18030"), "gb18030") == name


@given(st.binary(max_size=100))
def test_any_bytes_make_a_name_that_can_be_written(raw: bytes) -> None:
    readable(raw).encode()
    readable(raw, "gb18030").encode()


def test_a_stamp_stands_before_the_extension_as_in_receipts() -> None:
    stem, _, extension = stamped("Successed_浙B5Z502.xml").rpartition(".")
    assert extension == "xml"
    assert len(stem.rpartition("_")[2]) == 21
    assert len(stamped("x" * 255).encode()) <= 255


# -- writing ------------------------------------------------------------------------------------------------------


def bodies(directory: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in directory.iterdir())


async def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"theirs")
    writer = Writer(make_directory)
    await asyncio.gather(*(writer.put(tmp_path, Parcel("a.xml", b"%d" % n)) for n in range(100)))
    assert (tmp_path / "a.xml").read_bytes() == b"theirs"
    assert bodies(tmp_path) == sorted([b"theirs", *(b"%d" % n for n in range(100))])


async def test_a_file_appears_only_when_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    synced = os.fsync

    def watched(handle: int) -> None:
        seen.append([path.name for path in tmp_path.iterdir() if not is_temporary(path.name)])
        synced(handle)

    monkeypatch.setattr(os, "fsync", watched)
    await Writer(make_directory).put(tmp_path, Parcel("a.xml", b"body"))
    assert seen == [[], ["a.xml"]]  # the file, then the directory


async def test_one_bad_parcel_of_a_batch_fails_alone(tmp_path: Path) -> None:
    writer = Writer(make_directory)
    gone = Spool(tmp_path / "gone", 5, b"")
    results = await asyncio.gather(
        writer.put(tmp_path / "in", Parcel("bad.xml", gone)),
        writer.put(tmp_path / "in", Parcel("good.xml", b"body")),
        return_exceptions=True,
    )
    assert isinstance(results[0], Transient)
    assert results[1] is None
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["good.xml"]


async def test_a_disk_without_hard_links_is_served_by_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(_folder.os, "link", unsupported)
    writer = Writer(make_directory)
    for body in (b"one", b"two"):
        await writer.put(tmp_path, Parcel("a.xml", body))
    assert bodies(tmp_path) == [b"one", b"two"]


def test_old_unfinished_files_of_ours_are_removed_and_no_others(tmp_path: Path) -> None:
    long_ago = time.time() - STALE_SECONDS - 10
    for name, at in ((f"{OURS}1.tmp", long_ago), (f"{OURS}2.tmp", time.time()), ("theirs.tmp", long_ago)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (at, at))
    tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{OURS}2.tmp", "theirs.tmp"]
