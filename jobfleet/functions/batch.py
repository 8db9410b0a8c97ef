"""Functions that are given many jobs at once: ``@job(batch=50)``. Pure."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

from jobfleet.errors import InvalidJob
from jobfleet.functions.context import JobContext
from jobfleet.functions.injection import PROGRESS_PARAMETER, Injection, hints_of
from jobfleet.model import seconds
from jobfleet.outcome import RetryAfter

T = TypeVar("T")
R = TypeVar("R")
BATCH = ("batch", "batch_wait")
MOST = 1000
WAIT = 0.1
LONGEST_WAIT = 3600.0
UNKNOWN = inspect.Parameter.empty
BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class BatchItem(Generic[T]):
    """One job of a batch, for functions whose parameter is annotated ``list[BatchItem[…]]``.

    What is said of it last counts, also if the function raises later. Of a job that nothing is said of, the
    function's result or error counts.

    Args:
        value: What the job was enqueued with.
        context: The job; its ``progress`` raises `JobCancelled` once this one is to stop.
    """

    __slots__ = ("context", "said", "value")

    def __init__(self, value: T, context: JobContext) -> None:
        self.value = value
        self.context = context
        self.said: tuple[object, BaseException | None] | None = None
        """Its result and its error, if either was given."""

    def __repr__(self) -> str:
        return f"BatchItem({self.value!r}, {self.context.job_id})"

    def complete(self, result: object = None) -> None:
        """Say that the job is done, with this result."""
        self.said = (result, None)

    def fail(self, error: BaseException) -> None:
        """Say that the job has raised this; what follows is what follows when a function raises it.

        Raises:
            TypeError: `error` is no exception.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"fail is given an exception, not {error!r}.")
        self.said = (None, error)

    def retry(self, delay: float | timedelta, *, reason: str | None = None) -> None:
        """Say that the job is to be run again after so many seconds; counts as a failure."""
        self.fail(RetryAfter(delay, reason=reason))

    @classmethod
    def for_test(cls, value: T, **overrides: object) -> BatchItem[T]:
        """An item without a worker, for testing a function by hand; see `JobContext.for_test`."""
        return cls(value, JobContext.for_test(**overrides))


@dataclass(frozen=True, slots=True)
class Batch:
    """How a function's jobs are gathered.

    Attributes:
        size: Jobs of a batch at most.
        wait: Seconds after its first job at which a batch is begun, however few it has.
        parameter: The parameter that is given them.
        of_items: Whether as `BatchItem`; else as the values alone.
        element: What one of them is, for whoever reads the function's parameters.
    """

    size: int
    wait: float
    parameter: str
    of_items: bool
    element: Any

    def injection(self, found: Injection) -> Injection:
        """What the worker fills; an item holds its job's context, which is passed before the value."""
        return replace(found, context="", context_first=True) if self.of_items else found

    def parameters(self, found: Sequence[inspect.Parameter]) -> tuple[inspect.Parameter, ...]:
        """The parameters that a caller gives: one value."""
        return tuple(one.replace(annotation=self.element) for one in found if one.name == self.parameter)


def batch_of(function: Callable[..., Any], options: Mapping[str, Any], *, run_in: str, cron: object) -> Batch | None:
    """How a function's jobs are gathered; None when each has a call of its own.

    Args:
        function: The function.
        options: ``batch`` and ``batch_wait``, as given to the decorator.
        run_in: Where the function runs.
        cron: When it runs by itself, if it does.

    Raises:
        InvalidJob: One of them is wrong, or does not suit the function.
    """
    size, wait = options.get("batch"), options.get("batch_wait")
    if size is None:
        if wait is not None:
            raise InvalidJob("batch_wait is how long a batch waits for more: add batch=N.", field="batch_wait")
        return None
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST:
        raise InvalidJob(f"batch is {size!r}; give a whole number from 1 to {MOST:,}.", field="batch")
    waits = WAIT if wait is None else seconds(wait, field="batch_wait")
    if waits > LONGEST_WAIT:
        raise InvalidJob(f"batch_wait is {wait!r}; give an hour or less.", field="batch_wait")
    name = getattr(function, "__qualname__", repr(function))
    if run_in == "process":
        raise InvalidJob(f"{name} has run_in='process', one job a process: leave that or batch out.", field="batch")
    if cron is not None:
        raise InvalidJob(f"{name} has cron, which gives no value for a batch: leave one of them out.", field="batch")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidJob(f"{name} is a generator; a batch function returns its results as a list.", field="batch")
    return _batch(function, name, size, waits)


def _batch(function: Callable[..., Any], name: str, size: int, wait: float) -> Batch:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise InvalidJob(f"{name} does not say what its parameters are; wrap it in a def.", field="batch") from None
    hints = hints_of(function)
    for parameter in parameters:
        if parameter.name == PROGRESS_PARAMETER or _is(hints.get(parameter.name, parameter.annotation), "JobContext"):
            raise InvalidJob(
                f"{name}: {parameter.name!r} is for one job; take list[BatchItem[…]], each with its own context.",
                field="batch",
            )
    if not parameters or parameters[0].kind not in BY_POSITION:
        raise InvalidJob(f"{name} needs a first parameter for the list of its jobs' values.", field="batch")
    for other in parameters[1:]:
        is_filled = other.default is not other.empty or hasattr(hints.get(other.name), "__metadata__")
        if not is_filled and other.kind not in (other.VAR_POSITIONAL, other.VAR_KEYWORD):
            raise InvalidJob(f"{name}: nothing fills {other.name!r}; a job gives one value.", field="batch")
    given = parameters[0].name
    of_items, element = _element(name, given, hints.get(given, parameters[0].annotation))
    return Batch(size, wait, given, of_items, element)


def _element(name: str, parameter: str, hint: Any) -> tuple[bool, Any]:
    """Whether a list of that annotation holds items, and what a value is."""
    if isinstance(hint, str) or hint in (UNKNOWN, Any, list):
        return isinstance(hint, str) and "BatchItem[" in hint, UNKNOWN
    origin = typing.get_origin(hint) or hint
    if not isinstance(origin, type) or not issubclass(list, origin):
        raise InvalidJob(
            f"{name}: {parameter!r} is given a list; annotate it list[…] or list[BatchItem[…]].", field="batch"
        )
    element = (*typing.get_args(hint), UNKNOWN)[0]
    if (typing.get_origin(element) or element) is BatchItem:
        return True, (*typing.get_args(element), UNKNOWN)[0]
    return False, element


def _is(hint: object, name: str) -> bool:
    return getattr(hint, "__name__", hint if isinstance(hint, str) else "").rpartition(".")[2] == name
