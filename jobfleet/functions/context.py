"""What a job may ask for while it runs: `JobContext` and the progress callback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ParamSpec, TypeVar, overload

from jobfleet.errors import JobCancelled
from jobfleet.functions.flow import OwnFlow
from jobfleet.functions.flow_addition import Wish
from jobfleet.functions.run_port import RunPort
from jobfleet.functions.steps import Steps
from jobfleet.logs import JobLogger
from jobfleet.model import Job, JobResult
from jobfleet.model import seconds as as_seconds

P = ParamSpec("P")
T = TypeVar("T")
_UNSET: Any = object()


class _Alone:
    """The port of a context without a worker, for tests: it remembers what it is told."""

    def __init__(self) -> None:
        self.cancel_by: str | None = None
        self.must_stop: str | None = None
        self.reports: list[tuple[float, str, Mapping[str, object] | None]] = []
        self.extended = 0.0
        self.lines: list[tuple[int, int, str]] = []
        self.kept: dict[str, bytes] = {}
        self.added: list[Wish] = []

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        self.reports.append((value, message, details))

    def extend(self, seconds: float) -> None:
        self.extended += seconds

    def note(self, at_us: int, level: int, text: str) -> None:
        self.lines.append((at_us, level, text))

    async def steps(self) -> Mapping[str, bytes]:
        return dict(self.kept)

    async def keep(self, key: str, record: bytes) -> None:
        self.kept[key] = record

    async def extend_flow(self, wish: Wish) -> Sequence[str]:
        self.added.append(wish)
        return [f"{node.job.queue or 'default'}.0.{node.job.suffix}" for node in wish.flow.nodes]

    async def lease_confirmed(self) -> None:
        pass

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(coroutine)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The job that runs, as its function sees it; injected into a parameter annotated ``JobContext``.

    Attributes:
        job_id: Its id.
        job: The job as it was asked for; options that the producer left unset are None.
        attempt: Which run this is, from 1.
        fence: A number that grows with every claim of the job: ``UPDATE … WHERE fence < :fence`` keeps an
            earlier run that is late from overwriting a later one's work.
        worker: The child that runs it.
        user: Whom it is attributed to.
        tags: As given by the producer.
        metadata: As given by the producer.
        correlation_id: As given by the producer.
        nominal_time: For which moment a cron entry fired it.
        parents: How the jobs it depends on ended, by their ids, in the order they were given.
        flow_id: The flow it belongs to; None when it belongs to none.
        log: A logger whose lines carry the job's id; what is logged here is kept with the job, and shown by
            ``jobfleet logs``.
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
    port: RunPort = field(default_factory=_Alone, repr=False)
    _held: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for this job to stop."""
        return self.port.cancel_by is not None

    def progress(self, value: float, message: str = "", details: Mapping[str, object] | None = None) -> None:
        """Report how far the job is; see `ProgressCallback`.

        Raises:
            JobCancelled: Somebody asked for the job to stop, or its time is over.
            ValueError: `value` is no number from 0 to 1.
        """
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"progress is {value!r}; give a number from 0.0 to 1.0.")
        self.port.report(float(value), message, details)
        why = self.port.must_stop
        if why is not None:
            raise JobCancelled(f"{self.job_id} is to stop: {why}.", job_id=self.job_id)

    def extend(self, seconds: float | timedelta) -> None:
        """Put off both time limits of this run; from any thread. Nothing happens once it is to stop.

        Args:
            seconds: How much more time it needs.

        Raises:
            InvalidJob: `seconds` is no duration.
        """
        self.port.extend(as_seconds(seconds, field="extend"))

    @overload
    def step(
        self, key: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self, key: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    def step(self, key: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Do a step of the job: ``await ctx.step("charge", charge, 5)``. Awaited; a ``def`` job calls `step_sync`.

        What the function returns is kept under the run's token; when the job is run again, after a crash or an
        error, the value is given and the function is not called. A run that stops between the call and the keeping
        calls it again: let the function itself be repeatable. A ``def`` function is called in a thread.

        Args:
            key: Names the step within its job; 1 to 200 characters. At most 1,000 steps and checkpoints, 4 MiB.
            function: Does it; its value must be able to travel, and is given as it will be given next time.

        Raises:
            InvalidJob: The key is wrong, or too much was kept already.
            EncodingError: The value cannot travel.
            JobCancelled: The job is to stop, or another run owns it by now.
            TypeError: No event loop runs here.
        """
        _must_run_loop("step")
        return self._steps.step(key, function, args, kwargs)

    @overload
    def step_sync(
        self, key: str, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def step_sync(self, key: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def step_sync(self, key: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Do a step of a ``def`` job; see `step`. An ``async def`` function is run on the worker's event loop.

        Raises:
            TypeError: An event loop runs here; await `step` instead.
        """
        _must_not_run_loop("step")
        return self._steps.step_sync(key, function, args, kwargs)

    def checkpoint(self, key: str, value: Any = _UNSET, /, *, default: Any = None) -> Coroutine[Any, Any, Any]:
        """Keep a value for later runs of the job, or read it: ``await ctx.checkpoint("row", 7)``.

        Args:
            key: Names the value within its job, apart from steps.
            value: What to keep in place of what was kept before. Left out: read.
            default: What is read when nothing was kept.

        Raises:
            InvalidJob: The key is wrong, or too much was kept already.
            EncodingError: The value cannot travel.
            JobCancelled: The job is to stop, or another run owns it by now.
            TypeError: No event loop runs here.
        """
        _must_run_loop("checkpoint")
        return self._steps.read(key, default) if value is _UNSET else self._steps.write(key, value)

    def checkpoint_sync(self, key: str, value: Any = _UNSET, /, *, default: Any = None) -> Any:
        """Keep or read a value in a ``def`` job; see `checkpoint`.

        Raises:
            TypeError: An event loop runs here; await `checkpoint` instead.
        """
        _must_not_run_loop("checkpoint")
        return self.port.block(self._steps.read(key, default) if value is _UNSET else self._steps.write(key, value))

    @property
    def flow(self) -> OwnFlow:
        """The flow it belongs to: ``await ctx.flow.add(Job(…))`` adds a job to it."""
        held: OwnFlow | None = self._held.get("flow")
        return held or self._held.setdefault("flow", OwnFlow(self.port, self.job_id, self.flow_id))

    @property
    def _steps(self) -> Steps:
        held: Steps | None = self._held.get("steps")
        return held or self._held.setdefault("steps", Steps(self.port, self.job_id))

    @classmethod
    def for_test(cls, **overrides: object) -> JobContext:
        """A context without a worker, for testing a job's function by hand."""
        job = Job("test", "test.function")
        values: dict[str, object] = {
            "job_id": f"default.0.{job.suffix}",
            "job": job,
            "log": JobLogger(logging.getLogger("jobfleet.job"), {}),
        }
        return cls(**{**values, **overrides})  # type: ignore[arg-type]  # overrides are checked by the constructor


def _must_run_loop(verb: str) -> None:
    if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public form raises
        raise TypeError(f"ctx.{verb} is awaited in an async def job; a def job calls ctx.{verb}_sync.")


def _must_not_run_loop(verb: str) -> None:
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public form raises
        raise TypeError(f"ctx.{verb}_sync would block the event loop that runs here; await ctx.{verb}.")
