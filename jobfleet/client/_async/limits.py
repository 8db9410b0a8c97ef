"""Limits of a fleet: `fleet.limits`."""

from __future__ import annotations

from jobfleet.client._async.part import AsyncPart
from jobfleet.model.limit import LimitChange, LimitInfo
from jobfleet.model.option_types import Seconds
from jobfleet.operations.actions import queues as actions
from jobfleet.operations.queues import limits as operations


class AsyncLimits(AsyncPart):
    """The limits of an `AsyncFleet`."""

    async def __call__(self, queue: str | None = None) -> list[LimitInfo]:
        """Return the limits of a queue, or of all queues: first the queue, then its groups by name."""
        return await self._do(operations.listing(self._context, queue))

    async def set(
        self,
        queue: str,
        *,
        group: str | None = None,
        concurrency: float | None = None,
        rate: str | float | None = None,
        burst: int | None = None,
        weight: float | None = None,
        aging: Seconds | None = None,
        replace: bool = False,
        by: str | None = None,
    ) -> bool:
        """Set the limits of a queue or of a group, for all workers together. Values that are not given stay.

        The limits apply from the next claim on. Running jobs continue. Return False if nothing has changed.
        They override the limits that functions declare in code, each value by itself.

        Args:
            queue: The queue; it is created if it does not exist.
            group: One of its groups, ``"*"`` for all groups without limits of their own; default the queue itself.
            concurrency: How many jobs may run at once; ``math.inf`` exempts a group from the limit for all groups.
            rate: How many jobs may start per period: ``"100/s"``, ``"10/min"``, ``"5/h"``, a number per second, or
                ``math.inf``.
            burst: How many may start at once under the rate; default the number per period.
            weight: The share of a group relative to others, 0.01 to 100; default 1.
            aging: Seconds after which a waiting job of the queue gets the next priority; 0 for never.
            replace: Whether to remove the values that are not given, instead of keeping them.
            by: The person or program that sets them, for the audit.

        Raises:
            ConfigError: The queue is new, and there are too many queues.
            InvalidJob: A value is not valid, or is not allowed there; or the queue has several lanes, and the
                limit would span them.
        """
        wanted = LimitChange(concurrency, rate, burst, weight, aging)
        work = operations.set_limit(self._context, queue, group, wanted, replace=replace)
        action = actions.set_limit(self._context, queue, group, wanted, replace=replace)
        return await self._audited(action, work, by)

    async def clear(
        self, queue: str, *, group: str | None = None, declared: bool = False, by: str | None = None
    ) -> bool:
        """Delete the limits that were set for a queue or for a group. Return False if there were none.

        A limit that a function declares there in code applies again.

        Args:
            queue: The queue.
            group: One of its groups, ``"*"`` for the default of all groups; None for the queue itself.
            declared: Whether to delete the declared limit too. A worker that still declares it stores it again when it
                starts.
            by: The person or program that deletes them, for the audit.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: The name of the group is not valid.
        """
        work = operations.clear(self._context, queue, group, declared=declared)
        action = actions.clear_limit(self._context, queue, group, declared=declared)
        return await self._audited(action, work, by)
