"""The limits that functions declare: ``@job(concurrency=5, rate="10/min", group="{customer}")``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.model.limit import UNLIMITED, DeclaredLimit, rate_of
from jobfleet.model.options.group import EVERY_GROUP, GroupTemplate

DECLARED = ("concurrency", "rate")
"""The options of a declared limit."""
DEFAULT = "default"


class LimitedFunction(Protocol):
    """A `JobFunction`."""

    name: str
    given: Mapping[str, Any]
    limit: DeclaredLimit | None


def declared_limit(given: Mapping[str, Any], options: Mapping[str, Any]) -> DeclaredLimit | None:
    """Make the limit that a function declares; None if it declares none.

    Args:
        given: `concurrency` and `rate`, as far as they are given.
        options: The other options of the function.

    Raises:
        InvalidJob: A value is wrong, or the function has neither a group nor a queue of its own.
    """
    given = {option: value for option, value in given.items() if value is not None}
    if not given:
        return None
    first = next(iter(given))
    if given.get("concurrency") == UNLIMITED:
        raise InvalidJob("concurrency is infinite; leave it out for no limit.", field="concurrency")
    queue, group = options.get("queue") or DEFAULT, options.get("group")
    if group is None and queue == DEFAULT:
        raise InvalidJob(
            f"{first} would limit the queue {DEFAULT!r}, which functions share; give the function "
            "group='{argument}', to limit each group, or a queue of its own.",
            field=first,
        )
    rate = given.get("rate")
    place = EVERY_GROUP if isinstance(group, GroupTemplate) else group
    made = DeclaredLimit(queue, place, given.get("concurrency"), None if rate is None else str(rate_of(rate)))
    _ = made.limit  # checks the values
    return made


def check_declared(functions: Iterable[LimitedFunction]) -> None:
    """Check that the limits that the functions of a process declare do not contradict each other.

    Raises:
        ConfigError: Functions declare different limits for one place, or one function declares a limit that would apply
            to the jobs of another one, which does not declare it.
    """
    every = list(functions)
    for function in every:
        if function.limit is not None:
            for other in every:
                _check_pair(function, function.limit, other)


def _check_pair(one: LimitedFunction, limit: DeclaredLimit, other: LimitedFunction) -> None:
    queue, group = other.given.get("queue") or DEFAULT, other.given.get("group")
    if other is one or queue != limit.queue:
        return
    own = other.limit
    if own is not None and own.group == limit.group:
        if own != limit:
            raise ConfigError(
                f"{one.name} declares {limit} for {limit.place}, and {other.name} declares {own}; declare the same "
                "limit in both, or give one of them another group or queue."
            )
        return
    place = EVERY_GROUP if isinstance(group, GroupTemplate) else group
    if limit.group is None or (own is None and place is not None and limit.group in (EVERY_GROUP, place)):
        raise ConfigError(
            f"{one.name} declares {limit} for {limit.place}, which {other.name} uses too; declare the same limit in "
            "both, or give one of them another group or queue."
        )
