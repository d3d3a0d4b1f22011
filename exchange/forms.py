"""What travels instead of the message's own bytes: sealed, and what the steps of its route make of it.

The message itself stays as it came, and is kept; each form is kept with the delivery that it was made for. What can't
be made is rejected or held, as the route says, under the code of the step that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

from attrs import Factory, evolve, frozen

from exchange import plugins
from exchange.errors import ExchangeError, Held, Rejected
from exchange.explaining import Worker
from exchange.instants import Instant
from exchange.intake import Examined
from exchange.model import Decision, Parcel, Planned, Route
from exchange.planning import BESIDE, plan
from exchange.routing import RoutingTable
from exchange.signing.profiles import Profile
from exchange.signing.sealing import Seal, Sealed
from exchange.signinglog import Operation
from exchange.steps import About, Named, apply, blamed
from exchange.wrappers import opening

SECONDS: Final = 30.0  # that a slow step may take for one message
Decided = tuple[Examined, Decision]
Again = Callable[[Examined, ExchangeError], Decision]  # decides a message anew, which something is wrong with


@frozen
class Formed:
    """Decisions, with the forms of their deliveries, and what the signing log says of those."""

    decided: list[Decided]
    forms: Mapping[int, Mapping[int, Parcel]] = Factory(dict)  # arrival -> index in decision.planned -> form
    operations: Mapping[int, Sequence[Operation]] = Factory(dict)  # arrival -> rows for the signing log


def slow(decision: Decision, table: RoutingTable, size: int) -> bool:
    """Tell whether a step that a decision asks for, of a payload of *size* bytes, must not run on the reactor."""
    return any(table.steps[name].step.slow(size) for planned in decision.planned for name in planned.steps)


# -- sealing -----------------------------------------------------------------------------------------------------

Place = tuple[str, str]  # profile, key


def seals(e: Examined, decision: Decision, table: RoutingTable) -> dict[Place, Seal]:
    """Return what of a message is to be sealed, by profile and key."""
    wanted = {(p.sign, p.key) for p in decision.planned if p.sign}
    return {(sign, key): _seal(e, table.profiles.named(sign), key) for sign, key in sorted(wanted)}


def _seal(e: Examined, profile: Profile, key: str) -> Seal:
    """Return what is to be sealed: what stands inside the envelopes, or the parcel as it came."""
    if profile.enveloped:
        return Seal(e.opened.payload, e.opened.document, profile, key, e.behind_signature)
    return Seal(e.arrival.parcel.read(), None, profile, key)


def sealed(one: Decided, names: Mapping[Place, str], results: Mapping[Place, Sealed], again: Again) -> Formed:
    """Return a decision with what was sealed for it, under their names; what can't be sealed is decided anew."""
    e, decision = one
    operations = [one.operation for one in results.values() if one.operation]
    why = next((one.error for one in results.values() if one.error), None)
    if why is not None:
        return Formed([(e, again(e, why))], operations={e.arrival.id: operations})
    places = {i: (p.sign, p.key) for i, p in enumerate(decision.planned) if p.sign}
    forms = {i: Parcel(names[place], results[place].body) for i, place in places.items()}
    return Formed([(e, decision)], {e.arrival.id: forms}, {e.arrival.id: operations})


def together(many: Sequence[Formed]) -> Formed:
    """Return several as one."""
    return Formed(
        [one for formed in many for one in formed.decided],
        {id: forms for formed in many for id, forms in formed.forms.items()},
        {id: operations for formed in many for id, operations in formed.operations.items()},
    )


def form_name(e: Examined, profile: Profile) -> str:
    """Return the name of what is sealed: of what stands inside, where that is."""
    name = e.arrival.parcel.name
    if not profile.enveloped:
        return name + profile.suffix
    return opening.inner_name(e.opened.wrappers, name) if e.opened.wrappers else name


# -- steps -------------------------------------------------------------------------------------------------------


async def stepped(formed: Formed, worker: Worker, table: RoutingTable, at: Instant, again: Again) -> Formed:
    """Apply the steps of every delivery; one failure is no failure of the batch."""
    kept: list[Decided] = []
    forms = {arrival: dict(known) for arrival, known in formed.forms.items()}
    for e, decision in formed.decided:
        if any(planned.steps for planned in decision.planned):
            mine = forms.setdefault(e.arrival.id, {})
            e, decision = await _transformed(e, decision, mine, worker, table, at, again)
        kept.append((e, decision))
    return evolve(formed, decided=kept, forms=forms)


async def _transformed(
    e: Examined,
    decision: Decision,
    forms: dict[int, Parcel],
    worker: Worker,
    table: RoutingTable,
    at: Instant,
    again: Again,
) -> Decided:
    """Apply the steps of every delivery of one message; all of them succeed, or it goes nowhere."""
    told = []
    for i, planned in enumerate(decision.planned):
        if not planned.steps:
            continue
        steps = [table.steps[name] for name in planned.steps]
        try:
            parcel = forms.get(i, e.arrival.parcel)
            forms[i] = await _applied(parcel, steps, about(e, i, planned, table, at), worker, table.generation)
        except (Rejected, Held) as why:
            forms.clear()
            return e, again(e, _as_asked(why, planned.on_failure))
        told.append(f"{planned.endpoint}: {', '.join(map(str, steps))}")
        if e.envelope is not None and any(one.step.answered for one in steps):
            e = evolve(e, envelope=opening.transmitted(e.envelope))
    return e, evolve(decision, steps=tuple(told))


def about(e: Examined, number: int, planned: Planned, table: RoutingTable, at: Instant) -> About:
    """Return what the steps of a delivery, by its *number* among those that are planned, may know."""
    assert e.envelope is not None and e.type is not None  # noqa: S101, PT018
    receiver = table.parties.get(planned.receiver or planned.party)
    return About(e.envelope, e.type, receiver, at, e.arrival.id, number)


def rehearsed(e: Examined, route: Route, table: RoutingTable, at: Instant) -> list[tuple[Planned, Parcel]]:
    """Make the forms of a message by a route, without sealing and all in this process."""
    assert e.message is not None  # noqa: S101
    message, sender = e.message, table.parties[e.message.sender]
    names = [party.code for name in message.envelope.receivers if (party := table.party(name)) is not None]
    copies = [plan(message, sender, receiver, route, table, ()) for receiver in dict.fromkeys(names) or ("",)]
    made = []
    for number, planned in enumerate(chain.from_iterable(copies)):
        if planned.disposition == BESIDE:
            continue
        parcel = e.arrival.parcel
        if planned.sign:
            unsealed = _seal(e, table.profiles.named(planned.sign), planned.key)
            parcel = Parcel(form_name(e, unsealed.profile), unsealed.original)
        steps = [table.steps[name] for name in planned.steps]
        made.append((planned, apply(parcel, steps, about(e, number, planned, table, at))))
    return made


def _as_asked(why: Rejected | Held, on_failure: str) -> Rejected | Held:
    if on_failure == "reject":
        return why if isinstance(why, Rejected) else Rejected(why.en, why.zh, code=why.code)
    return why if isinstance(why, Held) else Held(why.en, why.zh, code=why.code)


async def _applied(parcel: Parcel, steps: Sequence[Named], about: About, worker: Worker, generation: int) -> Parcel:
    for named in steps:
        if not named.step.slow(parcel.size):
            parcel = apply(parcel, [named], about)
            continue
        plain = evolve(about, type=evolve(about.type, spec=None))  # the format's instructions stay here
        options = named.options.model_dump_json(by_alias=True)
        row = generation, named.name, named.kind, named.version, options, str(named.folder)
        try:
            parcel = await worker.run(apply_there, row, parcel, plain, seconds=SECONDS, attempts=1)
        except TimeoutError:
            late = f"it took longer than {SECONDS:.0f} seconds", f"执行超过 {SECONDS:.0f} 秒"
            raise blamed(named, Held(*late, code="SWX-2075")) from None
        except BrokenProcessPool:
            raise blamed(named, Held("its process died", "其进程异常退出", code="SWX-2075")) from None
    return parcel


def apply_there(row: tuple[int, str, str, str, str, str], parcel: Parcel, about: About) -> Parcel:
    """Apply one step in the worker process, where it is made anew once."""
    return apply(parcel, [made(*row)], about)


@lru_cache(256)
def made(generation: int, name: str, kind: str, version: str, options: str, folder: str) -> Named:
    """Make a step from what its row says; anew for each generation of the table, for the files it names may change."""
    step: Any = plugins.load("steps", kind)
    read = step.Options.model_validate_json(options)
    return Named(name, kind, version, read, Path(folder), step(read, Path(folder)))
