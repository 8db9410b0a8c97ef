"""`job`, the decorator that makes a function a job, and its types."""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from jobfleet.functions import registry
from jobfleet.functions.batch import BatchItem, T
from jobfleet.functions.context import JobContext
from jobfleet.functions.registry import JobFunction

if TYPE_CHECKING:
    from jobfleet.functions.registry import JobFunction


P = ParamSpec("P")
R = TypeVar("R")


class Decorator(typing.Protocol):
    """What ``@job(...)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], Awaitable[R]]
    ) -> JobFunction[P, R, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> JobFunction[P, R, Awaitable[R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[JobContext, P], R]) -> JobFunction[P, R, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> JobFunction[P, R, R]: ...


@overload
def job(function: Callable[Concatenate[JobContext, P], Awaitable[R]], /) -> JobFunction[P, R, Awaitable[R]]: ...


@overload
def job(function: Callable[P, Awaitable[R]], /) -> JobFunction[P, R, Awaitable[R]]: ...


@overload
def job(function: Callable[Concatenate[JobContext, P], R], /) -> JobFunction[P, R, R]: ...


@overload
def job(function: Callable[P, R], /) -> JobFunction[P, R, R]: ...


@overload
def job(*, batch: int, batch_wait: float | timedelta = ..., **options: Any) -> BatchDecorator: ...


@overload
def job(
    *,
    name: str | None = None,
    retry_on: tuple[type[BaseException], ...] = (),
    discard_on: tuple[type[BaseException], ...] = (),
    **options: Any,
) -> Decorator: ...


def job(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Register a function as a job function, in the default registry.

    Args:
        function: The function, when used without parentheses.
        name: The name on the wire; default ``module.qualname``.
        retry_on: Exceptions after which the job is retried, even if the default is not to retry.
        discard_on: Exceptions after which the job is not retried.
        options: Defaults of the jobs; see `Job`. Further options of the function: `run_in` (``async``, ``thread`` or
            ``process``), and with ``process`` `memory_limit` (bytes or a text such as ``512MiB``), `cpu_limit`
            (seconds), `nice` (0 to 19), `environment` (a mapping) and `on_oom` (a queue). With `batch` (1 to 1,000) the
            function receives a list with the values of at most so many jobs, gathered for `batch_wait` seconds.

    Raises:
        InvalidJob: An option is wrong.
    """
    if function is not None:
        return registry.REGISTRY.register(function, **options)
    return lambda target: registry.REGISTRY.register(target, **options)


def register_job_function(name: str, function: Callable[..., Any], **options: Any) -> JobFunction[..., Any, Any]:
    """Register a function under a name that stays the same after a restart; the function may be a lambda.

    Args:
        name: The name on the wire.
        function: The function.
        options: See `job`.

    Raises:
        InvalidJob: An option is wrong, or another function has the name.
    """
    return registry.REGISTRY.register(function, name=name, **options)


class BatchDecorator(typing.Protocol):
    """What ``@job(batch=…)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Awaitable[None]]
    ) -> JobFunction[[T], Any, Awaitable[None]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Awaitable[Sequence[R]]]
    ) -> JobFunction[[T], R, Awaitable[Sequence[R]]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Sequence[R]]
    ) -> JobFunction[[T], R, Sequence[R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], None]
    ) -> JobFunction[[T], Any, None]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Awaitable[None]]
    ) -> JobFunction[[T], None, Awaitable[None]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Awaitable[Sequence[R]]]
    ) -> JobFunction[[T], R, Awaitable[Sequence[R]]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Sequence[R]]
    ) -> JobFunction[[T], R, Sequence[R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[list[T], ...], None]) -> JobFunction[[T], None, None]: ...
