"""Recycling: a child that has run enough jobs, grown too large or too old asks for a successor.

The child's side, `Wear`, says why it is time; the supervisor's, `Recycling`, starts the successor and lets the child
finish what it runs once that serves, so that no slot is missing in between.
"""

from __future__ import annotations

import logging
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobfleet.clock import boottime
from jobfleet.config import JobConfig

if TYPE_CHECKING:
    from jobfleet.worker.engine import Engine
    from jobfleet.worker.kin import Kin
    from jobfleet.worker.nursery import Nursery
    from jobfleet.worker.scrape import Scrape

log = logging.getLogger("jobfleet.worker")

EARLY = 0.9
"""The share of its jobs after which a child asks: its successor needs a moment to load the modules."""

JITTER = 0.1
YOUNG = 3.0
"""Seconds; a child that is over its limit at birth must not be replaced without end."""

KEPT = 60.0
"""Seconds after which a child whose successor could not start may ask again."""

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """This process's resident memory; where that is not told, the most it ever had."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Wear:
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
        if self._max_age is not None:  # children are born together, and must not go together
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


class Recycling:
    """Follows the wishes of a worker's children.

    Args:
        nursery: The children.
        grace: Seconds that a child's last jobs may take to end when too many children are retiring.
        scrape: Counts.
    """

    def __init__(self, nursery: Nursery, *, grace: float, scrape: Scrape) -> None:
        self._nursery = nursery
        self._grace = grace
        self._scrape = scrape
        self._is_told = False

    def retire(self, kin: Kin, reason: str) -> None:
        """A child asks to be replaced, as it does every second until it may go.

        Its jobs may take as long as they do; when more children retire than there are places, the eldest must end
        within the grace.
        """
        now = boottime()
        if kin.is_replaced or self._nursery.state == "stopping" or now - kin.kept_at < KEPT:
            return
        if reason == "memory" and now - kin.born < YOUNG:
            if not self._is_told:
                log.warning("child.too_large child=%s is over max_memory from the start: raise it", kin.child)
            self._is_told = True
            return
        draining = self._nursery.draining
        if len(draining) >= self._nursery.size and not draining[0].is_hurried:
            draining[0].is_hurried = True
            self._nursery.drain(draining[0], self._grace)
        log.info("child.recycled child=%s reason=%s", kin.child, reason)
        self._scrape.recycled(reason)
        self._nursery.replace(kin, None, is_fit=True)
