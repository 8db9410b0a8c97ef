"""All executors of a child, by the place where they run functions."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.config import JobConfig
from jobfleet.worker.executors.batch import BatchExecutor, warn_narrow
from jobfleet.worker.executors.loop import LoopExecutor
from jobfleet.worker.executors.process import ProcessExecutor
from jobfleet.worker.executors.quarantine import QuarantineExecutor
from jobfleet.worker.executors.thread import ThreadExecutor
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.executor import Executor
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.stop_ladder import StopLadder


def executors(
    child: str, config: JobConfig, modules: Sequence[str], handlers: Handlers, board: LeaseBoard, ladder: StopLadder
) -> dict[str, Executor]:
    """Create the executors, on the running event loop.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What isolated processes load.
        handlers: The functions.
        board: The child's lease board.
        ladder: The child's stop ladder.
    """
    warn_narrow(handlers.batched, config.slots, lambda queue: not config.queues or queue in config.queues)
    made: dict[str, Executor] = {
        "async": LoopExecutor(),
        "thread": ThreadExecutor(),
        "process": ProcessExecutor(child, config, modules, board, is_wanted=bool(handlers.isolated)),
    }
    made["batch"] = BatchExecutor(made, board, ladder, slots=config.slots, hard_grace=config.hard_grace)
    return made


def add_quarantine(
    made: dict[str, Executor], child: str, config: JobConfig, modules: Sequence[str], board: LeaseBoard
) -> QuarantineExecutor | None:
    """Add the executor of suspects under the name ``quarantine``. Returns None if the settings allow none.

    Args:
        made: The executors of the child.
        child: The child they belong to.
        config: The settings.
        modules: What the processes load.
        board: The child's lease board.
    """
    if not config.suspect_processes:
        return None
    quarantine = made["quarantine"] = QuarantineExecutor(child, config, modules, board)
    return quarantine
