"""The limits that functions declare: of their queue or group, named limits, and a circuit breaker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any, Protocol

from jobfleet.clock import read_duration, to_us
from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.model.limits import BREAKER, LIMIT, UNLIMITED, DeclaredLimit, Demand, check_limit_name, rate_of
from jobfleet.model.option_checks import exception_classes
from jobfleet.model.option_types import Seconds
from jobfleet.model.signals import ForeignError
from jobfleet.model.templates import EVERY_GROUP, GroupTemplate

# The limits that functions declare: ``@job(concurrency=5, rate="10/min", group="{customer}")``. Pure.


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


# The named limits and the circuit breaker of a function: ``@job(limits=["github"], breaker=Breaker(0.5))``. Pure.


GATES = ("limits", "breaker")
"""The options of `Gates`."""
MOST = 10
"""Most limits of a function."""
COST_MAX = 1_000_000_000
Cost = int | str | Callable[..., int]


@dataclass(frozen=True, slots=True)
class Limit:
    """A named limit that the jobs of a function share with those of other functions and queues.

    Args:
        name: The name of the limit, as ``fleet.limits.named`` defines it.
        cost: What a job takes from the rate: a number, the name of a parameter that has the number, or a function that
            returns it for the arguments of the job as plain data; it gets the defaults that it needs. A job always
            takes one place of the concurrency.

    Raises:
        InvalidJob: A value is not valid.
    """

    name: str
    cost: Cost = 1

    def __post_init__(self) -> None:
        check_limit_name(self.name)
        if not isinstance(self.cost, str) and not callable(self.cost):
            _checked_cost(self.name, self.cost)


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit breaker: it stops the jobs of a function while too many of them fail.

    Args:
        ratio: The part of the runs that must fail, above 0 and at most 1.
        window: Seconds whose runs count, 1 to 86,400, or a text such as ``1m``; default a minute.
        half_open: How many runs try again after `cooldown`. If all succeed, the breaker closes; if one fails, it opens.
        minimum: The least number of runs in the window; fewer do not open it.
        cooldown: Seconds for which the breaker stays open before the trial, 0.1 to 604,800, or a text.
        per: What has a breaker of its own: ``function``, ``group`` (each group of the queue) or ``limit:NAME`` (the
            jobs of all functions that name the same limit here).
        ignore: Exception classes that count neither as failures nor as successes, such as those for wrong arguments.

    Raises:
        InvalidJob: A value is not valid.
    """

    ratio: float
    window: Seconds | str = 60.0
    half_open: int = 3
    minimum: int = 10
    cooldown: Seconds | str = 30.0
    per: str = "function"
    ignore: type[BaseException] | tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        _check(self.ratio, "ratio", 0, 1, is_whole=False)
        _check(self.half_open, "half_open", 1, 1000)
        _check(self.minimum, "minimum", 1, 1_000_000)
        for name in ("window", "cooldown"):
            object.__setattr__(self, name, _seconds(getattr(self, name), name))
        _check(self.window, "window", 1, 86_400, is_whole=False)
        _check(self.cooldown, "cooldown", 0.1, 604_800, is_whole=False)
        object.__setattr__(self, "ignore", exception_classes("ignore", self.ignore))
        kind, _, limit = str(self.per).partition(":")
        if kind == LIMIT and limit:
            check_limit_name(limit)
        elif self.per not in {"function", "group"}:
            raise InvalidJob(f"per is {self.per!r}; give 'function', 'group' or 'limit:NAME'.", field="per")

    @property
    def words(self) -> str:
        """The settings as the scripts read them."""
        least = min(self.minimum, 1_000_000)
        window_us, cooldown_us = to_us(_seconds(self.window, "window")), to_us(_seconds(self.cooldown, "cooldown"))
        return f"{self.ratio:g} {least} {self.half_open} {window_us} {cooldown_us}"

    def ignores(self, error: BaseException) -> bool:
        """Whether an exception counts neither as a failure nor as a success."""
        if isinstance(error, ForeignError):
            return error.is_ignored
        return isinstance(error, self.ignore)

    def name(self, function: str, queue: str, group: str | None) -> str:
        """The name of the breaker of a job."""
        if self.per == "group" and group is not None:
            return f"{BREAKER}group:{queue}:{group}"
        return f"{BREAKER}{self.per}" if self.per.startswith(LIMIT) else f"{BREAKER}function:{function}"


@dataclass(frozen=True, slots=True)
class Gates:
    """The limits and the breaker of a function.

    Attributes:
        limits: The limits.
        breaker: The breaker; None without one.
    """

    limits: tuple[Limit, ...] = ()
    breaker: Breaker | None = None
    names: tuple[str, ...] = field(init=False)
    """The names of the gates that all jobs of the function have in common, without that of its breaker."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(f"{LIMIT}:{one.name}" for one in self.limits))

    def demands(
        self,
        function: str,
        queue: str,
        group: str | None,
        parameters: Sequence[Parameter] | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> tuple[Demand, ...]:
        """What a job needs from its gates.

        Raises:
            InvalidJob: The arguments have no valid cost.
        """
        found = [
            Demand(name, _cost(limit, parameters, args, kwargs))
            for name, limit in zip(self.names, self.limits, strict=True)
        ]
        if self.breaker is not None:
            found.append(Demand(self.breaker.name(function, queue, group), 1, self.breaker.words))
        return tuple(found)


def gates_of(options: dict[str, Any], parameters: Callable[[], Sequence[Parameter] | None]) -> Gates | None:
    """Remove `limits` and `breaker` from the options of a decorator; return them, or None.

    Raises:
        InvalidJob: A value is wrong, or a cost names a parameter that the function does not have.
    """
    limits, breaker = options.pop("limits", None), options.pop("breaker", None)
    if breaker is not None and not isinstance(breaker, Breaker):
        raise InvalidJob(f"breaker is {breaker!r:.100}; give a Breaker: breaker=Breaker(0.5).", field="breaker")
    if limits is None:
        return None if breaker is None else Gates((), breaker)
    if isinstance(limits, str | Limit) or not isinstance(limits, Sequence) or len(limits) > MOST:
        raise InvalidJob(
            f"limits is {limits!r:.100}; give a list of at most {MOST} names and Limits: limits=['github'].",
            field="limits",
        )
    made = tuple(one if isinstance(one, Limit) else Limit(one) for one in limits)
    if len({one.name for one in made}) < len(made):
        raise InvalidJob("limits names a limit twice; give each once.", field="limits")
    for one in made:
        if isinstance(one.cost, str) and (known := parameters()) is not None:
            names = [parameter.name for parameter in known]
            if one.cost not in names and not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known):
                raise InvalidJob(
                    f"limits: the cost of {one.name!r} names {one.cost!r}, which is not a parameter of the function; "
                    f"it has {', '.join(names) or 'none'}.",
                    field="limits",
                )
        elif callable(one.cost) and (known := parameters()) is not None and not _accepts(one.cost, known):
            raise InvalidJob(
                f"limits: the function of the cost of {one.name!r} does not accept the arguments of a job; give it the "
                f"parameters of the job's function: {', '.join(parameter.name for parameter in known) or 'none'}.",
                field="limits",
            )
    return Gates(made, breaker)


def _accepts(cost: Callable[..., int], parameters: Sequence[Parameter]) -> bool:
    """Whether a function of the cost accepts any usual call: all arguments, or those that must be given."""
    try:
        taken = signature(cost)
    except (TypeError, ValueError):  # a function of C may have none
        return True
    if any(one.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) for one in parameters):
        return True
    for given in (parameters, [one for one in parameters if one.default is Parameter.empty]):
        for named in (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
            args = [one.name for one in given if one.kind is not Parameter.KEYWORD_ONLY and one.kind is not named]
            kwargs = {one.name: one.name for one in given if one.name not in args}
            try:
                taken.bind(*args, **kwargs, **_defaults(cost, parameters, args, kwargs))
            except TypeError:
                continue
            return True
    return False


def _cost(limit: Limit, parameters: Sequence[Parameter] | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    cost = limit.cost
    if isinstance(cost, str):
        return _checked_cost(limit.name, _argument(cost, parameters or (), args, kwargs))
    if callable(cost):
        cost = cost(*args, **kwargs, **_defaults(cost, parameters or (), args, kwargs))
    return _checked_cost(limit.name, cost)


def _defaults(
    cost: Callable[..., int], parameters: Sequence[Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The defaults of the job's function that a function of the cost needs."""
    left = [one for one in parameters[len(args) :] if one.name not in kwargs and one.default is not Parameter.empty]
    if not left:
        return {}
    needed = signature(cost).parameters
    return {one.name: one.default for one in left if one.name in needed and needed[one.name].default is Parameter.empty}


def _argument(name: str, parameters: Sequence[Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
    if name in kwargs:
        return kwargs[name]
    for place, parameter in enumerate(parameters):
        if parameter.name == name:
            return args[place] if place < len(args) else parameter.default
    return None


def _checked_cost(name: str, cost: object) -> int:
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= COST_MAX:
        raise InvalidJob(
            f"the cost of {name!r} is {cost!r:.100}; give a number from 0 to {COST_MAX:,}.", field="limits"
        )
    return math.ceil(cost)


def _seconds(value: object, name: str) -> float:
    try:
        return read_duration(value)
    except ValueError as error:
        raise InvalidJob(f"{name} is {value!r:.100}; {error}.", field=name) from None


def _check(value: object, name: str, least: float, most: float, *, is_whole: bool = True) -> None:
    is_number = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
    if not (is_number and isinstance(value, int | float) and least <= value <= most and (least or value)):
        lowest = f"from {least:g}" if least else "above 0 and up"
        raise InvalidJob(f"{name} is {value!r:.100}; give a number {lowest} to {most:,}.", field=name)
