"""All executors of a child, by the name of the place where they run functions."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.config import JobConfig
from jobfleet.worker.executors.executor import Executor
from jobfleet.worker.executors.loop import LoopExecutor
from jobfleet.worker.executors.process import ProcessExecutor
from jobfleet.worker.executors.thread import ThreadExecutor


def executors(child: str, config: JobConfig, modules: Sequence[str], *, isolated: bool) -> dict[str, Executor]:
    """Make them, on the running loop.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What isolated processes load.
        isolated: Whether any function has asked for such processes.
    """
    return {
        "async": LoopExecutor(),
        "thread": ThreadExecutor(),
        "process": ProcessExecutor(child, config, modules, is_wanted=isolated),
    }
