"""The import of the modules that a worker or a reaper gets on its command line."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable
from types import ModuleType, TracebackType

from jobfleet.errors import ConfigError
from jobfleet.functions.default_fleet import loading
from jobfleet.functions.registry import Registry

SHOWN = 16_384
"""The maximal length of a traceback in characters. It must fit into a pipe at once."""
NOT_THE_USERS = ("importlib.", "jobfleet.worker.", "jobfleet.services.")
"""The packages of the frames above the user's code."""


def load_modules(
    names: Iterable[str], app_dir: str, *, on_import: Callable[[str], None] = lambda _: None
) -> tuple[list[ModuleType], Registry | None]:
    """Import modules, each given as ``module`` or ``module:fleet``.

    Args:
        names: The modules.
        app_dir: A folder in which to look for them.
        on_import: Called with the name of each module before its import.

    Returns:
        The modules, and the registry of the fleet, if one was named.

    Raises:
        ConfigError: A module cannot be imported, has no fleet of that name, or waits for a job while it is imported. A
            failure inside the user's module has its traceback in `shown`.
    """
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    modules, registry = [], None
    for given in names:
        name, _, attribute = given.partition(":")
        if not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(f"Cannot import {name!r}: it is not a module name; write it with dots, such as app.jobs.")
        on_import(name)
        try:
            with loading(name):
                module = importlib.import_module(name)
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:
            raise _failed(name, error, app_dir) from error
        modules.append(module)
        if attribute:
            fleet = getattr(module, attribute, None)
            if fleet is None or not hasattr(fleet, "context"):
                raise ConfigError(f"{name!r} has no fleet {attribute!r}.")
            registry = fleet.context.registry
    return modules, registry


def _failed(name: str, error: BaseException, app_dir: str) -> ConfigError:
    """Return the error for a module that cannot be imported."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        hint = "leave '.py' out" if name.endswith(".py") else "--app-dir?"
        return ConfigError(f"Cannot import {name!r}: {error} (looked in {app_dir}; {hint}).")
    frames = _users_frames(error)
    has_place = frames is not None or isinstance(error, SyntaxError)  # a SyntaxError shows its place itself
    failure = ConfigError(f"Cannot import {name!r}: {_summary(error)}{_remedy(error, has_place=has_place)}")
    if has_place:
        failure.shown = traceback_of(error)
    return failure


def _remedy(error: BaseException, *, has_place: bool) -> str:
    """The end of the sentence that names an error: what to do."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"; install it for this Python ({sys.executable}), or correct the import below."
    return "; correct the line below." if has_place else "."


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error of the user's code, from the first line of that code."""
    text = "".join(traceback.format_exception(type(error), error, _users_frames(error)))
    return text.encode("utf-8", "replace").decode()[-SHOWN:]


def _users_frames(error: BaseException) -> TracebackType | None:
    frames = error.__traceback__
    while frames is not None and f"{frames.tb_frame.f_globals.get('__name__', '')}.".startswith(NOT_THE_USERS):
        frames = frames.tb_next
    return frames


def _summary(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split()).rstrip(".")[:300]
    except Exception:  # noqa: BLE001 - the user's exception may break its own text
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind
