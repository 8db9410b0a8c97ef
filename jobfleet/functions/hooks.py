"""Hooks and middleware: a fleet's own code before, after and around every run, and around every enqueue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, overload

from jobfleet.errors import InvalidJob
from jobfleet.functions.context import JobContext
from jobfleet.model import Job
from jobfleet.outcome import Outcome

Before = Callable[[JobContext], object]
After = Callable[[JobContext, Outcome], object]
OnRetry = Callable[[JobContext, BaseException, float], object]
OnFailure = Callable[[JobContext, BaseException], object]
Middleware = Callable[[JobContext, Callable[[], Awaitable[Any]]], Awaitable[Any]]
AroundEnqueue = Callable[[Job], Job]

F = TypeVar("F", bound=Callable[..., Any])
BeforeT = TypeVar("BeforeT", bound=Before)
AfterT = TypeVar("AfterT", bound=After)
OnRetryT = TypeVar("OnRetryT", bound=OnRetry)
OnFailureT = TypeVar("OnFailureT", bound=OnFailure)
MiddlewareT = TypeVar("MiddlewareT", bound=Middleware)
AroundEnqueueT = TypeVar("AroundEnqueueT", bound=AroundEnqueue)


class Keep(Protocol):
    """A decorator that gives back what it was given, whatever its type."""

    def __call__(self, function: F, /) -> F:
        """Add a hook."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A function of the user's, and whose runs it is for.

    Attributes:
        call: The function.
        functions: Names of job functions; empty for all.
        queues: Names of queues; empty for all.
    """

    call: Callable[..., Any]
    functions: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()

    def is_for(self, function: str, queue: str) -> bool:
        """Whether it is for the jobs of a function in a queue."""
        return (not self.functions or function in self.functions) and (not self.queues or queue in self.queues)


@dataclass(slots=True)
class Hooks:
    """What is to be called before, after and around runs; ``jobfleet.hooks`` and ``fleet.hooks`` are such.

    Each method is a decorator, with or without arguments, and hands the function back as it was. ``functions`` (names,
    or what ``@job`` made) and ``queues`` narrow down whose runs it is for. Functions may be ``def``, which are called
    in a thread, or ``async def``. They are called in the order in which they were added. `around_enqueue` alone is not
    about runs, and is not narrowed down.

    Attributes:
        around_enqueues: What stands around enqueues, in order.
    """

    _before: list[Hook] = field(default_factory=list)
    _after: list[Hook] = field(default_factory=list)
    _on_retry: list[Hook] = field(default_factory=list)
    _on_failure: list[Hook] = field(default_factory=list)
    _around: list[Hook] = field(default_factory=list)
    around_enqueues: list[AroundEnqueue] = field(default_factory=list)

    @property
    def kinds(self) -> tuple[list[Hook], list[Hook], list[Hook], list[Hook], list[Hook]]:
        """All that are for runs: before, after, on retry, on failure, around."""
        return self._before, self._after, self._on_retry, self._on_failure, self._around

    @property
    def is_empty(self) -> bool:
        """Whether there is none for runs."""
        return not any(self.kinds)

    @overload
    def before(self, function: BeforeT, /) -> BeforeT: ...
    @overload
    def before(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def before(
        self, function: Before | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx)`` before a run. What it raises, the job has raised; its function is not called then."""
        return _added(self._before, function, functions, queues)

    @overload
    def after(self, function: AfterT, /) -> AfterT: ...
    @overload
    def after(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def after(
        self, function: After | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx, outcome)`` after a run, however it ended; see `jobfleet.outcome` for how it can.

        What it raises is logged and changes nothing.
        """
        return _added(self._after, function, functions, queues)

    @overload
    def on_retry(self, function: OnRetryT, /) -> OnRetryT: ...
    @overload
    def on_retry(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def on_retry(
        self, function: OnRetry | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx, error, delay)`` when a job has failed and will be run again, `delay` seconds later.

        A run that took too long has the error `TimeoutError`. What it raises is logged and changes nothing.
        """
        return _added(self._on_retry, function, functions, queues)

    @overload
    def on_failure(self, function: OnFailureT, /) -> OnFailureT: ...
    @overload
    def on_failure(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def on_failure(
        self, function: OnFailure | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx, error)`` when a job has failed for good, just before that is written down.

        What it raises is logged and changes nothing.
        """
        return _added(self._on_failure, function, functions, queues)

    @overload
    def around(self, function: MiddlewareT, /) -> MiddlewareT: ...
    @overload
    def around(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def around(
        self, function: Middleware | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Put ``async def function(ctx, call_next)`` around runs; the first added is the outermost.

        It awaits ``call_next()`` for the job's value, or does not, and returns the value that counts; what it raises,
        the job has raised.
        """
        return _added(self._around, function, functions, queues)

    def around_enqueue(self, function: AroundEnqueueT, /) -> AroundEnqueueT:
        """Give each job that this process enqueues to ``function(job)``, which answers it, or a changed copy of it.

        That is once a job, those of flows and those that jobs add to their flow among them; a recurring job passes when
        it is added, unless it stands at a decorator. A copy keeps the job's id, unless the function gives it another.
        It is called where the job is enqueued, on the event loop too: it must not block. What it raises, the enqueue
        raises.
        """
        self.around_enqueues.append(_function(function))
        return function

    def apply(self, job: Job) -> Job:
        """The job after everything that stands around enqueues.

        Raises:
            InvalidJob: One of these has answered no job.
        """
        own, suffix = job.id, job.suffix
        for around in self.around_enqueues:
            made: object = around(job)
            if not isinstance(made, Job):
                name = getattr(around, "__qualname__", repr(around))
                raise InvalidJob(
                    f"{name} stands around enqueues and answered {made!r:.80}; return the job.", field="around_enqueue"
                )
            job = made
        if job.suffix == suffix or job.id not in (None, own):
            return job
        job = replace(job, id=own)
        object.__setattr__(job, "suffix", suffix)  # who enqueues the same job again must make no second one
        return job


def _function(target: Any) -> Any:
    if not callable(target):
        raise InvalidJob(f"A hook is a function, not {target!r}.", field="hooks")
    return target


def _added(
    hooks: list[Hook], function: Callable[..., Any] | None, functions: Iterable[Any], queues: Iterable[str]
) -> Any:
    if isinstance(functions, str) or isinstance(queues, str):
        raise InvalidJob("functions and queues of a hook are lists of names.", field="hooks")
    names = frozenset(str(getattr(one, "name", one)) for one in functions)
    chosen = frozenset(queues)

    def add(target: Callable[..., Any]) -> Callable[..., Any]:
        hooks.append(Hook(_function(target), names, chosen))
        return target

    return add if function is None else add(function)
