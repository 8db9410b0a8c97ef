"""`Run`: one claimed job on its way through a child.

`Run` holds the identity of the job. Its parts have one owner each: the engine keeps the lease, the stop ladder the
stop state, the conclusion the ending, and the writers the output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jobfleet.clock import boottime
from jobfleet.errors import JobCancelled
from jobfleet.model.signals import Suspended
from jobfleet.retry.tries import NO_SUSPICION, Tries
from jobfleet.store.keys import Lane
from jobfleet.store.records import Grant
from jobfleet.worker.run.output import Output
from jobfleet.worker.run.stop_state import Stage, StopState

if TYPE_CHECKING:
    from jobfleet.functions.context import JobContext
    from jobfleet.functions.port import FlowAddition, RunSpan
    from jobfleet.store.calls.settle import Item
    from jobfleet.worker.run.handlers import Handler
    from jobfleet.worker.run.passage import Passage

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
            "correlation_id": self.header.get("correlation_id"),
            "user": self.header.get("user"),
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
