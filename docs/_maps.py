"""The maps that come with the switch, as a table."""

from __future__ import annotations

from exchange.steps._map_file import read_map
from exchange.steps.map import SCHEMAS


def table() -> str:
    """Return a row for each map."""
    rows = ["| map | from | to | 中文 |", "|---|---|---|---|"]
    for file in sorted(SCHEMAS.glob("*/*/maps/*.yaml"), key=lambda file: file.stem.lower()):
        _, map = read_map(file)
        rows.append(f"| `{file.stem}` | {', '.join(map.source.type)} | {map.target.type} | {map.title.zh} |")
    return "\n".join(rows)
