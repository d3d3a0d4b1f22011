"""The book of what the switch laid into its users' boxes, a page a day: only that may be removed, once it is old."""

from __future__ import annotations

import contextlib
import json
import stat as modes
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from adapters._folder import make_directory
from exchange.instants import Instant, day_number

PAGE: Final = ".jsonl"


class Delivered:
    """Notes files where they lie, and removes them after *days*; with 0 it does neither.

    A file that isn't as it was noted any more (another size or time: somebody else's by now) stays. So does what a
    crash kept from being noted: better one file too many than one too few.
    """

    def __init__(self, folder: Path, days: int, now: Callable[[], Instant], log: Any) -> None:
        self._folder, self._days, self._now, self._log = folder, days, now, log

    def note(self, paths: Iterable[Path]) -> None:
        """Note what has just been laid down; blocks. It lies there, whatever fails here."""
        if not self._days:
            return
        try:
            make_directory(self._folder)
            with (self._folder / f"{day_number(self._now())}{PAGE}").open("a") as page:
                page.writelines(_lines(paths))
        except OSError as error:
            self._log.warning("sftp.note_missed", reason=error.strerror)

    def forget(self) -> None:
        """Remove what was laid down more than *days* ago, and tell how much; blocks."""
        before = day_number(self._now()) - self._days
        for page in sorted(self._folder.glob(f"*{PAGE}")) if self._days else ():
            if page.stem.isdigit() and int(page.stem) < before:
                self._forget(page)

    def _forget(self, page: Path) -> None:
        sizes, stuck = [], None
        with page.open() as lines:
            for line in lines:
                try:
                    sizes += _removed(line)
                except OSError as error:
                    stuck = error
        self._log.info("sftp.pruned", days=self._days, files=len(sizes), bytes=sum(sizes))
        if stuck is not None:  # the page stays, for the next time
            raise stuck
        page.unlink()


def _lines(paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # its user was quick
            yield json.dumps([str(path), *_marks(path)]) + "\n"


def _marks(path: Path) -> tuple[int, int, int]:
    """Return what tells a file from another of its name: kind, size and time, which a backup brings back, too."""
    stat = path.lstat()
    return modes.S_IFMT(stat.st_mode), stat.st_size, int(stat.st_mtime)


def _removed(line: str) -> list[int]:
    """Remove a file that is still as it was noted; return its size, or nothing where it is gone, or another."""
    try:
        path, *marks = json.loads(line)
    except ValueError:  # half a line, of a crash
        return []
    try:
        if list(_marks(Path(path))) != marks:
            return []
        Path(path).unlink()
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [marks[1]]
