"""Batches: the jobs of one function are gathered, and one call of it runs them all.

Every job stays a run of its own, with its lease, its token, its context and its ending. The call has
a run of its own too, which is what the loop or a thread sees. A job that is to stop while others of its
batch are not is *let go*: it ends at once, and what the call makes of it is ignored. Once all are to
stop, the call is interrupted as any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from jobfleet.clock import boottime
from jobfleet.errors import JobCancelled
from jobfleet.functions.batch import Batch, BatchItem
from jobfleet.functions.registry import JobFunction
from jobfleet.outcome import Interrupted
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.current_run import CurrentRun
from jobfleet.worker.run.executor import Executor, OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_ladder import StopLadder, limits_of
from jobfleet.worker.run.stop_state import Stage

log = logging.getLogger("jobfleet.worker")
LETTING_GO = 0.1
"""Seconds in which others of a batch may be told to stop too, so that the call is interrupted instead."""
AGAIN = 0.05
"""Seconds after which a run is looked at again whose lease has to be renewed first."""


class Member:
    """One job of a batch."""

    __slots__ = ("call", "element", "gathered_at", "is_told", "kwargs", "on_end", "run")

    def __init__(self, run: Run, element: Any, kwargs: dict[str, Any], on_end: OnEnd) -> None:
        self.run = run
        self.element = element
        self.kwargs = kwargs
        self.on_end = on_end
        self.call: BatchCall | None = None
        self.is_told = False
        self.gathered_at = boottime()


class BatchCall(Run):
    """The run of a whole batch, as the executor sees it that calls the function."""

    def __init__(self, members: list[Member]) -> None:
        first = members[0].run
        super().__init__(first.lane, first.grant, first.lease.place, first.lease.until, first.backend)
        self.members = members
        self.left = set(members)
        self.interrupted_at = 0.0

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line that is about none of the jobs: it is kept with all."""
        for member in list(self.left):
            member.run.note(at_us, level, text)

    def notebook(self, job_id: str | None) -> CurrentRun:
        """Who takes a line that is about one of the jobs."""
        return next((member.run for member in self.members if member.run.id == job_id), self)


class Gathering:
    """The jobs of one function that wait for more."""

    __slots__ = ("handler", "members", "timer")

    def __init__(self, handler: Handler, timer: asyncio.TimerHandle) -> None:
        self.handler = handler
        self.timer = timer
        self.members: list[Member] = []


class BatchExecutor:
    """Gathers runs, and runs batches of them on the loop or in threads.

    Args:
        inner: Where functions run, by `JobFunction.run_in`.
        board: Where it says that user code has a job.
        ladder: Keeps the limits of runs: they count from the beginning of the call.
        slots: How many jobs this child runs at once, and so how many can be gathered.
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

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Take a run into the batch of its function, and begin that one if it is full."""
        function = handler.function
        batch: Batch = function.batch  # type: ignore[assignment]  # else it would not be here
        filled = {name: kwargs[name] for name, _ in function.injection.resources}
        try:
            element = _element(batch, args, {name: kwargs[name] for name in kwargs.keys() - filled})
        except TypeError as error:
            self._loop.call_soon(on_end, None, TypeError(f"{function.name} {error}"))
            return
        member = self._members[run.key] = Member(run, element, filled, on_end)
        if run.suspicion.is_suspect:
            self._call(handler, [member])
            return
        self._board.claimed(run.lease.place)  # nobody is charged for what only waits
        self._gather(handler, member, 0.0 if self._is_flushed else batch.wait)
        if len(self._gathering[function].members) >= min(batch.size, self._slots):
            self._begin(function)

    def stop(self, run: Run, stage: Stage) -> None:
        """Leave a run out; one whose call has begun is let go, or its call is interrupted if all others are to stop."""
        member = self._members.get(run.key)
        if member is None or stage is not Stage.RAISED:
            return
        call, was_told, member.is_told = member.call, member.is_told, True
        if call is None:
            for gathering in self._gathering.values():
                if member in gathering.members:  # else it was left out by now
                    gathering.members.remove(member)
                    self._loop.call_soon(self._end, member, None, JobCancelled())
        elif all(other.is_told for other in call.left):
            self._interrupt(call)
        elif not was_told:
            self._loop.call_later(LETTING_GO, self._let_go, call, member)

    def flush(self) -> None:
        """Begin what was gathered, and wait for more no longer."""
        self._is_flushed = True
        for function in list(self._gathering):
            self._begin(function)

    def close(self) -> None:
        """Begin nothing more."""
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
            if member.run.stop.interruption is not None:  # it was told to stop, and would be told to look
                self._loop.call_soon(self._end, member, None, JobCancelled())
            elif now >= member.run.lease.until:  # the renewal is awaited, as it is before any start
                self._gather(gathering.handler, member, AGAIN)
            else:
                ready.append(member)
        if ready:
            self._call(gathering.handler, ready)

    def _call(self, handler: Handler, members: list[Member]) -> None:
        call, now = BatchCall(members), boottime()
        for member in members:
            run = member.run
            member.call = call
            self._board.started(run.lease.place)
            run.started_us += round((now - member.gathered_at) * 1e6)
            soft, hard = limits_of(run.header, handler, self._hard_grace)
            if soft or hard:
                self._ladder.limit(run, soft, hard)
        elements = [member.element for member in members]
        on_end = partial(self._ended, handler.function.name, call)
        self._inner[handler.function.run_in].start(call, handler, [elements], members[0].kwargs, on_end)

    def _interrupt(self, call: BatchCall) -> None:
        """Interrupt a call: once, however many of its jobs are told to stop in a row."""
        now = boottime()
        if now - call.interrupted_at < LETTING_GO:
            return
        call.interrupted_at = now
        stopped = next(iter(call.left)).run
        if stopped.stop.interruption is not None:
            call.stop.interrupt(stopped.stop.interruption)
        if stopped.handler is not None:
            self._inner[stopped.handler.function.run_in].stop(call, Stage.RAISED)

    def _let_go(self, call: BatchCall, member: Member) -> None:
        if member in call.left and not all(other.is_told for other in call.left):
            log.info("job.let_go job_id=%s the rest of its batch goes on", member.run.id)
            self._end(member, None, JobCancelled())

    def _ended(self, name: str, call: BatchCall, value: Any, error: BaseException | None) -> None:
        """Give each job its own ending."""
        if isinstance(error, JobCancelled):
            self._spare(call, error)
        results = [(None, error)] * len(call.members) if error is not None else _results(name, value, call.members)
        for member, (result, raised) in zip(call.members, results, strict=True):
            if member in call.left:
                answer = member.element.answer if isinstance(member.element, BatchItem) else None
                self._end(member, *(answer or (result, raised)))
        call.members.clear()  # each holds the call, whose frames an error holds: circles would be left

    @staticmethod
    def _spare(call: BatchCall, error: JobCancelled) -> None:
        """One job's cancellation has ended the call: the others are given back, uncounted."""
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
        member.on_end(value, error)


def _element(batch: Batch, args: list[Any], named: dict[str, Any]) -> Any:
    """What a job adds to the list."""
    context, values = (args[0], args[1:]) if batch.of_items else (None, args)
    if not values and batch.parameter in named:
        values = [named.pop(batch.parameter)]
    if len(values) != 1:
        raise TypeError(f"takes one value a job; this one has {len(values) or 'none'}.")
    if named:
        raise TypeError(f"takes one value a job; this one gives {', '.join(sorted(named))} too.")
    return BatchItem(values[0], context) if context is not None else values[0]


def _results(name: str, value: Any, members: list[Member]) -> Iterable[tuple[Any, BaseException | None]]:
    if value is None:
        return [(None, None)] * len(members)
    if not isinstance(value, list | tuple) or len(value) != len(members):
        what = f"{len(value)} results" if isinstance(value, list | tuple) else type(value).__name__
        error = TypeError(f"{name} returned {what} for {len(members)} jobs; return one each, in their order, or None.")
        return [(None, error)] * len(members)
    return [(None, one) if isinstance(one, BaseException) else (one, None) for one in value]


def warn_narrow(functions: Iterable[JobFunction[..., Any, Any]], slots: int, is_served: Callable[[str], bool]) -> None:
    """Say which batches will never be full."""
    for function in functions:
        size = function.batch.size if function.batch is not None else 0
        if size > slots and is_served(str(function.given.get("queue") or "default")):
            log.warning(
                "batch.narrow function=%s gathers %d jobs at most, not %d: a process has %d slots (--slots)",
                function.name, slots, size, slots,
            )  # fmt: skip
