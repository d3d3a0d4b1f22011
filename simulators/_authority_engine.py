"""The engine of a simulated authority: what its rules say about a message. Pure: no clock, disk or network.

It reads a message as the switch does, by paths in the rules, whatever the format is. To find what a receipt answers
is the switch's work; here nothing is kept of a message.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from attrs import field, frozen

from exchange.catalogue import Catalogue
from exchange.errors import BadSignature, ConfigurationError, Invalid, Rejected, Unidentified
from exchange.formats import Documents, Opened, Reader, TypeFile
from exchange.instants import SECOND, Instant, show_instant
from exchange.model import Answer, Finding, MessageType
from exchange.signing.faults import MISSING
from exchange.signing.profiles import PROFILES
from exchange.signing.xmldsig import verify
from simulators._authority_rules import Course, Desk, Rules, Says, Sources, Step, TypeRules
from simulators._authority_writing import Receipt, Return, Values, files, new_id, new_reference, readable
from simulators._misbehaviors import Case, asked_for

NOTHING: Final = Answer("", "", "pending", False)


@frozen
class Counter:
    """Where messages of one type are taken: the rules for them, and how they are read."""

    desk: Desk
    rules: TypeRules  # with what the desk says
    reader: Reader

    def course(self, keys: Values) -> Course:
        """Return the course of a document that nothing is wrong with: the normal one, or as one of its numbers asks."""
        asking = _asking(self.rules, keys)
        others = (name for end, name in (self.rules.others or {}).items() if any(text.endswith(end) for text in asking))
        return self.desk.courses[next(others, self.rules.course)]


@frozen
class Came:
    """A message that came in."""

    payload: bytes
    at: Instant
    type: str
    desk: Desk
    rules: TypeRules | None = None
    findings: Sequence[Finding] = ()


@frozen(kw_only=True)
class Authority:
    """Answers messages, and keeps nothing of them. Raises ConfigurationError where rules don't fit the catalogue."""

    rules: Rules
    types: Catalogue
    certificates: Sequence[bytes] = ()  # DER, of those who may have signed; none: signatures aren't looked at
    shares: Mapping[str, float] = {}  # misbehavior -> share of documents, 0 to 1
    seed: int = 0
    pace: float = 1.0  # stretches every delay
    window_seconds: float = 0.0  # what is due in the same window shares files ...
    batch: int = 100  # ... of at most so many records, whoever they are for
    later: bool = False  # whether what a type calls "later" follows
    counters: Mapping[str, Counter] = field(init=False, repr=False)

    @counters.default
    def _open_counters(self) -> Mapping[str, Counter]:
        return {
            name: Counter(desk, desk.filled(rules), _reader(self.types, name, rules))
            for desk in self.rules.desks
            for rules in desk.types
            for name in rules.takes
        }

    def answer(self, body: bytes, at: Instant) -> list[Receipt]:
        """Return every receipt to a message that came in at *at*, in the order they are due."""
        return self.write(self.returns(body, at))

    def write(self, returns: Sequence[Return]) -> list[Receipt]:
        """Write returns, of whatever messages, into files."""
        return files(returns, self.batch)

    def returns(self, body: bytes, at: Instant) -> list[Return]:
        """Return what will be said about each document of a message that came in at *at*."""
        name, counter, opened = "Unknown", None, None
        try:
            opened = self.types.open(body)
            type = self.types.identify(opened)
            name = type.name
            counter = self.counters.get(name)
            if counter is None:
                raise Unidentified(
                    f"{self.rules.title['en']} takes no {name}", f"{self.rules.title['zh']}不接收 {name}"
                )
            self._require_valid(opened, type, at)
        except Rejected as why:
            return [self._refusal(Came(body, at, name, self.rules.desks[0]), counter, opened, why)]
        fault = self._signature_fault(opened, type, counter.rules, at)
        came = Came(body, at, name, counter.desk, counter.rules)
        documents = counter.reader.read(opened).documents
        return [
            one
            for number, document in enumerate(documents)
            for one in self._answered(number, document.keys, came, counter, fault)
        ]

    def _require_valid(self, opened: Opened, type: MessageType, at: Instant) -> None:
        day = datetime.fromtimestamp(at // SECOND, UTC).date()
        version = self.types.read(opened, type).version
        if not self.types.valid(opened, type, on=day, version=version, unsigned=True):
            edition = self.types.edition(type, day, version).name
            raise Invalid(findings=self.types.explain(opened.payload, type.name, edition, unsigned=True))

    def _signature_fault(self, opened: Opened, type: MessageType, rules: TypeRules, at: Instant) -> Says | None:
        if not (rules.signature and self.certificates):
            return None
        try:
            behind, profiles = type.spec.file.behind_signature, PROFILES.all
            verify(opened.tree, profiles=profiles, certificates=self.certificates, at=at, behind=behind)
        except BadSignature as why:
            return rules.signature.missing if why.code == MISSING else rules.signature.wrong
        return None

    def _refusal(self, came: Came, counter: Counter | None, opened: Opened | None, why: Rejected) -> Return:
        """Say what is wrong with a message as a whole, by what can be read of it."""
        desk = counter.desk if counter else came.desk
        documents = counter.reader.read(opened).documents if counter and opened else ()
        keys = documents[0].keys if documents else {}
        told = "；".join([why.zh, *(f"{finding.pointer}：{finding.zh}" for finding in why.findings)])
        base = {"told": told, "body": readable(came.payload), "day": show_instant(came.at)[:10].replace("-", "")}
        came = Came(came.payload, came.at, came.type, desk, counter.rules if counter else None, why.findings)
        step = Step(after=0, **desk.invalid.model_dump())
        return self._return(step, came, {**base, **keys}, alone=True)

    # -- one document --------------------------------------------------------------------------------------------

    def _answered(
        self, number: int, keys: Values, came: Came, counter: Counter, fault: Says | None
    ) -> Iterator[Return]:
        rules = counter.rules
        course = counter.course(keys)
        known_by = keys.get(next(iter(rules.sources))) or f"{number} of {sorted(keys.items())}"
        chance = random.Random(f"{self.seed}/{known_by.upper()}")  # noqa: S311 - the same every time
        today = show_instant(came.at)[:10]
        base = {"serial": f"{chance.randrange(10**9):09d}", "day": today.replace("-", ""), "year": today[:4]}
        step, values = course[0], {}
        for step in self._bent(course, keys, rules, fault, chance):
            values = base | _values(rules.sources, keys, base, _done(course, step))
            yield self._return(step, came, values)
        if self.later and step is course[-1]:
            yield from (self._return(one, came, values) for one in rules.later)

    def _return(self, step: Step, came: Came, values: Values, *, alone: bool = False) -> Return:
        usual = came.rules.form if came.rules else came.desk.form
        name = step.form or usual
        form = came.desk.forms[name]
        receipt = (came.rules.receipt if came.rules and name == usual else "") or form.receipt or name
        due = self._windowed(came.at + round(step.after * self.pace * SECOND))
        id = new_id(self.seed, *values.values(), name, step.status, due, came.payload if alone else "")
        told = {
            **values,
            "type": came.type,
            "receipt": receipt,
            "record": came.rules.record if came.rules else "",
            "status": step.status,
            "info": step.info.format_map(defaultdict(str, values)),
            "id": id,
            "reference": new_reference(id),
        }
        fields = [(name, source.always) for name, source in came.rules.fields.items()] if came.rules else []
        group = _group(form.per, came, told)
        return Return(
            due, form, receipt, told, fields, group, came.payload, came.findings, step.case, step.copies, step.whole,
            alone,
        )  # fmt: skip

    def _bent(
        self, course: Course, keys: Values, rules: TypeRules, fault: Says | None, chance: random.Random
    ) -> Course:
        if fault:
            return (course[0].saying(fault),)
        kind = asked_for(_asking(rules, keys), self.shares, chance)
        return kind.bend(course, Case(rules, chance)) if kind else course

    def _windowed(self, at: Instant) -> Instant:
        """Return the end of the window that *at* lies in."""
        window = round(self.window_seconds * SECOND)
        return -(-at // window) * window if window else at


def _reader(types: Catalogue, name: str, rules: TypeRules) -> Reader:
    """Compile what the rules read of a type. Raises ConfigurationError."""
    if name not in types.types:
        raise ConfigurationError([f"the catalogue has no type {name!r}"])
    spec = types.types[name].spec
    file: TypeFile = spec.file
    keys = {value: source.copy_ for value, source in rules.sources.items() if source.copy_}
    documents = Documents(element=rules.document or file.documents.element, keys=keys)
    try:
        reader: Reader = spec.format.reader(
            file.model_copy(update={"documents": documents}), frozenset(), lambda code, text: NOTHING
        )
    except ValueError as why:
        raise ConfigurationError([f"{name}: {path!r} is no path" for path in why.args]) from None
    return reader


def _asking(rules: TypeRules, keys: Values) -> list[str]:
    """Return the numbers of a document that may ask for something."""
    return [keys.get(name, "") for name in rules.asks]


def _done(course: Course, step: Step) -> Sequence[str]:
    """Return the statuses that are behind a document at *step* of its course; none where it left the course."""
    statuses = [one.status for one in course]
    return statuses[: statuses.index(step.status) + 1] if step.status in statuses else ()


def _values(sources: Sources, keys: Values, base: Values, done: Sequence[str]) -> dict[str, str]:
    """Return values as the document has them, or as the authority gives them by now."""
    known = defaultdict(str, {**base, **keys})
    values = {}
    for name, source in sources.items():
        copied = keys.get(name, "")
        given = source.give if not source.since or source.since in done else ""
        values[name] = source.map.get(copied, copied) or given.format_map(known)
    return values


def _group(per: str, came: Came, values: Values) -> Hashable:
    """Return what answers must have in common to share a file."""
    if per == "any":
        return None
    if per == "document":
        return values["id"]
    return came.at, came.payload, values.get(per, "")
