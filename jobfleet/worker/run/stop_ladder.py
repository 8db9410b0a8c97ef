"""How a run is made to stop: one stage after the other, as far as its executor can go.

A cancelled run is asked first, if its function can look; all others are interrupted at once. Each
stage has a grace. A run past its hard limit, or a cancelled one for which no stage is left, is
condemned: only the end of the process can end it. A run that neither has a limit nor is told to stop
costs nothing here; one that does has one timer.

Time in which the machine is suspended is no time of a run: the timers of the loop do not count it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from jobfleet.clock import SECOND_US, monotonic
from jobfleet.model import seconds
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_state import Interruption, Stage

if TYPE_CHECKING:
    from jobfleet.worker.run.handlers import Handler

log = logging.getLogger("jobfleet.worker")
Verdict = TimedOut | Cancelled

YIELD = 0.25
"""Seconds that an interruption at the hard limit has to be heard, before the run is condemned."""


class StopLadder:
    """Stops the runs of one child, on the running event loop.

    Args:
        board: Where hard limits are posted, so that the supervisor can enforce them when this process cannot.
        cancel_grace: Seconds that a cancelled run has to see to it itself.
        stop_grace: Seconds from one stage to the next.
        on_stage: Is told of each stage that a cancelled run reaches.
        on_condemned: Is told of a run that cannot be stopped, and what has become of it; None where nobody can
            end the process.
    """

    def __init__(
        self,
        board: LeaseBoard,
        *,
        cancel_grace: float,
        stop_grace: float,
        on_stage: Callable[[Run, Stage], None],
        on_condemned: Callable[[Run, Verdict], None] | None,
    ) -> None:
        self._board = board
        self._cancel_grace = cancel_grace
        self._stop_grace = stop_grace
        self._on_stage = on_stage
        self._on_condemned = on_condemned
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self.condemned: set[tuple[str, int]] = set()
        """Runs for which this process is to end."""

    # --- limits ---------------------------------------------------------------------------------

    def limit(self, run: Run, soft: float, hard: float) -> None:
        """Give a run that is about to start so many seconds; 0 for no limit."""
        now = monotonic()
        run.stop.has_limits = True
        run.stop.limits = (soft, hard)
        run.stop.soft_at = now + soft if soft else inf
        run.stop.hard_at = now + hard if hard else inf
        if hard:
            self._board.limit(run.lease.place, run.stop.hard_at, hard)
        self._arm(run)

    def extend(self, run: Run, by: float) -> None:
        """Give a run more time, from any thread, also while the loop is blocked; nothing once it is to stop."""
        with self._lock:
            if run.stop.interruption is not None:
                return
            soft, hard = run.stop.limits
            run.stop.limits = (soft and soft + by, hard and hard + by)
            run.stop.soft_at += by
            run.stop.hard_at += by
            if hard:
                self._board.limit(run.lease.place, run.stop.hard_at, run.stop.limits[1])

    def is_past(self, run: Run) -> bool:
        """Whether a run is past its hard limit: whatever it comes to now, it timed out."""
        return bool(run.stop.limits[1]) and monotonic() >= run.stop.hard_at

    # --- stages ---------------------------------------------------------------------------------

    def stop(self, run: Run, why: Interruption) -> None:
        """Tell a run that has started to stop, and see to it that it does."""
        was_cancelled = run.stop.cancel_by is not None
        with self._lock:
            run.stop.interrupt(why)
        if run.executor is None:
            return
        if isinstance(why, Cancelled) and run.stop.stage:  # it was to stop for another reason already
            if not was_cancelled:
                self._on_stage(run, Stage(run.stop.stage))
                if run.stop.next_at == inf:
                    run.stop.next_at = monotonic() + self._stop_grace
        elif isinstance(why, Cancelled) and _can_look(run) and self._cancel_grace:
            self._reach(run, Stage.ASKED, self._cancel_grace)
        elif run.stop.stage < Stage.RAISED:
            self._climb(run)
        self._arm(run)

    def kill(self, runs: Iterable[Run]) -> bool:
        """Kill what can be killed before its job is given back, lest another worker run it too; whether any can be."""
        is_any = False
        for run in runs:
            if not run.ending.is_over and run.executor is not None and Stage.KILLED in run.executor.stages:
                run.stop.stage = Stage.KILLED
                run.executor.stop(run, Stage.KILLED)
                is_any = True
        return is_any

    def over(self, run: Run) -> None:
        """A run has ended: there is nothing left to stop, though its hooks may go on."""
        if run.stop.limits[1]:
            self._board.limit(run.lease.place, 0.0, 0.0)
        if run.stop.timer is not None:
            run.stop.timer.cancel()
            run.stop.timer = None

    def _climb(self, run: Run) -> None:
        """Do what the next stage does; the interruption is repeated once, since it may have been swallowed."""
        executor = run.executor
        if executor is None:
            return
        stages = executor.stages
        following = next((stage for stage in stages if stage > run.stop.stage), None)
        if run.stop.stage == Stage.RAISED and Stage.RAISED in stages and not run.stop.was_raised_again:
            run.stop.was_raised_again = True
            run.stop.next_at = monotonic() + self._stop_grace / 2
            executor.stop(run, Stage.RAISED)
        elif following is not None:
            is_first = following is Stage.RAISED
            self._reach(run, following, self._stop_grace / 2 if is_first else self._stop_grace)
            executor.stop(run, following)
        elif run.stop.cancel_by is not None:
            self._condemn(run, Cancelled(run.stop.cancel_by))
        else:
            run.stop.next_at = inf

    def _reach(self, run: Run, stage: Stage, grace: float) -> None:
        run.stop.stage = stage
        run.stop.next_at = monotonic() + grace
        if run.stop.cancel_by is not None:
            self._on_stage(run, stage)

    def _time_out(self, run: Run) -> None:
        """The hard limit has passed: kill, or interrupt once more and condemn."""
        executor, (_, hard) = run.executor, run.stop.limits
        if executor is None:
            return
        if not run.stop.is_overdue:
            run.stop.is_overdue = True
            run.stop.interrupt(TimedOut(hard))
            can_kill = Stage.KILLED in executor.stages
            stage, grace = (Stage.KILLED, self._stop_grace) if can_kill else (Stage.RAISED, YIELD)
            self._reach(run, stage, grace)
            self._board.limit(
                run.lease.place, run.stop.next_at, hard
            )  # this process acts: it may have the time that this takes
            executor.stop(run, stage)
        elif (late := monotonic() - run.stop.next_at) > YIELD:
            run.stop.next_at = monotonic() + YIELD  # this loop stood still: what was to hear had no time, either
        elif late >= 0:
            self._condemn(run, TimedOut(hard))

    def _condemn(self, run: Run, verdict: Verdict) -> None:
        run.stop.next_at = inf
        function = run.header.get("function", "?")
        if self._on_condemned is None:
            log.error("job.unstoppable job_id=%s function=%s it runs on: it shares its process", run.id, function)
        elif not run.stop.is_condemned:
            run.stop.is_condemned = True
            self.condemned.add(run.key)
            log.error("job.unstoppable job_id=%s function=%s its process is to end", run.id, function)
            self._on_condemned(run, verdict)

    # --- the timer ------------------------------------------------------------------------------

    def _arm(self, run: Run) -> None:
        if run.stop.timer is not None:
            run.stop.timer.cancel()
        due = self._due(run)
        run.stop.timer = None if due == inf else self._loop.call_later(max(0.0, due - monotonic()), self._turn, run)

    def _due(self, run: Run) -> float:
        if run.stop.is_condemned:
            return inf
        following = run.stop.next_at if run.stop.stage else run.stop.soft_at if run.stop.limits[0] else inf
        hard = run.stop.hard_at if run.stop.limits[1] else inf
        return following if monotonic() >= hard and run.stop.stage else min(following, hard)

    def _turn(self, run: Run) -> None:
        """The timer has come; where the limits were moved meanwhile, there is nothing to do yet."""
        run.stop.timer = None
        now = monotonic()
        if run.stop.limits[1] and now >= run.stop.hard_at:
            self._time_out(run)
        elif not run.stop.stage and run.stop.limits[0] and now >= run.stop.soft_at:
            self.stop(run, TimedOut(run.stop.limits[0]))
            return
        elif run.stop.stage and now >= run.stop.next_at:
            self._climb(run)
        self._arm(run)


def limits_of(header: Mapping[str, Any], handler: Handler, hard_grace: float) -> tuple[float, float]:
    """The limits of a run in seconds, soft and hard, 0 for none: the job's own before its function's."""
    if "timeout" not in header and "hard_timeout" not in header:
        return handler.timeout, handler.hard_timeout
    soft, hard = handler.timeout, handler.hard_timeout
    if "timeout" in header:
        soft = seconds(header["timeout"] / SECOND_US, field="timeout")
        if soft > hard or not hard:  # what its function says was not said of so long a run
            hard = soft and soft + hard_grace
    if "hard_timeout" in header:
        hard = seconds(header["hard_timeout"] / SECOND_US, field="hard_timeout")
    return soft, hard


def _can_look(run: Run) -> bool:
    injection = run.handler.function.injection if run.handler is not None else None
    return injection is not None and (injection.context is not None or injection.progress)
