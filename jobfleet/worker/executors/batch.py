"""Batches: the jobs of one function are gathered, and one call runs them all.

Each job stays a separate run with its own lease, token, context and ending. The call has a run too, which the event
loop or the thread sees. If only some jobs of a batch are to stop, they are *released*: they end at once, and their
results are ignored. If all of them are to stop, the call is interrupted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from jobfleet.clock import boottime
from jobfleet.errors import InvalidJob, JobCancelled
from jobfleet.functions.batch import Batch, BatchItem
from jobfleet.functions.registry import JobFunction
from jobfleet.model.signals import suspension_of
from jobfleet.outcome import Interrupted, Outcome
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.interfaces import Executor, OnEnd
from jobfleet.worker.run.log_capture import CurrentRun
from jobfleet.worker.run.run import NotStarted, Run, Stage
from jobfleet.worker.run.stop_ladder import StopLadder, limits_of

log = logging.getLogger("jobfleet.worker")
RELEASE_DELAY = 0.1
"""Seconds before a job is released. If all others are to stop by then, the call is interrupted instead."""
LEASE_CHECK = 0.05
"""Seconds until a run whose lease has to be renewed first is checked again."""


class Member:
    """One job of a batch."""

    __slots__ = ("call", "element", "gathered_at", "is_stopped", "kwargs", "on_end", "run")

    def __init__(self, run: Run, element: Any, kwargs: dict[str, Any], on_end: OnEnd) -> None:
        self.run = run
        self.element = element
        self.kwargs = kwargs
        self.on_end = on_end
        self.call: BatchCall | None = None
        self.is_stopped = False
        self.gathered_at = boottime()


class BatchCall(Run):
    """The run of a whole batch, for the executor that calls the function."""

    def __init__(self, members: list[Member]) -> None:
        first = members[0].run
        super().__init__(first.lane, first.grant, first.lease.place, first.lease.until, first.backend)
        self.members = members
        self.left = set(members)
        self.interrupted_at = 0.0

    @property
    def is_late(self) -> bool:
        """Whether the lease of one of the jobs may have ended."""
        now = boottime()
        return any(now >= member.run.lease.until for member in self.members)

    async def before_late_call(self) -> None:
        """Return once all the jobs may be run. If one of them may not, all go back without counting an attempt."""
        try:
            for member in self.members:
                await member.run.before_late_call()
        except JobCancelled:
            for member in self.left:
                member.run.stop.interrupt(Interrupted())
            raise

    def note(self, at_us: int, level: int, text: str) -> None:
        """Add a log line that names none of the jobs to the logs of all of them."""
        for member in list(self.left):
            member.run.note(at_us, level, text)

    def notebook(self, job_id: str | None) -> CurrentRun:
        """The run that takes a log line about one of the jobs."""
        return next((member.run for member in self.members if member.run.id == job_id), self)


class Gathering:
    """The jobs of one function that wait for further jobs."""

    __slots__ = ("handler", "members", "timer")

    def __init__(self, handler: Handler, timer: asyncio.TimerHandle) -> None:
        self.handler = handler
        self.timer = timer
        self.members: list[Member] = []


class BatchExecutor:
    """Gathers runs, and runs batches of them on the event loop or in threads.

    Args:
        inner: Where functions run, by `JobFunction.run_in`.
        board: The child's lease board, which shows when user code has a job.
        ladder: Sets the time limits of runs, which count from the start of the call.
        slots: How many jobs this child runs at once. No more can be gathered.
        hard_grace: Seconds from a job's own timeout to its hard one.
    """

    stages: tuple[Stage, ...] = (Stage.RAISED,)

    def __init__(
        self, inner: Mapping[str, Executor], board: LeaseBoard, ladder: StopLadder, *, slots: int, hard_grace: float
    ) -> None:
        self._inner = inner
        self._board = board
        self._ladder = ladder
        self._slots = slots
        self._hard_grace = hard_grace
        self._loop = asyncio.get_running_loop()
        self._gathering: dict[JobFunction[..., Any, Any], Gathering] = {}
        self._members: dict[tuple[str, int], Member] = {}
        self._is_flushed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Add a run to the batch of its function, and call the function if the batch is full."""
        function = handler.function
        batch: Batch = function.batch  # type: ignore[assignment]  # else it would not be here
        try:
            element, resources = loaded(function, batch, args, kwargs)
        except Exception as error:  # noqa: BLE001 - a class of the user may raise anything
            self._loop.call_soon(on_end, None, error)
            return
        member = self._members[run.key] = Member(run, element, resources, on_end)
        if run.suspicion.is_suspect:
            self._pass_and_call(handler, [member])
            return
        self._board.claimed(run.lease.place)  # a waiting job is not charged with a death
        self._gather(handler, member, 0.0 if self._is_flushed else batch.wait)
        if len(self._gathering[function].members) >= self._size_of(function):
            self._begin(function)

    def stop(self, run: Run, stage: Stage) -> None:
        """Remove a waiting run. After the call has begun, release the run, or interrupt the call if all are to stop."""
        member = self._members.get(run.key)
        if member is None or stage is not Stage.RAISED:
            return
        call, was_stopped, member.is_stopped = member.call, member.is_stopped, True
        if call is None:
            for gathering in self._gathering.values():
                if member in gathering.members:  # otherwise it was removed by now
                    gathering.members.remove(member)
                    self._loop.call_soon(self._end, member, None, JobCancelled())
        elif all(other.is_stopped for other in call.left):
            self._interrupt(call)
        elif not was_stopped:
            self._loop.call_later(RELEASE_DELAY, self._release, call, member)

    def flush(self) -> None:
        """Call the functions with what was gathered, and stop waiting for further jobs."""
        self._is_flushed = True
        for function in list(self._gathering):
            self._begin(function)

    def close(self) -> None:
        """Start no further call."""
        for gathering in self._gathering.values():
            gathering.timer.cancel()

    def _gather(self, handler: Handler, member: Member, wait: float) -> None:
        function = handler.function
        gathering = self._gathering.get(function)
        if gathering is None:
            timer = self._loop.call_later(wait, self._begin, function)
            gathering = self._gathering[function] = Gathering(handler, timer)
        gathering.members.append(member)

    def _begin(self, function: JobFunction[..., Any, Any]) -> None:
        gathering = self._gathering.pop(function)
        gathering.timer.cancel()
        now, ready = boottime(), []
        for member in gathering.members:
            if member.run.stop.interruption is not None:  # it is to stop
                self._loop.call_soon(self._end, member, None, JobCancelled())
            elif now >= member.run.lease.until:  # its lease has to be renewed first
                self._gather(gathering.handler, member, LEASE_CHECK)
            else:
                ready.append(member)
        most = self._size_of(function)  # runs that had to wait again are added to a batch that may be full
        for at in range(0, len(ready), most):
            self._pass_and_call(gathering.handler, ready[at : at + most])

    def _size_of(self, function: JobFunction[..., Any, Any]) -> int:
        return min(function.batch.size if function.batch is not None else 1, self._slots)

    def _pass_and_call(self, handler: Handler, members: list[Member]) -> None:
        """Call the function, after the jobs have passed their named limits again whose pass has become too old."""
        if all(one.run.passage is None or not one.run.passage.is_late for one in members):
            self._call(handler, members)
            return
        task = self._loop.create_task(self._call_after_gates(handler, members))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call_after_gates(self, handler: Handler, members: list[Member]) -> None:
        outcomes = await asyncio.gather(*map(_renewed, members), return_exceptions=True)
        ready = []
        for member, outcome in zip(members, outcomes, strict=True):
            stop, passage = member.run.stop, member.run.passage
            if stop.interruption is not None:
                self._end(member, None, JobCancelled())
            elif outcome is not None:
                self._end(member, None, outcome if isinstance(outcome, BaseException) else NotStarted(outcome))
            elif boottime() >= member.run.lease.until or (passage is not None and passage.is_late):
                self._gather(handler, member, LEASE_CHECK)
            else:
                ready.append(member)
        if ready:
            self._call(handler, ready)

    def _call(self, handler: Handler, members: list[Member]) -> None:
        call, now = BatchCall(members), boottime()
        for member in members:
            run = member.run
            member.call = call
            if run.passage is not None:
                run.passage.is_called = True
            self._board.started(run.lease.place)
            run.started_us += round((now - member.gathered_at) * 1e6)
            soft, hard = limits_of(run.header, handler, self._hard_grace)
            if soft or hard:
                self._ladder.limit(run, soft, hard)
        call.span = telemetry.span_of_batch([member.run for member in members], handler.function.name)
        elements = [member.element for member in members]
        on_end = partial(self._ended, handler.function.name, call)
        self._inner[handler.function.run_in].start(call, handler, [elements], members[0].kwargs, on_end)

    def _interrupt(self, call: BatchCall) -> None:
        """Interrupt a call, once for all of its jobs that are to stop at about the same time."""
        now = boottime()
        if now - call.interrupted_at < RELEASE_DELAY:
            return
        call.interrupted_at = now
        stopped = next(iter(call.left)).run
        if stopped.stop.interruption is not None:
            call.stop.interrupt(stopped.stop.interruption)
        if stopped.handler is not None:
            self._inner[stopped.handler.function.run_in].stop(call, Stage.RAISED)

    def _release(self, call: BatchCall, member: Member) -> None:
        if member in call.left and not all(other.is_stopped for other in call.left):
            log.info("job.let_go job_id=%s the rest of its batch continues", member.run.id)
            self._end(member, None, JobCancelled())

    def _ended(self, name: str, call: BatchCall, value: Any, error: BaseException | None) -> None:
        """End each job with its own result."""
        if call.span is not None:
            call.span.end()
        if isinstance(error, JobCancelled):
            self._spare(call, error)
        if suspension_of(error) is not None:
            error = InvalidJob(
                f"{name} runs batches, and a batch cannot wait; wait in a job of its own.", field="batch"
            )
        results = (
            [(None, error)] * len(call.members) if error is not None else results_of(name, value, len(call.members))
        )
        for member, (result, raised) in zip(call.members, results, strict=True):
            if member in call.left:
                answer = member.element.answer if isinstance(member.element, BatchItem) else None
                self._end(member, *(answer or (result, raised)))
        call.members.clear()  # each holds the call, which would be a reference cycle with an error's frames

    @staticmethod
    def _spare(call: BatchCall, error: JobCancelled) -> None:
        """The cancellation of one job has ended the call: give the others back without counting an attempt."""
        cause = next((one.run for one in call.left if one.run.id == error.job_id), None)
        if cause is not None and cause.stop.interruption is not None:
            for member in call.left:
                member.run.stop.interrupt(Interrupted())

    def _end(self, member: Member, value: Any, error: BaseException | None) -> None:
        if self._members.pop(member.run.key, None) is None:
            return
        if member.call is not None:
            member.call.left.discard(member)
        if isinstance(error, asyncio.CancelledError):
            error = JobCancelled() if member.run.stop.interruption is not None else error
        handler = member.run.handler
        if error is None and handler is not None:
            value, error = dumped(handler.function, value)
        member.on_end(value, error)


async def _renewed(member: Member) -> Outcome | None:
    passage = member.run.passage
    return None if passage is None else await passage.renewed()


def loaded(
    function: JobFunction[..., Any, Any], batch: Batch, args: list[Any], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The element of a job in the list that a function gets, and the resources of the call.

    Args:
        function: The function.
        batch: How its jobs are gathered.
        args: The positional arguments of the job, behind its context if the function takes items.
        kwargs: The named arguments of the job, and the resources.

    Raises:
        TypeError: The job does not have exactly one value.
        ArgumentsRefused: The value does not fit the annotation.
    """
    resources = {name: kwargs[name] for name, _ in function.injection.resources}
    named = {name: kwargs[name] for name in kwargs.keys() - resources}
    if function.typed is not None:
        args, named = function.typed.load(args, named, 1 if batch.of_items else 0)
    try:
        return element_of(batch, args, named), resources
    except TypeError as error:
        raise TypeError(f"{function.name} {error}") from None


def dumped(function: JobFunction[..., Any, Any], value: Any) -> tuple[Any, Exception | None]:
    """The result of one job as plain data, or the error that this raises. The other jobs of its batch have their own.

    Args:
        function: The function.
        value: The result.
    """
    if function.typed is None:
        return value, None
    try:
        return function.typed.dump_result(value), None
    except Exception as error:  # noqa: BLE001 - a class of the user may raise anything
        return None, error


def element_of(batch: Batch, args: list[Any], named: dict[str, Any]) -> Any:
    """The element of a job in the list that the function gets.

    Raises:
        TypeError: The job does not have exactly one value.
    """
    context, values = (args[0], args[1:]) if batch.of_items else (None, args)
    if not values and batch.parameter in named:
        values = [named.pop(batch.parameter)]
    if len(values) != 1:
        raise TypeError(f"takes one value per job; this one has {len(values) or 'none'}.")
    if named:
        raise TypeError(f"takes one value per job; this one gives {', '.join(sorted(named))} too.")
    return BatchItem(values[0], context) if context is not None else values[0]


def results_of(name: str, value: Any, jobs: int) -> Iterable[tuple[Any, BaseException | None]]:
    """The result or the error of each job of a batch.

    Args:
        name: The name of the function.
        value: What it has returned.
        jobs: The number of jobs in the batch.
    """
    if value is None:
        return [(None, None)] * jobs
    if not isinstance(value, list | tuple) or len(value) != jobs:
        what = f"{len(value)} results" if isinstance(value, list | tuple) else type(value).__name__
        error = TypeError(f"{name} returned {what} for {jobs} jobs; return one each, in their order, or None.")
        return [(None, error)] * jobs
    return [(None, one) if isinstance(one, BaseException) else (one, None) for one in value]


def warn_narrow(functions: Iterable[JobFunction[..., Any, Any]], slots: int, is_served: Callable[[str], bool]) -> None:
    """Warn about batches that can never be full."""
    for function in functions:
        size = function.batch.size if function.batch is not None else 0
        if size > slots and is_served(str(function.given.get("queue") or "default")):
            log.warning(
                "batch.narrow function=%s gathers %d jobs at most, not %d: a process has %d slots (--slots)",
                function.name, slots, size, slots,
            )  # fmt: skip
