"""The supervisor's part of recycling: starts the successor of a child that requests one.

The old child claims until the successor serves, so that no slot is missing meanwhile.
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
"""Seconds after which a child whose successor could not start may request one again."""
YOUNG = 3.0
"""Seconds after it became ready in which a child may not request a successor because of its size, as the successor
would be equally large."""


class Recycling:
    """Replaces children of a worker on their request.

    Args:
        child_processes: The children.
        grace: Seconds that a child's last jobs may take if too many children are retiring.
        metrics: Counts the replacements.
    """

    def __init__(self, child_processes: Children, *, grace: float, metrics: WorkerMetrics) -> None:
        self._child_processes = child_processes
        self._grace = grace
        self._metrics = metrics
        self._has_warned = False

    def retire(self, handle: ChildHandle, reason: str) -> None:
        """Replace a child on its request, which it repeats every second until it may leave.

        Its jobs have no time limit. But if more children are retiring than there are regular ones, the oldest must end
        within the grace.
        """
        now = boottime()
        if handle.is_replaced or self._child_processes.state == "stopping" or now - handle.kept_at < KEPT:
            return
        if reason == "memory" and now - handle.ready_at < YOUNG:
            if not self._has_warned:
                log.warning(
                    "child.too_large child=%s exceeds max_memory from its start: raise max_memory", handle.child
                )
            self._has_warned = True
            return
        draining = self._child_processes.draining
        if len(draining) >= self._child_processes.size and not draining[0].is_hurried:
            draining[0].is_hurried = True
            self._child_processes.drain(draining[0], self._grace)
        log.info("child.recycled child=%s reason=%s", handle.child, reason)
        self._metrics.recycled(reason)
        self._child_processes.replace(handle, None, is_fit=True)
