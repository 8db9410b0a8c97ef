"""Counts the runs of a child: their starts, and their endings as Redis has answered them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from jobfleet.metrics.tally import UNKNOWN, Tally
from jobfleet.store.calls.settle import PAST, BriefCompletion, Completion, Failure
from jobfleet.worker.run.run import Run

SETTLED = "sd"
LONGEST = 200
"""The maximal length of an unregistered name, because any client may have put it into a job."""


class Counting:
    """Counts runs. An ending is counted when Redis has answered, because only then it is certain.

    Args:
        tally: Where it counts.
        now_us: Redis's time, µs.
    """

    def __init__(self, tally: Tally, now_us: Callable[[], int]) -> None:
        self._tally = tally
        self._now_us = now_us
        self.is_on = tally.is_on
        """Whether the counts are read. Callers check this first to save time."""

    def started(self, runs: Iterable[Run]) -> None:
        """Count the starts of these runs that were not counted yet."""
        for run in runs:
            if run.started_us and not run.is_counted:
                run.is_counted = True
                self._tally.count("jobs_started_total", (run.lane.queue, function_of(run)))

    def settled(self, run: Run, letter: str) -> None:
        """Count the ending of a run.

        Args:
            run: The run.
            letter: The answer of the script: s or d for settled, c for cancelled instead, another letter for lost.
        """
        item, outcome = run.ending.item, "cancelled" if letter == "c" else "lost"
        if letter in SETTLED and item is not None:
            outcome = PAST[item.verb]
        if outcome == "withheld":
            return  # it was never started
        queue, started = run.lane.queue, run.started_us
        if run.output.chunks is not None:
            self._tally.count("chunks_emitted_total", (queue,), run.output.chunks.emitted)
        took = waited = UNKNOWN
        if started:
            waited = started - run.grant.due
            took = (
                item.duration_us
                if isinstance(item, Completion | BriefCompletion | Failure)
                else self._now_us() - started
            )
        is_whole = started != 0 and not run.is_counted
        self._tally.run_finished(queue, function_of(run), outcome, took, waited, is_whole=is_whole)
        if outcome == "completed":
            return
        if outcome == "retried":
            self._tally.count("jobs_retried_total", (queue, "error"))
        elif outcome == "failed" and isinstance(item, Failure):
            self._tally.count("jobs_dead_lettered_total", (queue, item.reason))
        elif outcome == "lost":
            self._tally.count("fenced_writes_total", (queue,))


def function_of(run: Run) -> str:
    """The function name for the label of a run; a question mark for an invalid name."""
    name = run.header.get("function")
    if run.handler is None and not (isinstance(name, str) and 0 < len(name) <= LONGEST):
        return "?"
    return cast(str, name)
