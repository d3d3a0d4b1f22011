"""``trust ...``: authorities, their certificates and revocation lists."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from exchange.errors import BadSignature, NotFound, Refused
from exchange.instants import Instant, show_instant
from exchange.signing import certificates
from exchange.signing.expiry import DAY
from exchange.signing.faults import expired
from exchange.signing.revocation import RevocationList
from exchange.signing.trust import Authority

if TYPE_CHECKING:
    from exchange.service import Daemon

NEED_REASON: Final = ("trust.import", "trust.fetch")
Row = dict[str, Any]


class Trust:
    """The verbs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def verbs(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the verbs by name."""
        return {
            "trust.list": self.rows,
            "trust.check": self.check,
            "trust.import": self.import_list,
            "trust.fetch": self.fetch,
        }

    async def rows(self) -> list[Row]:
        """List authorities with their certificates, revocation lists, and what could not be fetched."""
        trusting, now = self._daemon.trusting, self._daemon.now()
        rows = [row for authority in trusting.authorities.values() for row in _rows(authority, now)]
        for (name, url), why in trusting.unfetched.items():
            rows.append({"authority": name, "kind": "url", "name": url, "state": f"SWX-4105 {why}"})
        return sorted(rows, key=lambda row: list(self._daemon.trusting.authorities).index(row["authority"]))

    async def check(self, certificate: str, authority: str = "") -> list[Row]:
        """Tell for every certificate in a file (base64), and each authority, whether its chain stands, or why not."""
        known, now = self._daemon.trusting.authorities, self._daemon.now()
        if authority and authority not in known:
            raise NotFound(f"there is no authority {authority!r}", f"没有签发机构 {authority!r}")
        named = [known[authority]] if authority else list(known.values())
        return [_checked(one, der, now) for der in certificates.from_file(_bytes(certificate)) for one in named]

    async def import_list(self, content: str, reason: str, actor: str, authority: str = "") -> list[Row]:
        """Put the revocation lists in a file (base64) in force; tell how each is now."""
        taken = await self._daemon.trusting.take(_bytes(content), actor, reason, authority)
        return [_list(owner, one, self._daemon.now()) for owner, one in taken]

    async def fetch(self, reason: str, actor: str) -> list[Row]:
        """Fetch the revocation lists from all addresses; tell what became of each."""
        trusting = self._daemon.trusting
        await trusting.fetch(actor, reason, all=True)
        return [
            {"authority": name, "url": source.url, "fetched": (name, source.url) not in trusting.unfetched,
             "why": trusting.unfetched.get((name, source.url), "")}
            for name, source in trusting.sources()
        ]  # fmt: skip


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as why:
        raise Refused(f"this isn't base64: {why}", f"不是 base64：{why}") from None


def _rows(authority: Authority, now: Instant) -> Iterator[Row]:
    for link in authority.pool.links:
        kind = "root" if link.ends else "intermediate"
        found = link.certificate
        state = "good" if found.stands(now) else "not in its time"
        yield _row(authority, kind, link.subject, found.serial, found.not_after, now) | {"state": state}
    for one in authority.lists:
        yield _list(authority, one, now)


def _list(authority: Authority, one: RevocationList, now: Instant) -> Row:
    number = str(one.number) if one.number >= 0 else ""
    return _row(authority, "crl", one.issuer, number, one.next_update, now) | {
        "state": "overdue" if one.overdue(now) else "good",
        "since": show_instant(one.this_update),
        "age_days": round((now - one.this_update) / DAY, 1),
        "revoked": len(one.revoked),
    }


def _row(authority: Authority, kind: str, name: str, number: str, until: Instant, now: Instant) -> Row:
    days = round((until - now) / DAY, 1)
    return {
        "authority": authority.name,
        "kind": kind,
        "name": name,
        "number": number,
        "until": show_instant(until),
        "days": days,
    }


def _checked(authority: Authority, der: bytes, now: Instant) -> Row:
    found = certificates.read(der)
    row: Row = {"authority": authority.name, "serial": found.serial, "subject": found.subject, "stands": False}
    row |= {"chain": [], "code": "", "en": "", "zh": ""}
    try:
        row["chain"] = [link.subject for link in authority.chain(der, now)[1:]]
        warnings = authority.check(der, now)
        if not found.stands(now):
            raise expired(found, now)
    except BadSignature as why:
        return row | {"code": why.code, "en": why.en, "zh": why.zh}
    told = {"code": warnings[0].code, "en": warnings[0].en, "zh": warnings[0].zh} if warnings else {}
    return row | {"stands": True} | told
