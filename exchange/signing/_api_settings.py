"""``signing.api`` in ``switchd.yaml``: where the remote signing API listens, and who may have what signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from exchange.options import Location, Strict

MEBIBYTE = 1024 * 1024
Algorithm = Literal["sm2-sm3", "rsa-sha1", "rsa-sha256", "ecdsa-sha256"]


class Allowance(Strict):
    """How much one client may have signed."""

    per_minute: int = Field(6_000, ge=1, description="signatures and verifications a minute, of one client")
    per_day: int = Field(1_000_000, ge=1, description="the same a day (Beijing)")


class ClientSettings(Allowance):
    """One client beside the parties that are known by their registered certificates, such as another switch."""

    certificate: Location = Field(
        description="its certificate, PEM or DER: what it shows in the TLS handshake; read anew at SIGHUP"
    )
    party: str = Field(min_length=1, description="for whom it signs, as the signing log says")
    keys: tuple[str, ...] = Field(
        (), description="keys that it may use; a trailing `*` is a prefix; none: the `signing_key` of its party only"
    )
    profiles: tuple[str, ...] = Field(
        ("*",), description="signature profiles that it may use; `*` covers all, those that sign any bytes too"
    )
    algorithms: tuple[Algorithm, ...] = Field(
        (), description="algorithms that it may have any data signed with, unseen: what another switch needs; none"
    )


class ApiSettings(Allowance):
    """The listener of the remote signing API. TLS on both sides, or nothing."""

    host: str = Field("127.0.0.1", description="address that it listens on")
    port: int = Field(8444, ge=0, le=65535, description="0 takes a free one")
    certificate: Location = Field(description="PEM file with the listener's certificate and chain; read anew at SIGHUP")
    key: Location | None = Field(
        None, description="PEM file with its key, unless it is in the other; read anew at SIGHUP"
    )
    client_ca: Location = Field(
        description="PEM file with the authorities of clients' certificates, or with those certificates themselves; "
        "read anew at SIGHUP"
    )
    connections: int = Field(400, ge=1, description="at once")
    body_bytes: int = Field(8 * MEBIBYTE, ge=1024, description="the largest request")
    waiting: int = Field(2_000, ge=1, description="things of one party that wait to be signed; more is refused (503)")
    waiting_bytes: int = Field(256 * MEBIBYTE, ge=1024, description="bytes of all requests that wait")
    timeout_seconds: float = Field(20.0, gt=0, description="that a client is kept waiting for signatures")
    keep_hours: int = Field(48, ge=24, description="that an answer is kept, to be told again")
    clients: Mapping[str, ClientSettings] = Field({}, description="clients by name, beside the parties themselves")
