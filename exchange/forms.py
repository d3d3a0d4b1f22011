"""What travels instead of the message's own bytes: sealed, and what the steps of its route make of it.

The message itself stays as it came, and is kept; each form is kept with the delivery that it was made for. What can't
be made is rejected or held, as the route says, under the code of the step that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from attrs import Factory, evolve, field, frozen

from exchange import plugins
from exchange.errors import ExchangeError, Held, Rejected, TokenError
from exchange.explaining import Worker
from exchange.instants import Instant
from exchange.intake import Examined
from exchange.model import Arrival, Decision, Parcel, Planned, Route
from exchange.planning import BESIDE, plan
from exchange.ports import Token
from exchange.routing import RoutingTable
from exchange.signing.profiles import Profile
from exchange.signing.sealing import Seal, seal
from exchange.steps import About, Named, apply, blamed
from exchange.wrappers import opening

SECONDS: Final = 30.0  # that a slow step may take for one message
Decided = tuple[Examined, Decision]
Again = Callable[[Examined, ExchangeError], Decision]  # decides a message anew, which something is wrong with


@frozen
class Formed:
    """Decisions, with the forms of their deliveries; *unsigned* is what the token can't sign now."""

    decided: list[Decided]
    forms: Mapping[int, Mapping[int, Parcel]] = Factory(dict)  # arrival -> index in decision.planned -> form
    unsigned: list[tuple[Arrival, TokenError]] = field(factory=list)


def slow(decision: Decision, table: RoutingTable, size: int) -> bool:
    """Tell whether a step that a decision asks for, of a payload of *size* bytes, must not run on the reactor."""
    return any(table.steps[name].step.slow(size) for planned in decision.planned for name in planned.steps)


async def form(
    decided: list[Decided], token: Token, worker: Worker, table: RoutingTable, at: Instant, again: Again
) -> Formed:
    """Make every form that *decided* asks for; one failure is no failure of the batch."""
    wanted: dict[tuple[int, str, str], Seal] = {}
    stepped = False
    for e, decision in decided:
        for planned in decision.planned:
            place = e.arrival.id, planned.sign, planned.key
            if planned.sign and place not in wanted:
                wanted[place] = _seal(e, planned, table, at)
            if planned.steps:
                stepped = True
    formed = await _sealed(decided, wanted, token, again) if wanted else Formed(decided)
    return await _stepped(formed, worker, table, at, again) if stepped else formed


# -- sealing -----------------------------------------------------------------------------------------------------


async def _sealed(
    decided: list[Decided], wanted: Mapping[tuple[int, str, str], Seal], token: Token, again: Again
) -> Formed:
    """Sign what is to be sealed; what the token can't sign now comes back, to be decided a little later."""
    results = dict(zip(wanted, await seal(token, list(wanted.values())), strict=True))
    errors = {place[0]: why for place, why in results.items() if isinstance(why, Exception)}
    kept: list[Decided] = []
    forms: dict[int, dict[int, Parcel]] = {}
    unsigned: list[tuple[Arrival, TokenError]] = []
    for e, decision in decided:
        why = errors.get(e.arrival.id)
        if isinstance(why, TokenError):
            unsigned.append((e.arrival, why))
            continue
        if why is not None:
            decision = again(e, why)
        forms[e.arrival.id] = {
            i: Parcel(_name(e, wanted[e.arrival.id, p.sign, p.key].profile), body)
            for i, p in enumerate(decision.planned)
            if p.sign and isinstance(body := results[e.arrival.id, p.sign, p.key], bytes)
        }
        kept.append((e, decision))
    return Formed(kept, forms, unsigned)


def _seal(e: Examined, planned: Planned, table: RoutingTable, at: Instant) -> Seal:
    """Return what a delivery asks to be sealed: what stands inside the envelopes, or the parcel as it came."""
    profile = table.profiles.named(planned.sign)
    if profile.enveloped:
        return Seal(e.opened.payload, e.opened.document, profile, planned.key, at, e.behind_signature)
    return Seal(e.arrival.parcel.read(), None, profile, planned.key, at)


def _name(e: Examined, profile: Profile) -> str:
    """Return the name of what is sealed."""
    name = e.arrival.parcel.name
    if not profile.enveloped:
        return name + profile.suffix
    return opening.inner_name(e.opened.wrappers, name) if e.opened.wrappers else name


# -- steps -------------------------------------------------------------------------------------------------------


async def _stepped(formed: Formed, worker: Worker, table: RoutingTable, at: Instant, again: Again) -> Formed:
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
            forms[i] = await _applied(parcel, steps, about(e, planned, table, at), worker, table.generation)
        except (Rejected, Held) as why:
            forms.clear()
            return e, again(e, _as_asked(why, planned.on_failure))
        told.append(f"{planned.endpoint}: {', '.join(map(str, steps))}")
        if e.envelope is not None and any(one.step.answered for one in steps):
            e = evolve(e, envelope=opening.transmitted(e.envelope))
    return e, evolve(decision, steps=tuple(told))


def about(e: Examined, planned: Planned, table: RoutingTable, at: Instant) -> About:
    """Return what the steps of a delivery may know."""
    assert e.envelope is not None and e.type is not None  # noqa: S101, PT018
    receiver = table.parties.get(planned.receiver or planned.party)
    return About(e.envelope, e.type, receiver, at, e.arrival.id)


def rehearsed(e: Examined, route: Route, table: RoutingTable, at: Instant) -> list[tuple[Planned, Parcel]]:
    """Make the forms of a message by a route, without sealing and all in this process."""
    assert e.message is not None  # noqa: S101
    message, sender = e.message, table.parties[e.message.sender]
    names = [party.code for name in message.envelope.receivers if (party := table.party(name)) is not None]
    made = []
    for receiver in dict.fromkeys(names) or ("",):
        for planned in plan(message, sender, receiver, route, table, ()):
            if planned.disposition == BESIDE:
                continue
            sealed = _seal(e, planned, table, at) if planned.sign else None
            parcel = Parcel(_name(e, sealed.profile), sealed.original) if sealed else e.arrival.parcel
            steps = [table.steps[name] for name in planned.steps]
            made.append((planned, apply(parcel, steps, about(e, planned, table, at))))
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
