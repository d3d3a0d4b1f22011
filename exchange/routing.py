"""The routing table: what matches -> endpoints; the first route that matches wins.

Matching cost doesn't depend on how many routes or parties there are: each route is filed under the one of its
conditions that the fewest routes share, and only what is filed under a message's own facts is looked at.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from exchange.agreement import Agreement
from exchange.model import Endpoint, Envelope, Party, Route
from exchange.signing.profiles import PROFILES, Profiles
from exchange.signing.trust import Authority, Terms

if TYPE_CHECKING:
    from exchange.steps import Named

Facts = Mapping[str, tuple[str, ...]]  # type, role, sender, receiver, where.<field> -> the distinct values


def facts_of(envelope: Envelope, sender: Party, receivers: Iterable[str] = ()) -> Facts:
    """Return what routes can match on, of one message from *sender* to *receivers* (party codes)."""
    facts: dict[str, tuple[str, ...]] = {
        "type": (envelope.type,),
        "role": (sender.role,),
        "sender": (sender.code,),
        "receiver": tuple(receivers),
    }
    for name, values in envelope.fields.items():
        facts[f"where.{name}"] = values
    return facts


def agrees(accepted: Sequence[str], values: Sequence[str]) -> bool:
    """Tell whether one condition holds: every value of the message is accepted; a trailing ``*`` is a prefix.

    >>> agrees(["5141", "52*"], ["5209"]), agrees(["5141"], ["5141", "5145"]), agrees(["5141"], [])
    (True, False, False)
    """
    return bool(values) and all(_accepts(accepted, value) for value in values)


def _accepts(accepted: Sequence[str], value: str) -> bool:
    return value in accepted or any(a.endswith("*") and value.startswith(a[:-1]) for a in accepted)


class RoutingTable:
    """Parties, endpoints and routes of one generation. Never changed once in force: a new table replaces it."""

    def __init__(
        self,
        parties: Iterable[Party] = (),
        endpoints: Iterable[Endpoint] = (),
        routes: Iterable[Route] = (),
        kinds: Mapping[str, Any] | None = None,
        steps: Mapping[str, Named] | None = None,
        node: str = "",
        profiles: Profiles = PROFILES,
        trust: Mapping[str, Authority] | None = None,
    ) -> None:
        self.generation = 0  # until it is put in force
        self.parties = {party.code: party for party in parties}
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self.routes = tuple(routes)
        self.kinds = kinds or {}  # name -> adapter class
        self.steps = steps or {}
        self.profiles = profiles
        self.node = node  # what other exchange nodes call this one
        self.trust = trust or {}  # authorities by name; each is replaced where its revocation lists are
        self._by_id = {name: party for party in self.parties.values() for name in (*party.ids, party.code)}
        self._of_party: dict[str, list[Endpoint]] = {}
        for endpoint in self.endpoints.values():
            self._of_party.setdefault(endpoint.party, []).append(endpoint)
        self._replies: dict[tuple[str, str], Endpoint | None] = {}  # what was found before
        self._sealed = [route.match.get("type", ("*",)) for route in self.routes if route.sign]
        self._seals: dict[str, bool] = {}  # what was found before
        self._file()

    def party(self, name: str) -> Party | None:
        """Return the party with this code or identifier."""
        return self._by_id.get(name)

    def reply_endpoint(self, party: str, arrived_at: str) -> Endpoint | None:
        """Return where receipts for *party* go, about something that came in at *arrived_at*.

        That is where the party asked for, else where its message came in (be it at a platform that may send for it),
        else any endpoint of its own that can be sent to; None when there is none.
        """
        if (party, arrived_at) not in self._replies:
            self._replies[party, arrived_at] = self._reply_endpoint(party, arrived_at)
        return self._replies[party, arrived_at]

    def _reply_endpoint(self, party: str, arrived_at: str) -> Endpoint | None:
        known = self.parties.get(party)
        asked = known.agreement.reply_to if known else ""
        places = [self.endpoints.get(asked), self.endpoints.get(arrived_at), *self._of_party.get(party, ())]
        return next((e for e in places if e is not None and self._speaks_for(e.party, party) and self._sends(e)), None)

    def _speaks_for(self, owner: str, party: str) -> bool:
        known = self.parties.get(owner)
        return owner == party or (known is not None and bool({party, "*"} & set(known.agreement.sends_for)))

    def _sends(self, endpoint: Endpoint) -> bool:
        kind = self.kinds.get(endpoint.kind)
        return kind is None or bool(kind.sends)

    @property
    def signs(self) -> bool:
        """Tell whether any route signs."""
        return bool(self._sealed)

    def seals(self, type: str) -> bool:
        """Tell whether any route may sign messages of a type."""
        known = self._seals.get(type)
        if known is None:
            known = self._seals[type] = any(_accepts(accepted, type) for accepted in self._sealed)
        return known

    def terms(self, agreement: Agreement) -> Terms | None:
        """Return which authorities must stand behind a party's certificates; None where being registered is enough."""
        if not agreement.trust:
            return None
        return Terms([self.trust[name] for name in agreement.trust], agreement.signers)

    def has_mailbox(self, endpoint: str) -> bool:
        """Tell whether parcels for this endpoint are delivered by being kept: its peer reads the archive."""
        known = self.endpoints.get(endpoint)
        kind = self.kinds.get(known.kind) if known else None
        return kind is not None and bool(kind.mailbox)

    def bares(self, steps: Sequence[str]) -> bool:
        """Tell whether *steps* begin with one that takes every envelope off."""
        return bool(steps) and bool(self.steps[steps[0]].step.bares)

    # -- matching ------------------------------------------------------------------------------------------------

    def _file(self) -> None:
        """File every route under its rarest exact condition; those without one are always looked at."""
        shared: Counter[tuple[str, str]] = Counter(
            (name, value) for route in self.routes for name, values in route.match.items() for value in values
        )
        self._filed: dict[str, dict[str, list[int]]] = {}
        self._always: list[int] = []
        for rank, route in enumerate(self.routes):
            exact = [n for n, values in route.match.items() if not any(v.endswith("*") for v in values)]
            if not exact:
                self._always.append(rank)
                continue
            rarest = min(exact, key=lambda n: max(shared[n, v] for v in route.match[n]))
            for value in route.match[rarest]:
                self._filed.setdefault(rarest, {}).setdefault(value, []).append(rank)

    def match(self, facts: Facts) -> Route | None:
        """Return the first route whose conditions all hold; None when no route matches."""
        filed = [self._always] if self._always else []
        for name, ranks in self._filed.items():
            filed += [ranks[value] for value in facts.get(name, ()) if value in ranks]
        for rank in filed[0] if len(filed) == 1 else heapq.merge(*filed):
            route = self.routes[rank]
            if all(agrees(accepted, facts.get(name, ())) for name, accepted in route.match.items()):
                return route
        return None

    def explain(self, facts: Facts) -> list[tuple[Route, list[str]]]:
        """Return every route up to the first that matches, each with the conditions that don't hold."""
        told: list[tuple[Route, list[str]]] = []
        for route in self.routes:
            failed = [
                f"{name} is {_show(facts.get(name, ()))}, not {_show(accepted)}"
                for name, accepted in route.match.items()
                if not agrees(accepted, facts.get(name, ()))
            ]
            told.append((route, failed))
            if not failed:
                break
        return told

    def shadowed(self) -> list[tuple[Route, Route]]:
        """Return (route, earlier route) where the earlier one takes everything that the later one could."""
        found = []
        for route in self.routes:
            if not all(route.match.values()):
                continue
            first = self.match({name: (values[0].rstrip("*"),) for name, values in route.match.items()})
            if first is not None and first is not route and _covers(first, route):
                found.append((route, first))
        return found


def _covers(first: Route, later: Route) -> bool:
    """Tell whether every condition of *first* is implied by one of *later*."""
    return all(
        name in later.match and all(_accepts(accepted, value) for value in later.match[name])
        for name, accepted in first.match.items()
    )


def _show(values: Sequence[str]) -> str:
    return " or ".join(values) if values else "not given"
