"""``evidence ...``: what only a running switch can add to an evidence file, a signature by its own key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from exchange.errors import Refused
from exchange.evidence import statement
from exchange.signing.profiles import PROFILES
from exchange.signing.sealing import Seal
from exchange.verbs.signing import sealed

if TYPE_CHECKING:
    from exchange.service import Daemon

Verb = Callable[..., Awaitable[str]]


class Evidence:
    """The verbs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def verbs(self) -> dict[str, Verb]:
        """Return the verbs by name."""
        return {"evidence.sign": self.sign}

    async def sign(self, message: str, digest: str) -> str:
        """Sign that a message's evidence has a manifest with this SHA-256; nothing where the site names no key.

        Raises TokenError.
        """
        daemon = self._daemon
        asked, at = daemon.installation.settings.evidence, daemon.now()
        if not asked.key:
            return ""
        signer = daemon.token.certificate(daemon.signing.choose(asked.key, at))
        try:
            document = statement.written(message, digest, signer, at)
        except ValueError as why:
            raise Refused(str(why), "须给出报文编号和清单的 SHA-256") from why
        result = await sealed(
            daemon, f"evidence {message}", Seal(document, None, PROFILES.named(asked.profile), asked.key)
        )
        if result.error is not None:
            raise result.error
        return result.body.decode()
