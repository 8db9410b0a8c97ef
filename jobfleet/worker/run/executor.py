"""What runs user code, and how it is made to stop: the one shape of all executors."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from jobfleet.outcome import Crashed, Interrupted, OutOfCpu, OutOfMemory, Witnessed

if TYPE_CHECKING:
    from jobfleet.worker.run.handlers import Handler
    from jobfleet.worker.run.run import Run

OnEnd = Callable[[Any, BaseException | None], None]


class Stage(IntEnum):
    """How far the attempt to stop a run has come; each is tried after the grace of the one before."""

    ASKED = 1
    RAISED = 2
    TERMINATED = 3
    KILLED = 4


class Died(Exception):  # no error of the job's
    """The process of a run, which is not the worker's, is gone, or of no use any more; the outcome says why."""

    def __init__(self, outcome: Crashed | Witnessed | OutOfMemory | OutOfCpu | Interrupted) -> None:
        self.outcome = outcome
        super().__init__(str(outcome))


class Executor(Protocol):
    """A way to run user code.

    Attributes:
        stages: What it can do to stop a run, in order. `Stage.ASKED`, the flag in the context, needs no executor.
    """

    stages: tuple[Stage, ...]

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function; `on_end` is called on the loop, once, with its value or its error."""

    def stop(self, run: Run, stage: Stage) -> None:
        """Do what a stage does; nothing when the run has ended."""

    def flush(self) -> None:
        """No more runs will come: begin what waits for others."""

    def close(self) -> None:
        """Let go of what is idle."""
