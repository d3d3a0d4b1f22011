"""Revocation lists over HTTP: fetched in the background, within bounds, the last good one kept."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from attrs import define, field

from exchange.fetching import fetch
from tests import chains
from tests.daemon import Clock, running
from tests.sealing import now
from tests.unit.test_trusting import ROUTES, settings

pytestmark = pytest.mark.live
Answer = Callable[[BaseHTTPRequestHandler], None]


def saying(body: bytes, status: int = 200, length: int = -1, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body) if length < 0 else length))
        request.end_headers()
        request.wfile.write(body)

    return answer


def dripping(request: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, for ever."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b".")
            time.sleep(0.05)
    except OSError:  # it was given up
        return


@define
class Site:
    """A web server that answers as the test says."""

    answer: Answer = field(default=saying(b""))
    asked: list[str] = field(factory=list)
    url: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    known = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append(self.path)
            known.answer(self)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_address[1]}/lists/e-port.crl?part=1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield known
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (saying(b"x" * 101), "it is larger than 100 bytes"),
        (saying(b"", 404), "the answer is 404"),
        (saying(b"", 302, Location="file:///etc/passwd"), "the answer is 302"),
        (saying(b"half", length=90), "it is cut off"),
        (lambda request: request.wfile.write(b"SSH-2.0\r\n\r\n") and None, "the answer isn't HTTP"),
        (dripping, "it takes too long"),
    ],
    ids=["too large", "not there", "elsewhere", "cut off", "no HTTP", "for ever"],
)
def test_what_can_not_be_fetched_is_told_and_ends(site: Site, answer: Answer, problem: str) -> None:
    site.answer = answer
    with pytest.raises(OSError, match=problem):
        fetch(site.url, seconds=0.4, limit_bytes=100)


def test_what_stands_at_an_address_is_fetched(site: Site) -> None:
    site.answer = saying(b"x" * 100)
    assert fetch(site.url, limit_bytes=100) == b"x" * 100
    assert site.asked == ["/lists/e-port.crl?part=1"]


async def test_a_switch_fetches_when_it_is_due_keeps_what_is_good_and_tells_what_fails(
    site: Site, tmp_path: Path
) -> None:
    site.answer = saying(chains.crl("p256", "first"))
    yaml, clock = settings(tmp_path, crl=f"[{{url: {site.url!r}, every_hours: 6}}]"), Clock(now())
    async with running(tmp_path, ROUTES, yaml, clock) as house:
        await house.until_logged("crl.taken")
        await house.daemon.trusting.tend()
        clock.move(5.9 * 3600)
        await house.daemon.trusting.tend()
        assert len(site.asked) == 1, "it isn't due yet"
        site.answer = saying(b"<html>maintenance</html>")
        clock.move(0.2 * 3600)
        await house.daemon.trusting.tend()
        (told,) = house.logged("crl.unfetched")
        assert (told["authority"], told["code"]) == ("e-port", "SWX-4105")
        rows = await house.ask("trust.list")
        assert [row["state"][:8] for row in rows if row["kind"] in ("crl", "url")] == ["good", "SWX-4105"]
        clock.move(590)
        await house.daemon.trusting.tend()
        assert len(site.asked) == 2, "it is left in peace for ten minutes"
        site.answer = saying(chains.crl("p256", "second"))
        (row,) = await house.ask("trust.fetch", reason="the authority has called")
        assert (row["fetched"], row["why"]) == (True, "")
        site.answer = saying(chains.crl("p256", "first"))
        (row,) = await house.ask("trust.fetch", reason="the authority has called")
        assert (row["fetched"], "is older than the one here" in row["why"]) == (False, True)
    site.answer = saying(b"", 503)
    async with running(tmp_path, ROUTES, yaml, clock) as house:
        await house.until_logged("crl.unfetched")
        rows = await house.ask("trust.list")
        assert [row["number"] for row in rows if row["kind"] == "crl"] == ["2"], "the last good one is kept"
        await asyncio.sleep(0)
