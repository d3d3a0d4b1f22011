"""JSON Schemas of both configuration files, for editors, out of the models that read them."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from exchange import plugins, routesfile
from exchange import settings as settingsfile
from exchange.stepsfile import StepRow

DRAFT = "http://json-schema.org/draft-07/schema#"
Schema = dict[str, Any]


def switchd() -> str:
    """Write the schema of switchd.yaml."""
    kinds = {name: plugins.load("adapters", name).Settings for name in plugins.names("adapters")}
    parts, known = _together([settingsfile.Settings, *kinds.values()])
    whole = parts[settingsfile.Settings]
    whole["properties"]["adapters"] = {
        "type": "object",
        "properties": {name: parts[model] for name, model in kinds.items()},
    }
    return _text("switchd.yaml", whole, known)


def routes() -> str:
    """Write the schema of routes.yaml."""
    kinds = {name: plugins.load("adapters", name).Options for name in plugins.names("adapters")}
    steps = {name: plugins.load("steps", name).Options for name in plugins.names("steps")}
    own = [routesfile._File, routesfile.PartyRow, routesfile._Endpoint, routesfile._Route, routesfile._Test, StepRow]
    parts, known = _together([*own, *kinds.values(), *steps.values()])
    whole, party, common, route, test, step = (parts[model] for model in own)
    known["endpoint"] = {"oneOf": [_kind(common, name, parts[model]) for name, model in kinds.items()]}
    party["properties"]["endpoints"]["items"] = {"$ref": "#/$defs/endpoint"}
    known["step"] = {"oneOf": [_kind(step, name, parts[model]) for name, model in steps.items()]}
    rows = {"parties": party, "routes": route, "tests": test}
    rows |= {"endpoints": {"$ref": "#/$defs/endpoint"}, "steps": {"$ref": "#/$defs/step"}}
    for name, row in rows.items():
        whole["properties"][name]["items"] = row
    return _text("routes.yaml", whole, known)


def _kind(common: Schema, kind: str, options: Schema) -> Schema:
    return {
        "title": kind,
        "type": "object",
        "properties": {**common["properties"], "kind": {"const": kind}, **options.get("properties", {})},
        "required": [*common["required"], *options.get("required", ())],
        "additionalProperties": options.get("additionalProperties", False),
    }


def _together(models: list[Any]) -> tuple[dict[Any, Schema], Schema]:
    """Return the schema of each model, and the definitions that they share."""
    references, shared = models_json_schema([(model, "validation") for model in models])
    known: Schema = shared["$defs"]
    names = {model: references[model, "validation"]["$ref"].rpartition("/")[2] for model in models}
    return {model: known.pop(name) for model, name in names.items()}, known


def _text(name: str, whole: Schema, known: Schema) -> str:
    schema = {"$schema": DRAFT, "title": name, **{k: v for k, v in whole.items() if k != "title"}, "$defs": known}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
