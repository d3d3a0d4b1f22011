"""What switchctl does that needs a room of its own: verbs of the control socket, by subject."""

import difflib
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from exchange.errors import NotFound
from exchange.instants import read_id

Verb = Callable[..., Awaitable[Any]]
FEW: Final = 2000  # names among which a misspelled one is looked for: more would hold up the reactor


def message_id(text: str) -> int:
    """Read a message's id. Raises NotFound."""
    try:
        return read_id(text)
    except ValueError as why:
        raise NotFound(str(why), f"{text!r} 不是报文编号（格式 YYYYMMDD-N）") from None


def expect(what: str, zh: str, name: str, known: Collection[str]) -> None:
    """Raise NotFound where nothing has that name, with what may have been meant."""
    if name in known:
        return
    alike = {one.casefold(): one for one in known} if len(known) <= FEW else {}
    near = [alike[one] for one in difflib.get_close_matches(name.casefold(), alike, 1)]
    en, cn = (f", did you mean {near[0]!r}?", f"，是否为 {near[0]!r}？") if near else ("", "")
    raise NotFound(f"there is no {what} {name!r}{en}", f"没有{zh} {name!r}{cn}")
