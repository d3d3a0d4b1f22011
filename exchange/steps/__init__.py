"""Steps of a route: named, versioned pure functions from a parcel to a parcel.

A step is chosen by its *kind*, an entry point of the group ``exchange.steps``, and described by a row under ``steps:``
in ``routes.yaml``: its name, kind and version, and the options of its kind. What a step makes is a form of its own,
kept with the delivery; the message itself is never changed. See docs/decisions/0012-envelopes-and-steps.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from attrs import frozen

from exchange.errors import Held, Rejected
from exchange.instants import Instant, show_id, show_instant
from exchange.model import Envelope, MessageType, Parcel, Party
from exchange.options import Strict


@frozen
class About:
    """What a step may know besides the bytes."""

    envelope: Envelope
    type: MessageType
    receiver: Party | None  # whose endpoint the delivery is for
    at: Instant
    message: int = 0  # id of the message
    delivery: int = 0  # which of its deliveries this is, in the order in which they are planned

    @property
    def facts(self) -> dict[str, str]:
        """Return what maps and stylesheets may write into what they make, as text."""
        receiver = self.receiver
        return {
            "id": self.envelope.own_id,
            "message": show_id(self.message),
            "at": show_instant(self.at),
            "receiver": (receiver.ids[0] if receiver.ids else receiver.code) if receiver else "",
        }


class Step(Protocol):
    """Turns one parcel into another; made once from its row, then used for every message.

    The same parcel and the same About give the same bytes: no clock, no chance, no network, no file that may change.
    A step is a subclass of this one and says what is special about it.
    """

    Options: ClassVar[type[Strict]]  # the step's row in routes.yaml besides name, kind and version

    def __init__(self, options: Any, folder: Path) -> None:
        """Make a step; files that *options* name are relative to *folder*.

        Raises ValueError that says what is wrong.
        """

    @abstractmethod
    def apply(self, parcel: Parcel, about: About) -> Parcel:
        """Return what becomes of a parcel. Raises Rejected or Held, with a code and both languages."""

    def slow(self, size: int) -> bool:
        """Tell whether *size* bytes are for the worker process, with a deadline, instead of the reactor."""
        return False

    @property
    def bares(self) -> bool:
        """Tell whether it leaves nothing around the message."""
        return False

    @property
    def answered(self) -> bool:
        """Tell whether answers to what it writes come by the id that it gives."""
        return False


@frozen
class Named:
    """A step as a row of the table names it."""

    name: str
    kind: str
    version: str
    options: Any
    folder: Path
    step: Step

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def apply(parcel: Parcel, steps: Sequence[Named], about: About) -> Parcel:
    """Apply steps one after the other. Raises Rejected or Held, and the text names the step that can't be applied."""
    for named in steps:
        try:
            parcel = named.step.apply(parcel, about)
        except (Rejected, Held) as why:
            raise blamed(named, why) from None
        except Exception as why:  # a mistake in the step: the message waits for whoever mends it
            text = f"{type(why).__name__}"
            raise blamed(named, Held(f"it failed ({text})", f"执行出错（{text}）", code="SWX-2073")) from why
    return parcel


def blamed(named: Named, why: Rejected | Held) -> Rejected | Held:
    """Return an error again, with the name of the step in both texts."""
    en, zh = f"step {named.name}: {why.en}", f"步骤 {named.name}：{why.zh}"
    if isinstance(why, Rejected):
        return Rejected(en, zh, code=why.code, findings=why.findings)
    return Held(en, zh, code=why.code)
