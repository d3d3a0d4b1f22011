"""What switchctl does that needs a room of its own: verbs of the control socket, by subject."""

from exchange.errors import NotFound
from exchange.instants import read_id


def message_id(text: str) -> int:
    """Read a message's id. Raises NotFound."""
    try:
        return read_id(text)
    except ValueError as why:
        raise NotFound(str(why), f"{text!r} 不是报文编号（格式 YYYYMMDD-N）") from None
