"""The peer of the HTTP adapter: an enterprise's program with a bearer key, and the store that keeps its mailbox."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import httpx
from attrs import evolve

from adapters.http_api import HttpApi, Options, Settings, new_key
from exchange.errors import Transient
from exchange.model import Endpoint, Parcel
from exchange.options import Strict
from exchange.ports import World
from tests.contract.peers import Stage
from tests.fake_archive import FakeArchive


class Kept(HttpApi):
    """The adapter beside a store that shows what was sent, as the switch's own does; ``away`` is a store that fails."""

    def __init__(self, world: World) -> None:
        self.archive = FakeArchive()
        self.away = False
        super().__init__(evolve(world, archive=self.archive))

    async def send(self, endpoint: Endpoint, parcel: Parcel) -> None:
        if self.away:
            raise Transient("the store can't write", "存储无法写入")
        await super().send(endpoint, parcel)
        self.archive.add_mail(endpoint.name, len(self.archive.mail.get(endpoint.name, ())) + 1, parcel)


class PEER:
    adapter = Kept

    async def open(self, stage: Stage) -> tuple[Endpoint, Endpoint]:
        key, hashed = new_key()
        self._client = httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=20)
        return (
            Endpoint("http-one", "ENT0001", "http_api", Options(keys=(hashed,))),
            Endpoint("http-two", "ENT0002", "http_api", Options(keys=(new_key()[1],))),
        )

    def settings(self) -> Strict | None:
        return Settings(port=0)

    async def serving(self, adapter: Any) -> None:
        self._adapter: Kept = adapter
        self._url = f"http://127.0.0.1:{adapter.port}"

    async def give(self, name: str, body: bytes) -> bool:
        headers = {"X-File-Name": quote(name)}
        answer = await self._client.post(f"{self._url}/v1/messages", content=body, headers=headers)
        return answer.status_code == 202

    async def received(self) -> list[tuple[str, bytes]]:
        page = (await self._client.get(f"{self._url}/v1/receipts")).json()
        return [(one["name"], await self._body(one)) for one in page["receipts"]]

    async def _body(self, one: dict[str, Any]) -> bytes:
        match one["encoding"]:
            case "utf-8":
                return one["body"].encode()
            case "base64":
                return base64.b64decode(one["body"])
        return (await self._client.get(self._url + one["payload"])).content

    async def fail(self) -> None:
        self._adapter.away = True

    async def recover(self) -> None:
        self._adapter.away = False

    async def close(self) -> None:
        await self._client.aclose()
