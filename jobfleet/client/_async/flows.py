"""Flows as a fleet offers them: `fleet.flows`."""

from __future__ import annotations

from datetime import datetime

from jobfleet.graph import Flow
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows import flow as operations
from jobfleet.operations.flows.flow import FlowInfo
from jobfleet.operations.operation import AsyncDriver

LISTED = 50


class AsyncFlows:
    """The flows of an `AsyncFleet`.

    Args:
        space: The fleet's names and settings.
        do: Runs an operation.
    """

    def __init__(self, context: FleetContext, do: AsyncDriver) -> None:
        self._context = context
        self._do = do

    async def __call__(self, *, limit: int = LISTED) -> list[tuple[str, datetime | None]]:
        """The last flows, the newest first: id, and when it was enqueued."""
        return await self._do(operations.listing(self._context, limit=limit))

    async def enqueue(self, flow: Flow) -> FlowInfo:
        """Enqueue a flow as one: its first jobs start when all of it is written. Repeating the call is harmless.

        Raises:
            InvalidJob: It is empty, too large, or goes in a circle; nothing is written then.
            EncodingError: An argument cannot travel; likewise.
        """
        return await self._do(operations.enqueue(self._context, flow))

    async def get(self, flow_id: str) -> FlowInfo:
        """A flow with what is known of each job. Raises `JobNotFound`."""
        return await self._do(operations.get(self._context, flow_id))

    async def cancel(self, flow_id: str, *, by: str | None = None) -> int:
        """Cancel what has not ended; how many jobs were, or were asked to stop. Raises `JobNotFound`."""
        return await self._do(operations.cancel(self._context, flow_id, by))

    async def retry(self, flow_id: str, *, by: str | None = None) -> int:
        """Run it on from what failed: failed jobs are replayed, those cancelled because of them enqueued anew.

        Answers how many run again. Raises `JobNotFound`.
        """
        return await self._do(operations.retry(self._context, flow_id, by))
