"""Why runs are stopped: a lost lease, a cancellation, or the end of the child. The stop ladder does the stopping."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from jobfleet.outcome import Cancelled, Interrupted, LeaseLost
from jobfleet.worker.child.holding import HeldRuns
from jobfleet.worker.run.conclusion import Conclusions
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.stop_ladder import StopLadder
from jobfleet.worker.run.writes import event_log

log = logging.getLogger("jobfleet.worker")
REPLY_CHECK_EVERY = 0.05
"""Seconds between checks whether Redis has replied to the endings of runs without a lease."""
INTERRUPT_GRACE = 1.0
"""Seconds that runs have to end after they were interrupted for the end of the child, and again after a kill."""


class Cancellations:
    """Stops the runs of one child, and gives back the runs that have not started.

    Args:
        runs: The runs of the child, by key.
        ladder: Stops the runs that have started.
        held_runs: Has the runs that have not started.
        conclusions: Ends runs whose code does not run, or does not end.
        events: Receives that there is room for further jobs.
    """

    def __init__(
        self,
        runs: Mapping[Key, Run],
        ladder: StopLadder,
        held_runs: HeldRuns,
        *,
        conclusions: Conclusions,
        events: RunEvents,
    ) -> None:
        self._runs = runs
        self._ladder = ladder
        self._held_runs = held_runs
        self._conclusions = conclusions
        self._events = events

    def lost(self, run: Run) -> bool:
        """Stop a run, and write nothing for it: another run owns the job by now.

        Returns:
            False if the run has ended: Redis answers to its ending whether it was lost.
        """
        if run.key not in self._runs or run.ending.is_over:
            return False
        event_log.lost(run, "another run owns it by now")
        if self._held_runs.remove(run):
            self._conclusions.drop(run)
            self._events.room_changed()
        else:
            self._ladder.stop(run, LeaseLost())
        return True

    async def leases_gone(self, keys: Collection[Key], lost: Callable[[Run], None]) -> None:
        """Stop the runs of leases that are gone, unless they have ended, and write nothing for them.

        An ended run has no lease any more when Redis has executed its ending, though the reply is still to come. This
        returns when these replies have come.

        Args:
            keys: The runs.
            lost: Called with each of them that is still known.
        """
        for key in keys:
            run = self._runs.get(key)
            if run is not None:
                lost(run)
        while any(key in self._runs and self._runs[key].ending.is_over for key in keys):  # noqa: ASYNC110 - only after an outage
            await asyncio.sleep(REPLY_CHECK_EVERY)

    def cancel(self, run: Run, by: str) -> None:
        """Cancel a run. Only the first cancellation counts."""
        if run.key not in self._runs or run.ending.is_over or run.stop.cancel_by is not None:
            return
        log.info("job.cancelling job_id=%s by=%s", run.id, by, extra={"run": run})
        if self._held_runs.remove(run):
            self._conclusions.conclude(run, Cancelled(by))
            self._events.room_changed()
        else:
            self._ladder.stop(run, Cancelled(by))

    async def release(self, ended: Callable[[float, asyncio.Event | None], Awaitable[None]]) -> None:
        """Stop all runs because the child ends, and give back those that do not end. Their attempt is not counted.

        Args:
            ended: Waits until no run is left, for at most the given number of seconds.
        """
        left = [run for run in self._runs.values() if not run.ending.is_over and not run.stop.is_condemned]
        for run in left:
            self._ladder.stop(run, Interrupted())
        if left:
            log.info("worker.releasing jobs=%d", len(left))
            await ended(INTERRUPT_GRACE, None)
            if self._ladder.kill(left):
                await ended(INTERRUPT_GRACE, None)
        for run in list(self._runs.values()):
            if not run.stop.is_condemned:  # the supervisor settles a condemned run
                self._conclusions.conclude(run, Interrupted())
