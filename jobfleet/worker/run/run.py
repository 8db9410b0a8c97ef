"""`Run`: one claimed job on its way through a child."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, TypeVar

from jobfleet.clock import boottime
from jobfleet.errors import JobCancelled
from jobfleet.outcome import Cancelled, Interrupted, LeaseLost, TimedOut
from jobfleet.retry import Tries
from jobfleet.store.keys import Lane
from jobfleet.store.records import Grant
from jobfleet.suspicion import NO_SUSPICION

if TYPE_CHECKING:
    from jobfleet.functions.context import JobContext
    from jobfleet.functions.flow_addition import Wish
    from jobfleet.store.calls.settle import Item
    from jobfleet.worker.run.executor import Executor, Stage
    from jobfleet.worker.run.handlers import Handler
    from jobfleet.worker.run.job_log import JobLog
    from jobfleet.worker.run.parent_results import Row
    from jobfleet.worker.run.stop_ladder import StopLadder
    from jobfleet.worker.run.writer import RunWriter

T = TypeVar("T")
STANDS_EVERY = 0.05
BLOCK_EVERY = 0.2
Key = tuple[str, int]
"""Id and token of a run: tokens are unique within a lane only, and a child serves several."""
Interruption = Cancelled | LeaseLost | TimedOut | Interrupted


class Run:
    """One claimed job.

    Attributes:
        lane: Where it stands.
        id: Its id.
        token: Its fence; unique within its lane only.
        key: Id and token together, which no other run shares.
        grant: What the claim answered.
        place: Its record on the board.
        until: Until when its lease is known to stand, by this machine's boot-time clock.
        suspicion: What the deaths that its job has witnessed say of it, where it is a suspect.
        is_apart: Whether it runs in a ward.
        header: The envelope's header, once opened.
        handler: What runs it, once found.
        executor: Where it runs, once it does.
        parents: How those ended that it has waited for.
        started_us: When it was started, by Redis's clock.
        is_counted: Whether its start has been counted.
        task: The task that runs it, if it runs on the loop.
        interruption: Why it was told to stop; the first reason stands.
        cancel_by: Who asked for its cancellation.
        context: The job as its hooks see it, until those after the run are called.
        log: What it has logged.
        has_steps: Whether it has asked for the results of its steps.
        item: How it will be settled, once that is known and its hooks are being called.
        limits: What it may take: seconds until it is told to stop, and until it is ended by force; 0 for no limit.
        soft_at: When it is told to stop (monotonic clock), if it has such a limit.
        hard_at: When it is ended by force, if it has such a limit.
        ladder: What keeps its limits, if it has any.
        timer: Of the next thing to do about its limits, or about its stopping.
        stage: How far the attempt to stop it has come; 0 before it begins.
        next_at: When the next stage is due.
        was_raised_again: Whether it was interrupted a second time.
        is_overdue: Whether its hard limit was acted upon.
        is_condemned: Whether only the end of this process can end it.
        stands_again: Whether its end put it back among the waiting.
        moved_to: The id under which its job goes on, if its end moves it.
        is_over: Whether its ending was handed to the finisher; what comes later is ignored.
    """

    # Defaults stand at the class: a run that comes to nothing special never sets them.
    suspicion = NO_SUSPICION
    is_apart = False
    header: Mapping[str, Any] = {}
    handler: Handler | None = None
    executor: Executor | None = None
    started_us = 0
    is_counted = False
    parents: Sequence[Row] = ()
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    interruption: Interruption | None = None
    cancel_by: str | None = None
    context: JobContext | None = None
    log: JobLog | None = None
    has_steps = False
    item: Item | None = None
    limits: tuple[float, float] = (0.0, 0.0)
    soft_at = 0.0
    hard_at = 0.0
    ladder: StopLadder | None = None
    stage: Stage | int = 0
    next_at = 0.0
    was_raised_again = False
    is_overdue = False
    is_condemned = False
    is_over = False
    stands_again = False
    moved_to = ""
    n = 0

    def __init__(self, lane: Lane, grant: Grant, place: int, until: float, run_writer: RunWriter) -> None:
        self.lane = lane
        self.grant = grant
        self.id = grant.id
        self.token = grant.token
        self.key = (grant.id, grant.token)
        self.place = place
        self.until = until
        self.run_writer = run_writer

    @property
    def must_stop(self) -> str | None:
        """Why the job is to stop, in words for whoever reports progress; None when it is not."""
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

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Take a progress report, from any thread."""
        self.n += 1
        self.run_writer.progress_writer.report(self, value, message, details)

    def extend(self, seconds: float) -> None:
        """Give the run so many seconds more than it has left before its time limits; from any thread."""
        if self.ladder is not None:
            self.ladder.extend(self, seconds)

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line of the job's own log; from any thread, never waiting."""
        self.run_writer.log_writer.note(self, at_us, level, text)

    def described(self) -> Mapping[str, object]:
        """What a line of the log says of it."""
        told = {
            "job_id": self.id,
            "queue": self.lane.queue,
            "function": self.header.get("function"),
            "attempt": Tries.parse(self.grant.tries).attempt,
            "fence": self.token,
            "correlation_id": self.header.get("correlation_id"),
            "user": self.header.get("user"),
        }
        return {name: value for name, value in told.items() if value is not None}

    async def steps(self) -> Mapping[str, bytes]:
        """The encoded results of the steps that earlier runs, or this one, have kept."""
        self.has_steps = True
        return await self.run_writer.step_writer.read(self)

    async def keep(self, key: str, record: bytes) -> None:
        """Keep the encoded result of a step, under the run's token; goes on if the job is stopped meanwhile.

        Raises:
            InvalidJob: Too much was kept already.
            JobCancelled: Another run owns the job by now.
        """
        await self.run_writer.step_writer.keep(self, key, record)

    async def extend_flow(self, wish: Wish) -> Sequence[str]:
        """Add jobs to the flow of the job."""
        return await self.run_writer.extend_flow(self, wish)

    async def stands(self) -> None:
        """Return once the lease is known to stand, or the run is to stop."""
        while boottime() >= self.until and self.interruption is None:  # noqa: ASYNC110 - rare: Redis is away
            await asyncio.sleep(STANDS_EVERY)

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await something on the child's loop, blocking this thread until it is done, or the run is to stop."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.run_writer.loop)
        try:
            while True:
                done, _ = wait((future,), timeout=BLOCK_EVERY)
                if done:
                    return future.result()
                if (why := self.must_stop) is not None:
                    raise JobCancelled(f"{self.id} is to stop: {why}.", job_id=self.id)
        finally:
            future.cancel()

    def interrupt(self, why: Interruption) -> None:
        """Let the job know that it is to stop, if it looks; the ladder sees to it that it does."""
        if self.interruption is None:
            self.interruption = why
        if isinstance(why, Cancelled) and self.cancel_by is None:
            self.cancel_by = why.by
