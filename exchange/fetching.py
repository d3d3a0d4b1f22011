"""Fetching a file over HTTP, within bounds: what it may take of time and memory is known beforehand."""

from __future__ import annotations

import http.client
import time
from typing import Final
from urllib.parse import urlsplit

SECONDS: Final = 30.0  # for all of it
BYTES: Final = 64 * 1024 * 1024
_CHUNK: Final = 256 * 1024


def fetch(url: str, seconds: float = SECONDS, limit_bytes: int = BYTES) -> bytes:
    """Return what stands at an address; waits, so a thread calls it. Raises OSError with what went wrong.

    No redirection is followed and no proxy is asked: the address is the administrator's word.
    """
    parts, deadline = urlsplit(url), time.monotonic() + seconds
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise OSError(f"the answer is {answer.status} {answer.reason}")
        return _read(answer, connection, deadline, limit_bytes)
    except http.client.HTTPException as why:
        raise OSError(f"the answer isn't HTTP: {why!r}") from why
    finally:
        connection.close()


def _read(
    answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, deadline: float, limit_bytes: int
) -> bytes:
    body = bytearray()
    while chunk := answer.read1(_CHUNK):
        body += chunk
        if len(body) > limit_bytes:
            raise OSError(f"it is larger than {limit_bytes} bytes")
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it takes too long")
        if connection.sock is not None:  # None: all of it is here
            connection.sock.settimeout(left)
    if answer.length:
        raise OSError(f"it is cut off: {answer.length} bytes are missing")
    return bytes(body)
