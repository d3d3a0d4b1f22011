"""Deciding a message under a table that isn't in force: with no switch, no store and nothing sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from attrs import asdict, evolve

from exchange import forms
from exchange.commands._offline import Routes
from exchange.errors import Invalid, NotFound
from exchange.intake import Examined, decide, examine
from exchange.model import Arrival, Context, Decision, Parcel, Party
from exchange.ports import microseconds
from exchange.routesfile import Test
from exchange.routing import facts_of
from exchange.yamlfile import suggest

Words = tuple[str, str]  # English and Chinese


def rehearse(routes: Routes, name: str, body: bytes, party: Party) -> tuple[Examined, Decision]:
    """Decide a message from *party* as if nothing had come before it."""
    at = microseconds()
    arrival = Arrival(0, at, "", party.code, Parcel(name, body))
    examined = _explained(examine(arrival, routes.catalogue, routes.table, at), routes)
    records = len(examined.envelope.documents) if examined.envelope else 0
    return examined, decide(examined, Context(causes=((),) * records), routes.catalogue, routes.table, at)


def _explained(examined: Examined, routes: Routes) -> Examined:
    """Find everything that is wrong with an invalid message, as the switch does before it rejects one."""
    why = examined.error
    if not isinstance(why, Invalid) or why.question is None:
        return examined
    type, edition, unsigned, charset = why.question
    body = examined.arrival.parcel.read()
    found = routes.catalogue.explain(body, type, edition, unsigned=unsigned, charset=charset)
    return evolve(examined, error=Invalid(findings=found))


def party_of(routes: Routes, name: str) -> Party:
    """Return the party with this code or identifier. Raises NotFound."""
    party = routes.table.party(name)
    if party is None:
        raise NotFound(f"no party {name!r}{suggest(name, routes.table.parties)}", f"没有接入方 {name!r}")
    return party


def outcome_of(decision: Decision) -> dict[str, Any]:
    """Return what a decision comes to: outcome, route, endpoints, signature, and why not."""
    planned = [one for one in decision.planned if one.disposition in ("message", "receipt")]
    return {
        "outcome": decision.event,
        "route": decision.route,
        "to": [one.endpoint for one in planned],
        "sign": next((one.sign for one in decision.planned if one.sign), ""),
        "key": next((one.key for one in decision.planned if one.key), ""),
        "code": decision.code,
        "en": decision.en,
        "zh": decision.zh,
        "findings": [asdict(one) for one in decision.findings],
    }


def transform(routes: Routes, name: str, body: bytes, party: str, route_name: str) -> list[dict[str, Any]]:
    """Make what each delivery of a message by a route would be, unsealed; the route needn't match.

    *party* empty is who the message says it is from. Raises NotFound, and what is wrong with message or steps.
    """
    table = routes.table
    route = next((one for one in table.routes if one.name == route_name), None)
    if route is None:
        known = suggest(route_name, [one.name for one in table.routes])
        raise NotFound(f"no route {route_name!r}{known}", f"没有路由 {route_name!r}")
    if not party:
        opened = routes.catalogue.open(body)
        party = routes.catalogue.read(opened, routes.catalogue.identify(opened)).sender
    examined, _ = rehearse(routes, name, body, party_of(routes, party))
    if examined.error is not None:
        raise examined.error
    return [
        {
            "endpoint": planned.endpoint,
            "receiver": planned.receiver or planned.party,
            "steps": [str(table.steps[step]) for step in planned.steps],
            "sign": planned.sign,
            "name": parcel.name,
            "body": parcel.read(),
        }
        for planned, parcel in forms.rehearsed(examined, route, table, microseconds())
    ]


# -- the tests of a table ----------------------------------------------------------------------------------------


def run_test(routes: Routes, test: Test) -> dict[str, Any]:
    """Run one test of a table; *problems* tells what happened instead of what was expected."""
    told: dict[str, Any] = {"place": test.place, "sample": test.sample, "from": test.sender}
    try:
        body = (routes.path.parent / test.sample).read_bytes()
        _, decision = rehearse(routes, test.sample, body, party_of(routes, test.sender))
    except (OSError, NotFound) as why:
        problem = (why.en, why.zh) if isinstance(why, NotFound) else (f"can't be read: {why.strerror}", "无法读取")
        return told | {"passed": False, "problems": [_words(problem)]}
    told |= outcome_of(decision)
    problems = [_words(problem) for problem in _differences(test, told)]
    return told | {"passed": not problems, "problems": problems}


def _words(words: Words) -> dict[str, str]:
    return {"en": words[0], "zh": words[1]}


def _differences(test: Test, told: dict[str, Any]) -> Iterator[Words]:
    if told["outcome"] != test.outcome:
        en = f"expected {test.outcome}, but the outcome is {told['outcome']}"
        zh = f"应为 {test.outcome}，实为 {told['outcome']}"
        yield f"{en}: {told['code']} {told['en']}".rstrip(": "), f"{zh}：{told['code']} {told['zh']}".rstrip("： ")
        for one in told["findings"]:
            yield f"{one['pointer']}: {one['en']}", f"{one['pointer']}：{one['zh']}"
        return
    if test.route and told["route"] != test.route:
        yield (
            f"expected route {test.route}, but {told['route']} matches",
            f"应走路由 {test.route}，实走 {told['route']}",
        )
    if test.to is not None and sorted(test.to) != sorted(told["to"]):
        wanted, found = ", ".join(test.to) or "-", ", ".join(told["to"]) or "-"
        yield f"expected to go to {wanted}, but goes to {found}", f"应送往 {wanted}，实送往 {found}"


# -- why a message goes where it goes ----------------------------------------------------------------------------


def explain(routes: Routes, name: str, body: bytes, party: Party) -> dict[str, Any]:
    """Tell what a message says, every route that was tried and why, and what it comes to."""
    examined, decision = rehearse(routes, name, body, party)
    told: dict[str, Any] = {"file": name, "from": party.code, "type": "", "edition": "", "own_id": "", "keys": []}
    told |= {"facts": {}, "tried": []} | outcome_of(decision)
    envelope, table = examined.envelope, routes.table
    if examined.type is None or envelope is None:
        return told
    sender = table.party(envelope.sender) or party
    receivers = [known.code for one in envelope.receivers if (known := table.party(one)) is not None]
    facts = facts_of(envelope, sender, receivers)
    tried = table.explain(facts)
    if examined.type.kind == "receipt":
        tried, told["outcome"] = [], "receipt"
        told["en"], told["zh"] = (
            "a receipt takes no route: it goes to who sent what it answers",
            "回执不走路由，送回原发送方",
        )
    return told | {
        "type": envelope.type,
        "edition": routes.catalogue.edition(examined.type, datetime.now(UTC).date(), envelope.version).name,
        "own_id": envelope.own_id,
        "keys": [dict(document.keys) for document in envelope.documents],
        "facts": {name: list(values) for name, values in facts.items()},
        "tried": [{"route": r.name, "matches": not failed, "because": failed} for r, failed in tried],
    }
