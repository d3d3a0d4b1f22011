"""Bodies that arrive piece by piece."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters._spool import STALE_SECONDS, Spooler, discard
from exchange.errors import StoreError, TooLarge
from exchange.model import Spool


@pytest.fixture
def spooler(tmp_path: Path) -> Spooler:
    return Spooler(tmp_path / "spool", spool_bytes=100, limit_bytes=1000)


def left_over(spooler: Spooler) -> list[Path]:
    return list(spooler.directory.iterdir()) if spooler.directory.exists() else []


def test_a_small_body_stays_in_memory(spooler: Spooler) -> None:
    assert spooler.gather(io.BytesIO(b"x" * 100)) == b"x" * 100
    assert not left_over(spooler)


def test_a_larger_body_goes_to_a_file_that_only_we_can_read(spooler: Spooler) -> None:
    body = spooler.gather(io.BytesIO(b"x" * 101))
    assert isinstance(body, Spool)
    assert (body.size, body.digest) == (101, hashlib.sha256(b"x" * 101).digest())
    assert body.path.read_bytes() == b"x" * 101
    assert stat.S_IMODE(body.path.stat().st_mode) == 0o600


@settings(deadline=None)  # a real disk
@given(st.lists(st.binary(max_size=80), max_size=12))
def test_however_it_is_cut_the_same_body_arrives(chunks: list[bytes]) -> None:
    with TemporaryDirectory() as directory:
        reception = Spooler(Path(directory), spool_bytes=100, limit_bytes=1000).begin()
        for chunk in chunks:
            reception.add(chunk)
        body, whole = reception.finish(), b"".join(chunks)
        assert isinstance(body, Spool) == (len(whole) > 100)
        if isinstance(body, Spool):
            assert body.digest == hashlib.sha256(whole).digest()
            assert body.path.read_bytes() == whole
        else:
            assert body == whole


@pytest.mark.parametrize("already", [0, 50, 500])
def test_over_the_limit_the_limit_is_named_and_nothing_is_kept(spooler: Spooler, already: int) -> None:
    reception = spooler.begin()
    reception.add(b"x" * already)
    with pytest.raises(TooLarge, match="1000 bytes") as caught:
        reception.add(b"x" * (1001 - already))
    assert "1000 字节" in caught.value.zh
    assert not left_over(spooler)


def test_the_limit_itself_is_allowed(spooler: Spooler) -> None:
    assert isinstance(spooler.gather(io.BytesIO(b"x" * 1000)), Spool)


def test_a_disk_that_fails_is_a_store_error(spooler: Spooler) -> None:
    spooler.directory.write_bytes(b"")  # where a directory should be
    with pytest.raises(StoreError, match="spool directory"):
        spooler.gather(io.BytesIO(b"x" * 101))


def test_a_full_disk_leaves_nothing(spooler: Spooler, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        spooler.gather(io.BytesIO(b"x" * 101))
    assert not left_over(spooler)


def test_a_body_can_be_discarded_twice(spooler: Spooler) -> None:
    reception = spooler.begin()
    reception.add(b"x" * 500)
    reception.discard()
    reception.discard()
    assert not left_over(spooler)
    body = spooler.gather(io.BytesIO(b"x" * 500))
    discard(body)
    discard(body)
    assert not left_over(spooler)


async def test_completion_off_the_thread_gives_the_same(spooler: Spooler) -> None:
    for size in (10, 500):
        reception = spooler.begin()
        reception.add(b"x" * size)
        body = await reception.complete()
        assert (body.path.read_bytes() if isinstance(body, Spool) else body) == b"x" * size


def test_only_what_is_a_day_old_is_swept(spooler: Spooler) -> None:
    old, new = (spooler.gather(io.BytesIO(b"x" * 500)) for _ in range(2))
    assert isinstance(old, Spool)
    assert isinstance(new, Spool)
    long_ago = time.time() - STALE_SECONDS - 10
    os.utime(old.path, (long_ago, long_ago))
    spooler.sweep()
    assert left_over(spooler) == [new.path]


def test_sweeping_where_nothing_was_ever_spooled_is_fine(spooler: Spooler) -> None:
    spooler.sweep()
