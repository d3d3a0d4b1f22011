"""Adapters, stores, tokens, devices, formats, wrappers and steps by name: ours and third parties' are entry points.

The groups are ``exchange.adapters``, ``exchange.stores``, ``exchange.tokens``, ``exchange.devices``,
``exchange.formats``, ``exchange.wrappers`` and ``exchange.steps``; an entry point names a class. See
docs/how-to/add-an-adapter.md.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from exchange.errors import ConfigurationError


@cache
def names(group: str) -> tuple[str, ...]:
    """Return the names that are registered in *group*, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=f"exchange.{group}")))


@cache
def load(group: str, name: str) -> Any:
    """Return the class registered as *name*. Raises ConfigurationError when there is none, or it can't be imported."""
    found = [point for point in entry_points(group=f"exchange.{group}") if point.name == name]
    if not found:
        from exchange.yamlfile import suggest  # here, as each device's process would wait for all that comes with it

        known = ", ".join(names(group))
        raise ConfigurationError([f"no {group[:-1]} is called {name!r}{suggest(name, names(group))} (known: {known})"])
    try:
        return found[0].load()
    except ImportError as why:
        raise ConfigurationError([f"the {group[:-1]} {name!r} can't be loaded: {why}"]) from why
