"""What a child counts of its runs: how they started, and how they really ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.metrics.tally import UNKNOWN, Tally

if TYPE_CHECKING:
    from jobfleet.worker.run import Run

PAST = {
    "complete": "completed", "fail": "failed", "retry": "retried", "release": "released", "park": "parked",
    "expire": "expired", "move": "moved",
}  # fmt: skip
SETTLED = "sd"


class Counting:
    """Counts runs. An ending counts when Redis has answered, since only then it is known which one stands.

    Args:
        tally: Where it counts.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.is_on = tally.is_on
        """Whether anybody reads the counts; whoever asks first saves the rest."""

    def started(self, run: Run) -> None:
        """A run begins."""
        self._tally.count("jobs_started_total", (run.lane.queue, run.header.get("function", "?")))

    def settled(self, run: Run, letter: str) -> None:
        """A run's ending was answered.

        Args:
            run: The run.
            letter: What the script said: s or d for settled, c for cancelled instead, another one for lost.
        """
        verb = str(run.item[0]) if run.item is not None else "release"
        outcome = PAST[verb] if letter in SETTLED else "cancelled" if letter == "c" else "lost"
        queue, started = run.lane.queue, run.started_us
        self._tally.run_finished(
            queue,
            run.header.get("function", "?"),
            outcome,
            run.ended_us - started if started else UNKNOWN,
            started - run.grant.due if started else UNKNOWN,
        )
        if outcome == "retried":
            self._tally.count("jobs_retried_total", (queue, "error"))
        elif outcome == "failed" and run.item is not None:
            self._tally.count("jobs_dead_lettered_total", (queue, str(run.item[7])))
        elif outcome == "lost":
            self._tally.count("fenced_writes_total", (queue,))
