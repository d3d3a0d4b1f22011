"""The rows under ``steps:`` of a routes file, made into steps; what is wrong with one is told with its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exchange import plugins
from exchange.errors import ConfigurationError
from exchange.model import Route
from exchange.signing.profiles import Profile
from exchange.steps import Named
from exchange.yamlfile import Document, suggest


class StepRow(BaseModel):
    """A step; keys that aren't named here are the kind's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Field(pattern=r"^[^\s/:,]{1,64}$", description="how routes call it")
    kind: str = Field(description="what it does: unwrap, wrap, map, xslt")
    version: str = Field(min_length=1, description="in the journal of every message it was applied to")


def add_step(
    row: StepRow, known: dict[str, Named], folder: Path, document: Document, path: tuple[str | int, ...]
) -> list[str]:
    """Make the step of a row and add it to those that are *known*; return what is wrong with it."""
    if row.name in known:
        return [document.problem((*path, "name"), f"step {row.name!r} stands here twice")]
    try:
        kind = plugins.load("steps", row.kind)
    except ConfigurationError as why:
        return [document.problem((*path, "kind"), why.problems[0])]
    model = kind.Options
    try:
        options = model.model_validate(row.model_extra or {}, context={"home": folder})
        step = kind(options, folder)
    except ValidationError as why:
        return document.problems(why, model, path)
    except ValueError as why:
        return [document.problem(path, str(why))]
    known[row.name] = Named(row.name, row.kind, row.version, options, folder, step)
    return []


def misplaced_steps(
    route: Route, known: Mapping[str, Named], wrong: Collection[str], profiles: Mapping[str, Profile]
) -> list[str]:
    """Return what is wrong with the steps of a route; those that are *wrong* in themselves were told of."""
    names = [name for names in route.steps.values() for name in names if name not in known and name not in wrong]
    problems = [f"unknown step {name!r}{suggest(name, known)}" for name in names]
    profile = profiles.get(route.sign)
    if profile and not profile.enveloped and any(route.steps.values()):
        problems.append(f"steps: none may change what {route.sign!r} has signed: leave them out")
    return problems + [
        f"steps: {name!r} is none of its endpoints" for name in route.steps if name not in ("", *route.to)
    ]
