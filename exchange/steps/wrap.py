"""The step ``wrap``: put what is to be sent into an envelope; the bytes inside stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from exchange.instants import ID_BITS
from exchange.model import Envelope, Parcel, Party
from exchange.options import Strict
from exchange.steps import About, Step
from exchange.wrappers import Label, opening
from exchange.yamlfile import suggest


class Options(Strict):
    """What it is put into; the other keys are that envelope's own."""

    model_config = ConfigDict(extra="allow", frozen=True)
    into: str = Field(description="kind of envelope: dxp, dxp-node or zip")


class Wrap(Step):
    """Writes a new envelope, addressed to the receiver that the copy is for."""

    Options: ClassVar[type[Strict]] = Options

    def __init__(self, options: Any, folder: Path) -> None:
        known = opening.wrappers()
        if options.into not in known:
            raise ValueError(f"into: there is no envelope {options.into!r}{suggest(options.into, known)}")
        self._wrapper = known[options.into]
        self._options = self._wrapper.Options.model_validate(options.model_extra or {})

    @property
    def answered(self) -> bool:
        """Tell whether answers to the envelope come by the id that it is given."""
        return bool(self._wrapper.answers)

    def apply(self, parcel: Parcel, about: About) -> Parcel:
        """Return the parcel in its envelope. Raises Held (SWX-2074) where that lacks an address."""
        envelope = about.envelope
        name = opening.wrapped_name(self._wrapper.name, parcel.name)
        label = Label(
            own_id=opening.transmission(envelope),
            type=about.type.name,
            name=parcel.name,
            at=about.at,
            sender=envelope.sender,
            receivers=_receivers(envelope, about.receiver),
            part=_part(envelope, about.receiver),
            number=about.message & ((1 << ID_BITS) - 1),
        )
        return Parcel(name, self._wrapper.wrap(parcel.read(), label, self._options), parcel.headers)


def _receivers(envelope: Envelope, receiver: Party | None) -> tuple[str, ...]:
    """Return the receiver as the message calls it, else by the first of its identifiers."""
    if receiver is None:
        return envelope.receivers
    return (opening.called(receiver, envelope.receivers),)


def _part(envelope: Envelope, receiver: Party | None) -> int:
    """Return which copy this is, from 1, of a message to several; 0 where it is to one."""
    if receiver is None or len(envelope.receivers) < 2:
        return 0
    known = (*receiver.ids, receiver.code)
    return next((number for number, one in enumerate(envelope.receivers, 1) if one in known), 0)
