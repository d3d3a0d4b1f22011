"""The error tree: whose fault is it, and so who must act?

::

    ExchangeError
    + Rejected             the message's fault: tell its sender, never retry
    |   Unreadable  Unidentified  BadSignature  Invalid  UnknownParty  Conflicting  TooLarge  Discarded
    + Held                 a person must look
    |   Unroutable  Uncorrelated  Poisonous  Unexpected
    + DeliveryError        the far side's fault
    |   Transient  Permanent
    + ConfigurationError   the administrator's fault: every problem with file, line and column
    + TokenError           the device's fault: signing waits or fails over; nothing is rejected for it
    + StoreError           ours or the disk's: intake stops politely, nothing is acknowledged
    + NotFound  Refused    the operator asked for what is not there, or not allowed
    + InvalidTransition    our fault

Every error carries a stable code (``SWX-nnnn``) that receipts, journal, log, API and docs share, and speaks
English and Chinese. ``exchange/codes.yaml`` holds cause and cure of every code; ``switchctl explain`` prints them.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exchange.model import Finding


class ExchangeError(Exception):
    """Something went wrong; *en* and *zh* say the same thing in two languages."""

    default_code: ClassVar[str] = "SWX-9000"

    def __init__(self, en: str, zh: str = "", *, code: str = "") -> None:
        super().__init__(en)
        self.en = en
        self.zh = zh or en
        self.code = code or self.default_code

    def __str__(self) -> str:
        return f"{self.code} {self.en}"


class Rejected(ExchangeError):
    """The message is at fault: its sender is told everything at once, and nothing is retried."""

    default_code = "SWX-1000"
    state: ClassVar[str] = "REJECTED"  # what its sender is told that the message is

    def __init__(self, en: str, zh: str = "", *, code: str = "", findings: Sequence[Finding] = ()) -> None:
        super().__init__(en, zh, code=code)
        self.findings = tuple(findings)


class Unreadable(Rejected):
    """The bytes can't be read as any format."""

    default_code = "SWX-1010"


class Unidentified(Rejected):
    """The bytes can be read, but no message type in the catalogue claims them."""

    default_code = "SWX-1020"


class BadSignature(Rejected):
    """The signature is missing where required, or doesn't stand."""

    default_code = "SWX-1030"


class Invalid(Rejected):
    """The message breaks its schema; every finding is listed.

    *question* names what finds them (type, edition, unsigned, agreed charset), until somebody has time to ask.
    """

    default_code = "SWX-1040"

    def __init__(
        self,
        en: str = "the message breaks its schema",
        zh: str = "报文不符合格式规范",
        *,
        findings: Sequence[Finding] = (),
        question: tuple[str, str, bool, str] | None = None,
    ) -> None:
        super().__init__(en, zh, findings=findings)
        self.question = question


class UnknownParty(Rejected):
    """The sender or a receiver isn't known here, or isn't who the endpoint belongs to."""

    default_code = "SWX-1050"


class Conflicting(Rejected):
    """The sender used this message id before, for other bytes."""

    default_code = "SWX-1060"


class TooLarge(Rejected):
    """The payload is over the limit, which the text names."""

    default_code = "SWX-1070"


class Discarded(Rejected):
    """An operator gave the message up, held or failed as it was: parts of it may have been delivered before."""

    default_code = "SWX-1120"
    state = "DISCARDED"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"discarded by the switch's operator: {reason}. It is not sent on any more; what was delivered of it "
            "before stays delivered. If it is still needed, correct what the reason says and send it again under a "
            "new id",
            f"已由交换机值班员作废，理由：{reason}。本报文不再投递，此前已送达的部分不撤回。"
            "如仍需发送，请按理由更正后使用新的报文编号重新发送",
        )


class Held(ExchangeError):
    """A person must look before the message goes on."""

    default_code = "SWX-2000"


class Unroutable(Held):
    """No route matches."""

    default_code = "SWX-2010"


class Uncorrelated(Held):
    """A receipt whose cause never came, or whose keys point at several senders."""

    default_code = "SWX-2020"


class Poisonous(Held):
    """The worker died on this message three times."""

    default_code = "SWX-2030"


class Unexpected(Held):
    """Our own code failed on this message; the traceback is in the journal."""

    default_code = "SWX-2040"


class DeliveryError(ExchangeError):
    """The far side didn't take the parcel."""

    default_code = "SWX-3000"


class Transient(DeliveryError):
    """Not yet: try again, after *retry_after* seconds where the peer said so."""

    default_code = "SWX-3010"

    def __init__(self, en: str, zh: str = "", *, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(en, zh, code=code)
        self.retry_after = retry_after


class Permanent(DeliveryError):
    """Never: the peer refuses these bytes for good."""

    default_code = "SWX-3020"


class ConfigurationError(ExchangeError):
    """A configuration that must not run; *problems* are lines ``file:line:column: where: what is wrong``."""

    default_code = "SWX-4000"

    def __init__(self, problems: Sequence[str], *, code: str = "") -> None:
        super().__init__("\n".join(problems), code=code)
        self.problems = tuple(problems)


class TokenError(ExchangeError):
    """The device that holds the keys can't sign now."""

    default_code = "SWX-5000"


class StoreError(ExchangeError):
    """The store can't write; intake refuses politely and nothing is acknowledged."""

    default_code = "SWX-6000"


class Busy(StoreError):
    """More has arrived than is sorted; the peer is asked to come back in *retry_after* seconds."""

    default_code = "SWX-6040"

    def __init__(self, en: str, zh: str = "", *, retry_after: float = 5.0) -> None:
        super().__init__(en, zh)
        self.retry_after = retry_after


class NotFound(ExchangeError):
    """What the operator named isn't here."""

    default_code = "SWX-7010"


class Refused(ExchangeError):
    """The operator may not do this, or not in this state, or not without a reason."""

    default_code = "SWX-7020"


class InvalidTransition(ExchangeError):
    """The life of a message or delivery has no such step: our fault."""

    default_code = "SWX-9010"


def whereabouts(error: BaseException) -> str:
    """Return where *error* was raised and its type, but not its text: that may repeat what a message says."""
    return "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
