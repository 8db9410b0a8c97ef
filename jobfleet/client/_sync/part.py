# Made by scripts/unasync from jobfleet/client/_async/part.py. Change that, and run scripts/unasync.
"""A part of a client under a name of its own: `fleet.cron`, `fleet.flows`, `fleet.limits`."""

from __future__ import annotations

from jobfleet.client._sync.audit import audited_operation
from jobfleet.operations.audit import Action
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Driver, Operation, T


class Part:
    """Operations of a client under a name of their own.

    Args:
        context: The names and settings of the fleet.
        do: Runs an operation.
    """

    def __init__(self, context: FleetContext, do: Driver) -> None:
        self._context = context
        self._do = do

    def _audited(self, action: Action, work: Operation[T], by: str | None) -> T:
        return audited_operation(self._context, self._do, action, work, by=by)
