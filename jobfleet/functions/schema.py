"""The options `version` and `upcast` of functions: the version of their arguments, and the steps between them. Pure.

A job carries the version that its producer knew; without one it has version 1. A worker with a later version calls the
upcasts from the one to the other before it calls the function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from jobfleet.errors import InvalidJob

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Upcast = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Sequence[Any], Mapping[str, Any]]]
"""Takes the arguments of one version, ``(args, kwargs)``, and returns those of the next version."""
VERSION: Final = "version"
UPCAST: Final = "upcast"
VERSION_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Schema:
    """The version of a function's arguments.

    Attributes:
        version: The version that the function takes.
        upcasts: The step to the next version, by the version that it takes.
    """

    version: int = 1
    upcasts: Mapping[int, Upcast] = field(default_factory=lambda: MappingProxyType({}))

    def upcast(self, function: str, version: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Return the arguments of this version, from those of an earlier one.

        Args:
            function: The name of the function, for errors.
            version: The version of the arguments.
            args: The positional arguments.
            kwargs: The named arguments.

        Raises:
            InvalidJob: A step is missing, raises, or returns no arguments.
        """
        given = tuple(args), dict(kwargs)
        for step in range(version, self.version):
            given = self._step(function, version, step, given)
        return given

    def _step(self, function: str, version: int, step: int, given: Arguments) -> Arguments:
        which = f"from schema version {step} to {step + 1} (the job has {version}, the function {self.version})"
        upcast = self.upcasts.get(step)
        if upcast is None:
            raise InvalidJob(
                f"{function} has no upcast {which}: add upcast={{{step}: f}} to its decorator, then replay the job.",
                field=UPCAST,
            )
        what, remedy = f"The upcast of {function} {which}", "correct it, then replay the job."
        try:
            answer = upcast(*given)
        except BaseException as error:  # the user's code may raise anything
            raise InvalidJob(f"{what} raised {_described(error)}: {remedy}", field=UPCAST) from error
        found = _arguments(answer)
        if found is None:
            raise InvalidJob(f"{what} returned {answer!r:.100}; return (args, kwargs): {remedy}", field=UPCAST)
        return found


def schema_of(options: dict[str, Any]) -> Schema:
    """Remove `version` and `upcast` from the options of a decorator; return what they declare.

    Raises:
        InvalidJob: One of them is wrong.
    """
    version, upcasts = options.pop(VERSION, None), options.pop(UPCAST, None)
    version = 1 if version is None else version
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= VERSION_MAX:
        raise InvalidJob(f"version is {version!r}; give a whole number from 1 to {VERSION_MAX:,}.", field=VERSION)
    if upcasts is None:
        return Schema(version)
    if not isinstance(upcasts, Mapping):
        raise InvalidJob(f"upcast is {upcasts!r:.100}; give a mapping: upcast={{1: f}}.", field=UPCAST)
    for step, upcast in upcasts.items():
        _check_step(version, step, upcast)
    return Schema(version, MappingProxyType(dict(upcasts)))


def schema_in(options: Mapping[str, Any]) -> int:
    """The version of a function from its options, its own or published ones."""
    version = options.get(VERSION, 1)
    return version if type(version) is int and version >= 1 else 1


def newer(function: str, needed: int, holder: str) -> str:
    """Say that a job needs a later version of its function's arguments than `holder` ("the workers have 2") has."""
    return f"{function!r} needs schema version {needed}; {holder}. Upgrade workers before producers."


def _check_step(version: int, step: object, upcast: object) -> None:
    if isinstance(step, bool) or not isinstance(step, int) or not 1 <= step < version:
        below = f"a version from 1 to {version - 1}" if version > 1 else "version=2 or more besides it"
        raise InvalidJob(f"upcast has the key {step!r}, and version is {version}; give {below}.", field=UPCAST)
    if not callable(upcast):
        raise InvalidJob(f"upcast[{step}] is {upcast!r:.100}; give a function of (args, kwargs).", field=UPCAST)
    if inspect.iscoroutinefunction(upcast) or inspect.isgeneratorfunction(upcast):
        raise InvalidJob(f"upcast[{step}] is {upcast!r:.100}; give a plain def, which returns at once.", field=UPCAST)


def _arguments(answer: object) -> Arguments | None:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return None
    args, kwargs = answer
    if isinstance(args, str | bytes) or not isinstance(args, Sequence) or not isinstance(kwargs, Mapping):
        return None
    return (tuple(args), dict(kwargs)) if all(isinstance(key, str) for key in kwargs) else None


def _described(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the user's __str__ may raise anything
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
