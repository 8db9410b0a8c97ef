"""One job: open, call, name the outcome, finish; what an outcome comes to is decided in `endings`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from jobfleet.codec import Limits, open_envelope
from jobfleet.codec.envelope import OpenedEnvelope
from jobfleet.errors import EncodingError, EnvelopeTooNew, JobCancelled
from jobfleet.outcome import (
    Broken,
    Cancelled,
    Interrupted,
    LeaseLost,
    Outcome,
    OutOfMemory,
    Overdue,
    Raised,
    Succeeded,
    TimedOut,
    Unrunnable,
)
from jobfleet.retry import Release, describe
from jobfleet.worker.run.conclusion import Endings
from jobfleet.worker.run.context import context_of
from jobfleet.worker.run.executor import Died, Executor, OnEnd
from jobfleet.worker.run.handlers import Handler, Handlers, UnknownFunction
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.parent_results import Row
from jobfleet.worker.run.resources import Resources
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_ladder import StopLadder, limits_of
from jobfleet.worker.run.stop_state import Stage

log = logging.getLogger("jobfleet.worker")
Finish = Callable[[Run, Any], None]
Move = Callable[[Run, str, Callable[[], Any]], None]


class Runner:
    """Runs a child's jobs.

    Args:
        handlers: The functions.
        executors: Where functions run, by `Handler.where`; suspects in ``ward``, where there is one.
        resources: What functions share.
        ladder: Keeps the limits of runs, and stops them.
        child: The child's id.
        limits: What arguments may be.
        hard_grace: Seconds from a job's own timeout to its hard one.
        endings: Says what an outcome comes to.
        finish: Takes a run and the item that settles it, or None when nothing may be written.
        move: Takes a run whose job goes to another queue, and what settles it otherwise.
        parents: Looks up how those ended that a run has waited for.
        judge: Says what becomes of a run whose function is not known here, given what to say if nobody knows it.
        on_returned: Is told that user code is done with a run.
    """

    def __init__(
        self,
        handlers: Handlers,
        executors: Mapping[str, Executor],
        ladder: StopLadder,
        *,
        resources: Resources,
        child: str,
        limits: Limits,
        hard_grace: float,
        endings: Endings,
        finish: Finish,
        move: Move,
        parents: Callable[[Run], Awaitable[Sequence[Row]]],
        judge: Callable[[Run, str], Awaitable[Outcome]],
        on_returned: Callable[[Run], None],
    ) -> None:
        self._parents = parents
        self._judge = judge
        self._handlers = handlers
        self._executors = executors
        self._around = MiddlewareChain(handlers.hooks, handlers.around, executors, resources)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ladder = ladder
        self._hard_grace = hard_grace
        self._child = child
        self._limits = limits
        self._item, self._weighed = endings.item, endings.weighed
        self._finish = finish
        self._move = move
        self._on_returned = on_returned
        self._loop = asyncio.get_running_loop()

    def start(self, run: Run) -> None:
        """Start a run; it goes on by itself, and ends in `finish`, whatever stands in its row."""
        try:
            self._begin(run)
        except Exception as error:
            log.exception("job.broken job_id=%s", run.id, extra={"run": run})
            if not run.ending.is_over:
                self._end(run, Broken(f"it cannot be started: {describe(error)}"))

    def _begin(self, run: Run) -> None:
        opened = self._open(run)
        if isinstance(opened, UnknownFunction):
            self._spawn(self._judge_unknown(run, str(opened)))
            return
        if not isinstance(opened, OpenedEnvelope) or run.handler is None:
            self._end(run, opened if not isinstance(opened, OpenedEnvelope) else Broken("it has no function"))
            return
        if "parents" in run.header:
            self._spawn(self._launch_after(run, run.handler, opened))
        else:
            self._try(run, run.handler, opened)

    async def _judge_unknown(self, run: Run, reason: str) -> None:
        """End a run whose function is not known here."""
        outcome = await self._judge(run, reason)
        if not run.ending.is_over:
            self._end(run, run.stop.interruption or outcome)

    def _try(self, run: Run, handler: Handler, opened: OpenedEnvelope) -> None:
        try:
            self._launch(run, handler, opened.args, opened.kwargs)
        except Exception as error:  # noqa: BLE001 - whatever the envelope says, it must not end the worker
            self._end(run, Broken(f"it cannot be started: {describe(error)}"))

    async def _launch_after(self, run: Run, handler: Handler, opened: OpenedEnvelope) -> None:
        """Start a run that has waited for others, once it is known how they ended."""
        outcome: Outcome | None = None
        try:
            run.parents = await self._parents(run)
        except Exception as error:  # noqa: BLE001 - whatever stands there, the run's slot must not be held for ever
            log.warning("job.parents_unknown job_id=%s %s", run.id, error, extra={"run": run})
            outcome = Broken(f"how those ended that it has waited for cannot be read: {describe(error)}")
        else:
            await run.lease_confirmed()  # the look-up may have waited for Redis
        if run.ending.is_over:
            return
        outcome = run.stop.interruption or outcome
        if outcome is not None:
            self._end(run, outcome)
        else:
            self._try(run, handler, opened)

    def _launch(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any]) -> None:
        if (handler.timeout or handler.hard_timeout or len(run.header) > 1) and handler.where != "batch":
            soft, hard = limits_of(run.header, handler, self._hard_grace)
            if soft or hard:
                self._ladder.limit(run, soft, hard)
        on_end: OnEnd = partial(self._returned, run)
        if not run.is_quarantined:
            self._around.launch(run, handler, self._child, args, kwargs, on_end)
            return
        if self._around.has_endings:  # they are called here; what stands around the run itself goes with it
            run.context = context_of(run, self._child, args, kwargs)
        run.executor = self._executors["ward"]
        run.executor.start(run, handler, args, kwargs, on_end)

    def _open(self, run: Run) -> OpenedEnvelope | Outcome | UnknownFunction:
        meta = run.grant.meta
        if meta and not run.grant.tries and _is_overdue(meta, run.started_us):
            return Overdue()
        if not run.grant.envelope:
            return Broken("its envelope is gone: was Redis made to evict keys?")
        try:
            opened = open_envelope(run.grant.envelope, limits=self._limits)
            run.header = opened.header
            run.handler = self._handlers.get(opened.header["function"])
        except EnvelopeTooNew as error:
            return Unrunnable(str(error))
        except UnknownFunction as error:
            return error
        except (EncodingError, KeyError, TypeError) as error:
            return Broken(f"its envelope cannot be read: {error}")
        return opened

    def _returned(self, run: Run, value: Any, error: BaseException | None) -> None:
        """Name the outcome: every way in which user code can be over stands here, side by side."""
        why = run.stop.interruption
        if run.stop.has_limits and self._ladder.is_past(run) and not isinstance(why, Cancelled | LeaseLost):
            outcome: Outcome = TimedOut(run.stop.limits[1])
        elif error is None:
            outcome = Succeeded(value)
        elif why is not None and run.stop.stage >= Stage.TERMINATED:
            outcome = why  # whatever it died of, it was our doing
        elif why is not None and isinstance(error, asyncio.CancelledError | JobCancelled):
            outcome = why
        elif isinstance(error, JobCancelled) and run.stop.cancel_by is not None:
            outcome = Cancelled(run.stop.cancel_by)
        elif isinstance(error, Died):
            outcome = error.outcome
            if type(outcome) is OutOfMemory and (queue := self._roomier(run)):
                self._end_elsewhere(run, outcome, queue)
                return
        else:
            outcome = Raised(error)
        self._end(run, outcome)

    def _end(self, run: Run, outcome: Outcome) -> None:
        if run.stop.timer is not None:
            self._ladder.over(run)
        if run.context is not None and not run.ending.is_over:
            self._spawn(self._end_told(run, outcome))
            return
        self._on_returned(run)
        if run.ending.is_over:
            return  # it was given back while it ran on
        run.ending.is_over = True
        self._finish(run, self._item(run, outcome))

    async def _end_told(self, run: Run, outcome: Outcome) -> None:
        """End a run once its hooks were called; they are user code, and the run is theirs until then."""
        outcome, decision, run.ending.item = self._weighed(run, outcome)
        try:
            await self._around.ended(run, outcome, decision)
        finally:
            self._on_returned(run)
            if not run.ending.is_over:
                run.ending.is_over = True
                self._finish(run, run.ending.item)

    def _roomier(self, run: Run) -> str:
        """The queue in which a job goes on that ran out of memory; empty when there is none, or it is there."""
        isolation = run.handler.function.isolation if run.handler is not None else None
        return isolation.on_oom if isolation is not None and isolation.on_oom != run.lane.queue else ""

    def _end_elsewhere(self, run: Run, outcome: Outcome, queue: str) -> None:
        if run.stop.timer is not None:
            self._ladder.over(run)
        self._on_returned(run)
        if not run.ending.is_over and run.stop.interruption is None:
            run.ending.is_over = True
            if run.context is not None:
                self._spawn(self._around.ended(run, outcome, Release()))
            self._move(run, queue, lambda: self._item(run, outcome))
        elif not run.ending.is_over:
            run.ending.is_over = True
            self._finish(run, self._item(run, run.stop.interruption or outcome))

    def abandon(self, run: Run, outcome: Outcome) -> None:
        """Settle a run whose user code does not end; whatever it does from now on is ignored."""
        if run.ending.is_over:
            return
        run.ending.is_over = True
        if run.ending.item is not None:  # only its hooks do not end
            self._finish(run, run.ending.item)
            return
        outcome, decision, item = self._weighed(run, outcome)
        if run.context is not None and not isinstance(outcome, Interrupted):
            self._spawn(self._around.ended(run, outcome, decision))
        self._finish(run, item)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_overdue(meta: str, now_us: int) -> bool:
    for line in meta.split("\n"):
        if line.startswith("x "):
            return int(line[2:]) <= now_us
    return False
