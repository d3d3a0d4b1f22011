"""Unique 4 KB declarations: one sample of the catalogue, with new ids for each message."""

from __future__ import annotations

import random
import re
import uuid
from pathlib import Path

SIZE = 4000
SAMPLE = Path(__file__).parent.parent / "schemas/customs/ceb/samples/valid/CEB311Message.xml"


class Declarations:
    """Makes import orders (CEB311Message) of about 4 KB; every one is new to the switch."""

    def __init__(self, seed: int = 0) -> None:
        text = SAMPLE.read_text("utf-8")
        own_id = re.search(r'guid="([^"]+)"', text)
        document = re.search(r"<ceb:guid>([^<]+)<", text)
        if own_id is None or document is None:
            raise ValueError(f"{SAMPLE} is not the sample it was")
        text = text.replace(own_id[1], "{0}").replace(document[1], "{1}")
        text = re.sub(r"<ceb:orderNo>[^<]+<", "<ceb:orderNo>{2}<", text)
        filler = "备注" * max(0, (SIZE - len(text.encode()) - 100) // 6)
        text = text.replace("<ceb:note>", f"<ceb:note>{filler}", 1)
        self._parts = [part.encode() for part in re.split(r"\{\d\}", text)]
        self._random = random.Random(seed or None)

    def one(self) -> bytes:
        """Return a new declaration."""
        bits = self._random.getrandbits
        own_id = str(uuid.UUID(int=bits(128))).upper().encode()
        document = str(uuid.UUID(int=bits(128))).upper().encode()
        order = b"BENCH%018d" % bits(59)
        first, second, third, rest = self._parts
        return first + own_id + second + document + third + order + rest
