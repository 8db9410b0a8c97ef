# Made by scripts/unasync from jobfleet/client/_async/part.py. Change that, and run scripts/unasync.
"""A part of a client under a name of its own: `fleet.cron`, `fleet.flows`, `fleet.limits`."""

from __future__ import annotations

from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Driver


class Part:
    """Operations of a client under a name of their own.

    Args:
        context: The names and settings of the fleet.
        do: Runs an operation.
    """

    def __init__(self, context: FleetContext, do: Driver) -> None:
        self._context = context
        self._do = do
