"""Hooks and middleware: code of the user before, after and around every run, and around every enqueue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload
from weakref import WeakSet

from jobfleet.errors import InvalidJob
from jobfleet.functions.context import JobContext
from jobfleet.functions.port import with_trace
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.functions.port import Tracer
    from jobfleet.outcome import Outcome  # a program that enqueues sees none

Before = Callable[[JobContext], object]
After = Callable[[JobContext, "Outcome"], object]
OnRetry = Callable[[JobContext, BaseException, float], object]
OnFailure = Callable[[JobContext, BaseException], object]
Middleware = Callable[[JobContext, Callable[[], Awaitable[Any]]], Awaitable[Any]]
AroundEnqueue = Callable[[Job], Job]
ProcessHook = Callable[[], object]
CallWrapper = Callable[[Callable[..., Any]], Callable[..., Any]]

F = TypeVar("F", bound=Callable[..., Any])
BeforeT = TypeVar("BeforeT", bound=Before)
AfterT = TypeVar("AfterT", bound=After)
OnRetryT = TypeVar("OnRetryT", bound=OnRetry)
OnFailureT = TypeVar("OnFailureT", bound=OnFailure)
MiddlewareT = TypeVar("MiddlewareT", bound=Middleware)
AroundEnqueueT = TypeVar("AroundEnqueueT", bound=AroundEnqueue)
ProcessHookT = TypeVar("ProcessHookT", bound=ProcessHook)


class Keep(Protocol):
    """A decorator that returns its argument, with the same type."""

    def __call__(self, function: F, /) -> F:
        """Add a hook."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook function, and the runs that it applies to.

    Attributes:
        call: The function.
        functions: Names of job functions; empty for all functions.
        queues: Names of queues; empty for all queues.
    """

    call: Callable[..., Any]
    functions: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()

    def is_for(self, function: str, queue: str) -> bool:
        """Whether it applies to the jobs of a function in a queue."""
        return (not self.functions or function in self.functions) and (not self.queues or queue in self.queues)


class RunHooks(NamedTuple):
    """The hooks of runs by their kind, each kind in the order in which they were added."""

    before: list[Hook]
    after: list[Hook]
    on_retry: list[Hook]
    on_failure: list[Hook]
    around: list[Hook]


class Watcher(Protocol):
    """Uses the hooks of runs."""

    def hooks_changed(self) -> None:
        """A hook was added, in any thread."""


@dataclass(slots=True)
class Hooks:
    """The hooks of a registry; ``jobfleet.hooks`` and ``fleet.hooks`` are examples.

    Each method is a decorator, with or without arguments, and returns the function unchanged. ``functions`` (names, or
    job functions) and ``queues`` restrict the runs that a hook applies to. A hook is an ``async def``
    function, or a ``def`` function, which is called in a thread. Hooks are called in the order in which they were
    added. `around_enqueue` applies to enqueues, and `on_start` and `on_stop` apply to processes; these cannot be
    restricted.

    Attributes:
        of_runs: The hooks of runs.
        around_enqueues: The functions that change jobs before their enqueue, in order.
        on_starts: The functions that a process calls before its first job, in order.
        on_stops: The functions that a process calls after its last job; the last one is called first.
        watchers: Those that use the hooks of runs, and learn of new ones.
        tracer: What makes spans of enqueues and runs; None for no spans.
    """

    of_runs: RunHooks = field(default_factory=lambda: RunHooks([], [], [], [], []))
    around_enqueues: list[AroundEnqueue] = field(default_factory=list)
    on_starts: list[ProcessHook] = field(default_factory=list)
    on_stops: list[ProcessHook] = field(default_factory=list)
    watchers: WeakSet[Watcher] = field(default_factory=WeakSet, repr=False, compare=False)
    tracer: Tracer | None = field(default=None, repr=False, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether there are no hooks of runs."""
        return not any(self.of_runs)

    @overload
    def before(self, function: BeforeT, /) -> BeforeT: ...
    @overload
    def before(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def before(
        self, function: Before | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx)`` before a run.

        If it raises, the job fails with this error, and the function of the job is not called.
        """
        return self._added(self.of_runs.before, function, functions, queues)

    @overload
    def after(self, function: AfterT, /) -> AfterT: ...
    @overload
    def after(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def after(
        self, function: After | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx, outcome)`` after every run; `jobfleet.outcome` lists the outcomes.

        An error that it raises is logged and has no other effect.
        """
        return self._added(self.of_runs.after, function, functions, queues)

    @overload
    def on_retry(self, function: OnRetryT, /) -> OnRetryT: ...
    @overload
    def on_retry(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def on_retry(
        self, function: OnRetry | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx, error, delay)`` when a job has failed and will be retried after `delay` seconds.

        A run that exceeded its time limit has the error `TimeoutError`. An error that the hook raises is logged and has
        no other effect.
        """
        return self._added(self.of_runs.on_retry, function, functions, queues)

    @overload
    def on_failure(self, function: OnFailureT, /) -> OnFailureT: ...
    @overload
    def on_failure(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def on_failure(
        self, function: OnFailure | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Call ``function(ctx, error)`` when a job has failed for good, just before this is recorded.

        An error that it raises is logged and has no other effect.
        """
        return self._added(self.of_runs.on_failure, function, functions, queues)

    @overload
    def around(self, function: MiddlewareT, /) -> MiddlewareT: ...
    @overload
    def around(self, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()) -> Keep: ...
    def around(
        self, function: Middleware | None = None, /, *, functions: Iterable[Any] = (), queues: Iterable[str] = ()
    ) -> Any:
        """Wrap runs in ``async def function(ctx, call_next)``; the first that was added is the outermost.

        It may await ``call_next()`` for the value of the job. The value that it returns is the result of the job. If it
        raises, the job has raised this error.
        """
        return self._added(self.of_runs.around, function, functions, queues)

    def _added(
        self,
        hooks: list[Hook],
        function: Callable[..., Any] | None,
        functions: Iterable[Any],
        queues: Iterable[str],
    ) -> Any:
        if isinstance(functions, str) or isinstance(queues, str):
            raise InvalidJob("functions and queues of a hook are lists of names.", field="hooks")
        names = frozenset(str(getattr(one, "name", one)) for one in functions)
        chosen = frozenset(queues)

        def add(target: Callable[..., Any]) -> Callable[..., Any]:
            hooks.append(Hook(_function(target), names, chosen))
            self._tell()
            return target

        return add if function is None else add(function)

    def trace(self, tracer: Tracer | None) -> None:
        """Let a tracer make spans of all enqueues and runs from now on; None to end that."""
        self.tracer = tracer
        self._tell()

    def _tell(self) -> None:
        for watcher in list(self.watchers):
            watcher.hooks_changed()

    def on_start(self, function: ProcessHookT, /) -> ProcessHookT:
        """Call ``function()`` once in each process that runs jobs, before its first job.

        A worker is ready (``/readyz``) when the hooks of a child have returned. If a hook raises, the process does not
        start, and the worker reports the error with its traceback.
        """
        self.on_starts.append(_function(function))
        return function

    def on_stop(self, function: ProcessHookT, /) -> ProcessHookT:
        """Call ``function()`` once in each process that has called its `on_start` hooks, after its last job.

        The hook that was added last is called first. An error that it raises is logged. A process that is killed calls
        no hook.
        """
        self.on_stops.append(_function(function))
        return function

    def around_enqueue(self, function: AroundEnqueueT, /) -> AroundEnqueueT:
        """Pass each job that this process enqueues to ``function(job)``, which returns the job or a changed copy.

        It is called once for each job, also for the jobs of a flow and for jobs that are added to a flow. For a
        recurring job it is called when the entry is added, but not for the entry of a decorator. A copy keeps the id of
        the job, unless the function sets another id. The function is called in the thread of the enqueue, which may be
        that of the event loop, so it must not block. If it raises, the enqueue raises this error.
        """
        self.around_enqueues.append(_function(function))
        return function

    def apply(self, job: Job) -> Job:
        """Apply the `around_enqueue` functions to a job, and let it carry the trace context of the running code.

        Raises:
            InvalidJob: A function did not return a `Job`.
        """
        changed = self._changed(job)
        return changed if self.tracer is None else with_trace(changed, self.tracer.carrier())

    def _changed(self, job: Job) -> Job:
        own, suffix = job.id, job.suffix
        for around in self.around_enqueues:
            made: object = around(job)
            if not isinstance(made, Job):
                name = getattr(around, "__qualname__", repr(around))
                raise InvalidJob(
                    f"{name} is an around_enqueue hook and returned {made!r:.80}; return the job.",
                    field="around_enqueue",
                )
            job = made
        if job.suffix == suffix or job.id not in (None, own):
            return job
        job = replace(job, id=own)
        object.__setattr__(job, "suffix", suffix)  # a second enqueue of the same job must not make a second job
        return job


def _function(target: Any) -> Any:
    if not callable(target):
        raise InvalidJob(f"A hook is a function, not {target!r}.", field="hooks")
    return target
