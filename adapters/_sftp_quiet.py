"""A logger for Conch's classes, which log every packet: that costs more than the work it tells of."""

from __future__ import annotations

from typing import Any, Final, Self

from twisted.conch.error import ConchError
from twisted.cred.error import UnauthorizedLogin
from twisted.logger import Logger


class Quiet(Logger):
    """Passes on only failures that nobody foresaw; what peers do wrong is in our own log lines."""

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        return self  # Twisted's makes a new logger at every access

    def emit(self, level: Any, format: str | None = None, **kwargs: Any) -> None:
        """See ``Logger``."""
        failure = kwargs.get("log_failure")
        if failure is not None and not failure.check(ConchError, UnauthorizedLogin):
            super().emit(level, format, **kwargs)


QUIET: Final = Quiet("adapters.sftp_server")
