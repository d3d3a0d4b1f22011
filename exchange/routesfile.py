"""``routes.yaml`` read into a RoutingTable, or every mistake in it listed at once.

Rows are checked one by one, then how they refer to each other; a row that is wrong in itself still counts as there, so
one mistake is told once. A *bundle* is the text of the file and of everything it includes, as one text: the form in
which a table is published, kept and compared.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from attrs import field, frozen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from exchange import plugins
from exchange.agreementfile import PLAIN, AgreementRow
from exchange.errors import ConfigurationError
from exchange.model import Endpoint, MessageType, Party, Route
from exchange.options import Strict
from exchange.retry import Policy
from exchange.routing import RoutingTable
from exchange.signing.certificates import from_file
from exchange.signing.profiles import PROFILES, Profiles
from exchange.signing.trust import Authority
from exchange.stepsfile import StepRow, add_step, misplaced_steps
from exchange.yamlfile import Document, read, suggest

if TYPE_CHECKING:
    from exchange.steps import Named

Row = TypeVar("Row", bound=BaseModel)
ROLES: Final = ("enterprise", "customs", "border", "maritime", "port", "platform")
MARK: Final = "#! file "  # begins each file of a bundle


def _name(text: str) -> str:
    if not re.fullmatch(r"[^\s/:]{1,64}", text):
        raise ValueError(f"{text!r} is no name: 1 to 64 characters without spaces, '/' or ':'")
    return text


Name = Annotated[str, AfterValidator(_name)]


class _Retry(Strict):
    first: float = Field(5.0, gt=0)
    longest: float = Field(900.0, gt=0)
    give_up: float | None = Field(None, gt=0)


class _Endpoint(BaseModel):
    """An endpoint; keys that aren't named here are the kind's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name
    party: str = ""
    kind: str
    window: int | None = Field(None, ge=1, le=10_000)
    retry: _Retry = _Retry()


class PartyRow(Strict):
    """A party as written in a file, or imported."""

    code: Name
    role: Literal["enterprise", "customs", "border", "maritime", "port", "platform"]
    name: str = ""
    ids: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    signing_key: str = ""
    agreement: AgreementRow = Field(default_factory=lambda: PLAIN)
    endpoints: tuple[_Endpoint, ...] = ()


class _Match(Strict):
    type: str | tuple[str, ...] = ()
    role: str | tuple[str, ...] = ()
    sender: str | tuple[str, ...] = ()
    receiver: str | tuple[str, ...] = ()
    where: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)


class _Route(Strict):
    name: Name
    match: _Match = _Match()
    to: tuple[str, ...] = Field(min_length=1)
    sign: str = ""
    key: str = ""
    steps: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    on_failure: Literal["hold", "reject"] = "hold"


class _Given(Strict):
    sample: str
    from_: str = Field(alias="from")


class _Test(Strict):
    given: _Given
    to: tuple[str, ...] | None = None
    route: str = ""
    outcome: Literal["accept", "reject", "hold"] = "accept"


class _File(Strict):
    include: tuple[str, ...] = ()
    node: str = ""
    steps: tuple[Any, ...] = ()
    parties: tuple[Any, ...] = ()
    endpoints: tuple[Any, ...] = ()
    routes: tuple[Any, ...] = ()
    tests: tuple[Any, ...] = ()


@frozen
class Test:
    """A test that the table carries: this sample, from this party, goes there."""

    place: str  # file:line:column
    sample: str
    sender: str
    to: tuple[str, ...] | None
    route: str
    outcome: str


@frozen
class Known:
    """What the rows of a table may refer to besides each other; an empty collection isn't checked against."""

    types: Mapping[str, MessageType] = field(factory=dict)
    fields: Mapping[str, Sequence[str]] = field(factory=dict)  # type -> names of its business fields
    profiles: Profiles = PROFILES
    keys: Sequence[str] = ()  # signing keys that the tokens hold
    trust: Mapping[str, Authority] | None = None  # authorities; None isn't checked against, without any none is known


def bundle(path: Path) -> str:
    """Return the text of a routes file and of everything it includes. Raises ConfigurationError."""
    texts = {path.name: _text(path)}
    included = _file_model(read(texts[path.name], path.name)).include
    for pattern in included:
        found = sorted(glob.glob(str(path.parent / pattern)))
        if not found:
            raise ConfigurationError([f"{path.name}:1:1: include: no file matches {pattern!r}"])
        for name in found:
            texts[os.path.relpath(name, path.parent)] = _text(Path(name))
    return "".join(f"{MARK}{name}\n{text.rstrip()}\n" for name, text in texts.items())


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as why:
        raise ConfigurationError([f"{path.name}:1:1: can't be read: {getattr(why, 'strerror', why)}"]) from why


def unbundle(text: str) -> list[tuple[str, str]]:
    """Return (name, text) of every file in a bundle."""
    parts = text.split(MARK)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def load(
    text: str,
    folder: Path,
    *,
    known: Known | None = None,
    imported: Iterable[Mapping[str, Any]] = (),
) -> tuple[RoutingTable, list[Test]]:
    """Build the table of a bundle; *folder* is where its relative file names start.

    Raises ConfigurationError with every mistake of the first layer that has any.
    """
    builder = _Builder(folder, known or Known())
    for row in imported:
        builder.imported(row)
    files = []
    for name, part in unbundle(text) or [("routes.yaml", text)]:
        try:
            document = read(part, name)
            files.append((document, _file_model(document)))
            if document.data is None:
                builder.problems.append(f"{name}:1:1: the file is empty")
        except ConfigurationError as why:
            builder.problems += why.problems
    for add in (builder.top, builder.parties, builder.endpoints, builder.routes):
        for document, file in files:
            add(document, file)
    return builder.table(), builder.tests


def _file_model(document: Document) -> _File:
    data = {} if document.data is None else document.data
    try:
        return _File.model_validate(data)
    except ValidationError as why:
        raise ConfigurationError(document.problems(why, _File)) from None


class _Builder:
    """Collects rows of all files, and every mistake in how they refer to each other."""

    def __init__(self, folder: Path, known: Known) -> None:
        self._folder = folder
        self._known = known
        self._parties: dict[str, Party] = {}
        self._ids: dict[str, str] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._routes: dict[str, tuple[Route, str]] = {}
        self._steps: dict[str, Named] = {}
        self._node = ""
        self._nested: list[tuple[Document, tuple[str | int, ...], _Endpoint, str]] = []  # endpoints inside parties
        self._wrong: set[str] = set()  # names of rows that are there, but wrong
        self.problems: list[str] = []
        self.tests: list[Test] = []

    def _rows(self, document: Document, key: str, rows: Sequence[Any], model: type[Row]) -> Iterator[tuple[int, Row]]:
        """Yield the rows that are right in themselves, with their index."""
        for i, row in enumerate(rows):
            try:
                yield i, model.model_validate(row)
            except ValidationError as why:
                self.problems += document.problems(why, model, (key, i))
                nested = row.get("endpoints") if isinstance(row, dict) else None
                for one in (row, *(nested if isinstance(nested, list) else ())):
                    if isinstance(one, dict):
                        self._wrong.update(str(one[name]) for name in ("code", "name") if name in one)

    def imported(self, row: Mapping[str, Any]) -> None:
        """Add a party that was imported into the store; each row by itself was checked then."""
        party = PartyRow.model_validate(row)
        problems = self._strange_ids(party)
        self._parties[party.code] = self._party(party, problems)
        for endpoint in party.endpoints:
            if endpoint.name in self._endpoints:
                problems.append(f"endpoint {endpoint.name!r} is there twice")
            kind = plugins.load("adapters", endpoint.kind)
            options = kind.Options.model_validate(endpoint.model_extra or {}, context={"home": self._folder})
            self._endpoints[endpoint.name] = _endpoint(endpoint, party.code, options)
        self.problems += [f"imported:1:1: party {party.code!r}: {text}" for text in problems]

    def _strange_ids(self, row: PartyRow) -> list[str]:
        """Take note of the ids of a party, and return those that another one has."""
        found = {name: self._ids.setdefault(name, row.code) for name in row.ids}
        return [f"id {name!r} belongs to party {owner!r} already" for name, owner in found.items() if owner != row.code]

    def _party(self, row: PartyRow, problems: list[str]) -> Party:
        certificates: list[bytes] = []
        for name in row.certificates:
            try:
                certificates += from_file((self._folder / name).read_bytes())
            except OSError as why:
                problems.append(f"certificate {name!r} can't be read: {why.strerror}")
            except ConfigurationError as why:
                problems += [f"certificate {name!r}: {problem}" for problem in why.problems]
        problems += row.agreement.strangers(self._known.trust)
        agreement = row.agreement.value()
        return Party(
            row.code, row.role, row.name, row.ids, "active", tuple(certificates), row.signing_key, agreement
        )  # fmt: skip

    def top(self, document: Document, file: _File) -> None:
        """Add what stands above everything else in one file: the node's own id, and the steps."""
        self._node = file.node or self._node
        for i, row in self._rows(document, "steps", file.steps, StepRow):
            if problems := add_step(row, self._steps, self._folder, document, ("steps", i)):
                self.problems += problems
                self._wrong.add(row.name)

    def parties(self, document: Document, file: _File) -> None:
        """Add the parties of one file."""
        unread = [name for name, type in self._known.types.items() if type.format == "opaque"]
        for i, row in self._rows(document, "parties", file.parties, PartyRow):
            path = ("parties", i)
            problems: list[str] = []
            if row.code in self._parties:
                problems.append(f"party {row.code!r} stands here twice, or was imported")
            problems += self._strange_ids(row)
            problems += self._unknown("signature profile", row.agreement.profiles, self._known.profiles)
            problems += self._unknown("signing key", [row.signing_key] * bool(row.signing_key), self._known.keys)
            problems += self._unknown("opaque type", row.agreement.opaque.values(), unread)
            self._parties[row.code] = self._party(row, problems)
            self._nested += [(document, (*path, "endpoints", j), e, row.code) for j, e in enumerate(row.endpoints)]
            self.problems += [document.problem(path, text) for text in problems]

    def endpoints(self, document: Document, file: _File) -> None:
        """Add the endpoints of one file: those of its parties, and those beside them."""
        while self._nested:
            self._endpoint(*self._nested.pop(0))
        for i, row in self._rows(document, "endpoints", file.endpoints, _Endpoint):
            self._endpoint(document, ("endpoints", i), row, row.party)

    def _endpoint(self, document: Document, path: tuple[str | int, ...], row: _Endpoint, party: str) -> None:
        say = self.problems.append
        if row.name in self._endpoints:
            say(document.problem((*path, "name"), f"endpoint {row.name!r} stands here twice"))
        if not party:
            say(document.problem(path, "'party' is missing"))
        elif party not in self._parties and party not in self._wrong:
            say(document.problem((*path, "party"), f"unknown party {party!r}{suggest(party, self._parties)}"))
        try:
            kind = plugins.load("adapters", row.kind)
        except ConfigurationError as why:
            say(document.problem((*path, "kind"), why.problems[0]))
            self._wrong.add(row.name)
            return
        try:
            options = kind.Options.model_validate(row.model_extra or {}, context={"home": self._folder})
        except ValidationError as why:
            self.problems += document.problems(why, kind.Options, path)
            self._wrong.add(row.name)
            return
        self._endpoints[row.name] = _endpoint(row, party, options)

    def routes(self, document: Document, file: _File) -> None:
        """Add the routes and tests of one file."""
        for i, row in self._rows(document, "routes", file.routes, _Route):
            steps = {"": row.steps} if isinstance(row.steps, tuple) else row.steps
            route = Route(row.name, row.to, row.sign, _conditions(row.match), row.key, steps, row.on_failure)
            problems = self._route_problems(route)
            for j, name in enumerate(row.to):
                if name not in self._endpoints and name not in self._wrong:
                    text = f"unknown endpoint {name!r}{suggest(name, self._endpoints)}"
                    self.problems.append(document.problem(("routes", i, "to", j), text))
            self.problems += [document.problem(("routes", i), text) for text in problems]
            self._routes[row.name] = route, document.problem(("routes", i), "")
        for i, test in self._rows(document, "tests", file.tests, _Test):
            place = document.problem(("tests", i), "").rstrip(": ")
            self.tests.append(Test(place, test.given.sample, test.given.from_, test.to, test.route, test.outcome))

    def _route_problems(self, route: Route) -> list[str]:
        known, match = self._known, route.match
        problems = [f"route {route.name!r} stands here twice"] if route.name in self._routes else []
        problems += self._unknown("message type", match.get("type", ()), known.types)
        problems += self._unknown("role", match.get("role", ()), ROLES)
        for name in ("sender", "receiver"):
            problems += self._unknown("party", match.get(name, ()), self._parties)
        problems += self._unknown("signature profile", [route.sign] * bool(route.sign), known.profiles)
        problems += self._unknown("signing key", [route.key] * bool(route.key), known.keys)
        problems += misplaced_steps(route, self._steps, self._wrong, known.profiles)
        fields = {name for type in match.get("type", known.fields) for name in known.fields.get(type, ())}
        wanted = [name.removeprefix("where.") for name in match if name.startswith("where.")]
        return problems + self._unknown("field", wanted, fields)

    def _unknown(self, what: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
        known = list(known)
        return [
            f"unknown {what} {name!r}{suggest(name, known)}"
            for name in names
            if known and name not in known and name not in self._wrong and not name.endswith("*")
        ]

    def table(self) -> RoutingTable:
        """Return the table. Raises ConfigurationError with every mistake."""
        kinds = {e.kind: plugins.load("adapters", e.kind) for e in self._endpoints.values()}
        routes = [route for route, _ in self._routes.values()]
        parties, endpoints = self._parties.values(), self._endpoints.values()
        rest = kinds, self._steps, self._node, self._known.profiles, self._known.trust
        table = RoutingTable(parties, endpoints, routes, *rest)
        for route, place in self._routes.values():
            for name in route.to:
                endpoint = self._endpoints.get(name)
                if endpoint is not None and not kinds[endpoint.kind].sends:
                    self.problems.append(f"{place}endpoint {name!r} ({endpoint.kind}) only receives")
        for route, earlier in table.shadowed() if not self.problems else ():
            place = self._routes[route.name][1]
            self.problems.append(f"{place}never reached: route {earlier.name!r} above takes all of it")
        if self.problems:
            raise ConfigurationError(sorted(self.problems, key=_place))
        return table


def _place(problem: str) -> tuple[str, int, int]:
    """Return what to sort a problem by: file, line, column."""
    name, line, column, _ = problem.split(":", 3)
    return name, int(line), int(column)


def _endpoint(row: _Endpoint, party: str, options: Any) -> Endpoint:
    return Endpoint(row.name, party, row.kind, options, row.window, Policy(**row.retry.model_dump()))


def _conditions(match: _Match) -> dict[str, tuple[str, ...]]:
    plain = {name: getattr(match, name) for name in ("type", "role", "sender", "receiver")}
    every = plain | {f"where.{name}": values for name, values in match.where.items()}
    return {name: (v,) if isinstance(v, str) else v for name, v in every.items() if v}
