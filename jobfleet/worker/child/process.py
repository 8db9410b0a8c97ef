"""The process of a child: its event loop, its standard streams, and what the processes of its jobs must not inherit."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from jobfleet.errors import JobfleetError

log = logging.getLogger("jobfleet.worker")


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on the fastest event loop that is installed.

    If a job has stopped the loop, the process ends at once. A clean shutdown would cancel the other jobs, and their
    ends would be charged to them.
    """
    factory = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(main)
        except JobfleetError:
            raise
        except BaseException:
            log.exception("worker.broken its event loop has ended")
            flush()
            os._exit(1)


def flush() -> None:
    """Flush the standard streams, which a job may have closed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError, AttributeError):
            stream.flush()


def keep_from_jobs(*descriptors: int) -> None:
    """Keep pipes and memory out of processes that jobs start: the supervisor waits until all holders have ended."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=partial(_close, descriptors))


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)
