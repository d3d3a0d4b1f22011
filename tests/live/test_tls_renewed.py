"""Certificates that are renewed while the switch runs: who connects then gets them, who is connected goes on."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme
import uvloop

from exchange.asgi import Listener, listen
from exchange.errors import ConfigurationError
from exchange.tls import Files
from tests.daemon import House, running, switchd_yaml
from tests.http_bench import HASH

pytestmark = pytest.mark.live
OLD, NEW, CLIENTS, OTHERS = (trustme.CA() for _ in range(4))
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
Loop = Callable[[], asyncio.AbstractEventLoop]


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(loop_of: Loop, files: Files) -> Iterator[Listener]:
    """Listen in a loop and a thread of its own."""
    loop = loop_of()
    thread = Thread(target=loop.run_forever)
    thread.start()
    listener = asyncio.run_coroutine_threadsafe(listen(hello, files=files), loop).result()
    try:
        yield listener
    finally:
        asyncio.run_coroutine_threadsafe(listener.stop(0), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def put(folder: Path, authority: trustme.CA = OLD, clients: trustme.CA | None = None) -> Files:
    """Write the files of a listener, over those that are there."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    issued.private_key_pem.write_to_path(folder / "server.key")
    if clients:
        clients.cert_pem.write_to_path(folder / "clients.pem")
    return Files(folder / "server.pem", folder / "server.key", folder / "clients.pem" if clients else None)


def client(mine: trustme.CA | None = None, version: str = "1.3") -> ssl.SSLContext:
    """Return what a client needs, who trusts both authorities and may have a certificate."""
    context = ssl.create_default_context()
    for authority in (OLD, NEW):
        authority.configure_trust(context)
    if mine:
        mine.issue_cert("client@switch.example").configure_cert(context)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def dial(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), timeout=5)
    return context.wrap_socket(raw, server_hostname="127.0.0.1", session=session)


def ask(connection: ssl.SSLSocket) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: switch\r\n\r\n")
    return connection.recv(4096)


def answer(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> bytes:
    """Return what a new connection is answered; nothing where it is refused, which TLS 1.3 tells only then."""
    try:
        with dial(port, context, session) as connection:
            return ask(connection)
    except (ssl.SSLError, ConnectionError):
        return b""


def shown(connection: ssl.SSLSocket) -> bytes | None:
    return connection.getpeercert(binary_form=True)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_renewed_certificate_is_shown_to_who_connects_and_who_is_connected_goes_on(tmp_path: Path, loop: str) -> None:
    with serving(LOOPS[loop], put(tmp_path)) as listener, dial(listener.port, client()) as before:
        put(tmp_path, NEW)
        with dial(listener.port, client()) as early:
            assert shown(early) == shown(before), "nobody asked yet"
        told = listener.renew()
        with dial(listener.port, client()) as after:
            assert shown(after) != shown(before)
            assert (ask(after)[:15], ask(before)[:15]) == (b"HTTP/1.1 200 OK",) * 2
            certificate = ssl.DER_cert_to_PEM_cert(shown(after) or b"")
            assert certificate == (tmp_path / "server.pem").read_text().replace("\r", "")
        assert sorted(told) == ["serial", "until"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_clients_authority_that_is_taken_out_lets_nobody_in_any_more(tmp_path: Path, loop: str, version: str) -> None:
    was_let_in, is_let_in = client(CLIENTS, version), client(OTHERS, version)
    with serving(LOOPS[loop], put(tmp_path, clients=CLIENTS)) as listener, dial(listener.port, was_let_in) as before:
        assert ask(before).startswith(b"HTTP/1.1 200")
        session = before.session
        with dial(listener.port, was_let_in, session) as resumed:
            assert ask(resumed).startswith(b"HTTP/1.1 200")
            assert resumed.session_reused
        put(tmp_path, clients=OTHERS)
        listener.renew()
        for again in (None, session):  # a session of then would go on without a look at the certificate
            assert answer(listener.port, was_let_in, again) == b""
        with dial(listener.port, is_let_in) as other:
            assert ask(other).startswith(b"HTTP/1.1 200")
        assert ask(before).startswith(b"HTTP/1.1 200"), "it was let in, and goes on"


def _half(folder: Path) -> None:
    (folder / "server.pem").write_bytes((folder / "server.pem").read_bytes()[:300])


def _another_key(folder: Path) -> None:
    NEW.issue_cert("127.0.0.1").private_key_pem.write_to_path(folder / "server.key")


def _gone(folder: Path) -> None:
    (folder / "server.key").unlink()


def _empty(folder: Path) -> None:
    (folder / "clients.pem").write_bytes(b"")


def _locked(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key((folder / "server.key").read_bytes(), None)
    locked = s.BestAvailableEncryption(b"secret")
    (folder / "server.key").write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, locked))


@pytest.mark.parametrize("spoil", [_half, _another_key, _gone, _empty, _locked])
def test_files_that_cannot_be_used_leave_the_old_ones_in_force(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    context = client(CLIENTS)
    with (
        serving(LOOPS["asyncio"], put(tmp_path, clients=CLIENTS)) as listener,
        dial(listener.port, context) as before,
    ):
        put(tmp_path, NEW, OTHERS)
        spoil(tmp_path)
        with pytest.raises(ConfigurationError) as refused:
            listener.renew()
        assert refused.value.code == "SWX-4140"
        assert ("isn't the certificate's" in str(refused.value)) is (spoil is _another_key)
        with dial(listener.port, context) as after:
            assert shown(after) == shown(before)
            assert ask(after).startswith(b"HTTP/1.1 200")


# -- as operators do it ------------------------------------------------------------------------------------------

ROUTES = f"""
parties:
  - {{code: WEB, role: enterprise, endpoints: [{{name: web, kind: http_api, keys: ['{HASH}']}}]}}
routes: []
"""
TLS = "certificate: server.pem, key: server.key"
SWITCHD = switchd_yaml(more=f"adapters: {{http_api: {{port: 0, {TLS}}}}}\n").replace(
    "signing: {", f"signing: {{api: {{port: 0, {TLS}, client_ca: clients.pem}}, "
)


def _connected(house: House) -> list[bytes | None]:
    """Return the certificates that both listeners show now."""
    ports = house.daemon.adapters["http_api"].port, house.daemon.api.port  # type: ignore[attr-defined, union-attr]
    found = []
    for port in ports:
        with dial(port, client(CLIENTS)) as connection:
            found.append(shown(connection))
    return found


async def test_a_reload_renews_the_listeners_and_tells_of_each_that_cannot_be(tmp_path: Path) -> None:
    put(tmp_path, clients=CLIENTS)
    async with running(tmp_path, ROUTES, SWITCHD) as house:
        first = await asyncio.to_thread(_connected, house)
        put(tmp_path, NEW)
        (tmp_path / "routes.yaml").write_text("not a table")  # is no reason to let certificates run out
        await house.daemon.reload()
        second = await asyncio.to_thread(_connected, house)
        assert not set(first) & set(second)
        assert {line["listener"] for line in house.logged("tls.renewed")} == {"http_api", "signing.api"}
        _another_key(tmp_path)
        await house.daemon.reload()
        assert await asyncio.to_thread(_connected, house) == second
        told = house.logged("tls.refused")
        assert [(line["listener"], line["code"]) for line in told] == [
            ("http_api", "SWX-4140"),
            ("signing.api", "SWX-4140"),
        ]
        assert all("SIGHUP" in line["en"] and "SIGHUP" in line["zh"] for line in told)
