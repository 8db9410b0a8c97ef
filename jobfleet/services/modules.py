"""The import of the modules that a worker or a reaper gets on its command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from types import ModuleType

from jobfleet.errors import ConfigError
from jobfleet.functions.loading import loading
from jobfleet.functions.registry import Registry


def load_modules(names: Iterable[str], app_dir: str) -> tuple[list[ModuleType], Registry | None]:
    """Import modules, each given as ``module`` or ``module:fleet``.

    Returns:
        The modules, and the registry of the fleet, if one was named.

    Raises:
        ConfigError: A module cannot be imported, has no fleet of that name, or waits for a job while it is imported.
    """
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    modules, registry = [], None
    for given in names:
        name, _, attribute = given.partition(":")
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"Cannot import {name!r}: it is not a module name; write it with dots, such as app.jobs.")
        try:
            with loading(name):
                module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise  # a failure inside the user's module shows its own traceback
            hint = "leave '.py' out" if name.endswith(".py") else "--app-dir?"
            raise ConfigError(f"Cannot import {name!r}: {error} (looked in {app_dir}; {hint}).") from None
        modules.append(module)
        if attribute:
            fleet = getattr(module, attribute, None)
            if fleet is None or not hasattr(fleet, "context"):
                raise ConfigError(f"{name!r} has no fleet {attribute!r}.")
            registry = fleet.context.registry
    return modules, registry
