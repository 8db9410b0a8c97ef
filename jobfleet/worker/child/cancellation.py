"""Why a run is to stop: its lease is lost, somebody cancels it, its child is to end. How it stops is the ladder's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from jobfleet.outcome import Cancelled, Interrupted, LeaseLost, Outcome
from jobfleet.worker.child.holding import HeldRuns
from jobfleet.worker.run import event_log
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.stop_ladder import StopLadder

log = logging.getLogger("jobfleet.worker")
HEARD = 1.0
"""Seconds that runs have to end once they are told that the child ends, and once more when they are killed."""


class Cancellations:
    """Stops the runs of one child, and gives back those that have not started.

    Args:
        runs: What the child holds, by key.
        ladder: Stops those that have started.
        anteroom: Where the others are.
        abandon: Settles a run whose code does not run, or does not end.
        clear: Lets go of a run that nothing is written for.
        changed: Is told that there is room to claim again.
    """

    def __init__(
        self,
        runs: Mapping[Key, Run],
        ladder: StopLadder,
        held_runs: HeldRuns,
        *,
        abandon: Callable[[Run, Outcome], None],
        clear: Callable[[Run], None],
        changed: Callable[[], None],
    ) -> None:
        self._runs = runs
        self._ladder = ladder
        self._held_runs = held_runs
        self._abandon = abandon
        self._clear = clear
        self._changed = changed

    def lost(self, run: Run) -> None:
        """Another run owns the job by now: write nothing for this one."""
        if run.key not in self._runs or run.ending.is_over:
            return
        event_log.lost(run, "another run owns it by now")
        if self._held_runs.remove(run):
            run.ending.is_over = True
            self._clear(run)
            self._changed()
        else:
            self._ladder.stop(run, LeaseLost())

    def cancel(self, run: Run, by: str) -> None:
        """Somebody asked for it; the first who did is told of."""
        if run.key not in self._runs or run.ending.is_over or run.stop.cancel_by is not None:
            return
        log.info("job.cancelling job_id=%s by=%s", run.id, by, extra={"run": run})
        if self._held_runs.remove(run):
            self._abandon(run, Cancelled(by))
            self._changed()
        else:
            self._ladder.stop(run, Cancelled(by))

    async def release(self, ended: Callable[[float, asyncio.Event | None], Awaitable[None]]) -> None:
        """Stop what runs, and give back what does not end: uncounted, for it is the child that ends.

        Args:
            ended: Waits until no run is left, but at most so many seconds.
        """
        left = [run for run in self._runs.values() if not run.ending.is_over and not run.stop.is_condemned]
        for run in left:
            self._ladder.stop(run, Interrupted())
        if left:
            log.info("worker.releasing jobs=%d", len(left))
            await ended(HEARD, None)
            if self._ladder.kill(left):
                await ended(HEARD, None)
        for run in list(self._runs.values()):
            if not run.stop.is_condemned:  # of that one, the supervisor says how it ended
                self._abandon(run, Interrupted())
