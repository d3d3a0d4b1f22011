"""What somebody hands in to be installed, as files: a file, a folder, or a zip, which is unpacked within bounds."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from exchange.archives import danger
from exchange.errors import ConfigurationError

FILES: Final = 5_000
BYTES: Final = 256 * 1024 * 1024
CHUNK: Final = 1024 * 1024
_WHY: Final = {
    "outside": "leads out of the archive: nothing of it is taken",
    "link": "is a link: nothing of it is taken",
    "encrypted": "is encrypted: unpack it first, and name the folder",
}


@contextmanager
def unpacked(source: Path, shop: Path) -> Iterator[tuple[Path, Callable[[str], str]]]:
    """Give a file or folder, and what writes its paths as who handed it in knows them. Raises ConfigurationError.

    A zip is unpacked into *shop*. Links that lead out of a folder are refused.
    """
    if not source.exists():
        raise ConfigurationError([f"{source}:1:1: there is no such file or folder"])
    if source.is_dir():
        _stop(list(_strays(source)))
        yield source.resolve(), _as_given(source)
    elif zipfile.is_zipfile(source):
        root = shop / "unpacked"
        root.mkdir()
        _unpack(source, root)
        yield root, lambda text: text.replace(str(root), str(source))
    else:
        yield source.resolve(), _as_given(source.parent)


def _as_given(folder: Path) -> Callable[[str], str]:
    return lambda text: text.replace(f"{folder.resolve()}/", "" if folder == Path() else f"{folder}/")


def _stop(problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(problems)


def _strays(folder: Path) -> Iterator[str]:
    root = folder.resolve()
    for number, path in enumerate(folder.rglob("*")):
        if number > FILES:
            yield f"{folder}:1:1: holds more than {FILES} files: name the folder of the set alone"
            return
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            yield f"{path}:1:1: is a link that leads out of the folder: put the file itself there"


def _unpack(source: Path, root: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
            _stop([f"{source}:1:1: {text}" for text in _refused(entries)])
            left = BYTES
            for entry in entries:
                left = _write(archive, entry, root / entry.filename, left)
                if left < 0:
                    raise ConfigurationError([f"{source}:1:1: unpacks to more than {BYTES >> 20} MiB: no schema does"])
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as why:
        raise ConfigurationError([f"{source}:1:1: can't be unpacked: {why}"]) from None


def _refused(entries: list[zipfile.ZipInfo]) -> Iterator[str]:
    if len(entries) > FILES:
        yield f"holds more than {FILES} files"
    for entry in entries:
        why = "outside" if "\\" in entry.filename else danger(entry)
        if why:
            yield f"{entry.filename!r} {_WHY[why]}"


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    """Write one file while there is room; return what is left, which is negative where there was too little."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as packed, path.open("wb") as file:
        while left >= 0 and (chunk := packed.read(CHUNK)):
            left -= len(chunk)
            file.write(chunk)
    return left
