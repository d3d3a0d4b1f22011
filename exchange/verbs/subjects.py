"""``party ...`` and ``endpoint ...``: who exchanges messages here and where; holding, resuming and importing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from exchange import plugins
from exchange.errors import ConfigurationError, Refused
from exchange.instants import SECOND, show_instant
from exchange.ports import Hold
from exchange.routesfile import ROLES, PartyRow
from exchange.verbs import Verb, expect
from exchange.yamlfile import Document

if TYPE_CHECKING:
    from exchange.service import Daemon

NEED_REASON: Final = ("party.hold", "party.import", "endpoint.hold")


class Subjects:
    """The verbs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def verbs(self) -> dict[str, Verb]:
        """Return the verbs by name."""
        return {
            "party.list": self.parties,
            "party.hold": self.hold_party,
            "party.import": self.import_parties,
            "endpoint.list": self.endpoints,
            "endpoint.hold": self.hold_endpoint,
        }

    async def parties(self, role: str = "") -> list[dict[str, Any]]:
        """List the parties, with their endpoints, and who put them on hold when and why."""
        if role:
            expect("role", "角色", role, ROLES)
        table = self._daemon.switch.table
        endpoints: dict[str, list[str]] = {}
        for endpoint in table.endpoints.values():
            endpoints.setdefault(endpoint.party, []).append(endpoint.name)
        return [
            {
                "code": party.code,
                "role": party.role,
                "name": party.name,
                "ids": list(party.ids),
                **self._standing(f"party:{party.code}"),
                "endpoints": endpoints.get(party.code, []),
            }
            for party in table.parties.values()
            if role in ("", party.role)
        ]

    async def endpoints(self, party: str = "") -> list[dict[str, Any]]:
        """List the endpoints, what waits for each, and who put them on hold when and why."""
        table, now = self._daemon.switch.table, self._daemon.now()
        if party:
            expect("party", "接入方", party, table.parties)
        waiting = self._daemon.switch.sending.waiting()
        return [
            {
                "name": endpoint.name,
                "party": endpoint.party,
                "kind": endpoint.kind,
                **self._standing(f"endpoint:{endpoint.name}"),
                "waiting": count,
                "oldest_seconds": None if oldest is None else (now - oldest) // SECOND,
            }
            for endpoint in table.endpoints.values()
            if party in ("", endpoint.party)
            for count, oldest in [waiting.get(endpoint.name, (0, None))]
        ]

    def _standing(self, subject: str) -> dict[str, Any]:
        hold = self._daemon.switch.held.get(subject)
        return {"state": "held" if hold else "active", "hold": told(hold) if hold else None}

    async def hold_party(self, code: str, state: str, reason: str, actor: str) -> dict[str, str]:
        """Hold a party (``held``) or resume it (empty)."""
        expect("party", "接入方", code, self._daemon.switch.table.parties)
        return await self._hold(f"party:{code}", state, reason, actor)

    async def hold_endpoint(self, name: str, state: str, reason: str, actor: str) -> dict[str, str]:
        """Hold an endpoint (``held``) or resume it (empty)."""
        expect("endpoint", "端点", name, self._daemon.switch.table.endpoints)
        return await self._hold(f"endpoint:{name}", state, reason, actor)

    async def _hold(self, subject: str, state: str, reason: str, actor: str) -> dict[str, str]:
        if state not in ("held", ""):
            raise Refused(f"{state!r} is neither 'held' nor empty", f"{state!r} 既不是 held 也不为空")
        await self._daemon.hold(subject, state, actor, reason)
        self._daemon.log.info("subject.held" if state else "subject.resumed", subject=subject, actor=actor)
        return {"subject": subject, "state": state or "active"}

    async def import_parties(self, rows: Sequence[Mapping[str, Any]], reason: str, actor: str) -> dict[str, Any]:
        """Keep parties in the store, after checking every one, and take them into the table in force."""
        problems = [text for number, row in enumerate(rows, 1) for text in _mistakes(row, number)]
        if problems:
            raise ConfigurationError(problems)
        count = await self._daemon.import_parties(rows, actor, reason)
        return {"imported": count}


def told(hold: Hold) -> dict[str, str]:
    """Tell since when, by whom and why something is on hold."""
    return {"since": show_instant(hold.at), "by": hold.actor, "reason": hold.reason}


def _mistakes(row: Mapping[str, Any], number: int) -> list[str]:
    """Return every mistake in one line of a list of parties."""
    line = Document("imported", row, {(): (number, 1)})
    try:
        party = PartyRow.model_validate(row)
    except ValidationError as why:
        return line.problems(why, PartyRow)
    found = []
    for index, endpoint in enumerate(party.endpoints):
        at = ("endpoints", index)
        try:
            options = plugins.load("adapters", endpoint.kind).Options
            options.model_validate(endpoint.model_extra or {})
        except ConfigurationError as why:
            found += [line.problem((*at, "kind"), text) for text in why.problems]
        except ValidationError as why:
            found += line.problems(why, options, at)
    return found
