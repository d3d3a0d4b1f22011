"""Who asks the remote signing API, what they may have signed, and how much of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field, frozen

from exchange.errors import ConfigurationError
from exchange.instants import SECOND, Instant, day_number
from exchange.routing import RoutingTable, agrees
from exchange.signing import certificates
from exchange.signing._api_settings import Allowance, ApiSettings

MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND
BEIJING: Final = 8 * 3600 * SECOND


@frozen
class Caller:
    """A client that has shown a certificate we know."""

    name: str  # client:NAME, or party:CODE
    party: str  # for whom it signs
    keys: tuple[str, ...]
    profiles: tuple[str, ...] = ("*",)
    algorithms: tuple[str, ...] = ()  # that it may have any data signed with
    own_key: str = ""  # what it means where it names none
    allowance: Allowance = Allowance()

    def may_use(self, key: str) -> bool:
        """Tell whether it may sign with *key*."""
        return agrees(self.keys, [key])

    def may_ask_for(self, profile: str) -> bool:
        """Tell whether it may have something signed by *profile*, of whatever version."""
        return agrees(self.profiles, [profile]) or agrees(self.profiles, [profile.partition("@")[0]])


class Clients:
    """Finds callers by the certificate that they show; one look-up, however many parties there are."""

    def __init__(self, settings: ApiSettings, table: Callable[[], RoutingTable]) -> None:
        self._settings, self._table = settings, table
        self._listed = _listed(settings)
        self._known: tuple[RoutingTable | None, Mapping[bytes, str]] = None, {}

    def find(self, der: bytes) -> Caller | None:
        """Return whose certificate that is: a client's in the settings, or a party's in the routing table in force."""
        if (name := self._listed.get(der)) is not None:
            return self._client(name)
        code = self._parties(self._table()).get(der)
        return self._party(code) if code else None

    def named(self, name: str, party: str) -> Caller:
        """Return the caller who had this name when it asked, with whatever is known of it now."""
        kind, _, rest = name.partition(":")
        return self._client(rest) if kind == "client" and rest in self._settings.clients else self._party(party)

    def _client(self, name: str) -> Caller:
        row = self._settings.clients[name]
        own = self._own_key(row.party)
        keys = row.keys or ((own,) if own else ())
        only = keys[0] if len(keys) == 1 and not keys[0].endswith("*") else own
        return Caller(f"client:{name}", row.party, keys, row.profiles, row.algorithms, only, row)

    def _party(self, code: str) -> Caller:
        own = self._own_key(code)
        return Caller(f"party:{code}", code, (own,) if own else (), own_key=own, allowance=self._settings)

    def _own_key(self, code: str) -> str:
        party = self._table().parties.get(code)
        return party.signing_key if party else ""

    def _parties(self, table: RoutingTable) -> Mapping[bytes, str]:
        """Return the parties of a table by their certificates; what two of them have is neither's."""
        known, index = self._known
        if known is not table:
            found: dict[bytes, str] = {}
            for party in table.parties.values():
                for der in party.certificates:
                    found[der] = "" if der in found else party.code
            index = {der: code for der, code in found.items() if code}
            self._known = table, index
        return index


def _listed(settings: ApiSettings) -> Mapping[bytes, str]:
    """Return the clients' names by their certificates. Raises ConfigurationError with every mistake."""
    listed: dict[bytes, str] = {}
    problems = []
    for name, row in settings.clients.items():
        try:
            (der, *_) = certificates.from_file(row.certificate.read_bytes())
        except (OSError, ConfigurationError) as why:
            problems.append(f"signing.api.clients.{name}.certificate: {why}")
            continue
        if der in listed:
            problems.append(f"signing.api.clients.{name}.certificate: it is {listed[der]}'s, too")
        listed[der] = name
    if problems:
        raise ConfigurationError(problems, code="SWX-4130")
    return listed


@define
class Quota:
    """What one client has left, by the minute and by the day.

    By the minute it is a bucket that fills evenly and holds a minute's worth; a request that is larger than what is
    left waits, one that is larger than the bucket waits until it is full, and leaves a debt.
    """

    allowance: Allowance
    at: Instant  # of the last look
    left: float = field(init=False)
    today: int = 0  # signed on the day of the last look

    def __attrs_post_init__(self) -> None:
        self.left = float(self.allowance.per_minute)

    def charge(self, count: int, now: Instant) -> float:
        """Grant *count* more: return 0, or the seconds after which to ask again; then nothing is granted."""
        most = self.allowance.per_minute
        self.left = min(float(most), self.left + max(0, now - self.at) * most / MINUTE)
        if day_number(now) != day_number(self.at):
            self.today = 0
        self.at = now
        if self.today + count > self.allowance.per_day:
            return (DAY - (now + BEIJING) % DAY) / SECOND
        if self.left < min(count, most):
            return (min(count, most) - self.left) * 60 / most
        self.left -= count
        self.today += count
        return 0.0
