"""``key ...`` and ``change ...``: the keys that sign, and the changes that need two persons."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson

from exchange.errors import ConfigurationError, ExchangeError, NotFound, Refused
from exchange.instants import Instant, show_instant
from exchange.register import KeyVersion, Proposal
from exchange.signing import certificates, changes, pkcs10
from exchange.verbs import Verb

if TYPE_CHECKING:
    from exchange.service import Daemon

SHOWN: Final = 20  # rows of an import that are shown to whoever approves it
NEED_REASON: Final = ("change.submit", "change.approve", "change.reject")


class Keys:
    """The verbs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def verbs(self) -> dict[str, Verb]:
        """Return the verbs by name."""
        return {
            "key.list": self.key_list,
            "key.show": self.key_show,
            "key.csr": self.key_csr,
            "change.submit": self.change_submit,
            "change.list": self.change_list,
            "change.show": self.change_show,
            "change.approve": self.change_approve,
            "change.reject": self.change_reject,
        }

    # -- keys ----------------------------------------------------------------------------------------------------

    async def key_list(self, state: str = "", limit: int = 1000) -> list[dict[str, Any]]:
        """List keys: the versions in the register, and those that only the token's settings name."""
        ring = self._daemon.custody.ring
        kept = (_version(version) for version in ring if state in ("", version.state))
        return list(islice((*islice(kept, limit), *self._configured(state)), limit))

    def _configured(self, state: str) -> Iterable[dict[str, Any]]:
        daemon = self._daemon
        if state in ("", "configured"):
            for name in daemon.token.names():
                if not daemon.custody.ring.rules(name):
                    yield {"key": name, "state": "configured", "places": {}} | self._certified(name)

    def _certified(self, name: str) -> dict[str, Any]:
        try:
            return _certificate(self._daemon.token.certificate(name))
        except ExchangeError as why:
            return {"subject": str(why)}

    async def key_show(self, name: str) -> dict[str, Any]:
        """Show every version of a key with its certificate, and which one signs now."""
        daemon = self._daemon
        versions = daemon.custody.ring.of_name(name.partition("/")[0])
        if not versions:
            if name not in daemon.token.names():
                raise NotFound(f"there is no key {name!r}", f"没有密钥 {name!r}")
            der = daemon.token.certificate(name)
            only = {"key": name, "state": "configured", "places": {}} | _certificate(der) | {"pem": _pem(der)}
            return {"name": name, "signs": name, "versions": [only]}
        try:
            signs = daemon.custody.choose(versions[0].name, daemon.now())
        except ExchangeError as why:
            signs = str(why)
        shown = [_version(version) | {"pem": _pem(version.certificate)} for version in versions]
        return {"name": versions[0].name, "signs": signs, "versions": shown}

    async def key_csr(self, name: str, device: str, location: str, subject: str) -> dict[str, str]:
        """Have a key on a device sign a certification request for itself."""
        holder: Any = self._daemon.token
        if not hasattr(holder, "public_key"):
            raise Refused("this switch's token has no keys at places", "本交换机的密码设备不支持按位置取用密钥")
        pem = await pkcs10.request(holder, device, location, subject)
        self._daemon.log.info("key.requested", key=name, device=device, at=location, subject=subject)
        return {"name": name, "pem": pem}

    # -- changes -------------------------------------------------------------------------------------------------

    async def change_submit(
        self, kind: str, reason: str, actor: str, subject: str = "", rows: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, Any]:
        """Ask for a change; a second person approves it."""
        if kind in ("key-create", "key-import"):
            rows = [self._placed(row) for row in rows]
            subject = subject or (str(rows[0].get("name")) if len(rows) == 1 else f"{len(rows)} keys")
        return _proposal(await self._daemon.custody.submit(kind, subject, list(rows) or None, actor, reason))

    def _placed(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row of a key, where none is given with the places that its newest version has: a renewal."""
        versions = self._daemon.custody.ring.of_name(str(row.get("name")))
        if row.get("at") or not versions:
            return row
        return {**row, "at": max(versions, key=lambda version: version.number).places}

    async def change_list(self, state: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """List changes, newest first."""
        known = await self._daemon.store.proposals(limit if not state else changes.ALL)
        return [_proposal(one) for one in known if state in ("", one.state)][:limit]

    async def change_show(self, number: int) -> dict[str, Any]:
        """Show a change, with what it is about."""
        proposal: Proposal = await self._daemon.store.proposal(number)
        return _proposal(proposal) | {"what": self._told(proposal)}

    def _told(self, proposal: Proposal) -> Any:
        what = orjson.loads(proposal.what or b"null")
        if isinstance(what, list):
            return [_row(row) for row in what[:SHOWN]] + [{"more": len(what) - SHOWN}] * (len(what) > SHOWN)
        if what is None:
            return _version(self._daemon.custody.ring.version(proposal.subject))
        return what

    async def change_approve(self, number: int, reason: str, actor: str) -> dict[str, Any]:
        """Approve a change that another person submitted, and do it."""
        done = await self._daemon.custody.decide(number, "approved", actor, reason)
        if done.kind == "profiles":
            await self._daemon.renew_profiles()
        return _proposal(done)

    async def change_reject(self, number: int, reason: str, actor: str) -> dict[str, Any]:
        """Reject a change, or withdraw one's own."""
        return _proposal(await self._daemon.custody.decide(number, "rejected", actor, reason))


# -- for people --------------------------------------------------------------------------------------------------


def _version(version: KeyVersion) -> dict[str, Any]:
    return {
        "key": version.id,
        "state": version.state,
        "kind": version.kind,
        "not_before": show_instant(version.not_before),
        "not_after": show_instant(version.not_after),
        "places": dict(version.places),
        "change": version.change,
    } | _certificate(version.certificate, window=False)


def _certificate(der: bytes, *, window: bool = True) -> dict[str, Any]:
    certificate = certificates.read(der)
    told: dict[str, Any] = {"subject": certificate.subject, "serial": certificate.serial}
    if window:
        told["kind"] = certificates.kind(certificate.key)
        told |= {"not_before": show_instant(certificate.not_before), "not_after": show_instant(certificate.not_after)}
    return told


def _pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of keys to create, with what its certificate says instead of the certificate."""
    try:
        (der, *_) = certificates.from_file(str(row.get("certificate")).encode())
        return {**row, "certificate": _certificate(der)}
    except ConfigurationError as why:
        return {**row, "certificate": str(why)}


def _proposal(proposal: Proposal) -> dict[str, Any]:
    return {
        "number": proposal.number,
        "kind": proposal.kind,
        "subject": proposal.subject,
        "digest": proposal.digest,
        "state": proposal.state,
        "submitted_by": proposal.actor,
        "at": show_instant(proposal.at),
        "reason": proposal.reason,
        "decided_by": proposal.decided_by,
        "decided_at": _shown(proposal.decided_at),
        "remark": proposal.remark,
        "single_handed": proposal.alone,
    }


def _shown(at: Instant) -> str:
    return show_instant(at) if at else ""
