"""Recycling, the supervisor's side: it starts the successor of a child that asks for one.

The old child finishes what it runs once the successor serves, so that no slot is missing in between.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobfleet.clock import boottime

if TYPE_CHECKING:
    from jobfleet.worker.supervisor.child_handle import ChildHandle
    from jobfleet.worker.supervisor.children import Children
    from jobfleet.worker.supervisor.metrics import WorkerMetrics


log = logging.getLogger("jobfleet.worker")
KEPT = 60.0
"""Seconds after which a child whose successor could not start may ask again."""
YOUNG = 3.0
"""Seconds after its start in which a child may not ask for a successor because of its size: the successor would be
just as large."""


class Recycling:
    """Follows the wishes of a worker's children.

    Args:
        nursery: The children.
        grace: Seconds that a child's last jobs may take to end when too many children are retiring.
        scrape: Counts.
    """

    def __init__(self, child_processes: Children, *, grace: float, scrape: WorkerMetrics) -> None:
        self._child_processes = child_processes
        self._grace = grace
        self._scrape = scrape
        self._is_told = False

    def retire(self, handle: ChildHandle, reason: str) -> None:
        """A child asks to be replaced, as it does every second until it may go.

        Its jobs may take as long as they do; when more children retire than there are places, the eldest must end
        within the grace.
        """
        now = boottime()
        if handle.is_replaced or self._child_processes.state == "stopping" or now - handle.kept_at < KEPT:
            return
        if reason == "memory" and now - handle.born < YOUNG:
            if not self._is_told:
                log.warning("child.too_large child=%s is over max_memory from the start: raise it", handle.child)
            self._is_told = True
            return
        draining = self._child_processes.draining
        if len(draining) >= self._child_processes.size and not draining[0].is_hurried:
            draining[0].is_hurried = True
            self._child_processes.drain(draining[0], self._grace)
        log.info("child.recycled child=%s reason=%s", handle.child, reason)
        self._scrape.recycled(reason)
        self._child_processes.replace(handle, None, is_fit=True)
