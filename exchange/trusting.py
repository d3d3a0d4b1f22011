"""The authorities in force: their files, their revocation lists (imported or fetched, kept on disk), what ends soon.

``Trusting.authorities`` is what the routing table refers to. An authority in it is replaced as soon as it has a new
list; the next message is judged by that.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from exchange.errors import ConfigurationError
from exchange.fetching import fetch
from exchange.instants import SECOND, Instant
from exchange.routing import RoutingTable
from exchange.settings import Installation, ListSettings
from exchange.signing import certificates, expiry, revocation
from exchange.signing.expiry import Expiring
from exchange.signing.revocation import RevocationList
from exchange.signing.trust import BACKWARD, STRANGE, Authority, Pool

WRONG: Final = "SWX-4100"
UNFETCHED: Final = "SWX-4105"
HOUR: Final = 3600 * SECOND
AGAIN: Final = 600 * SECOND  # after a fetch that failed
Taken = tuple[Authority, RevocationList]
Ours = Callable[
    [Iterable[str]], Iterable[tuple[str, bytes]]
]  # names of keys that are used -> our keys and their certificates


# -- files -------------------------------------------------------------------------------------------------------


def authorities(installation: Installation) -> dict[str, Authority]:
    """Read the certificates of every authority. Raises ConfigurationError with every mistake and its place."""
    found, problems = {}, []
    for name, row in installation.settings.trust.items():
        ders: list[bytes] = []
        for i, path in enumerate(row.certificates):
            try:
                ders += certificates.from_file(_read(installation.path(path)))
                Pool(ders)
            except ConfigurationError as why:
                ders = []
                problems += _placed(installation, why, name, "certificates", i)
        found[name] = Authority(name, Pool(ders), (), row.require_crl, row.overdue)
    if problems:
        raise ConfigurationError(problems, code=WRONG)
    return found


def _listed(installation: Installation, known: dict[str, Authority], now: Instant) -> list[str]:
    """Give authorities the lists in the files that are named for them; return the mistakes."""
    problems = []
    for name, row in installation.settings.trust.items():
        for i, source in enumerate(row.crl):
            try:
                lists = revocation.from_file(_read(installation.path(source.file))) if source.file else ()
                known[name] = _with(known[name], lists, now)
            except ConfigurationError as why:
                problems += _placed(installation, why, name, "crl", i)
    return problems


def _with(authority: Authority, lists: Iterable[RevocationList], now: Instant) -> Authority:
    """Return an authority with those of the lists that aren't older than its own."""
    for one in lists:
        try:
            authority = authority.with_list(one, now)
        except ConfigurationError as why:
            if why.code != BACKWARD:
                raise
    return authority


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise ConfigurationError([f"{path} can't be read: {why.strerror}"]) from None


def _placed(installation: Installation, why: ConfigurationError, *place: str | int) -> list[str]:
    return [installation.document.problem(("trust", *place), problem) for problem in why.problems]


def _keep(folder: Path, one: RevocationList) -> None:
    """Write a list in the place of the earlier one of its kind, durably: it must not go backward."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / "draft"
    with draft.open("wb") as file:
        file.write(one.signed.der)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / f"{hashlib.sha256(repr(one.key).encode()).hexdigest()[:16]}.crl")
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- in force ----------------------------------------------------------------------------------------------------


class Trusting:
    """Keeps the authorities and tells what ends."""

    def __init__(self, installation: Installation, now: Callable[[], Instant], log: Any) -> None:
        self.authorities: dict[str, Authority] = {}
        self.unfetched: dict[tuple[str, str], str] = {}  # authority and address -> why not
        self._installation, self._now, self._log = installation, now, log
        self._folder = installation.path(installation.settings.revocations)
        self._due: dict[tuple[str, str], Instant] = {}  # when an address is fetched next
        self._told: set[tuple[Expiring, int]] = set()
        self._certificates: Sequence[Expiring] = ()
        self._changing = asyncio.Lock()

    def read(self) -> dict[str, Authority]:
        """Read every file anew, and the lists kept from before. Raises ConfigurationError with every mistake."""
        known = authorities(self._installation)
        for name, authority in known.items():
            for path in sorted((self._folder / name).glob("*.crl")):
                try:
                    known[name] = authority = _with(authority, revocation.from_file(_read(path)), self._now())
                except ConfigurationError as why:  # spoiled, or its issuer isn't among the authority's any more
                    self._log.warning("crl.dropped", authority=name, file=path.name, problems=why.problems)
        kept = {name: authority.lists for name, authority in known.items()}
        if problems := _listed(self._installation, known, self._now()):
            raise ConfigurationError(problems, code=WRONG)
        for name, authority in known.items():
            for one in set(authority.lists) - set(kept[name]):
                _keep(self._folder / name, one)
        return known

    async def renew(self) -> None:
        """Take over the files as they stand. Raises ConfigurationError; then nothing changes."""
        async with self._changing:
            self.authorities.update(await asyncio.to_thread(self.read))

    async def take(self, content: bytes, actor: str, reason: str, only: str = "") -> list[Taken]:
        """Put the lists in a file in force for every authority that stands behind them; all or none.

        Raises ConfigurationError, as ``revocation.from_file`` and ``Authority.with_list`` do.
        """
        async with self._changing:
            taken = await asyncio.to_thread(self._take, content, only)
            self.authorities.update({authority.name: authority for authority, _ in taken})
        for authority, one in taken:
            self._log.info("crl.taken", authority=authority.name, number=one.number, revoked=len(one.revoked),
                           actor=actor, reason=reason)  # fmt: skip
        return taken

    def _take(self, content: bytes, only: str) -> list[Taken]:
        known, taken = dict(self.authorities), []
        for one in revocation.from_file(content):
            named = [authority for name, authority in known.items() if only in ("", name)]
            faults = {authority.name: authority.pool.stands_behind(one) for authority in named}
            behind = [authority for authority in named if faults[authority.name] is None]
            if not behind:
                why = "; ".join(f"{name}: {fault[0]}" for name, fault in faults.items() if fault)
                text = f"no authority in switchd.yaml stands behind this revocation list ({why or 'there is none'})"
                raise ConfigurationError([text], code=STRANGE)
            for authority in behind:
                known[authority.name] = authority.with_list(one, self._now())
                taken.append((authority.name, one))
        for name, one in taken:
            _keep(self._folder / name, one)
        return [(known[name], one) for name, one in taken]

    # -- fetching ------------------------------------------------------------------------------------------------

    def sources(self) -> list[tuple[str, ListSettings]]:
        """Return the addresses that lists are fetched from, with the authority of each."""
        rows = self._installation.settings.trust.items()
        return [(name, source) for name, row in rows for source in row.crl if source.url]

    async def fetch(self, actor: str = "switchd", reason: str = "fetched", *, all: bool = False) -> None:
        """Fetch what is due, or all; what fails is noted and tried again. Messages are judged meanwhile as before."""
        for name, source in self.sources():
            key, now = (name, source.url), self._now()
            if all or now >= self._due.get(key, 0):
                fetched = await self._fetch(key, actor, reason)
                self._due[key] = now + (int(source.every_hours * HOUR) if fetched else AGAIN)

    async def _fetch(self, key: tuple[str, str], actor: str, reason: str) -> bool:
        name, url = key
        try:
            await self.take(await asyncio.to_thread(fetch, url), actor, reason, name)
        except (OSError, ConfigurationError) as why:
            self.unfetched[key] = why.en if isinstance(why, ConfigurationError) else str(why) or type(why).__name__
            self._log.warning("crl.unfetched", authority=name, url=url, code=UNFETCHED, why=self.unfetched[key])
            return False
        self.unfetched.pop(key, None)
        return True

    # -- what ends -----------------------------------------------------------------------------------------------

    @property
    def expiring(self) -> list[Expiring]:
        """Everything that ends, the soonest first."""
        return sorted((*self._certificates, *self._lists()), key=_until)  # mostly sorted: costs next to nothing

    def _lists(self) -> list[Expiring]:
        return [
            Expiring("crl", name, str(one.number) if one.number >= 0 else "-", one.this_update, one.next_update)
            for name, authority in self.authorities.items()
            for one in authority.lists
        ]

    async def tend(self) -> None:
        """Fetch the lists that are due, and tell of those that end."""
        await self.fetch()
        self._tell(self._lists())

    async def look(self, table: RoutingTable, ours: Ours) -> None:
        """Tell of certificates that end: of parties, authorities and our own keys. 70 000 take seconds of a thread."""
        self._certificates = await asyncio.to_thread(_certificates, table, dict(self.authorities), ours)
        self._tell(self._certificates)

    def _tell(self, every: Iterable[Expiring]) -> None:
        for one, days in expiry.due(every, self._now(), self._told):
            self._told.add((one, days))
            self._log.warning("certificate.expires", threshold_days=days, **expiry.warning(one, self._now()))


def _certificates(table: RoutingTable, known: Mapping[str, Authority], ours: Ours) -> list[Expiring]:
    found: list[Expiring] = []
    for party in table.parties.values():
        found += expiry.of_certificates("party", party.code, party.certificates)
    for name, authority in known.items():
        found += expiry.of_certificates("trust", name, (one.certificate.der for one in authority.pool.links))
    keys = {party.signing_key for party in table.parties.values()} | {route.key for route in table.routes}
    for key, der in ours(sorted(keys - {""})):
        found += expiry.of_certificates("key", key, [der])
    return sorted(found, key=_until)


def _until(one: Expiring) -> Instant:
    return one.until
