"""What ends soon: certificates and revocation lists, and who must do what about it. Pure.

Warnings come 60, 30, 14, 7 and 1 days ahead and when the time is over, each once; for what is issued for a shorter
time only those in the second half of it: a list for a week is told of a day ahead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any, Final

from attrs import frozen

from exchange.errors import ConfigurationError
from exchange.instants import SECOND, Instant, show_instant
from exchange.signing import certificates

DAY: Final = 86_400 * SECOND
THRESHOLDS: Final = (0, 1, 7, 14, 30, 60)  # days
_CURES: Final[Mapping[str, tuple[str, str, str]]] = {
    "party": (
        "SWX-4106",
        "ask {owner} for the new certificate and add it to the party's row in routes.yaml",
        "请向接入方 {owner} 索取新证书，并加入其在 routes.yaml 中的登记",
    ),
    "trust": (
        "SWX-4106",
        "get the authority's new certificate and add its file to trust.{owner}.certificates in switchd.yaml",
        "请取得签发机构的新证书，将其文件加入 switchd.yaml 的 trust.{owner}.certificates",
    ),
    "key": (
        "SWX-4106",
        "have a new certificate issued for our key {owner} and put it in the place of this one",
        "请为本方密钥 {owner} 申请新证书，并替换现有证书",
    ),
    "crl": (
        "SWX-4107",
        "get the next revocation list of authority {owner}: switchctl trust crl import FILE, or crl fetch",
        "请取得签发机构 {owner} 的下一份吊销列表：switchctl trust crl import 文件，或 crl fetch",
    ),
}
KINDS: Final = tuple(_CURES)


@frozen
class Expiring:
    """Something that ends."""

    kind: str  # party | trust | key: a certificate of such an owner; crl: a revocation list
    owner: str  # the party's code, the authority's or the key's name
    name: str  # serial number of the certificate, number of the list
    since: Instant
    until: Instant

    def days(self, at: Instant) -> float:
        """Days that are left."""
        return (self.until - at) / DAY

    def threshold(self, at: Instant) -> int | None:
        """Return the nearest threshold that was crossed; 0 where it has ended, None where none was."""
        left, half = self.until - at, (self.until - self.since) / 2
        return next((days for days in THRESHOLDS if left <= days * DAY and (days * DAY < half or days == 0)), None)


def of_certificates(kind: str, owner: str, ders: Iterable[bytes]) -> Iterator[Expiring]:
    """Yield when certificates of an owner end; one that can't be read is told of elsewhere."""
    for der in ders:
        try:
            found = certificates.read(der)
        except ConfigurationError:
            continue
        yield Expiring(kind, owner, found.serial, found.not_before, found.not_after)


def due(
    every: Iterable[Expiring], at: Instant, told: Collection[tuple[Expiring, int]]
) -> Iterator[tuple[Expiring, int]]:
    """Yield what is to be told now, with the threshold; *told* is what was before."""
    for one in every:
        days = one.threshold(at)
        if days is not None and (one, days) not in told:
            yield one, days


def warning(one: Expiring, at: Instant) -> dict[str, Any]:
    """Return the fields of a log line that says what ends, when, and who must do what."""
    code, en, zh = _CURES[one.kind]
    return {
        "kind": one.kind,
        "owner": one.owner,
        "serial": one.name,
        "until": show_instant(one.until),
        "days": round(one.days(at), 1),
        "code": code,
        "en": en.format(owner=one.owner),
        "zh": zh.format(owner=one.owner),
    }


def count(every: Iterable[Expiring], at: Instant) -> dict[str, int]:
    """Return how many of each kind have crossed a threshold; *every* begins with the soonest."""
    soon = takewhile(lambda one: one.until - at <= THRESHOLDS[-1] * DAY, every)
    return dict(Counter(one.kind for one in soon if one.threshold(at) is not None))
