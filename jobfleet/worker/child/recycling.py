"""When a child asks for a successor: after a number of jobs, at a memory size, or at an age."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.worker.ipc.usage import resident_bytes

if TYPE_CHECKING:
    from jobfleet.worker.child.engine import Engine


EARLY = 0.9
"""The share of its jobs after which a child asks for a successor, which needs time to load the modules."""
JITTER = 0.1


class ChildAge:
    """How worn a child is.

    Args:
        config: Its limits.
        engine: Counts its jobs.
    """

    def __init__(self, config: JobConfig, engine: Engine) -> None:
        self._engine = engine
        self._max_jobs = config.max_jobs
        self._max_memory = config.max_memory
        self._max_age = config.max_age
        if self._max_age is not None:  # children start together, and must not be replaced together
            self._max_age *= random.uniform(1 - JITTER, 1 + JITTER)
        self._born = boottime()

    @property
    def reason(self) -> str:
        """Why it is time to go: jobs, memory or age; empty when it is not."""
        if self._max_jobs is not None and self._engine.taken >= self._max_jobs * EARLY:
            return "jobs"
        if self._max_age is not None and boottime() - self._born >= self._max_age:
            return "age"
        if self._max_memory is not None and resident_bytes() > self._max_memory:
            return "memory"
        return ""
