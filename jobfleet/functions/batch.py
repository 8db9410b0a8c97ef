"""Functions that receive many jobs per call: ``@job(batch=50)``. Pure."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from jobfleet.errors import InvalidJob
from jobfleet.functions.context import JobContext
from jobfleet.functions.injection import PROGRESS_PARAMETER, Injection, hints_of
from jobfleet.model import seconds
from jobfleet.model.signals import RetryAfter

T = TypeVar("T")
BATCH = ("batch", "batch_wait")
MOST = 1000
WAIT = 0.1
LONGEST_WAIT = 3600.0
UNKNOWN = inspect.Parameter.empty
BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class BatchItem(Generic[T]):
    """One job of a batch, for functions whose parameter is annotated ``list[BatchItem[…]]``.

    The last call of `complete`, `fail` or `retry` decides how the job ends, even if the function raises later. Without
    such a call, the result or the error of the function decides.

    Args:
        value: The argument that the job was enqueued with.
        context: The context of the job; its ``progress`` raises `JobCancelled` when this job must stop.
    """

    __slots__ = ("answer", "context", "value")

    def __init__(self, value: T, context: JobContext) -> None:
        self.value: T = value
        self.context: JobContext = context
        self.answer: tuple[object, BaseException | None] | None = None
        """The result and the error of the last call; None before the first."""

    def __repr__(self) -> str:
        return f"BatchItem({self.value!r}, {self.context.job_id})"

    def complete(self, result: object = None) -> None:
        """Complete the job with a result."""
        self.answer = (result, None)

    def fail(self, error: BaseException) -> None:
        """Fail the job with an error, as if its function had raised it.

        Raises:
            TypeError: `error` is not an exception.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"fail is given an exception, not {error!r}.")
        self.answer = (None, error)

    def retry(self, delay: float | timedelta, *, reason: str | None = None) -> None:
        """Retry the job; this counts as a failure.

        Args:
            delay: Seconds until the next run.
            reason: Why, for the log and the history of the job.
        """
        self.fail(RetryAfter(delay, reason=reason))

    @classmethod
    def for_test(cls, value: T, **overrides: object) -> BatchItem[T]:
        """Make an item without a worker, to test a function by hand; see `JobContext.for_test`."""
        return cls(value, JobContext.for_test(**overrides))


@dataclass(frozen=True, slots=True)
class Batch:
    """How the jobs of a function are gathered.

    Attributes:
        size: The most jobs of a batch.
        wait: Seconds after the first job until a batch starts, even if it is not full.
        parameter: The parameter that receives the list.
        of_items: Whether the list has `BatchItem` objects; otherwise it has the values.
        element: The type of one value, for readers of the parameters of the function.
    """

    size: int
    wait: float
    parameter: str
    of_items: bool
    element: Any

    def injection(self, found: Injection) -> Injection:
        """The parameters that the worker fills. An item has the context of its job, so no other context is passed."""
        if found.has_run_scope:
            raise InvalidJob("A batch has many runs; its resources have the scope 'process'.", field="scope")
        return replace(found, context="", context_first=True) if self.of_items else found

    def parameters(self, found: Sequence[inspect.Parameter]) -> tuple[inspect.Parameter, ...]:
        """The parameters that a caller gives: one value."""
        return tuple(one.replace(annotation=self.element) for one in found if one.name == self.parameter)


def batch_of(function: Callable[..., Any], options: Mapping[str, Any], *, run_in: str, cron: object) -> Batch | None:
    """How the jobs of a function are gathered; None when each job has its own call.

    Args:
        function: The function.
        options: ``batch`` and ``batch_wait``, as given to the decorator.
        run_in: Where the function runs.
        cron: Its schedule; None when it has none.

    Raises:
        InvalidJob: An option is wrong, or does not fit the function.
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
    listed = _listed(name, given, hints.get(given, parameters[0].annotation))
    return Batch(size, wait, given, listed.of_items, listed.element)


class _Listed(NamedTuple):
    """What the list of a batch function holds; the fields of `Batch` of the same names."""

    of_items: bool
    element: Any


def _listed(name: str, parameter: str, hint: Any) -> _Listed:
    """Read what a list holds from the annotation of its parameter."""
    if isinstance(hint, str) or hint in (UNKNOWN, Any, list):
        return _Listed(isinstance(hint, str) and "BatchItem[" in hint, UNKNOWN)
    origin = typing.get_origin(hint) or hint
    if not isinstance(origin, type) or not issubclass(list, origin):
        raise InvalidJob(
            f"{name}: {parameter!r} is given a list; annotate it list[…] or list[BatchItem[…]].", field="batch"
        )
    element = (*typing.get_args(hint), UNKNOWN)[0]
    if (typing.get_origin(element) or element) is BatchItem:
        return _Listed(of_items=True, element=(*typing.get_args(element), UNKNOWN)[0])
    return _Listed(of_items=False, element=element)


def _is(hint: object, name: str) -> bool:
    return getattr(hint, "__name__", hint if isinstance(hint, str) else "").rpartition(".")[2] == name
