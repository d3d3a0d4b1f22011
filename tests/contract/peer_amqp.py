"""The peer of the amqp adapter: a program beside a real RabbitMQ that publishes to one queue and reads another."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from attrs import define
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel

from adapters.amqp import Amqp
from exchange.model import Endpoint
from exchange.options import Strict
from tests.contract.peers import Stage, until
from tests.live import rabbitmq


@define
class Queues:
    """What one endpoint takes from, is sent to, and leaves its dead letters in."""

    prefix: str

    def __getattr__(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def declare(self, channel: BlockingChannel) -> None:
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.dead}
        channel.queue_declare(self.take, durable=True, arguments=arguments)
        channel.queue_declare(self.dead, durable=True)
        channel.queue_declare(self.sent, durable=True)


class PEER:
    adapter = Amqp

    async def open(self, stage: Stage) -> tuple[Endpoint, Endpoint]:
        self._stage = stage
        self._broker = rabbitmq.shared()
        self._connection = self._broker.connect()
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._received: list[tuple[str, bytes]] = []
        self._dead: set[str] = set()
        self._queues = Queues(uuid4().hex[:8])
        return self._endpoint("amqp-one", self._queues), self._endpoint("amqp-two", Queues(uuid4().hex[:8]))

    def _endpoint(self, name: str, queues: Queues) -> Endpoint:
        queues.declare(self._channel)
        options = Amqp.Options.model_validate(
            {
                "url": self._broker.url,
                **self._broker.login,
                "consume": {"queue": queues.take},
                "publish": {"queue": queues.sent},
            }
        )
        return Endpoint(name, "CUSTOMS", "amqp", options)

    def settings(self) -> Strict | None:
        return None

    async def serving(self, adapter: Any) -> None:
        await until(lambda: self._stage.count("amqp.publishing") == self._stage.count("amqp.consuming") == 2)

    async def give(self, name: str, body: bytes) -> bool:
        id, paused = uuid4().hex, self._stage.count("intake.paused")
        properties = BasicProperties(message_id=id, headers={"file-name": name}, delivery_mode=2)
        self._channel.basic_publish("", self._queues.take, body, properties)
        await until(lambda: self._stage.count("intake.paused") > paused or not self._unsettled())
        if self._unsettled():
            self._withdraw()
            return False
        while (dead := self._channel.basic_get(self._queues.dead, auto_ack=True))[0]:
            self._dead.add(dead[1].message_id)
        return id not in self._dead

    def _unsettled(self) -> int:
        return self._broker.messages(self._queues.take)

    def _withdraw(self) -> None:
        """Take back what the switch keeps asking itself about: a queue says neither yes nor no in the meantime."""
        self._channel.queue_delete(self._queues.take)
        self._queues.declare(self._channel)

    async def received(self) -> list[tuple[str, bytes]]:
        while (got := self._channel.basic_get(self._queues.sent, auto_ack=True))[0]:
            self._received.append((got[1].headers["file-name"], got[2]))
        return self._received

    async def fail(self) -> None:
        self._channel.queue_delete(self._queues.sent)

    async def recover(self) -> None:
        self._queues.declare(self._channel)

    async def close(self) -> None:
        await asyncio.to_thread(self._connection.close)
