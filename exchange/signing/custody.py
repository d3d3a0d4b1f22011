"""Custody of the signing keys (密钥保管): the register at work, between the store that keeps it and the token.

Whoever signs asks ``choose`` for the version of a key; whoever changes keys comes through ``submit`` and ``decide``.
A change is judged, written and only then taught to the token, one at a time; the next message is signed under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson
from attrs import evolve

from exchange.errors import ExchangeError, Refused, TokenError
from exchange.instants import Instant
from exchange.ports import Token
from exchange.register import HELD, KeyVersion, Proposal, Register
from exchange.signing import certificates, changes
from exchange.signing.keyring import Keyring

PROVED: Final = frozenset(("key-create", "key-activate"))  # an import is proved by the first signature of each key


class Custody:
    """Holds the ring of keys.

    *sections* are those parts of switchd.yaml that two persons agree on, as they are written: ``profiles``, and for a
    token with keys in files ``token``; *judge* raises where one can't be in force. Without *dual_control* what is
    submitted is done at once.
    """

    def __init__(
        self,
        store: Register,
        token: Token,
        *,
        now: Callable[[], Instant],
        log: Any,
        dual_control: bool = True,
        sections: Mapping[str, Any] | None = None,
        software: bool = False,
        judge: Callable[[str, Any], Awaitable[None]] | None = None,
    ) -> None:
        self._store, self._token, self._now, self._log = store, token, now, log
        self._dual, self._sections, self.software = dual_control, sections or {}, software
        self._judge = judge
        self._allowed = software and bool(self._sections.get("token"))
        self.ring = Keyring()
        self.enabled = not dual_control and self._allowed  # keys in files may sign
        self._agreed: dict[str, bytes] = {}  # kind -> the section that two persons agreed on last
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Read the register, and teach it to the token."""
        versions = await self._store.signing_keys()
        self.ring = Keyring.of(versions)
        self._token.learn(version for version in versions if version.state in HELD)
        proposals = await self._store.proposals(changes.ALL)
        for kind in changes.SECTIONS:
            if (last := changes.in_force(kind, proposals)) is not None:
                self._agree(kind, (await self._store.proposal(last.number)).what)

    # -- signing -------------------------------------------------------------------------------------------------

    def choose(self, name: str, at: Instant) -> str:
        """Return what the token calls the version of key *name* that signs *at*. Raises TokenError.

        A key about which the register says nothing yet is one of the token's settings, under its plain name.
        """
        known = name in self.ring
        if self.software and not self.enabled and (known or self._allowed):
            raise TokenError(
                "keys in files sign only where switchd.yaml allows them (token.allow_software_keys) and two persons "
                "agreed: switchctl change submit software-keys --reason ...",
                "文件密钥须在 switchd.yaml 中允许（token.allow_software_keys），并经两人同意后方可签名："
                "switchctl change submit software-keys --reason ...",
                code="SWX-5043",
            )
        if known and (self.ring.rules(name) or not self._configured(name)):
            return self.ring.current(name, at).id
        return name

    def _configured(self, name: str) -> bool:
        try:
            return bool(self._token.certificate(name))
        except TokenError:
            return False

    def _agree(self, kind: str, section: bytes) -> None:
        self._agreed[kind] = section
        if kind == "software-keys" and self._dual:
            self.enabled = self._allowed and section == changes.canonical(self._sections["token"])

    @property
    def about(self) -> str:
        """Tell for people what signs here: keys in files are none for production."""
        if not self.software:
            return f"on devices, {len(self.ring)} registered"
        if not self._allowed:
            return "none: keys in files are not allowed"
        return "in files: non-production" if self.enabled else "in files: not enabled, SWX-5043"

    def section(self, kind: str) -> Any:
        """Return the section of switchd.yaml that is in force: as written, or as two persons last agreed; or None."""
        written = self._sections.get(changes.SECTIONS[kind])
        if not self._dual:
            return written
        agreed = self._agreed.get(kind, b"{}")
        if agreed != changes.canonical(written or {}):
            self._log.warning("section.not_approved", section=changes.SECTIONS[kind], code="SWX-4121")
        return orjson.loads(agreed) or None

    def certificates(self, used: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the certificates of keys that sign: of the register's, and of those of the settings that are *used*."""
        yield from ((version.name, version.certificate) for version in self.ring.lasting())
        for name in used:
            if not self.ring.rules(name):
                with suppress(ExchangeError):  # its files can't be used: whoever signs with it is told
                    yield name, self._token.certificate(name)

    # -- changes -------------------------------------------------------------------------------------------------

    async def submit(self, kind: str, subject: str, what: Any, actor: str, reason: str) -> Proposal:
        """Keep a proposal that can be done as things stand; without dual control, do it. Raises NotFound, Refused."""
        async with self._turn:
            if kind in changes.SECTIONS:
                subject, what = changes.SECTIONS[kind], self._written(kind)
            proposal = changes.proposed(kind, subject, what, actor, reason, self._now())
            if not self._dual:
                return await self._done(changes.decided(proposal, "approved", actor, reason, self._now(), dual=False))
            await self._judged(proposal)
            kept = await self._store.record(proposal)
            self._tell("submitted", kept)
            return kept

    def _written(self, kind: str) -> Any:
        """Return a section as it is written; one that was taken out is empty. Raises Refused where it is in force."""
        name = changes.SECTIONS[kind]
        written = self._sections.get(name) or {}
        if self._dual and changes.canonical(written) == self._agreed.get(kind, b"{}"):
            raise Refused(
                f"there is nothing to approve: section {name} of switchd.yaml is in force as written, or not there",
                f"无需批准：switchd.yaml 的 {name} 一节已按现有内容生效，或不存在",
            )
        return written

    async def decide(self, number: int, state: str, actor: str, reason: str) -> Proposal:
        """Approve or reject a proposal. Raises NotFound, Refused."""
        async with self._turn:
            proposal = await self._store.proposal(number)
            decided = changes.decided(proposal, state, actor, reason, self._now(), dual=self._dual)
            if state == "approved":
                return await self._done(decided)
            kept = await self._store.record(decided)
            self._tell(state, kept)
            return kept

    async def _done(self, proposal: Proposal) -> Proposal:
        """Write what was approved, and let it have its effect."""
        versions = await self._judged(proposal)
        kept = await self._store.record(proposal, versions)
        versions, ring = await _aside(_changed, self.ring, versions, kept.number)
        self._token.learn(versions)
        self.ring = ring
        if kept.kind in changes.SECTIONS and not kept.alone:
            self._agree(kept.kind, kept.what)
        self._tell("approved", kept)
        return kept

    async def _judged(self, proposal: Proposal) -> Sequence[KeyVersion]:
        """Return what a proposal does to keys, or raise why it can't; many rows are read beside the event loop."""
        versions: Sequence[KeyVersion] = await _aside(changes.effect, proposal, self.ring, self._now())
        if proposal.kind in changes.SECTIONS and self._judge is not None:
            await self._judge(proposal.kind, orjson.loads(proposal.what))
        if proposal.kind in PROVED:
            await self._prove(versions[0])
        return versions

    async def _prove(self, version: KeyVersion) -> None:
        """Compare the key at every place with the certificate; a place that can't be looked at now proves nothing.

        Raises Refused where one is another key's; TokenError where no place can be looked at.
        """
        if not hasattr(self._token, "public_key"):  # it has no keys at places: the first signature proves it
            return
        key, silent, looked = certificates.read(version.certificate).key, [], False
        for device, location in version.places.items():
            try:
                found = certificates.public_key(await self._token.public_key(device, location))
            except TokenError as why:
                silent.append(why)
                continue
            looked = True
            if not certificates.same(key, found):
                raise Refused(
                    f"the key at {device}={location} is not the one in the certificate of {version.id}",
                    f"{device}={location} 处的密钥与 {version.id} 的证书不符",
                    code="SWX-7043",
                )
        if not looked:
            raise silent[0]

    def _tell(self, state: str, proposal: Proposal) -> None:
        self._log.info(
            f"change.{state}",
            number=proposal.number,
            kind=proposal.kind,
            subject=proposal.subject,
            digest=proposal.digest,
            submitted_by=proposal.actor,
            decided_by=proposal.decided_by,
            reason=proposal.remark or proposal.reason,
        )


def _changed(ring: Keyring, versions: Sequence[KeyVersion], change: int) -> tuple[Sequence[KeyVersion], Keyring]:
    numbered = [evolve(version, change=change) for version in versions]
    return numbered, ring.changed(numbered)


def _aside(does: Callable[..., Any], *values: Any) -> Awaitable[Any]:
    """Do what may be about a province's keys in another thread: everybody else gets their turns."""
    return asyncio.get_running_loop().run_in_executor(None, does, *values)
