"""How a simulated authority misbehaves: each way is a pure function from the normal course to a worse one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import frozen

from simulators._authority_rules import Course, Says, TypeRules

LATE_SECONDS: Final = 20.0


@frozen
class Case:
    """What a misbehavior may look at besides the course."""

    rules: TypeRules  # with what the desk says
    chance: random.Random


def _silence(course: Course, case: Case) -> Course:
    return ()


def _delay(course: Course, case: Case) -> Course:
    return tuple(step.model_copy(update={"after": step.after + LATE_SECONDS}) for step in course)


def _duplicate(course: Course, case: Case) -> Course:
    return tuple(step.model_copy(update={"copies": 2}) for step in course)


def _order(course: Course, case: Case) -> Course:
    pairs = zip(course, reversed(course), strict=True)
    return tuple(said.model_copy(update={"after": step.after}) for step, said in pairs)


def _reject(course: Course, case: Case) -> Course:
    place = next((number for number, step in enumerate(course) if step.decides), len(course) - 1)
    refused = case.rules.refused or Says()
    told = refused.model_copy(update={"info": case.chance.choice(case.rules.refusals)})
    return (*course[:place], course[place].saying(told))


def _error(course: Course, case: Case) -> Course:
    return (course[0].saying(case.rules.fault or Says()),)


def _garbage(course: Course, case: Case) -> Course:
    return (*course[:-1], course[-1].model_copy(update={"whole": False}))


def _unknown(course: Course, case: Case) -> Course:
    return (course[0], course[0].saying(case.rules.unlisted or Says()), *course[1:])


@frozen
class Misbehavior:
    """One way to misbehave; a number in a document that ends in *suffix* asks for it."""

    suffix: str
    bend: Callable[[Course, Case], Course]


MISBEHAVIORS: Final[Mapping[str, Misbehavior]] = MappingProxyType(
    {
        "silence": Misbehavior("-SILENT", _silence),
        "delay": Misbehavior("-LATE", _delay),
        "duplicate": Misbehavior("-DUP", _duplicate),
        "order": Misbehavior("-ORDER", _order),
        "reject": Misbehavior("-REJ", _reject),
        "error": Misbehavior("-ERR", _error),
        "garbage": Misbehavior("-GARBAGE", _garbage),
        "unknown": Misbehavior("-UNKNOWN", _unknown),
    }
)


def asked_for(values: Sequence[str], shares: Mapping[str, float], chance: random.Random) -> Misbehavior | None:
    """Return how to misbehave: as a number in the document asks, else by chance; None to behave."""
    for kind in MISBEHAVIORS.values():
        if any(value.endswith(kind.suffix) for value in values):
            return kind
    return next((MISBEHAVIORS[name] for name, share in shares.items() if chance.random() < share), None)
