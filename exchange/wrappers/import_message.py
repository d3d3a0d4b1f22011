"""ImportMessage: what older goods-declaration clients put around a message, where that is packed in text.

``SWImpData`` mostly holds the DecMessage as an element, and then it is no wrapper to be opened: the type reads it
where it stands (``within``). Some clients write base64 there, of the message or of a zip package. That form isn't in
any public description, so nothing of the header but its id is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, ClassVar, Final

from exchange.errors import Held
from exchange.options import Strict
from exchange.wrappers import Label, Wrapped
from exchange.wrappers import _codes as codes
from exchange.wrappers._parts import read_whole

_ELEMENT: Final = re.compile(rb"SWImpData[^>]*+>\s*+(?:<!--.*?-->\s*+)*+<[^/!]", re.DOTALL)


class Options(Strict):
    """Nothing: none is ever written."""


class ImportMessage:
    """The wrapper ImportMessage with packed data."""

    name: ClassVar[str] = "import-message"
    begins: ClassVar[Collection[bytes]] = (b"ImportMessage",)
    answers: ClassVar[str] = ""
    Options: ClassVar[type[Strict]] = Options

    def open(self, payload: bytes) -> Wrapped | None:
        """Read an ImportMessage; None where its data is an element. Raises Unreadable (SWX-1081, SWX-1082)."""
        start = payload.find(b"SWImpData")
        if start >= 0 and _ELEMENT.match(payload, start):
            return None  # the common case, without another parse
        parts, root = read_whole(payload, {"SWImpData"})
        data = root.find("SWImpData")
        if root.local != "ImportMessage" or data is None or data.parts:
            return None
        own_id, type = root.say("SWImpHead", "CopMsgId"), root.say("SWImpHead", "MsgType")
        return Wrapped("import-message", codes.base64(parts.blob(data), "SWImpData"), own_id=own_id, type=type)

    def wrap(self, inner: bytes, label: Label, options: Any) -> bytes:
        """Refuse: nobody asks for such wrappers any more. Raises Held."""
        raise Held("ImportMessage is only read here, never written", "ImportMessage 只读不写", code="SWX-2074")
