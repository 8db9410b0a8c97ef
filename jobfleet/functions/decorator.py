"""`job`, the decorator that makes a function a job, and its types; ``fleet.job`` has the same."""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from jobfleet.functions import registry as registries
from jobfleet.functions.batch import BatchItem, T
from jobfleet.functions.context import JobContext
from jobfleet.functions.default_fleet import AnyFleet
from jobfleet.functions.option_types import FunctionOptions, RegisteredOptions
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.model.option_types import Seconds

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(typing.Protocol):
    """What ``@job(...)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], Awaitable[R]]
    ) -> JobFunction[P, R, Awaitable[R], Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> JobFunction[P, R, Awaitable[R], P]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], R]
    ) -> JobFunction[P, R, R, Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> JobFunction[P, R, R, P]: ...


class BatchDecorator(typing.Protocol):
    """What ``@job(batch=…)`` returns."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Awaitable[None]]
    ) -> JobFunction[[T], Any, Awaitable[None], Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Awaitable[Sequence[R]]]
    ) -> JobFunction[[T], R, Awaitable[Sequence[R]], Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], Sequence[R]]
    ) -> JobFunction[[T], R, Sequence[R], Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[BatchItem[T]], ...], None]
    ) -> JobFunction[[T], Any, None, Concatenate[list[BatchItem[T]], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Awaitable[None]]
    ) -> JobFunction[[T], None, Awaitable[None], Concatenate[list[T], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Awaitable[Sequence[R]]]
    ) -> JobFunction[[T], R, Awaitable[Sequence[R]], Concatenate[list[T], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], Sequence[R]]
    ) -> JobFunction[[T], R, Sequence[R], Concatenate[list[T], ...]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[list[T], ...], None]
    ) -> JobFunction[[T], None, None, Concatenate[list[T], ...]]: ...


class JobDecorator:
    """Register a function as a job function: ``@job``, ``@job(queue="mail")``, or ``@fleet.job`` for one fleet.

    A parameter whose annotation names a type that JSON does not have, such as a dataclass, receives an object of it. So
    does the caller of `JobHandle.result`, by the return annotation.
    Called with the function itself, it returns the `JobFunction`. Called with options, it returns a decorator.

    Options:
        name: The name on the wire; default ``module.qualname``.
        retry_on: Exceptions after which the job is retried, even if the default is not to retry.
        discard_on: Exceptions after which the job is not retried.
        keep_last: How many of the ended jobs keep their results, per queue (per lane if a queue has several lanes). The
            results of jobs that ended earlier are removed after 10 to 20 minutes, before `result_ttl` is over.
        options: Defaults of the jobs; see `Job`. Further options of the function: `run_in` (``async``, ``thread`` or
            ``process``), and with ``process`` `memory_limit` (bytes or a text such as ``512MiB``), `cpu_limit`
            (seconds), `nice` (0 to 19), `environment` (a mapping) and `on_oom` (a queue). With `batch` (1 to 1,000) the
            function receives a list with the values of at most so many jobs, gathered for `batch_wait` seconds.
            `group` may name arguments (``"{customer}"``). `concurrency` and `rate` (``"10/min"``) limit the jobs of
            each group, or of the function's own queue; a limit that an operator sets overrides them. `limits` names
            limits that functions of all queues share, and `breaker` is a `Breaker`. `version` numbers the shape of the
            arguments, and `upcast` (``{1: f}``) brings those of an earlier version to the next one.

    Args:
        registry: The registry that it fills; None for the default registry.
        fleet: The fleet that the functions enqueue to; None for the default fleet.
    """

    __slots__ = ("_fleet", "_registry")

    def __init__(self, registry: Registry | None = None, fleet: AnyFleet | None = None) -> None:
        self._registry = registry
        self._fleet = fleet

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], Awaitable[R]], /
    ) -> JobFunction[P, R, Awaitable[R], Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> JobFunction[P, R, Awaitable[R], P]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, P], R], /
    ) -> JobFunction[P, R, R, Concatenate[JobContext, P]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobFunction[P, R, R, P]: ...
    @overload
    def __call__(
        self, /, *, batch: int, batch_wait: Seconds | None = None, **options: Unpack[FunctionOptions]
    ) -> BatchDecorator: ...
    @overload
    def __call__(self, /, **options: Unpack[FunctionOptions]) -> Decorator: ...
    def __call__(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function, or return a decorator that does; the class lists the options.

        Raises:
            InvalidJob: An option is wrong, or another function has the name.
        """
        if function is not None:
            return self._register(function, options)
        return lambda target: self._register(target, options)

    def _register(self, function: Callable[..., Any], options: dict[str, Any]) -> JobFunction[..., Any, Any]:
        registry = registries.REGISTRY if self._registry is None else self._registry
        return registry.register(function, fleet=self._fleet, **options)


def register_job_function(
    name: str, function: Callable[..., Any], **options: Unpack[RegisteredOptions]
) -> JobFunction[..., Any, Any]:
    """Register a function under a name that stays the same after a restart; the function may be a lambda.

    Args:
        name: The name on the wire.
        function: The function.
        options: See `job`.

    Raises:
        InvalidJob: An option is wrong, or another function has the name.
    """
    return registries.REGISTRY.register(function, name=name, **options)


job: JobDecorator = JobDecorator()
