"""What an enterprise has at its end: an SFTP client that uploads and looks into its boxes, and an HTTPS client."""

from __future__ import annotations

import http.client
import json
import ssl
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from typing import Final, Protocol
from urllib.parse import quote

import paramiko

from simulators._demo_site import HOST, Door, Site

TIMEOUT_SECONDS: Final = 10.0
LOST: Final = (OSError, paramiko.SSHException, http.client.HTTPException)
BOXES: Final = ("InBox", "FailBox")
Mail = tuple[str, str, bytes]  # box, name, body


class Client(Protocol):
    """An enterprise's own program."""

    def put(self, name: str, body: bytes) -> None:
        """Hand a message in. Returns when the switch has it."""

    def fetch(self) -> Iterator[Mail]:
        """Return what has come since the last time."""

    def close(self) -> None:
        """Hang up."""


def connect(site: Site, door: Door) -> Client:
    """Return a client for a door, logged in."""
    return Sftp(site, door) if door.protocol == "SFTP" else Https(site, door)


class Sftp:
    """Uploads under a temporary name and renames, as careful programs do; receipts stay where they are."""

    def __init__(self, site: Site, door: Door) -> None:
        self._ssh = paramiko.SSHClient()
        self._ssh.load_host_keys(str(site.folder / "known_hosts"))
        self._ssh.connect(
            HOST, site.ports["sftp"], door.user, key_filename=str(site.key), allow_agent=False, look_for_keys=False,
            timeout=TIMEOUT_SECONDS, banner_timeout=TIMEOUT_SECONDS, auth_timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        self._sftp = self._ssh.open_sftp()
        channel = self._sftp.get_channel()
        if channel is not None:
            channel.settimeout(TIMEOUT_SECONDS)
        self._seen: set[tuple[str, str]] = set()

    def put(self, name: str, body: bytes) -> None:
        """See ``Client``."""
        self._sftp.putfo(BytesIO(body), f"/OutBox/{name}.tmp", confirm=False)
        self._sftp.rename(f"/OutBox/{name}.tmp", f"/OutBox/{name}")

    def fetch(self) -> Iterator[Mail]:
        """See ``Client``."""
        for box in BOXES:
            for name in self._sftp.listdir(f"/{box}"):
                if (box, name) not in self._seen:
                    self._seen.add((box, name))
                    body = BytesIO()
                    self._sftp.getfo(f"/{box}/{name}", body)
                    yield box, name, body.getvalue()

    def close(self) -> None:
        """See ``Client``."""
        self._ssh.close()


class Https:
    """Posts messages and pages through its receipts; trusts the demonstration's authority and nobody else."""

    def __init__(self, site: Site, door: Door) -> None:
        context = ssl.create_default_context(cafile=str(site.certificate("ca")))
        self._connection = http.client.HTTPSConnection(
            HOST, site.ports["https"], timeout=TIMEOUT_SECONDS, context=context
        )
        self._headers = {"Authorization": f"Bearer {door.key}"}
        self._cursor = "0"

    def put(self, name: str, body: bytes) -> None:
        """See ``Client``."""
        self._ask("POST", "/v1/messages", body, {"Content-Type": "application/xml", "X-File-Name": quote(name)})

    def fetch(self) -> Iterator[Mail]:
        """See ``Client``."""
        page = json.loads(self._ask("GET", f"/v1/receipts?after={self._cursor}"))
        self._cursor = page["next"]
        for entry in page["receipts"]:
            box = "FailBox" if entry["disposition"] == "rejected" else "InBox"
            body = (entry["body"] or "").encode()
            yield box, entry["name"], b64decode(body) if entry["encoding"] == "base64" else body

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        self._connection.request(method, path, body, self._headers | (headers or {}))
        response = self._connection.getresponse()
        answer = response.read()
        self._connection.close()  # it opens again by itself; a server may close one that was idle
        if response.status not in (200, 202):
            raise OSError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return answer

    def close(self) -> None:
        """See ``Client``."""
        self._connection.close()
