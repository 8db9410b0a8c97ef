"""A part of a client under a name of its own: `fleet.cron`, `fleet.flows`, `fleet.limits`."""

from __future__ import annotations

from jobfleet.client._async.audit import audited_operation
from jobfleet.operations.audit import Action
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import AsyncDriver, Operation, T


class AsyncPart:
    """Operations of a client under a name of their own.

    Args:
        context: The names and settings of the fleet.
        do: Runs an operation.
    """

    def __init__(self, context: FleetContext, do: AsyncDriver) -> None:
        self._context = context
        self._do = do

    async def _audited(self, action: Action, work: Operation[T], by: str | None) -> T:
        return await audited_operation(self._context, self._do, action, work, by=by)
