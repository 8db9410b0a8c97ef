"""The limits of the process of a function with ``run_in="process"``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobfleet.config.kind import SIZE
from jobfleet.errors import InvalidJob
from jobfleet.functions.coroutines import is_coroutine_function
from jobfleet.model import check_queue, seconds

PLACES = ("async", "thread", "process")
LIMITS = ("memory_limit", "cpu_limit", "nice", "environment", "on_oom")
LEAST_MEMORY = 16 << 20
"""An interpreter without modules takes about this much memory."""
MOST_MEMORY = 1 << 50
NICEST = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """The limits of the processes of a function.

    Attributes:
        memory_limit: Bytes of memory per process; 0 for no limit.
        cpu_limit: CPU seconds per run, rounded to whole seconds; 0 for no limit.
        nice: How far the scheduling priority is lowered, 0 to 19.
        environment: Environment variables, which are set before any import.
        on_oom: The queue in which a job that ran out of memory continues; empty for none.
    """

    memory_limit: int = 0
    cpu_limit: float = 0.0
    nice: int = 0
    environment: tuple[tuple[str, str], ...] = ()
    on_oom: str = ""

    @property
    def is_bound(self) -> bool:
        """Whether a process serves only this function."""
        return bool(self.memory_limit or self.cpu_limit or self.nice or self.environment)


class RunPlace(NamedTuple):
    """Where a function runs.

    Attributes:
        run_in: ``async``, ``thread`` or ``process``.
        isolation: The limits of its processes; None unless it runs in ``process``.
    """

    run_in: str
    isolation: Isolation | None


def size_text(size: int) -> str:
    """A number of bytes as text: ``512 MiB``."""
    shown = SIZE.show(size)
    number = shown.rstrip("BGKMi")
    return f"{number} {shown[len(number) :]}"


def run_place(function: Callable[..., Any], options: Mapping[str, Any]) -> RunPlace:
    """Where a function runs, and its limits if that is an isolated process.

    Args:
        function: The function.
        options: ``run_in`` and the limits, as given to the decorator.

    Raises:
        InvalidJob: An option is wrong, or does not fit the function.
    """
    natural = "async" if is_coroutine_function(function) else "thread"
    where = options.get("run_in")
    where = natural if where is None else where
    if where not in PLACES:
        raise InvalidJob(f"run_in is {where!r}; use 'async', 'thread' or 'process'.", field="run_in")
    if where not in (natural, "process"):
        kind, remedy = ("an async def", "async") if natural == "async" else ("a def", "thread")
        raise InvalidJob(f"run_in is {where!r}; {kind} runs in {remedy!r} or 'process'.", field="run_in")
    given = {name: options[name] for name in LIMITS if options.get(name) is not None}
    if where == "process":
        return RunPlace(where, Isolation(**{name: _CHECKS[name](value) for name, value in given.items()}))
    for name in given:
        raise InvalidJob(f"{name} needs a process of its own: add run_in='process'.", field=name)
    return RunPlace(where, None)


def _memory(value: object) -> int:
    try:
        size = SIZE.parse(value)
    except ValueError as error:
        raise InvalidJob(f"memory_limit is {value!r}; {error}.", field="memory_limit") from None
    if not isinstance(size, int) or not LEAST_MEMORY <= size <= MOST_MEMORY:
        raise InvalidJob(f"memory_limit is {value!r}; give 16MiB or more.", field="memory_limit")
    return size


def _cpu(value: object) -> float:
    limit = seconds(value, field="cpu_limit")
    if not limit:
        raise InvalidJob(f"cpu_limit is {value!r}; give seconds above 0, or leave it out.", field="cpu_limit")
    return limit


def _nice(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= NICEST:
        raise InvalidJob(f"nice is {value!r}; give a whole number from 0 to {NICEST}.", field="nice")
    return value


def _environment(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(_is_variable(name, text) for name, text in value.items()):
        raise InvalidJob(f"environment is {value!r}; give a mapping of names to texts.", field="environment")
    return tuple(sorted(value.items()))


def _is_variable(name: object, text: object) -> bool:
    if not isinstance(name, str) or not isinstance(text, str):
        return False
    return bool(name) and "=" not in name and "\0" not in name + text


_CHECKS: dict[str, Callable[[object], Any]] = {
    "memory_limit": _memory,
    "cpu_limit": _cpu,
    "nice": _nice,
    "environment": _environment,
    "on_oom": lambda value: check_queue(value, field="on_oom"),
}
