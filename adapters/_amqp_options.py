"""What an administrator writes about an AMQP endpoint."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Literal, Self
from urllib.parse import unquote, urlsplit

from attrs import frozen
from pydantic import Field, field_validator, model_validator

from exchange.options import Location, Secret, Strict

_PORTS: Final = {"amqp": 5672, "amqps": 5671}


@frozen
class Place:
    """Where a broker is."""

    host: str
    port: int
    virtual_host: str
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}{'' if self.virtual_host == '/' else '/' + self.virtual_host}"


def read_url(url: str) -> Place:
    """Read where an ``amqp://`` or ``amqps://`` URL points. Raises ValueError, saying what to write instead.

    >>> str(read_url("amqps://broker.example/customs")), read_url("amqp://broker.example").virtual_host
    ('broker.example:5671/customs', '/')
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("write amqp://HOST[:PORT][/VHOST] or amqps://HOST[:PORT][/VHOST] (请按此格式填写)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no credentials in a url: write user and password (url 中不得含口令)")
    if parts.query or parts.fragment or "/" in parts.path[1:]:
        raise ValueError("nothing follows the virtual host; write a / in its name as %2F (虚拟主机名中的 / 写作 %2F)")
    port = parts.port if parts.port is not None else _PORTS[parts.scheme]
    return Place(parts.hostname, port, unquote(parts.path[1:]) or "/", parts.scheme == "amqps")


class Publish(Strict):
    """Where parcels are published: straight to a queue, or to an exchange of the broker's with a routing key."""

    queue: str = Field("", max_length=255, description="publish to this queue")
    exchange: str = Field("", max_length=255, description="or to this exchange of the broker's")
    routing_key: str = Field("", max_length=255, description="with this routing key")

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if bool(self.queue) == bool(self.exchange):
            raise ValueError("give either queue or exchange (请给出 queue 或 exchange 之一)")
        if self.queue and self.routing_key:
            raise ValueError("routing_key goes with exchange (routing_key 须与 exchange 同用)")
        return self


class Consume(Strict):
    """Where parcels are taken from."""

    queue: str = Field(min_length=1, max_length=255, description="take from this queue")
    prefetch: int = Field(100, ge=1, le=65_535, description="so many at once")


class Options(Strict):
    """One place at a broker; endpoints that reach it the same way share a connection."""

    url: str = Field(description="amqp://HOST[:PORT][/VHOST], or amqps:// for TLS")
    user: str = Field(min_length=1, description="the name to log in with")
    password: Secret | None = Field(None, description="where its password is")
    ca: Location | None = Field(None, description="PEM file of whom to trust, instead of the system's authorities")
    certificate: Location | None = Field(None, description="PEM file of our own certificate with its chain")
    key: Location | None = Field(None, description="PEM file of its private key")
    heartbeat_seconds: int = Field(30, ge=2, le=3600, description="a connection that is silent twice as long is lost")
    publish: Publish | None = Field(None, description="where parcels are sent")
    consume: Consume | None = Field(None, description="where parcels are taken from")
    head: Literal["none", "zero"] = Field(
        "none", description="zero: payloads have a byte of zero before them there; it is taken off and put on"
    )
    declare: bool = Field(False, description="make queues that are missing, durable")
    quorum: bool = Field(False, description="make them replicated")

    @property
    def head_bytes(self) -> bytes:
        """What stands before each payload on the wire."""
        return b"\0" if self.head == "zero" else b""

    @property
    def connection(self) -> Hashable:
        """What tells one connection from another."""
        files = (self.ca, self.certificate, self.key)
        return (self.url, self.user, self.password, files, self.heartbeat_seconds)

    @field_validator("url")
    @classmethod
    def _is_place(cls, url: str) -> str:
        read_url(url)
        return url

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not (self.publish or self.consume):
            raise ValueError("give publish, consume or both (请给出 publish、consume 或两者)")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key go together (certificate 与 key 须同时给出)")
        if self.quorum and not self.declare:
            raise ValueError("quorum goes with declare: true (quorum 须与 declare: true 同用)")
        if (self.ca or self.certificate) and not read_url(self.url).tls:
            raise ValueError("ca, certificate and key go with an amqps:// url (证书仅用于 amqps://)")
        return self


class Settings(Strict):
    """The kind has none."""
