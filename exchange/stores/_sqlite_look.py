"""Looking up what deciding a message needs: earlier messages with its id, and the causes of a receipt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from exchange.errors import NotFound
from exchange.instants import NUMBER_BITS
from exchange.model import Cause, Context, Document, Prior, Question, indexed
from exchange.stores._sqlite_base import Database
from exchange.stores._sqlite_keys import KeyIndex, key_hash
from exchange.stores._sqlite_rows import Rows

DEEP: Final = 50  # messages that carry one value and are looked into, newest first
LIVING: Final = ("ACCEPTED", "COMPLETED")


class Look:
    """Answers questions from the key index; every hit is checked against the envelope."""

    def __init__(self, db: Database, keys: KeyIndex, rows: Rows) -> None:
        self._db, self._keys, self._rows = db, keys, rows

    def contexts(self, questions: Sequence[Question]) -> list[Context]:
        """Return a Context for each question."""
        wanted = {key_hash(q.own_id) for q in questions}
        for q in questions:
            if q.receipt:
                wanted.update(key_hash(value) for d in q.documents for value in d.indexed())
        found = self._keys.find(wanted)
        return [Context(self._prior(q, found), self._causes(q, found)) for q in questions]

    def _carriers(self, value: str, found: Mapping[int, Sequence[int]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for message in found.get(key_hash(value), ())[:DEEP]:
            try:
                facts = self._rows.envelope(message)
            except NotFound:  # retention took it; its keys stay until their week goes
                continue
            if facts is not None:
                yield message, facts

    def _prior(self, q: Question, found: Mapping[int, Sequence[int]]) -> Prior | None:
        for message, facts in self._carriers(q.own_id, found):
            if message == q.message or (facts["own_id"], facts["sender"], facts["type"]) != (
                q.own_id,
                q.sender,
                q.type,
            ):
                continue
            inside = facts.get("digest")  # of what came in an envelope, which may be a fresh one
            digest = bytes.fromhex(inside) if inside else self._rows.message(message)[7]
            state = self._rows.state(message)
            if state in LIVING and (digest == q.digest or not q.receipt):
                return Prior(message, digest, state)
        return None

    def _causes(self, q: Question, found: Mapping[int, Sequence[int]]) -> tuple[tuple[Cause, ...], ...]:
        if not q.receipt:
            return ()
        known: dict[tuple[int, int], Cause | None] = {}
        return tuple(tuple(self._candidates(document, q.answers, found, known)) for document in q.documents)

    def _candidates(
        self,
        document: Document,
        types: Sequence[str],
        found: Mapping[int, Sequence[int]],
        known: dict[tuple[int, int], Cause | None],
    ) -> list[Cause]:
        """Return what one record may answer, newest first, by the most trusted of its keys that leads there.

        An inventory's number is also in what asks to cancel it: only the *types* that the receipt answers count.

        A document that agrees on one key but contradicts a less trusted one is another document: authorities repeat
        GUIDs over the records of one file. Receipts seen before lead to their own causes, so that numbers which an
        authority gave (preNo, invtNo) are learned from its first receipt.
        """
        names = list(document.keys)
        for learned in (False, True):
            for rank, name in enumerate(names):
                places: dict[tuple[int, int], None] = {}
                for message, facts in self._carriers(indexed(document.keys[name]), found):
                    if learned is not bool(facts.get("answers")):
                        continue
                    for number, keys in enumerate(facts.get("documents", ())):
                        cause = facts["causes"][number] if learned else (message, number)
                        if (
                            cause
                            and keys.get(name) == document.keys[name]
                            and _agree(keys, document, names[rank + 1 :])
                        ):
                            places[cause[0], cause[1]] = None
                causes = [cause for place in places if (cause := self._cause(place, types, known))]
                if causes:
                    return causes
        return []

    def _cause(
        self, place: tuple[int, int], types: Sequence[str], known: dict[tuple[int, int], Cause | None]
    ) -> Cause | None:
        if place not in known:
            try:
                known[place] = self._read_cause(*place)
            except NotFound:
                known[place] = None
        cause = known[place]
        return cause if cause and (not types or cause.type in types) else None

    def _read_cause(self, message: int, document: int) -> Cause | None:
        facts = self._rows.envelope(message)
        if facts is None or not self._may_be_answered(message):
            return None
        row = self._rows.message(message)
        open_to = self._db.connection.execute(
            "SELECT DISTINCT party FROM delivery WHERE id >= ? AND id < ?",
            (message << NUMBER_BITS, (message + 1) << NUMBER_BITS),
        ).fetchall()
        return Cause(
            id=message,
            document=document,
            party=facts["sender"],
            endpoint=self._db.text(row[2]),
            type=facts["type"],
            name=row[4],
            own_id=facts["own_id"],
            documents=len(facts.get("documents", ())) or 1,
            awaits=tuple(self._db.text(party) for (party,) in open_to),
        )

    def _may_be_answered(self, message: int) -> bool:
        """Tell whether a receiver may have a message: whatever was accepted once, though an operator discarded it."""
        state = self._rows.state(message)
        if state != "DISCARDED":
            return state in (*LIVING, "FAILED")
        return any(event == "accept" for _, _, event, *_ in self._rows.events(message))


def _agree(keys: Mapping[str, str], document: Document, names: Sequence[str]) -> bool:
    return all(name not in keys or keys[name] == document.keys[name] for name in names)
