"""Reference of both configuration files: every key with type and default, out of the models that read them.

A key is described by its model; ``WORDS`` describes those whose model says nothing yet, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen
from pydantic import BaseModel

from docs._page import begun, table
from exchange import plugins, routesfile
from exchange import settings as switchd
from exchange.signing.profiles import ProfileRow
from exchange.stepsfile import StepRow
from exchange.tokens.device import DeviceSettings

MANUAL: Final = Path(__file__).parent.parent / "routes.yaml"
Schema = Mapping[str, Any]
WORDS: Final = {
    "routes": "the routing table; see [routes](routes.md)",
    "schemas": "folders of a site's own message types, beside those of the switch; of two of one name the later wins. "
    "[`switchctl schema`](../how-to/install-an-official-schema-set.md) adds to them; a running switch reads them anew",
    "control": "Unix socket that `switchctl` talks to; only the switch's own user and root may open it",
    "spool": "folder for large payloads on their way in, and for what adapters keep; on the disk of `store.folder`",
    "store.kind": "which store: `sqlite`, or one that a package of yours registers; `memory` forgets and is for tests",
    "store.folder": "where messages and journal lie",
    "store.retention_days": "days (Beijing) that messages are kept; a day that holds open work stays",
    "store.duplicate_days": "how far back a message id is recognized as seen before",
    "store.reserve_bytes": "free space below which intake closes (SWX-6010); what is in the house goes on with it",
    "token.kind": "what signs: `devices`, `software`, or one that a package of yours registers",
    "token.allow_software_keys": "keys in files are for tests and demonstrations, and must be allowed by name",
    "token.options": "the kind's own settings, below",
    "monitor.host": "where `/metrics`, `/livez` and `/readyz` are served; they ask for no key",
    "monitor.port": "0 leaves them out",
    "log.level": "this and worse is logged",
    "log.file": "one JSON object a line; without it, to standard error",
    "limits.payload_bytes": "the largest payload; more is refused while it arrives (SWX-1070)",
    "limits.spool_bytes": "payloads over this go to a file as they arrive, not to memory",
    "limits.backlog": "messages taken and not decided; more is refused for the moment (SWX-6040)",
    "limits.backlog_bytes": "the same, by their bytes",
    "token.options.folder": "`NAME.key` with `NAME.crt` (PEM), or `NAME.p12` without a password, is the key `NAME`",
    "token.options.keys": "keys that lie elsewhere, by name",
    "token.options.keys.NAME.key": "PEM file of the private key, or a `.p12` or `.pfx` file with its certificate",
    "token.options.keys.NAME.certificate": "PEM file, if it isn't in the key's",
    "token.options.keys.NAME.password": "of the key's file",
    "adapters.http_api.host": "address to listen on; other hosts are served with TLS only, or `allow_plain`",
    "adapters.sftp_server.sessions_per_user": "connections of one user at once",
}
REFERENCE: Final = "`{file: PATH}`, `{env: NAME}` or `{credential: NAME}`"
LIMITS: Final = (  # of a JSON Schema, and how they are told
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
)


class Undescribed(Exception):
    """A key that no model describes and ``WORDS`` doesn't, or the other way round."""


@frozen
class Key:
    """One key of a configuration file."""

    name: str  # dotted
    value: str
    default: str
    told: str


# -- switchd.yaml ------------------------------------------------------------------------------------------------


def settings() -> str:
    """Write the page on switchd.yaml. Raises Undescribed."""
    sections = [(heading, [_described(key) for key in keys]) for heading, keys in _sections()]
    if idle := set(WORDS) - {key.name for _, keys in sections for key in keys if key.told == WORDS.get(key.name)}:
        raise Undescribed(f"gone, or described in their models by now: {', '.join(sorted(idle))}")
    head = begun(
        "switchd.yaml",
        "exchange/settings.py and the kinds' own Settings",
        "How one installation runs. Every setting has a default, and the file may be missing. Relative paths start at\n"
        "the folder of the file; secrets are references, never the secret itself. All mistakes are told at once, as\n"
        "`switchd.yaml:LINE:COLUMN: ...`, and the switch doesn't start with any. Changes take a restart.\n"
        "Editors that read JSON Schema find one in [switchd.schema.json](switchd.schema.json).\n\n"
        "What isn't here stands in the routing table: [routes.yaml](#routesyaml).",
    )
    parts = [f"## {heading}\n\n{_table(keys)}" for heading, keys in sections]
    return "\n".join([head, *parts, "## routes.yaml\n\nParties, endpoints and routes: [their own page](routes.md).\n"])


def _sections() -> Iterator[tuple[str, Iterable[Key]]]:
    own = [key for key in keys_of(switchd.Settings) if key.name != "adapters"]
    yield "The whole file", [key for key in own if "." not in key.name]
    for heading, keys in groupby((key for key in own if "." in key.name), lambda key: key.name.partition(".")[0]):
        yield heading, list(keys)
    yield "profiles, each row", keys_of(ProfileRow, "profiles.")
    for name in plugins.names("tokens"):
        yield f"token.options of {name}", keys_of(plugins.load("tokens", name).Settings, "token.options.")
    common = set(DeviceSettings.model_fields)
    for name in plugins.names("devices"):
        prefix = "token.options.devices.NAME."
        own = [key for key in keys_of(plugins.load("devices", name).Settings, prefix)
               if key.name.removeprefix(prefix).partition(".")[0] not in common]  # fmt: skip
        yield f"token.options.devices.NAME of kind {name}", own
    for name in plugins.names("adapters"):
        if listed := list(keys_of(plugins.load("adapters", name).Settings, f"adapters.{name}.")):
            yield f"adapters.{name}", listed


def _described(key: Key) -> Key:
    if key.told:
        return key
    if key.name not in WORDS:
        raise Undescribed(f"{key.name}: describe it in its model, or in docs/_settings.py")
    return evolve(key, told=WORDS[key.name])


# -- routes.yaml -------------------------------------------------------------------------------------------------


def routes() -> str:
    """Write the page on routes.yaml. Raises Undescribed."""
    return "\n".join(_routes())


def _routes() -> Iterator[str]:
    manual = _manual()
    yield begun(
        "routes.yaml",
        "routes.yaml, exchange/routesfile.py and the kinds' own Options",
        "Who exchanges messages here, where they are reached, and what goes where: the manual that stands at the top\n"
        "of [routes.yaml](../../routes.yaml) itself, then every key with its type and default.\n"
        "[Edit the routing table](../how-to/edit-routes.md) shows how a change is tried and published. Editors that\n"
        "read JSON Schema find one in [routes.schema.json](routes.schema.json).",
    )
    yield f"## The manual\n\n<!-- not run: the manual page of the format -->\n```text\n{manual}\n```\n"
    for heading, model in TABLES:
        keys = list(keys_of(model))
        if unknown := [key.name for key in keys if not _explained(key.name, manual)]:
            raise Undescribed(f"the manual in routes.yaml says nothing of {', '.join(unknown)}")
        yield f"## {heading}\n"
        yield table(("key", "value", "default"), ((f"`{key.name}`", key.value, key.default) for key in keys))
    for kind in plugins.names("adapters"):
        if keys := list(keys_of(plugins.load("adapters", kind).Options)):
            yield f"## Options of {kind}\n\nBeside `name`, `party`, `kind`, `window` and `retry` of its endpoints.\n"
            yield _table(keys)


TABLES: Final[tuple[tuple[str, type[BaseModel]], ...]] = (
    ("A party", routesfile.PartyRow),
    ("An endpoint", routesfile._Endpoint),
    ("A route", routesfile._Route),
    ("A step", StepRow),
    ("A test", routesfile._Test),
)


def _manual() -> str:
    lines = MANUAL.read_text("utf-8").splitlines()
    comment = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in comment)


def _explained(key: str, manual: str) -> bool:
    return all(re.search(rf"\b{re.escape(part)}\b", manual) for part in key.split("."))


def _table(keys: Iterable[Key]) -> str:
    return table(
        ("key", "value", "default", "what it is"),
        ((f"`{key.name}`", key.value, key.default, key.told) for key in keys),
    )


# -- models ------------------------------------------------------------------------------------------------------


def keys_of(model: type[BaseModel], below: str = "") -> Iterator[Key]:
    """Yield every key of a model, and of the models inside it, with the whole name that it has in the file."""
    schema = model.model_json_schema()
    yield from _keys(schema, schema.get("$defs", {}), below)


def _keys(model: Schema, known: Schema, below: str) -> Iterator[Key]:
    for name, field in model.get("properties", {}).items():
        whole = f"{below}{name}"
        if (inner := _model(field, known)) is not None:  # always there: only its keys count
            yield from _keys(inner, known, f"{whole}.")
            continue
        default = "**required**" if name in model.get("required", ()) else _default(field.get("default"))
        yield Key(whole, _value(field), default, field.get("description", ""))
        for choice in field.get("anyOf", ()):  # may be left out
            if (inner := _model(choice, known)) is not None:
                yield from _keys(inner, known, f"{whole}.")
        if (inner := _model(field.get("additionalProperties"), known)) is not None:
            yield from _keys(inner, known, f"{whole}.NAME.")


def _model(field: Any, known: Schema) -> Schema | None:
    """Return the model that a field is, unless it is a secret."""
    if not isinstance(field, dict) or "$ref" not in field or _name(field) == "Secret":
        return None
    found: Schema = known[_name(field)]
    return found


def _name(field: Schema) -> str:
    return str(field["$ref"]).rpartition("/")[2]


def _default(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _value(field: Schema) -> str:
    """Say what may stand there."""
    if "anyOf" in field:
        return " or ".join(_value(choice) for choice in field["anyOf"] if choice.get("type") != "null")
    if "$ref" in field:
        return REFERENCE if _name(field) == "Secret" else "keys below"
    if "enum" in field:
        return " | ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        item = field.get("items", {})
        return "list of rows, as below" if "$ref" in item else f"list of {_value(item)}"
    limits = [text.format(field[name]) for name, text in LIMITS if name in field]
    return ", ".join([WORD.get(field.get("format", ""), WORD.get(field.get("type", ""), "anything")), *limits])


WORD: Final = {
    "path": "path",
    "date": "date",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` | `false`",
    "object": "keys",
}
