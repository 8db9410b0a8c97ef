"""`Run`: one claimed job on its way through a child.

`Run` holds the identity of the job. Its parts have one owner each: the engine keeps the lease, the stop ladder the
stop state, the gates the passage, the conclusion the ending, and the writers the output.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import wait
from enum import IntEnum
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jobfleet.clock import boottime, monotonic
from jobfleet.errors import JobCancelled
from jobfleet.model.fields import LOGGED
from jobfleet.model.signals import Suspended
from jobfleet.outcome import Cancelled, Interrupted, LeaseLost, Outcome, TimedOut
from jobfleet.retry.tries import NO_SUSPICION, Tries
from jobfleet.store.keys import Lane
from jobfleet.store.records import Grant

if TYPE_CHECKING:
    from jobfleet.functions.context import JobContext
    from jobfleet.functions.port import FlowAddition, RunSpan
    from jobfleet.store.calls.settle import Item
    from jobfleet.worker.run.handlers import Handler


T = TypeVar("T")
LEASE_CHECK_EVERY = 0.05
"""Seconds between two checks whether the lease was renewed."""
BLOCK_EVERY = 0.2
"""Seconds between two checks whether a run that blocks its thread is to stop."""
ParentEnd = tuple[str, str, bytes]
"""A parent's id, its status, and the record of its end."""
Key = tuple[str, int]
"""Id and token of a run. Tokens are unique within a lane only, and a child serves several lanes."""


class RunBackend(Protocol):
    """What a run needs from its child.

    Attributes:
        loop: The child's event loop.
        is_draining: Whether the child drains.
    """

    loop: asyncio.AbstractEventLoop
    is_draining: bool

    def report(self, run: Run, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Send a progress report, from any thread."""

    def extend(self, run: Run, seconds: float) -> None:
        """Extend the time limits of a run, from any thread."""

    def note(self, run: Run, at_us: int, level: int, text: str) -> None:
        """Send a line of the job's log, from any thread, without waiting."""

    def emit(self, run: Run, record: bytes) -> bool:
        """Take a chunk of the job's output, from any thread; return whether there is room for more."""

    async def wait_for_room(self, run: Run) -> None:
        """Return once there is room for more chunks."""

    async def read_steps(self, run: Run) -> Mapping[str, bytes]:
        """The encoded results of the job's steps."""

    async def keep_step(self, run: Run, key: str, record: bytes) -> None:
        """Store the encoded result of a step."""

    async def extend_flow(self, run: Run, addition: FlowAddition) -> Sequence[str]:
        """Add jobs to the flow of the job."""

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes] | None:
        """Delete records of the steps of an ended job, and return those that are left; None if the job is open."""

    async def acquire_lock(self, run: Run, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Take a lock, or wait for it; return the fencing token."""

    async def release_lock(self, run: Run, name: str, number: int) -> None:
        """Release a lock, or end the attempt to take it."""


class Stoppable(Protocol):
    """What a run needs from its executor: the stages it supports, and a way to stop the run."""

    stages: tuple[Stage, ...]

    def stop(self, run: Run, stage: Stage) -> None:
        """Take one stage; nothing happens when the run has ended."""


class RunLease:
    """The lease of a run. The engine changes it.

    Attributes:
        place: The number of its record on the lease board.
        until: When the lease ends, as far as this process knows (boot-time clock).
    """

    # Defaults on the class, as in the other parts of a run: an object without arguments takes half as long.
    place = 0
    until = 0.0


class Ending:
    """How a run ends. The conclusion changes it.

    Attributes:
        is_over: Whether the run was concluded. Whatever its code does later is ignored.
        item: What settles the run; None before that is known.
        ended_us: When it was concluded, by Redis's clock; 0 for a completion, whose item has its duration.
    """

    is_over = False
    item: Item | None = None
    ended_us = 0


class Run:
    """One claimed job.

    Attributes:
        lane: The lane of its queue.
        id: Its id.
        token: Its fencing token, unique within the lane.
        key: Id and token together, unique within the child.
        grant: What the claim answered.
        backend: The child's services for running jobs.
        lease: Its lease.
        stop: Whether it is to stop.
        ending: How it ends.
        output: What its job has written.
        suspicion: The deaths of processes in which the job ran, if there were any.
        is_quarantined: Whether it runs in a quarantine process.
        header: The header of the envelope, once it was opened.
        handler: The function, once it was found.
        passage: Its pass through its named limits and its circuit breaker, if it has any.
        parents: The results of the jobs that it has waited for.
        executor: Where it runs, once it runs.
        task: The task that runs it, if it runs on the event loop.
        context: The job as its hooks see it, until the hooks after the run are called.
        span: Its span; None without a tracer.
        started_us: When it was started, by Redis's clock.
        is_counted: Whether its start was counted.
    """

    # The defaults are on the class: a plain run never sets most of these.
    suspicion = NO_SUSPICION
    is_quarantined = False
    header: Mapping[str, Any] = {}
    handler: Handler | None = None
    passage: Passage | None = None
    parents: Sequence[ParentEnd] = ()
    executor: Stoppable | None = None
    task: asyncio.Task[None] | None = None
    context: JobContext | None = None
    span: RunSpan | None = None
    started_us = 0
    is_counted = False

    def __init__(self, lane: Lane, grant: Grant, place: int, until: float, backend: RunBackend) -> None:
        self.lane = lane
        self.grant = grant
        self.id = grant.id
        self.token = grant.token
        self.key = (grant.id, grant.token)
        self.backend = backend
        self.lease = lease = RunLease()
        lease.place, lease.until = place, until
        self.stop = StopState()
        self.ending = Ending()
        self.output = Output()

    @property
    def has_written(self) -> bool:
        """Whether it has output, so that more than the ending is sent at its end."""
        output = self.output
        return bool(output.number) or output.log is not None or output.chunks is not None

    @property
    def has_kept(self) -> bool:
        """Whether the job keeps steps, signals or ends of waits, as far as this run knows."""
        return self.output.has_steps or self.grant.meta.startswith("k ")  # lib/job/keep_open.lua puts this line first

    @property
    def must_stop(self) -> str | None:
        """Why the job is to stop, in words for the job; None when it is not."""
        return self.stop.reason

    @property
    def is_draining(self) -> bool:
        """Whether its child drains."""
        return self.backend.is_draining

    @property
    def cancel_by(self) -> str | None:
        """The person or program that cancelled the run; None when nobody did."""
        return self.stop.cancel_by

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Take a progress report, from any thread."""
        self.backend.report(self, value, message, details)

    def extend(self, seconds: float) -> None:
        """Extend the time limits by this many seconds, from any thread."""
        self.backend.extend(self, seconds)

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line of the job's log, from any thread, without waiting."""
        self.backend.note(self, at_us, level, text)

    def emit(self, record: bytes) -> bool:
        """Take a chunk of the job's output, from any thread, without waiting; return whether there is room for more."""
        return self.backend.emit(self, record)

    async def wait_for_room(self) -> None:
        """Return once there is room for more chunks."""
        await self.backend.wait_for_room(self)

    def described(self) -> Mapping[str, object]:
        """The fields of a log line about this run."""
        fields = {
            "job_id": self.id,
            "queue": self.lane.queue,
            "function": self.header.get("function"),
            "attempt": Tries.parse(self.grant.tries).attempt,
            "fence": self.token,
            **{name: self.header.get(name) for name in LOGGED},
        }
        if self.span is not None:
            fields.update(self.span.fields())
        return {name: value for name, value in fields.items() if value is not None}

    async def steps(self) -> Mapping[str, bytes]:
        """The encoded results of the steps that this run and earlier runs have stored."""
        return await self.backend.read_steps(self)

    async def keep(self, key: str, record: bytes) -> None:
        """Store the encoded result of a step under the run's token. Stopping the job does not interrupt this.

        Raises:
            InvalidJob: The job has stored too much.
            JobCancelled: Another run owns the job by now.
        """
        await self.backend.keep_step(self, key, record)

    async def extend_flow(self, addition: FlowAddition) -> Sequence[str]:
        """Add jobs to the flow of the job."""
        return await self.backend.extend_flow(self, addition)

    async def acquire_lock(self, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Take a lock, or wait for it; return the fencing token."""
        return await self.backend.acquire_lock(self, name, number, limit, timeout)

    async def release_lock(self, name: str, number: int) -> None:
        """Release a lock, or end the attempt to take it. Stopping the job does not interrupt this."""
        await self.backend.release_lock(self, name, number)

    async def lease_confirmed(self) -> None:
        """Return once the lease is known to be valid, or the run is to stop."""
        while boottime() >= self.lease.until and self.stop.interruption is None:  # noqa: ASYNC110 - rare: Redis is away
            await asyncio.sleep(LEASE_CHECK_EVERY)

    @property
    def is_late(self) -> bool:
        """Whether the lease may have ended, so that the code must not be called yet. Asked right before each call.

        The machine may have been suspended since the run was started.
        """
        return boottime() >= self.lease.until

    async def before_late_call(self) -> None:
        """Return once the code may be called all the same: the lease is renewed, and the gates let the run through.

        Raises:
            JobCancelled: The run is to stop.
            NotStarted: A gate has no room any more.
        """
        await self.lease_confirmed()
        if self.stop.interruption is not None:
            raise JobCancelled(f"{self.id} was not started: {self.must_stop}.", job_id=self.id)
        if self.passage is not None:
            self.passage.is_called = False
            await self.passage.before_call()

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes] | None:
        """Delete records of the steps of another job that has ended; return those that are left, None if it is open."""
        return await self.backend.undo(job_id, names)

    def suspend(self, wait: Suspended) -> None:
        """End the run; a later one continues the job.

        Raises:
            Suspended: Always.
        """
        raise wait

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the child's loop and block this thread until it ends, or the run is to stop."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.backend.loop)
        try:
            while True:
                done, _ = wait((future,), timeout=BLOCK_EVERY)
                if done:
                    return future.result()
                if (why := self.must_stop) is not None:
                    raise JobCancelled(f"{self.id} is to stop: {why}.", job_id=self.id)
        finally:
            future.cancel()


Interruption = Cancelled | LeaseLost | TimedOut | Interrupted


class Stage(IntEnum):
    """One step of the attempt to stop a run. Each step is taken after the grace period of the previous one."""

    ASKED = 1
    RAISED = 2
    TERMINATED = 3
    KILLED = 4


class StopState:
    """What stops a run. Only the stop ladder changes it, and `interrupt`.

    Attributes:
        interruption: Why the run is to stop; None while it is not. The first reason is kept.
        cancel_by: The person or program that cancelled the run; None when nobody did.
        limits: The soft and the hard time limit in seconds; 0 for none.
        soft_at: When the run is interrupted (monotonic clock), if it has a soft limit.
        hard_at: When the run is ended by force, if it has a hard limit.
        has_limits: Whether the run was given a time limit.
        timer: Fires at the next time limit or at the next stage.
        stage: The last stage that was tried; 0 before the first one.
        next_at: When the next stage is due (monotonic clock).
        was_raised_again: Whether the interruption was repeated.
        is_overdue: Whether the hard limit was acted upon.
        is_condemned: Whether only the end of this process can end the run.
        is_past_code: Whether the code of the run has ended and only its hooks run.
    """

    # The defaults are on the class: most runs never set any of these.
    interruption: Interruption | None = None
    cancel_by: str | None = None
    limits: tuple[float, float] = (0.0, 0.0)
    soft_at = 0.0
    hard_at = 0.0
    has_limits = False
    timer: asyncio.TimerHandle | None = None
    stage: Stage | int = 0
    next_at = 0.0
    was_raised_again = False
    is_overdue = False
    is_condemned = False
    is_past_code = False

    @property
    def reason(self) -> str | None:
        """Why the run is to stop, in words for the job; None when it is not."""
        match self.interruption:
            case None:
                return None
            case Cancelled(by):
                return f"cancelled by {by}"
            case TimedOut(limit):
                return f"timed out after {limit:g} s"
            case LeaseLost():
                return "another run owns it by now"
            case Interrupted():
                return "its worker stops"

    def interrupt(self, why: Interruption) -> None:
        """Record that the run is to stop. A job that checks its context sees this; the stop ladder does the rest."""
        if self.interruption is None:
            self.interruption = why
        if isinstance(why, Cancelled) and self.cancel_by is None:
            self.cancel_by = why.by


# The pass of a run through its gates, which counts only if the function is called soon enough.


TRIES = 5
"""How many times a run passes again whose call comes too late each time."""
Again = Callable[[], Awaitable[Outcome | None]]


class NotStarted(BaseException):  # not an Exception: `except Exception` in middleware must not swallow it
    """The gates of a run have refused it right before the call of its function."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__("its limits have no room any more; it is put back")


class Passage:
    """The pass of a run through its gates. Whatever delays the call asks for a new one when this one is too old.

    Args:
        until: When the function must be called at the latest (monotonic clock); infinite without a rate.
        again: Lets the run pass again; returns None, or the outcome of a run that may not start.
        refusal: The outcome of a run whose new passes are too old each time.

    Attributes:
        is_called: Whether the function was called.
    """

    def __init__(self, until: float, again: Again, refusal: Outcome) -> None:
        self.until = until
        self.is_called = False
        self._again = again
        self._refusal = refusal

    @property
    def is_late(self) -> bool:
        """Whether the run must pass again before the function is called. A second call of a run pays nothing."""
        return not self.is_called and monotonic() > self.until

    async def renewed(self) -> Outcome | None:
        """Pass again if it is too late for a call; return None, or the outcome of a run that may not start."""
        for _ in range(TRIES):
            if not self.is_late:
                return None
            if (outcome := await self._again()) is not None:
                return outcome
        return self._refusal if self.is_late else None

    async def before_call(self) -> None:
        """Note the call of the function, which follows at once.

        Raises:
            NotStarted: The run may not start.
        """
        if self.is_late and (outcome := await self.renewed()) is not None:
            raise NotStarted(outcome)
        self.is_called = True


_numbering = threading.Lock()
"""Protects the numbers of all runs: the thread of a job and the event loop both take numbers, each in no time."""


class LogTail:
    """The unsent lines of one run's log. A gap in the numbers shows that lines were dropped.

    Attributes:
        lines: Number and text of each line, the oldest first.
        bytes: The size of all these lines.
        n: The number of the last line.
    """

    __slots__ = ("bytes", "lines", "n")

    def __init__(self) -> None:
        self.lines: deque[tuple[int, bytes]] = deque()
        self.bytes = 0
        self.n = 0

    def add(self, text: bytes, most_lines: int, most_bytes: int) -> None:
        """Add a line. The oldest lines are dropped when there are too many."""
        self.n += 1
        self.lines.append((self.n, text))
        self.bytes += len(text)
        while len(self.lines) > most_lines or (self.bytes > most_bytes and len(self.lines) > 1):
            self.bytes -= len(self.lines.popleft()[1])

    def take(self) -> list[tuple[int, bytes]]:
        """Remove all lines and return them."""
        taken = list(self.lines)
        self.lines.clear()
        self.bytes = 0
        return taken


class ChunkBuffer:
    """The chunks of one run that Redis has not confirmed, in order. The first ones may be in flight.

    Attributes:
        records: The encoded chunks.
        n: The number of the first of them, from 1 in each run.
        sent: How many of them are in flight.
        bytes: The size of those that are not in flight.
        failure: Why no more chunks are taken; None if they are.
    """

    __slots__ = ("bytes", "failure", "n", "records", "sent")

    def __init__(self) -> None:
        self.records: deque[bytes] = deque()
        self.n = 1
        self.sent = 0
        self.bytes = 0
        self.failure: Exception | None = None

    @property
    def waiting(self) -> int:
        """The number of chunks that are not in flight."""
        return len(self.records) - self.sent

    @property
    def emitted(self) -> int:
        """The number of chunks that the run has emitted so far."""
        return self.n - 1 + len(self.records)

    def add(self, record: bytes) -> None:
        """Add a chunk."""
        self.records.append(record)
        self.bytes += len(record)

    def send(self, most: int) -> list[bytes]:
        """Return the first chunks, at most `most`; they are in flight now."""
        sending, already = list(islice(self.records, most)), self.sent
        self.sent = len(sending)
        self.bytes -= sum(map(len, sending[already:]))
        return sending

    def confirm(self) -> None:
        """Remove the chunks that are in flight."""
        for _ in range(self.sent):
            self.records.popleft()
        self.n += self.sent
        self.sent = 0

    def take(self) -> list[bytes]:
        """Remove all chunks, also those in flight, and return them."""
        taken = list(self.records)
        self.n += len(taken)
        self.records.clear()
        self.sent = self.bytes = 0
        return taken


class Output:
    """What a run has written. The writers change it.

    Attributes:
        number: The number of the last report about the run. It grows with each progress report and each stop stage.
        log: The unsent lines of its log; None before the first one.
        chunks: The unsent chunks of its output stream; None before the first one.
        has_steps: Whether the job has read or written step results.
        waits: In a fleet with keys, the ends of waits and the refused signals that the run has read; see `calls.steps`.
    """

    number = 0
    log: LogTail | None = None
    chunks: ChunkBuffer | None = None
    has_steps = False
    waits: Mapping[str, bytes] = MappingProxyType({})

    def next_number(self) -> int:
        """Take the number of a further report, from any thread. No number is taken twice."""
        with _numbering:
            self.number += 1
            return self.number
