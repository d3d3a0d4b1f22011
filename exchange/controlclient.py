"""The asking end of the control socket: blocking, one request at a time. See ``exchange.controlsocket``."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import orjson


class ControlClient:
    """A connection to a running switch. Raises OSError where none answers; PermissionError where it isn't ours."""

    def __init__(self, path: Path, timeout_seconds: float = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")

    def call(self, verb: str, /, **arguments: Any) -> dict[str, Any]:
        """Return the answer: ``result`` or ``error``. Raises OSError when the daemon went away, or is too slow."""
        self._socket.sendall(orjson.dumps({"verb": verb, "arguments": arguments}) + b"\n")
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the daemon closed the connection")
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()
