"""The unique key of a job: its text, how long it is held, and what a conflict does. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.clock import to_us
from jobfleet.errors import InvalidJob
from jobfleet.model import Job, seconds
from jobfleet.model.templates import EXISTING, OPEN, QUEUED, check_key, format_key

Parameters = Sequence[inspect.Parameter]


class Uniqueness(NamedTuple):
    """The unique key of a job.

    Attributes:
        key: The key.
        scope: Its scope in the clear record: ``q`` while queued, a number of µs, or empty while open.
        on_conflict: ``existing``, ``raise``, ``replace`` or ``debounce``.
        longest_us: The longest postponement after the first enqueue, µs; None for ten times the delay.
    """

    key: str
    scope: str
    on_conflict: str
    longest_us: int | None

    @property
    def meta(self) -> list[str]:
        """Its lines in the clear record."""
        return [f"u {self.key}", f"s {self.scope}"] if self.scope else [f"u {self.key}"]


def uniqueness(job: Job, name: str, options: Mapping[str, Any], parameters: Parameters) -> Uniqueness | None:
    """Make the unique key of a job; None when it has none.

    Args:
        job: The job.
        name: The name of its function.
        options: The options of the function.
        parameters: The parameters that a caller gives, as far as this process knows them.

    Raises:
        InvalidJob: The key cannot be made, or an option that needs a key is given without one.
    """
    unique = job.unique if job.unique is not None else options.get("unique")
    if unique is None:
        if job.unique_for is not None or job.on_conflict is not None or job.debounce_max is not None:
            raise _lacks_key(job)
        return None
    if unique is True:
        raise InvalidJob(
            f"unique of {name} is a function that only its own programs have; give the key yourself.", field="unique"
        )
    if callable(unique):
        key = check_key(unique(*job.args, **job.kwargs))
    else:
        key = format_key(unique, job.args, named_arguments(job, parameters))
    longest = _option(job, options, "debounce_max")
    return Uniqueness(
        key,
        _scope(_option(job, options, "unique_for")),
        _option(job, options, "on_conflict") or EXISTING,
        None if longest is None else to_us(seconds(longest, field="debounce_max")),
    )


def _lacks_key(job: Job) -> InvalidJob:
    options = ("unique_for", "on_conflict", "debounce_max")
    option = next(option for option in options if getattr(job, option) is not None)
    return InvalidJob(f"{option} is given, but no key; give unique too, or leave it out.", field=option)


def _option(job: Job, options: Mapping[str, Any], option: str) -> Any:
    value = getattr(job, option)
    return value if value is not None else options.get(option)


def _scope(unique_for: Any) -> str:
    if unique_for in (None, OPEN):
        return ""
    return "q" if unique_for == QUEUED else str(to_us(seconds(unique_for, field="unique_for")))


def named_arguments(job: Job, parameters: Parameters) -> dict[str, object]:
    """The arguments by name: defaults, then positional arguments, then named arguments."""
    named: dict[str, object] = {}
    by_position = iter(job.args)
    for parameter in parameters:
        if parameter.default is not parameter.empty:
            named[parameter.name] = parameter.default
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            for argument in by_position:
                named[parameter.name] = argument
                break
    return {**named, **job.kwargs}
