# Made by scripts/unasync from jobfleet/client/_async/limits.py. Change that, and run scripts/unasync.
"""Limits as a fleet offers them: `fleet.limits`."""

from __future__ import annotations

from jobfleet.model.limit import LimitChange, LimitInfo
from jobfleet.model.options import Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Driver
from jobfleet.operations.queues import limits as operations


class Limits:
    """The limits of an `Fleet`.

    Args:
        space: The fleet's names and settings.
        do: Runs an operation.
    """

    def __init__(self, context: FleetContext, do: Driver) -> None:
        self._context = context
        self._do = do

    def __call__(self, queue: str | None = None) -> list[LimitInfo]:
        """What is set for a queue, or for all: the queue first, then its groups by name."""
        return self._do(operations.listing(self._context, queue))

    def set(
        self,
        queue: str,
        *,
        group: str | None = None,
        concurrency: float | None = None,
        rate: str | float | None = None,
        burst: int | None = None,
        weight: float | None = None,
        aging: Seconds | None = None,
    ) -> bool:
        """Set what a queue or a group of it may do, all workers together; what is not given stays.

        It holds from the next claim on; what runs goes on. False when all of it was so already.

        Args:
            queue: The queue.
            group: One of its groups, ``"*"`` for all that have no setting of their own; by default the queue itself.
            concurrency: How many jobs may run at once; ``math.inf`` lifts for a group what holds for all.
            rate: How many may start in a time: ``"100/s"``, ``"10/min"``, ``"5/h"``, or a number a second; or
                ``math.inf``.
            burst: How many may start at once under the rate; by default what comes in one of its periods.
            weight: A group's share beside others, 0.01 to 100; by default 1.
            aging: Seconds after which a waiting job of the queue counts as of the next priority; 0: never.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: A value is wrong or does not belong there; or the queue has several lanes, and the limit
                would be of all of them.
        """
        wanted = LimitChange(concurrency, rate, burst, weight, aging)
        return self._do(operations.set_limit(self._context, queue, group, wanted))

    def clear(self, queue: str, *, group: str | None = None) -> bool:
        """Let the limits of a queue go, or of a group; False when there were none."""
        return self._do(operations.clear(self._context, queue, group))
