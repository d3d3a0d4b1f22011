"""The step ``unwrap``: take off the envelopes around a message, all or some; what is inside stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from exchange.model import Parcel
from exchange.options import Strict
from exchange.steps import About, Step
from exchange.wrappers import Wrapped, opening
from exchange.yamlfile import suggest


class Options(Strict):
    """Which envelopes are taken off; none named: every one."""

    only: Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)] = (
        Field((), description="kinds of envelopes, outermost first: dxp-node, dxp, zip")
    )


class Unwrap(Step):
    """Takes off envelopes from the outside in, as long as they are of the kinds that were named."""

    Options: ClassVar[type[Strict]] = Options

    def __init__(self, options: Any, folder: Path) -> None:
        known = opening.wrappers()
        for name in options.only:
            if name not in known:
                raise ValueError(f"only: there is no envelope {name!r}{suggest(name, known)}")
        self._only = options.only

    @property
    def bares(self) -> bool:
        """Tell whether nothing but the message is left."""
        return not self._only

    def apply(self, parcel: Parcel, about: About) -> Parcel:
        """Return what is inside; a parcel without such envelopes as it is. Raises Unreadable."""
        payload, around = parcel.read(), list[Wrapped]()
        while (wrapper := opening.wrapper_of(payload)) is not None and (self.bares or wrapper.name in self._only):
            found = wrapper.open(payload)
            if found is None or len(around) > opening.DEEPEST:
                break
            payload = found.payload
            around.append(found)
        return Parcel(opening.inner_name(around, parcel.name), payload, parcel.headers) if around else parcel
