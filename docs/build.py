"""Write what in the documentation is generated: ``python -m docs.build`` (``make docs``).

Reference pages come from the code's own tables (parser, models, codes, metrics, catalogue) and from
docs/reference/benchmark.json, which ``make bench`` measures; some pages written by hand hold generated blocks between
two marks. ``--check`` writes nothing: it lists what is stale and exits with 1 if anything is.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs import _figures, _lives, _maps, _profiles, _reference, _schemas, _settings, _systems

ROOT: Final = Path(__file__).resolve().parent.parent
Write = Callable[[], str]

PAGES: Final[Mapping[str, Write]] = {
    "docs/reference/switchctl.md": _reference.switchctl,
    "docs/reference/settings.md": _settings.settings,
    "docs/reference/routes.md": _settings.routes,
    "docs/reference/profiles.md": _profiles.page,
    "docs/reference/errors.md": _reference.errors,
    "docs/reference/metrics.md": _reference.metrics,
    "docs/reference/messages.md": _reference.messages,
    "docs/reference/systems.md": _systems.page,
    "docs/reference/benchmark.md": _figures.page,
    "docs/reference/routes.schema.json": _schemas.routes,
    "docs/reference/switchd.schema.json": _schemas.switchd,
}
BLOCKS: Final[Mapping[tuple[str, str], Write]] = {
    ("README.md", "figures"): _figures.english,
    ("README.zh.md", "figures"): _figures.chinese,
    ("docs/explanation/performance.md", "figures"): _figures.ratios,
    ("docs/reference/maps.md", "maps"): _maps.table,
    ("docs/explanation/guarantees.md", "life of a message"): _lives.message,
    ("docs/explanation/guarantees.md", "life of a delivery"): _lives.delivery,
}


class Unmarked(Exception):
    """A page has no place for a block that belongs into it."""


def wanted(root: Path) -> dict[str, str]:
    """Return what every generated file, and every page with generated blocks, should say. Raises Unmarked."""
    texts = {name: write() for name, write in PAGES.items()}
    for (name, block), write in BLOCKS.items():
        text = texts[name] if name in texts else (root / name).read_text("utf-8")
        try:
            texts[name] = filled(text, block, write())
        except Unmarked as why:
            raise Unmarked(f"{name}: {why}") from None
    return texts


def filled(text: str, block: str, body: str) -> str:
    r"""Put *body* between the marks of *block*. Raises Unmarked where there are none.

    >>> filled("<!-- generated: a -->old<!-- /generated: a -->", "a", "new")
    '<!-- generated: a -->\nnew\n<!-- /generated: a -->'
    """
    first, last = f"<!-- generated: {block} -->", f"<!-- /generated: {block} -->"
    marked = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
    if not marked.search(text):
        raise Unmarked(f"has no {first} ... {last}")
    return marked.sub(lambda _: f"{first}\n{body.strip()}\n{last}", text)


def stale(root: Path = ROOT) -> list[str]:
    """Name the files that don't say what they should."""
    return [name for name, text in wanted(root).items() if _read(root / name) != text]


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser("python -m docs.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; list what is stale")
    arguments = parser.parse_args()
    old = stale()
    if arguments.check:
        sys.exit("\n".join(f"{name}: stale, run make docs" for name in old) if old else 0)
    texts = wanted(ROOT)
    for name in old:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(texts[name], "utf-8")
        print(f"{name}: written")


if __name__ == "__main__":
    main()
