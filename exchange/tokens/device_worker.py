"""The process in which one device's library lives: ``python -m exchange.tokens.device_worker``.

It speaks lines of JSON over its standard input, which is a socket. The first line says what device to open, PIN
included, so that a PIN is in no argument and no environment. Then come jobs, many at once, and answers by number::

    -> {"kind": "pkcs11", "settings": {...}, "pin": "...", "sessions": 4}
    <- {"opened": {"token": "hsm-a", ...}}          or {"fault": "fatal_config", "code": "...", "text": "..."}
       (with "sessions": 0 it looks only, and answers {"seen": [...]})
    -> {"id": 1, "do": "sign", "at": "pkcs11:id=%01", "with": "rsa-sha256", "data": BASE64, "as": BASE64}
    <- {"id": 1, "value": BASE64}                   or {"id": 1, "fault": "retry_other", "code": ..., "text": ...}

A fault of the device ends the process once it is told: whoever started this one starts another. So does the end of
the input.
"""

from __future__ import annotations

import os
import socket
import sys
from base64 import b64decode, b64encode
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final

import orjson

from exchange import plugins
from exchange.tokens.device import RETRY_OTHER, Device, DeviceFault, Session

LINE: Final = 1 << 20  # bytes; a longer one is none of ours


class Worker:
    """One device, and one thread for each of its sessions."""

    def __init__(self, wire: socket.socket) -> None:
        self._input = wire.makefile("rb")
        self._wire, self._writing = wire, Lock()
        self._jobs: SimpleQueue[Any] = SimpleQueue()

    def run(self) -> None:
        """Open the device, and serve until the input ends."""
        asked = orjson.loads(self._input.readline(LINE))
        try:
            kind = plugins.load("devices", asked["kind"])
            device: Device = kind(kind.Settings.model_validate(asked["settings"]), asked["pin"])
            if not asked["sessions"]:
                return self._tell({"seen": device.look()})
            told = device.open()
            sessions = [device.session() for _ in range(asked["sessions"])]
        except DeviceFault as fault:
            return self._tell(_told(fault))
        self._tell({"opened": told})
        for session in sessions:
            Thread(target=self._serve, args=(session,), daemon=True).start()
        while line := self._input.readline(LINE):
            self._jobs.put(orjson.loads(line))
        return None

    def _serve(self, session: Session) -> None:
        while True:
            job = self._jobs.get()
            answer: dict[str, Any] = {"id": job["id"]}
            broken = False
            try:
                answer["value"] = b64encode(_done(session, job)).decode()
            except DeviceFault as fault:
                answer |= _told(fault)
                broken = fault.kind == RETRY_OTHER
            except Exception as error:
                answer |= {"fault": RETRY_OTHER, "code": type(error).__name__, "text": str(error)}
                broken = True
            self._tell(answer)
            if broken:
                os._exit(1)  # whatever the other threads do: they may never come back

    def _tell(self, answer: dict[str, Any]) -> None:
        with self._writing, suppress(OSError):  # whoever asked is gone
            self._wire.sendall(orjson.dumps(answer) + b"\n")


def _done(session: Session, job: dict[str, Any]) -> bytes:
    if job["do"] == "sign":
        return session.sign(job["at"], job["with"], b64decode(job["data"]), b64decode(job["as"]))
    if job["do"] == "public_key":
        return session.public_key(job["at"], job["with"])
    session.login() if job["do"] == "login" else session.logout()
    return b""


def _told(fault: DeviceFault) -> dict[str, Any]:
    return {"fault": fault.kind, "code": fault.code, "text": fault.text}


if __name__ == "__main__":
    Worker(socket.socket(fileno=sys.stdin.fileno())).run()
