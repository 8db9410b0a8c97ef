"""The options of ``@job(…)`` that are the function's own: isolation, retry delays, versions, results to keep."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobfleet.clock import seconds_or_text
from jobfleet.config.setting import SIZE
from jobfleet.errors import InvalidJob
from jobfleet.functions.callables import is_coroutine_function
from jobfleet.model import check_queue, seconds
from jobfleet.model.option_types import DelayFunction, RetryDelay, Seconds, SharedOptions

if TYPE_CHECKING:
    from jobfleet.cron import Cron
    from jobfleet.functions.limiting import Breaker, Limit

_log = logging.getLogger("jobfleet.worker")


class UnnamedOptions(SharedOptions, total=False):
    """What ``@job(…)`` takes besides the name; see `JobDecorator`.

    Attributes:
        cron: The schedule of a recurring job: an expression, or a `Cron`.
        run_in: Where it runs: ``async``, ``thread`` or ``process``. Default ``async`` for a coroutine function, else
            ``thread``.
        retry_delay: Seconds, a list of them, or a function of the number of the retry and the error.
        keep_last: How many of the ended jobs keep their results, per queue (per lane if a queue has several lanes). The
            results of jobs that ended earlier are removed after 10 to 20 minutes, before `result_ttl` is over.
        keep_args: Whether the arguments of a completed job stay with its result, if they have at most 64 KiB; default
            the worker's setting.
        retry_on: Exceptions after which the job is retried, even if the default is not to retry.
        discard_on: Exceptions after which the job is not retried.
        memory_limit: Memory of its process, in bytes or as a text such as ``512MiB``. This and the next four options
            are for functions that run in a process.
        cpu_limit: CPU seconds of a run.
        nice: How far the scheduling priority is lowered, 0 to 19.
        environment: Environment variables of its process, by name.
        on_oom: The queue in which a job that ran out of memory continues.
        concurrency: The most jobs that run at once: of each group, or of the function's own queue. A limit that an
            operator sets overrides this and `rate`.
        rate: The most of them that start per period, such as ``10/min``, or a number per second.
        limits: Named limits that its jobs share with those of other functions and queues: names, and `Limit`.
        breaker: The circuit breaker that stops its jobs while too many of them fail.
        version: The version of the function's arguments; 1 if it is not given.
        upcast: Functions of ``(args, kwargs)`` that return the arguments of the next version, by their version:
            ``{1: f}``.
    """

    cron: str | Cron | None
    keep_last: int | None
    keep_args: bool | None
    retry_delay: RetryDelay | DelayFunction | None
    retry_on: tuple[type[BaseException], ...]
    discard_on: tuple[type[BaseException], ...]
    memory_limit: int | str | None
    cpu_limit: Seconds | None
    nice: int | None
    environment: Mapping[str, str] | None
    on_oom: str | None
    concurrency: int | None
    rate: str | float | None
    limits: Sequence[str | Limit] | None
    breaker: Breaker | None
    version: int | None
    upcast: Mapping[int, Upcast] | None


class FunctionOptions(UnnamedOptions, total=False):
    """What ``@job(…)`` takes.

    Attributes:
        name: The name on the wire; default ``module.qualname``.
    """

    name: str | None


class RegisteredOptions(UnnamedOptions, total=False):
    """What `register_job_function` takes besides the name.

    Attributes:
        batch: The most jobs whose values the function receives in one list.
        batch_wait: How long a batch waits for more jobs.
    """

    batch: int | None
    batch_wait: Seconds | None


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


KEEP_LAST, KEEP_ARGS = "keep_last", "keep_args"
KEEP_LAST_MAX = 100_000


def kept_of(options: dict[str, Any]) -> dict[str, int]:
    """Remove `keep_last` and `keep_args` from the options of a decorator; return those that are given."""
    given = {name: options.pop(name, None) for name in (KEEP_LAST, KEEP_ARGS)}
    most, args = given.values()
    if args is not None and not isinstance(args, bool):
        raise InvalidJob(f"keep_args is {args!r}; give True or False.", field=KEEP_ARGS)
    is_number = isinstance(most, int) and not isinstance(most, bool) and 1 <= most <= KEEP_LAST_MAX
    if most is not None and not is_number:
        raise InvalidJob(
            f"keep_last is {most!r}; give a whole number from 1 to {KEEP_LAST_MAX:,}, or leave it out to keep all.",
            field=KEEP_LAST,
        )
    return {name: value for name, value in given.items() if value is not None}


def keep_last_in(options: Mapping[str, Any]) -> int | None:
    """The number of ended jobs of a published function that keep their results; None for all."""
    most = options.get(KEEP_LAST)
    return most if isinstance(most, int) and not isinstance(most, bool) and most > 0 else None


class RetryDelayFunction:
    """Returns the delay before a retry, from the number of the retry and the error.

    A function that raises, or returns something that is not a duration, costs no job: the first time is logged, and
    the default delay applies.

    Args:
        function: The user's function.
        name: The name of the job function, for the log.
    """

    def __init__(self, function: Callable[[int, BaseException], Any], name: str) -> None:
        self.function = function
        self._name = name
        self._has_failed = False

    def __call__(self, number: int, error: BaseException) -> float | None:
        """Return the delay in seconds; None for the default delay.

        Args:
            number: The number of the retry, 1 for the first.
            error: The error of the run.
        """
        try:
            return seconds_or_text(self.function(number, error), field="what it returned")
        except BaseException as wrong:  # noqa: BLE001 - the user's function may raise anything; it is logged
            if not self._has_failed:
                self._has_failed = True
                _log.error(
                    "function.retry_delay_failed function=%s retry=%d the default delay applies, now and later",
                    self._name, number, exc_info=wrong,
                )  # fmt: skip
            return None


def delay_function_of(options: dict[str, Any], name: str) -> RetryDelayFunction | None:
    """Remove the function of `retry_delay` from the options of a decorator; return it, or None.

    Raises:
        InvalidJob: It is a coroutine function, or does not take two arguments.
    """
    given = options.get("retry_delay")
    if not callable(given):
        return None
    if is_coroutine_function(given):
        raise InvalidJob(f"retry_delay is {given!r}, a coroutine function; give a plain function.", field="retry_delay")
    try:
        inspect.signature(given).bind(1, Exception())
    except TypeError:
        raise InvalidJob(
            f"retry_delay is {given!r}; give a function that takes the number of the retry and the error.",
            field="retry_delay",
        ) from None
    except ValueError:  # a function written in C has no signature to check
        pass
    del options["retry_delay"]
    return RetryDelayFunction(given, name)


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


def too_new(function: str, needed: int, holder: str) -> str:
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
