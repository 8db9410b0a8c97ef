"""The interfaces between the parts of a child: what receives the events of runs, and what runs user code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jobfleet.outcome import Cancelled, Crashed, Interrupted, OutOfCpu, OutOfMemory, TimedOut, Unrunnable, Witnessed
from jobfleet.store.calls.settle import Item
from jobfleet.store.keys import Lane
from jobfleet.store.records import Claimed
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run, Stage

Verdict = TimedOut | Cancelled
"""Why a run that nothing can stop is to end."""


class RunEvents(Protocol):
    """Receives the events of all runs of a child, on the child's event loop.

    In the life of a plain run they come in this order: `admitted`, `returned`, `concluded`, `settled`. A run with hooks
    has `code_ended` before `returned`.
    """

    def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
        """A claim has brought jobs.

        Args:
            lane: The lane of the claim.
            claimed: The jobs.
            until: When their leases end (boot-time clock).
        """

    def may_start(self, run: Run) -> None:
        """A run that was held may start now."""

    def code_ended(self, run: Run) -> None:
        """The code of a run has ended, and the hooks after it are about to be called."""

    def returned(self, run: Run) -> None:
        """All user code of a run has ended, so its slot is free."""

    def concluded(self, run: Run) -> None:
        """It is decided how a run ends; `run.ending.item` is about to be sent."""

    def settled(self, run: Run, letter: str) -> None:
        """Redis has answered the ending of a run.

        Args:
            run: The run.
            letter: The answer of the script: s or d for settled, c for cancelled instead, another letter for refused.
        """

    def answered(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        """`settled` was called for runs of one lane, which a script has answered together.

        Args:
            runs: The runs.
            items: How each ended.
            letters: A letter for each; see `settled`.
        """

    def parked(self, run: Run, outcome: Unrunnable) -> None:
        """A job is parked for the first time, because this child cannot run it."""

    def dropped(self, run: Run) -> None:
        """A run has ended, and nothing is written about it."""

    def lost(self, run: Run) -> None:
        """Handle that another run owns the job now."""

    def cancel_requested(self, run: Run) -> None:
        """Redis has answered that the run is to be cancelled."""

    def stage_reached(self, run: Run, stage: Stage) -> None:
        """The attempt to stop a cancelled run has reached a stage."""

    def condemned(self, run: Run, verdict: Verdict) -> None:
        """Only the end of this process can end the run."""

    def room_changed(self) -> None:
        """There may be room for further jobs."""

    def dependants_ready(self, lane: Lane) -> None:
        """A job has ended for which jobs of other lanes wait."""

    def routes_changed(self) -> None:
        """The set of functions whose jobs are left to other workers has changed."""

    def buried(self) -> None:
        """The fleet believes that this child is dead."""


OnEnd = Callable[[Any, BaseException | None], None]
"""Called on the event loop, once, with the value or the error of user code."""


class Died(Exception):  # no error of the job's
    """The separate process of a run has died, or is of no use any more. The outcome says why."""

    def __init__(self, outcome: Crashed | Witnessed | OutOfMemory | OutOfCpu | Interrupted) -> None:
        self.outcome = outcome
        super().__init__(str(outcome))


class Executor(Protocol):
    """A way to run user code.

    Attributes:
        stages: The stages that it supports, in order. `Stage.ASKED`, the flag in the context, needs no executor.
    """

    stages: tuple[Stage, ...]

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function, then `on_end` on the event loop, once, with its value or its error."""

    def stop(self, run: Run, stage: Stage) -> None:
        """Take one stage to stop a run; nothing happens when the run has ended."""

    def flush(self) -> None:
        """Start what was held back for more runs: none will come."""

    def close(self) -> None:
        """Release idle threads and processes."""
