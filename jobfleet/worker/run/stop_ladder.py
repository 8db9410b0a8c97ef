"""How a run is stopped: one stage after the other, as far as its executor supports them.

A cancelled run is asked first, if its function can check its context. All other runs are interrupted at once. Each
stage has a grace period. A run past its hard limit, or a cancelled run without a further stage, is condemned: only the
end of the process can end it. A run without a time limit that is never stopped costs nothing here. Any other run has
one timer.

Time during which the machine is suspended does not count: the timers of the event loop do not run then.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from jobfleet.clock import SECOND_US, monotonic
from jobfleet.model import seconds
from jobfleet.outcome import Cancelled, TimedOut
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.interfaces import RunEvents, Verdict
from jobfleet.worker.run.run import Interruption, Run, Stage

log = logging.getLogger("jobfleet.worker")

YIELD = 0.25
"""Seconds between the interruption at the hard limit and the condemnation."""


class StopLadder:
    """Stops the runs of one child, on the running event loop.

    Args:
        board: Where hard limits are posted, so that the supervisor can enforce them when this process cannot.
        cancel_grace: Seconds that a cancelled run has to end by itself.
        stop_grace: Seconds from one stage to the next.
        events: Receives the stages of cancelled runs, and the runs that cannot be stopped.
        can_end_process: Whether this process may be ended because of one run.

    Attributes:
        condemned: The runs for which this process is to end.
    """

    def __init__(
        self,
        board: LeaseBoard,
        *,
        cancel_grace: float,
        stop_grace: float,
        events: RunEvents,
        can_end_process: bool,
    ) -> None:
        self._board = board
        self._cancel_grace = cancel_grace
        self._stop_grace = stop_grace
        self._events = events
        self._can_end_process = can_end_process
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self.condemned: set[tuple[str, int]] = set()

    # --- limits ---------------------------------------------------------------------------------

    def limit(self, run: Run, soft: float, hard: float) -> None:
        """Set the time limits of a run that is about to start, in seconds; 0 for no limit."""
        now, stop = monotonic(), run.stop
        stop.has_limits = True
        stop.limits = (soft, hard)
        stop.soft_at = now + soft if soft else inf
        stop.hard_at = now + hard if hard else inf
        if hard:
            self._board.limit(run.lease.place, stop.hard_at, hard)
        self._arm(run)

    def extend(self, run: Run, by: float) -> None:
        """Extend the limits of a run by `by` seconds, unless it is to stop. Any thread may call this at any time."""
        stop = run.stop
        with self._lock:
            if stop.interruption is not None:
                return
            soft, hard = stop.limits
            stop.limits = (soft and soft + by, hard and hard + by)
            stop.soft_at += by
            stop.hard_at += by
            if hard:
                self._board.limit(run.lease.place, stop.hard_at, stop.limits[1])

    def is_past(self, run: Run) -> bool:
        """Whether a run is past its hard limit. Its outcome is a time-out then, whatever it returns."""
        return bool(run.stop.limits[1]) and monotonic() >= run.stop.hard_at

    # --- stages ---------------------------------------------------------------------------------

    def stop(self, run: Run, why: Interruption) -> None:
        """Stop a run. One that has not started yet, or whose code has ended, is only marked."""
        stop = run.stop
        was_cancelled = stop.cancel_by is not None
        with self._lock:
            stop.interrupt(why)
        if run.executor is None or stop.is_past_code:
            return
        if isinstance(why, Cancelled) and stop.stage:  # it was to stop for another reason already
            if not was_cancelled:
                self._events.stage_reached(run, Stage(stop.stage))
                if stop.next_at == inf:
                    stop.next_at = monotonic() + self._stop_grace
        elif isinstance(why, Cancelled) and _can_check(run) and self._cancel_grace:
            self._reach(run, Stage.ASKED, self._cancel_grace)
        elif stop.stage < Stage.RAISED:
            self._climb(run)
        self._arm(run)

    def kill(self, runs: Iterable[Run]) -> bool:
        """Kill the runs that can be killed. Their jobs are given back next, and must not run twice at a time.

        Returns:
            Whether any of them can be killed.
        """
        is_any = False
        for run in runs:
            if not run.ending.is_over and run.executor is not None and Stage.KILLED in run.executor.stages:
                run.stop.stage = Stage.KILLED
                run.executor.stop(run, Stage.KILLED)
                is_any = True
        return is_any

    def over(self, run: Run) -> None:
        """The code of a run has ended, so there is nothing left to stop. Its hooks may still run."""
        run.stop.is_past_code = True
        if run.stop.limits[1]:
            self._board.limit(run.lease.place, 0.0, 0.0)
        if run.stop.timer is not None:
            run.stop.timer.cancel()
            run.stop.timer = None

    def _climb(self, run: Run) -> None:
        """Take the next stage. The interruption is repeated once, because user code may have swallowed it."""
        executor, stop = run.executor, run.stop
        if executor is None:
            return
        stages = executor.stages
        following = next((stage for stage in stages if stage > stop.stage), None)
        if stop.stage == Stage.RAISED and Stage.RAISED in stages and not stop.was_raised_again:
            stop.was_raised_again = True
            stop.next_at = monotonic() + self._stop_grace / 2
            executor.stop(run, Stage.RAISED)
        elif following is not None:
            is_first = following is Stage.RAISED
            self._reach(run, following, self._stop_grace / 2 if is_first else self._stop_grace)
            executor.stop(run, following)
        elif stop.cancel_by is not None:
            self._condemn(run, Cancelled(stop.cancel_by))
        else:
            stop.next_at = inf

    def _reach(self, run: Run, stage: Stage, grace: float) -> None:
        run.stop.stage = stage
        run.stop.next_at = monotonic() + grace
        if run.stop.cancel_by is not None:
            self._events.stage_reached(run, stage)

    def _time_out(self, run: Run) -> None:
        """Act on the hard limit: kill the run, or interrupt it once more and then condemn it."""
        executor, stop = run.executor, run.stop
        hard = stop.limits[1]
        if executor is None:
            return
        if not stop.is_overdue:
            stop.is_overdue = True
            stop.interrupt(TimedOut(hard))
            can_kill = Stage.KILLED in executor.stages
            stage, grace = (Stage.KILLED, self._stop_grace) if can_kill else (Stage.RAISED, YIELD)
            self._reach(run, stage, grace)
            self._board.limit(run.lease.place, stop.next_at, hard)  # this process acts, and needs this time
            executor.stop(run, stage)
        elif (late := monotonic() - stop.next_at) > YIELD:
            stop.next_at = monotonic() + YIELD  # the event loop was blocked, so the run had no time to react either
        elif late >= 0:
            self._condemn(run, TimedOut(hard))

    def _condemn(self, run: Run, verdict: Verdict) -> None:
        run.stop.next_at = inf
        function = run.header.get("function", "?")
        if not self._can_end_process:
            log.error("job.unstoppable job_id=%s function=%s it runs on: it shares its process", run.id, function)
        elif not run.stop.is_condemned:
            run.stop.is_condemned = True
            self.condemned.add(run.key)
            log.error("job.unstoppable job_id=%s function=%s its process is to end", run.id, function)
            self._events.condemned(run, verdict)

    # --- the timer ------------------------------------------------------------------------------

    def _arm(self, run: Run) -> None:
        if run.stop.timer is not None:
            run.stop.timer.cancel()
        due = self._due(run)
        run.stop.timer = None if due == inf else self._loop.call_later(max(0.0, due - monotonic()), self._turn, run)

    def _due(self, run: Run) -> float:
        stop = run.stop
        if stop.is_condemned:
            return inf
        following = stop.next_at if stop.stage else stop.soft_at if stop.limits[0] else inf
        hard = stop.hard_at if stop.limits[1] else inf
        return following if monotonic() >= hard and stop.stage else min(following, hard)

    def _turn(self, run: Run) -> None:
        """Act on a timer. If the limits were extended in the meantime, nothing is due yet."""
        stop = run.stop
        stop.timer = None
        now = monotonic()
        if stop.limits[1] and now >= stop.hard_at:
            self._time_out(run)
        elif not stop.stage and stop.limits[0] and now >= stop.soft_at:
            self.stop(run, TimedOut(stop.limits[0]))
            return
        elif stop.stage and now >= stop.next_at:
            self._climb(run)
        self._arm(run)


def limits_of(header: Mapping[str, Any], handler: Handler, hard_grace: float) -> tuple[float, float]:
    """The soft and the hard limit of a run in seconds, 0 for none. The job's own limits come before the function's."""
    if "timeout" not in header and "hard_timeout" not in header:
        return handler.timeout, handler.hard_timeout
    soft, hard = handler.timeout, handler.hard_timeout
    if "timeout" in header:
        soft = seconds(header["timeout"] / SECOND_US, field="timeout")
        if soft > hard or not hard:  # the function's hard limit is not for such a long run
            hard = soft and soft + hard_grace
    if "hard_timeout" in header:
        hard = seconds(header["hard_timeout"] / SECOND_US, field="hard_timeout")
    return soft, hard


def _can_check(run: Run) -> bool:
    injection = run.handler.function.injection if run.handler is not None else None
    return injection is not None and (injection.context is not None or injection.progress)
