"""Flows as a fleet offers them: `fleet.flows`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from jobfleet.graph import Flow
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows import flow as verbs
from jobfleet.operations.flows.flow import FlowInfo
from jobfleet.operations.operation import Operation

LISTED = 50


class Flows:
    """The flows of a `Fleet`.

    Args:
        space: The fleet's names and settings.
        do: Drives a verb.
    """

    def __init__(self, context: FleetContext, do: Callable[[Operation[Any]], Any]) -> None:
        self._context = context
        self._do = do

    def __call__(self, *, limit: int = LISTED) -> list[tuple[str, datetime | None]]:
        """The last flows, the newest first: id, and when it was enqueued."""
        answer: list[tuple[str, datetime | None]] = self._do(verbs.listing(self._context, limit=limit))
        return answer

    def enqueue(self, flow: Flow) -> FlowInfo:
        """Enqueue a flow as one: its first jobs start when all of it is written. Repeating the call is harmless.

        Raises:
            InvalidJob: It is empty, too large, or goes in a circle; nothing is written then.
            EncodingError: An argument cannot travel; likewise.
        """
        answer: FlowInfo = self._do(verbs.enqueue(self._context, flow))
        return answer

    def get(self, flow_id: str) -> FlowInfo:
        """A flow with what is known of each job. Raises `JobNotFound`."""
        answer: FlowInfo = self._do(verbs.get(self._context, flow_id))
        return answer

    def cancel(self, flow_id: str, *, by: str | None = None) -> int:
        """Cancel what has not ended; how many jobs were, or were asked to stop. Raises `JobNotFound`."""
        answer: int = self._do(verbs.cancel(self._context, flow_id, by))
        return answer

    def retry(self, flow_id: str, *, by: str | None = None) -> int:
        """Run it on from what failed: failed jobs are replayed, those cancelled because of them enqueued anew.

        Answers how many run again. Raises `JobNotFound`.
        """
        answer: int = self._do(verbs.retry(self._context, flow_id, by))
        return answer


class AsyncFlows:
    """The flows of an `AsyncFleet`; see `Flows`.

    Args:
        space: The fleet's names and settings.
        do: Drives a verb.
    """

    def __init__(self, context: FleetContext, do: Callable[[Operation[Any]], Awaitable[Any]]) -> None:
        self._context = context
        self._do = do

    async def __call__(self, *, limit: int = LISTED) -> list[tuple[str, datetime | None]]:
        """The last flows, the newest first: id, and when it was enqueued."""
        answer: list[tuple[str, datetime | None]] = await self._do(verbs.listing(self._context, limit=limit))
        return answer

    async def enqueue(self, flow: Flow) -> FlowInfo:
        """Enqueue a flow as one; see `Flows.enqueue`."""
        answer: FlowInfo = await self._do(verbs.enqueue(self._context, flow))
        return answer

    async def get(self, flow_id: str) -> FlowInfo:
        """A flow with what is known of each job. Raises `JobNotFound`."""
        answer: FlowInfo = await self._do(verbs.get(self._context, flow_id))
        return answer

    async def cancel(self, flow_id: str, *, by: str | None = None) -> int:
        """Cancel what has not ended; how many jobs were, or were asked to stop. Raises `JobNotFound`."""
        answer: int = await self._do(verbs.cancel(self._context, flow_id, by))
        return answer

    async def retry(self, flow_id: str, *, by: str | None = None) -> int:
        """Run it on from what failed; see `Flows.retry`."""
        answer: int = await self._do(verbs.retry(self._context, flow_id, by))
        return answer
