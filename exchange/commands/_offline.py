"""What needs no running switch: the catalogue's verdict, the meaning of codes, a routing table read from its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from exchange import catalogue, codes, plugins, routesfile, settings, trusting
from exchange.catalogue import Catalogue
from exchange.commands._command import setting
from exchange.errors import Invalid, NotFound, Refused, Rejected
from exchange.instants import date_at
from exchange.model import MessageType
from exchange.ports import Past, microseconds
from exchange.routesfile import Known, Test
from exchange.routing import RoutingTable
from exchange.settings import Installation
from exchange.wrappers import opening
from exchange.yamlfile import suggest


@frozen
class Routes:
    """A routing table as its file has it, and what it refers to."""

    path: Path
    text: str  # the bundle
    catalogue: Catalogue
    table: RoutingTable
    tests: list[Test]


def installed() -> Installation:
    """Return the installation that ``--config`` names. Raises ConfigurationError."""
    return settings.load(setting("config"))


def types_of(installation: Installation) -> Catalogue:
    """Return the message types of an installation. Raises ConfigurationError."""
    return catalogue.load(catalogue.SCHEMAS, *installation.schemas)


def past_of(installation: Installation) -> AbstractContextManager[Past]:
    """Return what an installation's store keeps, beside a running switch or without one. Raises NotFound, Refused."""
    asked = installation.settings.store
    store = plugins.load("stores", asked.kind)
    if not hasattr(store, "past"):
        raise Refused(f"a store of kind {asked.kind} can't be read from here", f"无法从此处读取 {asked.kind} 存储")
    past: AbstractContextManager[Past] = store.past(installation.path(asked.folder))
    return past


# -- routes.yaml -------------------------------------------------------------------------------------------------


def routes_path(given: Path | None) -> Path:
    """Return the routes file that was named, else the installation's."""
    if given is not None:
        return given
    installation = installed()
    return installation.path(installation.settings.routes)


def read_routes(given: Path | None, imported: Iterable[Mapping[str, Any]] = ()) -> Routes:
    """Read a table as the switch would. Raises ConfigurationError with every mistake."""
    installation = installed()
    path = given or installation.path(installation.settings.routes)
    text = routesfile.bundle(path)
    types = types_of(installation)
    known = Known(types.types, types.business_fields, installation.profiles, trust=trusting.authorities(installation))
    table, tests = routesfile.load(text, path.resolve().parent, known=known, imported=imported)
    return Routes(path, text, types, table, tests)


# -- one message -------------------------------------------------------------------------------------------------


def verdict(payload: bytes, type_name: str, unsigned: bool) -> dict[str, Any]:
    """Return the catalogue's verdict with every finding; *type_name* empty asks the message for its type.

    Raises NotFound where there is no such type.
    """
    types = types_of(installed())
    given: dict[str, Any] = {"type": type_name, "edition": "", "valid": False}
    try:
        told = named(types, type_name) if type_name else None
        opened = types.open_as(payload, told, "") if told else types.open(payload)
        type = told or types.identify(opened)
        opening.judge(opened.wrappers, lenient=type.kind == "receipt")
    except Rejected as why:
        return given | _told(why)
    today = date_at(microseconds())
    version = types.read(opened, type).version
    edition = types.edition(type, today, version).name
    given |= {"type": type.name, "edition": edition}
    if types.valid(opened, type, on=today, version=version, unsigned=unsigned):
        return given | {"valid": True, "code": "", "en": "", "zh": "", "findings": []}
    return given | _told(Invalid(findings=types.explain(payload, type.name, edition, unsigned=unsigned)))


def _told(why: Rejected) -> dict[str, Any]:
    return {"code": why.code, "en": why.en, "zh": why.zh, "findings": [asdict(one) for one in why.findings]}


def named(types: Catalogue, name: str) -> MessageType:
    if name not in types.types:
        raise NotFound(f"no message type {name!r}{suggest(name, types.types)}", f"没有报文类型 {name!r}")
    return types.types[name]


# -- codes -------------------------------------------------------------------------------------------------------


def meanings(code: str) -> list[dict[str, Any]]:
    """Return what *code* means: one entry for the switch's own, one for each family that has it in receipts.

    Raises NotFound.
    """
    if code.startswith("SWX-"):
        return [{"family": "", **codes.lookup(code).model_dump()}]
    types = types_of(installed())
    families: dict[str, list[MessageType]] = {}
    for type in types.types.values():
        if code in type.spec.codes:
            families.setdefault("/".join(type.spec.folder.parts[-2:]), []).append(type)
    if not families:
        own = f"SWX-{code}" if f"SWX-{code}" in codes.known() else "SWX-nnnn"
        en = f"no code {code!r} in any family of message types; the switch's own are written {own}"
        raise NotFound(en, f"各报文类别中均无代码 {code!r}；本交换机的代码写作 {own}")
    return [_meaning(family, found, code) for family, found in families.items()]


def _meaning(family: str, types: list[MessageType], code: str) -> dict[str, Any]:
    known = types[0].spec.codes[code]
    return {
        "family": family,
        "stage": known.stage,
        "outcome": known.outcome,
        "zh": {"title": known.zh},
        "en": {"title": known.en},
        "types": [type.name for type in types],
        "ends": [type.name for type in types if type.spec.codes[code].terminal],
    }
