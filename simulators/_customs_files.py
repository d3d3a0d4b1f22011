"""What the simulated customs writes: records about documents, and files of records, in the form that customs' have.

GUIDs are upper-case where the port (电子口岸) speaks and lower-case where customs do; the namespace is the default one,
version stands before guid, and the document is standalone.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from attrs import field, frozen

from exchange.instants import Instant, show_instant

CEB: Final = "http://www.chinaport.gov.cn/ceb"
Fields = Iterable[tuple[str, str]]


@frozen
class Return:
    """One record, which answers one document, and when it is due."""

    at: Instant
    type: str
    guid: str  # of the file that it begins
    record: str = field(repr=False)  # XML
    of_port: bool = False
    copies: int = 1
    whole: bool = True
    alone: bool = False

    @property
    def lonely(self) -> bool:
        """Tell whether it shares its file with no other."""
        return self.alone or self.copies > 1 or not self.whole


@frozen
class Receipt:
    """One file that is due."""

    at: Instant
    name: str
    type: str
    body: bytes = field(repr=False)


def files(returns: Sequence[Return], batch: int) -> list[Receipt]:
    """Write returns into files, at most *batch* to one; those of one type that are due together share."""
    together: dict[Any, list[Return]] = {}
    for number, one in enumerate(returns):
        place = number if one.lonely else -1
        together.setdefault((one.at, one.type, one.of_port, place), []).append(one)
    cut = [group[i : i + batch] for group in together.values() for i in range(0, len(group), batch)]
    return sorted((receipt for group in cut for receipt in _file(group)), key=lambda receipt: receipt.at)


def _file(returns: Sequence[Return]) -> Iterator[Receipt]:
    first = returns[0]
    body = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        f'<{first.type} version="1.0" guid="{cased(first.guid, first.of_port)}" xmlns="{CEB}">'
        f"{''.join(one.record for one in returns)}</{first.type}>"
    ).encode()
    for copy in range(first.copies):
        name = f"{first.type}_{first.guid.upper()}{f'_{copy + 1}' if copy else ''}.xml"
        yield Receipt(first.at, name, first.type, body if first.whole else body[: len(body) // 2])


def element(name: str, fields: Fields, always: Container[str] = ()) -> str:
    """Write a record; fields without a value are left out, but for those that are *always* there."""
    said = (f"<{key}>{escape(value)}</{key}>" for key, value in fields if value or key in always)
    return f"<{name}>{''.join(said)}</{name}>"


def format_error(body: bytes, type: str, told: str, at: Instant) -> str:
    """Write the record of a CEB900Message about a message that breaks its format, which is enclosed."""
    text = "".join(c for c in body.decode(errors="replace") if c.isprintable() or c in "\t\n\r")
    head = {"guid": new_guid(body, at).upper(), "returnStatus": "-1", "returnInfo": told[:5000]}
    fields = head | {"returnTime": return_time(at), "oriCopMsgId": "", "oriMessageType": type, "oriBizMessage": text}
    return f"<MessageReturn>{''.join(f'<{k}>{escape(v)}</{k}>' for k, v in fields.items())}</MessageReturn>"


def cased(guid: str, of_port: bool) -> str:
    """Write a GUID as its author does."""
    return guid.upper() if of_port else guid.lower()


def new_guid(*seed: object) -> str:
    """Make a GUID that is always the same for the same *seed*."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, repr(seed)))


def return_time(at: Instant) -> str:
    """Write a moment as returnTime has it: Beijing time, 17 digits."""
    return "".join(c for c in show_instant(at)[:23] if c.isdigit())
