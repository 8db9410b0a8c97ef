"""The interface of all executors: run user code, and stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from jobfleet.outcome import Crashed, Interrupted, OutOfCpu, OutOfMemory, Witnessed
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_state import Stage

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
