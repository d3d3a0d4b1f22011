# mypy: disallow-untyped-calls=False
"""Keys: which kinds we accept from users, and the ones this server is known by."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import BadKeyError, EncryptedKeyError, FingerprintFormats, Key

from adapters._folder import make_directory, unfinished
from adapters._spool import sync_directory
from exchange.errors import ConfigurationError

# Signature algorithm -> type of the key: SHA-1 (ssh-rsa) and DSA are gone.
ALGORITHMS: Final = {
    b"ssh-ed25519": b"ssh-ed25519",
    b"ecdsa-sha2-nistp256": b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384": b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521": b"ecdsa-sha2-nistp521",
    b"rsa-sha2-512": b"ssh-rsa",
    b"rsa-sha2-256": b"ssh-rsa",
}
SHORTEST_RSA: Final = 2048  # bits
OWN_KEY: Final = "ssh_host_ed25519_key"


def key_blob(line: str) -> bytes:
    """Return the key in a line as in ``authorized_keys``; raise ValueError where it can't be one."""
    kind, _, rest = line.strip().partition(" ")
    blob = base64.b64decode(rest.split(" ")[0], validate=True)
    named = NS(kind.encode())
    if kind.encode() not in ALGORITHMS.values() or blob[: len(named)] != named or len(blob) <= len(named):
        raise ValueError("no OpenSSH public key line of type ssh-ed25519, ecdsa-sha2-nistp* or ssh-rsa")
    return blob


def host_keys(paths: Sequence[Path], directory: Path, log: Any) -> dict[bytes, Key]:
    """Read the host keys by type; where none is configured, an Ed25519 key of our own, made at the first start.

    Raises ConfigurationError with every file that can't be used.
    """
    keys, problems = {}, []
    for path in paths or (_own_key(directory, log),):
        try:
            key = Key.fromFile(str(path))
            keys[key.sshType()] = key
        except (OSError, BadKeyError, EncryptedKeyError) as error:
            problems.append(f"switchd.yaml: sftp_server.host_keys: {path}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return keys


def _own_key(directory: Path, log: Any) -> Path:
    path = directory / OWN_KEY
    if not path.exists():
        make_directory(directory)
        key = Key(Ed25519PrivateKey.generate())
        draft = unfinished(directory)
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(key.toString("openssh"))
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)  # of two workers that start together, one makes the key
            log.info(
                "sftp.host_key_made", path=str(path), fingerprint=key.fingerprint(FingerprintFormats.SHA256_BASE64)
            )
        except FileExistsError:
            pass
        draft.unlink()
        sync_directory(directory)
    return path
