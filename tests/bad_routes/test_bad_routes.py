"""Every mistake in routes.yaml is told at once, with its place: c-*.yaml against the exact lines in c-*.txt.

After a wanted change of wording, write the lines anew with ``UPDATE=1 pytest tests/bad_routes`` and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exchange import routesfile
from exchange.errors import ConfigurationError
from exchange.model import MessageType
from exchange.routesfile import Known
from exchange.signing.profiles import PROFILES, Profiles

HERE = Path(__file__).parent
KNOWN = Known(
    types={name: MessageType(name, "xml") for name in ("CEB311Message", "CEB411Message")}
    | {name: MessageType(name, "opaque") for name in ("BorderText", "BorderPDF")},
    fields={"CEB311Message": ["customsCode", "appType"], "CEB411Message": ["appType"]},
    profiles=Profiles([PROFILES["ceb-sm2"], PROFILES["rsa-sha256"]]),
    keys=["ent1", "platform"],
)


@pytest.mark.parametrize("case", sorted(HERE.glob("c-*.yaml")), ids=lambda path: path.stem)
def test_the_mistakes_are_told_with_their_places(case: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        routesfile.load(routesfile.bundle(case), HERE, known=KNOWN)
    told = "".join(f"{line}\n" for line in raised.value.problems)
    expected = case.with_suffix(".txt")
    if os.environ.get("UPDATE"):
        expected.write_text(told, "utf-8")
    assert told == expected.read_text("utf-8")
