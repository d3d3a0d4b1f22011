"""Which publishes of a channel the broker has confirmed: any number in flight, any of them returned; no I/O."""

from __future__ import annotations

import asyncio
import re
from itertools import takewhile
from typing import Final

from attrs import define

from exchange.errors import Permanent, Transient

_OVER: Final = re.compile(r"message size \d+ is larger than .*max size (\d+)")  # RabbitMQ, code 406


@define(eq=False)
class _Publish:
    """One publish that the broker hasn't confirmed."""

    id: str
    size: int
    outcome: asyncio.Future[None]
    returned: str = ""  # why it couldn't be routed


class Confirms:
    """The publishes of one channel by their number, which is how often was published before, plus one."""

    def __init__(self) -> None:
        self._number = 0
        self._open: dict[int, _Publish] = {}  # oldest first

    @property
    def oldest(self) -> int:
        """Number of the publish that waits longest; 0 when none waits."""
        return next(iter(self._open), 0)

    def waiting(self) -> list[asyncio.Future[None]]:
        """Return what isn't decided yet."""
        return [publish.outcome for publish in self._open.values()]

    def add(self, id: str, size: int) -> asyncio.Future[None]:
        """Count a publish; what is returned resolves when the broker has it, and raises when not."""
        self._number += 1
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open[self._number] = _Publish(id, size, outcome)
        return outcome

    def returned(self, id: str, reason: str) -> None:
        """Note that a publish comes back. The broker names it by id alone; its confirmation follows.

        Publishes of one id go the same way and come back in their order, so the oldest is meant.
        """
        meant = next((each for each in self._open.values() if each.id == id and not each.returned), None)
        for publish in [meant] if meant else self._open.values():  # of an id that isn't ours, any could be meant
            publish.returned = reason

    def settle(self, number: int, multiple: bool, kept: bool) -> None:
        """Decide one publish, or (*multiple*) all up to it."""
        numbers = [*takewhile(lambda each: each <= number, self._open)] if multiple else [number]
        for each in numbers:
            publish = self._open.pop(each, None)
            if publish and not publish.outcome.done():
                _decide(publish, kept)

    def lose(self, reason: str) -> None:
        """Decide all: nobody knows whether the broker has them; one that closed the channel by its size never goes."""
        over = _OVER.search(reason)
        most = int(over[1]) if over else None
        for publish in self._open.values():
            if publish.outcome.done():
                continue
            if most is not None and publish.size > most:
                publish.outcome.set_exception(_too_large(publish.size, most))
            else:
                publish.outcome.set_exception(unknown(reason))
        self._open.clear()


def _decide(publish: _Publish, kept: bool) -> None:
    if publish.returned:
        publish.outcome.set_exception(
            Transient(
                f"the broker can't route it: {publish.returned}; does the queue or binding exist?",
                f"消息代理无法路由：{publish.returned}；请检查队列或绑定是否存在",
            )
        )
    elif kept:
        publish.outcome.set_result(None)
    else:
        publish.outcome.set_exception(Transient("the broker failed to store it (nack)", "消息代理存储失败（nack）"))


def unknown(reason: str) -> Transient:
    """Return the error of a publish that the broker may or may not have."""
    return Transient(
        f"the channel was lost before the broker confirmed; outcome unknown: {reason}",
        f"消息代理确认之前通道中断，结果未知：{reason}",
    )


def _too_large(size: int, most: int) -> Permanent:
    return Permanent(
        f"{size} bytes are more than the broker accepts: {most}; raise its max_message_size",
        f"报文 {size} 字节，超过消息代理上限 {most} 字节；请调大其 max_message_size",
    )
