"""What ``switchctl`` does in a running switch: one table of verbs, each a coroutine that returns plain data.

Changes need a reason; who asks comes from the socket. The console will talk to this room too.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from exchange.errors import NotFound, Poisonous, Refused
from exchange.instants import SECOND, show_id, show_instant
from exchange.lifecycle import MESSAGE
from exchange.model import Arrival, Parcel
from exchange.ports import Change, Changed, Generation
from exchange.signing import expiry
from exchange.verbs import Verb, expect, keys, message_id, subjects, trust
from exchange.verbs.devices import Devices
from exchange.verbs.evidence import Evidence
from exchange.verbs.keys import Keys
from exchange.verbs.signing import Signing
from exchange.verbs.subjects import Subjects

if TYPE_CHECKING:
    from exchange.service import Daemon

CHANGES: Final = ("hold", "release", "resend", "requeue", "discard")
STATES: Final = tuple(state for state in MESSAGE if state)
ANSWER: Final = ("code", "stage", "outcome", "terminal", "text")  # as the store keeps one


class Control:
    """The verbs; call it with a verb's name, its arguments and who asks."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._verbs: dict[str, Verb] = {
            "status": self.status,
            "message.list": self.message_list,
            "message.show": self.message_show,
            "message.search": self.message_search,
            "message.change": self.message_change,
            "queue.list": self.queue_list,
            "receipt.list": self.receipt_list,
            **Subjects(daemon).verbs(),
            **Devices(daemon).verbs(),
            "routes.publish": self.routes_publish,
            "routes.history": self.routes_history,
            "routes.current": self.routes_current,
            "routes.rollback": self.routes_rollback,
            "schema.reload": self.schema_reload,
            **Signing(daemon).verbs(),
            **trust.Trust(daemon).verbs(),
            **Keys(daemon).verbs(),
            **Evidence(daemon).verbs(),
        }

    async def __call__(self, verb: str, arguments: Mapping[str, Any], actor: str) -> Any:
        """Do *verb*. Raises an ExchangeError that tells the operator why not."""
        if verb not in self._verbs:
            raise NotFound(f"there is no verb {verb!r}", f"没有命令 {verb!r}")
        known = dict(arguments)
        if verb in NEED_REASON:
            if not str(known.get("reason") or "").strip():
                raise Refused("a change needs a reason", "变更操作必须说明理由", code="SWX-7021")
            known["actor"] = actor
        try:
            return await self._verbs[verb](**known)
        except TypeError as why:
            raise Refused(f"{verb}: {why}", f"{verb}：参数有误（{why}）") from why

    # -- looking -------------------------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """Tell how the switch is: what is open, what is wrong, what waits."""
        daemon, now = self._daemon, self._daemon.now()
        queues = await daemon.store.queues()
        refusing = daemon.switch.refusing
        held = await daemon.store.messages(state="HELD", limit=1000)
        return {
            "version": version("single-window-switch"),
            "started_at": show_instant(daemon.started_at),
            "up_seconds": (now - daemon.started_at) // SECOND,
            "generation": daemon.switch.table.generation,
            "intake": "open" if refusing is None else f"{refusing.code} {refusing.en}",
            "ready": all(ok for ok, _ in daemon.readiness().values()),
            "held_messages": len(held),
            "held_subjects": {name: subjects.told(hold) for name, hold in sorted(daemon.switch.held.items())},
            "queued": sum(q["depth"] for q in queues if q["state"] in ("QUEUED", "SENDING")),
            "failed": sum(q["depth"] for q in queues if q["state"] == "FAILED"),
            "awaiting_receipt": sum(q["depth"] for q in queues if q["state"] == "DELIVERED"),
            "receipts_missing": _by_party(daemon.missing),
            "certificates_expiring": expiry.count(daemon.trusting.expiring, now),
            "signing_keys": daemon.custody.about,
        }

    async def message_list(self, **filters: Any) -> list[dict[str, Any]]:
        """List messages, newest first; filters: state, party, type, before (an id), limit."""
        if filters.get("state"):
            expect("state", "状态", filters["state"], STATES)
        before = filters.pop("before", "")
        heads = await self._daemon.store.messages(before=message_id(before) if before else 0, **filters)
        return [_dated(head) for head in heads]

    async def message_show(self, id: str) -> dict[str, Any]:
        """Show the whole life of a message, with every regime code in words."""
        life = _dated(await self._daemon.store.life(message_id(id)))
        life["facts"] = _dated(life["facts"])
        for line in life["journal"]:
            if line.get("receipt"):
                line["meaning"] = await self._meaning(line["receipt"], line["code"])
        return life

    async def _meaning(self, receipt: str, code: str) -> dict[str, str]:
        """Return what a code says in the type of the receipt that it came in."""
        try:
            name = (await self._daemon.store.life(message_id(receipt)))["type"]
        except NotFound:  # retention took it
            return {}
        type = self._daemon.catalogue.types.get(name)
        if type is None or type.kind != "receipt":
            return {}
        known = self._daemon.catalogue.code(type, code)
        return {"zh": known.zh, "en": known.en}

    async def message_search(self, key: str, limit: int = 50) -> list[dict[str, Any]]:
        """Find messages by any of their keys: an order number, a GUID, an inventory number."""
        return [_dated(head) for head in await self._daemon.store.search(key, limit)]

    async def queue_list(self) -> list[dict[str, Any]]:
        """List what waits, by endpoint and state, the oldest first."""
        now = self._daemon.now()
        rows = await self._daemon.store.queues()
        for row in rows:
            row["oldest_seconds"] = (now - row.pop("oldest_at")) // SECOND
            row["on_hold"] = self._on_hold(row["endpoint"])
        return sorted(rows, key=lambda row: -row["oldest_seconds"])

    def _on_hold(self, endpoint: str) -> bool:
        known = self._daemon.switch.table.endpoints.get(endpoint)
        subjects = {f"endpoint:{endpoint}", f"party:{known.party if known else ''}"}
        return bool(subjects & set(self._daemon.switch.held))

    async def receipt_list(self, limit: int = 50, party: str = "", unmatched: bool = False) -> list[dict[str, Any]]:
        """List receipts, newest first; *unmatched* only those whose cause has not come."""
        heads = await self._daemon.store.messages(answers=True, party=party, limit=limit if not unmatched else 10_000)
        shown = [_dated(head) for head in heads]
        if unmatched:
            shown = [head for head in shown if head["state"] == "RECEIVED" or head["code"] == "SWX-2020"][:limit]
        return shown

    # -- changing ------------------------------------------------------------------------------------------------

    async def message_change(
        self,
        verb: str,
        ids: Sequence[str],
        reason: str,
        actor: str,
        delivery: int | None = None,
        silent: bool = False,
    ) -> list[dict[str, Any]]:
        """Hold, release, resend, requeue or discard messages: all of them or none.

        Who sent what is discarded is told so, unless *silent*; ``told`` is the endpoint where, or empty.
        """
        if verb not in CHANGES:
            raise NotFound(f"messages can't be {verb!r}", f"没有操作 {verb!r}")
        now = self._daemon.now()
        changes = [Change(message_id(id), verb, actor, reason, now, delivery) for id in ids]
        if verb == "discard":
            changes = [change if silent else await self._telling(change) for change in changes]
        done: list[Changed] = await self._daemon.change(changes)
        for change in changes:
            self._daemon.log.info("message.changed", id=show_id(change.message), verb=verb, actor=actor)
        shown = [{"id": id, "state": changed.state} for id, changed in zip(ids, done, strict=True)]
        if verb != "discard":
            return shown
        return [one | {"told": _told(change)} for one, change in zip(shown, changes, strict=True)]

    async def _telling(self, change: Change) -> Change:
        """Return a discard with the receipt that tells the message's sender, where one is due."""
        daemon, life = self._daemon, await self._daemon.store.life(change.message)
        if change.verb not in MESSAGE[life["state"]]:
            return change  # the store says why not
        parcel = Parcel(life["name"], b"")  # of what is gone, or would do again what it did
        if life["code"] != Poisonous.default_code:
            with suppress(NotFound):
                parcel = await daemon.store.payload(change.message)
        arrival = Arrival(change.message, life["at"], life["endpoint"], life["party"], parcel)
        return evolve(change, planned=await daemon.switch.last_word(arrival, life["type"], change.reason))

    # -- routes --------------------------------------------------------------------------------------------------

    async def routes_publish(self, text: str, reason: str, actor: str, expect: int | None = None) -> dict[str, Any]:
        """Put a bundle in force; *expect* is the generation it was written against."""
        current = self._daemon.switch.table.generation
        if expect is not None and expect != current:
            raise Refused(
                f"generation {current} is in force, not {expect}: look at the difference and publish again",
                f"当前生效的是第 {current} 代，而不是第 {expect} 代：请核对差异后重新发布",
                code="SWX-7030",
            )
        return _generation(await self._daemon.publish(text, actor, reason))

    async def routes_history(self, limit: int = 20) -> list[dict[str, Any]]:
        """List published generations, newest first."""
        return [_generation(g) for g in await self._daemon.store.generations(limit)]

    async def routes_current(self, text: str | None = None) -> dict[str, Any]:
        """Return the bundle in force, and how *text* differs from it."""
        current = await self._daemon.current()
        shown = _generation(current) | {"text": current.text}
        if text is not None:
            lines = difflib.unified_diff(
                current.text.splitlines(), text.splitlines(), f"generation {current.number}", "file", lineterm=""
            )
            shown["diff"] = list(lines)
        return shown

    async def routes_rollback(self, number: int, reason: str, actor: str) -> dict[str, Any]:
        """Put an earlier generation in force again, as a new one."""
        known = {g.number: g for g in await self._daemon.store.generations(1 << 30)}
        if number not in known:
            raise NotFound(f"there is no generation {number}", f"没有第 {number} 代路由表")
        return _generation(await self._daemon.publish(known[number].text, actor, reason))

    # -- message types -------------------------------------------------------------------------------------------

    async def schema_reload(self, reason: str, actor: str) -> dict[str, Any]:
        """Judge by the message types as their files have them now; tell which are others than before."""
        changed = await self._daemon.renew_schemas(actor, reason)
        return {"types": len(self._daemon.catalogue.types), "changed": changed}


NEED_REASON: Final = frozenset(
    [
        "message.change",
        *subjects.NEED_REASON,
        *("hsm.open", "hsm.failover_test"),
        *("routes.publish", "routes.rollback", "schema.reload"),
        *trust.NEED_REASON,
        *keys.NEED_REASON,
    ]
)


def _by_party(missing: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Return party -> stage -> receipts overdue."""
    return {
        party: {stage: count for (whose, stage), count in missing.items() if whose == party}
        for party in dict.fromkeys(party for party, _ in missing)
    }


def _told(change: Change) -> str:
    return ", ".join(planned.endpoint for planned in change.planned)


def _dated(head: dict[str, Any]) -> dict[str, Any]:
    """Write every instant for people, and each answer of a receipt with the names of its parts."""
    shown = dict(head)
    for name, value in head.items():
        if name in ("at", "due_at") and isinstance(value, int):
            shown[name] = show_instant(value)
        elif name == "answers":
            shown[name] = [dict(zip(ANSWER, one, strict=True)) for one in value]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            shown[name] = [_dated(one) for one in value]
    return shown


def _generation(generation: Generation) -> dict[str, Any]:
    return {
        "generation": generation.number,
        "at": show_instant(generation.at),
        "actor": generation.actor,
        "reason": generation.reason,
        "digest": generation.digest,
    }
