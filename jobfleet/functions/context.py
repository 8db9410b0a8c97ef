"""What a running job may use: `JobContext`, with progress, steps, checkpoints, its flow and its log."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from jobfleet.errors import InvalidJob, JobCancelled
from jobfleet.event_loop import running_loop
from jobfleet.functions.port import RunPort
from jobfleet.functions.running import JobLock, OwnFlow
from jobfleet.functions.steps import Steps
from jobfleet.logs import JobLogger
from jobfleet.model import Job, JobResult
from jobfleet.model import seconds as as_seconds

if TYPE_CHECKING:
    from jobfleet.functions.running import OutputStream
    from jobfleet.functions.steps import Waits


class WaitMethods:
    """The part of `JobContext` that ends a run to continue the job later."""

    __slots__ = ()

    if TYPE_CHECKING:
        job_id: str
        port: RunPort
        _held: dict[str, Any]

        @property
        def _steps(self) -> Steps: ...

    def sleep(self, delay: float | timedelta | str, *, key: str | None = None) -> Coroutine[Any, Any, None]:
        """End this run and continue the job later: ``await ctx.sleep("3d")``. A ``def`` job calls `sleep_sync`.

        The slot is free meanwhile, and no attempt is counted. The next run starts at the top of the function and
        passes the steps and waits that are over. A wait lasts from the first run that comes to it.

        Args:
            delay: Seconds, a timedelta, or a text such as ``"3d"``; at most ten years.
            key: The name of the wait within its job. Default: its number among the sleeps of the run. Give a key if
                the sleeps before it may differ in another run.

        Raises:
            InvalidJob: An argument is wrong, or the job has stored too much already.
            JobCancelled: The job must stop.
            TypeError: No event loop runs in this thread.
        """
        must_run_loop("sleep")
        return self._waits().sleep(delay, key)

    def sleep_sync(self, delay: float | timedelta | str, *, key: str | None = None) -> None:
        """End this run of a ``def`` job and continue the job later; see `sleep`."""
        must_not_run_loop("sleep")
        self.port.block(self._waits().sleep(delay, key))

    def wait_for(
        self, name: str, timeout: float | timedelta | str | None = None, *, only_token: bool = False
    ) -> Coroutine[Any, Any, Any]:
        """End this run until a signal comes: ``value = await ctx.wait_for("approved", timeout="2d")``.

        A ``def`` job calls `wait_for_sync`. The first signal of a name wins, and one that came before the wait counts.
        Each later wait for the same name returns the same value.

        Args:
            name: The name of the signal; 1 to 200 characters.
            timeout: Seconds, a timedelta, or a text such as ``"2d"``; at most ten years, which is the default.
            only_token: Whether only a token of this job sends the signal (`token`). Otherwise anybody who may send
                signals to the fleet's jobs does, too.

        Returns:
            The value that was sent.

        Raises:
            SignalTimeout: The signal did not come in time.
            InvalidJob: An argument is wrong, or the job has stored too much already.
            JobCancelled: The job must stop.
            TypeError: No event loop runs in this thread.
        """
        must_run_loop("wait_for")
        return self._waits().wait_for(name, timeout, only_token=only_token)

    def wait_for_sync(
        self, name: str, timeout: float | timedelta | str | None = None, *, only_token: bool = False
    ) -> Any:
        """End this run of a ``def`` job until a signal comes; see `wait_for`."""
        must_not_run_loop("wait_for")
        return self.port.block(self._waits().wait_for(name, timeout, only_token=only_token))

    def token(self, name: str) -> str:
        """Make a secret, safe in URLs, that sends the signal `name` once: ``POST /api/v1/signals/TOKEN``.

        Only its hash is stored, when the next step or wait starts. So give the token to others in a step.
        """
        return self._waits().token(name)

    def _waits(self) -> Waits:
        held: Waits | None = self._held.get("waits")
        if held is not None:
            return held
        from jobfleet.functions.steps import Waits  # for those who wait

        made: Waits = self._held.setdefault("waits", Waits(self.port, self._steps, self.job_id))
        return made


def must_run_loop(method: str) -> None:
    """Check that a method is called where an event loop runs.

    Raises:
        TypeError: No event loop runs in this thread.
    """
    if running_loop() is None:
        raise TypeError(f"ctx.{method} is awaited in an async def job; a def job calls ctx.{method}_sync.")


def must_not_run_loop(method: str) -> None:
    """Check that a method that blocks is called where no event loop runs.

    Raises:
        TypeError: An event loop runs in this thread.
    """
    if running_loop() is not None:
        raise TypeError(f"ctx.{method}_sync would block the event loop that runs here; await ctx.{method}.")


P = ParamSpec("P")
T = TypeVar("T")
Undo = Callable[..., object]
_UNSET: Any = object()


def _alone() -> RunPort:
    from jobfleet.functions.running import Alone  # for tests

    return Alone()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext(WaitMethods):
    """The running job, as its function sees it; injected into a parameter annotated ``JobContext``.

    Attributes:
        job_id: The id of the job.
        job: The job as it was enqueued; options that the producer did not set are None.
        attempt: The number of this run, from 1. Runs whose end was charged to no budget are not counted: a job whose
            worker was killed runs again with the same number. `fence` differs in each run.
        fence: The fencing token, which grows with every claim of the job. Use it in your database to reject the writes
            of a stale run: ``UPDATE … WHERE fence < :fence``.
        worker: The id of the child that runs it.
        user: The user that the job is attributed to.
        tags: The tags of the job.
        metadata: The metadata of the job.
        correlation_id: The correlation id of the job.
        nominal_time: The planned time of the cron entry that fired the job; None for other jobs.
        parents: The results of the jobs that it waited for, by their ids, in the order of `depends_on`.
        flow_id: The flow that it belongs to; None when it belongs to no flow.
        log: A logger that adds the job id to its lines. The lines are stored with the job; ``jobfleet logs`` shows
            them.
    """

    job_id: str
    job: Job
    attempt: int = 1
    fence: int = 0
    worker: str = ""
    user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    correlation_id: str | None = None
    nominal_time: datetime | None = None
    parents: Mapping[str, JobResult[Any]] = field(default_factory=dict)
    flow_id: str | None = None
    log: logging.LoggerAdapter[logging.Logger]
    port: RunPort = field(default_factory=_alone, repr=False)
    _held: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked for this job to stop."""
        return self.port.cancel_by is not None

    @property
    def stopping(self) -> bool:
        """Whether the worker of this job drains: a deploy, a smaller fleet, or an old process that is replaced.

        The job may go on until the grace period of its worker ends. A job that would take longer ends its current part,
        and awaits `checkpoint` for another worker to continue it.
        """
        return self.port.is_draining

    def progress(self, value: float, message: str = "", details: Mapping[str, object] | None = None) -> None:
        """Report the progress of the job; see `ProgressCallback`.

        Args:
            value: The completed share, from 0.0 to 1.0.
            message: A short text for people.
            details: Further plain data.

        Raises:
            JobCancelled: Somebody has asked for the job to stop, or its time limit has passed.
            ValueError: `value` is not a number from 0 to 1.
        """
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"progress is {value!r}; give a number from 0.0 to 1.0.")
        self.port.report(float(value), message, details)
        why = self.port.must_stop
        if why is not None:
            raise JobCancelled(f"{self.job_id} is to stop: {why}.", job_id=self.job_id)

    def extend(self, seconds: float | timedelta) -> None:
        """Extend both time limits of this run; from any thread. It has no effect once the job must stop.

        Args:
            seconds: Seconds to add, or a timedelta.

        Raises:
            InvalidJob: `seconds` is not a duration.
        """
        self.port.extend(as_seconds(seconds, field="extend"))

    def emit(self, chunk: object) -> Coroutine[Any, Any, None]:
        """Add a chunk to the output stream of the job: ``await ctx.emit(token)``. A ``def`` job calls `emit_sync`.

        Readers get the chunks while the job runs, with `stream` of a handle or a fleet. Chunks are sent in batches, and
        before the end of the run is stored. The call waits only while too many chunks are unsent. The stream keeps the
        last chunks, as many as the settings `stream_chunks` and `stream_bytes` allow.

        Args:
            chunk: Text, bytes, or other plain data; at most 64 KiB when it is encoded.

        Raises:
            EncodingError: The chunk cannot be encoded, or is too large.
            JobCancelled: The job must stop, or another run owns it now.
            TypeError: No event loop runs in this thread.
        """
        must_run_loop("emit")
        return self._output.emit(chunk)

    def emit_sync(self, chunk: object) -> None:
        """Add a chunk to the output stream of a ``def`` job; see `emit`. Threads of the job may call it, too.

        Raises:
            TypeError: An event loop runs in this thread; await `emit` instead.
        """
        must_not_run_loop("emit")
        self._output.emit_sync(chunk)

    @property
    def _output(self) -> OutputStream:
        held: OutputStream | None = self._held.get("output")
        if held is None:
            from jobfleet.functions.running import OutputStream  # most jobs emit nothing

            held = self._held.setdefault("output", OutputStream(self.port, self.job_id))
        return held

    @overload
    def step(
        self, key: str, function: Callable[..., Awaitable[T]], /, *args: Any, undo: Undo, **kwargs: Any
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self, key: str, function: Callable[..., T], /, *args: Any, undo: Undo, **kwargs: Any
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self, key: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self, key: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    def step(self, key: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run a step of the job once: ``await ctx.step("charge", charge, 5)``. A ``def`` job calls `step_sync`.

        The return value of the function is stored. When the job runs again after a crash or an error, this method
        returns the stored value and does not call the function. A run that stops between the call and the store calls
        the function again, so make the function idempotent. A ``def`` function is called in a thread.

        Args:
            key: The name of the step within its job; 1 to 200 characters. A job has at most 1,000 steps and
                checkpoints, of 4 MiB together.
            function: The function. Its value must be encodable, and is returned as it was decoded from the store.
            args: Its positional arguments.
            undo: A function that takes the same arguments and undoes the step. If the job fails for good or is
                cancelled, the steps that have begun are undone in reverse order, by a job of its own. It must be a
                module-level function of a module that the worker loads, or registered.
            kwargs: Its named arguments.

        Raises:
            InvalidJob: The key or `undo` is wrong, or the job has stored too much already.
            EncodingError: The value, or with `undo` an argument, cannot be encoded.
            JobCancelled: The job must stop, or another run owns it now.
            TypeError: No event loop runs in this thread.
        """
        must_run_loop("step")
        return self._steps.step(key, function, args, kwargs, kwargs.pop("undo", None))

    @overload
    def step_sync(
        self, key: str, function: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, undo: Undo, **kwargs: Any
    ) -> T: ...
    @overload
    def step_sync(self, key: str, function: Callable[..., T], /, *args: Any, undo: Undo, **kwargs: Any) -> T: ...
    @overload
    def step_sync(
        self, key: str, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def step_sync(self, key: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def step_sync(self, key: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a step of a ``def`` job once; see `step`. An ``async def`` function runs on the event loop of the worker.

        Raises:
            TypeError: An event loop runs in this thread; await `step` instead.
        """
        must_not_run_loop("step")
        return self._steps.step_sync(key, function, args, kwargs, kwargs.pop("undo", None))

    @overload
    def checkpoint(self, /) -> Coroutine[Any, Any, None]: ...
    @overload
    def checkpoint(self, key: str, /) -> Coroutine[Any, Any, Any]: ...
    @overload
    def checkpoint(self, key: str, /, *, default: T) -> Coroutine[Any, Any, T]: ...
    @overload
    def checkpoint(self, key: str, value: object, /) -> Coroutine[Any, Any, None]: ...
    def checkpoint(self, key: str = _UNSET, value: Any = _UNSET, /, *, default: Any = None) -> Coroutine[Any, Any, Any]:
        """Store a value for later runs of the job, or read it: ``await ctx.checkpoint("row", 7)``.

        A job can be interrupted here without harm. If its worker drains, a call that stores a value, or that has no
        key, ends the run after that: the job goes back to its queue, and another worker runs it. No attempt is counted.

        Args:
            key: The name of the value within its job; 1 to 200 characters. Steps have separate names. Leave it out to
                store nothing.
            value: The value to store; it replaces the stored value. Leave it out to read.
            default: The answer to a read when no value is stored.

        Raises:
            InvalidJob: The key is wrong, or the job has stored too much already.
            EncodingError: The value cannot be encoded.
            JobCancelled: The job must stop, or another run owns it now.
            WorkerDraining: The worker drains. Do not catch it, except to clean up.
            TypeError: No event loop runs in this thread.
        """
        must_run_loop("checkpoint")
        return self._checkpoint(key, value, default)

    @overload
    def checkpoint_sync(self, /) -> None: ...
    @overload
    def checkpoint_sync(self, key: str, /) -> Any: ...
    @overload
    def checkpoint_sync(self, key: str, /, *, default: T) -> T: ...
    @overload
    def checkpoint_sync(self, key: str, value: object, /) -> None: ...
    def checkpoint_sync(self, key: str = _UNSET, value: Any = _UNSET, /, *, default: Any = None) -> Any:
        """Store or read a value in a ``def`` job; see `checkpoint`.

        Raises:
            TypeError: An event loop runs in this thread; await `checkpoint` instead.
        """
        must_not_run_loop("checkpoint")
        if key is _UNSET:
            return self._steps.check()
        return self.port.block(self._checkpoint(key, value, default))

    def _checkpoint(self, key: str, value: Any, default: Any) -> Coroutine[Any, Any, Any]:
        if key is _UNSET:
            return self._steps.pass_by()
        return self._steps.read(key, default) if value is _UNSET else self._steps.write(key, value)

    @property
    def flow(self) -> OwnFlow:
        """The flow of this job: ``await ctx.flow.add(Job(…))`` adds a job to it."""
        held: OwnFlow | None = self._held.get("flow")
        return held or self._held.setdefault("flow", OwnFlow(self.port, self.job_id, self.flow_id))

    def lock(self, name: str, /, *, limit: int = 1, timeout: float | timedelta | None = None) -> JobLock:
        """Let at most `limit` jobs of the fleet into a block: ``async with ctx.lock("crm", limit=3) as lock:``.

        A ``def`` job writes ``with ctx.lock(…)``. While the job waits, it keeps its slot and its lease. A cancellation,
        a time limit and the end of a worker interrupt the wait. The lock is freed at the end of the block, and at the
        latest when the run ends or loses its lease. Nobody is guaranteed a turn, and a job that takes the same lock
        twice may wait for itself.

        Args:
            name: The name of the lock; 1 to 200 characters. All queues and functions of the fleet share it.
            limit: How many may hold it at once; 1 to 1,000. All who hold it must have the same limit.
            timeout: The most seconds to wait, or a timedelta; 0 to try once. Default: no limit.

        Raises:
            InvalidJob: An argument is wrong.
        """
        return JobLock(self.port, self.job_id, name, limit, timeout, numbers=self._lock_numbers)

    @property
    def _lock_numbers(self) -> Iterator[int]:
        held: Iterator[int] | None = self._held.get("locks")
        return held or self._held.setdefault("locks", count(1))

    @property
    def _steps(self) -> Steps:
        held: Steps | None = self._held.get("steps")
        return held or self._held.setdefault("steps", Steps(self.port, self.job_id))

    @classmethod
    def for_test(cls, **overrides: Any) -> JobContext:
        """Make a context without a worker, to test the function of a job by hand.

        Sleeps are over at once, and a wait for a signal that was not sent times out at once.

        Args:
            overrides: Attributes of the context that differ from the defaults; and `signals`, the values of signals
                that were sent, by their names.

        Raises:
            InvalidJob: `signals` is not a mapping, or `attempt` is not a whole number from 1.
        """
        if type(attempt := overrides.get("attempt", 1)) is not int or attempt < 1:
            raise InvalidJob(f"attempt is {attempt!r:.100}; give a whole number from 1.", field="attempt")
        job = Job("test", "test.function")
        values: dict[str, Any] = {
            "job_id": f"default.0.{job.suffix}",
            "job": job,
            "log": JobLogger(logging.getLogger("jobfleet.job"), {}),
        }
        if (signals := overrides.pop("signals", None)) is not None:
            from jobfleet.functions.running import Alone

            if not isinstance(signals, Mapping):
                text = f"signals is {signals!r:.100}; give the values by their names: signals={{'approved': True}}."
                raise InvalidJob(text, field="signals")
            values["port"] = Alone(signals)
        return cls(**{**values, **overrides})
