"""``agreement:`` of a party in ``routes.yaml``: what it and the switch agreed on, as an administrator writes it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from exchange.agreement import Agreement
from exchange.options import Strict
from exchange.signing.trust import subject
from exchange.yamlfile import suggest

Names = Annotated[  # one may stand without brackets
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]


def _ending(text: str) -> str:
    if not re.fullmatch(r"\.[a-z0-9]{1,12}", text):
        raise ValueError("an ending of a name is a dot and small letters, such as .pdf")
    return text


class AgreementRow(Strict):
    """The rows of an agreement; ``model.Agreement`` says what each means."""

    verify: Literal["off", "warn", "require"] = "off"
    profiles: tuple[str, ...] = ()
    trust: Names = ()
    signers: tuple[Annotated[str, AfterValidator(subject)], ...] = ()
    sends_for: tuple[str, ...] = ()
    acknowledge: Literal["all", "rejected", "none"] = "all"
    contrl: Literal["as-asked", "always", "errors", "never"] = "as-asked"
    charset: Literal["", "utf-8", "gb18030", "big5", "iso8859-1"] = ""
    reply_to: str = ""
    opaque: dict[Annotated[str, AfterValidator(_ending)], str] = Field(default_factory=dict)
    receipts: Literal["as-sent", "without-node", "unwrapped"] = "as-sent"

    def value(self) -> Agreement:
        """Return the agreement."""
        return Agreement(**self.model_dump())

    def strangers(self, known: Collection[str] | None) -> list[str]:
        """Return the mistakes in whom it trusts; None: any authority may be there."""
        problems = ["'signers' needs 'trust': whose certificates with these subjects?"] * bool(
            self.signers and not self.trust
        )
        strange = [name for name in self.trust if known is not None and name not in known]
        return problems + [f"unknown authority {name!r} in trust{suggest(name, known or ())}" for name in strange]


PLAIN: Final = AgreementRow()  # one for all parties that say nothing: pydantic would copy it for each, field by field
