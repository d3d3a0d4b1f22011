"""The lives of the messages, as the control socket tells them; receipts are told with what they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from exchange.controlclient import ControlClient
from simulators._demo_site import Door, Site

LOOKED_AT: Final = 500  # messages, receipts among them
STATES: Final = {
    "RECEIVED": "已接收",
    "ACCEPTED": "已受理",
    "COMPLETED": "已办结",
    "REJECTED": "已拒绝",
    "DUPLICATE": "重复",
    "HELD": "挂起",
    "FAILED": "失败",
    "DISCARDED": "作废",
}
FINAL: Final = ("COMPLETED", "REJECTED", "DUPLICATE", "HELD", "FAILED", "DISCARDED")


@frozen
class Life:
    """What is known of one message."""

    id: str
    name: str
    type: str
    door: Door
    state: str
    news: tuple[str, ...]  # what was said about it, in words, oldest first

    @property
    def shown_state(self) -> str:
        """The state in both languages."""
        return f"{self.state} {STATES.get(self.state, '')}"

    @property
    def last(self) -> str:
        """What was said last."""
        return self.news[-1] if self.news else ""


class Lives:
    """Looks at the messages that came in, but for receipts."""

    def __init__(self, site: Site) -> None:
        self._doors = site.doors
        self._client = ControlClient(site.control, timeout_seconds=10.0)

    def ready(self) -> bool:
        """Tell whether the switch has started."""
        return bool(self._ask("status")["ready"])

    def look(self) -> list[Life]:
        """Return every life, oldest first."""
        heads = [head for head in self._ask("message.list", limit=LOOKED_AT) if not self._is_receipt(head)]
        return [self._life(self._ask("message.show", id=head["id"])) for head in reversed(heads)]

    def _is_receipt(self, head: Mapping[str, Any]) -> bool:
        """Tell whether it is a receipt, or may be: what an authority sent and nobody has read yet."""
        undecided = head["state"] == "RECEIVED" and self._doors[head["endpoint"]].protocol == "folder"
        return undecided or "answers" in head

    def _life(self, life: Mapping[str, Any]) -> Life:
        news = tuple(words for line in life["journal"] for words in _words(line))
        door = self._doors[life["endpoint"]]
        return Life(life["id"], life["name"], life["type"] or "?", door, life["state"], tuple(dict.fromkeys(news)))

    def _ask(self, verb: str, **arguments: Any) -> Any:
        answer = self._client.call(verb, **arguments)
        if "error" in answer:
            raise RuntimeError(f"{verb}: {answer['error']}")
        return answer["result"]


def _words(line: Mapping[str, Any]) -> Iterator[str]:
    """Say in words what a line of the journal tells; most lines say nothing to an enterprise."""
    if line.get("receipt"):
        meaning = line.get("meaning", {})
        yield f"{line['code']} {meaning.get('zh', '')} {meaning.get('en', '')}"
    elif line["event"] in ("reject", "hold"):
        if wrong := len(line.get("findings", ())):
            yield f"{line['code']} 共 {wrong} 处错误 {wrong} mistakes"
        else:
            yield f"{line['code']} {_clause(line.get('zh', ''))} {_clause(line.get('en', ''))}"
    elif line["event"] == "recognise":
        yield f"与 {line['twin']} 相同 the same as {line['twin']}"


def _clause(text: str) -> str:
    """Return the first clause of a text; what to do about it stands in the receipt."""
    return re.split("[：:；;]", text, maxsplit=1)[0]
