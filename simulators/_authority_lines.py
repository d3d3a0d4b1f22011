"""Where a simulated authority stands: two directories, or two queues of a broker."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import pika
from pika.exceptions import AMQPError

from simulators._authority_writing import Receipt

TICK_SECONDS: Final = 0.1
UNFINISHED: Final = (".tmp", ".temp", ".part")
AT_ONCE: Final = 100  # messages taken before what is due is sent


class Line(Protocol):
    """Brings messages and takes receipts."""

    def take(self) -> Iterable[bytes]:
        """Return what has come since the last time, oldest first."""

    def put(self, receipt: Receipt) -> None:
        """Send a receipt."""

    def rest(self) -> None:
        """Wait for a moment."""


class FolderLine:
    """Two directories; files that aren't complete yet have names that say so, as in both directions here."""

    def __init__(self, inbox: Path, outbox: Path) -> None:
        self._inbox, self._outbox = inbox, outbox
        for directory in (inbox, outbox):
            directory.mkdir(parents=True, exist_ok=True)

    def take(self) -> Iterable[bytes]:
        """See ``Line``."""
        self._inbox.mkdir(parents=True, exist_ok=True)  # whoever owns it may have made it anew
        complete = (path for path in self._inbox.iterdir() if path.is_file() and not _unfinished(path.name))
        for path in sorted(complete, key=lambda path: (path.stat().st_mtime_ns, path.name))[:AT_ONCE]:
            body = path.read_bytes()
            path.unlink()
            yield body

    def put(self, receipt: Receipt) -> None:
        """See ``Line``."""
        draft = self._outbox / f".{receipt.name}.tmp"
        draft.write_bytes(receipt.body)
        draft.rename(self._outbox / receipt.name)

    def rest(self) -> None:
        """See ``Line``."""
        time.sleep(TICK_SECONDS)


def _unfinished(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(UNFINISHED)


class AmqpLine:
    """Two queues, which are made where they are missing; the login is in SIMULATOR_USER and SIMULATOR_PASSWORD.

    Every verb raises ConnectionError where the broker is gone: whoever started the simulator starts it again.
    """

    def __init__(self, url: str, consume: str, publish: str) -> None:
        logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it says comes as errors, too
        self._consume, self._publish = consume, publish
        self._properties: Any = pika.BasicProperties
        parameters: Any = pika.URLParameters(url)
        if user := os.environ.get("SIMULATOR_USER"):
            parameters.credentials = pika.PlainCredentials(user, os.environ["SIMULATOR_PASSWORD"])
        with _broker():
            self._connection: Any = pika.BlockingConnection(parameters)
            self._channel: Any = self._connection.channel()
            self._channel.confirm_delivery()
            for queue in (consume, publish):
                self._channel.queue_declare(queue, durable=True)

    def take(self) -> Iterable[bytes]:
        """See ``Line``."""
        for _ in range(AT_ONCE):
            with _broker():
                method, _, body = self._channel.basic_get(self._consume)
            if method is None:
                return
            yield body
            with _broker():
                self._channel.basic_ack(method.delivery_tag)

    def put(self, receipt: Receipt) -> None:
        """See ``Line``."""
        properties = self._properties(
            delivery_mode=2,
            message_id=receipt.name.rpartition(".")[0],
            type=receipt.type,
            headers={"file-name": receipt.name},
        )
        with _broker():
            self._channel.basic_publish("", self._publish, receipt.body, properties, mandatory=True)

    def rest(self) -> None:
        """See ``Line``."""
        with _broker():
            self._connection.process_data_events(time_limit=TICK_SECONDS)


@contextmanager
def _broker() -> Iterator[None]:
    try:
        yield
    except AMQPError as why:
        raise ConnectionError(f"broker: {why!r}") from why
